//! The scheduler itself: who may go now, and when to ask again. No clock, no lock, no I/O.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::time::Duration;

use slab::Slab;
use tokio::time::Instant;

use super::ceiling::Ceilings;

mod ask;
mod closing;
mod check;
mod last;
mod line;
mod node;
mod outside;
mod probing;
mod ration;
mod scope;
mod settings;
mod verdict;
mod view;

pub use ask::{Ask, Class, Order, Path, RoomKey, Size, Standing};
pub use line::Place;
pub use node::Phase;
pub use outside::{Booking, Closure, News, Stand, Wish};
pub use scope::{Level, NodeKey, Scope};
pub use settings::CoreSettings;
pub use verdict::{Flight, Offer, Reason, Verdict};
pub use view::{GateView, Learned, LineView};

use check::{check, check_ceiling, check_gates, is_open, levels};
use line::{Check, Entry, Lines};
use node::{Doubt, Node, Pass};
use outside::Outside;
use ration::Took;
use scope::Scopes;

/// Arrival order: lower goes first within a flow. Kept across a replay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Turn(u64);

/// The scheduler of one upstream. `W` is whatever reaches a waiter.
#[derive(Debug)]
pub struct Core<W> {
    settings: CoreSettings,
    lines: Lines<W>,
    egress: Node,
    gates: HashMap<NodeKey, Node>,
    /// How long gates that are no longer remembered were closed, by width.
    forgotten_closed_for: HashMap<Level, Duration>,
    scopes: Scopes,
    ceilings: Ceilings,
    /// None while this process is alone.
    outside: Option<Outside>,
    has_egress_place: bool,
    flights: Slab<InFlight>,
    /// When the next narrow gate may be tried; none while no such gate is closed.
    probe_at: Option<Instant>,
    /// From then on nobody goes; none while the process is to live on.
    end_at: Option<Instant>,
    next_number: u64,
    next_turn: u64,
}

#[derive(Debug, Clone, Copy)]
struct InFlight {
    number: u64,
    path: Path,
    departed_at: Instant,
}

impl<W> Core<W> {
    /// An open gate with a full bucket.
    pub fn new(now: Instant, settings: CoreSettings) -> Self {
        Self {
            lines: Lines::new(),
            egress: Node::new(now, settings.start_rate, settings.pin, settings.burst),
            gates: HashMap::new(),
            forgotten_closed_for: HashMap::new(),
            scopes: Scopes::new(settings.scope),
            ceilings: Ceilings::new(now, settings.ceiling, &settings.tenant_ceilings),
            outside: None,
            has_egress_place: false,
            flights: Slab::new(),
            probe_at: None,
            end_at: None,
            next_number: 0,
            next_turn: 0,
            settings,
        }
    }

    /// The next free turn, behind everybody who came before.
    pub fn turn(&mut self) -> Turn {
        self.next_turn += 1;
        Turn(self.next_turn)
    }

    /// Stands in line at `turn`. Follow with [`Core::release`]. Someone else may be told to leave for it.
    ///
    /// # Errors
    /// The verdict for a request that cannot be served in time, and its way to the waiter.
    pub fn join(
        &mut self,
        now: Instant,
        turn: Turn,
        ask: Ask,
        reach: W,
        offer: Offer<'_, W>,
    ) -> Result<Place, (W, Verdict)> {
        let wait = self.projected_wait(now, &ask);
        if now.checked_add(wait).is_none_or(|turn_at| turn_at > ask.deadline) {
            return Err((reach, Verdict::Refused(Reason::Deadline, wait)));
        }
        if self.is_too_late(now, wait) {
            return Err((reach, Verdict::Refused(Reason::Shutdown, wait)));
        }
        let (waiting, bytes) = self.lines.held_by(ask.line);
        let is_replay = ask.standing == Standing::Replay;
        if !is_replay
            && (waiting >= self.settings.max_tenant_waiting
                || bytes + u64::from(ask.bytes) > self.settings.max_tenant_bytes)
        {
            return Err((reach, Verdict::Refused(Reason::Full, wait)));
        }
        while !is_replay && self.is_full(&ask) {
            let Some(pushed) = self.lines.push_out(ask.line) else {
                return Err((reach, Verdict::Refused(Reason::Full, wait)));
            };
            let wait = self.projected_wait(now, &pushed.ask);
            offer(pushed.reach, Verdict::Refused(Reason::Full, wait));
        }
        if !self.lines.is_ready() {
            self.egress.idle(now);
        }
        // Nobody goes without a slot, and to ask for one takes a call: even who would not wait has time for that.
        let asked_by = self.outside.as_ref().map_or(ask.deadline, |_| ask.deadline.max(now + CALL));
        Ok(self.lines.join(now, turn, Ask { deadline: asked_by, ..ask }, reach))
    }

