//! Why an answer breaks off, held back until what came before it has left: hyper throws away what it holds when it hears
//! of an error, and even the head waits for a moment.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::activity::InProgress;
use super::stall::note_handed;
use crate::body::BodyError;

/// The rest of an answer that broke off: nothing but its error, in its turn.
pub(super) struct Broken {
    /// With it ends the request.
    told: Option<(BodyError, Arc<InProgress>)>,
    before: Before,
}

/// How what came before is seen to leave.
enum Before {
    /// HTTP/2: with its marker, which stands in the stream's line.
    Marked { left: oneshot::Receiver<Infallible>, handed_at: Instant },
    /// HTTP/1: hyper writes at the end of this turn, as much as the socket takes.
    Written { had_its_turn: bool },
}

impl Broken {
    /// For HTTP/2: an empty piece to be handed over now, and the body that fails once that is gone.
    pub(super) fn behind_marker(error: BodyError, request: Arc<InProgress>) -> (Bytes, Self) {
        let (waiting, left) = oneshot::channel();
        let before = Before::Marked { left, handed_at: Instant::now() };
        (Bytes::from_owner(Marker(waiting)), Self { told: Some((error, request)), before })
    }

    /// For HTTP/1, where the body and the connection are polled by one task: the body that fails once nothing waits for the
    /// socket.
    pub(super) fn behind_socket(error: BodyError, request: Arc<InProgress>) -> Self {
        Self { told: Some((error, request)), before: Before::Written { had_its_turn: false } }
    }
}

impl Before {
    fn poll_left(&mut self, request: &InProgress, cx: &mut Context<'_>) -> Poll<()> {
        match self {
            Self::Marked { left, handed_at } => {
                if Pin::new(left).poll(cx).is_pending() {
                    // It is the client that is waited for.
                    note_handed(|| Some(*handed_at));
                    return Poll::Pending;
                }
            }
            Self::Written { had_its_turn } if !*had_its_turn => {
                *had_its_turn = true;
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            // The socket wakes this task.
            Self::Written { .. } if request.is_write_blocked() => return Poll::Pending,
            Self::Written { .. } => {}
        }
        Poll::Ready(())
    }
}

impl HttpBody for Broken {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        let Some((_, request)) = &this.told else { return Poll::Ready(None) };
        ready!(this.before.poll_left(request, cx));
        Poll::Ready(this.told.take().map(|(error, _request)| Err(error)))
    }
}

/// Is gone when it was written, or its stream was dropped.
struct Marker(#[expect(dead_code, reason = "its drop is what tells")] oneshot::Sender<Infallible>);

impl AsRef<[u8]> for Marker {
    fn as_ref(&self) -> &[u8] {
        &[]
    }
}
