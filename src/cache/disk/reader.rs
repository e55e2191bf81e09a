//! How a kept body is read: block by block, each verified before anybody sees it.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use crate::body::BodyError;

use super::format::{BLOCK_BYTES, Head, damaged};
use super::state::Shared;

/// An open file whose head was verified. Readable to its end whatever happens to its name.
#[derive(Debug)]
pub(super) struct Opened {
    file: File,
    head: Head,
}

impl Opened {
    /// Opens a content and verifies its head.
    ///
    /// # Errors
    /// As [`Head::read`]; `InvalidData` also if it is the file of another content.
    pub(super) fn open(path: &Path, key: &str, meta: &HeaderMap, body_bytes: u64) -> io::Result<Self> {
        let file = File::open(path)?;
        let head = Head::read(&file)?;
        let is_it = head.key == key && head.meta == *meta && head.body_bytes == body_bytes;
        if is_it { Ok(Self { file, head }) } else { Err(damaged()) }
    }

    /// Notes the time of use, so that the order of uses is found again after a restart.
    pub(super) fn touch(&self, now: SystemTime) -> io::Result<()> {
        self.file.set_modified(now)
    }

    /// One block, verified.
    ///
    /// # Errors
    /// `InvalidData` if its checksum is wrong, `UnexpectedEof` if the file was cut; else what the system says.
    pub(super) fn block(&self, number: u64) -> io::Result<Bytes> {
        let sum = usize::try_from(number).ok().and_then(|at| self.head.sums.get(at)).ok_or_else(damaged)?;
        let start = number * block_bytes();
        let bytes = self.head.body_bytes.saturating_sub(start).min(block_bytes());
        let mut block = vec![0; usize::try_from(bytes).map_err(|_| damaged())?];
        self.file.read_exact_at(&mut block, self.head.body_at + start)?;
        if crc32fast::hash(&block) == *sum { Ok(block.into()) } else { Err(damaged()) }
    }
}

type Reading = Pin<Box<dyn Future<Output = io::Result<Bytes>> + Send>>;

/// Runs work that may block on a thread that may; an error if it takes longer than `limit`.
pub(super) fn blocking<T: Send + 'static>(
    limit: Duration,
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> impl Future<Output = io::Result<T>> + Send + 'static {
    // Started here, not when first polled: this is the reading ahead.
    let job = spawn_blocking(work);
    async move {
        match timeout(limit, job).await {
            Ok(Ok(outcome)) => outcome,
            // The runtime is shutting down.
            Ok(Err(error)) => Err(io::Error::other(error)),
            Err(_) => Err(io::ErrorKind::TimedOut.into()),
        }
    }
}

/// The number of the block that holds this byte.
pub(super) fn block_of(at: u64) -> u64 {
    at / block_bytes()
}

/// A part of a kept body, at most one block ahead of its reader.
///
/// # Drop
/// A read that has begun ends unseen.
pub(super) struct Blocks {
    shared: Arc<Shared>,
    opened: Arc<Opened>,
    id: u64,
    /// What has not been handed out.
    left: Range<u64>,
    ahead: Ahead,
}

enum Ahead {
    Block(Bytes),
    Reading(Reading),
    Broken,
}

impl Blocks {
    /// Begins with `first`, the block that holds the first byte of `range`, which is not empty.
    pub(super) fn new(shared: Arc<Shared>, opened: Opened, id: u64, range: Range<u64>, first: Bytes) -> Self {
        Self { shared, opened: Arc::new(opened), id, left: range, ahead: Ahead::Block(first) }
    }

    /// The wanted part of the block at hand; starts reading the next one.
    fn hand_out(&mut self, block: &Bytes) -> io::Result<Bytes> {
        let number = block_of(self.left.start);
        let start = number * block_bytes();
        let end = self.left.end.min(start + block_bytes());
        let place = |at: u64| usize::try_from(at - start).map_err(|_| damaged());
        let part = place(self.left.start)?..place(end)?;
        if part.end > block.len() {
            return Err(damaged());
        }
        self.left.start = end;
        if !self.left.is_empty() {
            let opened = Arc::clone(&self.opened);
            self.ahead = Ahead::Reading(Box::pin(blocking(BLOCK_WITHIN, move || opened.block(number + 1))));
        }
        Ok(block.slice(part))
    }
}

impl HttpBody for Blocks {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if self.left.is_empty() {
            return Poll::Ready(None);
        }
        let block = match &mut self.ahead {
            Ahead::Block(block) => Ok(block.clone()),
            Ahead::Reading(reading) => ready!(reading.as_mut().poll(cx)),
            Ahead::Broken => return Poll::Ready(None),
        };
        self.ahead = Ahead::Broken;
        Poll::Ready(Some(match block.and_then(|block| self.hand_out(&block)) {
            Ok(part) => Ok(Frame::data(part)),
            Err(error) => {
                let (key, id) = (&self.opened.head.key, self.id);
                self.shared.change(|state| {
                    state.lose(key, id);
                    state.counts.failures += 1;
                });
                Err(BodyError::Cache(error))
            }
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.left.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left.end.saturating_sub(self.left.start))
    }
}

fn block_bytes() -> u64 {
    u64::try_from(BLOCK_BYTES).unwrap_or(u64::MAX)
}

/// A disk that needs longer for one block hangs; better a broken answer than one that never goes on.
const BLOCK_WITHIN: Duration = Duration::from_secs(30);
