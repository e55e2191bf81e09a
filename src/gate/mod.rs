//! Decides who may go and when: hands out permits in order, and learns from every answer.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::request::Parts;
use tokio::sync::{Notify, oneshot, watch};
use tokio::time::Instant;

use crate::admit::Pass;
use crate::cache::Slot;
use crate::route::Route;
use crate::words::TenantId;

mod bucket;
mod ceiling;
mod claim;
pub mod core;
mod ending;
mod glance;
mod learn;
mod outside;
mod permit;
mod pulse;
mod roster;
mod signal;
mod ticket;

pub use self::bucket::Rate;
pub use self::ceiling::Ceiling;
pub use self::claim::{ClaimSettings, Load, Passage, TenantRule};
pub use self::core::{
    Booking, Closure, CoreSettings, GateView, Learned, Level, LineView, News, NodeKey, Path, Reason, RoomKey,
    Scope, Stand, Wish,
};
pub use self::ending::Ending;
pub use self::glance::Glance;
pub use self::learn::Found;
pub use self::permit::{Permit, Receipt};
pub use self::pulse::Pulse;
pub use self::signal::{Hints, NamedScope, Signal, Wait, retry_after};
pub use self::ticket::Ticket;

use self::core::{Core, Place, Verdict};
use self::permit::Hold;
use self::roster::Roster;

/// What the gate must know.
#[derive(Debug, Clone)]
pub struct GateSettings {
    /// Whether anything is held back at all.
    pub mode: Mode,
    /// How the scheduler behaves.
    pub core: CoreSettings,
    /// What requests may claim.
    pub claims: ClaimSettings,
    /// Tenants remembered as accepted by the API.
    pub max_tenants: usize,
}

/// Whether the gate holds requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Every request waits its turn.
    Enforce,
    /// Every request passes at once; what the line would have meant is reckoned, and limits are learned.
    Observe,
    /// Every request passes at once and nothing is learned.
    Off,
}

impl Mode {
    /// The word for status.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Enforce => "enforce",
            Self::Observe => "observe",
            Self::Off => "off",
        }
    }
}

/// The line that all tenants share until the API has accepted a request of theirs: strangers gain nothing by
/// being many.
pub const PROBATION: TenantId = TenantId::new([0xff; 16]);

/// Why no permit was given: our limit, not the API's answer. `retry_after` is when a retry would get one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{}; a retry can pass in {retry_after:?}", match reason {
    Reason::Deadline => "the API's rate limit leaves no turn before the deadline",
    Reason::Full => "too many requests are waiting for the API's rate limit",
    Reason::Shutdown => "this Tollgate is shutting down, and no turn comes before its end",
})]
pub struct Refused {
    /// Deadline, full or shutdown.
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
    state: Mutex<State>,
    changed: Notify,
    /// Gates have wishes or news for whoever shares them.
    calling: Notify,
    ending: watch::Sender<Option<Ending>>,
}

#[derive(Debug)]
struct State {
    core: Core<Reach>,
    mode: Mode,
    claims: ClaimSettings,
    roster: Roster,
    /// When the dispatcher must look again.
    timer: Option<Instant>,
}

type Reach = oneshot::Sender<Result<Permit, Refused>>;

impl Gate {
    /// An open gate. [`Gate::run`] must run beside it, or nobody who waits is ever told.
    pub fn new(settings: GateSettings) -> Self {
        let core = Core::new(Instant::now(), settings.core);
        let roster = Roster::new(settings.max_tenants);
        let state = State { core, mode: settings.mode, claims: settings.claims, roster, timer: None };
        let (changed, calling, (ending, _)) = (Notify::new(), Notify::new(), watch::channel(None));
        Self { shared: Arc::new(Shared { state: Mutex::new(state), changed, calling, ending }) }
    }

