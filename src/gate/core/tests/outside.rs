//! Holds gates whose tokens come from outside: nobody passes without a slot, and what shuts makes slots void.

use proptest::prelude::*;

use super::*;
use crate::gate::learn::Found;

const MS: Duration = Duration::from_millis(1);
const EGRESS: NodeKey = NodeKey::Egress;

fn booking(slots: u32, first_in: Duration) -> Booking {
    Booking {
        stand: Stand::Open,
        slots,
        first_in,
        interval: MS * 100,
        part: 0.5,
        members: 2,
        rate: Rate::new(10.0).unwrap(),
        found: Found::Nothing,
        acquitted_for: None,
    }
}

/// A gate that is shared, with so many requests in line.
fn shared(waiting: u32) -> World {
    let mut world = World::new(10.0, 5);
    world.core.ration(0.5);
    (0..waiting).for_each(|who| world.join(who, SECOND * 100).map(drop).unwrap());
    world
}

impl World {
    fn book(&mut self, booking: Booking) {
        let now = self.now;
        self.core.book(now, EGRESS, now, &booking);
    }

    fn wishes(&mut self) -> Vec<(NodeKey, u32, u64)> {
        let wishes = self.core.wishes(|_| true);
        wishes.into_iter().map(|wish| (wish.key, wish.slots, wish.weight)).collect()
    }
}

#[test]
fn nobody_goes_without_a_slot_and_each_at_its_own() {
    let mut world = shared(3);
    assert_eq!(world.goes(SECOND), [0; 0]);
    assert_eq!(world.wishes(), [(EGRESS, 3, 1)]);
    assert_eq!(world.wishes(), []);
    world.book(booking(2, MS * 50));
    assert_eq!(world.goes(SECOND + MS * 49), [0; 0]);
    assert_eq!(world.goes(SECOND + MS * 50), [0]);
    assert_eq!(world.goes(SECOND + MS * 149), [0; 0]);
    assert_eq!(world.wishes(), [], "while slots are in hand nothing is asked for");
    assert_eq!(world.goes(SECOND + MS * 150), [1]);
    assert_eq!(world.wishes(), [(EGRESS, 1, 1)]);
}

#[test]
fn a_gate_asks_with_the_weight_of_its_tenants_not_with_its_length() {
    let mut world = shared(0);
    for who in 0..5 {
        let (one, two) = (world.of(1), Ask { weight: NonZeroU32::new(3).unwrap(), ..world.of(2) });
        world.put(who, one).unwrap();
        world.put(10 + who, two).unwrap();
    }
    let three = world.of(3);
    world.put(20, three).unwrap();
    world.goes(Duration::ZERO);
    assert_eq!(world.wishes(), [(EGRESS, 11, 5)]);
}

#[test]
fn a_refusal_makes_slots_void_and_is_news() {
    let mut world = shared(4);
    world.book(booking(3, Duration::ZERO));
    assert_eq!(world.goes(Duration::ZERO), [0]);
    world.refuse(0, SECOND);
    assert!(
        matches!(world.core.news()[..], [News::Shut(Closure { key: EGRESS, refused: Some(_), .. })]),
        "told once"
    );
    assert_eq!(world.core.news(), []);
    assert_eq!(world.goes(SECOND * 3), [0; 0]);
    // A closed gate asks for nothing; when its time has come it asks again.
    assert_eq!(world.wishes(), [(EGRESS, 3, 1)]);
}

#[test]
fn what_was_asked_for_before_a_gate_shut_is_void() {
    let mut world = shared(2);
    let asked_at = world.now;
    world.now += MS;
    world.start = world.now;
    let until = world.now + MS * 10;
    let closure = Closure { key: EGRESS, refused: None, sent_at: world.now, until };
    world.core.hear(world.now, &closure, &mut |_, _| true);
    assert_eq!(world.goes(MS * 20), [0; 0]);
    world.core.book(world.now, EGRESS, asked_at, &booking(2, Duration::ZERO));
    assert_eq!(world.goes(MS * 30), [0; 0]);
    world.book(booking(2, Duration::ZERO));
    assert_eq!(world.goes(MS * 30), [0]);
}

