//! Decides when a request body counts as sent, stalled or no longer wanted.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use crate::body::{Body, BodyError};
use crate::clock::Clock;

use super::{Failed, Phase};

/// One request body on its way, as the sender of the request sees it.
#[derive(Debug, Clone)]
pub(super) struct Sending(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    ended: Notify,
    clock: Clock,
}

#[derive(Debug)]
struct State {
    stage: Stage,
    since: Instant,
    failure: Option<BodyError>,
    waker: Option<Waker>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// The upstream has to take what it was given.
    Writing,
    /// The client has to give more.
    Asking,
    /// All of it was taken, or it failed.
    Ended,
    /// The upstream refused half-way: the rest stays here while its answer is read.
    Held,
    /// The answer is over and the rest is not wanted.
    Cut,
}

impl Sending {
    /// Wraps `body` and watches it.
    pub(super) fn watch(body: Body, clock: Clock) -> (Self, Watched) {
        let stage = if body.is_end_stream() { Stage::Ended } else { Stage::Writing };
        let state = State { stage, since: clock.now(), failure: None, waker: None };
        let sending = Self(Arc::new(Shared { state: Mutex::new(state), ended: Notify::new(), clock }));
        (sending.clone(), Watched { body, rest: Bytes::new(), sending })
    }

    /// Waits until the upstream has been silent for too long: while it should take the body, or after that.
    pub(super) async fn silence(&self, write: Duration, header: Duration) -> Failed {
        self.state().since = self.0.clock.now();
        loop {
            let (stage, since) = {
                let state = self.state();
                (state.stage, state.since)
            };
            let (phase, limit, from) = match stage {
                Stage::Writing => (Phase::Write, write, since),
                // The client's silence is not the upstream's fault, and has its own limit.
                Stage::Asking => (Phase::Write, write, self.0.clock.now()),
                Stage::Ended | Stage::Held | Stage::Cut => (Phase::Header, header, since),
            };
            if from + limit <= self.0.clock.now() {
                return Failed::TimedOut { phase, limit };
            }
            tokio::select! {
                () = self.0.ended.notified() => {}
                () = sleep_until(from + limit) => {}
            }
        }
    }

    /// Stops the body where it is, because the upstream refused the request. Says whether anything was left.
    pub(super) fn hold(&self) -> bool {
        let mut state = self.state();
        let is_unfinished = state.stage != Stage::Ended;
        if is_unfinished {
            state.stage = Stage::Held;
        }
        is_unfinished
    }

    /// Gives up what is left of the body: on HTTP/1.1 the connection ends with it.
    pub(super) fn cut(&self) {
        let mut state = self.state();
        if state.stage != Stage::Ended {
            state.stage = Stage::Cut;
        }
        let waker = state.waker.take();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// The body's own failure, if that is what ended the exchange.
    pub(super) fn take_failure(&self) -> Option<BodyError> {
        self.state().failure.take()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn enter(&self, stage: Stage) {
        let mut state = self.state();
        if matches!(state.stage, Stage::Writing | Stage::Asking) {
            state.stage = stage;
            state.since = self.0.clock.now();
        }
        if stage == Stage::Ended {
            state.stage = Stage::Ended;
            self.0.ended.notify_one();
        }
    }

    fn fail(&self, error: BodyError) {
        self.state().failure = Some(error);
        self.enter(Stage::Ended);
    }
}

/// The body as hyper sees it.
///
/// # Drop
/// hyper drops a body when its last byte was taken: the header timeout starts.
pub(super) struct Watched {
    body: Body,
    rest: Bytes,
    sending: Sending,
}

/// Tells hyper to break the exchange off; the reason is kept in [`Sending`].
#[derive(Debug, thiserror::Error)]
#[error("the request body ended early")]
pub(super) struct Stopped;

impl Watched {
    /// Small pieces make progress visible: a slow upstream is told from one that stands still.
    fn piece(&mut self) -> Frame<Bytes> {
        let piece = self.rest.split_to(self.rest.len().min(PIECE_BYTES));
        self.sending.enter(Stage::Writing);
        Frame::data(piece)
    }
}

impl HttpBody for Watched {
    type Data = Bytes;
    type Error = Stopped;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Stopped>>> {
        {
            let mut state = self.sending.state();
            match state.stage {
                Stage::Cut => return Poll::Ready(Some(Err(Stopped))),
                Stage::Held => {
                    state.waker = Some(cx.waker().clone());
                    return Poll::Pending;
                }
                // An answer may come while the body waits for its sender: cutting it must wake this task.
                Stage::Writing | Stage::Asking | Stage::Ended => state.waker = Some(cx.waker().clone()),
            }
        }
        if !self.rest.is_empty() {
            return Poll::Ready(Some(Ok(self.piece())));
        }
        match Pin::new(&mut self.body).poll_frame(cx) {
            Poll::Pending => {
                self.sending.enter(Stage::Asking);
                Poll::Pending
            }
            Poll::Ready(None) => {
                self.sending.enter(Stage::Ended);
                Poll::Ready(None)
            }
            Poll::Ready(Some(Err(error))) => {
                self.sending.fail(error);
                Poll::Ready(Some(Err(Stopped)))
            }
            Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                Ok(data) => {
                    self.rest = data;
                    Poll::Ready(Some(Ok(self.piece())))
                }
                Err(trailers) => Poll::Ready(Some(Ok(trailers))),
            },
        }
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let held = u64::try_from(self.rest.len()).unwrap_or(u64::MAX);
        let mut hint = self.body.size_hint();
        if let Some(upper) = hint.upper() {
            hint.set_upper(upper.saturating_add(held));
        }
        hint.set_lower(hint.lower().saturating_add(held));
        hint
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.sending.enter(Stage::Ended);
    }
}

const PIECE_BYTES: usize = 64 * 1024;
