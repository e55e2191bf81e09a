//! Who stands in line, and who is next: tenants take turns by weight, classes by urgency, flows in a ring, each flow in order.

use std::collections::{BTreeSet, HashMap, VecDeque};

use slab::Slab;
use tokio::time::Instant;

use crate::words::TenantId;

use super::Turn;
use super::ask::{Ask, Class, Order};

mod expected;
mod parts;
mod turns;

use parts::{Flow, Tenant, key};

/// A class that waits gets at least one turn in so many of its tenant's (GATE 6: 5 %).
const FLOOR: u8 = 20;
/// A probe is looked for in this many lines: it must not cost more the more wait.
const MAX_LOOK: usize = 100;

/// All lines together. `W` is whatever reaches a waiter.
#[derive(Debug)]
pub(super) struct Lines<W> {
    entries: Slab<Entry<W>>,
    flows: Slab<Flow>,
    tenants: Slab<Tenant>,
    index: HashMap<TenantId, usize>,
    ring: VecDeque<usize>,
    parked: BTreeSet<(Instant, Parked)>,
    deadlines: BTreeSet<(Instant, usize)>,
    weight: u64,
    bytes: u64,
}

/// One waiting request.
#[derive(Debug)]
pub(super) struct Entry<W> {
    pub(super) ask: Ask,
    pub(super) turn: Turn,
    pub(super) reach: W,
    pub(super) joined_at: Instant,
    flow: usize,
    before: Option<usize>,
    behind: Option<usize>,
}

/// Where an entry stands; worthless once it has left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    entry: usize,
    turn: Turn,
}

/// What is taken out of the line for a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Parked {
    Flow(usize),
    Tenant(usize),
}

/// What the gates on an entry's way say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Check {
    /// Its flow must wait; until then, or until it is woken.
    FlowWaits(Option<Instant>),
    /// It may go.
    Go,
    /// It may go, but not now: nobody goes, and it stays the next.
    Stop,
    /// All of its tenant must wait.
    TenantWaits(Option<Instant>),
}

impl<W> Lines<W> {
    pub(super) fn new() -> Self {
        Self {
            entries: Slab::new(),
            flows: Slab::new(),
            tenants: Slab::new(),
            index: HashMap::new(),
            ring: VecDeque::new(),
            parked: BTreeSet::new(),
            deadlines: BTreeSet::new(),
            weight: 0,
            bytes: 0,
        }
    }

    pub(super) fn waiting(&self) -> usize {
        self.entries.len()
    }

    /// Decoded bytes held by everything in line.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Requests and bytes of one line, and its weight's share: `(waiting, bytes)`.
    pub(super) fn held_by(&self, line: TenantId) -> (u32, u64) {
        let tenant = self.index.get(&line).and_then(|tenant| self.tenants.get(*tenant));
        tenant.map_or((0, 0), |tenant| (tenant.waiting, tenant.bytes))
    }

    /// The weight of all lines with somebody in them.
    pub(super) fn weight(&self) -> u64 {
        self.weight
    }

    /// Whether anybody could go if the widest gate allowed it.
    pub(super) fn is_ready(&self) -> bool {
        !self.ring.is_empty()
    }

    /// Stands at the end of its flow; a replay before everybody who came later.
    pub(super) fn join(&mut self, now: Instant, turn: Turn, ask: Ask, reach: W) -> Place {
        let tenant = self.tenant(&ask);
        let flow = self.flow(tenant, &ask);
        let deadline = ask.deadline;
        self.bytes += u64::from(ask.bytes);
        if let Some(tenant) = self.tenants.get_mut(tenant) {
            if tenant.waiting == 0 {
                self.weight += u64::from(tenant.weight);
            }
            tenant.waiting += 1;
            tenant.bytes += u64::from(ask.bytes);
        }
        let entry =
            self.entries.insert(Entry { ask, turn, reach, joined_at: now, flow, before: None, behind: None });
        self.deadlines.insert((deadline, entry));
        self.link(flow, entry, turn);
        self.queue(flow);
        Place { entry, turn }
    }

