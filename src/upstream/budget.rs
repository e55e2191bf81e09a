//! Decides how many faults may be answered by sending again, so that a storm is not made worse.

use tokio::time::Instant;

/// Replays after faults: a fifth of the requests and one per second (GATE 8). Pure: `now` is an argument.
///
/// Counted in fifths of a replay, so that no fraction is lost.
#[derive(Debug, Clone)]
pub struct RetryBudget {
    fifths: u64,
    whole_until: Instant,
}

impl RetryBudget {
    /// A budget that allows one replay at once.
    pub fn new(now: Instant) -> Self {
        Self { fifths: PER_REPLAY, whole_until: now }
    }

    /// Counts one request that was sent for the first time.
    pub fn deposit(&mut self, now: Instant) {
        self.accrue(now);
        self.fifths = (self.fifths + 1).min(CAP);
    }

    /// Takes one replay, if the budget has it.
    pub fn withdraw(&mut self, now: Instant) -> bool {
        self.accrue(now);
        let Some(left) = self.fifths.checked_sub(PER_REPLAY) else { return false };
        self.fifths = left;
        true
    }

    fn accrue(&mut self, now: Instant) {
        let seconds = now.saturating_duration_since(self.whole_until).as_secs();
        self.whole_until += std::time::Duration::from_secs(seconds);
        self.fifths = self.fifths.saturating_add(seconds.saturating_mul(PER_REPLAY)).min(CAP);
    }
}

/// One request deposits a fifth of a replay.
const PER_REPLAY: u64 = 5;
/// Ten replays in reserve: what ten quiet seconds add up to, and no more.
const CAP: u64 = 10 * PER_REPLAY;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_fifth_of_the_requests_and_one_per_second_may_be_replayed() {
        let start = crate::clock::Clock::system().now();
        let mut budget = RetryBudget::new(start);
        assert!(budget.withdraw(start));
        assert!(!budget.withdraw(start));
        for _ in 0..4 {
            budget.deposit(start);
        }
        assert!(!budget.withdraw(start));
        budget.deposit(start);
        assert!(budget.withdraw(start));
        let later = start + Duration::from_millis(1999);
        assert!(budget.withdraw(later));
        assert!(!budget.withdraw(later));
        assert!(budget.withdraw(start + Duration::from_secs(2)));
    }

    #[test]
    fn a_long_silence_saves_up_ten_replays_and_no_more() {
        let start = crate::clock::Clock::system().now();
        let mut budget = RetryBudget::new(start);
        let later = start + Duration::from_secs(86_400);
        let granted = (0..100).filter(|_| budget.withdraw(later)).count();
        assert_eq!(granted, 10);
    }
}
