//! Decides where a request body waits for its turn: in memory, in an unlinked file, or with its sender.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio::task::{JoinError, JoinHandle, spawn_blocking};

use crate::body::{Body, BodyError};
use crate::words::Side;

/// Bounds of the spool.
#[derive(Debug, Clone)]
pub struct SpoolSettings {
    /// Where the files are made; none: the system's temporary directory.
    pub dir: Option<PathBuf>,
    /// For all files together.
    pub room: SpoolRoom,
    /// Up to here a body stays in memory.
    pub memory_bytes: usize,
    /// The largest body that is taken at all, in bytes.
    pub max_body: u64,
}

/// How much the spool may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpoolRoom {
    /// Bytes in all files together.
    Bytes(u64),
    /// No files: what does not fit in memory is sent once.
    Off,
}

/// Why a request body was not received.
#[derive(Debug, thiserror::Error)]
pub enum ReceiveError {
    /// It failed while it was read.
    #[error(transparent)]
    Body(BodyError),
    /// It is, or says that it is, larger than allowed.
    #[error("the request body is larger than {0} bytes")]
    TooLarge(u64),
}

/// Receives request bodies so that they can be sent again. Cloning shares the spool.
#[derive(Debug, Clone)]
pub struct Spool(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    settings: SpoolSettings,
    held: AtomicU64,
}

impl Spool {
    /// A spool that holds nothing yet; no file is made before one is needed.
    pub fn new(settings: SpoolSettings) -> Self {
        Self(Arc::new(Shared { settings, held: AtomicU64::new(0) }))
    }

    /// Bytes of the files that are held or promised now.
    pub fn bytes_held(&self) -> u64 {
        self.0.held.load(Ordering::Relaxed)
    }

    /// Reads a body of `declared` length, or of unknown length.
    ///
    /// Returns when all of it is here; with the spool full, off or broken, as soon as that is known. Trailers are
    /// dropped: no client of the API sends any, and none may smuggle a field past the rewriting. Time limits are the
    /// body's own.
    ///
    /// # Errors
    /// `TooLarge` before a byte is read if `declared` says so, else once too much came; `Body` if the body failed or
    /// was not as long as declared.
    pub async fn receive(&self, body: Body, declared: Option<u64>) -> Result<Parcel, ReceiveError> {
        let settings = &self.0.settings;
        if declared.is_some_and(|length| length > settings.max_body) {
            return Err(ReceiveError::TooLarge(settings.max_body));
        }
        let mut intake = Intake { body, declared, received: 0, max_body: settings.max_body };
        let promised = declared.filter(|length| *length > size(settings.memory_bytes));
        let reserved = match promised {
            None => None,
            Some(length) => match Reserved::take(&self.0, length) {
                Some(reserved) => Some(reserved),
                // Nothing is read: the client is asked for its body when a permit is there.
                None => return Ok(Parcel::once(None, Bytes::new(), intake)),
            },
        };
        let mut buffer = BytesMut::new();
        while buffer.len() <= settings.memory_bytes {
            match intake.next().await.map_err(too_large)? {
                Some(data) => buffer.extend_from_slice(&data),
                None => return Ok(Parcel::small(buffer.freeze())),
            }
        }
        self.to_file(intake, buffer, reserved).await
    }

    async fn to_file(
        &self,
        mut intake: Intake,
        buffer: BytesMut,
        reserved: Option<Reserved>,
    ) -> Result<Parcel, ReceiveError> {
        let Some(reserved) = reserved.or_else(|| Reserved::take(&self.0, 0)) else {
            return Ok(Parcel::once(None, buffer.freeze(), intake));
        };
        let dir = self.0.settings.dir.clone();
        let opened = blocking(move || match dir {
            Some(dir) => tempfile::tempfile_in(dir),
            None => tempfile::tempfile(),
        });
        let Ok(file) = opened.await else { return Ok(Parcel::once(None, buffer.freeze(), intake)) };
        let mut writing = Writing { file: Arc::new(file), written: 0, buffer, reserved };
        loop {
            let is_end = match intake.next().await.map_err(too_large)? {
                Some(data) => {
                    writing.buffer.extend_from_slice(&data);
                    false
                }
                None => true,
            };
            if (is_end || writing.buffer.len() >= BATCH_BYTES) && !writing.flush().await {
                let (kept, buffer) = writing.into_parts();
                return Ok(Parcel::once(Some(kept), buffer, intake));
            }
            if is_end {
                return Ok(Parcel(Kind::Spooled(writing.into_parts().0)));
            }
        }
    }
}

