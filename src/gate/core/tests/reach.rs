//! How far a refusal reaches, and how that is found out.

use super::*;

fn auto() -> World {
    World::with(CoreSettings { scope: Scope::Auto, ..settings(1000.0, 100) })
}

fn verdicts(world: &World) -> Vec<Level> {
    world.core.verdicts(world.now).map(|(_, level, _)| level).collect()
}

fn closed(world: &World) -> Vec<NodeKey> {
    world.core.gates(world.now).filter(|gate| gate.closed_for.is_some()).map(|gate| gate.key).collect()
}

impl World {
    fn pass_time(&mut self, time: Duration) {
        let at = self.now + time - self.start;
        self.until(at);
    }

    fn in_room(&self, number: u8, room: u64) -> Ask {
        let family = Family { segment: "messages", access: Access::Read };
        let path = Path { tenant: tenant(number), family, room: Some(RoomKey(room)) };
        Ask { path, line: tenant(number), ..self.ask() }
    }
}

#[test]
fn without_evidence_everybody_stops() {
    let mut world = auto();
    world.under_way(0, 1);
    world.refuse(0, SECOND * 30);
    assert!(world.is_closed());
}

#[test]
fn a_success_of_another_tenant_sent_after_the_refused_one_proves_it_narrower() {
    let mut world = auto();
    world.under_way(0, 1);
    world.pass_time(SECOND / 100);
    world.under_way(1, 2);
    world.refuse(0, SECOND * 30);
    assert!(world.is_closed());
    world.accept(1);
    assert!(!world.is_closed());
    assert_eq!(closed(&world), [NodeKey::Tenant(tenant(1))]);
    assert_eq!(verdicts(&world), [Level::Tenant]);
}

#[test]
fn the_rate_of_those_who_were_not_meant_is_as_before() {
    let mut world = auto();
    let before = world.core.egress(world.now).rate;
    world.under_way(0, 1);
    world.pass_time(SECOND / 100);
    world.under_way(1, 2);
    world.refuse(0, SECOND * 30);
    assert!(world.core.egress(world.now).rate < before);
    world.accept(1);
    assert_eq!(world.core.egress(world.now).rate, before);
}

#[test]
fn a_success_sent_before_the_refused_one_proves_nothing() {
    let mut world = auto();
    world.under_way(1, 2);
    world.pass_time(SECOND / 100);
    world.under_way(0, 1);
    world.refuse(0, SECOND * 30);
    world.accept(1);
    assert!(world.is_closed());
}

#[test]
fn while_nobody_knows_one_small_safe_request_of_somebody_else_tries() {
    let mut world = auto();
    world.under_way(0, 1);
    world.refuse(0, SECOND * 30);
    let own = world.of(1);
    let upload = Ask { size: Size::Large, ..world.of(2) };
    let others = world.of(3);
    world.put(1, own).unwrap();
    world.put(2, upload).unwrap();
    world.put(3, others).unwrap();
    world.put(4, others).unwrap();
    assert_eq!(world.goes(SECOND * 99 / 100), [0; 0]);
    assert_eq!(world.goes(SECOND), [3]);
    assert_eq!(world.goes(SECOND * 5), [0; 0]);
    world.accept(3);
    let went = world.goes(SECOND * 5);
    assert!(went.contains(&2) && went.contains(&4) && !went.contains(&1), "{went:?}");
}

#[test]
fn a_refused_probe_confirms_that_everybody_is_meant() {
    let mut world = auto();
    world.under_way(0, 1);
    world.refuse(0, SECOND * 30);
    for who in 2..5 {
        let ask = world.of(u8::try_from(who).unwrap());
        world.put(who, ask).unwrap();
    }
    assert_eq!(world.goes(SECOND), [2]);
    world.refuse(2, SECOND * 29);
    assert!(world.is_closed());
    assert_eq!(world.goes(SECOND * 6), [3], "the next one after five seconds");
}

#[test]
fn the_literal_egress_scope_sends_no_probe() {
    let mut world = World::new(1000.0, 100);
    world.under_way(0, 1);
    world.refuse(0, SECOND * 3);
    for who in 1..80 {
        let ask = world.of(u8::try_from(who).unwrap());
        world.put(who, ask).unwrap();
    }
    assert_eq!(world.goes(SECOND * 3 - Duration::from_millis(1)), [0; 0]);
    assert_eq!(world.goes(SECOND * 4).len(), 1);
}

