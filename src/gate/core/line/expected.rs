//! In which order everybody in line is expected to go, as far as weights, urgency and arrival tell.

use crate::words::TenantId;

use super::super::Turn;
use super::super::ask::{Ask, Path};
use super::{Entry, Lines, Place};

impl<W> Lines<W> {
    /// Everybody in line, the next first: rounds of all lines, urgency and then arrival within one.
    pub(in crate::gate::core) fn expected(&self) -> Vec<(Place, Ask)> {
        let mut standing: Vec<(usize, &Entry<W>)> = self.entries.iter().collect();
        standing.sort_unstable_by_key(|(_, entry)| (entry.ask.line, entry.ask.class, entry.turn));
        let mut rounds: Vec<(u32, Turn, usize, Ask)> = Vec::with_capacity(standing.len());
        let (mut line, mut before) = (None, 0_u32);
        for (index, Entry { ask, turn, .. }) in standing {
            if line.replace(ask.line) != Some(ask.line) {
                before = 0;
            }
            let round = before.checked_div(ask.weight.get()).unwrap_or_default();
            rounds.push((round, *turn, index, *ask));
            before = before.saturating_add(1);
        }
        rounds.sort_unstable_by_key(|(round, turn, ..)| (*round, *turn));
        rounds.into_iter().map(|(_, turn, entry, ask)| (Place { entry, turn }, ask)).collect()
    }

    /// Takes out anybody.
    pub(in crate::gate::core) fn take_any(&mut self) -> Option<Entry<W>> {
        let (_, entry) = self.deadlines.first().copied()?;
        self.withdraw(entry)
    }

    /// What could go now if the widest gate let it: the weight of its lines, and how many requests.
    pub(in crate::gate::core) fn ready(&self) -> (u64, u32) {
        let ready = self.ring.iter().filter_map(|tenant| self.tenants.get(*tenant)).map(|tenant| {
            let queued = tenant.classes.iter().flatten();
            (u64::from(tenant.weight), queued.map(|flow| self.may_go_now(*flow)).fold(0, u32::saturating_add))
        });
        ready.filter(|(_, requests)| *requests > 0).fold((0, 0), |(weights, all), (weight, requests)| {
            (weights + weight, requests.saturating_add(all))
        })
    }

    /// Requests of one line whose way `passes` takes, as many as could go one after the other.
    pub(in crate::gate::core) fn standing(&self, line: TenantId, passes: impl Fn(&Path) -> bool) -> u32 {
        let tenant = self.index.get(&line).and_then(|tenant| self.tenants.get(*tenant));
        let flows = tenant.into_iter().flat_map(|tenant| tenant.flows.iter());
        let wanted =
            flows.filter(|(key, _)| passes(&Path { tenant: key.tenant, family: key.family, room: key.room }));
        wanted.map(|(_, flow)| self.may_go_now(*flow)).fold(0, u32::saturating_add)
    }

    /// Writes to one room go one at a time.
    fn may_go_now(&self, flow: usize) -> u32 {
        match self.flows.get(flow) {
            Some(known) if !self.may_go(known) => 0,
            Some(known) if known.key.class.is_none() => known.waiting.min(1),
            Some(known) => known.waiting,
            None => 0,
        }
    }
}