    /// Leaves the line; nothing happens if it already left.
    pub fn leave(&mut self, place: Place) {
        self.lines.leave(place);
    }

    /// A client's request is over, replays included: the next write of its flow may go.
    pub fn finish(&mut self, ask: &Ask, turn: Turn) {
        self.lines.finish(ask, turn);
    }

    /// Sends past the line, because the operator or the mode says so. Returns the wait that the line would have meant.
    pub fn pass(&mut self, now: Instant, ask: &Ask) -> (Flight, Duration) {
        let wait = self.projected_wait(now, ask);
        // What the line would have refused would have taken no token either.
        let is_in_time = now.checked_add(wait).is_some_and(|turn_at| turn_at <= ask.deadline);
        (if is_in_time { self.depart(now, ask) } else { self.fly(now, ask) }, wait)
    }

    /// Tells everyone whose turn or deadline has come. `offer` answers whether the waiter was still there:
    /// a token offered to nobody stays in the bucket.
    ///
    /// Returns when to ask again; `None` if only a new event can change anything.
    pub fn release(&mut self, now: Instant, offer: Offer<'_, W>) -> Option<Instant> {
        self.give_up_at_the_end(now, offer);
        if let Some(reopens_at) = self.reopens_at() {
            self.give_up(now, reopens_at, offer);
        }
        self.lines.unpark(now);
        let next_at = self.pour(now, offer);
        let narrow_at = self.probe_narrow(now, offer);
        // After everybody had his chance: who would not wait at all has it only now.
        self.give_up(now, now + Duration::from_nanos(1), offer);
        let end_at = self.end_at.filter(|_| self.lines.waiting() > 0);
        [next_at, narrow_at, self.lines.next_wake_at(), self.lines.next_deadline_at(), end_at]
            .into_iter()
            .flatten()
            .min()
    }

    /// Lets requests go as long as the widest gate allows it.
    fn pour(&mut self, now: Instant, offer: Offer<'_, W>) -> Option<Instant> {
        while self.lines.is_ready() && self.flights.len() < self.settings.max_in_flight {
            match self.egress.pass(now) {
                Pass::AfterProbe => return None,
                Pass::At(_) if self.egress.phase == Phase::Open => return Some(self.egress.backlogged(now)),
                Pass::At(until) => return self.probe_egress(now, until, offer),
                Pass::Booked(at) => return Some(at),
                Pass::Unbooked => {
                    if let Some(outside) = &mut self.outside {
                        outside.want(NodeKey::Egress);
                    }
                    return None;
                }
                Pass::Now => {}
            }
            if !self.has_egress_place {
                if let Err(at) = self.ceilings.egress(now) {
                    return Some(at);
                }
                self.has_egress_place = true;
            }
            let entry = if self.egress.phase == Phase::HalfOpen(None) {
                self.first_to_try(now)
            } else {
                self.next(now)
            };
            self.send(now, entry?, offer);
        }
        None
    }

    /// The next in order whose own gates are open.
    fn next(&mut self, now: Instant) -> Option<Entry<W>> {
        let Self { lines, gates, ceilings, outside, .. } = self;
        lines.next(|ask| check(gates, ceilings, outside, now, ask))
    }

    /// The next in order, but no upload of megabytes if anything else may go.
    fn first_to_try(&mut self, now: Instant) -> Option<Entry<W>> {
        let Self { lines, gates, ceilings, outside, .. } = self;
        let first = lines.next(|ask| match check_gates(gates, outside, now, ask) {
            Some(waits) => waits,
            None if ask.size == Size::Large => Check::Stop,
            None => check_ceiling(ceilings, now, ask),
        });
        let may_go = |ask: &Ask| ask.size != Size::Large && levels(&ask.path).all(|key| is_open(gates, key));
        first.or_else(|| lines.find(may_go)).or_else(|| self.next(now))
    }

    fn send(&mut self, now: Instant, entry: Entry<W>, offer: Offer<'_, W>) -> bool {
        let flight = self.depart(now, &entry.ask);
        let was_there = offer(entry.reach, Verdict::Go(flight));
        if was_there {
            self.has_egress_place = false;
        } else {
            self.refund(flight);
            self.lines.finish(&entry.ask, entry.turn);
        }
        was_there
    }

