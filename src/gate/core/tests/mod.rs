//! Holds the scheduler in steps of virtual time: a line of numbered requests, and what each was told.

use super::*;

use crate::gate::Wait;
use crate::gate::bucket::Rate;
use crate::gate::ceiling::Ceiling;
use crate::gate::signal::Signal;
use crate::route::{Access, Family};
use crate::words::TenantId;

mod last;
mod laws;
mod order;
mod outside;
mod reach;
mod state;
mod view;

const SECOND: Duration = Duration::from_secs(1);
const READS: Family = Family { segment: "rooms", access: Access::Read };
const WRITES: Family = Family { segment: "messages", access: Access::Write };

/// A line of numbered requests in virtual time, and what each was told.
struct World {
    core: Core<u32>,
    start: Instant,
    now: Instant,
    sent: Vec<(u32, Flight, Instant)>,
}

fn tenant(number: u8) -> TenantId {
    TenantId::new([number; 16])
}

fn settings(rate: f64, burst: u32) -> CoreSettings {
    CoreSettings {
        scope: Scope::Fixed(Level::Egress),
        start_rate: Rate::new(rate).unwrap(),
        pin: Rate::new(rate).unwrap(),
        burst,
        ceiling: None,
        tenant_ceilings: Vec::new(),
        max_in_flight: 1000,
        max_waiting: 100,
        max_waiting_bytes: 1 << 30,
        max_tenant_waiting: 100,
        max_tenant_bytes: 1 << 30,
        max_gates: 100,
        max_gate: SECOND * 3600,
    }
}

impl World {
    fn new(rate: f64, burst: u32) -> Self {
        Self::with(settings(rate, burst))
    }

    fn with(settings: CoreSettings) -> Self {
        let now = Instant::now();
        Self { core: Core::new(now, settings), start: now, now, sent: Vec::new() }
    }

    /// A small read of tenant 1 that waits as long as it takes.
    fn ask(&self) -> Ask {
        Ask {
            path: Path { tenant: tenant(1), family: READS, room: None },
            line: tenant(1),
            weight: PLAIN_WEIGHT,
            class: Class::READ,
            order: Order::Free,
            size: Size::Probe,
            bytes: 100,
            standing: Standing::New,
            deadline: self.now + SECOND * 100_000,
        }
    }

    fn of(&self, number: u8) -> Ask {
        let path = Path { tenant: tenant(number), ..self.ask().path };
        Ask { line: tenant(number), path, ..self.ask() }
    }

    fn put(&mut self, who: u32, ask: Ask) -> Result<(Turn, Place), Verdict> {
        let turn = self.core.turn();
        self.put_at(who, turn, ask)
    }

    fn put_at(&mut self, who: u32, turn: Turn, ask: Ask) -> Result<(Turn, Place), Verdict> {
        let joined = self.core.join(self.now, turn, ask, who, &mut |_, _| true);
        joined.map(|place| (turn, place)).map_err(|(_, verdict)| verdict)
    }

    fn join(&mut self, who: u32, patience: Duration) -> Result<(Turn, Place), Verdict> {
        let ask = Ask { deadline: self.now + patience, ..self.ask() };
        self.put(who, ask)
    }

    /// Steps to `at` and returns who was told what, in order.
    fn until(&mut self, at: Duration) -> Vec<(u32, Verdict)> {
        let end = self.start + at;
        let mut told = Vec::new();
        loop {
            let now = self.now;
            let sent = &mut self.sent;
            let next = self.core.release(now, &mut |who, verdict| {
                if let Verdict::Go(flight) = verdict {
                    sent.push((who, flight, now));
                }
                told.push((who, verdict));
                true
            });
            match next {
                Some(next) if next <= end => self.now = next,
                _ => break,
            }
        }
        self.now = end;
        told
    }

    fn goes(&mut self, at: Duration) -> Vec<u32> {
        self.until(at)
            .into_iter()
            .filter(|(_, verdict)| matches!(verdict, Verdict::Go(_)))
            .map(|(who, _)| who)
            .collect()
    }

    fn answer(&mut self, who: u32, signal: Signal) {
        let at = self.sent.iter().rposition(|(sent, ..)| *sent == who).unwrap();
        let (_, flight, sent_at) = self.sent.remove(at);
        self.core.learn(self.now, flight, sent_at, signal, &mut |_, _| true);
    }

