//! Decides who may go and when: hands out permits in order, and learns from every answer.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;

mod bucket;
pub mod core;
mod learn;
mod signal;

pub use self::bucket::Rate;
pub use self::core::{CoreSettings, Reason};
pub use self::signal::{Signal, Wait, retry_after};

use crate::cache::Slot;

use self::core::{Core, Flight, Phase, Turn, Verdict};

/// What the gate must know.
#[derive(Debug, Clone)]
pub struct GateSettings {
    /// Whether anything is held back at all.
    pub mode: Mode,
    /// How the scheduler behaves.
    pub core: CoreSettings,
    /// Time in line that a request may spend in all its attempts together.
    pub max_wait: Duration,
}

/// Whether the gate holds requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Every request waits its turn.
    Enforce,
    /// Every request passes at once and nothing is learned.
    Off,
}

/// Why no permit was given: our limit, not the API's answer. `retry_after` is when a retry would get one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{}; a retry can pass in {retry_after:?}", match reason {
    Reason::Deadline => "the API's rate limit leaves no turn before the deadline",
    Reason::Full => "too many requests are waiting for the API's rate limit",
})]
pub struct Refused {
    /// Deadline or full.
    pub reason: Reason,
    /// Time until a retry can be admitted, as projected now; at least a second.
    pub retry_after: Duration,
}

/// One scheduler for one upstream. Cloning shares it.
#[derive(Debug, Clone)]
pub struct Gate {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    mode: Mode,
    max_wait: Duration,
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug)]
struct State {
    core: Core<oneshot::Sender<Result<Permit, Refused>>>,
    /// When the dispatcher must look again.
    timer: Option<Instant>,
}

/// A client request's claim on the line: its place and what is left of its time there.
///
/// Kept over replays: a refused request goes back to the head, and its time in line adds up.
#[derive(Debug)]
pub struct Ticket {
    turn: Turn,
    max_wait: Duration,
    waited: Duration,
}

impl Ticket {
    /// Time spent in line so far, over all attempts.
    pub fn waited(&self) -> Duration {
        self.waited
    }
}

/// The right to send one request upstream. Made only by the gate.
///
/// # Drop
/// An unsent permit gives its token back (decision 0005).
#[derive(Debug)]
pub struct Permit {
    hold: Option<Hold>,
}

/// A spent permit: one request in flight, until the gate hears how it was answered ([`Gate::learn`]).
///
/// # Drop
/// Dropped unheard, its place in flight is freed and nothing is learned.
#[derive(Debug)]
pub struct Receipt {
    hold: Option<Hold>,
    sent_at: Instant,
}

#[derive(Debug)]
struct Hold {
    shared: Arc<Shared>,
    flight: Flight,
}

/// The gate at a glance, for status and metrics.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Glance {
    /// Requests in line.
    pub waiting: usize,
    /// How long the first in line has been there.
    pub oldest_waited: Duration,
    /// Time until the gate reopens; `None` when it is open.
    pub closed_for: Option<Duration>,
    /// Whether one request at a time probes a gate that has just reopened.
    pub is_half_open: bool,
    /// Requests per second in force.
    pub rate: Rate,
}

impl Gate {
    /// An open gate. [`Gate::run`] must run beside it, or nobody who waits is ever told.
    pub fn new(settings: &GateSettings) -> Self {
        let core = Core::new(Instant::now(), settings.core.clone());
        Self {
            shared: Arc::new(Shared {
                mode: settings.mode,
                max_wait: settings.max_wait,
                state: Mutex::new(State { core, timer: None }),
                changed: Notify::new(),
            }),
        }
    }

    /// The dispatcher: the one timer of all waiters. Ends only when dropped.
    pub async fn run(&self) {
        loop {
            let timer = self.shared.lock().timer;
            let changed = self.shared.changed.notified();
            match timer {
                Some(at) => tokio::select! {
                    () = tokio::time::sleep_until(at) => self.shared.release(),
                    () = changed => {}
                },
                None => changed.await,
            }
        }
    }

    /// A place behind everybody who came before, with `max_wait` of time in line. Only what the cache has
    /// let through gets one.
    pub fn ticket(&self, _slot: &Slot) -> Ticket {
        let turn = self.shared.lock().core.turn();
        Ticket { turn, max_wait: self.shared.max_wait, waited: Duration::ZERO }
    }

