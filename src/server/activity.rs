//! What a connection is doing and until when it may: the deadlines of every phase, in one place.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

use super::chatter::Chatter;
use super::pace::Pace;

/// One connection's phase, told by its socket, its requests and its answers.
#[derive(Debug)]
pub(super) struct Activity {
    state: Mutex<State>,
    header_timeout: Duration,
    idle_timeout: Duration,
    write_stall_timeout: Duration,
}

#[derive(Debug)]
struct State {
    open: usize,
    /// How long a connection is quiet before it rests; none for one that cannot.
    rests_after: Option<Duration>,
    waits_for_quiet: Option<Waker>,
    quiet: Quiet,
    writing: Pace,
    chatter: Chatter,
    tails: BTreeMap<u64, Instant>,
    last_tail: u64,
    unread: Unread,
}

/// What a connection without an open request is in.
#[derive(Debug, Clone, Copy)]
enum Quiet {
    /// A head is awaited or half read.
    Head { by: Instant },
    /// Between requests; at the second instant, if there is one, its buffers may go.
    Idle { by: Instant, rests_at: Option<Instant> },
}

/// Whether the client may still be sending a body that nobody will read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unread {
    /// All that was announced has been read.
    Nothing,
    /// The rest of a request body.
    Rest,
}

/// Which deadline passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Expiry {
    /// No request for `idle_timeout`: say goodbye.
    Idle,
    /// No request for `rest_after`, and nothing left to write; said once each time, of a connection that may rest.
    Quiet,
    /// A head that did not come, or bytes that were not taken: drop.
    Stalled,
}

impl Activity {
    pub(super) fn new(settings: &super::ServerSettings) -> Arc<Self> {
        let quiet = Quiet::Head { by: after(settings.header_timeout) };
        let writing = Pace::new(settings.write_stall_timeout, settings.min_rate);
        let (chatter, tails, unread) = (Chatter::new(Instant::now()), BTreeMap::new(), Unread::Nothing);
        Arc::new(Self {
            state: Mutex::new(State {
                open: 0,
                rests_after: None,
                waits_for_quiet: None,
                quiet,
                writing,
                chatter,
                tails,
                last_tail: 0,
                unread,
            }),
            header_timeout: settings.header_timeout,
            idle_timeout: settings.idle_timeout,
            write_stall_timeout: settings.write_stall_timeout,
        })
    }

    /// The time for the first head begins now.
    pub(super) fn expect_head(&self) {
        self.finish_by(after(self.header_timeout));
    }

    /// What is still open may go on; silence after `by` ends the connection.
    pub(super) fn finish_by(&self, by: Instant) {
        self.state().quiet = Quiet::Head { by };
    }

    /// From now on it is said when nothing has been going on for so long.
    pub(super) fn may_rest(&self, after: Duration) {
        self.state().rests_after = Some(after);
    }

    /// A request began; it is in progress until the guard and its clones are gone.
    pub(super) fn begin(self: &Arc<Self>) -> Arc<InProgress> {
        let mut state = self.state();
        state.open += 1;
        state.chatter.request();
        drop(state);
        Arc::new(InProgress(self.clone()))
    }

    /// The end of an answer was handed to the connection; until the guard is gone its client has not taken it.
    pub(super) fn hand_tail(self: &Arc<Self>) -> Tail {
        let mut state = self.state();
        state.last_tail += 1;
        let number = state.last_tail;
        state.tails.insert(number, Instant::now());
        Tail { activity: self.clone(), number }
    }

    /// No request is open.
    pub(super) fn is_quiet(&self) -> bool {
        self.state().open == 0
    }

    /// Ready when no request is open; one task may wait for it.
    pub(super) fn poll_quiet(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.state();
        if state.open == 0 {
            return Poll::Ready(());
        }
        state.waits_for_quiet = Some(cx.waker().clone());
        Poll::Pending
    }

    /// No request is open, and one is awaited or half read.
    pub(super) fn is_fresh(&self) -> bool {
        let state = self.state();
        state.open == 0 && matches!(state.quiet, Quiet::Head { .. })
    }

    pub(super) fn set_unread(&self, unread: Unread) {
        self.state().unread = unread;
    }

    pub(super) fn unread(&self) -> Unread {
        self.state().unread
    }

    /// Waits until a deadline passes. Must be polled by the connection's own task, after the connection.
    pub(super) async fn expired(&self) -> Expiry {
        let mut timer = Box::pin(sleep_until(after(self.header_timeout)));
        poll_fn(|cx| self.poll_expired(&mut timer, cx)).await
    }

