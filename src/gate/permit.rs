//! The right to send, before and after it is used: what dropping it means.

use std::sync::Arc;

use tokio::time::Instant;

use super::Shared;
use super::core::Flight;

/// The right to send one request upstream. Made only by the gate.
///
/// # Drop
/// An unsent permit gives its token back (decision 0005).
#[derive(Debug)]
pub struct Permit {
    pub(super) hold: Option<Hold>,
}

/// A spent permit: one request in flight, until the gate hears how it was answered ([`super::Gate::learn`]).
///
/// # Drop
/// Dropped unheard, its place in flight is freed and nothing is learned.
#[derive(Debug)]
pub struct Receipt {
    pub(super) hold: Option<Hold>,
    pub(super) sent_at: Instant,
}

#[derive(Debug)]
pub(super) struct Hold {
    pub(super) shared: Arc<Shared>,
    pub(super) flight: Flight,
}

impl Permit {
    /// The request is about to reach the wire: the token is spent.
    pub fn spend(mut self) -> Receipt {
        Receipt { hold: self.hold.take(), sent_at: Instant::now() }
    }

    /// A permit outside any gate, for unit tests of the rooms that spend one.
    #[cfg(test)]
    pub(crate) fn free() -> Self {
        Self { hold: None }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some(hold) = self.hold.take() {
            hold.shared.change(|core, _| core.refund(hold.flight));
        }
    }
}

impl Drop for Receipt {
    fn drop(&mut self) {
        if let Some(hold) = self.hold.take() {
            hold.shared.change(|core, _| core.forget(hold.flight));
        }
    }
}
