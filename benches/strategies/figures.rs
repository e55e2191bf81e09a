//! The other figures of GATE 9 that virtual time can show: each is printed beside its bar.

use std::collections::HashMap;
use std::time::Duration;

use crate::dice::Dice;
use crate::limiter::{Limiter, Told};
use tollgate::gate::{Level, Scope};

use crate::ours::{Kind, Knobs, Ours};
use crate::table::{LIMITS, limiter};
use crate::world::{Outcome, Request, World};

const SECOND: Duration = Duration::from_secs(1);
const ROUND_TRIP: Duration = Duration::from_millis(100);
const FOREVER: Duration = Duration::from_secs(10_000_000);

/// One line: what was measured, its bar, and whether it was reached.
pub(crate) fn report(figure: &str, what: &str, value: f64, bar: &str, is_reached: bool) {
    let verdict = if is_reached { "reached" } else { "MISSED" };
    println!("{figure:<4} {what:<64} {value:>14.3}   bar {bar:<12} {verdict}");
}

/// A world in which every request is its own client.
fn open_world(requests: Vec<Request>, limiter: Limiter) -> World {
    World {
        requests,
        width: usize::MAX,
        limiter,
        told: Told::Ceiling,
        round_trip: ROUND_TRIP,
        shifts: Vec::new(),
        stray_refusals: 0.0,
        seed: 1,
        insists: false,
    }
}

/// Arrivals at random with so many a second on average.
fn arrivals(count: usize, per_second: f64, tenants: usize, seed: u64) -> Vec<Request> {
    let mut dice = Dice::new(seed);
    let mut at = 0.0;
    (0..count)
        .map(|_| {
            at -= (1.0 - dice.share()).ln() / per_second;
            let tenant = dice.below(tenants) as u32;
            Request { arrives_at: Duration::from_secs_f64(at), tenant, room: dice.below(8) as u32 }
        })
        .collect()
}

/// The default, and the literal one: these limits are everybody's, so the default has nothing to find out.
const SCOPES: [(&str, Scope); 2] = [("auto", Scope::Auto), ("egress", Scope::Fixed(Level::Egress))];

/// 9.2: nobody sees a refusal at 0.95 of the limit, although the limit dips now and then.
pub(crate) fn steady(count: usize) {
    let requests = arrivals(count, 9.5, 100, 2);
    let length = requests.last().map_or(0.0, |last| last.arrives_at.as_secs_f64());
    for limit in LIMITS {
        let mut world = open_world(requests.clone(), doubled(limit));
        // Every half hour the limit falls to three quarters for 20 s. A sliding log that was halved would let nothing
        // pass for half a minute: longer than the deadline, whatever the gate does.
        for dip in 1..(length / 1_800.0) as u32 {
            let at = Duration::from_secs(u64::from(dip) * 1_800);
            world.shifts.extend([(at, 7.5), (at + 20 * SECOND, 10.0)]);
        }
        for (word, scope) in SCOPES {
            let outcome = world.run(&mut Ours::new(Knobs { scope, ..Knobs::DEFAULT }), FOREVER);
            let refused = outcome.refused_at.len();
            let what = format!("{limit}, {word}: refusals seen in {count} at 0.95x ({refused} upstream)");
            report("9.2", &what, outcome.told.len() as f64, "0", outcome.told.is_empty());
        }
    }
}

/// 600 a minute instead of 300.
fn doubled(limit: &str) -> Limiter {
    match limiter(limit, 0) {
        Limiter::Bucket { burst, .. } => Limiter::bucket(10.0, burst),
        Limiter::Fixed { window, phase, .. } => Limiter::fixed(600, window, phase),
        Limiter::Sliding { window, .. } => Limiter::sliding(600, window),
    }
}

/// 9.3: 10,000 light tenants beside 16 that would take everything, at 5/s. Weights are all one.
pub(crate) fn fair() {
    const HEAVY: usize = 16;
    let mut dice = Dice::new(3);
    let mut requests = Vec::new();
    // Light tenants together offer 3/s for half an hour, each heavy one 1/s.
    for number in 0..5_400 {
        let tenant = (HEAVY + dice.below(10_000)) as u32;
        requests.push(Request { arrives_at: SECOND.mul_f64(f64::from(number) / 3.0), tenant, room: 0 });
    }
    for number in 0..1_800 * HEAVY {
        let arrives_at = SECOND * (number / HEAVY) as u32;
        requests.push(Request { arrives_at, tenant: (number % HEAVY) as u32, room: 0 });
    }
    requests.sort_by_key(|request| request.arrives_at);
    let world = open_world(requests, Limiter::bucket(5.0, 10.0));
    let outcome = world.run(&mut Ours::new(Knobs { is_pinned: true, ..Knobs::PATIENT }), 1_800 * SECOND);
    let sent = || world.requests.iter().zip(&outcome.took).zip(&outcome.waited);
    let mut waits: Vec<Duration> = sent()
        .filter(|((request, took), _)| request.tenant as usize >= HEAVY && took.is_some())
        .map(|(_, wait)| *wait)
        .collect();
    let light = world.requests.iter().filter(|request| request.tenant as usize >= HEAVY).count();
    let p99 = quantile(&mut waits, 0.99).as_secs_f64();
    // Who was not served within the half hour waited longest of all.
    let is_served = waits.len() * 100 >= light * 99;
    let what = format!("light tenants' p99 wait in s ({} of {light} served)", waits.len());
    report("9.3", &what, p99, "<= 9.7", p99 <= 9.7 && is_served);
    let mut shares: HashMap<u32, f64> = HashMap::new();
    for ((request, took), _) in sent() {
        if (request.tenant as usize) < HEAVY && took.is_some() {
            *shares.entry(request.tenant).or_default() += 1.0;
        }
    }
    let sum: f64 = shares.values().sum();
    let squares: f64 = shares.values().map(|share| share * share).sum();
    let jain = sum * sum / (HEAVY as f64 * squares.max(f64::MIN_POSITIVE));
    report("9.3", "Jain index of the heavy tenants' shares", jain, ">= 0.99", jain >= 0.99);
}

