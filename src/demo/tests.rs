//! Holds what the demonstration reckons and when it fails.

use super::*;
use figures::Api;

fn phase(throttled_bots: u64, faults: usize) -> Phase {
    Phase {
        took: Duration::ZERO,
        api: Api { calls: 0, throttled: 0, sent_bytes: 0 },
        throttled_bots,
        faults: vec!["bot-01: wrong".to_owned(); faults],
        waits: BTreeMap::new(),
    }
}

#[test]
fn the_limit_grows_with_the_bots_and_never_makes_anybody_wait_long() {
    for bots in 1..=MAX_BOTS {
        let limit = DemoSettings::new(1, bots).limit();
        assert!((limit.window().as_secs_f64() - 4.0).abs() < 1e-6, "{bots}");
        assert!(limit.burst * WINDOWS >= bots * script::CALLS);
    }
    let limit = DemoSettings::new(1, 25).limit();
    assert_eq!((limit.burst, limit.per_minute), (75, 1125.0));
}

#[test]
fn only_a_429_through_tollgate_breaks_the_promise() {
    assert_eq!(promises(&phase(90, 0), &phase(0, 0)), [""; 0]);
    assert_eq!(promises(&phase(90, 0), &phase(1, 0)).len(), 1);
}

#[test]
fn faults_are_told_for_both_ways_but_not_all_of_them() {
    assert_eq!(promises(&phase(0, 1), &phase(0, 2)).len(), 3);
    let broken = promises(&phase(0, 0), &phase(0, 12));
    assert_eq!(broken.len(), MAX_FAULTS + 1);
    assert_eq!(broken.last().unwrap(), "through Tollgate: 2 faults more");
}
