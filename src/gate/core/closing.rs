//! What an answer changes: gates close, reopen, or turn out to have been somebody else's.

use std::time::Duration;

use tokio::time::Instant;

use crate::gate::PROBATION;
use crate::gate::signal::{NamedScope, Signal, Wait};
use crate::words::TenantId;

use super::node::{Episode, Node, Probes};
use super::outside::{Closure, News};
use super::probing::{FIRST_PROBE, PROBE_EVERY};
use super::scope::{Level, NodeKey, Scopes};
use super::{Core, Flight, InFlight, Offer, Path, Phase, Reason, Verdict};

/// Jitter after a stated wait is at most this much, and at most a tenth of the wait (GATE 3).
const MAX_JITTER: Duration = Duration::from_secs(1);

impl<W> Core<W> {
    /// A request was answered. `sent_at` tells which episode the answer belongs to. Follow with [`Core::release`].
    /// Returns how wide the gate is that it closed.
    pub fn learn(
        &mut self,
        now: Instant,
        flight: Flight,
        sent_at: Instant,
        signal: Signal,
        offer: Offer<'_, W>,
    ) -> Option<Level> {
        let known = self.land(flight)?;
        match signal {
            Signal::Accepted(hints) => {
                self.accepted(now, flight, &known, sent_at);
                if let Some(wait) = hints.exhausted_for() {
                    self.exhausted(now, &known, wait);
                }
                None
            }
            Signal::Throttled { wait, scope, .. } => {
                let named = scope.map(level);
                Some(self.refused(now, flight, &known, sent_at, (wait, named), offer))
            }
        }
    }

    /// A request in flight ended without an answer: the next may try its gates.
    pub fn forget(&mut self, flight: Flight) {
        let Some(known) = self.land(flight) else { return };
        self.each_gate(&known, |gate| gate.forget(flight));
    }

    /// A request never left: its tokens come back.
    pub fn refund(&mut self, flight: Flight) {
        let Some(known) = self.land(flight) else { return };
        self.each_gate(&known, |gate| gate.refund(flight));
    }

    fn land(&mut self, flight: Flight) -> Option<InFlight> {
        self.flights.get(flight.index).filter(|known| known.number == flight.number)?;
        self.flights.try_remove(flight.index)
    }

    /// Tells every gate on the way; those that changed wake their lines.
    fn each_gate(&mut self, known: &InFlight, mut tell: impl FnMut(&mut Node) -> bool) {
        tell(&mut self.egress);
        if self.gates.is_empty() {
            return;
        }
        let mut has_changed = false;
        for key in super::levels(&known.path) {
            has_changed |= self.gates.get_mut(&key).is_some_and(&mut tell);
        }
        if has_changed {
            self.wake(known.path.tenant);
        }
    }

    /// A narrow gate has changed. Its tenant's requests stand in its own line, and in the strangers' from before it had one.
    pub(super) fn wake(&mut self, tenant: TenantId) {
        self.lines.wake_line(PROBATION);
        self.lines.wake_line(tenant);
    }

    fn accepted(&mut self, now: Instant, flight: Flight, known: &InFlight, sent_at: Instant) {
        self.tell_opened(flight, &known.path);
        self.each_gate(known, |gate| gate.accepted(now, flight));
        self.scopes.accepted(known.path, sent_at);
        if !self.scopes.is_auto() {
            return;
        }
        let mut keys = vec![NodeKey::Egress];
        keys.extend(super::levels(&known.path).filter(|key| self.gates.contains_key(key)));
        for key in keys {
            self.narrow(now, key, known, sent_at);
        }
    }

    /// Others learn which gates this request has tried with success.
    fn tell_opened(&mut self, flight: Flight, path: &Path) {
        if self.outside.is_none() {
            return;
        }
        let tried = Phase::HalfOpen(Some(flight));
        let mut keys = vec![NodeKey::Egress];
        keys.extend(super::levels(path));
        keys.retain(|key| self.node(*key).is_some_and(|gate| gate.phase == tried));
        for key in keys {
            self.tell(News::Opened(key));
        }
    }

