//! Decides whether an answer's body came whole.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;

use crate::body::{Body, BodyError};
use crate::words::Side;

use super::seat::Seat;
use super::sending::Sending;

/// An answer's body as it arrives.
///
/// # Drop
/// Ends the request body too, if the upstream answered before it was sent: nobody is left to need it.
pub(super) struct Received {
    incoming: Incoming,
    ending: Ending,
    sending: Sending,
}

/// How the end of a body is known to be its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    /// HTTP/1.1: hyper checks length and chunks, TLS the closing of the connection.
    Checked,
    /// HTTP/2: hyper takes a reset without an error code for an end, so END_STREAM must have been seen.
    Flagged,
}

impl Received {
    pub(super) fn new(incoming: Incoming, ending: Ending, sending: Sending) -> Self {
        Self { incoming, ending, sending }
    }

    fn is_whole(&self) -> bool {
        self.ending == Ending::Checked
            || self.incoming.is_end_stream()
            || self.incoming.size_hint().exact() == Some(0)
    }
}

impl HttpBody for Received {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        Poll::Ready(match ready!(Pin::new(&mut self.incoming).poll_frame(cx)) {
            Some(Ok(frame)) => Some(Ok(frame)),
            Some(Err(error)) => Some(Err(BodyError::Broken(Side::Upstream, error.into()))),
            None if self.is_whole() => None,
            None => {
                Some(Err(BodyError::Broken(Side::Upstream, "the stream was reset before its end".into())))
            }
        })
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}

impl Drop for Received {
    fn drop(&mut self) {
        self.sending.cut();
    }
}

/// An answer's body that tells when nothing came for too long: its connection may be dead.
pub(super) struct Suspicious<F> {
    body: Body,
    on_stall: F,
    _seat: Seat,
}

impl<F: Fn()> Suspicious<F> {
    pub(super) fn new(body: Body, seat: Seat, on_stall: F) -> Self {
        Self { body, on_stall, _seat: seat }
    }
}

impl<F: Fn() + Unpin> HttpBody for Suspicious<F> {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        if matches!(frame, Some(Err(BodyError::Stalled(..)))) {
            (self.on_stall)();
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
