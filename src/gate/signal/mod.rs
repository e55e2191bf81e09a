//! Decides what an answer says about the limit: throttled, for how long and whom; or accepted, and how much is left.

use std::time::SystemTime;

use http::{HeaderMap, StatusCode};

mod field;
mod ratelimit;
mod retry_after;
mod scope;

pub use self::ratelimit::Hints;
pub use self::retry_after::{Wait, retry_after};
pub use self::scope::NamedScope;

/// What an answer told the gate.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Signal {
    /// The API took the request, whatever it made of it.
    Accepted(Hints),
    /// The API refused to process the request for now (429, or 503 with Retry-After).
    Throttled {
        /// How long to wait; a 429 without a readable `Retry-After` borrows the reset of its quota.
        wait: Wait,
        /// Whom the limit binds, if the API names it.
        scope: Option<NamedScope>,
        /// What else the headers tell.
        hints: Hints,
    },
}

impl Signal {
    /// Reads status and headers; `now` is wall time, used where an instant stands without a `Date` beside it.
    pub fn read(status: StatusCode, headers: &HeaderMap, now: SystemTime) -> Self {
        let hints = Hints::read(headers, now);
        // A reset that has passed says nothing about the wait.
        let reset = hints.reset_in.filter(|reset| !reset.is_zero());
        let wait = match (status, retry_after(headers, now)) {
            (StatusCode::TOO_MANY_REQUESTS, wait @ (Wait::Malformed | Wait::Missing)) => {
                reset.map_or(wait, Wait::Stated)
            }
            (StatusCode::TOO_MANY_REQUESTS, wait) => wait,
            (StatusCode::SERVICE_UNAVAILABLE, wait @ Wait::Stated(_)) => wait,
            _ => return Self::Accepted(hints),
        };
        Self::Throttled { wait, scope: NamedScope::read(headers), hints }
    }

    /// An accepted request whose answer told nothing else.
    #[cfg(test)]
    pub(super) fn accepted() -> Self {
        Self::Accepted(Hints::default())
    }

    /// A refused request whose answer told nothing but the wait.
    #[cfg(test)]
    pub(super) fn throttled(wait: Wait) -> Self {
        Self::Throttled { wait, scope: None, hints: Hints::default() }
    }
}

#[cfg(test)]
mod tests;