    fn tell(&mut self, news: News) {
        if let Some(outside) = &mut self.outside {
            outside.tell(news);
        }
    }

    /// If what closed `key` is proved narrower by an acceptance sent after the refusal, the narrower gates close instead.
    fn narrow(&mut self, now: Instant, key: NodeKey, known: &InFlight, sent_at: Instant) {
        let level = key.level();
        let Some(episode) = self.node(key).and_then(|gate| gate.episode.as_ref()) else { return };
        let luck = episode.luck();
        let proof = |(refused, refused_at, _): &(Path, Instant, Instant)| {
            if sent_at > *refused_at + luck { Scopes::proves(level, refused, &known.path) } else { None }
        };
        // Every refusal of the episode must be told apart from this acceptance: one that shares its gate is no stranger's.
        let Some(narrower) = episode
            .refused
            .iter()
            .map(proof)
            .collect::<Option<Vec<_>>>()
            .and_then(|found| found.into_iter().max())
        else {
            return;
        };
        let Some(episode) = self.node(key).and_then(|gate| gate.acquit(now)) else { return };
        // Who hears that this gate opens must know by then what is shut instead.
        for (refused, ..) in &episode.refused {
            self.scopes.narrow(now, refused.family, narrower);
            self.tell(News::Verdict(refused.family, narrower));
        }
        self.tell(News::Acquitted(key, sent_at));
        self.close_instead(now, narrower, &episode);
        if key.tenant().is_some() {
            self.wake(known.path.tenant);
        }
    }

    fn close_instead(&mut self, now: Instant, level: Level, episode: &Episode) {
        for refused in &episode.refused {
            self.close(now, refused.0.at(level), *refused);
        }
    }

    fn refused(
        &mut self,
        now: Instant,
        flight: Flight,
        known: &InFlight,
        sent_at: Instant,
        (wait, named): (Wait, Option<Level>),
        offer: Offer<'_, W>,
    ) -> Level {
        let key = known.path.at(self.scopes.level(now, known.path.family, named));
        let until = now + self.wait_of(now, wait, flight, key);
        // Half-open gates that this request tried without being what refused it stay for the next to try.
        self.each_gate(known, |gate| gate.forget(flight));
        self.close(now, key, (known.path, sent_at, until));
        let widened = self.scopes.widened(now, known.path, until);
        let closed = widened.as_ref().map_or_else(|| key.level(), |(wider, _)| *wider);
        if let Some((wider, all)) = widened {
            for (path, until) in all {
                self.close(now, path.at(wider), (path, now, until));
            }
        }
        for line in [PROBATION, known.path.tenant] {
            self.give_up_behind(now, key, line, offer);
        }
        closed
    }

    /// An accepted request was the last that its quota allows for now: its own narrow gate rests, nobody else's.
    fn exhausted(&mut self, now: Instant, known: &InFlight, wait: Duration) {
        self.make_room(now);
        let until = now + wait.min(self.settings.max_gate);
        let key = known.path.at(Level::Room);
        self.gate(now, key).rest(now, until);
        self.tell(News::Rests(key, until));
    }

    /// The gate of that name; a narrow one that is new starts at what a single quota usually is.
    pub(super) fn gate(&mut self, now: Instant, key: NodeKey) -> &mut Node {
        let (start, pin, burst) = (self.settings.start_rate, self.settings.pin, self.settings.burst);
        let outside = self.outside.as_ref();
        let new = || {
            let mut node = Node::new(now, start, pin, burst);
            if let Some(outside) = outside {
                outside.adopt(now, &mut node);
            }
            node
        };
        match key {
            NodeKey::Egress => &mut self.egress,
            _ => self.gates.entry(key).or_insert_with(new),
        }
    }

    /// Closes for what an answer to this process said; others learn of it.
    pub(super) fn close(&mut self, now: Instant, key: NodeKey, refused: (Path, Instant, Instant)) {
        self.close_with(now, key, refused, Probes { at: now + FIRST_PROBE, every: PROBE_EVERY });
        let (path, sent_at, until) = refused;
        self.tell(News::Shut(Closure { key, refused: Some(path), sent_at, until }));
    }

