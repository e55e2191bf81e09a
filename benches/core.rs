//! What the scheduler costs: grants a second, the slowest of them, leaving a long line, and memory (GATE 9.5).
#![allow(
    clippy::as_conversions,
    clippy::disallowed_methods,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::unwrap_used,
    missing_docs,
    reason = "a benchmark: what fails must stop it"
)]

use std::fs;
use std::hint::black_box;
use std::time::{Duration, SystemTime};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use http::{HeaderMap, StatusCode};
use tokio::time::Instant;
use tollgate::gate::core::{
    Ask, Class, Core, Flight, Order, PLAIN_WEIGHT, Path, Place, RoomKey, Size, Standing, Turn, Verdict,
};
use tollgate::gate::{CoreSettings, Rate, Scope, Signal};
use tollgate::route::{Access, Family};
use tollgate::words::TenantId;

/// Requests in line while grants are measured, over all tenants.
const WAITING: u32 = 20_000;
const TENANTS: [u32; 3] = [1, 100, 10_000];
const QUEUED: u32 = 100_000;
/// The virtual clock's step: one token at the fastest rate.
const STEP: Duration = Duration::from_micros(1);

/// A core in virtual time; a waiter is the number of its slot.
struct World {
    core: Core<u32>,
    now: Instant,
    tenants: u32,
    joined: u32,
    slots: Vec<Option<(Turn, Ask)>>,
    free: Vec<u32>,
    granted: Vec<(u32, Flight)>,
    accepted: Signal,
    refused: Signal,
}

fn settings(rate: Rate) -> CoreSettings {
    CoreSettings {
        scope: Scope::Auto,
        start_rate: rate,
        pin: rate,
        burst: 1,
        ceiling: None,
        tenant_ceilings: Vec::new(),
        max_in_flight: 1024,
        max_waiting: 1_000_000,
        max_waiting_bytes: u64::MAX,
        max_tenant_waiting: 1_000_000,
        max_tenant_bytes: u64::MAX,
        max_gates: 100_000,
        max_gate: Duration::from_secs(3600),
    }
}

fn tenant(number: u32) -> TenantId {
    let mut id = [0; 16];
    id.iter_mut().zip(number.to_be_bytes()).for_each(|(to, from)| *to = from);
    TenantId::new(id)
}

impl World {
    fn new(rate: Rate, tenants: u32) -> Self {
        let now = Instant::now();
        let answer = |status, headers: &[(&'static str, &'static str)]| {
            let fields = headers.iter().map(|(name, value)| {
                (http::HeaderName::from_static(name), http::HeaderValue::from_static(value))
            });
            Signal::read(status, &fields.collect::<HeaderMap>(), SystemTime::now())
        };
        Self {
            core: Core::new(now, settings(rate)),
            now,
            tenants,
            joined: 0,
            slots: Vec::new(),
            free: Vec::new(),
            granted: Vec::new(),
            accepted: answer(StatusCode::OK, &[]),
            refused: answer(
                StatusCode::TOO_MANY_REQUESTS,
                &[("retry-after", "60"), ("x-ratelimit-scope", "user")],
            ),
        }
    }

    /// With `waiting` requests in line.
    fn crowded(rate: Rate, tenants: u32, waiting: u32) -> Self {
        let mut world = Self::new(rate, tenants);
        (0..waiting).for_each(|_| {
            world.join();
        });
        world
    }

    /// What bots send: mostly reads, some writes in order, each tenant in a few rooms.
    fn ask(&self) -> Ask {
        let number = self.joined;
        let round = number / self.tenants;
        let tenant = tenant(number % self.tenants);
        let (access, class, order, size) = match round.is_multiple_of(4) {
            true => (Access::Write, Class::WRITE, Order::Strict, Size::Small),
            false => (Access::Read, Class::READ, Order::Free, Size::Probe),
        };
        let room = Some(RoomKey(u64::from(round % 8)));
        Ask {
            path: Path { tenant, family: Family { segment: "messages", access }, room },
            line: tenant,
            weight: PLAIN_WEIGHT,
            class,
            order,
            size,
            bytes: 500,
            standing: Standing::New,
            deadline: self.now + Duration::from_secs(100_000) + STEP * (number % 1000),
        }
    }

