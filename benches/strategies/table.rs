//! GATE 9.1: every strategy against every limiter, side by side.

use std::time::Duration;

use crate::aatb::Aatb;
use crate::clients::{Alone, Pause, SharedGate};
use crate::dice::Dice;
use crate::limiter::{Limiter, Told};
use crate::ours::{Knobs, Ours};
use crate::paced::{Cubic, Oracle};
use crate::world::{Outcome, Request, Strategy, World};

const REQUESTS: usize = 9_000;
const BOTS: usize = 100;
const MINUTE: Duration = Duration::from_secs(60);
const ROUND_TRIP: Duration = Duration::from_millis(100);
/// Nothing here should take longer than this.
const END: Duration = Duration::from_secs(6 * 3600);

/// The four limiters behind 300 requests a minute.
pub(crate) const LIMITS: [&str; 4] = ["bucket of 10", "bucket of 300", "fixed window", "sliding log"];

pub(crate) fn limiter(name: &str, seed: u64) -> Limiter {
    match name {
        "bucket of 10" => Limiter::bucket(5.0, 10.0),
        "bucket of 300" => Limiter::bucket(5.0, 300.0),
        // The windows began some time before the first request, a different time with each seed.
        "fixed window" => {
            let phase = if seed == 0 { Duration::ZERO } else { MINUTE.mul_f64(Dice::new(seed).share()) };
            Limiter::fixed(300, MINUTE, phase)
        }
        _ => Limiter::sliding(300, MINUTE),
    }
}

/// 9,000 requests of 100 bots, evenly at random over ten minutes: three times what the limit serves.
pub(crate) fn overload(limit: &str, told: Told, seed: u64) -> World {
    let mut dice = Dice::new(seed + 1_000);
    let mut requests: Vec<Request> = (0..REQUESTS)
        .map(|number| Request {
            arrives_at: Duration::from_secs_f64(600.0 * dice.share()),
            tenant: (number % BOTS) as u32,
            room: 0,
        })
        .collect();
    requests.sort_by_key(|request| request.arrives_at);
    World {
        requests,
        width: 1,
        limiter: limiter(limit, seed),
        told,
        round_trip: ROUND_TRIP,
        shifts: Vec::new(),
        stray_refusals: 0.0,
        seed,
        insists: false,
    }
}

const STRATEGIES: [&str; 8] = [
    "gate, all released",
    "own Retry-After",
    "own back-off",
    "gate, half-open, 4",
    "AATB-like",
    "CUBIC bucket",
    "ours",
    "oracle",
];

fn strategy(name: &str, world: &World, seed: u64) -> Box<dyn Strategy> {
    match name {
        "gate, all released" => Box::new(SharedGate::new(None)),
        "own Retry-After" => Box::new(Alone::new(Pause::Stated, seed)),
        "own back-off" => Box::new(Alone::new(Pause::Backoff, seed)),
        "gate, half-open, 4" => Box::new(SharedGate::new(Some(4))),
        "AATB-like" => Box::new(Aatb::new(BOTS, &world.requests, seed)),
        "CUBIC bucket" => Box::new(Cubic::new()),
        "ours" => Box::new(Ours::new(Knobs::PATIENT)),
        _ => Box::new(Oracle::new(&world.limiter, ROUND_TRIP / 2)),
    }
}

/// Clients without a gate see each 429 themselves.
fn seen_by_clients(name: &str, outcome: &Outcome) -> usize {
    if name.starts_with("own") || name == "AATB-like" { outcome.refused_at.len() } else { outcome.told.len() }
}

/// The whole table for one seed.
pub(crate) fn print(width: usize) {
    println!(
        "{:<15} {:<8} {:<20} {:>9} {:>8} {:>8} {:>9} {:>6} {:>9}",
        "limit", "told", "strategy", "429s", "seen", "mean/opt", "makespan", "used", "max wait"
    );
    for limit in LIMITS {
        for told in Told::ALL {
            let world = World { width, ..overload(limit, told, 0) };
            let best = world.run(&mut Oracle::new(&world.limiter, ROUND_TRIP / 2), END);
            for name in STRATEGIES {
                let outcome = world.run(&mut *strategy(name, &world, 1), END);
                println!(
                    "{limit:<15} {:<8} {name:<20} {:>9} {:>8} {:>8.3} {:>8.0}s {:>5.1}% {:>8.0}s",
                    told.name(),
                    outcome.refused_at.len(),
                    seen_by_clients(name, &outcome),
                    outcome.mean_took() / best.mean_took(),
                    outcome.makespan.as_secs_f64(),
                    100.0 * outcome.accepted_by(best.makespan) as f64 / REQUESTS as f64,
                    outcome.max_took().as_secs_f64(),
                );
            }
        }
    }
}

/// Ours over many seeds: the mean and the worst of each.
pub(crate) fn print_ours(width: usize, seeds: u64) {
    println!(
        "{:<15} {:<8} {:>10} {:>10} {:>10} {:>10}   bar: 80 and 1.06",
        "limit", "told", "429s", "at most", "mean/opt", "at most"
    );
    for limit in LIMITS {
        for told in Told::ALL {
            let mut refusals = Vec::new();
            let mut ratios = Vec::new();
            for seed in 0..seeds {
                let world = World { width, ..overload(limit, told, seed) };
                let best = world.run(&mut Oracle::new(&world.limiter, ROUND_TRIP / 2), END);
                let outcome = world.run(&mut Ours::new(Knobs::PATIENT), END);
                refusals.push(outcome.refused_at.len() as f64);
                ratios.push(outcome.mean_took() / best.mean_took());
            }
            let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
            let most = |values: &[f64]| values.iter().copied().fold(0.0, f64::max);
            let verdict = if most(&refusals) <= 80.0 && most(&ratios) <= 1.06 { "" } else { "MISSED" };
            println!(
                "{limit:<15} {:<8} {:>10.1} {:>10} {:>10.3} {:>10.3}   {verdict}",
                told.name(),
                mean(&refusals),
                most(&refusals),
                mean(&ratios),
                most(&ratios)
            );
        }
    }
}

/// What ours did after each 429: when, the believed rate, requests accepted so far beside the oracle's.
pub(crate) fn trace(number: usize, seed: u64) {
    let world = overload(LIMITS[number / 3], Told::ALL[number % 3], seed);
    let best = world.run(&mut Oracle::new(&world.limiter, ROUND_TRIP / 2), END);
    let outcome = world.run(&mut Ours::new(Knobs::PATIENT), END);
    for at in &outcome.refused_at {
        let after = outcome.rates.partition_point(|(time, _)| *time <= *at + ROUND_TRIP / 2);
        println!(
            "{:>8.1}s {:>6.2} -> {:>6.2}/s {:>5} {:>5}",
            at.as_secs_f64(),
            outcome.rates.get(after.saturating_sub(2)).map_or(0.0, |(_, rate)| *rate),
            outcome.rates.get(after.saturating_sub(1)).map_or(0.0, |(_, rate)| *rate),
            outcome.accepted_by(*at),
            best.accepted_by(*at),
        );
    }
}