/// A body that is received: its bytes are counted against what was declared and what is allowed.
struct Intake {
    body: Body,
    declared: Option<u64>,
    received: u64,
    max_body: u64,
}

impl Intake {
    async fn next(&mut self) -> Result<Option<Bytes>, BodyError> {
        std::future::poll_fn(|cx| self.poll_next(cx)).await
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, BodyError>> {
        loop {
            let Some(frame) = ready!(Pin::new(&mut self.body).poll_frame(cx)?) else {
                return Poll::Ready(match self.declared {
                    Some(declared) if declared != self.received => Err(wrong_length(declared)),
                    _ => Ok(None),
                });
            };
            let Ok(data) = frame.into_data() else { continue };
            self.received = self.received.saturating_add(size(data.len()));
            if self.received > self.max_body {
                return Poll::Ready(Err(BodyError::TooLarge(self.max_body)));
            }
            return Poll::Ready(match self.declared {
                Some(declared) if declared < self.received => Err(wrong_length(declared)),
                _ => Ok(Some(data)),
            });
        }
    }
}

/// A part of the spool's room, given back on drop.
#[derive(Debug)]
struct Reserved {
    shared: Arc<Shared>,
    bytes: u64,
}

impl Reserved {
    fn take(shared: &Arc<Shared>, bytes: u64) -> Option<Self> {
        let mut reserved = Self { shared: Arc::clone(shared), bytes: 0 };
        reserved.grow_to(bytes).then_some(reserved)
    }

    /// False if the spool has no room for that.
    fn grow_to(&mut self, bytes: u64) -> bool {
        let SpoolRoom::Bytes(room) = self.shared.settings.room else { return false };
        let more = bytes.saturating_sub(self.bytes);
        let grown = self.shared.held.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |held| {
            held.checked_add(more).filter(|held| *held <= room)
        });
        if grown.is_ok() {
            self.bytes += more;
        }
        grown.is_ok()
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        self.shared.held.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

struct Writing {
    file: Arc<File>,
    written: u64,
    buffer: BytesMut,
    reserved: Reserved,
}

impl Writing {
    /// Moves the buffer into the file. False if that is impossible; the buffer is then still whole.
    async fn flush(&mut self) -> bool {
        let end = self.written + size(self.buffer.len());
        if !self.reserved.grow_to(end) {
            return false;
        }
        let (file, batch, at) = (Arc::clone(&self.file), self.buffer.split().freeze(), self.written);
        let copy = batch.clone();
        let outcome = blocking(move || file.write_all_at(&copy, at)).await;
        if outcome.is_err() {
            self.buffer = BytesMut::from(batch.as_ref());
            return false;
        }
        // The allocation is used again unless the blocking thread has not let go of it yet.
        if let Ok(mut batch) = batch.try_into_mut() {
            batch.clear();
            self.buffer = batch;
        }
        self.written = end;
        true
    }

    fn into_parts(self) -> (Kept, Bytes) {
        let held = Held { file: self.file, _reserved: self.reserved };
        (Kept { held: Arc::new(held), length: self.written }, self.buffer.freeze())
    }
}

/// The beginning of a file that bodies are read from.
#[derive(Debug, Clone)]
struct Kept {
    held: Arc<Held>,
    length: u64,
}

/// A spool file; gone, and its room free, when the last reader is.
#[derive(Debug)]
struct Held {
    file: Arc<File>,
    _reserved: Reserved,
}

/// A request body that waits to be sent.
///
/// # Drop
/// Gives its part of the spool back, once the bodies made of it are dropped too.
#[derive(Debug)]
pub struct Parcel(Kind);

#[derive(Debug)]
enum Kind {
    Nothing,
    Once { body: Option<Body>, length: Option<u64> },
    Small(Bytes),
    Spooled(Kept),
}

impl Parcel {
    /// A parcel without a body.
    pub fn nothing() -> Self {
        Self(Kind::Nothing)
    }

    fn small(bytes: Bytes) -> Self {
        Self(if bytes.is_empty() { Kind::Nothing } else { Kind::Small(bytes) })
    }

