//! The end: who still goes before it, and what the others are told.

use super::*;

/// Sets the end and returns who is told to leave, in order.
fn end(world: &mut World, at: u64) -> Vec<u32> {
    let mut refused = Vec::new();
    let at = world.start + SECOND * u32::try_from(at).unwrap();
    world.core.end(world.now, at, &mut |who, verdict| {
        assert!(matches!(verdict, Verdict::Refused(Reason::Shutdown, _)), "{verdict:?}");
        refused.push(who);
        true
    });
    refused.sort_unstable();
    refused
}

#[test]
fn whose_turn_comes_before_the_end_goes_and_the_others_are_told_at_once() {
    let mut world = World::new(1.0, 1);
    (0..10).for_each(|who| world.join(who, SECOND * 100).map(drop).unwrap());
    assert_eq!(world.goes(Duration::ZERO), [0]);
    assert_eq!(end(&mut world, 4), [4, 5, 6, 7, 8, 9]);
    assert_eq!(world.goes(SECOND * 100), [1, 2, 3]);
    assert_eq!(world.core.waiting(), 0);
}

#[test]
fn every_line_has_its_share_of_the_last_turns() {
    let mut world = World::new(1.0, 1);
    world.join(99, SECOND).map(drop).unwrap();
    assert_eq!(world.goes(Duration::ZERO), [99]);
    for who in 0..8 {
        let ask = world.of(1);
        world.put(who, ask).unwrap();
    }
    for who in 10..12 {
        let ask = world.of(2);
        world.put(who, ask).unwrap();
    }
    assert_eq!(end(&mut world, 6), [3, 4, 5, 6, 7]);
    let mut went = world.goes(SECOND * 100);
    went.sort_unstable();
    assert_eq!(went, [0, 1, 2, 10, 11]);
}

#[test]
fn who_comes_later_is_told_on_arrival() {
    let mut world = World::new(1.0, 1);
    world.join(0, SECOND * 100).map(drop).unwrap();
    assert_eq!(end(&mut world, 2), [0; 0]);
    assert_eq!(world.goes(Duration::ZERO), [0]);
    assert!(world.join(1, SECOND * 100).is_ok());
    let late = world.join(2, SECOND * 100).unwrap_err();
    assert_eq!(late, Verdict::Refused(Reason::Shutdown, SECOND * 2));
    let hasty = world.join(3, SECOND / 2).unwrap_err();
    assert!(matches!(hasty, Verdict::Refused(Reason::Deadline, _)), "its own deadline is its own: {hasty:?}");
    assert_eq!(world.goes(SECOND), [1]);
    world.until(SECOND * 5);
    assert!(matches!(world.join(4, SECOND * 100), Err(Verdict::Refused(Reason::Shutdown, _))));
}

#[test]
fn a_gate_that_closes_beyond_the_end_ends_the_waiting() {
    let mut world = World::new(1.0, 1);
    (0..4).for_each(|who| world.join(who, SECOND * 100).map(drop).unwrap());
    assert_eq!(world.goes(Duration::ZERO), [0]);
    assert_eq!(end(&mut world, 10), [0; 0]);
    world.refuse(0, SECOND * 60);
    let told = world.until(SECOND / 2);
    assert_eq!(told.len(), 3);
    assert!(
        told.iter()
            .all(|(_, told)| matches!(told, Verdict::Refused(Reason::Shutdown, wait) if *wait > SECOND * 50)),
        "{told:?}"
    );
}

#[test]
fn who_was_expected_to_go_and_did_not_is_told_at_the_end() {
    let mut world = World::with(CoreSettings { max_in_flight: 1, ..settings(100.0, 1) });
    (0..3).for_each(|who| world.join(who, SECOND * 100).map(drop).unwrap());
    assert_eq!(world.goes(Duration::ZERO), [0]);
    assert_eq!(end(&mut world, 5), [0; 0]);
    // The request in flight is never answered.
    assert_eq!(world.until(SECOND * 4), []);
    let told = world.until(SECOND * 5);
    assert_eq!(told.iter().map(|(who, _)| *who).collect::<Vec<_>>(), [1, 2]);
}
