//! The hidden limits: what an API may do behind a 429, and what it tells of it.

use std::collections::VecDeque;
use std::time::Duration;

/// How an API counts. Refused requests cost nothing.
#[derive(Debug, Clone)]
pub(crate) enum Limiter {
    /// Tokens come at `rate` a second, at most `burst` are kept; starts full.
    Bucket { rate: f64, burst: f64, tokens: f64, at: Duration },
    /// `quota` requests in each window that starts at a whole multiple of `window` after `phase`.
    Fixed { quota: usize, window: Duration, phase: Duration, number: u128, used: usize },
    /// `quota` requests in any stretch of `window`.
    Sliding { quota: usize, window: Duration, log: VecDeque<Duration> },
}

/// What a 429 says about its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Told {
    Exact,
    /// Whole seconds, rounded up.
    Ceiling,
    Absent,
}

impl Told {
    pub(crate) const ALL: [Self; 3] = [Self::Exact, Self::Ceiling, Self::Absent];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Exact => "exact",
            Self::Ceiling => "ceiling",
            Self::Absent => "absent",
        }
    }

    /// The header's value for a true wait.
    pub(crate) fn say(self, wait: Duration) -> Option<Duration> {
        match self {
            Self::Exact => Some(wait),
            Self::Ceiling => Some(Duration::from_secs(wait.as_secs_f64().ceil().max(1.0) as u64)),
            Self::Absent => None,
        }
    }
}

impl Limiter {
    pub(crate) fn bucket(rate: f64, burst: f64) -> Self {
        Self::Bucket { rate, burst, tokens: burst, at: Duration::ZERO }
    }

    pub(crate) fn fixed(quota: usize, window: Duration, phase: Duration) -> Self {
        Self::Fixed { quota, window, phase, number: 0, used: 0 }
    }

    pub(crate) fn sliding(quota: usize, window: Duration) -> Self {
        Self::Sliding { quota, window, log: VecDeque::new() }
    }

    /// Takes one request.
    ///
    /// # Errors
    /// The exact time after which the next one would pass.
    pub(crate) fn take(&mut self, now: Duration) -> Result<(), Duration> {
        let wait = self.wait(now);
        if !wait.is_zero() {
            return Err(wait);
        }
        match self {
            Self::Bucket { tokens, .. } => *tokens -= 1.0,
            Self::Fixed { used, .. } => *used += 1,
            Self::Sliding { log, .. } => log.push_back(now),
        }
        Ok(())
    }

    /// Time until a request would pass; zero if one would pass now.
    pub(crate) fn wait(&mut self, now: Duration) -> Duration {
        match self {
            Self::Bucket { rate, burst, tokens, at } => {
                *tokens = (*tokens + now.saturating_sub(*at).as_secs_f64() * *rate).min(*burst);
                *at = now;
                // A token is there when all but a billionth of it is: sums of fractions are never whole.
                let missing = 1.0 - *tokens;
                if missing <= 1e-9 { Duration::ZERO } else { seconds(missing / *rate) }
            }
            Self::Fixed { quota, window, phase, number, used } => {
                let current = (now + *phase).as_nanos() / window.as_nanos();
                if current != *number {
                    (*number, *used) = (current, 0);
                }
                if *used < *quota {
                    return Duration::ZERO;
                }
                let end = (current + 1) * window.as_nanos();
                Duration::from_nanos((end - (now + *phase).as_nanos()) as u64)
            }
            Self::Sliding { quota, window, log } => {
                while log.front().is_some_and(|oldest| *oldest + *window <= now) {
                    log.pop_front();
                }
                // After a quota was lowered, more than one place must come free first.
                let Some(excess) = log.len().checked_sub(*quota) else { return Duration::ZERO };
                log.get(excess).map_or(Duration::ZERO, |freeing| *freeing + *window - now)
            }
        }
    }

    /// Changes the limit to `rate` a second; what was used stays used.
    pub(crate) fn set_rate(&mut self, now: Duration, new: f64) {
        self.wait(now);
        match self {
            Self::Bucket { rate, .. } => *rate = new,
            Self::Fixed { quota, window, .. } | Self::Sliding { quota, window, .. } => {
                *quota = (new * window.as_secs_f64()).round() as usize;
            }
        }
    }
}

fn seconds(value: f64) -> Duration {
    Duration::from_nanos((value * 1e9).ceil().clamp(1.0, 1e18) as u64)
}
