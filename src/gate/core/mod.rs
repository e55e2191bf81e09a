//! The scheduler itself: who stands in line, who may go now, and when to ask again. No clock, no lock, no I/O.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::Instant;

use super::bucket::{Bucket, Rate};
use super::learn::Estimate;
use super::signal::{Signal, Wait};

/// Jitter after a stated wait is at most this much, and at most a tenth of the wait (GATE 3).
const MAX_JITTER: Duration = Duration::from_secs(1);
/// A growing estimate is looked at this often while requests wait.
const GROWTH_STEP: Duration = Duration::from_millis(100);

/// What the scheduler must know.
#[derive(Debug, Clone)]
pub struct CoreSettings {
    /// The first rate tried.
    pub start_rate: Rate,
    /// Never faster than this.
    pub ceiling: Rate,
    /// How many requests may go at once after a pause.
    pub burst: u32,
    /// Longest line, in requests.
    pub max_waiting: usize,
    /// A stated wait is honoured up to this.
    pub max_gate: Duration,
}

/// A place in line: lower goes first. Kept across a replay, so that a refused request goes back to the head.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Turn(u64);

/// One request that has left the line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flight(u64);

/// Why a request may not wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// Its turn would come after its deadline.
    Deadline,
    /// The line is as long as it may be.
    Full,
}

/// What a waiter is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Send now.
    Go(Flight),
    /// Not in time; a retry after this long would be.
    Refused(Reason, Duration),
}

/// Whether requests may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// None before this instant.
    Closed(Instant),
    /// One at a time, until one is accepted.
    HalfOpen(Option<Flight>),
    /// At the rate.
    Open,
}

/// The scheduler of one upstream. `W` is whatever reaches the waiter.
#[derive(Debug)]
pub struct Core<W> {
    settings: CoreSettings,
    line: BTreeMap<Turn, Waiter<W>>,
    deadlines: BTreeSet<(Instant, Turn)>,
    phase: Phase,
    bucket: Bucket,
    estimate: Estimate,
    next_turn: u64,
    next_flight: u64,
}

#[derive(Debug)]
struct Waiter<W> {
    reach: W,
    joined_at: Instant,
    deadline: Instant,
}

impl<W> Core<W> {
    /// An open gate with a full bucket.
    pub fn new(now: Instant, settings: CoreSettings) -> Self {
        let estimate = Estimate::new(now, settings.start_rate, settings.ceiling);
        Self {
            bucket: Bucket::full(now, estimate.rate(), settings.burst),
            estimate,
            line: BTreeMap::new(),
            deadlines: BTreeSet::new(),
            phase: Phase::Open,
            next_turn: 0,
            next_flight: 0,
            settings,
        }
    }

    /// The next free place, behind everybody who came before.
    pub fn turn(&mut self) -> Turn {
        self.next_turn += 1;
        Turn(self.next_turn)
    }

    /// Stands in line at `turn` until `deadline`. Follow with [`Core::release`].
    ///
    /// # Errors
    /// The verdict for a request that cannot be served in time, and its way to the waiter.
    pub fn join(
        &mut self,
        now: Instant,
        turn: Turn,
        deadline: Instant,
        reach: W,
    ) -> Result<(), (W, Verdict)> {
        let ahead = self.line.range(..turn).count();
        let wait = self.projected_wait(now, ahead);
        // A replay re-enters in front of somebody and was counted when it first came.
        if self.line.len() >= self.settings.max_waiting && ahead == self.line.len() {
            return Err((reach, Verdict::Refused(Reason::Full, wait)));
        }
        if now + wait > deadline {
            return Err((reach, Verdict::Refused(Reason::Deadline, wait)));
        }
        if self.line.is_empty() {
            self.estimate.idle(now);
        }
        self.line.insert(turn, Waiter { reach, joined_at: now, deadline });
        self.deadlines.insert((deadline, turn));
        Ok(())
    }

    /// Leaves the line; nothing happens if it already left.
    pub fn leave(&mut self, turn: Turn) {
        if let Some(waiter) = self.line.remove(&turn) {
            self.deadlines.remove(&(waiter.deadline, turn));
        }
    }

    /// Tells everyone whose turn or deadline has come. `offer` answers whether the waiter was still there:
    /// a token offered to nobody stays in the bucket.
    ///
    /// Returns when to ask again; `None` if only a new event can change anything.
    pub fn release(&mut self, now: Instant, mut offer: impl FnMut(W, Verdict) -> bool) -> Option<Instant> {
        self.give_up(now, &mut offer);
        if let Phase::Closed(until) = self.phase
            && until <= now
        {
            self.phase = Phase::HalfOpen(None);
            self.bucket.drain(now);
        }
        let next_at = match self.phase {
            Phase::Closed(until) => Some(until),
            Phase::HalfOpen(Some(_)) => None,
            Phase::HalfOpen(None) => {
                if let Some(flight) = self.let_one_go(now, &mut offer) {
                    self.phase = Phase::HalfOpen(Some(flight));
                }
                None
            }
            Phase::Open => self.pour(now, &mut offer),
        };
        let deadline = self.deadlines.first().map(|(deadline, _)| *deadline);
        let next_at = if self.line.is_empty() { None } else { next_at };
        next_at.into_iter().chain(deadline).min()
    }

