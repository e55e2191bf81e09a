//! What outlives a reload and a restart.

use std::num::NonZeroU32;

use super::*;
use crate::gate::ceiling::Ceiling;

#[test]
fn a_raised_ceiling_frees_who_waits_under_the_old_one() {
    let slow = Ceiling { rate: 0.001, burst: NonZeroU32::MIN };
    let mut world =
        World::with(CoreSettings { tenant_ceilings: vec![(tenant(1), slow)], ..settings(1000.0, 100) });
    for who in 1..=2 {
        world.put(who, world.of(1)).unwrap();
    }
    assert_eq!(world.goes(SECOND), [1]);
    world.core.reconfigure(world.now, settings(1000.0, 100));
    assert_eq!(world.goes(SECOND * 2), [2]);
}

#[test]
fn the_time_a_gate_was_closed_adds_up_and_ends_with_it() {
    let mut world = World::new(100.0, 1);
    for begin in [0, 100] {
        world.put(begin, world.of(1)).unwrap();
        world.goes(SECOND * begin);
        world.refuse(begin, SECOND * 10);
        world.put(begin + 1, world.of(1)).unwrap();
        world.goes(SECOND * (begin + 30));
        world.accept(begin + 1);
    }
    let total = world.core.closed_for_total(world.now, Level::Egress);
    assert!((SECOND * 20..=SECOND * 22).contains(&total), "{total:?}");
}

#[test]
fn the_time_that_narrow_gates_were_closed_outlives_them() {
    let plan = CoreSettings { scope: Scope::Fixed(Level::Tenant), max_gates: 10, ..settings(100.0, 10) };
    let mut world = World::with(plan);
    world.put(1, world.of(1)).unwrap();
    world.goes(SECOND);
    world.refuse(1, SECOND * 10);
    for number in 2..=30_u8 {
        let at = u32::from(number);
        world.put(at, world.of(number)).unwrap();
        world.goes(SECOND * (60 + at));
        world.refuse(at, SECOND);
    }
    assert!(world.core.gates(world.now).all(|view| view.key.tenant() != Some(tenant(1))));
    let total = world.core.closed_for_total(world.now, Level::Tenant);
    // Ten seconds, twenty-eight times one, and the last has just begun; each a little longer for its jitter.
    assert!((SECOND * 38..=SECOND * 42).contains(&total), "{total:?}");
    assert_eq!(world.core.closed_for_total(world.now, Level::Room), Duration::ZERO);
}

#[test]
fn a_line_is_as_old_as_the_first_that_joined_it() {
    let mut world = World::new(0.01, 1);
    for (who, at) in [(1, 0), (2, 10), (3, 20)] {
        world.put(who, world.of(1)).unwrap();
        world.goes(SECOND * at);
    }
    world.put(4, world.of(2)).unwrap();
    let mut lines: Vec<_> = world.core.lines(world.now);
    lines.sort_unstable_by_key(|line| line.tenant);
    let line = |tenant, waiting, seconds| LineView { tenant, waiting, oldest_waited: SECOND * seconds };
    assert_eq!(lines, [line(tenant(1), 2, 20), line(tenant(2), 1, 0)]);
}