    fn fly(&mut self, now: Instant, ask: &Ask) -> Flight {
        self.next_number += 1;
        let (number, path) = (self.next_number, ask.path);
        let index = self.flights.insert(InFlight { number, path, departed_at: now });
        Flight { index, number }
    }

    fn depart(&mut self, now: Instant, ask: &Ask) -> Flight {
        let flight = self.fly(now, ask);
        let mut took = self.egress.depart(now, flight);
        if let (Some(Took::Alone), Some(outside)) = (took, &mut self.outside) {
            outside.count_alone();
        }
        for key in std::iter::once(NodeKey::Egress).chain(levels(&ask.path)) {
            if let Some(gate) = self.gates.get_mut(&key) {
                took = gate.depart(now, flight);
            }
            if let (Some(Took::Credit), Some(outside)) = (took.take(), &mut self.outside) {
                outside.want(key);
            }
        }
        flight
    }

    fn is_full(&self, ask: &Ask) -> bool {
        self.lines.waiting() >= self.settings.max_waiting
            || self.lines.bytes() + u64::from(ask.bytes) > self.settings.max_waiting_bytes
    }

    /// Before this, nobody can go: waiting on would be in vain.
    fn reopens_at(&self) -> Option<Instant> {
        match self.egress.phase {
            Phase::Closed(until) if !self.scopes.is_auto() => Some(until),
            // One tenant's refusal may still be found not to concern the others.
            Phase::Closed(until)
                if self.egress.doubt(|_| true).is_none_or(|(_, doubt)| doubt == Doubt::Several) =>
            {
                Some(until)
            }
            Phase::Closed(_) | Phase::HalfOpen(_) | Phase::Open => None,
        }
    }

    /// Refuses everyone whose deadline lies before `limit`.
    fn give_up(&mut self, now: Instant, limit: Instant, offer: Offer<'_, W>) {
        while let Some(entry) = self.lines.expired(limit) {
            let wait = self.projected_wait(now, &entry.ask);
            offer(entry.reach, Verdict::Refused(Reason::Deadline, wait));
        }
    }

    /// When a request that joined now would go, as far as can be told.
    ///
    /// Its line gets `weight` of every round's turns, and no more rounds are needed than the line is long.
    fn projected_wait(&self, now: Instant, ask: &Ask) -> Duration {
        let own = match ask.standing {
            Standing::New => self.lines.held_by(ask.line).0,
            Standing::Replay => 0,
        };
        let weight = u64::from(ask.weight.get());
        let rounds = (u64::from(own) + 1).div_ceil(weight);
        let others = self.lines.weight().saturating_sub(if own > 0 { weight } else { 0 });
        let in_rounds = rounds.saturating_mul(others).saturating_add(u64::from(own) + 1);
        let everybody = u64::try_from(self.lines.waiting()).unwrap_or(u64::MAX).saturating_add(1);
        let ahead = u32::try_from(in_rounds.min(everybody)).unwrap_or(u32::MAX);
        let own_gates = levels(&ask.path).filter_map(|key| Some((key, self.gates.get(&key)?)));
        let waits = own_gates.map(|(key, gate)| self.wait_at(now, key, gate, ask, own + 1));
        waits.fold(self.wait_at(now, NodeKey::Egress, &self.egress, ask, ahead), Duration::max)
    }

    /// The wait at one gate: at most until it is found out whether the gate is closed for this request at all.
    fn wait_at(&self, now: Instant, key: NodeKey, gate: &Node, ask: &Ask, ahead: u32) -> Duration {
        let wait = gate.time_for(now, ahead);
        if !self.scopes.is_auto() {
            return wait;
        }
        let tells = |refused: &Path| Scopes::proves(key.level(), refused, &ask.path).is_some();
        let may_hope = |doubt| match doubt {
            Doubt::One => true,
            Doubt::Several => ask.size == Size::Probe && !self.lines.has(|other| other.size == Size::Probe),
        };
        match gate.doubt(tells) {
            Some((at, doubt)) if may_hope(doubt) => wait.min(at.saturating_duration_since(now)),
            _ => wait,
        }
    }
}

/// For a call of whoever books slots: the usual timeout, and what a busy machine adds.
const CALL: Duration = Duration::from_millis(100);

/// Every line has at least one turn in a round.
pub const PLAIN_WEIGHT: NonZeroU32 = NonZeroU32::MIN;

#[cfg(test)]
mod tests;
