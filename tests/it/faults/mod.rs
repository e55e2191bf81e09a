//! What becomes of requests when the upstream fails in every way that TCP allows: the real binary, TLS on both sides.
//!
//! `SEED=7 CASES=50000 cargo test --test it faults` for a long run; `SEED=7 CASE=1234` for one case of it.

mod book;
mod bots;
mod lane;
mod oracle;
mod process;
mod table;
mod tamper;
mod upstream;
mod upstream_h1;
mod upstream_h2;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustix::process::Signal;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use self::lane::{GROUPS, Lane, Tally, case};
use self::oracle::Company;

/// What the environment asks for.
#[derive(Debug, Clone, Copy)]
struct Order {
    seed: u64,
    first: u64,
    beyond: u64,
}

impl Order {
    fn read(by_default: u64) -> Self {
        let number = |name: &str| std::env::var(name).ok().map(|value| value.parse::<u64>().unwrap());
        let seed = number("SEED").unwrap_or(1);
        match number("CASE") {
            Some(one) => Self { seed, first: one, beyond: one + 1 },
            None => Self { seed, first: 0, beyond: number("CASES").unwrap_or(by_default) },
        }
    }

    /// Numbers of one group, for whoever takes the next.
    fn of_group(self, group: usize) -> Numbers {
        let group = u64::try_from(group).unwrap();
        let first = self.first + (group + 4 - self.first % 4) % 4;
        Numbers { next: AtomicU64::new(first), beyond: self.beyond }
    }
}

struct Numbers {
    next: AtomicU64,
    beyond: u64,
}

impl Numbers {
    fn take(&self) -> Option<u64> {
        let number = self.next.fetch_add(4, Ordering::Relaxed);
        (number < self.beyond).then_some(number)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_fault_ends_in_a_right_answer_or_a_clear_error() {
    let order = Order::read(3_000);
    let (began_at, tally) = (Instant::now(), Arc::new(Mutex::new(Tally::default())));
    let mut lanes = JoinSet::new();
    for (group, kind) in GROUPS.into_iter().enumerate() {
        let numbers = Arc::new(order.of_group(group));
        for _ in 0..LANES {
            let (numbers, tally) = (Arc::clone(&numbers), Arc::clone(&tally));
            lanes.spawn(async move {
                let mut lane = None;
                while let Some(number) = numbers.take() {
                    if lane.is_none() {
                        lane = Some(Lane::start(kind).await);
                    }
                    let (_, case) = case(order.seed, number, Company::Alone);
                    lane.as_ref().unwrap().alone(&case, &tally).await;
                }
                match lane {
                    Some(lane) => Some(lane.settle(&tally).await),
                    None => None,
                }
            });
        }
    }
    let left = lanes.join_all().await;
    report("alone", order, began_at, &tally, &left.into_iter().flatten().collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn faults_and_reloads_at_once_spoil_nothing() {
    let order = Order::read(1_200);
    let (began_at, tally) = (Instant::now(), Arc::new(Mutex::new(Tally::default())));
    let mut groups = JoinSet::new();
    for (group, kind) in GROUPS.into_iter().enumerate() {
        let tally = Arc::clone(&tally);
        groups.spawn(async move {
            let lane = Arc::new(Lane::start(kind).await);
            let numbers = Arc::new(order.of_group(group));
            let mut workers = crowd(&lane, &numbers, order.seed, Company::Crowd, &tally);
            let mut reload = tokio::time::interval(Duration::from_secs(1));
            loop {
                tokio::select! {
                    done = workers.join_next() => if done.is_none() { break },
                    _ = reload.tick() => lane.tollgate.signal(Signal::HUP),
                }
            }
            Arc::into_inner(lane).unwrap().settle(&tally).await
        });
    }
    let left = groups.join_all().await;
    report("crowd", order, began_at, &tally, &left);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_goodbye_amid_faults_keeps_what_was_accepted() {
    let order = Order { beyond: ENDLESS, ..Order::read(0) };
    let (began_at, tally) = (Instant::now(), Arc::new(Mutex::new(Tally::default())));
    let mut groups = JoinSet::new();
    for (group, kind) in GROUPS.into_iter().enumerate() {
        let tally = Arc::clone(&tally);
        groups.spawn(async move {
            let lane = Arc::new(Lane::start(kind).await);
            let numbers = Arc::new(order.of_group(group));
            let workers = crowd(&lane, &numbers, order.seed, Company::Leaving, &tally);
            sleep(Duration::from_secs(2)).await;
            lane.tollgate.signal(Signal::TERM);
            sleep(Duration::from_millis(500)).await;
            numbers.next.store(ENDLESS, Ordering::Relaxed);
            workers.join_all().await;
            let mut lane = Arc::into_inner(lane).unwrap();
            let ended = lane.tollgate.ended(Duration::from_secs(15)).await;
            let is_well = ended.is_some_and(|status| status.code() == Some(0));
            if !is_well || lane.tollgate.log().contains("panicked") {
                tally.lock().unwrap().wrong.push(format!("ended {ended:?}: {}", lane.tollgate.log()));
            }
        });
    }
    groups.join_all().await;
    report("goodbye", order, began_at, &tally, &[]);
}

/// Workers that take cases until there are none.
fn crowd(
    lane: &Arc<Lane>,
    numbers: &Arc<Numbers>,
    seed: u64,
    company: Company,
    tally: &Arc<Mutex<Tally>>,
) -> JoinSet<()> {
    let mut workers = JoinSet::new();
    for _ in 0..WORKERS {
        let (lane, numbers, tally) = (Arc::clone(lane), Arc::clone(numbers), Arc::clone(tally));
        workers.spawn(async move {
            while let Some(number) = numbers.take() {
                let (_, case) = case(seed, number, company);
                lane.among(&case, company, &tally).await;
            }
        });
    }
    workers
}

fn report(name: &str, order: Order, began_at: Instant, tally: &Mutex<Tally>, left: &[process::Footprint]) {
    let tally = tally.lock().unwrap();
    let took = began_at.elapsed();
    let grown = left.iter().map(|left| left.resident_kib / 1024).max().unwrap_or_default();
    let descriptors = left.iter().map(|left| left.descriptors).max().unwrap_or_default();
    eprintln!(
        "{name}: SEED={} {} cases in {took:.1?}; {} attempts, {} effects; slowest {:.1?}; {} late; \
         at most {grown} MiB and {descriptors} descriptors more; told {:?}",
        order.seed, tally.cases, tally.attempts, tally.effects, tally.slowest, tally.late, tally.told
    );
    for (after, times) in &tally.again {
        eprintln!("  again ({times}): {after}");
    }
    // What concerns a whole process says most.
    let (cases, others): (Vec<_>, Vec<_>) = tally.wrong.iter().partition(|wrong| wrong.starts_with("CASE"));
    let wrong = others.into_iter().chain(cases).take(20).cloned().collect::<Vec<_>>().join("\n");
    assert!(tally.wrong.is_empty(), "SEED={}, {} wrong:\n{wrong}", order.seed, tally.wrong.len());
}

/// Processes of each kind, one case at a time on each: the fault of one must not be the misfortune of another.
const LANES: usize = 6;
/// Cases at once on one process.
const WORKERS: usize = 32;
/// More cases than there is time for.
const ENDLESS: u64 = 1 << 40;
