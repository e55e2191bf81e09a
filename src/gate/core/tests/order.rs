//! Who goes before whom.

use super::*;

fn room(number: u64) -> Option<RoomKey> {
    Some(RoomKey(number))
}

impl World {
    /// A write of tenant 1 to a room.
    fn write(&self, to: u64) -> Ask {
        let path = Path { family: WRITES, room: room(to), ..self.ask().path };
        Ask { path, order: Order::Strict, class: Class::WRITE, size: Size::Small, ..self.ask() }
    }
}

fn counts(went: &[u32], of: std::ops::Range<u32>) -> usize {
    went.iter().filter(|who| of.contains(who)).count()
}

#[test]
fn tenants_take_turns_however_long_their_lines_are() {
    let mut world = World::new(1.0, 1);
    for who in 0..50 {
        let ask = world.of(1);
        world.put(who, ask).unwrap();
    }
    let light = world.of(2);
    world.put(100, light).unwrap();
    assert_eq!(world.goes(SECOND), [0, 100]);
}

#[test]
fn turns_follow_the_weights() {
    let mut world = World::new(10.0, 1);
    for who in 0..40 {
        let heavy = Ask { weight: NonZeroU32::new(3).unwrap(), ..world.of(1) };
        let light = world.of(2);
        world.put(who, heavy).unwrap();
        world.put(100 + who, light).unwrap();
    }
    let went = world.goes(SECOND * 2);
    assert_eq!((counts(&went, 0..100), counts(&went, 100..200)), (16, 5), "{went:?}");
}

#[test]
fn urgent_requests_of_a_tenant_go_first_and_lower_ones_keep_their_floor() {
    let mut world = World::new(100.0, 1);
    for who in 0..90 {
        let class = if who < 80 { Class::WRITE } else { Class::BACKGROUND };
        let ask = Ask { class, ..world.ask() };
        world.put(who, ask).unwrap();
    }
    let went = world.goes(SECOND * 63 / 100);
    let background = went.iter().filter(|who| **who >= 80).count();
    assert_eq!((went[0], background), (0, 3), "one turn in 21 for the lowest class: {went:?}");
}

#[test]
fn nobody_gains_against_others_by_calling_his_traffic_urgent() {
    let mut world = World::new(10.0, 1);
    for who in 0..20 {
        let urgent = Ask { class: Class::new(0).unwrap(), ..world.of(1) };
        let plain = world.of(2);
        world.put(who, urgent).unwrap();
        world.put(100 + who, plain).unwrap();
    }
    let went = world.goes(SECOND);
    assert!(counts(&went, 0..100).abs_diff(counts(&went, 100..200)) <= 1, "{went:?}");
}

#[test]
fn flows_of_a_class_take_turns() {
    let mut world = World::new(1.0, 1);
    for who in 0..6 {
        let path = Path { room: room(u64::from(who % 3 == 2)), ..world.ask().path };
        let ask = Ask { path, ..world.ask() };
        world.put(who, ask).unwrap();
    }
    assert_eq!(world.goes(SECOND * 5), [0, 2, 1, 5, 3, 4]);
}

#[test]
fn writes_to_one_room_keep_their_order_across_a_replay() {
    let mut world = World::new(100.0, 10);
    let first = world.write(1);
    let (turn, _) = world.put(0, first).unwrap();
    for who in 1..3 {
        let ask = world.write(1);
        world.put(who, ask).unwrap();
    }
    let elsewhere = world.write(2);
    world.put(9, elsewhere).unwrap();
    assert_eq!(world.goes(Duration::ZERO), [0, 9], "one write of a room is under way");
    world.accept(9);
    world.refuse(0, SECOND);
    let again = Ask { standing: Standing::Replay, ..world.write(1) };
    world.put_at(0, turn, again).unwrap();
    assert_eq!(world.goes(SECOND * 2), [0]);
    world.accept(0);
    assert_eq!(world.goes(SECOND * 3), [0; 0], "the client's request is not over yet");
    world.core.finish(&first, turn);
    assert_eq!(world.goes(SECOND * 3), [1]);
}

#[test]
fn a_refused_write_that_is_given_up_lets_the_next_go() {
    let mut world = World::new(100.0, 10);
    let ask = world.write(1);
    let (turn, _) = world.put(0, ask).unwrap();
    world.put(1, ask).unwrap();
    assert_eq!(world.goes(Duration::ZERO), [0]);
    world.refuse(0, SECOND);
    assert_eq!(world.goes(SECOND * 2), [0; 0]);
    world.core.finish(&ask, turn);
    assert_eq!(world.goes(SECOND * 2), [1]);
}

