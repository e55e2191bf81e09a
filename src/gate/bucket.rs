//! Decides when the next token is due at a rate that may change while requests wait (GCRA).

use std::time::Duration;

use tokio::time::Instant;

/// A rate in requests per second: finite, above zero, at most [`Rate::MAX`].
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub struct Rate(f64);

impl Rate {
    /// Faster than any process of ours can send: never what holds a request up.
    pub const MAX: Self = Self(1_000_000.0);
    /// One request in a thousand seconds: slow enough for every documented limit, fast enough to recover from.
    pub const MIN: Self = Self(0.001);

    /// `None` unless `per_second` is a finite number above zero; clamped to the range above.
    pub fn new(per_second: f64) -> Option<Self> {
        (per_second.is_finite() && per_second > 0.0).then(|| Self::clamped(per_second))
    }

    /// Requests per second.
    pub fn per_second(self) -> f64 {
        self.0
    }

    /// This rate times `factor`, kept within the range.
    pub fn times(self, factor: f64) -> Self {
        Self::clamped(self.0 * factor)
    }

    /// This rate plus `per_second`, kept within the range.
    pub fn plus(self, per_second: f64) -> Self {
        Self::clamped(self.0 + per_second)
    }

    /// The slower of two.
    pub fn min(self, other: Self) -> Self {
        if other.0 < self.0 { other } else { self }
    }

    fn clamped(per_second: f64) -> Self {
        Self(per_second.clamp(Self::MIN.0, Self::MAX.0))
    }

    fn interval(self) -> Duration {
        Duration::from_secs_f64(1.0 / self.0)
    }
}

/// A token bucket kept as one instant, the theoretical arrival time of the next token.
#[derive(Debug, Clone)]
pub(super) struct Bucket {
    rate: Rate,
    burst: u32,
    due_at: Instant,
}

impl Bucket {
    /// A full bucket: `burst` requests may go at once, then one per interval.
    pub(super) fn full(now: Instant, rate: Rate, burst: u32) -> Self {
        Self { rate, burst: burst.max(1), due_at: now }
    }

    /// When the next token is there: `now` or later.
    pub(super) fn next_at(&self, now: Instant) -> Instant {
        let tolerance = self.rate.interval() * (self.burst - 1);
        self.due_at.checked_sub(tolerance).unwrap_or(now).max(now)
    }

    /// Takes one token, owed if there is none: who may go is decided by [`Bucket::next_at`].
    pub(super) fn take(&mut self, now: Instant) {
        self.due_at = self.due_at.max(now) + self.rate.interval();
    }

    /// Gives one token back: its request never left.
    pub(super) fn give_back(&mut self) {
        let interval = self.rate.interval();
        self.due_at = self.due_at.checked_sub(interval).unwrap_or(self.due_at);
    }

    /// How many may go at once after a quiet time.
    pub(super) fn set_burst(&mut self, burst: u32) {
        self.burst = burst.max(1);
    }

    /// Changes the rate; what is owed is rescaled, so that a debt of three tokens stays one of three tokens.
    pub(super) fn set_rate(&mut self, now: Instant, rate: Rate) {
        let owed = self.due_at.saturating_duration_since(now).as_secs_f64();
        let scaled = (owed * self.rate.0 / rate.0).min(f64::from(self.burst) / rate.0);
        self.due_at = now + Duration::from_secs_f64(scaled);
        self.rate = rate;
    }

    /// Empties the bucket: the next token is one interval away. Used when a gate reopens, so that
    /// what waited goes out paced instead of as a burst.
    pub(super) fn drain(&mut self, now: Instant) {
        self.due_at = now + self.rate.interval() * self.burst;
    }

    /// How long `count` more requests take from `now`.
    pub(super) fn time_for(&self, now: Instant, count: u32) -> Duration {
        let first = self.next_at(now).saturating_duration_since(now);
        first.saturating_add(self.rate.interval().saturating_mul(count.saturating_sub(1)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn rate(per_second: f64) -> Rate {
        Rate::new(per_second).unwrap()
    }

    fn took(bucket: &mut Bucket, now: Instant) -> bool {
        let is_there = bucket.next_at(now) <= now;
        if is_there {
            bucket.take(now);
        }
        is_there
    }

    #[test]
    fn a_burst_goes_at_once_and_the_rest_is_paced() {
        let start = Instant::now();
        let mut bucket = Bucket::full(start, rate(2.0), 3);
        assert_eq!((0..5).filter(|_| took(&mut bucket, start)).count(), 3);
        assert_eq!(bucket.next_at(start), start + SECOND / 2);
        assert!(!took(&mut bucket, start + SECOND / 4));
        assert!(took(&mut bucket, start + SECOND / 2));
    }

    #[test]
    fn never_more_tokens_than_rate_times_time_plus_burst() {
        let start = Instant::now();
        let mut bucket = Bucket::full(start, rate(7.0), 5);
        let taken =
            (0..10_000u32).filter(|step| took(&mut bucket, start + Duration::from_millis(1) * *step)).count();
        assert_eq!(taken, 5 + 69);
    }

    #[test]
    fn a_changed_rate_keeps_the_debt_in_tokens() {
        let start = Instant::now();
        let mut bucket = Bucket::full(start, rate(1.0), 1);
        assert!(took(&mut bucket, start));
        bucket.set_rate(start, rate(0.5));
        assert_eq!(bucket.next_at(start), start + SECOND * 2);
        bucket.set_rate(start, rate(4.0));
        assert_eq!(bucket.next_at(start), start + SECOND / 4);
    }

    #[test]
    fn a_token_given_back_can_be_taken_again() {
        let start = Instant::now();
        let mut bucket = Bucket::full(start, rate(1.0), 1);
        assert!(took(&mut bucket, start));
        bucket.give_back();
        assert!(took(&mut bucket, start));
    }

    #[test]
    fn only_real_rates_exist() {
        for bad in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert!(Rate::new(bad).is_none(), "{bad}");
        }
        assert_eq!(Rate::new(1e300), Some(Rate::MAX));
    }
}