    fn join(&mut self) -> Place {
        let (ask, turn) = (self.ask(), self.core.turn());
        self.joined += 1;
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            u32::try_from(self.slots.len() - 1).unwrap()
        });
        self.slots[slot as usize] = Some((turn, ask));
        let joined = self.core.join(self.now, turn, ask, slot, &mut |_, _| true);
        joined.map_err(|(_, verdict)| verdict).unwrap()
    }

    /// Everyone whose turn has come is answered with `signal` at once, until nobody's has.
    fn serve(&mut self, signal: Signal) -> usize {
        let mut count = 0;
        loop {
            let granted = &mut self.granted;
            self.core.release(self.now, &mut |slot, verdict| {
                if let Verdict::Go(flight) = verdict {
                    granted.push((slot, flight));
                }
                true
            });
            if self.granted.is_empty() {
                return count;
            }
            count += self.granted.len();
            for (slot, flight) in self.granted.drain(..) {
                self.core.learn(self.now, flight, self.now, signal, &mut |_, _| true);
                if let Some((turn, ask)) = self.slots[slot as usize].take() {
                    self.core.finish(&ask, turn);
                }
                self.free.push(slot);
            }
        }
    }

    /// One request comes, one goes and is answered, as in the shell: the line is looked at after each.
    fn cycle(&mut self) -> usize {
        self.join();
        let early = self.serve(self.accepted);
        self.now += STEP;
        early + self.serve(self.accepted)
    }
}

/// The resident memory of this process in bytes: what the kernel counts, allocator and all.
fn resident() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    kib.unwrap_or_default() * 1024
}

/// Runs before anything else has grown the heap: what is freed may stay resident, and would be used again unseen.
fn memory() {
    // The largest first: what one leaves behind hides what the next takes. So each is a process of its own.
    let tenants = std::env::var("TENANTS").ok().and_then(|text| text.parse().ok()).unwrap_or(100);
    let mut world = World::new(Rate::MAX, tenants);
    let empty = resident();
    (0..QUEUED).for_each(|_| {
        let (ask, turn) = (world.ask(), world.core.turn());
        world.joined += 1;
        assert!(world.core.join(world.now, turn, ask, world.joined, &mut |_, _| true).is_ok());
    });
    println!("memory/{QUEUED} queued, {tenants} tenants: {} bytes", resident() - empty);
}

fn idle_tenants() {
    let before = resident();
    // The API names a tenant's own limit to each: a gate of its own is remembered for every one.
    let mut world = World::new(Rate::MAX, 10_000);
    let refused = world.refused;
    for _ in 0..10_000 {
        world.join();
        world.now += STEP;
        world.serve(refused);
    }
    assert_eq!((world.core.waiting(), world.core.in_flight()), (0, 0));
    let gates = world.core.gates(world.now).count();
    println!("memory/10000 idle tenants, {gates} gates: {} bytes", resident() - before);
}

/// The time that takes 50, 99, 99.9 and 100 % of `count` runs at most.
fn spread(name: &str, count: u32, mut run: impl FnMut(u32)) {
    let mut times: Vec<Duration> = (0..count)
        .map(|number| {
            let began_at = std::time::Instant::now();
            run(number);
            began_at.elapsed()
        })
        .collect();
    times.sort_unstable();
    let at = |share: f64| times.get(((f64::from(count) - 1.0) * share).round() as usize).copied();
    println!(
        "{name}: p50 {:?}, p99 {:?}, p99.9 {:?}, max {:?}",
        at(0.5).unwrap_or_default(),
        at(0.99).unwrap_or_default(),
        at(0.999).unwrap_or_default(),
        at(1.0).unwrap_or_default(),
    );
}

fn spreads() {
    for tenants in TENANTS {
        let mut world = World::crowded(Rate::MAX, tenants, WAITING);
        spread(&format!("spread/grant, {tenants} tenants"), 1_000_000, |_| {
            black_box(world.cycle());
        });
        assert!(world.core.waiting() <= 20_010, "the line grew to {}", world.core.waiting());
    }
    for tenants in TENANTS {
        let mut world = World::crowded(Rate::MAX, tenants, 0);
        let mut places: Vec<Place> = (0..QUEUED).map(|_| world.join()).collect();
        // A stride that is coprime to the number: from all over the line, each once.
        (0..places.len()).for_each(|at| places.swap(at, at * 7919 % 100_000));
        spread(&format!("spread/leave, {tenants} tenants"), QUEUED, |number| {
            world.core.leave(places[number as usize]);
        });
        assert_eq!(world.core.waiting(), 0);
    }
}

fn grants(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("grant");
    group.throughput(Throughput::Elements(1));
    for tenants in TENANTS {
        let mut world = World::crowded(Rate::MAX, tenants, WAITING);
        group.bench_function(BenchmarkId::from_parameter(tenants), |bencher| {
            bencher.iter(|| black_box(world.cycle()));
        });
    }
    group.finish();
}

fn leaves(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("join and leave");
    group.throughput(Throughput::Elements(1));
    for waiting in [1_000, QUEUED] {
        let mut world = World::crowded(Rate::MAX, 100, waiting);
        group.bench_function(BenchmarkId::from_parameter(waiting), |bencher| {
            bencher.iter(|| {
                let place = world.join();
                world.core.leave(place);
                world.slots.pop();
            });
        });
    }
    group.finish();
}

fn figures(_: &mut Criterion) {
    idle_tenants();
    memory();
    spreads();
}

criterion_group!(benches, figures, grants, leaves);
criterion_main!(benches);