#[test]
fn other_families_and_rooms_of_the_tenant_narrow_it_further() {
    let mut world = auto();
    let (room, other_room) = (world.in_room(1, 1), world.in_room(1, 2));
    let sent = |world: &mut World, who: u32, ask: Ask| {
        world.now += SECOND / 100;
        let (flight, _) = world.core.pass(world.now, &ask);
        world.sent.push((who, flight, world.now));
    };
    sent(&mut world, 0, room);
    let (family, stranger) = (world.of(1), world.of(2));
    sent(&mut world, 1, stranger);
    sent(&mut world, 2, family);
    sent(&mut world, 3, other_room);
    world.refuse(0, SECOND * 30);
    world.accept(1);
    world.accept(2);
    assert_eq!(closed(&world), [NodeKey::Family(tenant(1), room.path.family)]);
    world.accept(3);
    assert_eq!(closed(&world), [NodeKey::Room(tenant(1), room.path.family, RoomKey(1))]);
    assert_eq!(verdicts(&world), [Level::Room]);
    let (same, other) = (room, world.in_room(1, 3));
    let deadline = world.now + SECOND * 100;
    world.put(10, Ask { deadline, ..same }).unwrap();
    world.put(11, Ask { deadline, ..other }).unwrap();
    assert_eq!(world.goes(SECOND), [11], "the other room is not delayed");
}

#[test]
fn a_remembered_verdict_closes_only_the_tenant_at_once() {
    let mut world = auto();
    world.core.restore(world.now, Learned::Verdict(READS, Level::Tenant));
    world.under_way(0, 1);
    world.refuse(0, SECOND * 30);
    assert!(!world.is_closed());
    assert_eq!(closed(&world), [NodeKey::Tenant(tenant(1))]);
}

#[test]
fn a_verdict_fades() {
    let mut world = auto();
    world.core.restore(world.now, Learned::Verdict(READS, Level::Tenant));
    world.now += SECOND * 3601;
    world.under_way(0, 1);
    world.refuse(0, SECOND * 30);
    assert!(world.is_closed());
}

#[test]
fn two_tenants_refused_together_widen_the_verdict_again() {
    let mut world = auto();
    world.core.restore(world.now, Learned::Verdict(READS, Level::Tenant));
    world.under_way(1, 1);
    world.under_way(2, 2);
    world.refuse(1, SECOND * 30);
    assert!(!world.is_closed());
    world.refuse(2, SECOND * 30);
    assert!(world.is_closed());
}

#[test]
fn refusals_that_coincide_while_others_are_served_do_not_widen_it() {
    let mut world = auto();
    world.core.restore(world.now, Learned::Verdict(READS, Level::Tenant));
    world.under_way(1, 1);
    world.under_way(2, 2);
    world.refuse(1, SECOND * 30);
    world.now += SECOND;
    world.under_way(3, 3);
    world.accept(3);
    world.refuse(2, SECOND * 30);
    assert!(!world.is_closed());
    assert_eq!(closed(&world).len(), 2);
}

#[test]
fn a_closed_tenant_does_not_hold_up_the_others() {
    let mut world = World::with(CoreSettings { scope: Scope::Fixed(Level::Tenant), ..settings(1000.0, 100) });
    world.under_way(0, 1);
    world.refuse(0, SECOND * 3);
    let (closed, open) = (world.of(1), world.of(2));
    world.put(1, closed).unwrap();
    world.put(2, closed).unwrap();
    world.put(3, open).unwrap();
    assert_eq!(world.goes(SECOND), [3]);
    assert_eq!(world.goes(SECOND * 4), [1]);
    assert_eq!(world.goes(SECOND * 5), [0; 0]);
    world.accept(1);
    assert_eq!(world.goes(SECOND * 9), [2]);
}

#[test]
fn a_hopeless_waiter_behind_a_closed_tenant_is_told_at_once() {
    let mut world = World::with(CoreSettings { scope: Scope::Fixed(Level::Tenant), ..settings(1.0, 1) });
    world.under_way(0, 1);
    let patient = Ask { deadline: world.now + SECOND * 25, ..world.of(1) };
    world.put(1, patient).unwrap();
    let (_, flight, sent_at) = world.sent.remove(0);
    let mut told = Vec::new();
    let hour = Signal::throttled(Wait::Stated(SECOND * 3600));
    world.core.learn(world.now, flight, sent_at, hour, &mut |who, verdict| {
        told.push((who, verdict));
        true
    });
    assert!(
        matches!(told[..], [(1, Verdict::Refused(Reason::Deadline, wait))] if wait >= SECOND * 3600),
        "{told:?}"
    );
}

