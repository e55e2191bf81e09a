//! What the last five minutes looked like, one sample every two seconds: so that a page opened in trouble shows how it began.

use std::collections::VecDeque;

use serde_json::{Value, json};

/// The process at one moment; cheap to tell.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Beat {
    /// Requests in line.
    pub waiting: usize,
    /// Requests per second that the widest gate lets pass.
    pub rate_per_second: f64,
    /// Whether the widest gate is closed.
    pub is_closed: bool,
    /// Requests answered since start.
    pub answered: u64,
    /// Of these, refused.
    pub refused: u64,
}

/// The last beats, oldest first; at most [`SAMPLES`].
#[derive(Debug, Default)]
pub(super) struct History(VecDeque<Beat>);

impl History {
    pub(super) fn note(&mut self, beat: Beat) {
        if self.0.len() > SAMPLES {
            self.0.pop_front();
        }
        self.0.push_back(beat);
    }

    /// Series of equal length, oldest first. Counts become differences, so the first beat only begins them.
    pub(super) fn shown(&self) -> Value {
        let since = |count: fn(&Beat) -> u64| {
            let pairs = self.0.iter().zip(self.0.iter().skip(1));
            pairs.map(|(one, next)| count(next).saturating_sub(count(one))).collect::<Vec<_>>()
        };
        let of = |value: fn(&Beat) -> Value| self.0.iter().skip(1).map(value).collect::<Vec<_>>();
        json!({
            "step_seconds": STEP_SECONDS,
            "waiting": of(|beat| json!(beat.waiting)),
            "rate_per_second": of(|beat| json!(super::status::rounded(beat.rate_per_second))),
            "closed": of(|beat| json!(beat.is_closed)),
            "answered": since(|beat| beat.answered),
            "refused": since(|beat| beat.refused),
        })
    }
}

/// Every how many seconds a beat is noted.
pub(super) const STEP_SECONDS: u64 = 2;
/// Five minutes: longer than the usual Retry-After, and about as many points as a phone is wide.
const SAMPLES: usize = 150;
