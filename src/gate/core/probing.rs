//! Decides who may find out how far a refusal reaches, and when: one small safe request of somebody else at a time.

use std::time::Duration;

use tokio::time::Instant;

use super::scope::{NodeKey, Scopes};
use super::{Core, Offer, Path, Phase, Size};

/// How long a refusal holds before one request may find out how far it reaches; then one each `PROBE_EVERY` (GATE 3).
pub(super) const FIRST_PROBE: Duration = Duration::from_secs(1);
pub(super) const PROBE_EVERY: Duration = Duration::from_secs(5);
/// What a stated wait is lengthened to at most.
const WITH_JITTER: f64 = 1.1;

impl<W> Core<W> {
    /// While everybody is stopped by a refusal of unknown reach, one small safe request of somebody else may try.
    pub(super) fn probe_egress(
        &mut self,
        now: Instant,
        until: Instant,
        offer: Offer<'_, W>,
    ) -> Option<Instant> {
        let probe_at = self.probe(now, NodeKey::Egress, offer);
        Some(probe_at.map_or(until, |at| at.min(until)))
    }

    /// The same for gates of tenants and families.
    pub(super) fn probe_narrow(&mut self, now: Instant, offer: Offer<'_, W>) -> Option<Instant> {
        if !self.scopes.is_auto() || self.egress.phase != Phase::Open {
            return None;
        }
        if self.probe_at? > now {
            return self.probe_at;
        }
        let tried: Vec<NodeKey> = self
            .gates
            .iter()
            .filter(|(_, gate)| gate.episode.is_some() && matches!(gate.phase, Phase::Closed(_)))
            .map(|(key, _)| *key)
            .collect();
        self.probe_at = tried.into_iter().filter_map(|key| self.probe(now, key, offer)).min();
        self.probe_at
    }

    /// Returns when the next probe through `key` may go; none if there is nothing to find out.
    fn probe(&mut self, now: Instant, key: NodeKey, offer: Offer<'_, W>) -> Option<Instant> {
        if !self.scopes.is_auto() {
            return None;
        }
        let level = key.level();
        let gate = self.node(key)?;
        let Phase::Closed(until) = gate.phase else { return None };
        let episode = gate.episode.as_mut()?;
        let refused = episode.refused.clone();
        // In what is added to a stated wait the API may accept anybody again: that proves nothing.
        let told_at = refused.iter().map(|(_, told_at, _)| *told_at).max()?;
        let until = told_at + until.saturating_duration_since(told_at).mul_f64(1.0 / WITH_JITTER);
        if now >= until {
            return None;
        }
        if episode.probes.at > now {
            return Some(episode.probes.at).filter(|at| *at < until);
        }
        let again_at = now + episode.probes.every;
        episode.probes.at = again_at;
        let next_at = Some(again_at).filter(|at| *at < until);
        let would_tell =
            |path: &Path| refused.iter().all(|(other, ..)| Scopes::proves(level, other, path).is_some());
        let latest = refused.iter().map(|(_, sent_at, _)| *sent_at).max()?;
        let is_under_way =
            self.flights.iter().any(|(_, flight)| flight.departed_at > latest && would_tell(&flight.path));
        if is_under_way {
            return next_at;
        }
        let gates = &self.gates;
        let others_open =
            |path: &Path| super::levels(path).all(|other| other == key || super::is_open(gates, other));
        if let Some(entry) =
            self.lines.find(|ask| ask.size == Size::Probe && would_tell(&ask.path) && others_open(&ask.path))
        {
            self.send(now, entry, offer);
            return next_at;
        }
        // Nobody could find out: whoever comes soon must not wait for the turn that was not used.
        let again_at = now + FIRST_PROBE;
        if let Some(episode) = self.node(key).and_then(|gate| gate.episode.as_mut()) {
            episode.probes.at = again_at;
        }
        Some(again_at).filter(|at| *at < until)
    }
}
