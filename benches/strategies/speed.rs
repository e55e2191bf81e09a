//! GATE 9.5: what the core itself costs, in real time and in bytes.
//!
//! Bytes are read as resident memory: a counting allocator would need `unsafe`, which this package forbids.

use std::time::Duration;

use tokio::time::Instant;

use tollgate::gate::core::{Core, Verdict};
use tollgate::gate::{Hints, Signal};

use crate::figures::{quantile, report};
use crate::ours::{Kind, Knobs, ask, core};

const HOUR: Duration = Duration::from_secs(3600);
const FAST: Knobs = Knobs { start_rate: 1_000_000.0, is_pinned: true, burst: 10, ..Knobs::PATIENT };

/// Run this first in its process: freed memory would be used again and not be seen to grow.
pub(crate) fn memory() {
    let before = resident();
    let now = Instant::now();
    let mut queue = core(now, Knobs { start_rate: 1.0, is_pinned: true, burst: 1, ..Knobs::PATIENT });
    for who in 0..100_000 {
        join(&mut queue, now, who, 1000);
    }
    let grown = resident().saturating_sub(before) as f64 / 1_048_576.0;
    report(
        "9.5",
        "MB of 100,000 queued entries",
        grown,
        "<= 32",
        grown <= 32.0 && queue.waiting() == 100_000,
    );
    let before = resident();
    let mut idle = core(now, FAST);
    for who in 0..10_000_u32 {
        // A second apart, so that each is served and gone before the next comes.
        let now = now + Duration::from_secs(1) * who;
        join(&mut idle, now, who as usize, 10_000);
        let mut flights = Vec::new();
        idle.release(now, &mut |_, verdict| {
            flights.push(verdict);
            true
        });
        for verdict in flights {
            if let Verdict::Go(flight) = verdict {
                idle.learn(now, flight, now, Signal::Accepted(Hints::default()), &mut |_, _| true);
            }
        }
    }
    let grown = resident().saturating_sub(before) as f64 / 1_048_576.0;
    report("9.5", "MB of 10,000 idle tenants", grown, "<= 4", grown <= 4.0);
}

/// Grants on one core: 10,000 wait all the time, each grant is answered and its client comes again.
#[allow(clippy::disallowed_methods, reason = "what is measured here is real time")]
pub(crate) fn speed(grants: usize) {
    let base = Instant::now();
    let mut core = core(base, FAST);
    (0..10_000).for_each(|who| join(&mut core, base, who, 100));
    let mut granted = Vec::new();
    let mut spent = Vec::with_capacity(grants / 10 + 1);
    let began_at = std::time::Instant::now();
    for number in 0..grants / 10 {
        // Ten tokens fall due between two looks: only they go.
        let at = base + Duration::from_secs(2) + Duration::from_micros(10 * number as u64);
        let looked_at = std::time::Instant::now();
        core.release(at, &mut |who, verdict| {
            if let Verdict::Go(flight) = verdict {
                granted.push((who, flight));
            }
            true
        });
        for (who, flight) in granted.drain(..) {
            core.learn(at, flight, at, Signal::Accepted(Hints::default()), &mut |_, _| true);
            join(&mut core, at, who, 100);
        }
        spent.push(looked_at.elapsed() / 10);
    }
    let per_second = (spent.len() * 10) as f64 / began_at.elapsed().as_secs_f64();
    report("9.5", "grants a second on one core", per_second, ">= 1000000", per_second >= 1e6);
    let p99 = quantile(&mut spent, 0.99).as_secs_f64() * 1e6;
    report("9.5", "p99 of a grant in us, with its join and its answer", p99, "<= 2", p99 <= 2.0);
}

/// How many of the tokens of ten minutes at 100/s are used while 10,000 wait.
pub(crate) fn tokens() {
    let base = Instant::now();
    let mut core = core(base, Knobs { start_rate: 100.0, is_pinned: true, burst: 10, ..Knobs::PATIENT });
    let end = base + Duration::from_secs(600);
    let (mut now, mut used, mut back) = (base, 0_u32, Vec::new());
    (0..10_000).for_each(|who| join(&mut core, now, who, 100));
    while now <= end {
        let next_at = core.release(now, &mut |who, verdict| {
            if let Verdict::Go(flight) = verdict {
                back.push((who, flight));
            }
            true
        });
        used += back.len() as u32;
        for (who, flight) in back.drain(..) {
            core.learn(now, flight, now, Signal::Accepted(Hints::default()), &mut |_, _| true);
            join(&mut core, now, who, 100);
        }
        now = next_at.unwrap_or(end + HOUR);
    }
    let share = 100.0 * f64::from(used) / 60_010.0;
    report("9.5", "% of tokens used with 10,000 waiters", share, ">= 99.5", share >= 99.5);
}

/// One more waits: who, among so many tenants.
fn join(core: &mut Core<usize>, now: Instant, who: usize, tenants: usize) {
    let turn = core.turn();
    let tenant = u32::try_from(who % tenants).unwrap_or_default();
    core.join(now, turn, ask(now, tenant, 0, Kind::Reads), who, &mut |_, _| true).unwrap();
}

/// Bytes of resident memory.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap_or_default() * 1024
}