#[test]
fn a_shut_gate_opens_early_only_for_an_acquittal_that_came_later() {
    let mut world = shared(1);
    let path = world.ask().path;
    let closure =
        Closure { key: EGRESS, refused: Some(path), sent_at: world.now, until: world.now + SECOND * 50 };
    world.core.hear(world.now, &closure, &mut |_, _| true);
    world.goes(SECOND);
    world.book(booking(1, Duration::ZERO));
    assert!(world.is_closed(), "the server may have forgotten");
    world.book(Booking { acquitted_for: Some(SECOND * 2), ..booking(1, Duration::ZERO) });
    assert!(world.is_closed(), "acquitted before it shut");
    world.book(Booking { acquitted_for: Some(MS), ..booking(1, Duration::ZERO) });
    assert_eq!(world.goes(SECOND), [0]);
}

#[test]
fn what_another_process_was_refused_is_heard_once_and_not_told_again() {
    let mut world = shared(1);
    let path = world.ask().path;
    let closure = Closure { key: EGRESS, refused: Some(path), sent_at: world.now, until: world.now + SECOND };
    world.core.hear(world.now, &closure, &mut |_, _| true);
    assert!(world.is_closed());
    assert_eq!(world.core.news(), []);
    assert_eq!(world.core.closures(world.now), [closure]);
}

#[test]
fn one_process_tries_a_gate_and_the_others_wait_for_it() {
    let mut world = shared(3);
    world.book(Booking { stand: Stand::Theirs, ..booking(0, Duration::ZERO) });
    assert_eq!(world.goes(SECOND), [0; 0]);
    assert_eq!(world.wishes(), [(EGRESS, 3, 1)]);
    world.book(Booking { stand: Stand::Ours, ..booking(1, Duration::ZERO) });
    assert_eq!(world.goes(SECOND), [0]);
    assert_eq!(world.goes(SECOND * 2), [0; 0]);
    world.accept(0);
    assert_eq!(world.core.news(), [News::Opened(EGRESS)]);
    assert_eq!(world.goes(SECOND * 2), [0; 0]);
    world.book(booking(2, Duration::ZERO));
    assert_eq!(world.goes(SECOND * 3), [1, 2]);
}

#[test]
fn alone_it_goes_by_its_part_of_the_rate_which_does_not_grow() {
    let mut world = World::with(CoreSettings { pin: Rate::MAX, ..settings(10.0, 5) });
    world.core.ration(0.5);
    world.core.fall_back(world.now, None, (world.now, 0.2));
    (0..90).for_each(|who| world.join(who, SECOND * 1000).map(drop).unwrap());
    assert_eq!(world.goes(SECOND * 30).len(), 60);
    assert_eq!((world.core.granted_alone(), world.wishes()), (60, vec![]));
    world.core.ration(0.5);
    assert_eq!(world.goes(SECOND * 40).len(), 0);
    assert_eq!(world.wishes(), [(EGRESS, 30, 1)]);
}

#[test]
fn alone_it_keeps_its_part_through_refusals_until_others_have_had_the_time_to_make_room() {
    let mut world = shared(0);
    world.core.fall_back(world.now, None, (world.now, 0.2));
    let rate = |world: &World| world.core.egress(world.now).rate.per_second();
    // Each while some others would have gone: one alone only tries the gate.
    let start = world.now;
    for (round, refusals, last_at) in [(0, 4, 13), (1, 1, 20)] {
        let from = start + SECOND * 100 * round;
        world.now = from;
        world.core.ration(0.5);
        world.core.fall_back(from, None, (from, 0.2));
        let before = rate(&world);
        // Each while some others would have gone: one alone only tries the gate.
        for number in 1..=refusals {
            assert!(rate(&world) > before * 0.99, "after {number} refusals");
            world.now = from + SECOND * last_at * number / refusals;
            (0..3).for_each(|who| world.under_way(who, 1));
            (0..3).for_each(|who| world.refuse(who, SECOND));
            let now = world.now + SECOND;
            world.goes(now - world.start);
        }
        assert!(rate(&world) < before * 0.9, "after the last");
    }
}