    fn accept(&mut self, who: u32) {
        self.answer(who, Signal::accepted());
    }

    fn refuse(&mut self, who: u32, wait: Duration) {
        self.answer(who, Signal::throttled(Wait::Stated(wait)));
    }

    /// A request of tenant `number` that was sent just now.
    fn under_way(&mut self, who: u32, number: u8) {
        let (ask, now) = (self.of(number), self.now);
        let (flight, _) = self.core.pass(now, &ask);
        self.sent.push((who, flight, now));
    }

    fn is_closed(&self) -> bool {
        self.core.egress(self.now).closed_for.is_some()
    }
}

#[test]
fn first_come_first_served_at_the_rate() {
    let mut world = World::new(2.0, 1);
    (0..5).for_each(|who| assert!(world.join(who, SECOND * 20).is_ok()));
    assert_eq!(world.goes(Duration::ZERO), [0]);
    assert_eq!(world.goes(SECOND), [1, 2]);
    assert_eq!(world.goes(SECOND * 2), [3, 4]);
}

#[test]
fn a_refusal_stops_everyone_and_one_probe_reopens() {
    let mut world = World::new(100.0, 1);
    (0..4).for_each(|who| assert!(world.join(who, SECOND * 20).is_ok()));
    assert_eq!(world.goes(Duration::ZERO), [0]);
    world.refuse(0, SECOND * 3);
    assert_eq!(world.goes(SECOND * 3 - Duration::from_millis(1)), [0; 0]);
    // The jitter comes after the stated wait: at most a tenth of it.
    assert_eq!(world.goes(SECOND * 33 / 10), [1]);
    assert_eq!(world.goes(SECOND * 5), [0; 0]);
    world.accept(1);
    assert_eq!(world.goes(SECOND * 7), [2, 3]);
}

#[test]
fn what_waited_goes_paced_and_not_as_a_burst() {
    let mut world = World::new(10.0, 5);
    world.under_way(99, 1);
    world.refuse(99, SECOND);
    (0..20).for_each(|who| world.join(who, SECOND * 50).map(drop).unwrap());
    assert_eq!(world.goes(SECOND * 2), [0]);
    world.accept(0);
    assert!(world.goes(SECOND * 2).len() <= 1, "a burst after the gate reopened");
}

#[test]
fn a_success_sent_before_the_refusal_does_not_reopen() {
    let mut world = World::new(100.0, 2);
    (0..3).for_each(|who| assert!(world.join(who, SECOND * 20).is_ok()));
    assert_eq!(world.goes(Duration::ZERO), [0, 1]);
    world.refuse(0, SECOND);
    world.accept(1);
    assert!(world.is_closed());
}

#[test]
fn of_two_refusals_the_later_instant_wins() {
    let mut world = World::new(100.0, 2);
    world.under_way(1, 1);
    world.under_way(2, 1);
    world.refuse(1, SECOND * 10);
    world.refuse(2, SECOND);
    assert!(world.core.egress(world.now).closed_for.unwrap() >= SECOND * 10);
}

#[test]
fn a_lost_probe_lets_the_next_one_go() {
    let mut world = World::new(100.0, 1);
    world.under_way(99, 1);
    world.refuse(99, SECOND);
    (0..2).for_each(|who| world.join(who, SECOND * 20).map(drop).unwrap());
    assert_eq!(world.goes(SECOND * 2), [0]);
    let (_, flight, _) = world.sent.remove(0);
    world.core.forget(flight);
    assert_eq!(world.goes(SECOND * 2), [1]);
}

#[test]
fn who_cannot_be_served_in_time_is_told_at_arrival() {
    let mut world = World::new(1.0, 1);
    world.join(0, SECOND).unwrap();
    world.join(1, SECOND).unwrap();
    let refused = world.join(2, SECOND).unwrap_err();
    assert_eq!(refused, Verdict::Refused(Reason::Deadline, SECOND * 2));
}

#[test]
fn a_gate_that_closes_for_longer_than_patience_tells_those_in_line() {
    let mut world = World::new(1.0, 1);
    (0..3).for_each(|who| world.join(who, SECOND * 5).map(drop).unwrap());
    assert_eq!(world.goes(Duration::ZERO), [0]);
    world.refuse(0, SECOND * 3600);
    let told = world.until(Duration::ZERO);
    assert_eq!(told.len(), 2);
    let is_hour = |wait: &Duration| *wait >= SECOND * 3600;
    assert!(
        told.iter()
            .all(|(_, verdict)| matches!(verdict, Verdict::Refused(Reason::Deadline, wait) if is_hour(wait)))
    );
}