#[test]
fn ten_thousand_closed_tenants_are_bounded() {
    let mut world = World::with(CoreSettings { scope: Scope::Fixed(Level::Tenant), ..settings(1000.0, 100) });
    for number in 0..=255 {
        world.now += SECOND;
        world.under_way(0, number);
        world.refuse(0, SECOND * 3);
    }
    assert!(world.core.gates(world.now).count() <= 100);
}

#[test]
fn an_hours_refusal_of_one_tenant_lets_the_others_hope_for_a_probe() {
    let mut world = auto();
    world.under_way(0, 1);
    world.refuse(0, SECOND * 3600);
    let own = Ask { deadline: world.now + SECOND * 25, ..world.of(1) };
    assert!(
        matches!(world.put(1, own), Err(Verdict::Refused(Reason::Deadline, wait)) if wait >= SECOND * 3600)
    );
    for who in 2..4 {
        let other = Ask { deadline: world.now + SECOND * 25, ..world.of(u8::try_from(who).unwrap()) };
        world.put(who, other).unwrap();
    }
    assert_eq!(world.goes(SECOND), [2]);
    world.accept(2);
    assert_eq!(world.goes(SECOND), [3]);
}

#[test]
fn when_several_are_refused_for_an_hour_one_may_wait_to_try_and_the_rest_are_told() {
    let mut world = auto();
    world.under_way(0, 1);
    world.under_way(1, 2);
    world.refuse(0, SECOND * 3600);
    world.refuse(1, SECOND * 3600);
    let third = Ask { deadline: world.now + SECOND * 25, ..world.of(3) };
    let fourth = Ask { deadline: world.now + SECOND * 25, ..world.of(4) };
    world.put(3, third).unwrap();
    assert!(matches!(world.put(4, fourth), Err(Verdict::Refused(Reason::Deadline, _))));
}

#[test]
fn a_strangers_closed_gate_does_not_hold_up_other_strangers() {
    let mut world = World::with(CoreSettings { scope: Scope::Fixed(Level::Tenant), ..settings(1000.0, 100) });
    let shared = tenant(99);
    world.under_way(0, 1);
    world.refuse(0, SECOND * 30);
    for (who, number) in [(1, 1), (2, 2)] {
        let ask = Ask { line: shared, ..world.of(number) };
        world.put(who, ask).unwrap();
    }
    assert_eq!(world.goes(SECOND), [2]);
}

#[test]
fn a_half_open_gate_is_not_tried_with_a_large_upload_if_another_waits() {
    let mut world = World::new(1000.0, 100);
    world.under_way(0, 1);
    world.refuse(0, SECOND);
    let upload = Ask { size: Size::Large, ..world.of(2) };
    let small = Ask { size: Size::Small, ..world.of(3) };
    world.put(1, upload).unwrap();
    world.put(2, small).unwrap();
    assert_eq!(world.goes(SECOND * 2), [2]);
    world.accept(2);
    assert_eq!(world.goes(SECOND * 3), [1]);
}

#[test]
fn an_answer_that_says_the_quota_is_used_up_rests_its_own_gate_alone() {
    let mut world = auto();
    let mut headers = http::HeaderMap::new();
    headers.insert("x-ratelimit-remaining", "0".parse().unwrap());
    headers.insert("x-ratelimit-reset", "30".parse().unwrap());
    world.under_way(0, 1);
    let signal = Signal::read(http::StatusCode::OK, &headers, std::time::SystemTime::UNIX_EPOCH);
    world.answer(0, signal);
    assert_eq!(closed(&world), [NodeKey::Family(tenant(1), READS)]);
    assert!(!world.is_closed());
}

#[test]
fn a_gate_whose_time_has_come_unseen_is_refused_anew_and_not_tried_at_once() {
    let mut world = auto();
    world.under_way(0, 1);
    world.under_way(1, 1);
    world.refuse(0, SECOND * 3);
    world.now += SECOND * 10;
    world.refuse(1, SECOND * 30);
    let other = world.of(2);
    world.put(2, other).unwrap();
    assert_eq!(world.goes(SECOND * 10), [0; 0], "only a second after the refusal");
    assert_eq!(world.goes(SECOND * 11), [2]);
}

