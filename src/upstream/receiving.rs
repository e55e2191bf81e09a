//! Decides whether an answer's body came whole, and what becomes of its connection.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::{Sleep, sleep};

use crate::body::BodyError;
use crate::words::Side;

use super::pool::Lent;
use super::seat::Seat;
use super::sending::Sending;

/// An answer's body as it arrives.
///
/// # Drop
/// Ends the request body too, if the upstream answered before it was sent: nobody is left to need it.
pub(super) struct Received {
    // Dropped before the connection, which then knows that nobody reads on.
    incoming: Incoming,
    carrier: Carrier,
    ending: Ending,
    sending: Option<Sending>,
    limit: Duration,
    timer: Option<Pin<Box<Sleep>>>,
}

/// What brings an answer.
pub(super) enum Carrier {
    /// A connection that others use, too, and that a task of its own drives.
    Common(Seat),
    /// A connection that has no more to do with it, or that brings it by itself.
    Gone,
    /// A connection that nobody else uses or drives.
    Own(Lent),
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
    /// A body that fails with [`BodyError::Stalled`] when nothing comes for `limit`: then its connection may be dead, and is
    /// not used again.
    pub(super) fn new(
        incoming: Incoming,
        mut carrier: Carrier,
        ending: Ending,
        sending: Sending,
        limit: Duration,
    ) -> Self {
        let sending = Some(sending).filter(|sending| !sending.is_ended());
        if sending.is_some() || carrier.is_free() {
            // Either all of the answer is here, or the request has to go on whether anybody reads the answer or not.
            carrier = Carrier::leave(carrier);
        }
        Self { incoming, carrier, ending, sending, limit, timer: None }
    }

    fn is_whole(&self) -> bool {
        self.ending == Ending::Checked
            || self.incoming.is_end_stream()
            || self.incoming.size_hint().exact() == Some(0)
    }

    /// Ready when nothing has come for too long.
    fn poll_stall(&mut self, cx: &mut Context<'_>) -> Poll<BodyError> {
        let limit = self.limit;
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep(limit)));
        timer.as_mut().poll(cx).map(|()| {
            self.carrier.spoil();
            BodyError::Stalled(Side::Upstream, limit)
        })
    }
}

impl Carrier {
    /// It carries nothing more after this exchange.
    pub(super) fn spoil(&mut self) {
        match self {
            Self::Common(seat) => seat.poison(),
            Self::Gone => {}
            Self::Own(lent) => lent.single().into_iter().for_each(|single| single.spoil()),
        }
    }

    fn is_free(&self) -> bool {
        matches!(self, Self::Own(lent) if lent.is_ready())
    }

    /// Lets go of a connection of one's own: it rests, or a task drives it on.
    fn leave(self) -> Self {
        match self {
            Self::Own(_) | Self::Gone => Self::Gone,
            Self::Common(seat) => Self::Common(seat),
        }
    }

    fn poll_frame(
        &mut self,
        incoming: Pin<&mut Incoming>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<hyper::Result<Frame<Bytes>>>> {
        let single = if let Self::Own(lent) = self { lent.single() } else { None };
        match single {
            Some(single) => single.poll_frame(incoming, cx),
            None => incoming.poll_frame(cx),
        }
    }
}

impl HttpBody for Received {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        let Poll::Ready(frame) = this.carrier.poll_frame(Pin::new(&mut this.incoming), cx) else {
            return this.poll_stall(cx).map(|stalled| Some(Err(stalled)));
        };
        this.timer = None;
        if this.carrier.is_free() {
            this.carrier = Carrier::Gone;
        }
        Poll::Ready(match frame {
            Some(Ok(frame)) => Some(Ok(frame)),
            Some(Err(error)) => Some(Err(BodyError::Broken(Side::Upstream, error.into()))),
            None if this.is_whole() => None,
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
        if let Some(sending) = &self.sending {
            sending.cut();
        }
    }
}