#[test]
fn what_goes_without_slots_says_so() {
    let mut world = shared(0);
    let is_alone = |world: &World| world.core.wish(EGRESS).unwrap().is_alone;
    assert!(!is_alone(&world));
    world.core.fall_back(world.now, None, (world.now, 0.2));
    assert!(is_alone(&world));
    world.core.ration(0.5);
    assert!(!is_alone(&world));
}

#[test]
fn a_projected_wait_follows_this_process_part_of_the_rate() {
    let mut world = shared(20);
    world.book(booking(0, Duration::ZERO));
    let refused = world.join(99, MS * 1).unwrap_err();
    assert_eq!(refused, Verdict::Refused(Reason::Deadline, SECOND * 4));
}

#[test]
fn who_would_not_wait_has_time_for_the_one_call_that_a_slot_takes() {
    let mut world = shared(0);
    world.join(0, Duration::ZERO).unwrap();
    assert_eq!(world.until(MS * 20), []);
    world.book(booking(1, Duration::ZERO));
    assert_eq!(world.goes(MS * 20), [0]);
    world.join(1, Duration::ZERO).unwrap();
    assert_eq!(world.until(MS * 200), [(1, Verdict::Refused(Reason::Deadline, Duration::ZERO))]);
}

#[test]
fn what_passes_the_line_by_is_booked_afterwards() {
    let mut world = shared(0);
    world.under_way(7, 1);
    assert_eq!(world.wishes(), [(EGRESS, 1, 0)]);
    world.join(0, SECOND * 50).unwrap();
    world.book(booking(1, Duration::ZERO));
    assert_eq!(world.goes(SECOND), [0; 0]);
    world.book(booking(1, Duration::ZERO));
    assert_eq!(world.goes(SECOND), [0]);
}

#[test]
fn a_narrow_gate_has_slots_of_its_own_and_holds_up_nobody_else() {
    let mut world = World::with(CoreSettings { scope: Scope::Fixed(Level::Tenant), ..settings(10.0, 5) });
    world.core.ration(0.5);
    world.under_way(9, 1);
    world.refuse(9, MS * 10);
    assert_eq!(world.wishes(), [(EGRESS, 1, 0)]);
    let (one, two) = (world.of(1), world.of(2));
    world.put(1, one).unwrap();
    world.put(2, two).unwrap();
    // The first pays for what passed the line by.
    world.book(booking(4, Duration::ZERO));
    assert_eq!(world.goes(MS * 300), [2]);
    let key = NodeKey::Tenant(tenant(1));
    assert_eq!(world.wishes(), [(key, 1, 1)]);
    let now = world.now;
    world.core.book(now, key, now, &Booking { stand: Stand::Ours, ..booking(1, Duration::ZERO) });
    world.book(booking(1, Duration::ZERO));
    assert_eq!(world.goes(MS * 310), [1]);
    world.accept(1);
    assert!(world.core.news().contains(&News::Opened(key)));
}

#[test]
fn who_hears_of_an_acquittal_knows_by_then_what_is_shut_instead() {
    let mut world = World::with(CoreSettings { scope: Scope::Auto, ..settings(10.0, 5) });
    world.core.ration(0.5);
    world.under_way(1, 1);
    world.refuse(1, SECOND * 20);
    world.now += SECOND * 2;
    world.under_way(2, 2);
    world.accept(2);
    let news: Vec<_> = world.core.news();
    assert!(
        matches!(
            news[..],
            [
                News::Shut(Closure { key: EGRESS, .. }),
                News::Verdict(_, Level::Tenant),
                News::Acquitted(EGRESS, _),
                News::Shut(Closure { key: NodeKey::Tenant(_), .. }),
            ]
        ),
        "{news:?}"
    );
}

