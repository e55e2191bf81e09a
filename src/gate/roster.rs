//! Remembers which tenants the API has accepted: strangers share one line until their first success.

use std::collections::{HashMap, VecDeque};

use crate::words::TenantId;

/// The tenants that are known, at most `limit`: who was seen longest ago is a stranger again.
#[derive(Debug)]
pub(super) struct Roster {
    limit: usize,
    seen: HashMap<TenantId, u64>,
    order: VecDeque<(TenantId, u64)>,
    step: u64,
}

impl Roster {
    pub(super) fn new(limit: usize) -> Self {
        Self { limit: limit.max(1), seen: HashMap::new(), order: VecDeque::new(), step: 0 }
    }

    pub(super) fn knows(&self, tenant: TenantId) -> bool {
        self.seen.contains_key(&tenant)
    }

    /// The API has answered a request of this tenant with success.
    pub(super) fn welcome(&mut self, tenant: TenantId) {
        self.step += 1;
        self.seen.insert(tenant, self.step);
        self.order.push_back((tenant, self.step));
        // Each entry is passed over at most once: old ones go when they come to the front.
        while self.seen.len() > self.limit || self.order.len() > self.limit * 2 {
            let Some((oldest, step)) = self.order.pop_front() else { return };
            if self.seen.get(&oldest) != Some(&step) {
                continue;
            }
            if self.seen.len() > self.limit {
                self.seen.remove(&oldest);
            } else {
                self.order.push_back((oldest, step));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tenant(number: u16) -> TenantId {
        let mut id = [0; 16];
        id[..2].copy_from_slice(&number.to_be_bytes());
        TenantId::new(id)
    }

    #[test]
    fn the_one_seen_longest_ago_is_forgotten() {
        let mut roster = Roster::new(3);
        for number in [1, 2, 3, 1, 4] {
            roster.welcome(tenant(number));
        }
        assert_eq!([1, 2, 3, 4].map(|number| roster.knows(tenant(number))), [true, false, true, true]);
    }

    #[test]
    fn a_hundred_thousand_strangers_cost_no_more_than_the_limit() {
        let mut roster = Roster::new(100);
        (0..=u16::MAX).for_each(|number| roster.welcome(tenant(number)));
        (0..=u16::MAX).for_each(|_| roster.welcome(tenant(7)));
        assert!(roster.seen.len() <= 100 && roster.order.len() <= 200);
        assert!(roster.knows(tenant(7)));
    }
}