    fn poll_expired(&self, timer: &mut Pin<Box<Sleep>>, cx: &mut Context<'_>) -> Poll<Expiry> {
        loop {
            let now = Instant::now();
            let (by, expiry) = self.deadline(now);
            if by <= now
                && let Some(expiry) = expiry
            {
                if expiry == Expiry::Quiet {
                    self.rest();
                }
                return Poll::Ready(expiry);
            }
            // Later deadlines are met lazily: the timer fires, and finds that it has to wait on.
            if by < timer.deadline() || timer.is_elapsed() {
                timer.as_mut().reset(by);
            }
            ready!(timer.as_mut().poll(cx));
        }
    }

    /// The next deadline; without an expiry it is only a time to look again.
    fn deadline(&self, now: Instant) -> (Instant, Option<Expiry>) {
        let state = self.state();
        let quiet = match state.quiet {
            _ if state.open > 0 => (later(now, self.idle_timeout.max(LOOK_AGAIN)), None),
            Quiet::Head { by } => (by, Some(Expiry::Stalled)),
            Quiet::Idle { by, rests_at: Some(at) } if at < by && state.writing.deadline().is_none() => {
                (at, Some(Expiry::Quiet))
            }
            Quiet::Idle { by, .. } => (by, Some(Expiry::Idle)),
        };
        let tail = state.tails.values().next().map(|handed_at| *handed_at + self.write_stall_timeout);
        match state.writing.deadline().into_iter().chain(tail).min() {
            Some(by) if by < quiet.0 => (by, Some(Expiry::Stalled)),
            _ => quiet,
        }
    }

    fn rest(&self) {
        if let Quiet::Idle { rests_at, .. } = &mut self.state().quiet {
            *rests_at = None;
        }
    }

    /// A frame of a request's body was read.
    pub(super) fn body_read(&self, bytes: usize) {
        self.state().chatter.body(bytes);
    }

    /// A piece of an answer was handed to the connection.
    pub(super) fn answer_handed(&self, bytes: usize) {
        self.state().chatter.answer(bytes);
    }

    /// Bytes of HTTP/1 came: what was idle awaits a head now.
    pub(super) fn bytes_read(&self) {
        let mut state = self.state();
        if state.open == 0 && matches!(state.quiet, Quiet::Idle { .. }) {
            state.quiet = Quiet::Head { by: after(self.header_timeout) };
        }
    }

    /// Bytes of HTTP/2 came; false if they are too many for what they mean.
    pub(super) fn takes(&self, bytes: usize) -> bool {
        self.state().chatter.take(bytes, Instant::now)
    }

    /// The socket took nothing.
    pub(super) fn write_blocked(&self) {
        self.state().writing.waits(Instant::now());
    }

    /// The socket took so many bytes.
    pub(super) fn written(&self, bytes: usize) {
        self.state().writing.moved(bytes, Instant::now);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A request that has not been answered wholly.
#[derive(Debug)]
pub(super) struct InProgress(Arc<Activity>);

impl InProgress {
    /// Bytes wait for the client to take some.
    pub(super) fn is_write_blocked(&self) -> bool {
        self.0.state().writing.deadline().is_some()
    }
}

impl Drop for InProgress {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.open = state.open.saturating_sub(1);
        if state.open == 0 {
            let now = Instant::now();
            let rests_at = state.rests_after.map(|quiet_for| later(now, quiet_for));
            state.quiet = Quiet::Idle { by: later(now, self.0.idle_timeout), rests_at };
            let waits = state.waits_for_quiet.take();
            drop(state);
            if let Some(waker) = waits {
                waker.wake();
            }
        }
    }
}

/// The end of an HTTP/2 answer that the client's window may not let out yet.
///
/// The task of its stream is over by then, so nothing but the connection is left to end when it is never taken.
#[derive(Debug)]
pub(super) struct Tail {
    activity: Arc<Activity>,
    number: u64,
}

impl Drop for Tail {
    fn drop(&mut self) {
        self.activity.state().tails.remove(&self.number);
    }
}

fn after(duration: Duration) -> Instant {
    later(Instant::now(), duration)
}

/// A deadline; a duration beyond the clock's range means a day, after which it is looked at again.
fn later(now: Instant, duration: Duration) -> Instant {
    now.checked_add(duration).unwrap_or(now + Duration::from_secs(24 * 60 * 60))
}

/// A busy connection is looked at this often, should an end go unnoticed.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