#[derive(Debug, Clone)]
enum Step {
    Alone,
    Answer(bool),
    Book(u32, u64, u64),
    Hear(u64),
    Join,
    Pass(u64),
    Ration,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        1 => Just(Step::Alone),
        4 => any::<bool>().prop_map(Step::Answer),
        4 => (0_u32..5, 0_u64..100, 0_u64..60).prop_map(|(slots, first, ago)| Step::Book(slots, first, ago)),
        1 => (0_u64..300).prop_map(Step::Hear),
        6 => Just(Step::Join),
        6 => (0_u64..80).prop_map(Step::Pass),
        2 => Just(Step::Ration),
    ]
}

proptest! {
    /// Whatever happens in whatever order: only at a slot or by the local part of the rate, and never through a shut gate.
    #[test]
    fn nobody_goes_but_by_a_slot_or_by_the_local_part(steps in prop::collection::vec(step(), 1..120)) {
        let mut world = shared(0);
        let (mut who, mut is_alone, mut alone_for) = (0, false, Duration::ZERO);
        let mut slots: Vec<Instant> = Vec::new();
        let mut shut_until = world.now;
        let (mut sent, mut closings) = (0_usize, 0_u32);
        for step in steps {
            match step {
                Step::Alone => {
                    world.core.fall_back(world.now, None, (world.now, 0.4));
                    is_alone = true;
                }
                Step::Answer(is_accepted) => {
                    if let Some((who, ..)) = world.sent.first().copied() {
                        match is_accepted {
                            true => world.accept(who),
                            false => {
                                closings += 1;
                                world.refuse(who, MS * 200);
                                shut_until = shut_until.max(world.now + MS * 200);
                            }
                        }
                    }
                }
                Step::Book(count, first, ago) => {
                    let asked_at = world.now.checked_sub(MS * u32::try_from(ago).unwrap()).unwrap();
                    let first_in = MS * u32::try_from(first).unwrap();
                    let answer = booking(count, first_in);
                    slots.extend((0..count).map(|slot| world.now + first_in + answer.interval * slot));
                    world.core.book(world.now, EGRESS, asked_at, &answer);
                }
                Step::Hear(remaining) => {
                    let until = world.now + MS * u32::try_from(remaining).unwrap();
                    let closure = Closure { key: EGRESS, refused: None, sent_at: world.now, until };
                    world.core.hear(world.now, &closure, &mut |_, _| true);
                    shut_until = shut_until.max(until);
                    closings += 1;
                }
                Step::Join => {
                    who += 1;
                    // Only a line that is full takes nobody.
                    prop_assert!(world.join(who, SECOND * 100_000).is_ok() || who > 90);
                }
                Step::Pass(time) => {
                    let time = MS * u32::try_from(time).unwrap();
                    let at = world.now - world.start + time;
                    let before = world.now;
                    let went = world.goes(at).len();
                    prop_assert!(went == 0 || shut_until <= world.now, "through a shut gate");
                    sent += went;
                    if is_alone {
                        alone_for += world.now - before;
                    }
                }
                Step::Ration => {
                    world.core.ration(0.5);
                    is_alone = false;
                }
            }
            let ripe = slots.iter().filter(|slot| **slot <= world.now).count();
            let alone = usize::try_from(world.core.granted_alone()).unwrap();
            prop_assert!(sent <= ripe + alone, "{sent} went, {ripe} slots were due, {alone} alone");
            // Where nobody is there to book a slot a half-open gate is tried without one: once for each closing.
            let by_rate = alone_for.as_secs_f64() * 10.0 * 0.4;
            prop_assert!(f64::from(u32::try_from(alone).unwrap()) <= by_rate + 1.0 + f64::from(closings));
        }
    }
}