    /// The dispatcher: the one timer of all waiters. Ends only when dropped.
    pub async fn run(&self) {
        loop {
            let timer = self.shared.lock().timer;
            let changed = self.shared.changed.notified();
            match timer {
                Some(at) => tokio::select! {
                    () = tokio::time::sleep_until(at) => self.shared.change(|_, _| ()),
                    () = changed => {}
                },
                None => changed.await,
            }
        }
    }

    /// How long a request may wait for the answer to another one: as long as in line. Not at all if its gates are closed
    /// for longer: the line will tell it so at once.
    pub fn patience(&self, pass: &Pass, route: &Route, head: &Parts) -> Duration {
        let state = self.shared.lock();
        let max_wait = state.claims.max_wait(pass.tenant(), &head.headers);
        let path = ClaimSettings::path(pass.tenant(), route, head, Load { length: None, bytes: None });
        let closed_for = state.core.closed_for(Instant::now(), &path);
        if closed_for.is_some_and(|closed_for| closed_for > max_wait) { Duration::ZERO } else { max_wait }
    }

    /// A claim on the line for a request that the cache has let through. Time that it waited for another request's answer
    /// counts.
    pub fn ticket(&self, slot: &Slot, route: &Route, head: &Parts, load: Load<'_>) -> Ticket {
        let mut state = self.shared.lock();
        let claim = state.claims.claim(slot, route, head, load);
        let tenant = slot.pass().tenant();
        let is_known = slot.pass().name().is_some() || state.roster.knows(tenant);
        let line = if is_known { tenant } else { PROBATION };
        let turn = state.core.turn();
        Ticket {
            shared: Arc::clone(&self.shared),
            claim,
            line,
            turn,
            attempts: 0,
            waited: slot.spent(),
            observed: None,
        }
    }

    /// Waits for the ticket's turn: by weight between tenants, by urgency within one, in order within a flow.
    ///
    /// # Errors
    /// [`Refused`], at once if the turn cannot come in time, later if a gate closed or the line overflowed meanwhile.
    ///
    /// # Drop
    /// Dropping the future leaves the line.
    pub async fn acquire(&self, ticket: &mut Ticket) -> Result<Permit, Refused> {
        let joined_at = Instant::now();
        let ask = ticket.ask(joined_at);
        ticket.attempts += 1;
        let (mode, gone) = {
            let mut state = self.shared.lock();
            let stands_in_line = state.mode == Mode::Enforce && ticket.claim.passage == Passage::Line;
            (state.mode, stands_in_line.then(|| state.core.go_alone(joined_at, &ask)).flatten())
        };
        if let Some(flight) = gone {
            return Ok(Permit { hold: Some(Hold { shared: Arc::clone(&self.shared), flight }) });
        }
        if mode == Mode::Off {
            return Ok(Permit { hold: None });
        }
        if mode == Mode::Observe || ticket.claim.passage == Passage::Free {
            let (flight, wait) = self.shared.change(|core, _| core.pass(joined_at, &ask));
            ticket.observed = Some(ticket.observed.unwrap_or_default() + wait);
            return Ok(Permit { hold: Some(Hold { shared: Arc::clone(&self.shared), flight }) });
        }
        let (reach, told) = oneshot::channel();
        let turn = ticket.turn;
        let joined = self.shared.change(|core, offer| core.join(joined_at, turn, ask, reach, offer));
        let place = match joined {
            Ok(place) => Standing { shared: &self.shared, place },
            Err((_, Verdict::Refused(reason, wait))) => return Err(Refused::new(reason, wait)),
            Err((_, Verdict::Go(_))) => return Err(Refused::new(Reason::Full, Duration::ZERO)),
        };
        let verdict = told.await;
        ticket.waited += joined_at.elapsed();
        drop(place);
        // The sender lives in the core until it is used: a closed channel means the gate itself is gone.
        verdict.unwrap_or(Err(Refused::new(Reason::Full, Duration::ZERO)))
    }

