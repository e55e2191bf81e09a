//! What the scheduler tells and hears when replicas share its gates: what it wants, what it learned, what was booked.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use tokio::time::Instant;

use crate::gate::PROBATION;
use crate::gate::bucket::Rate;
use crate::gate::learn::Found;
use crate::route::Family;

use super::closing::fraction;
use super::node::{Node, Probes};
use super::probing::{FIRST_PROBE, PROBE_EVERY};
use super::ration::{NARROW_LAPSE, WIDE_LAPSE};
use super::scope::{Level, NodeKey};
use super::{Core, Offer, Path, Phase};

/// What one gate wants.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Wish {
    /// Which.
    pub key: NodeKey,
    /// Slots: for what waits without one, and for what passed without one.
    pub slots: u32,
    /// Tenants that wait, each by its weight.
    pub weight: u64,
    /// Requests per second as known here.
    pub rate: Rate,
    /// What that rate has found.
    pub found: Found,
    /// This process goes by its part of the rate, without slots.
    pub is_alone: bool,
}

/// What others should know of one gate. Instants are of this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum News {
    /// A refusal turned out not to concern it, by a request sent at the instant.
    Acquitted(NodeKey, Instant),
    /// The request that tried it was accepted.
    Opened(NodeKey),
    /// Shut without a refusal: nothing more would be accepted before the instant.
    Rests(NodeKey, Instant),
    /// Shut by a refusal.
    Shut(Closure),
    /// Refusals of a family reach no further.
    Verdict(Family, Level),
}

/// A gate that was shut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Closure {
    /// Which.
    pub key: NodeKey,
    /// Whose request was refused, if that is known.
    pub refused: Option<Path>,
    /// When that request was sent.
    pub sent_at: Instant,
    /// Until when.
    pub until: Instant,
}

/// How a shared gate stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stand {
    /// Open.
    Open,
    /// Shut for so long.
    Shut(Duration),
    /// Its time has come: this process tries it, with one request.
    Ours,
    /// Its time has come: another process tries it.
    Theirs,
}

/// What was booked for one gate.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Booking {
    /// How the gate stands.
    pub stand: Stand,
    /// Slots.
    pub slots: u32,
    /// Until the first is due; zero if it is due already.
    pub first_in: Duration,
    /// Between slots.
    pub interval: Duration,
    /// This process's part of the rate.
    pub part: f64,
    /// Processes that share the gate, this one included.
    pub members: u32,
    /// Requests per second of all together.
    pub rate: Rate,
    /// What that rate has found.
    pub found: Found,
    /// How long ago the gate was last found to have been shut for no reason.
    pub acquitted_for: Option<Duration>,
}

/// What is kept while tokens come from outside.
#[derive(Debug)]
pub(super) struct Outside {
    part: f64,
    /// While nobody hands slots in: since when this process's own part of the rate holds.
    alone_from: Option<Instant>,
    members: u32,
    wanting: BTreeSet<NodeKey>,
    news: VecDeque<News>,
    granted_alone: u64,
    heard: u64,
}

impl Outside {
    /// Somebody stands at this gate without a slot.
    pub(super) fn want(&mut self, key: NodeKey) {
        self.wanting.insert(key);
    }

    /// Others should know. What nobody fetches is forgotten, the oldest first.
    pub(super) fn tell(&mut self, news: News) {
        if self.news.len() >= MAX_NEWS {
            self.news.pop_front();
        }
        self.news.push_back(news);
    }

    pub(super) fn count_alone(&mut self) {
        self.granted_alone += 1;
    }

    /// Makes a new gate one of those whose tokens come from outside.
    pub(super) fn adopt(&self, now: Instant, node: &mut Node) {
        node.ration(self.part, NARROW_LAPSE);
        if let Some(from) = self.alone_from {
            node.fall_back(now, from, self.part);
        }
    }

    /// When a refusal that another process was told may be tried here: after it has had its chance, and by turns.
    fn probes(&mut self, now: Instant) -> Probes {
        self.heard += 1;
        let spread = PROBE_EVERY.mul_f64(fraction(self.heard));
        let every = PROBE_EVERY.saturating_mul(self.members.max(1));
        Probes { at: now + FIRST_PROBE + PROBE_EVERY / 2 + spread, every }
    }
}

impl<W> Core<W> {
    /// From now on slots are asked for; nobody goes without one. Until the first comes, `part` of the rate is expected.
    /// Follow with [`Core::release`].
    pub fn ration(&mut self, part: f64) {
        let outside = self.outside.get_or_insert_with(|| Outside {
            part,
            alone_from: None,
            members: 1,
            wanting: BTreeSet::new(),
            news: VecDeque::new(),
            granted_alone: 0,
            heard: 0,
        });
        outside.alone_from = None;
        self.egress.ration(part, WIDE_LAPSE);
        self.gates.values_mut().for_each(|gate| gate.ration(part, NARROW_LAPSE));
        self.lines.wake_all();
    }

    /// Nobody hands slots in for now: `part` of the rate holds, of one gate or of all, but not before `from`, when all
    /// that was booked has gone out. Follow with [`Core::release`].
    pub fn fall_back(&mut self, now: Instant, key: Option<NodeKey>, (from, part): (Instant, f64)) {
        if let Some(key) = key {
            if let Some(gate) = self.node(key) {
                gate.fall_back(now, from, part);
            }
        } else if let Some(outside) = &mut self.outside {
            outside.part = part;
            let from = *outside.alone_from.get_or_insert(from);
            outside.wanting.clear();
            self.egress.fall_back(now, from, part);
            self.gates.values_mut().for_each(|gate| gate.fall_back(now, from, part));
        }
        self.lines.wake_all();
    }

