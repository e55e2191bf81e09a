//! Decides when a request body counts as sent, stalled or no longer wanted.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep_until};

use crate::body::{Body, BodyError};
use crate::clock::Clock;

use super::{Failed, Phase};

/// One request body on its way, as the sender of the request sees it.
#[derive(Debug, Clone)]
pub(super) struct Sending(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    clock: Clock,
}

#[derive(Debug)]
struct State {
    stage: Stage,
    since: Instant,
    failure: Option<BodyError>,
    waker: Option<Waker>,
    /// Of who waits for the answer, while the end of the body changes how long.
    waiting: Option<Waker>,
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
        let state = State { stage, since: clock.now(), failure: None, waker: None, waiting: None };
        let sending = Self(Arc::new(Shared { state: Mutex::new(state), clock }));
        (sending.clone(), Watched { body, rest: Bytes::new(), sending })
    }

    /// Ready when the upstream has been silent for too long: while it should take the body, or after that.
    ///
    /// `timer` is the caller's. It may be set to an earlier time, from an exchange before: then it fires in vain once.
    pub(super) fn poll_silence(
        &self,
        cx: &mut Context<'_>,
        (write, header): (Duration, Duration),
        timer: &mut Option<Pin<Box<Sleep>>>,
    ) -> Poll<Failed> {
        loop {
            let now = self.0.clock.now();
            let (phase, limit, from) = {
                let mut state = self.state();
                let is_sent = matches!(state.stage, Stage::Ended | Stage::Held | Stage::Cut);
                if !is_sent {
                    state.waiting = Some(cx.waker().clone());
                }
                match state.stage {
                    // The client's silence is not the upstream's fault, and has its own limit.
                    Stage::Asking => (Phase::Write, write, now),
                    Stage::Writing => (Phase::Write, write, state.since),
                    Stage::Ended | Stage::Held | Stage::Cut => (Phase::Header, header, state.since),
                }
            };
            let by = from + limit;
            if by <= now {
                return Poll::Ready(Failed::TimedOut { phase, limit });
            }
            let timer = timer.get_or_insert_with(|| Box::pin(sleep_until(by)));
            if by < timer.deadline() || timer.is_elapsed() {
                timer.as_mut().reset(by);
            }
            ready!(timer.as_mut().poll(cx));
        }
    }

    /// It has a connection, after it waited for one.
    pub(super) fn begin(&self) {
        self.state().since = self.0.clock.now();
    }

    /// Whether nothing of the body is left.
    pub(super) fn is_ended(&self) -> bool {
        self.state().stage == Stage::Ended
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
            let waiting = state.waiting.take();
            drop(state);
            waiting.into_iter().for_each(Waker::wake);
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
