//! Decides whether a request may go at once, because nobody stands in line: nearly always, and so at little cost.

use tokio::time::Instant;

use super::ask::{Ask, Order};
use super::check::levels;
use super::node::{Pass, Phase};
use super::{Core, Flight};

impl<W> Core<W> {
    /// Lets a request go past a line in which nobody stands: what [`Core::join`] and [`Core::release`] would come to,
    /// without a place. None if that takes more than a look: then it has to join. So it has where slots come from outside,
    /// which are asked for by those who stand in line.
    pub fn go_alone(&mut self, now: Instant, ask: &Ask) -> Option<Flight> {
        let is_alone = self.lines.waiting() == 0 && ask.order == Order::Free;
        let is_open = self.egress.phase == Phase::Open
            && self.outside.is_none()
            && self.end_at.is_none()
            && self.flights.len() < self.settings.max_in_flight
            && levels(&ask.path).all(|key| !self.gates.contains_key(&key));
        // Asked for a place, a ceiling counts it as taken: that is left to the line.
        if !is_alone || !is_open || !self.has_room_for(ask) || self.ceilings.bind(ask.line) {
            return None;
        }
        if !self.lines.is_ready() {
            self.egress.idle(now);
        }
        (self.egress.pass(now) == Pass::Now).then(|| self.depart(now, ask))
    }

    /// Whether the line would take it, were it to wait.
    fn has_room_for(&self, ask: &Ask) -> bool {
        let bytes = u64::from(ask.bytes);
        self.settings.max_tenant_waiting > 0 && bytes <= self.settings.max_tenant_bytes && !self.is_full(ask)
    }
}