    /// Whether anything should be asked for or told.
    pub fn is_calling(&self) -> bool {
        self.outside.as_ref().is_some_and(|outside| !outside.wanting.is_empty() || !outside.news.is_empty())
    }

    /// What gates want that `may_ask` lets ask; the others' wishes stay.
    pub fn wishes(&mut self, may_ask: impl Fn(NodeKey) -> bool) -> Vec<Wish> {
        let Some(outside) = &mut self.outside else { return Vec::new() };
        let asking: Vec<NodeKey> = outside.wanting.iter().copied().filter(|key| may_ask(*key)).collect();
        for key in &asking {
            outside.wanting.remove(key);
        }
        let wishes = asking.into_iter().filter_map(|key| self.wish(key));
        wishes.filter(|wish| wish.slots > 0).collect()
    }

    /// What one gate wants now, even if that is nothing; none if it is not known.
    pub fn wish(&self, key: NodeKey) -> Option<Wish> {
        let gate = if key == NodeKey::Egress { &self.egress } else { self.gates.get(&key)? };
        let (weight, ready) = match key.tenant() {
            None => self.lines.ready(),
            Some(tenant) => {
                let passes = |path: &Path| path.at(key.level()) == key;
                (1, [tenant, PROBATION].iter().map(|line| self.lines.standing(*line, passes)).sum())
            }
        };
        let slots = match gate.phase {
            Phase::Closed(_) => 0,
            Phase::HalfOpen(_) | Phase::Open => gate.wanted(ready).min(MAX_WANT),
        };
        let weight = if ready == 0 { 0 } else { weight };
        let (rate, found, is_alone) = (gate.rate(), gate.found(), gate.is_alone());
        Some(Wish { key, slots, weight, rate, found, is_alone })
    }

    /// What others should know, in order.
    pub fn news(&mut self) -> Vec<News> {
        self.outside.as_mut().map_or_else(Vec::new, |outside| outside.news.drain(..).collect())
    }

    /// What was booked, for a question asked at `asked_at`; what shut meanwhile makes it void. Follow with
    /// [`Core::release`].
    pub fn book(&mut self, now: Instant, key: NodeKey, asked_at: Instant, booking: &Booking) {
        if let (NodeKey::Egress, Some(outside)) = (key, &mut self.outside) {
            (outside.part, outside.members) = (booking.part, booking.members);
        }
        let Some(gate) = self.node(key) else { return };
        let reopened = gate.book(now, asked_at, booking);
        for (path, sent_at, until) in reopened.map(|episode| episode.refused).unwrap_or_default() {
            // Another process found out whom the refusal concerns: what this one was told goes with it.
            let narrower = self.scopes.verdict(now, path.family);
            if narrower > key.level() && until > now {
                self.close(now, path.at(narrower), (path, sent_at, until));
            }
        }
        if let Some(tenant) = key.tenant() {
            self.wake(tenant);
        }
    }

    /// Another process found a gate shut. Follow with [`Core::release`].
    pub fn hear(&mut self, now: Instant, closure: &Closure, offer: Offer<'_, W>) {
        let until = closure.until.min(now + self.settings.max_gate);
        let Some(probes) = self.outside.as_mut().map(|outside| outside.probes(now)) else { return };
        match closure.refused.filter(|path| path.at(closure.key.level()) == closure.key) {
            Some(path) => {
                self.scopes.note(now, path, until);
                self.close_with(now, closure.key, (path, closure.sent_at, until), probes);
            }
            None => {
                self.make_room(now);
                self.gate(now, closure.key).shut(now, until);
            }
        }
        for line in [Some(PROBATION), closure.key.tenant()].into_iter().flatten() {
            self.give_up_behind(now, closure.key, line, offer);
        }
    }

    /// Another process found out how far refusals of a family reach.
    pub fn hear_verdict(&mut self, now: Instant, family: Family, level: Level) {
        self.scopes.narrow(now, family, level);
    }

    /// Every gate that is shut.
    pub fn closures(&self, now: Instant) -> Vec<Closure> {
        let all = self.gates.iter().map(|(key, gate)| (*key, gate)).chain([(NodeKey::Egress, &self.egress)]);
        let shut = all.filter_map(|(key, gate)| match gate.phase {
            Phase::Closed(until) if until > now => {
                let first = gate.episode.as_ref().and_then(|episode| episode.refused.first());
                let sent_at = first.map_or(now, |(_, sent_at, _)| *sent_at);
                Some(Closure { key, refused: first.map(|(path, ..)| *path), sent_at, until })
            }
            Phase::Closed(_) | Phase::HalfOpen(_) | Phase::Open => None,
        });
        shut.collect()
    }

    /// Requests that went by this process's own part of the rate, since start.
    pub fn granted_alone(&self) -> u64 {
        self.outside.as_ref().map_or(0, |outside| outside.granted_alone)
    }
}

/// Far more than one call should book: 20,000 requests a second at the usual horizon.
const MAX_WANT: u32 = 4096;
/// A refusal is news; a thousand that nobody fetched are an outage.
const MAX_NEWS: usize = 1024;
