//! Decides how often a received body can be sent, and sends it.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio::task::JoinHandle;

use crate::body::{Body, BodyError};

use super::file::{Kept, stopped};
use super::{Intake, size};

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

    pub(super) fn small(bytes: Bytes) -> Self {
        Self(if bytes.is_empty() { Kind::Nothing } else { Kind::Small(bytes) })
    }

    pub(super) fn spooled(kept: Kept) -> Self {
        Self(Kind::Spooled(kept))
    }

    /// What was received so far, in the file and in memory; the rest comes from its sender.
    pub(super) fn once(kept: Option<Kept>, buffer: Bytes, intake: Intake) -> Self {
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
            Kind::Spooled(kept) => Some(kept.length()),
        }
    }

    /// All of it, if it is in memory.
    pub fn bytes(&self) -> Option<&[u8]> {
        match &self.0 {
            Kind::Nothing => Some(&[]),
            Kind::Small(bytes) => Some(bytes),
            Kind::Once { .. } | Kind::Spooled(_) => None,
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
    /// What was handed over last: it is sent, and given back, before more is asked for.
    last: Bytes,
    reading: Option<JoinHandle<io::Result<Bytes>>>,
}

impl FileBody {
    fn new(kept: Kept) -> Self {
        Self { kept, offset: 0, last: Bytes::new(), reading: None }
    }

    fn left(&self) -> u64 {
        self.kept.length().saturating_sub(self.offset)
    }
}

impl HttpBody for FileBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if self.left() == 0 {
            return Poll::Ready(None);
        }
        let offset = self.offset;
        let Self { kept, last, reading, .. } = &mut *self;
        let reading = reading.get_or_insert_with(|| kept.read(offset, std::mem::take(last)));
        let read = ready!(Pin::new(reading).poll(cx)).unwrap_or_else(|error| Err(stopped(error)));
        self.reading = None;
        Poll::Ready(Some(match read {
            Ok(data) => {
                self.offset += size(data.len());
                if self.left() > 0 {
                    self.last = data.clone();
                }
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