    /// Takes an entry out, wherever it stands.
    pub(super) fn leave(&mut self, place: Place) -> Option<Entry<W>> {
        self.entries.get(place.entry).filter(|entry| entry.turn == place.turn)?;
        self.withdraw(place.entry)
    }

    /// The next in order that `check` lets go.
    pub(super) fn next(&mut self, mut check: impl FnMut(&Ask) -> Check) -> Option<Entry<W>> {
        loop {
            let tenant = *self.ring.front()?;
            let Some((class, flow)) = self.pick(tenant) else {
                self.leave_ring(tenant);
                continue;
            };
            let head = self.flows.get(flow).and_then(|flow| flow.head)?;
            match check(&self.entries.get(head)?.ask) {
                Check::Go => return self.grant(tenant, class, flow, head),
                Check::Stop => return None,
                Check::FlowWaits(until) => self.park_flow(flow, until),
                Check::TenantWaits(until) => {
                    self.leave_ring(tenant);
                    self.park_tenant(tenant, until);
                }
            }
        }
    }

    /// Somebody that `wants` takes, out of a bounded number of lines: for a probe, whatever the gates say.
    pub(super) fn find(&mut self, wants: impl Fn(&Ask) -> bool) -> Option<Entry<W>> {
        let flows = self.tenants.iter().take(MAX_LOOK).flat_map(|(_, tenant)| tenant.flows.values());
        let (flow, head) = flows.copied().find_map(|flow| {
            let known = self.flows.get(flow)?;
            let head = known.head.filter(|_| self.may_go(known))?;
            self.entries.get(head).filter(|entry| wants(&entry.ask)).map(|_| (flow, head))
        })?;
        self.own(flow, head);
        self.withdraw(head)
    }

    /// Whether `wants` takes anybody that [`Lines::find`] would see.
    pub(super) fn has(&self, wants: impl Fn(&Ask) -> bool) -> bool {
        let heads = self.tenants.iter().take(MAX_LOOK).flat_map(|(_, tenant)| tenant.flows.values());
        let mut asks = heads.filter_map(|flow| self.entries.get(self.flows.get(*flow)?.head?));
        asks.any(|entry| wants(&entry.ask))
    }

    /// Puts what was parked until `now` back in line.
    pub(super) fn unpark(&mut self, now: Instant) {
        while let Some((at, parked)) = self.parked.first().copied()
            && at <= now
        {
            self.parked.pop_first();
            self.wake(parked);
        }
    }

    /// Puts everything of a tenant back in line: its gates have changed.
    pub(super) fn wake_line(&mut self, line: TenantId) {
        let Some(index) = self.index.get(&line).copied() else { return };
        self.wake(Parked::Tenant(index));
        let flows: Vec<usize> = self
            .tenants
            .get(index)
            .map(|tenant| tenant.flows.values().copied().collect())
            .unwrap_or_default();
        for flow in flows {
            self.wake(Parked::Flow(flow));
        }
    }

    /// Puts everything back in line.
    pub(super) fn wake_all(&mut self) {
        let lines: Vec<TenantId> = self.index.keys().copied().collect();
        lines.into_iter().for_each(|line| self.wake_line(line));
    }

    /// When something parked comes back by itself.
    pub(super) fn next_wake_at(&self) -> Option<Instant> {
        self.parked.first().map(|(at, _)| *at)
    }

    pub(super) fn next_deadline_at(&self) -> Option<Instant> {
        self.deadlines.first().map(|(at, _)| *at)
    }

    /// Takes out one whose deadline lies before `limit`.
    pub(super) fn expired(&mut self, limit: Instant) -> Option<Entry<W>> {
        let (at, entry) = self.deadlines.first().copied()?;
        if at < limit { self.withdraw(entry) } else { None }
    }

    /// Takes out those of a tenant that `hopeless` names.
    pub(super) fn drop_where(&mut self, line: TenantId, hopeless: impl Fn(&Ask) -> bool) -> Vec<Entry<W>> {
        let Some(tenant) = self.index.get(&line).and_then(|tenant| self.tenants.get(*tenant)) else {
            return Vec::new();
        };
        let mut found = Vec::new();
        for flow in tenant.flows.values().filter_map(|flow| self.flows.get(*flow)) {
            let mut next = flow.head;
            while let Some(entry) = next.and_then(|index| self.entries.get(index)) {
                if hopeless(&entry.ask) {
                    found.extend(next);
                }
                next = entry.behind;
            }
        }
        found.into_iter().filter_map(|entry| self.withdraw(entry)).collect()
    }