/// 9.4: writes of one tenant to one room reach the API in the order in which they came.
pub(crate) fn order(count: usize) {
    // Fifty under way per tenant: enough to overtake each other, few enough for a line that counts its places.
    let requests = arrivals(count, 900.0, 100, 4);
    let mut world = open_world(requests, Limiter::bucket(1_000_000.0, 1_000_000.0));
    world.width = 50;
    world.stray_refusals = 0.05;
    world.told = Told::Absent;
    // A gate that closes for each of 50,000 refusals takes days: only the order matters here.
    let knobs = Knobs {
        start_rate: 10_000.0,
        is_pinned: true,
        burst: 100,
        max_wait: FOREVER,
        kind: Kind::Writes,
        ..Knobs::PATIENT
    };
    let outcome = world.run(&mut Ours::new(knobs), FOREVER);
    let what =
        format!("inversions in {} writes, {} refused", outcome.accepted_at.len(), outcome.refused_at.len());
    let is_whole = outcome.accepted_at.len() == count;
    report("9.4", &what, outcome.inversions as f64, "0", outcome.inversions == 0 && is_whole);
}

/// 9.6: who was told to come back after some time finds a place in line when he does so. Bursts of a minute at twice
/// the limit, with two minutes at a third of it between them: under a lasting overload nobody can be promised a place.
pub(crate) fn honest() {
    for limit in LIMITS {
        let mut requests = Vec::new();
        for minute in 0..120_u32 {
            let per_second = if minute % 3 == 0 { 10.0 } else { 1.7 };
            let count = (60.0 * per_second) as usize;
            let from = 60 * SECOND * minute;
            requests.extend(
                arrivals(count, per_second, 100, u64::from(minute))
                    .into_iter()
                    .map(|request| Request { arrives_at: from + request.arrives_at, ..request }),
            );
        }
        requests.sort_by_key(|request| request.arrives_at);
        let mut world = open_world(requests, limiter(limit, 0));
        world.insists = true;
        for (word, scope) in SCOPES {
            let outcome = world.run(&mut Ours::new(Knobs { scope, ..Knobs::DEFAULT }), FOREVER);
            report_honesty(&format!("{limit}, {word}"), &outcome);
        }
    }
}

fn report_honesty(limit: &str, outcome: &Outcome) {
    // A client comes back after exactly the stated time: given a place then, the statement held; refused again, it
    // was too short by what he is told now. Read backwards, so that the next refusal is known.
    let mut next: HashMap<usize, Duration> = HashMap::new();
    let mut true_ones = 0;
    for (id, _, stated) in outcome.told.iter().rev() {
        let missing = next.insert(*id, *stated).unwrap_or_default();
        true_ones += usize::from(missing <= SECOND.max(*stated / 10));
    }
    let share = 100.0 * true_ones as f64 / outcome.told.len().max(1) as f64;
    let what = format!("{limit}: % of {} refusals whose Retry-After held", outcome.told.len());
    report("9.6", &what, share, ">= 99", share >= 99.0);
}

/// 9.9: the hidden limit halves or doubles: how long until the accepted rate is within 5 % of it, and at what price.
pub(crate) fn shift() {
    for limit in LIMITS {
        for (word, to) in [("halves", 2.5), ("doubles", 10.0)] {
            let changes_at = 600 * SECOND;
            let mut world = open_world(arrivals(30_000, 25.0, 100, 9), limiter(limit, 0));
            world.shifts = vec![(changes_at, to)];
            let outcome = world.run(&mut Ours::new(Knobs::PATIENT), 1_200 * SECOND);
            let found = (0..540)
                .map(|second| changes_at + second * SECOND)
                .find(|from| {
                    // Over a minute: a shorter look cannot tell the rate of a window.
                    let passed = outcome.accepted_by(*from + 60 * SECOND) - outcome.accepted_by(*from);
                    (passed as f64 / 60.0 / to - 1.0).abs() <= 0.05
                })
                .map_or(f64::INFINITY, |from| (from - changes_at).as_secs_f64());
            let refused = outcome
                .refused_at
                .iter()
                .filter(|at| {
                    **at >= changes_at && **at < changes_at + SECOND.mul_f64(found.min(540.0) + 60.0)
                })
                .count();
            let what = format!("{limit} {word}: s until within 5 %, {refused} 429s until a minute later");
            report("9.9", &what, found, "<= 60, 6 (v2)", found <= 60.0 && refused <= 6);
        }
    }
}

/// The value below which `share` of all are.
pub(crate) fn quantile(values: &mut [Duration], share: f64) -> Duration {
    values.sort_unstable();
    let place = (values.len() as f64 * share).ceil() as usize;
    values.get(place.saturating_sub(1)).copied().unwrap_or_default()
}