    pub(super) fn close_with(
        &mut self,
        now: Instant,
        key: NodeKey,
        refused: (Path, Instant, Instant),
        probes: Probes,
    ) {
        self.make_room(now);
        if key != NodeKey::Egress {
            self.probe_at = Some(self.probe_at.map_or(probes.at, |at| at.min(probes.at)));
        }
        let gate = self.gate(now, key);
        let was_tried = matches!(gate.phase, Phase::HalfOpen(Some(_)));
        gate.close(now, refused, probes);
        // Who waits for that answer waits for the instant now: the answer will not open this gate.
        if let Some(tenant) = key.tenant().filter(|_| was_tried) {
            self.wake(tenant);
        }
    }

    /// Whoever stands behind a narrow gate that reopens after his deadline is told now; the widest gate's are told by `release`.
    pub(super) fn give_up_behind(&mut self, now: Instant, key: NodeKey, line: TenantId, offer: Offer<'_, W>) {
        let Some(gate) = self.gates.get(&key) else { return };
        let Phase::Closed(until) = gate.phase else { return };
        let refused =
            gate.episode.as_ref().filter(|_| self.scopes.is_auto()).map(|episode| episode.refused.clone());
        // Whom the refusal may not concern can still hope for a probe.
        let may_hope = |path: &Path| {
            let mut refused = refused.iter().flatten().peekable();
            refused.peek().is_some()
                && refused.all(|(other, ..)| Scopes::proves(key.level(), other, path).is_some())
        };
        let hopeless = |ask: &super::Ask| {
            ask.deadline < until && ask.path.at(key.level()) == key && !may_hope(&ask.path)
        };
        for entry in self.lines.drop_where(line, hopeless) {
            let wait = self.projected_wait(now, &entry.ask);
            offer(entry.reach, Verdict::Refused(Reason::Deadline, wait));
        }
    }

    pub(super) fn node(&mut self, key: NodeKey) -> Option<&mut Node> {
        match key {
            NodeKey::Egress => Some(&mut self.egress),
            _ => self.gates.get_mut(&key),
        }
    }

    /// Forgets the gates that were used longest ago when there are too many: a tenth at once, so that it is seldom.
    pub(super) fn make_room(&mut self, now: Instant) {
        if self.gates.len() < self.settings.max_gates {
            return;
        }
        let mut ages: Vec<Duration> =
            self.gates.values().map(|gate| now.saturating_duration_since(gate.used_at)).collect();
        let tenth = ages.len() / 10;
        let (_, limit, _) = ages.select_nth_unstable_by(tenth, |one, other| other.cmp(one));
        let limit = *limit;
        let forgotten = &mut self.forgotten_closed_for;
        self.gates.retain(|key, gate| {
            let stays = now.saturating_duration_since(gate.used_at) < limit;
            if !stays {
                *forgotten.entry(key.level()).or_default() += gate.closed_for_total(now);
            }
            stays
        });
        // Who waits for an answer through a gate that is gone would wait for ever.
        self.lines.wake_all();
    }

    fn wait_of(&mut self, now: Instant, wait: Wait, flight: Flight, key: NodeKey) -> Duration {
        let stated = match wait {
            Wait::Stated(stated) if !stated.is_zero() => stated.min(self.settings.max_gate),
            // A wait of nothing is none: sent at once again, the request would be refused again.
            Wait::Stated(_) | Wait::Malformed | Wait::Missing => self.gate(now, key).unstated(now),
        };
        stated + (stated / 10).min(MAX_JITTER).mul_f64(fraction(flight.number))
    }
}

fn level(named: NamedScope) -> Level {
    match named {
        NamedScope::Egress => Level::Egress,
        NamedScope::Room => Level::Room,
        NamedScope::Route => Level::Family,
        NamedScope::Tenant => Level::Tenant,
    }
}

/// A number in 0..1 that differs from flight to flight (splitmix64): jitter needs no more.
pub(super) fn fraction(seed: u64) -> f64 {
    let mut mixed = seed.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let top = u32::try_from(mixed >> 32).unwrap_or_default();
    f64::from(top) / f64::from(u32::MAX)
}
