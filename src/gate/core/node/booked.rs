//! What changes at a gate whose tokens come from outside: slots, the rate that all have learned, how it stands elsewhere.

use std::time::Duration;

use tokio::time::Instant;

use super::super::outside::{Booking, Stand};
use super::super::ration::Ration;
use super::{Episode, Node, Phase};

impl Node {
    /// From now on tokens come from outside.
    pub(in crate::gate::core) fn ration(&mut self, part: f64, least_lapse: Duration) {
        self.ration.get_or_insert_with(|| Box::new(Ration::new(part, least_lapse))).resume();
    }

    /// Nobody hands tokens in: after `from` `part` of the rate holds.
    pub(in crate::gate::core) fn fall_back(&mut self, now: Instant, from: Instant, part: f64) {
        let rate = self.estimate.rate();
        if let Some(ration) = &mut self.ration {
            ration.fall_back(now, from, (rate, part));
        }
    }

    /// How many slots to ask for if so many requests are ready: not while there are some, but for what passed without.
    pub(in crate::gate::core) fn wanted(&self, ready: u32) -> u32 {
        self.ration.as_ref().map_or(0, |ration| {
            let waiting = if ration.is_booked() { 0 } else { ready };
            waiting.saturating_add(ration.owed())
        })
    }

    /// What was booked, for a question asked at `asked_at`. Returns the episode if it turned out not to concern this gate.
    pub(in crate::gate::core) fn book(
        &mut self,
        now: Instant,
        asked_at: Instant,
        booking: &Booking,
    ) -> Option<Box<Episode>> {
        self.lapse(now);
        let known_at = self.shut_at;
        if let Stand::Shut(left) = booking.stand {
            self.follow(now, booking);
            self.shut(now, now + left);
            return None;
        }
        let mut acquitted = None;
        if let Phase::Closed(_) = self.phase {
            let at = booking.acquitted_for.and_then(|ago| now.checked_sub(ago));
            // Whoever answered may not know yet, or may have lost what it knew: only a later finding opens this gate.
            if at.is_none_or(|at| known_at.is_some_and(|known_at| at <= known_at)) {
                return None;
            }
            acquitted = self.acquit(now);
            self.phase = Phase::Open;
            self.closed_at = None;
        }
        self.follow(now, booking);
        if known_at.is_some_and(|known_at| known_at > asked_at) {
            return acquitted;
        }
        self.phase = match (booking.stand, self.phase) {
            (Stand::Open | Stand::Shut(_), _) => Phase::Open,
            (Stand::Ours | Stand::Theirs, Phase::HalfOpen(flight)) => Phase::HalfOpen(flight),
            (Stand::Ours | Stand::Theirs, _) => Phase::HalfOpen(None),
        };
        if let Some(ration) = &mut self.ration {
            let slots = (0..booking.slots).map(|slot| now + booking.first_in + booking.interval * slot);
            ration.hand_in(slots, (booking.interval, booking.part));
        }
        acquitted
    }

    /// The rate is learned elsewhere.
    fn follow(&mut self, now: Instant, booking: &Booking) {
        self.estimate.follow(booking.rate, booking.found);
        self.estimate.idle(now);
    }
}