    /// A request was answered. `sent_at` tells which episode the answer belongs to.
    pub fn learn(&mut self, now: Instant, flight: Flight, sent_at: Instant, signal: Signal) {
        match signal {
            Signal::Accepted if self.phase == Phase::HalfOpen(Some(flight)) => {
                self.phase = Phase::Open;
                self.estimate.idle(now);
            }
            Signal::Accepted => {}
            Signal::Throttled(wait) => {
                let closed_for = self.wait_of(now, wait, flight);
                self.estimate.refused(now, sent_at, closed_for);
                self.bucket.set_rate(now, self.estimate.rate());
                let until = now + closed_for;
                self.phase = match self.phase {
                    // Of two refusals the later instant wins.
                    Phase::Closed(other) => Phase::Closed(until.max(other)),
                    Phase::HalfOpen(_) | Phase::Open => Phase::Closed(until),
                };
            }
        }
    }

    /// A request in flight ended without an answer: the next may probe.
    pub fn forget(&mut self, flight: Flight) {
        if self.phase == Phase::HalfOpen(Some(flight)) {
            self.phase = Phase::HalfOpen(None);
        }
    }

    /// A request never left: its token comes back.
    pub fn refund(&mut self, flight: Flight) {
        self.forget(flight);
        self.bucket.give_back();
    }

    /// Whether requests may go.
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// The rate in force.
    pub fn rate(&self) -> Rate {
        self.estimate.rate()
    }

    /// Requests in line.
    pub fn waiting(&self) -> usize {
        self.line.len()
    }

    /// When the first in line joined it.
    pub fn oldest_joined_at(&self) -> Option<Instant> {
        self.line.first_key_value().map(|(_, waiter)| waiter.joined_at)
    }

    fn projected_wait(&self, now: Instant, ahead: usize) -> Duration {
        let behind = u32::try_from(ahead).unwrap_or(u32::MAX).saturating_add(1);
        match self.phase {
            Phase::Closed(until) => {
                let paced = Duration::from_secs_f64(f64::from(behind - 1) / self.rate().per_second());
                until.saturating_duration_since(now).saturating_add(paced)
            }
            Phase::HalfOpen(_) | Phase::Open => self.bucket.time_for(now, behind),
        }
    }

    /// Refuses everyone whose deadline passed or lies before the gate can reopen: waiting on would be in vain.
    fn give_up(&mut self, now: Instant, offer: &mut impl FnMut(W, Verdict) -> bool) {
        let reopens_at = match self.phase {
            Phase::Closed(until) => until,
            Phase::HalfOpen(_) | Phase::Open => now,
        };
        while let Some((deadline, turn)) = self.deadlines.first().copied() {
            if deadline > now && deadline >= reopens_at {
                break;
            }
            self.deadlines.pop_first();
            let ahead = self.line.range(..turn).count();
            let wait = self.projected_wait(now, ahead);
            if let Some(waiter) = self.line.remove(&turn) {
                offer(waiter.reach, Verdict::Refused(Reason::Deadline, wait));
            }
        }
    }

    fn pour(&mut self, now: Instant, offer: &mut impl FnMut(W, Verdict) -> bool) -> Option<Instant> {
        loop {
            let next_at = self.bucket.next_at(now);
            if self.line.is_empty() {
                return None;
            }
            if next_at > now {
                self.estimate.backlogged(now);
                self.bucket.set_rate(now, self.estimate.rate());
                return Some(
                    self.bucket.next_at(now).min(now + GROWTH_STEP).max(now + Duration::from_micros(1)),
                );
            }
            self.let_one_go(now, offer);
        }
    }

    fn let_one_go(&mut self, now: Instant, offer: &mut impl FnMut(W, Verdict) -> bool) -> Option<Flight> {
        while let Some((turn, waiter)) = self.line.pop_first() {
            self.deadlines.remove(&(waiter.deadline, turn));
            self.next_flight += 1;
            let flight = Flight(self.next_flight);
            if offer(waiter.reach, Verdict::Go(flight)) {
                self.bucket.take(now);
                self.estimate.sent();
                return Some(flight);
            }
        }
        None
    }

    fn wait_of(&mut self, now: Instant, wait: Wait, flight: Flight) -> Duration {
        let stated = match wait {
            Wait::Stated(stated) => stated.min(self.settings.max_gate),
            Wait::Malformed | Wait::Missing => self.estimate.unstated(now),
        };
        stated + (stated / 10).min(MAX_JITTER).mul_f64(fraction(flight.0))
    }
}

/// A number in 0..1 that differs from flight to flight (splitmix64): jitter needs no more.
fn fraction(seed: u64) -> f64 {
    let mut mixed = seed.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let top = u32::try_from(mixed >> 32).unwrap_or_default();
    f64::from(top) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests;
