use super::*;

const SECOND: Duration = Duration::from_secs(1);

/// A line of numbered requests in virtual time, and what each was told.
struct World {
    core: Core<u32>,
    start: Instant,
    now: Instant,
}

impl World {
    fn new(rate: f64, burst: u32) -> Self {
        let now = Instant::now();
        let settings = CoreSettings {
            start_rate: Rate::new(rate).unwrap(),
            ceiling: Rate::new(rate).unwrap(),
            burst,
            max_waiting: 100,
            max_gate: SECOND * 3600,
        };
        Self { core: Core::new(now, settings), start: now, now }
    }

    fn join(&mut self, who: u32, patience: Duration) -> Result<Turn, Verdict> {
        let turn = self.core.turn();
        self.core
            .join(self.now, turn, self.now + patience, who)
            .map(|()| turn)
            .map_err(|(_, verdict)| verdict)
    }

    /// Steps to `at` and returns who went, in order.
    fn until(&mut self, at: Duration) -> Vec<(u32, Verdict)> {
        let end = self.start + at;
        let mut told = Vec::new();
        loop {
            let next = self.core.release(self.now, |who, verdict| {
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

    fn refuse(&mut self, flight: u64, wait: Duration) {
        self.core.learn(self.now, Flight(flight), self.now, Signal::Throttled(Wait::Stated(wait)));
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
    world.refuse(1, SECOND * 3);
    assert_eq!(world.goes(SECOND * 3 - Duration::from_millis(1)), [0; 0]);
    // The jitter comes after the stated wait: at most a tenth of it.
    assert_eq!(world.goes(SECOND * 33 / 10), [1]);
    assert_eq!(world.goes(SECOND * 5), [0; 0]);
    world.core.learn(world.now, Flight(2), world.now, Signal::Accepted);
    assert_eq!(world.goes(SECOND * 7), [2, 3]);
}

#[test]
fn a_success_sent_before_the_refusal_does_not_reopen() {
    let mut world = World::new(100.0, 2);
    (0..3).for_each(|who| assert!(world.join(who, SECOND * 20).is_ok()));
    assert_eq!(world.goes(Duration::ZERO), [0, 1]);
    world.refuse(1, SECOND);
    world.core.learn(world.now, Flight(2), world.now, Signal::Accepted);
    assert!(matches!(world.core.phase(), Phase::Closed(_)));
}

#[test]
fn of_two_refusals_the_later_instant_wins() {
    let mut world = World::new(100.0, 2);
    world.refuse(1, SECOND * 10);
    world.refuse(2, SECOND);
    assert!(matches!(world.core.phase(), Phase::Closed(until) if until >= world.start + SECOND * 10));
}

#[test]
fn a_lost_probe_lets_the_next_one_go() {
    let mut world = World::new(100.0, 1);
    world.refuse(0, SECOND);
    (0..2).for_each(|who| assert!(world.join(who, SECOND * 20).is_ok()));
    assert_eq!(world.goes(SECOND * 2), [0]);
    world.core.forget(Flight(1));
    assert_eq!(world.goes(SECOND * 2), [1]);
}

#[test]
fn who_cannot_be_served_in_time_is_told_at_arrival() {
    let mut world = World::new(1.0, 1);
    assert_eq!(world.goes(Duration::ZERO), [0; 0]);
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
    world.refuse(1, SECOND * 3600);
    let told = world.until(Duration::ZERO);
    assert_eq!(told.len(), 2);
    assert!(told.iter().all(
        |(_, verdict)| matches!(verdict, Verdict::Refused(Reason::Deadline, wait) if *wait >= SECOND * 3600)
    ));
}

#[test]
fn a_replayed_request_goes_back_to_the_head() {
    let mut world = World::new(1.0, 1);
    let first = world.join(0, SECOND * 20).unwrap();
    (1..3).for_each(|who| world.join(who, SECOND * 20).map(drop).unwrap());
    assert_eq!(world.goes(Duration::ZERO), [0]);
    world.core.join(world.now, first, world.now + SECOND * 20, 0).unwrap();
    assert_eq!(world.goes(SECOND * 3), [0, 1, 2]);
}

#[test]
fn who_left_takes_no_token() {
    let mut world = World::new(1.0, 1);
    let turn = world.join(0, SECOND * 20).unwrap();
    world.join(1, SECOND * 20).unwrap();
    world.core.leave(turn);
    assert_eq!(world.goes(Duration::ZERO), [1]);
}

#[test]
fn a_full_line_refuses_the_newcomer() {
    let mut world = World::new(1000.0, 1);
    (0..100).for_each(|who| world.join(who, SECOND * 20).map(drop).unwrap());
    assert!(matches!(world.join(100, SECOND * 20), Err(Verdict::Refused(Reason::Full, _))));
}

#[test]
fn an_absurd_wait_is_held_at_the_cap() {
    let mut world = World::new(1.0, 1);
    world.refuse(0, Duration::MAX);
    assert!(matches!(world.core.phase(), Phase::Closed(until) if until <= world.start + SECOND * 3601));
}

#[test]
fn a_refusal_without_a_time_closes_the_gate_for_two_tokens() {
    let mut world = World::new(0.5, 1);
    world.core.learn(world.now, Flight(0), world.now, Signal::Throttled(Wait::Missing));
    assert!(matches!(world.core.phase(), Phase::Closed(until) if until >= world.start + SECOND * 4));
}
