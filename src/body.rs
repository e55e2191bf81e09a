//! The one body type that every room passes on, and what can go wrong while it flows.

use std::num::NonZeroU32;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::Sleep;

use crate::words::Side;

/// Whatever a library calls its error.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Why a body ended before its end. A reader that meets one must break its own connection visibly.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// The sender reset the stream, closed early or framed it wrongly.
    #[error("the {0} broke the body off: {1}")]
    Broken(Side, #[source] BoxError),
    /// A kept file failed or is damaged.
    #[error("the cache's disk failed: {0}")]
    Cache(#[source] std::io::Error),
    /// The content coding cannot be read, or unpacks to more than it may.
    #[error("the {0} sent a body that cannot be decoded: {1}")]
    Garbled(Side, #[source] BoxError),
    /// The spool file failed.
    #[error("the spool failed: {0}")]
    Spool(#[source] std::io::Error),
    /// No byte came for too long.
    #[error("the {0} sent nothing for {1:?}")]
    Stalled(Side, Duration),
    /// More bytes than a body may have.
    #[error("the body is larger than {0} bytes")]
    TooLarge(u64),
    /// Bytes came, but too few for the time that was waited for them.
    #[error("the {0} sent less than {1} bytes a second")]
    TooSlow(Side, NonZeroU32),
}

/// A request or response body: bytes and trailers, streamed, never collected unless a room says so.
///
/// Dropping it before its end tells the sender that nobody reads on.
pub struct Body(Kind);

enum Kind {
    Empty,
    Whole(Bytes),
    Kept { chunks: Arc<[Bytes]>, next: usize, left: u64 },
    Received(Incoming, Side),
    Stream(Pin<Box<dyn HttpBody<Data = Bytes, Error = BodyError> + Send>>),
}

impl Body {
    /// No bytes at all.
    pub fn empty() -> Self {
        Self(Kind::Empty)
    }

    /// All bytes at once.
    pub fn whole(bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        if bytes.is_empty() { Self::empty() } else { Self(Kind::Whole(bytes)) }
    }

    /// Chunks shared with a keeper, sent without copying.
    pub fn kept(chunks: Arc<[Bytes]>) -> Self {
        let left = chunks.iter().map(|chunk| u64::try_from(chunk.len()).unwrap_or(u64::MAX)).sum();
        Self(Kind::Kept { chunks, next: 0, left })
    }

    /// Kept chunks, then what still comes.
    pub fn chained(first: Arc<[Bytes]>, rest: Self) -> Self {
        Self::stream(Chained { first: Self::kept(first), rest })
    }

    /// What hyper receives from `side`.
    pub fn received(incoming: Incoming, side: Side) -> Self {
        if incoming.is_end_stream() { Self::empty() } else { Self(Kind::Received(incoming, side)) }
    }

    /// Any other stream of frames.
    pub fn stream(inner: impl HttpBody<Data = Bytes, Error = BodyError> + Send + 'static) -> Self {
        Self(Kind::Stream(Box::pin(inner)))
    }

    /// Takes it to its end, whatever that is, for those who share it.
    pub async fn drain(mut self) {
        while let Some(Ok(_)) = std::future::poll_fn(|cx| Pin::new(&mut self).poll_frame(cx)).await {}
    }

    /// Its bytes alone.
    pub fn without_trailers(self) -> Self {
        match self.0 {
            Kind::Empty | Kind::Whole(_) | Kind::Kept { .. } => self,
            Kind::Received(..) | Kind::Stream(_) => Self::stream(Bare(self)),
        }
    }

    /// Fails with [`BodyError::Stalled`] when `side` lets `limit` pass without a frame.
    ///
    /// Only time spent waiting for the sender counts: a slow reader does not trip it.
    pub fn with_idle_timeout(self, side: Side, limit: Duration) -> Self {
        match self.0 {
            Kind::Empty | Kind::Whole(_) | Kind::Kept { .. } => self,
            Kind::Received(..) | Kind::Stream(_) => {
                Self::stream(Timed { inner: self, side, limit, timer: None })
            }
        }
    }
}

impl Default for Body {
    fn default() -> Self {
        Self::empty()
    }
}

impl std::fmt::Debug for Body {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Body({:?})", self.size_hint())
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match &mut self.0 {
            Kind::Empty => Poll::Ready(None),
            Kind::Whole(bytes) => {
                let bytes = std::mem::take(bytes);
                self.0 = Kind::Empty;
                Poll::Ready(Some(Ok(Frame::data(bytes))))
            }
            Kind::Kept { chunks, next, left } => {
                let chunk = chunks.get(*next).cloned();
                *next += 1;
                Poll::Ready(chunk.map(|chunk| {
                    *left = left.saturating_sub(u64::try_from(chunk.len()).unwrap_or(u64::MAX));
                    Ok(Frame::data(chunk))
                }))
            }
            Kind::Received(incoming, side) => {
                let side = *side;
                Pin::new(incoming).poll_frame(cx).map_err(|error| BodyError::Broken(side, error.into()))
            }
            Kind::Stream(inner) => inner.as_mut().poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Kind::Empty => true,
            Kind::Whole(_) => false,
            Kind::Kept { chunks, next, .. } => *next >= chunks.len(),
            Kind::Received(incoming, _) => incoming.is_end_stream(),
            Kind::Stream(inner) => inner.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Kind::Empty => SizeHint::with_exact(0),
            Kind::Whole(bytes) => SizeHint::with_exact(u64::try_from(bytes.len()).unwrap_or(u64::MAX)),
            Kind::Kept { left, .. } => SizeHint::with_exact(*left),
            Kind::Received(incoming, _) => incoming.size_hint(),
            Kind::Stream(inner) => inner.size_hint(),
        }
    }
}

struct Chained {
    first: Body,
    rest: Body,
}

impl HttpBody for Chained {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match ready!(Pin::new(&mut self.first).poll_frame(cx)) {
            Some(frame) => Poll::Ready(Some(frame)),
            None => Pin::new(&mut self.rest).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.first.is_end_stream() && self.rest.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let first = self.first.size_hint().lower();
        let rest = self.rest.size_hint();
        let mut both = SizeHint::new();
        both.set_lower(first.saturating_add(rest.lower()));
        if let Some(upper) = rest.upper().and_then(|upper| upper.checked_add(first)) {
            both.set_upper(upper);
        }
        both
    }
}

struct Bare(Body);

impl HttpBody for Bare {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let frame = ready!(Pin::new(&mut self.0).poll_frame(cx));
        // Trailers are the last frame.
        Poll::Ready(frame.filter(|frame| !frame.as_ref().is_ok_and(Frame::is_trailers)))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.size_hint()
    }
}

struct Timed {
    inner: Body,
    side: Side,
    limit: Duration,
    timer: Option<Pin<Box<Sleep>>>,
}

impl HttpBody for Timed {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.inner).poll_frame(cx) {
            self.timer = None;
            return Poll::Ready(frame);
        }
        let limit = self.limit;
        let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep(limit)));
        ready!(timer.as_mut().poll(cx));
        Poll::Ready(Some(Err(BodyError::Stalled(self.side, limit))))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
