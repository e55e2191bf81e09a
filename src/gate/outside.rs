//! The gate's side of what replicas share: what it asks for, what it tells, what it is told.

use std::time::Duration;

use tokio::time::Instant;

use crate::route::Family;

use super::Gate;
use super::core::{Booking, Closure, Level, News, NodeKey, Wish};

impl Gate {
    /// From now on nobody goes without a slot that was handed in with [`Gate::book`]; `part` of the rate is expected.
    pub fn ration(&self, part: f64) {
        self.shared.change(|core, _| core.ration(part));
    }

    /// Nobody hands slots in for now: one gate, or all of them, go by `part` of their rate, without a burst. Before that,
    /// what anybody has booked goes out for so long.
    pub fn fall_back(&self, key: Option<NodeKey>, part: f64, booked_for: Duration) {
        self.shared.change(|core, _| {
            let now = Instant::now();
            core.fall_back(now, key, (now + booked_for, part));
        });
    }

    /// Resolves when there may be something in [`Gate::wishes`] or [`Gate::news`].
    ///
    /// # Drop
    /// Nothing is lost: the next call resolves instead.
    pub async fn called(&self) {
        self.shared.calling.notified().await;
    }

    /// What gates want that `may_ask` lets ask; the others' wishes stay.
    pub fn wishes(&self, may_ask: impl Fn(NodeKey) -> bool) -> Vec<Wish> {
        self.shared.lock().core.wishes(may_ask)
    }

    /// What one gate wants now, even if that is nothing; none if it is not known.
    pub fn wish(&self, key: NodeKey) -> Option<Wish> {
        self.shared.lock().core.wish(key)
    }

    /// What others should know, in order; each is told once.
    pub fn news(&self) -> Vec<News> {
        self.shared.lock().core.news()
    }

    /// Hands in what was booked for a question asked at `asked_at` and answered at `answered_at`.
    pub fn book(&self, key: NodeKey, (asked_at, answered_at): (Instant, Instant), booking: Booking) {
        self.shared.change(|core, _| {
            let now = Instant::now();
            let first_in = booking.first_in.saturating_sub(now.saturating_duration_since(answered_at));
            core.book(now, key, asked_at, &Booking { first_in, ..booking });
        });
    }

    /// Another process found a gate shut: it shuts here, too, and what was booked for it is void.
    pub fn hear(&self, closure: &Closure) {
        self.shared.change(|core, offer| core.hear(Instant::now(), closure, offer));
    }

    /// Another process found out how far refusals of a family reach.
    pub fn hear_verdict(&self, family: Family, level: Level) {
        self.shared.lock().core.hear_verdict(Instant::now(), family, level);
    }

    /// Every gate that is shut now.
    pub fn closures(&self) -> Vec<Closure> {
        self.shared.lock().core.closures(Instant::now())
    }

    /// How far refusals reach, as far as that is proved here.
    pub fn verdicts(&self) -> Vec<(Family, Level)> {
        let now = Instant::now();
        let state = self.shared.lock();
        state.core.verdicts(now).map(|(family, level, _)| (family, level)).collect()
    }

    /// Requests that went by this process's own part of the rate, since start.
    pub fn granted_alone(&self) -> u64 {
        self.shared.lock().core.granted_alone()
    }

    /// Requests per second that the operator allows all tenants together at most: pin and fixed ceiling.
    pub fn highest_rate(&self) -> super::Rate {
        let state = self.shared.lock();
        let settings = state.core.settings();
        let ceiling = settings.ceiling.and_then(|ceiling| super::Rate::new(ceiling.rate));
        ceiling.map_or(settings.pin, |ceiling| settings.pin.min(ceiling))
    }

    /// How many requests may go at once after a quiet time, all replicas together.
    pub fn burst(&self) -> u32 {
        self.shared.lock().core.settings().burst
    }
}