#[test]
fn a_replayed_request_goes_back_to_the_head() {
    let mut world = World::new(1.0, 1);
    let (first, _) = world.join(0, SECOND * 20).unwrap();
    (1..3).for_each(|who| world.join(who, SECOND * 20).map(drop).unwrap());
    assert_eq!(world.goes(Duration::ZERO), [0]);
    let again = Ask { standing: Standing::Replay, ..world.ask() };
    world.put_at(0, first, again).unwrap();
    assert_eq!(world.goes(SECOND * 3), [0, 1, 2]);
}

#[test]
fn who_left_takes_no_token() {
    let mut world = World::new(1.0, 1);
    let (_, place) = world.join(0, SECOND * 20).unwrap();
    world.join(1, SECOND * 20).unwrap();
    world.core.leave(place);
    world.core.leave(place);
    assert_eq!(world.goes(Duration::ZERO), [1]);
}

#[test]
fn a_token_offered_to_nobody_stays() {
    let mut world = World::new(1.0, 1);
    world.join(0, SECOND * 20).unwrap();
    world.core.release(world.now, &mut |_, _| false);
    world.join(1, SECOND * 20).unwrap();
    assert_eq!(world.goes(Duration::ZERO), [1]);
}

#[test]
fn an_absurd_wait_is_held_at_the_cap() {
    let mut world = World::new(1.0, 1);
    world.under_way(0, 1);
    world.refuse(0, Duration::MAX);
    assert!(world.core.egress(world.now).closed_for.unwrap() <= SECOND * 3601);
}

#[test]
fn a_refusal_without_a_time_waits_for_two_tokens_and_longer_while_probes_are_refused() {
    for signal in [Wait::Missing, Wait::Malformed, Wait::Stated(Duration::ZERO)] {
        let mut world = World::new(0.5, 1);
        world.under_way(0, 1);
        let mut waits = Vec::new();
        for who in 0..6 {
            world.answer(who, Signal::throttled(signal));
            let wait = world.core.egress(world.now).closed_for.unwrap();
            waits.push(wait.as_secs());
            world.join(who + 1, SECOND * 10_000).unwrap();
            let at = world.now + wait - world.start;
            assert_eq!(world.goes(at), [who + 1]);
        }
        assert!(waits[0] == 4 && waits.is_sorted() && waits[5] > 12 && waits[5] <= 61, "{waits:?}");
    }
}

#[test]
fn fixed_ceilings_hold_a_tenant_in_line_and_others_pass() {
    let one = Ceiling { rate: 1.0, burst: NonZeroU32::MIN };
    let mut world =
        World::with(CoreSettings { tenant_ceilings: vec![(tenant(1), one)], ..settings(1000.0, 100) });
    for who in 0..3 {
        let (slow, fast) = (world.of(1), world.of(2));
        world.put(who, slow).unwrap();
        world.put(10 + who, fast).unwrap();
    }
    assert_eq!(world.goes(Duration::ZERO), [0, 10, 11, 12]);
    assert_eq!(world.goes(SECOND), [1]);
    assert_eq!(world.goes(SECOND * 2), [2]);
}

#[test]
fn the_whole_egress_has_a_fixed_ceiling_too() {
    let two = Ceiling { rate: 2.0, burst: NonZeroU32::MIN };
    let mut world = World::with(CoreSettings { ceiling: Some(two), ..settings(1000.0, 100) });
    (0..4).for_each(|who| world.join(who, SECOND * 20).map(drop).unwrap());
    assert_eq!(world.goes(SECOND), [0, 1, 2]);
}

#[test]
fn no_more_are_in_flight_than_allowed() {
    let mut world = World::with(CoreSettings { max_in_flight: 2, ..settings(1000.0, 100) });
    (0..4).for_each(|who| world.join(who, SECOND * 20).map(drop).unwrap());
    assert_eq!(world.goes(SECOND), [0, 1]);
    world.accept(0);
    assert_eq!(world.goes(SECOND), [2]);
}
