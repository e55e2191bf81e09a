//! Decides when a body that streams past is kept: only after its last byte, only if it is whole.

use std::sync::Arc;

use bytes::Bytes;
use http_body::Body as _;
use http_body_util::BodyExt;

use crate::body::{Body, BodyError};

use super::budget::Lease;
use super::growing::Growing;

/// One body on its way into the cache and to its readers.
pub(super) struct Fill<K> {
    /// Where readers find it.
    pub(super) growing: Arc<Growing>,
    /// As it comes from the upstream.
    pub(super) body: Body,
    /// What the upstream announced.
    pub(super) length: Option<u64>,
    /// The most that may be held.
    pub(super) max_bytes: u64,
    /// A body that nobody reads any more is fetched to its end if so many percent of it are there.
    pub(super) finish_percent: u64,
    /// The part of the budget that this body has.
    pub(super) lease: Arc<Lease>,
    /// Called with all bytes, if all were held.
    pub(super) keep: K,
}

/// How a fill ended.
enum End {
    Broken(String),
    Whole,
}

impl<K: FnOnce(Arc<[Bytes]>)> Fill<K> {
    /// Takes the body to its end. It ends with the body, with the upstream's silence, which the body itself bounds,
    /// or with the last reader.
    ///
    /// # Drop
    /// Every reader's connection breaks.
    pub(super) async fn run(mut self) {
        let mut broken = Broken(Some(&self.growing), "the fetch was given up".to_owned());
        let may_hold = |received| received <= self.max_bytes && self.lease.cover(received);
        let end = take(&mut self.body, &self.growing, (self.length, self.finish_percent), may_hold).await;
        match end {
            End::Broken(cause) => broken.1 = cause,
            End::Whole => {
                // Kept first: a client that asks again as soon as it has the last byte must find it.
                if let Some(chunks) = self.growing.whole() {
                    (self.keep)(chunks);
                }
                broken.0 = None;
                self.growing.end();
            }
        }
    }
}

async fn take(
    body: &mut Body,
    growing: &Growing,
    (length, finish_percent): (Option<u64>, u64),
    mut may_hold: impl FnMut(u64) -> bool,
) -> End {
    let mut is_held = true;
    let mut received = 0;
    loop {
        if !is_held {
            growing.wanted(MAX_LAG_BYTES).await;
        }
        let is_worth_finishing =
            is_held && length.is_some_and(|length| received * 100 >= length.saturating_mul(finish_percent));
        let frame = tokio::select! {
            biased;
            () = growing.deserted(), if !is_worth_finishing => return End::Broken("nobody reads it any more".to_owned()),
            frame = body.frame() => frame,
        };
        match frame {
            Some(Ok(frame)) => {
                received += frame.data_ref().map_or(0, |data| u64::try_from(data.len()).unwrap_or(u64::MAX));
                if is_held && !may_hold(received) {
                    is_held = false;
                    growing.pass();
                }
                growing.push(frame);
                if length == Some(received) && body.is_end_stream() {
                    return End::Whole;
                }
                growing.wake();
            }
            Some(Err(BodyError::Broken(_, cause))) => return End::Broken(cause.to_string()),
            Some(Err(error)) => return End::Broken(error.to_string()),
            None => match length {
                // A library that lets a short body pass as whole must not make us keep it.
                Some(length) if length != received => {
                    return End::Broken(format!("{received} bytes came where {length} were announced"));
                }
                _ => return End::Whole,
            },
        }
    }
}

/// Breaks the readers off, also when the task itself is dropped.
struct Broken<'a>(Option<&'a Growing>, String);

impl Drop for Broken<'_> {
    fn drop(&mut self) {
        if let Some(growing) = self.0 {
            growing.fail(&self.1);
        }
    }
}

/// How far a reader may fall behind the fastest one of a body that is too large to hold.
const MAX_LAG_BYTES: u64 = 8 * 1024 * 1024;
