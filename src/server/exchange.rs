//! One request and its answer: the bodies that know whether the other side still reads or sends.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::BodyExt;
use tokio::time::{Instant, timeout};

use super::activity::{Activity, InProgress, Tail};
use super::broken::Broken;
use super::stall::note_handed;
use crate::body::{Body, BodyError};

/// Where a request body goes when the handler drops it unread.
#[derive(Debug, Clone, Default)]
pub(super) struct Returned(Arc<Mutex<State>>);

#[derive(Debug, Default)]
enum State {
    /// The handler still holds it.
    #[default]
    Lent,
    /// Read to its end.
    Read,
    /// Dropped before its end.
    Back(Body),
}

impl Returned {
    /// Lends a request body to the handler.
    pub(super) fn lend(&self, body: Body, in_progress: Arc<InProgress>) -> Body {
        if body.is_end_stream() {
            self.put(State::Read);
            return Body::empty();
        }
        Body::stream(Lent { body, returned: self.clone(), flowing: Some(in_progress) })
    }

    /// Reads what is left of a dropped body if it is at most `limit` long and comes soon.
    ///
    /// A body of unknown or greater length is only handed back.
    pub(super) async fn finish(&self, limit: u64) -> Left {
        let state = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        match state {
            State::Read => Left::Nothing,
            State::Lent => Left::Elsewhere,
            State::Back(body) if body.size_hint().upper().is_none_or(|left| left > limit) => Left::Rest(body),
            State::Back(mut body) => match timeout(FINISH_WITHIN, discard(&mut body, limit)).await {
                Ok(Discarded::Wholly) => Left::Nothing,
                Ok(Discarded::InPart) | Err(_) => Left::Rest(body),
            },
        }
    }

    fn put(&self, state: State) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = state;
    }
}

/// What is left of a request's body when it is answered.
#[derive(Debug)]
pub(super) enum Left {
    /// The handler lent it on to somebody who may still read.
    Elsewhere,
    /// It was read to its end.
    Nothing,
    /// Nobody will read this.
    Rest(Body),
}

/// Whether all of a body was read.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Discarded {
    /// To its end.
    Wholly,
    /// It broke off, or there was too much of it.
    InPart,
}

/// Reads up to `limit` bytes of `body` and keeps nothing.
pub(super) async fn discard(body: &mut Body, limit: u64) -> Discarded {
    let mut left = limit;
    loop {
        let Some(frame) = body.frame().await else { return Discarded::Wholly };
        let Ok(frame) = frame else { return Discarded::InPart };
        let length = frame.data_ref().map_or(0, |bytes| u64::try_from(bytes.len()).unwrap_or(u64::MAX));
        match left.checked_sub(length) {
            Some(rest) => left = rest,
            None => return Discarded::InPart,
        }
    }
}

struct Lent {
    body: Body,
    returned: Returned,
    /// Until its end was read, whoever holds on to it afterwards.
    flowing: Option<Arc<InProgress>>,
}

impl HttpBody for Lent {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        // Known at the last byte: whoever reads it may answer before the body itself is dropped.
        if frame.is_none() || self.body.is_end_stream() {
            self.flowing = None;
            self.returned.put(State::Read);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if self.flowing.is_some() {
            self.returned.put(State::Back(std::mem::take(&mut self.body)));
        }
    }
}

/// An answer's body on its way to the client, in pieces small enough to see whether it takes them.
pub(super) struct Outgoing {
    body: Body,
    rest: Bytes,
    in_progress: Option<Arc<InProgress>>,
    connection: Option<Arc<Activity>>,
}

impl Outgoing {
    pub(super) fn new(body: Body, in_progress: Arc<InProgress>) -> Self {
        Self { body, rest: Bytes::new(), in_progress: Some(in_progress), connection: None }
    }

    /// Has an HTTP/2 connection know what is handed to it, and when the end of it has been taken.
    pub(super) fn handed_to(self, connection: Arc<Activity>) -> Self {
        Self { connection: Some(connection), ..self }
    }

    fn next_piece(&mut self) -> Bytes {
        let most = if self.connection.is_some() { H2_PIECE_BYTES } else { PIECE_BYTES };
        let length = self.rest.len().min(most);
        self.rest.split_to(length)
    }

    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if !self.rest.is_empty() {
            return Poll::Ready(Some(Ok(Frame::data(self.next_piece()))));
        }
        match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
            Some(Ok(frame)) => Poll::Ready(Some(Ok(match frame.into_data() {
                Ok(bytes) => {
                    self.rest = bytes;
                    Frame::data(self.next_piece())
                }
                Err(frame) => frame,
            }))),
            Some(Err(error)) => self.break_off(error, cx),
            other => Poll::Ready(other),
        }
    }

    /// Has the error wait behind all that was handed over; from then on it is the whole body.
    fn break_off(
        &mut self,
        error: BodyError,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        // The second time it is the error that has waited.
        let Some(request) = self.in_progress.take() else { return Poll::Ready(Some(Err(error))) };
        if self.connection.take().is_some() {
            let (marker, broken) = Broken::behind_marker(error, request);
            self.body = Body::stream(broken);
            return Poll::Ready(Some(Ok(Frame::data(marker))));
        }
        self.body = Body::stream(Broken::behind_socket(error, request));
        Pin::new(&mut self.body).poll_frame(cx)
    }
}

impl HttpBody for Outgoing {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        note_handed(|| None);
        let mut piece = ready!(self.poll_piece(cx));
        if let (Some(activity), Some(Ok(frame))) = (&self.connection, &piece) {
            activity.answer_handed(frame.data_ref().map_or(0, Bytes::len));
        }
        // The request ends here and not when hyper drops the body: the end must be seen before the connection is.
        if self.is_end_stream() || !matches!(piece, Some(Ok(_))) {
            self.in_progress = None;
            if let Some(activity) = self.connection.take() {
                piece = piece.map(|frame| frame.map(|frame| held(frame, &activity)));
            }
        }
        note_handed(|| Some(Instant::now()));
        Poll::Ready(piece)
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let rest = u64::try_from(self.rest.len()).unwrap_or(u64::MAX);
        match self.body.size_hint().exact() {
            Some(left) => SizeHint::with_exact(left.saturating_add(rest)),
            None => SizeHint::new(),
        }
    }
}

/// The last bytes of an answer, and what tells that they are gone: written, or dropped with their stream.
struct Last {
    bytes: Bytes,
    _tail: Tail,
}

impl AsRef<[u8]> for Last {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

fn held(frame: Frame<Bytes>, activity: &Arc<Activity>) -> Frame<Bytes> {
    frame.map_data(|bytes| Bytes::from_owner(Last { bytes, _tail: activity.hand_tail() }))
}

/// The unread rest of a small body is on its way already; a client that waits is not waited for.
const FINISH_WITHIN: Duration = Duration::from_millis(250);
/// What a client must take within the stall timeout.
const PIECE_BYTES: usize = 64 * 1024;
/// With the nine bytes of its frame's head it fills one TLS record (RFC 9113 §4.1, RFC 8446 §5.1).
const H2_PIECE_BYTES: usize = 16 * 1024 - 9;
