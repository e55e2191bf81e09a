//! What the scheduler shows of its lines.

use super::*;

fn lines(world: &World) -> Vec<(TenantId, u32, u64)> {
    world
        .core
        .lines(world.now)
        .into_iter()
        .map(|line| (line.tenant, line.waiting, line.oldest_waited.as_secs()))
        .collect()
}

#[test]
fn the_longest_line_comes_first_with_its_oldest_wait() {
    let mut world = World::new(0.001, 1);
    world.put(0, world.of(9)).unwrap();
    assert_eq!(world.goes(SECOND), [0], "the only token");
    for (who, number) in [(1, 1), (2, 2), (3, 2)] {
        world.put(who, world.of(number)).unwrap();
        world.goes(SECOND * (u32::from(number) * 2));
    }
    assert_eq!(lines(&world), [(tenant(2), 2, 2), (tenant(1), 1, 3)]);
}

#[test]
fn who_has_left_is_not_shown() {
    let mut world = World::new(0.001, 1);
    world.put(0, world.of(9)).unwrap();
    world.goes(SECOND);
    let (_, place) = world.put(1, world.of(1)).unwrap();
    world.core.leave(place);
    assert_eq!(lines(&world), []);
}