#[test]
fn strangers_behind_a_tenant_that_is_no_stranger_any_more_are_woken() {
    let mut world = World::with(CoreSettings { scope: Scope::Fixed(Level::Tenant), ..settings(1000.0, 100) });
    world.under_way(0, 1);
    world.refuse(0, SECOND);
    let known = world.of(1);
    world.put(1, known).unwrap();
    assert_eq!(world.goes(SECOND * 2), [1]);
    let before = Ask { line: crate::gate::PROBATION, ..known };
    world.put(2, before).unwrap();
    assert_eq!(world.goes(SECOND * 2), [0; 0]);
    world.accept(1);
    assert_eq!(world.goes(SECOND * 3), [2]);
}

#[test]
fn whoever_waits_for_a_probe_through_a_gate_that_is_forgotten_is_woken() {
    let mut world = World::with(CoreSettings {
        scope: Scope::Fixed(Level::Tenant),
        max_gates: 10,
        ..settings(1000.0, 100)
    });
    world.under_way(0, 1);
    world.refuse(0, SECOND);
    let ask = world.of(1);
    world.put(1, ask).unwrap();
    world.put(2, ask).unwrap();
    assert_eq!(world.goes(SECOND * 2), [1]);
    for number in 10..40 {
        world.now += SECOND;
        world.under_way(99, number);
        world.refuse(99, SECOND * 3);
    }
    world.accept(1);
    assert_eq!(world.goes(SECOND * 50), [2]);
}

#[test]
fn a_bot_alone_learns_from_its_own_other_families() {
    let mut world = auto();
    world.under_way(0, 1);
    world.refuse(0, SECOND * 30);
    let elsewhere = world.in_room(1, 1);
    world.put(1, elsewhere).unwrap();
    assert_eq!(world.goes(SECOND), [1]);
    world.accept(1);
    assert_eq!(closed(&world), [NodeKey::Family(tenant(1), READS)]);
    assert!(!world.is_closed());
}

#[test]
fn a_late_refusal_while_another_tries_the_gate_leaves_nobody_asleep() {
    let mut world = World::with(CoreSettings { scope: Scope::Fixed(Level::Tenant), ..settings(1000.0, 100) });
    world.under_way(0, 1);
    world.under_way(9, 1);
    world.refuse(0, SECOND);
    let ask = world.of(1);
    world.put(1, ask).unwrap();
    world.put(2, ask).unwrap();
    assert_eq!(world.goes(SECOND * 2), [1]);
    world.refuse(9, SECOND);
    world.accept(1);
    assert_eq!(world.goes(SECOND * 5), [2]);
}

#[test]
fn a_success_that_luck_explains_proves_nothing() {
    let mut world = World::with(CoreSettings { scope: Scope::Auto, ..settings(5.0, 10) });
    world.under_way(0, 1);
    world.pass_time(SECOND / 10);
    world.under_way(1, 2);
    world.refuse(0, SECOND * 30);
    world.accept(1);
    assert!(world.is_closed(), "a common bucket of five a second gives a token within that time");
}

#[test]
fn a_familys_gate_takes_one_token_for_a_request_without_a_room() {
    let mut world = World::with(CoreSettings { scope: Scope::Fixed(Level::Family), ..settings(1000.0, 4) });
    let family = GateView {
        key: NodeKey::Family(tenant(1), READS),
        closed_for: None,
        is_half_open: false,
        rate: Rate::new(1.0).unwrap(),
        has_met_limit: true,
    };
    world.core.restore(world.now, Learned::Gate(family));
    (0..8).for_each(|who| world.join(who, SECOND * 1000).map(drop).unwrap());
    assert_eq!(world.goes(Duration::ZERO), [0, 1, 2, 3], "the burst is four requests");
}

#[test]
fn in_the_time_that_is_added_to_a_stated_wait_nobody_is_sent_to_find_out() {
    // Refused for one second: the first probe would go after it, when a common bucket has a token again.
    for seed in 0..20 {
        let mut world = World::with(CoreSettings { scope: Scope::Auto, ..settings(10.0, 1) });
        (0..=seed).for_each(|who| world.under_way(100 + who, 1));
        world.refuse(100 + seed, SECOND);
        let reopens_in = world.core.egress(world.now).closed_for.unwrap();
        let other = world.of(2);
        world.put(1, other).unwrap();
        assert_eq!(world.goes(reopens_in - Duration::from_millis(1)), [0; 0], "{reopens_in:?}");
        assert_eq!(world.goes(reopens_in), [1]);
    }
}
