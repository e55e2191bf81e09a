//! How flows and tenants move: into their rings, out of them, to the back; and how entries are linked.

use std::collections::VecDeque;

use tokio::time::Instant;

use super::{Class, Entry, FLOOR, Flow, Lines, Order, Parked, Turn};

/// So much without anybody to go may always stand in a ring.
const SLACK: usize = 16;

impl<W> Lines<W> {
    /// The class and flow of `tenant` whose head goes next: the most urgent, unless a lower one has waited its floor.
    pub(super) fn pick(&mut self, tenant: usize) -> Option<(usize, usize)> {
        self.drop_emptied(tenant);
        let known = self.tenants.get(tenant)?;
        let ready = |class: &usize| known.classes.get(*class).is_some_and(|ring| !ring.is_empty());
        let has_waited = |class: &usize| known.credit.get(*class).is_some_and(|credit| *credit >= FLOOR);
        let class = (0..Class::COUNT)
            .rev()
            .filter(ready)
            .find(has_waited)
            .or_else(|| (0..Class::COUNT).find(ready))?;
        let flow = *known.classes.get(class)?.front()?;
        Some((class, flow))
    }

    /// Whether the head of a flow need not wait for another of its flow.
    pub(super) fn may_go(&self, flow: &Flow) -> bool {
        let head = flow.head.and_then(|head| self.entries.get(head));
        head.is_some_and(|head| flow.owner.is_none_or(|owner| owner == head.turn))
    }

    /// A strict flow belongs to the entry that is about to go.
    pub(super) fn own(&mut self, flow: usize, head: usize) {
        let Some(entry) = self.entries.get(head) else { return };
        if entry.ask.order == Order::Strict
            && let Some(known) = self.flows.get_mut(flow)
        {
            known.owner = Some(entry.turn);
        }
    }

    /// Takes out an entry that does not go in its turn. Its flow and tenant stay in their rings until these hold
    /// more that has nobody to go than somebody: so it costs the same however long the line is.
    pub(super) fn withdraw(&mut self, index: usize) -> Option<Entry<W>> {
        let flow = self.entries.get(index)?.flow;
        let tenant = self.flows.get(flow)?.tenant;
        let entry = self.remove(index);
        self.tidy_tenant(tenant);
        if self.ring.len() > 2 * self.entries.len() + SLACK {
            let (stay, go): (VecDeque<usize>, VecDeque<usize>) = std::mem::take(&mut self.ring)
                .into_iter()
                .partition(|tenant| self.tenants.get(*tenant).is_some_and(|known| known.waiting > 0));
            self.ring = stay;
            go.into_iter().for_each(|tenant| self.left_ring(tenant));
        }
        entry
    }

    fn tidy_tenant(&mut self, tenant: usize) {
        for class in 0..Class::COUNT {
            let Some(known) = self.tenants.get_mut(tenant) else { return };
            let waiting = usize::try_from(known.waiting).unwrap_or(usize::MAX);
            let Some(ring) = known.classes.get_mut(class) else { return };
            if ring.is_empty()
                || (waiting > 0 && ring.len() <= waiting.saturating_mul(2).saturating_add(SLACK))
            {
                continue;
            }
            let (stay, go): (VecDeque<usize>, VecDeque<usize>) = std::mem::take(ring)
                .into_iter()
                .partition(|flow| self.flows.get(*flow).is_some_and(|known| self.may_go(known)));
            if let Some(ring) = self.tenants.get_mut(tenant).and_then(|known| known.classes.get_mut(class)) {
                *ring = stay;
            }
            for flow in go {
                if let Some(known) = self.flows.get_mut(flow) {
                    known.is_queued = false;
                }
                self.sweep(flow);
            }
        }
    }

    /// Flows with nobody to go that stood in their ring drop out when they come to its front.
    fn drop_emptied(&mut self, tenant: usize) {
        for class in 0..Class::COUNT {
            loop {
                let Some(ring) = self.tenants.get(tenant).and_then(|known| known.classes.get(class)) else {
                    return;
                };
                let Some(flow) = ring.front().copied() else { break };
                if self.flows.get(flow).is_some_and(|flow| self.may_go(flow)) {
                    break;
                }
                let ring = self.tenants.get_mut(tenant).and_then(|known| known.classes.get_mut(class));
                ring.and_then(VecDeque::pop_front);
                if let Some(known) = self.flows.get_mut(flow) {
                    known.is_queued = false;
                }
                self.sweep(flow);
            }
        }
    }