    /// Lets a ticket rest before its next attempt, because the API asked for it or failed. False, at once, if
    /// that would be longer than it may spend in line, or if it passes the line by and its gates are closed:
    /// nothing would hold it back from what has just refused it.
    pub async fn pause(&self, ticket: &mut Ticket, pause: Duration) -> bool {
        let waited = ticket.waited.saturating_add(pause);
        let is_held_back = ticket.observed.is_none() || self.reopens_in(ticket).is_none();
        let is_in_time = is_held_back && waited <= ticket.claim.max_wait && !self.ends_within(pause);
        if is_in_time {
            tokio::time::sleep(pause).await;
            ticket.waited = waited;
        }
        is_in_time
    }

    /// Time until a ticket's gates open again; none while they are open.
    pub fn reopens_in(&self, ticket: &Ticket) -> Option<Duration> {
        self.shared.lock().core.closed_for(Instant::now(), &ticket.claim.path)
    }

    /// Tells the gate how the API answered. Returns how wide the gate is that a refusal closed.
    pub fn learn(&self, mut receipt: Receipt, signal: Signal) -> Option<Level> {
        let (hold, sent_at) = (receipt.hold.take()?, receipt.sent_at);
        hold.shared.change(|core, offer| core.learn(Instant::now(), hold.flight, sent_at, signal, offer))
    }

    /// The API has served this tenant: from now on it has a line of its own.
    pub fn welcome(&self, ticket: &Ticket) {
        self.shared.lock().roster.welcome(ticket.claim.path.tenant);
    }

    /// Takes new settings; what was learned and everyone in line stay.
    pub fn reconfigure(&self, settings: GateSettings) {
        self.shared.change(|core, _| core.reconfigure(Instant::now(), settings.core));
        let mut state = self.shared.lock();
        state.mode = settings.mode;
        state.claims = settings.claims;
    }

    /// Takes over what an earlier process knew.
    pub fn restore(&self, learned: impl IntoIterator<Item = Learned>) {
        let mut state = self.shared.lock();
        let now = Instant::now();
        learned.into_iter().for_each(|fact| state.core.restore(now, fact));
    }
}

impl Refused {
    fn new(reason: Reason, wait: Duration) -> Self {
        let least =
            if reason == Reason::Shutdown { ending::SUCCESSOR_WITHIN } else { Duration::from_secs(1) };
        Self { reason, retry_after: wait.max(least) }
    }
}

/// Leaves the line when the waiting future is dropped.
struct Standing<'a> {
    shared: &'a Shared,
    place: Place,
}

impl Drop for Standing<'_> {
    fn drop(&mut self) {
        self.shared.lock().core.leave(self.place);
    }
}

type Offer<'a> = &'a mut dyn FnMut(Reach, Verdict) -> bool;

impl Shared {
    /// Changes the core, tells everyone whose turn has come, and sets the one timer.
    fn change<R>(self: &Arc<Self>, change: impl FnOnce(&mut Core<Reach>, Offer<'_>) -> R) -> R {
        let mut offer = |reach: Reach, verdict| match verdict {
            Verdict::Go(flight) => {
                let permit = Permit { hold: Some(Hold { shared: Arc::clone(self), flight }) };
                // The waiter may have left: then the token stays, and this permit must not refund it again.
                reach.send(Ok(permit)).map_err(|unread| unread.map(|mut permit| permit.hold.take())).is_ok()
            }
            Verdict::Refused(reason, wait) => reach.send(Err(Refused::new(reason, wait))).is_ok(),
        };
        let mut state = self.lock();
        let changed = change(&mut state.core, &mut offer);
        let next_at = state.core.release(Instant::now(), &mut offer);
        if state.timer != next_at {
            state.timer = next_at;
            self.changed.notify_one();
        }
        if state.core.is_calling() {
            self.calling.notify_one();
        }
        changed
    }

    /// A panic while the lock was held cannot leave the line in a state that is worse than going on with it.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
