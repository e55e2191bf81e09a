//! What the scheduler shows of itself: for status and metrics, and for the next process.

use std::cmp::Reverse;
use std::time::Duration;

use tokio::time::Instant;

use crate::gate::bucket::Rate;
use crate::gate::learn::Found;
use crate::route::Family;
use crate::words::TenantId;

use super::node::Node;
use super::scope::{Level, NodeKey};
use super::{Core, Path, Phase};

/// One gate, as it is now.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct GateView {
    /// Which.
    pub key: NodeKey,
    /// Time until it reopens; none while it is not closed.
    pub closed_for: Option<Duration>,
    /// One request at a time tries whether it is open again.
    pub is_half_open: bool,
    /// Requests per second in force.
    pub rate: Rate,
    /// A refusal has lowered the rate at some time: it says something about the limit.
    pub has_met_limit: bool,
}

/// One line, as it is now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LineView {
    /// Whose: a tenant's, or the one that all strangers share ([`PROBATION`](crate::gate::PROBATION)).
    pub tenant: TenantId,
    /// Requests in it; at least one.
    pub waiting: u32,
    /// How long the first of them has been there.
    pub oldest_waited: Duration,
}

/// What an earlier process knew, relative to now.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Learned {
    /// A gate.
    Gate(GateView),
    /// How far refusals of a family reach.
    Verdict(Family, Level),
}

impl<W> Core<W> {
    /// Requests in line.
    pub fn waiting(&self) -> usize {
        self.lines.waiting()
    }

    /// Requests between permit and answer.
    pub fn in_flight(&self) -> usize {
        self.flights.len()
    }

    /// When the first of the next to give up joined.
    pub fn oldest_joined_at(&self) -> Option<Instant> {
        self.lines.oldest_joined_at()
    }

    /// Every line with somebody in it, longest first. A tie is broken by the tenant, so that a page does not flicker.
    pub fn lines(&self, now: Instant) -> Vec<LineView> {
        let view = |(tenant, waiting, joined_at)| LineView {
            tenant,
            waiting,
            oldest_waited: now.saturating_duration_since(joined_at),
        };
        let mut lines: Vec<_> = self.lines.occupied().map(view).collect();
        lines.sort_unstable_by_key(|line| (Reverse(line.waiting), line.tenant));
        lines
    }

    /// Time until all gates of a path are open; none if they are.
    pub fn closed_for(&self, now: Instant, path: &Path) -> Option<Duration> {
        let own = super::levels(path).filter_map(|key| Some((key, self.gates.get(&key)?)));
        let all = own.chain([(NodeKey::Egress, &self.egress)]);
        all.filter_map(|(key, gate)| view(now, key, gate).closed_for).max()
    }

    /// The widest gate.
    pub fn egress(&self, now: Instant) -> GateView {
        view(now, NodeKey::Egress, &self.egress)
    }

    /// How long the gates of one width have been closed, all gates and all times together.
    pub fn closed_for_total(&self, now: Instant, level: Level) -> Duration {
        let known = self.gates.iter().filter(|(key, _)| key.level() == level);
        let egress = (level == Level::Egress).then(|| self.egress.closed_for_total(now));
        let forgotten = self.forgotten_closed_for.get(&level).copied();
        known.map(|(_, gate)| gate.closed_for_total(now)).chain(egress).chain(forgotten).sum()
    }

    /// What the scheduler was told.
    pub fn settings(&self) -> &super::CoreSettings {
        &self.settings
    }

    /// The narrower gates that are known.
    pub fn gates(&self, now: Instant) -> impl Iterator<Item = GateView> {
        self.gates.iter().map(move |(key, gate)| view(now, *key, gate))
    }

    /// How far refusals reach, as far as that is proved: family, level, age of the proof.
    pub fn verdicts(&self, now: Instant) -> impl Iterator<Item = (Family, Level, Duration)> {
        self.scopes.verdicts(now)
    }

    /// Takes over what an earlier process knew.
    pub fn restore(&mut self, now: Instant, learned: Learned) {
        match learned {
            Learned::Verdict(family, level) => self.scopes.restore(now, family, level),
            Learned::Gate(GateView { key, closed_for, rate, has_met_limit, .. }) => {
                if key != NodeKey::Egress && self.gates.len() >= self.settings.max_gates {
                    return;
                }
                let closed_for = closed_for.map(|wait| wait.min(self.settings.max_gate));
                self.gate(now, key).restore(now, has_met_limit.then_some(rate), closed_for);
            }
        }
    }

    /// Takes new settings; what was learned and everyone in line stay.
    pub fn reconfigure(&mut self, now: Instant, settings: super::CoreSettings) {
        self.scopes.set(settings.scope);
        self.ceilings.set(settings.ceiling, &settings.tenant_ceilings);
        self.egress.set_limits(now, settings.pin, settings.burst);
        for gate in self.gates.values_mut() {
            gate.set_limits(now, settings.pin, settings.burst);
        }
        self.has_egress_place = false;
        self.lines.wake_all();
        self.settings = settings;
    }
}

fn view(now: Instant, key: NodeKey, gate: &Node) -> GateView {
    GateView {
        key,
        closed_for: match gate.phase {
            Phase::Closed(until) => Some(until.saturating_duration_since(now)).filter(|wait| !wait.is_zero()),
            Phase::HalfOpen(_) | Phase::Open => None,
        },
        is_half_open: matches!(gate.phase, Phase::HalfOpen(_)),
        rate: gate.rate(),
        has_met_limit: gate.found() == Found::Limit,
    }
}