    /// Takes out the last of the longest line, measured against its weight; none if that is `newcomer`'s own.
    pub(super) fn push_out(&mut self, newcomer: TenantId) -> Option<Entry<W>> {
        let share = |tenant: &Tenant| f64::from(tenant.waiting) / f64::from(tenant.weight);
        let longest =
            self.tenants.iter().max_by(|(_, one), (_, other)| share(one).total_cmp(&share(other)))?.1;
        if longest.id == newcomer {
            return None;
        }
        let tails = longest.flows.values().filter_map(|flow| self.flows.get(*flow)?.tail);
        let last = tails.max_by_key(|tail| self.entries.get(*tail).map(|entry| entry.turn))?;
        self.withdraw(last)
    }

    /// A strict flow's request is done: the next may go.
    pub(super) fn finish(&mut self, ask: &Ask, turn: Turn) {
        let flow = self.index.get(&ask.line).and_then(|tenant| self.tenants.get(*tenant));
        let Some(flow) = flow.and_then(|tenant| tenant.flows.get(&key(ask)).copied()) else { return };
        if let Some(known) = self.flows.get_mut(flow)
            && known.owner == Some(turn)
        {
            known.owner = None;
            self.queue(flow);
            self.sweep(flow);
        }
    }

    /// Lines with somebody in them: whose, how many, and when the first of them joined.
    pub(super) fn occupied(&self) -> impl Iterator<Item = (TenantId, u32, Instant)> {
        self.tenants.iter().filter_map(|(_, tenant)| {
            let flows = tenant.flows.values().filter_map(|flow| self.flows.get(*flow));
            let heads = flows.filter_map(|flow| self.entries.get(flow.head?));
            Some((tenant.id, tenant.waiting, heads.map(|entry| entry.joined_at).min()?))
        })
    }

    pub(super) fn oldest_joined_at(&self) -> Option<Instant> {
        self.deadlines
            .iter()
            .take(64)
            .filter_map(|(_, entry)| self.entries.get(*entry))
            .map(|entry| entry.joined_at)
            .min()
    }

    /// Entries, flows and tenants that are kept.
    #[cfg(test)]
    pub(super) fn footprint(&self) -> (usize, usize, usize) {
        (self.entries.len(), self.flows.len(), self.tenants.len())
    }

    /// Whether nothing is left of anybody.
    #[cfg(test)]
    pub(super) fn is_swept(&self) -> bool {
        self.footprint() == (0, 0, 0)
            && self.index.is_empty()
            && self.ring.is_empty()
            && self.parked.is_empty()
            && self.deadlines.is_empty()
            && (self.weight, self.bytes) == (0, 0)
    }

    fn tenant(&mut self, ask: &Ask) -> usize {
        if let Some(tenant) = self.index.get(&ask.line).copied() {
            return tenant;
        }
        let tenant = self.tenants.insert(Tenant {
            id: ask.line,
            weight: ask.weight.get(),
            deficit: 0,
            classes: std::array::from_fn(|_| VecDeque::new()),
            credit: [0; Class::COUNT],
            flows: HashMap::new(),
            waiting: 0,
            bytes: 0,
            is_in_ring: false,
            is_parked: false,
            parked_at: None,
        });
        self.index.insert(ask.line, tenant);
        tenant
    }

    fn flow(&mut self, tenant: usize, ask: &Ask) -> usize {
        let key = key(ask);
        let known = self.tenants.get(tenant).and_then(|known| known.flows.get(&key).copied());
        known.unwrap_or_else(|| {
            let flow = Flow {
                tenant,
                key,
                class: ask.class,
                head: None,
                tail: None,
                waiting: 0,
                is_queued: false,
                parked_at: None,
                owner: None,
            };
            let flow = self.flows.insert(flow);
            if let Some(tenant) = self.tenants.get_mut(tenant) {
                tenant.flows.insert(key, flow);
            }
            flow
        })
    }
}