    /// Lets the head of `flow` go: the flow, then the tenant, moves to the back when its turns are used.
    pub(super) fn grant(
        &mut self,
        tenant: usize,
        class: usize,
        flow: usize,
        head: usize,
    ) -> Option<Entry<W>> {
        self.own(flow, head);
        let entry = self.remove(head)?;
        if let Some(known) = self.tenants.get_mut(tenant) {
            known.charge(class);
            if known.deficit == 0 {
                known.deficit = known.weight;
            }
            known.deficit -= 1;
            if let Some(ring) = known.classes.get_mut(class)
                && ring.front() == Some(&flow)
            {
                ring.pop_front();
            }
            if known.deficit == 0 && known.is_in_ring {
                self.ring.rotate_left(1);
            }
        }
        if let Some(known) = self.flows.get_mut(flow) {
            known.is_queued = false;
        }
        self.queue(flow);
        self.sweep(flow);
        Some(entry)
    }

    pub(super) fn leave_ring(&mut self, tenant: usize) {
        if self.ring.front() == Some(&tenant) {
            self.ring.pop_front();
        } else {
            self.ring.retain(|other| *other != tenant);
        }
        self.left_ring(tenant);
    }

    fn left_ring(&mut self, tenant: usize) {
        if let Some(known) = self.tenants.get_mut(tenant) {
            known.is_in_ring = false;
            known.deficit = 0;
        }
        self.sweep_tenant(tenant);
    }

    pub(super) fn park_flow(&mut self, flow: usize, until: Option<Instant>) {
        let Some(known) = self.flows.get_mut(flow) else { return };
        known.is_queued = false;
        known.parked_at = until;
        let class = known.class.index();
        if let Some(until) = until {
            self.parked.insert((until, Parked::Flow(flow)));
        }
        let ring = self.tenants.get_mut(known.tenant).and_then(|tenant| tenant.classes.get_mut(class));
        if let Some(ring) = ring
            && ring.front() == Some(&flow)
        {
            ring.pop_front();
        }
    }

    pub(super) fn park_tenant(&mut self, tenant: usize, until: Option<Instant>) {
        let Some(known) = self.tenants.get_mut(tenant) else { return };
        known.is_parked = true;
        known.parked_at = until;
        if let Some(until) = until {
            self.parked.insert((until, Parked::Tenant(tenant)));
        }
    }

    pub(super) fn wake(&mut self, parked: Parked) {
        match parked {
            Parked::Flow(flow) => {
                let Some(known) = self.flows.get_mut(flow) else { return };
                if let Some(at) = known.parked_at.take() {
                    self.parked.remove(&(at, parked));
                }
                self.queue(flow);
            }
            Parked::Tenant(tenant) => {
                let Some(known) = self.tenants.get_mut(tenant) else { return };
                known.is_parked = false;
                if let Some(at) = known.parked_at.take() {
                    self.parked.remove(&(at, parked));
                }
                self.enter_ring(tenant);
            }
        }
    }

    /// Puts a flow with somebody to go into its class's ring, and its tenant into the ring of tenants.
    pub(super) fn queue(&mut self, flow: usize) {
        let may_go = self.flows.get(flow).is_some_and(|known| self.may_go(known));
        let Some(known) = self.flows.get_mut(flow).filter(|_| may_go) else { return };
        if known.is_queued || known.parked_at.is_some() {
            return;
        }
        known.is_queued = true;
        let (tenant, class) = (known.tenant, known.class.index());
        if let Some(ring) = self.tenants.get_mut(tenant).and_then(|tenant| tenant.classes.get_mut(class)) {
            ring.push_back(flow);
        }
        self.enter_ring(tenant);
    }

    fn enter_ring(&mut self, tenant: usize) {
        let Some(known) = self.tenants.get_mut(tenant) else { return };
        if !known.is_in_ring && !known.is_parked && known.waiting > 0 {
            known.is_in_ring = true;
            self.ring.push_back(tenant);
        }
    }

