//! Decides when the permit of a request that is being sent is spent: once bytes of it may have left.

use super::Failed;
use crate::gate::{Permit, Receipt};

/// The permit of a request that is being sent.
///
/// # Drop
/// Spends the permit if the request has a connection: from then on bytes of it may have left.
pub(super) struct Stake {
    permit: Option<Permit>,
    is_at_risk: bool,
}

impl Stake {
    /// Nothing has been risked yet.
    pub(super) fn of(permit: Permit) -> Self {
        Self { permit: Some(permit), is_at_risk: false }
    }

    /// The request is given to a connection.
    pub(super) fn risk(&mut self) {
        self.is_at_risk = true;
    }

    /// The connection took nothing of it.
    pub(super) fn get_back(&mut self) {
        self.is_at_risk = false;
    }

    /// It was answered; nothing if the permit was spent before.
    pub(super) fn spend(mut self) -> Option<Receipt> {
        self.permit.take().map(Permit::spend)
    }

    /// It failed: the permit is spent if the API may have heard of it.
    pub(super) fn settle(mut self, failed: &Failed) {
        let Some(permit) = self.permit.take() else { return };
        if failed.was_sent() {
            let _unheard = permit.spend();
        }
    }
}

impl Drop for Stake {
    fn drop(&mut self) {
        if self.is_at_risk
            && let Some(permit) = self.permit.take()
        {
            let _unheard = permit.spend();
        }
    }
}
