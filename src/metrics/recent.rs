//! What the last minutes looked like: who was refused, and who was slow. Bounded, whatever clients send.

use std::cmp::Reverse;
use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::route::RouteId;
use crate::words::{Outcome, TenantId};

/// Why a client got no answer of the API's own making, or the API's own 429.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefusalReason {
    /// Its 429 was passed on: the request may not wait or be sent again.
    Api,
    /// Its turn would have come after its deadline.
    Deadline,
    /// The line was full.
    Full,
    /// Memory is short.
    Overloaded,
    /// The request itself cannot be forwarded.
    Request,
    /// The process ends before its turn.
    Shutdown,
    /// Only named tenants may pass, and it is none of them.
    Unlisted,
    /// The API could not be reached, or broke off.
    Upstream,
}

impl RefusalReason {
    /// All, in the order of their words.
    pub const ALL: [Self; 8] = [
        Self::Api,
        Self::Deadline,
        Self::Full,
        Self::Overloaded,
        Self::Request,
        Self::Shutdown,
        Self::Unlisted,
        Self::Upstream,
    ];

    /// The word for status and page.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Api => "api",
            Self::Deadline => "deadline",
            Self::Full => "full",
            Self::Overloaded => "overloaded",
            Self::Request => "request",
            Self::Shutdown => "shutdown",
            Self::Unlisted => "unlisted",
            Self::Upstream => "upstream",
        }
    }
}

/// Refusals that differ in nothing but their time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// When the last of them happened.
    pub last_at: Instant,
    /// Whose request; none if it could not be told.
    pub tenant: Option<TenantId>,
    /// The template of its path.
    pub route: RouteId,
    /// Why.
    pub reason: RefusalReason,
    /// What the last of them was told to wait.
    pub retry_after: Option<Duration>,
    /// How often.
    pub times: u64,
}

/// How long the calls of one tenant took.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// Whose.
    pub tenant: TenantId,
    /// Requests that waited or went to the API.
    pub requests: u64,
    /// In line, all of them together.
    pub waited: Duration,
    /// At the API, all of them together.
    pub upstream_for: Duration,
    /// Line and API, the slowest of them.
    pub slowest: Duration,
}

/// One request that is over.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Answered {
    pub(crate) tenant: Option<TenantId>,
    pub(crate) route: RouteId,
    pub(crate) outcome: Outcome,
    pub(crate) waited: Duration,
    pub(crate) upstream_for: Duration,
    /// Bytes that the API need not have sent.
    pub(crate) saved_bytes: u64,
    pub(crate) refusal: Option<(RefusalReason, Option<Duration>)>,
}

/// Everything there is to show.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RecentView {
    /// Requests answered since start.
    pub answered: u64,
    /// Of these, refused.
    pub refused: u64,
    /// Of these, answered by the cache without a call.
    pub calls_saved: u64,
    /// Of these, such as the cache had a say in.
    pub cacheable: u64,
    /// Body bytes answered without the API, since start.
    pub bytes_saved: u64,
    /// The last refusals, latest first; at most 32.
    pub refusals: Vec<Refusal>,
    /// The tenants with the longest mean time over the last one to two minutes, slowest first; at most 10.
    pub slowest: Vec<Pace>,
}

/// The memory of the last minutes.
#[derive(Debug, Default)]
pub struct Recent(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    totals: RecentView,
    refusals: VecDeque<Refusal>,
    window: Option<Instant>,
    current: HashMap<TenantId, Pace>,
    before: HashMap<TenantId, Pace>,
}

impl Recent {
    /// A request is over.
    pub(crate) fn note(&self, now: Instant, answered: &Answered) {
        let mut state = self.lock();
        state.count(answered);
        state.turn(now);
        state.pace(answered);
        state.refuse(now, answered);
    }

    /// Requests answered since start, and how many of them were refused.
    pub fn answered(&self) -> (u64, u64) {
        let state = self.lock();
        (state.totals.answered, state.totals.refused)
    }

    /// What there is to show now.
    pub fn look(&self, now: Instant) -> RecentView {
        let mut state = self.lock();
        state.turn(now);
        let mut merged = state.current.clone();
        for (tenant, pace) in &state.before {
            merged.entry(*tenant).and_modify(|known| known.add(pace)).or_insert(*pace);
        }
        let refusals = state.refusals.iter().cloned().collect();
        let totals = state.totals.clone();
        drop(state);
        let mut slowest: Vec<_> = merged.into_values().collect();
        slowest.sort_unstable_by_key(|pace| (Reverse(pace.mean()), pace.tenant));
        slowest.truncate(MAX_SLOWEST);
        RecentView { refusals, slowest, ..totals }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn count(&mut self, answered: &Answered) {
        self.totals.answered += 1;
        self.totals.refused += u64::from(answered.refusal.is_some());
        self.totals.calls_saved += u64::from(answered.outcome.saves_call());
        self.totals.cacheable += u64::from(answered.outcome.is_cacheable());
        self.totals.bytes_saved = self.totals.bytes_saved.saturating_add(answered.saved_bytes);
    }

    /// Forgets what is older than two windows.
    fn turn(&mut self, now: Instant) {
        let begun = *self.window.get_or_insert(now);
        let age = now.saturating_duration_since(begun);
        if age >= WINDOW {
            let current = std::mem::take(&mut self.current);
            self.before = if age < WINDOW * 2 { current } else { HashMap::new() };
            self.window = Some(now);
        }
    }

    fn pace(&mut self, answered: &Answered) {
        let took = answered.waited.saturating_add(answered.upstream_for);
        let Some(tenant) = answered.tenant.filter(|_| !took.is_zero()) else { return };
        let pace = Pace {
            tenant,
            requests: 1,
            waited: answered.waited,
            upstream_for: answered.upstream_for,
            slowest: took,
        };
        let is_full = self.current.len() >= MAX_TENANTS;
        match self.current.entry(tenant) {
            Entry::Occupied(mut known) => known.get_mut().add(&pace),
            Entry::Vacant(_) if is_full => {}
            Entry::Vacant(free) => drop(free.insert(pace)),
        }
    }

    fn refuse(&mut self, now: Instant, answered: &Answered) {
        let Some((reason, retry_after)) = answered.refusal else { return };
        let (tenant, route) = (answered.tenant, answered.route);
        let same = |known: &Refusal| (known.tenant, known.route, known.reason) == (tenant, route, reason);
        let known = self.refusals.iter().position(same).and_then(|at| self.refusals.remove(at));
        let times = known.map_or(1, |known| known.times.saturating_add(1));
        self.refusals.push_front(Refusal { last_at: now, tenant, route, reason, retry_after, times });
        self.refusals.truncate(MAX_REFUSALS);
    }
}

impl Pace {
    /// Line and API, of a request on average.
    pub fn mean(&self) -> Duration {
        let requests = u32::try_from(self.requests.max(1)).unwrap_or(u32::MAX);
        self.waited.saturating_add(self.upstream_for) / requests
    }