    /// Links an entry into its flow: before all that came later. Only a replay looks further than the tail.
    pub(super) fn link(&mut self, flow: usize, entry: usize, turn: Turn) {
        let Some(known) = self.flows.get_mut(flow) else { return };
        known.waiting += 1;
        let mut before = known.tail;
        if before.and_then(|tail| self.entries.get(tail)).is_some_and(|tail| tail.turn > turn) {
            before = None;
            let mut next = known.head;
            while let Some(index) = next
                && let Some(other) = self.entries.get(index)
                && other.turn < turn
            {
                before = Some(index);
                next = other.behind;
            }
        }
        let behind = match before.and_then(|before| self.entries.get_mut(before)) {
            Some(other) => other.behind.replace(entry),
            None => known.head.replace(entry),
        };
        match behind.and_then(|behind| self.entries.get_mut(behind)) {
            Some(other) => other.before = Some(entry),
            None => known.tail = Some(entry),
        }
        if let Some(linked) = self.entries.get_mut(entry) {
            linked.before = before;
            linked.behind = behind;
        }
    }

    /// Takes an entry out of everything that knows it.
    pub(super) fn remove(&mut self, index: usize) -> Option<Entry<W>> {
        let entry = self.entries.try_remove(index)?;
        self.deadlines.remove(&(entry.ask.deadline, index));
        self.bytes = self.bytes.saturating_sub(u64::from(entry.ask.bytes));
        if let Some(before) = entry.before.and_then(|before| self.entries.get_mut(before)) {
            before.behind = entry.behind;
        }
        if let Some(behind) = entry.behind.and_then(|behind| self.entries.get_mut(behind)) {
            behind.before = entry.before;
        }
        if let Some(flow) = self.flows.get_mut(entry.flow) {
            flow.waiting = flow.waiting.saturating_sub(1);
            if flow.head == Some(index) {
                flow.head = entry.behind;
            }
            if flow.tail == Some(index) {
                flow.tail = entry.before;
            }
            if let Some(tenant) = self.tenants.get_mut(flow.tenant) {
                tenant.waiting -= 1;
                tenant.bytes = tenant.bytes.saturating_sub(u64::from(entry.ask.bytes));
                if tenant.waiting == 0 {
                    self.weight = self.weight.saturating_sub(u64::from(tenant.weight));
                }
            }
        }
        self.sweep(entry.flow);
        Some(entry)
    }

    /// Forgets a flow that nobody uses, and then its tenant.
    pub(super) fn sweep(&mut self, flow: usize) {
        let Some(known) = self.flows.get(flow) else { return };
        if known.head.is_some() || known.owner.is_some() || known.is_queued {
            return;
        }
        let (tenant, key, parked_at) = (known.tenant, known.key, known.parked_at);
        if let Some(at) = parked_at {
            self.parked.remove(&(at, Parked::Flow(flow)));
        }
        self.flows.remove(flow);
        if let Some(known) = self.tenants.get_mut(tenant) {
            known.flows.remove(&key);
        }
        self.sweep_tenant(tenant);
    }

    fn sweep_tenant(&mut self, tenant: usize) {
        let Some(known) = self.tenants.get(tenant) else { return };
        if known.waiting > 0 || known.is_in_ring || !known.flows.is_empty() {
            return;
        }
        let (id, parked_at) = (known.id, known.parked_at);
        if let Some(at) = parked_at {
            self.parked.remove(&(at, Parked::Tenant(tenant)));
        }
        self.tenants.remove(tenant);
        self.index.remove(&id);
    }
}

impl super::Tenant {
    /// A turn of `class` is used: lower classes that wait come closer to theirs.
    fn charge(&mut self, class: usize) {
        for (other, credit) in self.credit.iter_mut().enumerate() {
            let waits = self.classes.get(other).is_some_and(|ring| !ring.is_empty());
            *credit = match other.cmp(&class) {
                std::cmp::Ordering::Equal => credit.saturating_sub(FLOOR),
                std::cmp::Ordering::Greater if waits => credit.saturating_add(1),
                std::cmp::Ordering::Greater | std::cmp::Ordering::Less => *credit,
            };
        }
    }
}
