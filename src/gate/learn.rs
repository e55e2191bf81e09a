//! Decides how fast to send when nobody publishes the limit: paced AIMD (GATE 5, v1).

use std::time::Duration;

use tokio::time::Instant;

use super::bucket::Rate;

/// Backlog grows the rate by this share of itself a second until the first 429: the limit is found in seconds.
const SEARCH_PER_SECOND: f64 = 1.0;
/// After a cut, by this share of the rate at the cut a second: a rate cut in half is reached again in 10 s.
const CLIMB_PER_SECOND: f64 = 0.1;
/// One cut takes at least half of the rate and at most three quarters, whatever was counted.
const SHALLOWEST_CUT: f64 = 0.5;
const DEEPEST_CUT: f64 = 0.25;
/// Growth is credited for at most this long at once: a late look must not jump.
const MAX_STEP: Duration = Duration::from_secs(1);

/// The estimate of one limit. Pure: every call takes `now`.
#[derive(Debug, Clone)]
pub(super) struct Estimate {
    rate: Rate,
    ceiling: Rate,
    climb: Climb,
    grown_at: Instant,
    cut_at: Option<Instant>,
    cycle: Cycle,
}

#[derive(Debug, Clone, Copy)]
enum Climb {
    /// No limit met yet: the rate doubles each second under backlog.
    Search,
    /// Requests per second gained each second under backlog.
    Step(f64),
}

/// From one reopening to the next: what was sent in it, over its whole length, is what the limit let through.
#[derive(Debug, Clone, Copy)]
struct Cycle {
    began_at: Instant,
    sent: u32,
    was_backlogged: bool,
}

impl Estimate {
    /// Starts at `start`, never above `ceiling` (the operator's pin).
    pub(super) fn new(now: Instant, start: Rate, ceiling: Rate) -> Self {
        Self {
            rate: start.min(ceiling),
            ceiling,
            climb: Climb::Search,
            grown_at: now,
            cut_at: None,
            cycle: Cycle { began_at: now, sent: 0, was_backlogged: false },
        }
    }

    /// The rate to send at.
    pub(super) fn rate(&self) -> Rate {
        self.rate
    }

    /// Whether it has met a limit, itself or through an earlier process: otherwise the rate is where it happens to be.
    pub(super) fn has_met_limit(&self) -> bool {
        matches!(self.climb, Climb::Step(_))
    }

    /// The operator's pin has changed.
    pub(super) fn set_ceiling(&mut self, ceiling: Rate) {
        self.ceiling = ceiling;
        self.rate = self.rate.min(ceiling);
    }

    /// Takes over the rate that an earlier process had learned: from there it climbs, it no longer searches.
    pub(super) fn restore(&mut self, rate: Rate) {
        self.rate = rate.min(self.ceiling);
        self.climb = Climb::Step(self.rate.per_second() * CLIMB_PER_SECOND);
    }

    /// One request went out.
    pub(super) fn sent(&mut self) {
        self.cycle.sent = self.cycle.sent.saturating_add(1);
    }

    /// Time passed with requests waiting for a token: the limit may be higher than assumed.
    pub(super) fn backlogged(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.grown_at).min(MAX_STEP).as_secs_f64();
        self.grown_at = now;
        self.cycle.was_backlogged = true;
        let gain = match self.climb {
            Climb::Search => self.rate.per_second() * SEARCH_PER_SECOND,
            Climb::Step(step) => step,
        };
        self.rate = self.rate.plus(gain * passed).min(self.ceiling);
    }

    /// Nobody waited until now: such time proves nothing about the limit ("do not grow when app-limited").
    pub(super) fn idle(&mut self, now: Instant) {
        self.grown_at = now;
    }

    /// A request sent at `sent_at` was refused and the gate stays closed for `closed_for`. One cut per
    /// episode: refusals of what was sent before the last cut say nothing new.
    pub(super) fn refused(&mut self, now: Instant, sent_at: Instant, closed_for: Duration) {
        if self.cut_at.is_some_and(|cut_at| sent_at <= cut_at) {
            return;
        }
        let length = now.saturating_duration_since(self.cycle.began_at) + closed_for;
        let let_through = f64::from(self.cycle.sent) / length.as_secs_f64().max(f64::MIN_POSITIVE);
        // Without a backlog the count says how much was asked for, not how much was allowed.
        let counted = if self.cycle.was_backlogged { let_through } else { self.rate.per_second() };
        let factor = (counted / self.rate.per_second()).clamp(DEEPEST_CUT, SHALLOWEST_CUT);
        self.rate = self.rate.times(factor);
        self.climb = Climb::Step(self.rate.per_second() * CLIMB_PER_SECOND);
        self.cut_at = Some(now);
        self.grown_at = now + closed_for;
        self.cycle = Cycle { began_at: now + closed_for, sent: 0, was_backlogged: false };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn rate(per_second: f64) -> Rate {
        Rate::new(per_second).unwrap()
    }

    #[test]
    fn one_episode_cuts_once() {
        let start = Instant::now();
        let mut estimate = Estimate::new(start, rate(8.0), Rate::MAX);
        estimate.refused(start + SECOND / 2, start, SECOND);
        estimate.refused(start + SECOND / 2, start, SECOND);
        assert_eq!(estimate.rate(), rate(4.0));
        estimate.refused(start + SECOND * 2, start + SECOND, SECOND);
        assert_eq!(estimate.rate(), rate(2.0));
    }

    #[test]
    fn a_backlogged_cycle_shows_what_the_limit_lets_through() {
        let start = Instant::now();
        let mut estimate = Estimate::new(start, rate(15.0), rate(15.0));
        (0..300).for_each(|_| estimate.sent());
        estimate.backlogged(start + SECOND);
        estimate.refused(start + SECOND * 20, start + SECOND * 20, SECOND * 40);
        assert_eq!(estimate.rate(), rate(5.0));
    }

    #[test]
    fn no_single_cut_takes_more_than_three_quarters() {
        let start = Instant::now();
        let mut estimate = Estimate::new(start, rate(8.0), rate(8.0));
        estimate.sent();
        estimate.backlogged(start);
        estimate.refused(start, start, SECOND * 3600);
        assert_eq!(estimate.rate(), rate(2.0));
    }

    #[test]
    fn the_rate_grows_only_under_backlog() {
        let start = Instant::now();
        let mut estimate = Estimate::new(start, rate(8.0), rate(100.0));
        estimate.idle(start + SECOND * 60);
        assert_eq!(estimate.rate(), rate(8.0));
        estimate.backlogged(start + SECOND * 61);
        assert_eq!(estimate.rate(), rate(16.0));
        (62..90).for_each(|second| estimate.backlogged(start + SECOND * second));
        assert_eq!(estimate.rate(), rate(100.0));
    }

    #[test]
    fn after_a_cut_the_climb_is_additive() {
        let start = Instant::now();
        let mut estimate = Estimate::new(start, rate(40.0), Rate::MAX);
        estimate.refused(start, start, Duration::ZERO);
        (1..=10).for_each(|second| estimate.backlogged(start + SECOND * second));
        assert!((estimate.rate().per_second() - 40.0).abs() < 1e-6);
    }
}
