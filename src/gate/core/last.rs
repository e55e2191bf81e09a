//! Decides who still goes when an end is set: whose turn would come after it is told at once.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

use super::{Ask, Core, NodeKey, Offer, Reason, Verdict, levels};

impl<W> Core<W> {
    /// Lets nobody go from `at` on, and refuses everyone in line whose turn is projected to come later. Follow with
    /// [`Core::release`].
    ///
    /// A second call replaces the end; who was refused stays refused.
    pub fn end(&mut self, now: Instant, at: Instant, offer: Offer<'_, W>) {
        self.end_at = Some(at);
        let mut ahead = HashMap::new();
        let mut late = Vec::new();
        for (place, ask) in self.lines.expected() {
            let wait = self.expected_wait(now, &ask, &ahead);
            if self.is_too_late(now, wait) {
                late.push((place, wait));
            } else {
                let gates = levels(&ask.path).chain([NodeKey::Egress]);
                gates.for_each(|key| *ahead.entry(key).or_default() += 1);
            }
        }
        for (place, wait) in late {
            if let Some(entry) = self.lines.leave(place) {
                offer(entry.reach, Verdict::Refused(Reason::Shutdown, wait));
            }
        }
    }

    /// Whether a turn after `wait` comes after the end; never if no end is set.
    pub(super) fn is_too_late(&self, now: Instant, wait: Duration) -> bool {
        self.end_at.is_some_and(|end| now.checked_add(wait).is_none_or(|turn_at| turn_at >= end))
    }

    /// Refuses everyone in line once the end has come, or once it is known that no gate opens before it.
    pub(super) fn give_up_at_the_end(&mut self, now: Instant, offer: Offer<'_, W>) {
        let opens_in = self.reopens_at().unwrap_or(now).saturating_duration_since(now);
        if !self.is_too_late(now, opens_in) {
            return;
        }
        while let Some(entry) = self.lines.take_any() {
            let wait = self.projected_wait(now, &entry.ask);
            offer(entry.reach, Verdict::Refused(Reason::Shutdown, wait));
        }
    }

    /// The wait of someone who stands in line, behind so many at each gate.
    fn expected_wait(&self, now: Instant, ask: &Ask, ahead: &HashMap<NodeKey, u32>) -> Duration {
        let own = levels(&ask.path).filter_map(|key| Some((key, self.gates.get(&key)?)));
        let waits = own.chain([(NodeKey::Egress, &self.egress)]).map(|(key, gate)| {
            let before = ahead.get(&key).copied().unwrap_or_default();
            self.wait_at(now, key, gate, ask, before.saturating_add(1))
        });
        waits.max().unwrap_or_default()
    }
}
