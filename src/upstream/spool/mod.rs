//! Decides where a request body waits for its turn: in memory, in an unlinked file, or with its sender.

use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use http_body::Body as _;

use crate::body::{Body, BodyError};
use crate::machine::{Guard, Overloaded};
use crate::words::Side;

use file::{Reserved, Writing, blocking};

mod file;
mod parcel;

pub use parcel::Parcel;

/// Bounds of the spool.
#[derive(Debug, Clone)]
pub struct SpoolSettings {
    /// Where the files are made; none: the system's temporary directory.
    pub dir: Option<PathBuf>,
    /// For all files together.
    pub room: SpoolRoom,
    /// How many files there may be.
    pub max_files: usize,
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
    /// It does not fit in memory, which is short.
    #[error(transparent)]
    Overloaded(#[from] Overloaded),
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
    guard: Guard,
    held: AtomicU64,
    files: AtomicUsize,
}

impl Spool {
    /// A spool that holds nothing yet; no file is made before one is needed. `guard` says when there is no memory for
    /// what does not fit in a buffer.
    pub fn new(settings: SpoolSettings, guard: Guard) -> Self {
        let shared = Shared { settings, guard, held: AtomicU64::new(0), files: AtomicUsize::new(0) };
        Self(Arc::new(shared))
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
    /// `TooLarge` before a byte is read if `declared` says so, else once too much came; `Overloaded` likewise, if it does
    /// not fit in memory; `Body` if the body failed or was not as long as declared.
    pub async fn receive(&self, body: Body, declared: Option<u64>) -> Result<Parcel, ReceiveError> {
        let settings = &self.0.settings;
        if declared.is_some_and(|length| length > settings.max_body) {
            return Err(ReceiveError::TooLarge(settings.max_body));
        }
        let mut intake = Intake { body, declared, received: 0, max_body: settings.max_body };
        let promised = declared.filter(|length| *length > size(settings.memory_bytes));
        if promised.is_some() {
            self.0.guard.admit_upload()?;
        }
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
        if promised.is_none() {
            self.0.guard.admit_upload()?;
        }
        Box::pin(self.to_file(intake, buffer, reserved)).await
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
        let mut writing = Writing::new(file, buffer, reserved);
        loop {
            let is_end = match intake.next().await.map_err(too_large)? {
                Some(data) => {
                    writing.push(&data);
                    false
                }
                None => true,
            };
            if (is_end || writing.is_full()) && !writing.flush().await {
                let (kept, buffer) = writing.into_parts();
                return Ok(Parcel::once(Some(kept), buffer, intake));
            }
            if is_end {
                return Ok(Parcel::spooled(writing.into_parts().0));
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

#[cfg(test)]
mod tests;
