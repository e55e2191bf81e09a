//! Decides what a spool file may take, and gives it back.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::{Bytes, BytesMut};
use tokio::runtime::Handle;
use tokio::task::{JoinError, JoinHandle, spawn_blocking};

use super::{Shared, SpoolRoom, size};

/// A file's place and a part of the spool's room, given back on drop.
#[derive(Debug)]
pub(super) struct Reserved {
    shared: Arc<Shared>,
    bytes: u64,
}

impl Reserved {
    pub(super) fn take(shared: &Arc<Shared>, bytes: u64) -> Option<Self> {
        let max_files = shared.settings.max_files;
        let one_more = |files: usize| files.checked_add(1).filter(|files| *files <= max_files);
        shared.files.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).ok()?;
        let mut reserved = Self { shared: Arc::clone(shared), bytes: 0 };
        reserved.grow_to(bytes).then_some(reserved)
    }

    /// False if the spool has no room for that.
    pub(super) fn grow_to(&mut self, bytes: u64) -> bool {
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
        self.shared.files.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A file that is being filled: what was written, then what still waits in memory.
#[derive(Debug)]
pub(super) struct Writing {
    file: Arc<File>,
    written: u64,
    buffer: BytesMut,
    reserved: Reserved,
}

impl Writing {
    /// `buffer` is what was received so far.
    pub(super) fn new(file: File, buffer: BytesMut, reserved: Reserved) -> Self {
        Self { file: Arc::new(file), written: 0, buffer, reserved }
    }

    pub(super) fn push(&mut self, data: &[u8]) {
        self.buffer.extend_from_slice(data);
    }

    /// A trip to the disk is worth it.
    pub(super) fn is_full(&self) -> bool {
        self.buffer.len() >= BATCH_BYTES
    }

    /// Moves the buffer into the file. False if that is impossible; the buffer is then still whole.
    pub(super) async fn flush(&mut self) -> bool {
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

    pub(super) fn into_parts(self) -> (Kept, Bytes) {
        let held = Held { file: self.file, reserved: Some(self.reserved) };
        (Kept { held: Arc::new(held), length: self.written }, self.buffer.freeze())
    }
}

/// The beginning of a file that bodies are read from.
#[derive(Debug, Clone)]
pub(super) struct Kept {
    held: Arc<Held>,
    length: u64,
}

impl Kept {
    pub(super) fn length(&self) -> u64 {
        self.length
    }

    /// Starts reading one batch on a thread that may block; an error if the file is shorter than it was. `last` is the batch
    /// before: if nobody else holds it, its memory is used again.
    pub(super) fn read(&self, offset: u64, last: Bytes) -> JoinHandle<io::Result<Bytes>> {
        let left = self.length.saturating_sub(offset);
        let batch = usize::try_from(left).unwrap_or(usize::MAX).min(BATCH_BYTES);
        let held = Arc::clone(&self.held);
        spawn_blocking(move || {
            let mut buffer = last.try_into_mut().unwrap_or_default();
            buffer.resize(batch, 0);
            held.file.read_exact_at(&mut buffer, offset)?;
            Ok(buffer.freeze())
        })
    }
}

/// A spool file; gone, and its room free, soon after the last reader is: to take back its pages lasts milliseconds, which a thread
/// has that may block.
#[derive(Debug)]
struct Held {
    file: Arc<File>,
    reserved: Option<Reserved>,
}

impl Drop for Held {
    fn drop(&mut self) {
        let (file, reserved) = (Arc::clone(&self.file), self.reserved.take());
        // Without a runtime both go right here.
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn_blocking(move || drop((file, reserved)));
        }
    }
}

pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    spawn_blocking(work).await.unwrap_or_else(|error| Err(stopped(error)))
}

/// The runtime is shutting down.
pub(super) fn stopped(error: JoinError) -> io::Error {
    io::Error::other(error)
}

/// One trip to the disk: the memory that one transfer needs.
pub(super) const BATCH_BYTES: usize = 256 * 1024;
