//! What a request holds while it is in line or on its way: its claim, its turn, and what is left of its time.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::words::TenantId;

use super::Shared;
use super::claim::Claim;
use super::core::{self, Ask, Order, Turn};

/// A client request's claim on the line: its turn and what is left of its time there.
///
/// Kept over replays: a refused request goes back to the head of its flow, and its time in line adds up.
///
/// # Drop
/// The request is over: the next write of its flow may go.
#[derive(Debug)]
pub struct Ticket {
    pub(super) shared: Arc<Shared>,
    pub(super) claim: Claim,
    pub(super) line: TenantId,
    pub(super) turn: Turn,
    pub(super) attempts: u32,
    pub(super) waited: Duration,
    pub(super) observed: Option<Duration>,
}

impl Ticket {
    /// Time spent in line so far, over all attempts.
    pub fn waited(&self) -> Duration {
        self.waited
    }

    /// Time that the line would have meant for a request which passes it by; none if it does not.
    pub fn observed(&self) -> Option<Duration> {
        self.observed
    }

    pub(super) fn ask(&self, now: Instant) -> Ask {
        Ask {
            path: self.claim.path,
            line: self.line,
            weight: self.claim.weight,
            class: self.claim.class,
            order: self.claim.order,
            size: self.claim.size,
            bytes: self.claim.bytes,
            standing: if self.attempts == 0 { core::Standing::New } else { core::Standing::Replay },
            deadline: now + self.claim.max_wait.saturating_sub(self.waited),
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if self.claim.order == Order::Strict {
            let (ask, turn) = (self.ask(Instant::now()), self.turn);
            self.shared.change(|core, _| core.finish(&ask, turn));
        }
    }
}