#[test]
fn a_full_house_pushes_out_the_longest_line_and_not_the_newcomer() {
    let mut world = World::new(1.0, 1);
    for who in 0..100 {
        let ask = world.of(1);
        world.put(who, ask).unwrap();
    }
    let newcomer = world.of(2);
    let turn = world.core.turn();
    let mut pushed = Vec::new();
    world
        .core
        .join(world.now, turn, newcomer, 200, &mut |who, verdict| {
            pushed.push((who, verdict));
            true
        })
        .unwrap();
    assert!(matches!(pushed[..], [(99, Verdict::Refused(Reason::Full, _))]), "{pushed:?}");
    assert!(matches!(world.join(300, SECOND * 9999), Err(Verdict::Refused(Reason::Full, _))));
}

#[test]
fn one_tenant_may_not_hold_more_than_its_bounds() {
    let mut world =
        World::with(CoreSettings { max_tenant_waiting: 2, max_tenant_bytes: 1000, ..settings(1.0, 1) });
    let large = Ask { bytes: 900, ..world.of(1) };
    world.put(0, large).unwrap();
    assert!(matches!(world.put(1, large), Err(Verdict::Refused(Reason::Full, _))));
    let small = world.of(1);
    world.put(1, small).unwrap();
    assert!(matches!(world.put(2, small), Err(Verdict::Refused(Reason::Full, _))));
    let other = world.of(2);
    assert!(world.put(3, other).is_ok());
}

#[test]
fn empty_lines_cost_nothing() {
    let mut world = World::new(1000.0, 1000);
    for who in 0..60 {
        let number = u8::try_from(who).unwrap();
        let ask = Ask { path: Path { room: room(7), ..world.of(number).path }, ..world.of(number) };
        world.put(who, ask).unwrap();
    }
    assert_eq!(world.goes(SECOND).len(), 60);
    (0..60).for_each(|who| world.accept(who));
    assert_eq!(world.core.lines.footprint(), (0, 0, 0));
    assert_eq!(world.core.in_flight(), 0);
}

#[test]
fn a_write_that_tried_a_half_open_gate_keeps_its_place_when_it_is_lost() {
    let mut world = World::new(100.0, 10);
    world.under_way(9, 1);
    world.refuse(9, SECOND);
    let ask = world.write(1);
    let (turn, _) = world.put(0, ask).unwrap();
    world.put(1, ask).unwrap();
    assert_eq!(world.goes(SECOND * 2), [0]);
    let (_, flight, _) = world.sent.remove(0);
    world.core.forget(flight);
    assert_eq!(world.goes(SECOND * 2), [0; 0], "the first is not over");
    world.put_at(0, turn, Ask { standing: Standing::Replay, ..ask }).unwrap();
    assert_eq!(world.goes(SECOND * 2), [0]);
    world.accept(0);
    world.core.finish(&ask, turn);
    assert_eq!(world.goes(SECOND * 3), [1]);
}

#[test]
fn a_replay_that_leaves_the_line_is_not_over_before_it_says_so() {
    let mut world = World::new(1.0, 1);
    let ask = world.write(1);
    let (turn, _) = world.put(0, ask).unwrap();
    world.put(1, ask).unwrap();
    assert_eq!(world.goes(Duration::ZERO), [0]);
    let (_, flight, _) = world.sent.remove(0);
    world.core.forget(flight);
    let (_, place) = world.put_at(0, turn, Ask { standing: Standing::Replay, ..ask }).unwrap();
    world.core.leave(place);
    assert_eq!(world.goes(SECOND * 2), [0; 0]);
    world.core.finish(&ask, turn);
    assert_eq!(world.goes(SECOND * 2), [1]);
}

#[test]
fn whoever_comes_and_goes_before_a_closed_gate_leaves_nothing_behind() {
    for scope in [Level::Egress, Level::Tenant] {
        let mut world = World::with(CoreSettings { scope: Scope::Fixed(scope), ..settings(1000.0, 100) });
        world.under_way(0, 1);
        world.refuse(0, SECOND * 3000);
        let (_, staying) = world.join(1, SECOND * 9999).unwrap();
        for number in 0..10_000_u64 {
            let line = world.of(u8::try_from(number % 200).unwrap());
            let ask = Ask { path: Path { room: room(number), ..line.path }, ..line };
            let (_, place) = world.put(2, ask).unwrap();
            world.core.leave(place);
        }
        let (entries, flows, tenants) = world.core.lines.footprint();
        assert!(entries == 1 && flows <= 40 && tenants <= 20, "{scope:?}: {flows} flows of {tenants}");
        world.core.leave(staying);
        world.until(SECOND * 9999);
        assert!(world.core.lines.is_swept(), "{scope:?}");
    }
}
