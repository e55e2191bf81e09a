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
    let total = world.core.egress_closed_for_total(world.now);
    assert!((SECOND * 20..=SECOND * 22).contains(&total), "{total:?}");
}