    fn add(&mut self, other: &Self) {
        self.requests += other.requests;
        self.waited = self.waited.saturating_add(other.waited);
        self.upstream_for = self.upstream_for.saturating_add(other.upstream_for);
        self.slowest = self.slowest.max(other.slowest);
    }
}

/// "Just now" to somebody who looks because something is slow.
const WINDOW: Duration = Duration::from_secs(60);
/// Tenants of one window: far more than a page shows, and 100 KB at most.
const MAX_TENANTS: usize = 1024;
/// What a person reads; equal ones are counted instead of listed.
const MAX_REFUSALS: usize = 32;
const MAX_SLOWEST: usize = 10;

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn tenant(number: u32) -> TenantId {
        let mut id = [0; 16];
        id[..4].copy_from_slice(&number.to_be_bytes());
        TenantId::new(id)
    }

    fn call(number: u32, waited: u64, upstream: u64) -> Answered {
        Answered {
            tenant: Some(tenant(number)),
            route: RouteId::OTHER,
            outcome: Outcome::Bypass,
            waited: SECOND * u32::try_from(waited).unwrap(),
            upstream_for: SECOND * u32::try_from(upstream).unwrap(),
            saved_bytes: 0,
            refusal: None,
        }
    }

    fn refused(number: u32, reason: RefusalReason) -> Answered {
        Answered { refusal: Some((reason, Some(SECOND))), outcome: Outcome::Refused, ..call(number, 0, 0) }
    }

    #[test]
    fn the_slowest_tenant_on_average_comes_first() {
        let (recent, now) = (Recent::default(), Instant::now());
        for answered in [call(1, 9, 0), call(1, 0, 1), call(2, 3, 3), call(3, 0, 0)] {
            recent.note(now, &answered);
        }
        let slowest = recent.look(now).slowest;
        assert_eq!(slowest.iter().map(|pace| pace.tenant).collect::<Vec<_>>(), [tenant(2), tenant(1)]);
        assert_eq!((slowest[1].requests, slowest[1].mean(), slowest[1].slowest), (2, SECOND * 5, SECOND * 9));
    }

    #[test]
    fn a_slow_call_is_forgotten_after_two_minutes_at_most() {
        let (recent, start) = (Recent::default(), Instant::now());
        recent.note(start, &call(1, 1, 0));
        for (after, is_shown) in [(59, true), (60, true), (119, true), (120, false)] {
            assert_eq!(!recent.look(start + SECOND * after).slowest.is_empty(), is_shown, "{after}");
        }
        recent.note(start, &call(1, 1, 0));
        assert!(recent.look(start + SECOND * 1000).slowest.is_empty(), "after a long silence");
    }

    #[test]
    fn equal_refusals_are_counted_and_the_latest_comes_first() {
        let (recent, now) = (Recent::default(), Instant::now());
        for answered in [
            refused(1, RefusalReason::Full),
            refused(2, RefusalReason::Full),
            refused(1, RefusalReason::Full),
            refused(1, RefusalReason::Api),
        ] {
            recent.note(now, &answered);
        }
        let shown: Vec<_> = recent.look(now).refusals.iter().map(|one| (one.tenant, one.times)).collect();
        assert_eq!(shown, [(Some(tenant(1)), 1), (Some(tenant(1)), 2), (Some(tenant(2)), 1)]);
    }

    #[test]
    fn a_hundred_thousand_tokens_take_bounded_room() {
        let (recent, now) = (Recent::default(), Instant::now());
        for number in 0..100_000 {
            recent.note(now, &Answered { waited: SECOND, ..refused(number, RefusalReason::Full) });
        }
        let seen = recent.look(now);
        assert_eq!((seen.refusals.len(), seen.slowest.len()), (MAX_REFUSALS, MAX_SLOWEST));
        assert_eq!(recent.lock().current.len(), MAX_TENANTS);
        assert_eq!(recent.answered(), (100_000, 100_000));
    }

    #[test]
    fn what_the_cache_saved_adds_up() {
        let (recent, now) = (Recent::default(), Instant::now());
        for (outcome, saved_bytes) in
            [(Outcome::Hit, 100), (Outcome::Revalidated, 10), (Outcome::Miss, 0), (Outcome::Bypass, 0)]
        {
            recent.note(now, &Answered { outcome, saved_bytes, ..call(1, 0, 0) });
        }
        let seen = recent.look(now);
        assert_eq!((seen.answered, seen.calls_saved, seen.cacheable, seen.bytes_saved), (4, 1, 3, 110));
    }
}