    /// Waits for the ticket's turn. First come, first served.
    ///
    /// # Errors
    /// [`Refused`], at once if the turn cannot come in time, later if the gate closed meanwhile.
    ///
    /// # Drop
    /// Dropping the future leaves the line.
    pub async fn acquire(&self, ticket: &mut Ticket) -> Result<Permit, Refused> {
        if self.shared.mode == Mode::Off {
            return Ok(Permit { hold: None });
        }
        let joined_at = Instant::now();
        let deadline = joined_at + ticket.max_wait.saturating_sub(ticket.waited);
        let (reach, told) = oneshot::channel();
        let place = Place { shared: &self.shared, turn: ticket.turn };
        let joined = self.shared.lock().core.join(joined_at, ticket.turn, deadline, reach);
        if let Err((_, Verdict::Refused(reason, wait))) = joined {
            return Err(Refused::new(reason, wait));
        }
        self.shared.release();
        let verdict = told.await;
        ticket.waited += joined_at.elapsed();
        drop(place);
        // The sender lives in the core until it is used: a closed channel means the gate itself is gone.
        verdict.unwrap_or(Err(Refused::new(Reason::Full, Duration::ZERO)))
    }

    /// Lets a ticket rest before its next attempt, because the API asked for it or failed. False, at once, if
    /// that would be longer than it may spend in line.
    pub async fn pause(&self, ticket: &mut Ticket, pause: Duration) -> bool {
        let waited = ticket.waited.saturating_add(pause);
        let is_in_time = waited <= ticket.max_wait;
        if is_in_time {
            tokio::time::sleep(pause).await;
            ticket.waited = waited;
        }
        is_in_time
    }

    /// Time until requests may go again; none while they may.
    pub fn reopens_in(&self) -> Option<Duration> {
        self.glance().closed_for
    }

    /// Tells the gate how the API answered.
    pub fn learn(&self, mut receipt: Receipt, signal: Signal) {
        if let Some(hold) = receipt.hold.take() {
            hold.shared.lock().core.learn(Instant::now(), hold.flight, receipt.sent_at, signal);
            hold.shared.release();
        }
    }

    /// Depth, phase and rate as they are now.
    pub fn glance(&self) -> Glance {
        let now = Instant::now();
        let state = self.shared.lock();
        let core = &state.core;
        Glance {
            waiting: core.waiting(),
            oldest_waited: core
                .oldest_joined_at()
                .map_or(Duration::ZERO, |at| now.saturating_duration_since(at)),
            closed_for: match core.phase() {
                Phase::Closed(until) => Some(until.saturating_duration_since(now)),
                Phase::HalfOpen(_) | Phase::Open => None,
            },
            is_half_open: matches!(core.phase(), Phase::HalfOpen(_)),
            rate: core.rate(),
        }
    }
}

impl Refused {
    fn new(reason: Reason, wait: Duration) -> Self {
        Self { reason, retry_after: wait.max(Duration::from_secs(1)) }
    }
}

impl Permit {
    /// The request is about to reach the wire: the token is spent.
    pub fn spend(mut self) -> Receipt {
        Receipt { hold: self.hold.take(), sent_at: Instant::now() }
    }

    /// A permit outside any gate, for unit tests of the rooms that spend one.
    #[cfg(test)]
    pub(crate) fn free() -> Self {
        Self { hold: None }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some(hold) = self.hold.take() {
            hold.shared.lock().core.refund(hold.flight);
            hold.shared.release();
        }
    }
}

impl Drop for Receipt {
    fn drop(&mut self) {
        if let Some(hold) = self.hold.take() {
            hold.shared.lock().core.forget(hold.flight);
            hold.shared.release();
        }
    }
}

/// Leaves the line when the waiting future is dropped.
struct Place<'a> {
    shared: &'a Shared,
    turn: Turn,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.shared.lock().core.leave(self.turn);
    }
}

impl Shared {
    /// Tells everyone whose turn has come and sets the one timer.
    fn release(self: &Arc<Self>) {
        let mut state = self.lock();
        let next_at = state.core.release(Instant::now(), |reach, verdict| match verdict {
            Verdict::Go(flight) => {
                let permit = Permit { hold: Some(Hold { shared: Arc::clone(self), flight }) };
                // The waiter may have left: then the token stays, and this permit must not refund it again.
                reach.send(Ok(permit)).map_err(|unread| unread.map(|mut permit| permit.hold.take())).is_ok()
            }
            Verdict::Refused(reason, wait) => reach.send(Err(Refused::new(reason, wait))).is_ok(),
        });
        if state.timer != next_at {
            state.timer = next_at;
            self.changed.notify_one();
        }
    }

    /// A panic while the lock was held cannot leave the line in a state that is worse than going on with it.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