    fn once(kept: Option<Kept>, buffer: Bytes, intake: Intake) -> Self {
        let length = intake.declared;
        let kept = kept.map(FileBody::new);
        let left = length;
        Self(Kind::Once { body: Some(Body::stream(OnceBody { kept, buffer, intake, left })), length })
    }

    /// Bytes of the body; none if only the sender knows.
    pub fn length(&self) -> Option<u64> {
        match &self.0 {
            Kind::Nothing => Some(0),
            Kind::Once { length, .. } => *length,
            Kind::Small(bytes) => Some(size(bytes.len())),
            Kind::Spooled(kept) => Some(kept.length),
        }
    }

    /// The body from its beginning, for one attempt; attempts do not disturb each other. None if it cannot be sent
    /// again.
    pub fn attempt(&mut self) -> Option<Body> {
        match &mut self.0 {
            Kind::Nothing => Some(Body::empty()),
            Kind::Once { body, .. } => body.take(),
            Kind::Small(bytes) => Some(Body::whole(bytes.clone())),
            Kind::Spooled(kept) => Some(Body::stream(FileBody::new(kept.clone()))),
        }
    }

    /// Whether any number of attempts can be made.
    pub fn is_repeatable(&self) -> bool {
        !matches!(self.0, Kind::Once { .. })
    }
}

/// Reads a spool file with an offset of its own and one batch in memory.
struct FileBody {
    kept: Kept,
    offset: u64,
    reading: Option<JoinHandle<io::Result<Bytes>>>,
}

impl FileBody {
    fn new(kept: Kept) -> Self {
        Self { kept, offset: 0, reading: None }
    }

    fn left(&self) -> u64 {
        self.kept.length.saturating_sub(self.offset)
    }
}

impl HttpBody for FileBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let left = self.left();
        if left == 0 {
            return Poll::Ready(None);
        }
        let (held, offset) = (Arc::clone(&self.kept.held), self.offset);
        let reading = self.reading.get_or_insert_with(|| {
            let batch = usize::try_from(left).unwrap_or(usize::MAX).min(BATCH_BYTES);
            spawn_blocking(move || {
                let mut buffer = vec![0; batch];
                held.file.read_exact_at(&mut buffer, offset)?;
                Ok(Bytes::from(buffer))
            })
        });
        let read = ready!(Pin::new(reading).poll(cx)).unwrap_or_else(|error| Err(stopped(error)));
        self.reading = None;
        Poll::Ready(Some(match read {
            Ok(data) => {
                self.offset += size(data.len());
                Ok(Frame::data(data))
            }
            Err(error) => Err(BodyError::Spool(error)),
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.left() == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left())
    }
}

/// What was already received, then the rest from the sender.
struct OnceBody {
    kept: Option<FileBody>,
    buffer: Bytes,
    intake: Intake,
    left: Option<u64>,
}

impl OnceBody {
    fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, BodyError>>> {
        if let Some(kept) = &mut self.kept
            && let Some(frame) = ready!(Pin::new(kept).poll_frame(cx)?)
        {
            return Poll::Ready(Some(Ok(frame.into_data().unwrap_or_default())));
        }
        self.kept = None;
        if !self.buffer.is_empty() {
            return Poll::Ready(Some(Ok(std::mem::take(&mut self.buffer))));
        }
        self.intake.poll_next(cx).map(Result::transpose)
    }
}

impl HttpBody for OnceBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let data = ready!(self.poll_data(cx)?);
        if let (Some(data), Some(left)) = (&data, &mut self.left) {
            *left = left.saturating_sub(size(data.len()));
        }
        Poll::Ready(data.map(|data| Ok(Frame::data(data))))
    }

    fn size_hint(&self) -> SizeHint {
        self.left.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    spawn_blocking(work).await.unwrap_or_else(|error| Err(stopped(error)))
}

/// The runtime is shutting down.
fn stopped(error: JoinError) -> io::Error {
    io::Error::other(error)
}

fn too_large(error: BodyError) -> ReceiveError {
    match error {
        BodyError::TooLarge(limit) => ReceiveError::TooLarge(limit),
        error => ReceiveError::Body(error),
    }
}

fn wrong_length(declared: u64) -> BodyError {
    BodyError::Broken(Side::Client, format!("it is not {declared} bytes long as declared").into())
}

fn size(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

/// One trip to the disk: the memory that one transfer needs.
const BATCH_BYTES: usize = 128 * 1024;

#[cfg(test)]
mod tests;
