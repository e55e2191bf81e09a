//! A random walk of tenants, changes and faults in virtual time; every answer is judged.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use tempfile::TempDir;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::Instant;
use tollgate::cache::{Disk, DiskSettings, Purge, Writer};
use tollgate::clock::Clock;
use tollgate::proxy::Proxy;
use tollgate::route::RouteId;

use crate::rooms::Rooms;

use super::oracle::{Asked, PROOF_TTL, Told, What, judge};
use super::tenants::{Manner, Patience, ask};
use super::vault::{self, CONTENTS, Fault, TENANTS, Vault};

/// In CI; `STEPS=1000000 cargo test --test it isolation::walk` is the figure of SECURITY 1.
const STEPS: usize = 30_000;
/// A world keeps a log of what its API said: a new one now and then keeps that short.
const PER_WORLD: usize = 400;

/// Xorshift: the same seed is the same walk.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 16).unwrap() % bound
    }

    fn one<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())]
    }

    fn seconds(&mut self, bound: usize) -> Duration {
        Duration::from_millis(u64::try_from(self.below(bound * 1000)).unwrap())
    }
}

/// Tollgate before the vault, as one process after another.
struct World {
    vault: Vault,
    clock: Clock,
    dir: TempDir,
    process: Option<Process>,
    dice: Dice,
    under_way: JoinSet<(Asked, Option<Told>)>,
    history: Vec<String>,
    /// How answers came about: a walk that never shares anything would prove nothing.
    ways: BTreeMap<String, usize>,
}

struct Process {
    proxy: Arc<Proxy<Vault>>,
    gate: JoinHandle<()>,
    writer: Writer,
}

impl Process {
    fn start(vault: &Vault, clock: &Clock, dir: &Path) -> Self {
        let settings = DiskSettings {
            dir: dir.to_owned(),
            max_bytes: 64 * 1024,
            max_entries: 100,
            max_queued_bytes: 1 << 20,
        };
        let (disk, writer) = Disk::open(settings, clock.clone()).unwrap();
        let rule = RouteId::named("/v1/rooms/{id}").unwrap();
        let rooms = Rooms {
            memory: 40 * 1024,
            max_entry: 16 * 1024,
            fill: 24 * 1024,
            proof_ttl: PROOF_TTL,
            rules: [(rule, Duration::from_secs(300))].into(),
            ..Rooms::wide()
        };
        let proxy = Arc::new(rooms.over(vault.clone(), clock.clone(), Some((disk, 3500))));
        let gate = proxy.gate.clone();
        Self { proxy, gate: tokio::spawn(async move { gate.run().await }), writer }
    }
}

impl World {
    fn new(seed: u64) -> Self {
        let clock = Clock::starting_at(UNIX_EPOCH + Duration::from_secs(1_700_000_000));
        let (vault, dir) = (Vault::default(), tempfile::tempdir().unwrap());
        let process = Some(Process::start(&vault, &clock, dir.path()));
        let dice = Dice((seed + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let (under_way, history, ways) = (JoinSet::new(), Vec::new(), BTreeMap::new());
        Self { vault, clock, dir, process, dice, under_way, history, ways }
    }

    fn proxy(&self) -> Arc<Proxy<Vault>> {
        Arc::clone(&self.process.as_ref().unwrap().proxy)
    }

    fn begin(&mut self, tenant: usize, what: What, manner: Manner, patience: Patience) {
        // A token that was replaced is tried again and again.
        let age = u32::from(self.dice.below(6) == 0);
        let asked = Asked { tenant, token: self.vault.token(tenant, age), what, began_at: Instant::now() };
        self.history.push(format!("{asked:?} {manner:?} {patience:?}"));
        let proxy = self.proxy();
        self.under_way.spawn(async move { (asked, ask(&proxy, &asked, manner, patience).await) });
    }

    async fn step(&mut self) {
        let (tenant, content) = (self.dice.below(TENANTS), self.dice.below(CONTENTS));
        match self.dice.below(100) {
            0..50 => self.ask_one(tenant, content).await,
            50..55 => self.crowd(content),
            55..63 => self.fault(),
            63..71 => {
                let time = self.dice.one(&[1, 5, 20, 59, 61]);
                self.note(format!("{time} s pass"));
                tokio::time::sleep(Duration::from_secs(time)).await;
            }
            71..75 => self.settle().await,
            75..81 => {
                let is_member = self.dice.below(2) == 0;
                self.note(format!("tenant {tenant} is a member of {content}: {is_member}"));
                self.vault.lets_in(tenant, content, is_member);
            }
            81..84 => {
                self.note(format!("tenant {tenant} sees the other form of {content}"));
                self.vault.turn(tenant, content);
            }
            84..86 => {
                self.note(format!("tenant {tenant} is revoked"));
                self.vault.revoke(tenant);
            }
            86..90 => {
                self.note(format!("tenant {tenant} has a new token"));
                self.vault.rotate(tenant);
            }
            90..93 => {
                let is_gone = self.dice.below(2) == 0;
                self.note(format!("{content} is gone: {is_gone}"));
                self.vault.lose(content, is_gone);
            }
            93..95 => {
                let what = What::Own(["0", "1", "2", "3"][content]);
                self.begin(tenant, what, Manner::Delete, Patience::Endless);
            }
            95..98 => self.purge(content),
            _ => self.restart().await,
        }
        if self.under_way.len() > 12 {
            self.settle().await;
        }
    }

    async fn ask_one(&mut self, tenant: usize, content: usize) {
        let own = What::Own(self.dice.one(&["/v1/people/me", "/v1/rooms/r"]));
        let plain = What::Content(content);
        let what = self.dice.one(&[plain, plain, plain, plain, plain, plain, What::Queried(content), own]);
        let manner = self.dice.one(&Manner::READS);
        let patience = match self.dice.below(12) {
            0 => Patience::Head(self.dice.seconds(3)),
            1 => Patience::Pieces(self.dice.below(4)),
            _ => Patience::Endless,
        };
        self.begin(tenant, what, manner, patience);
        match self.dice.below(3) {
            0 => {}
            1 => tokio::time::sleep(self.dice.seconds(2)).await,
            _ => self.settle().await,
        }
    }

    fn crowd(&mut self, content: usize) {
        for tenant in (0..TENANTS).chain(0..TENANTS) {
            self.begin(tenant, What::Content(content), Manner::Get, Patience::Endless);
        }
    }

    fn fault(&mut self) {
        let fault = match self.dice.below(12) {
            0..4 => Fault::Delay(self.dice.seconds(20)),
            4..7 => Fault::Drip(self.dice.seconds(5)),
            7 => Fault::Reset,
            8 => Fault::Truncate(self.dice.below(4)),
            _ => Fault::Status(self.dice.one(&[401, 403, 404, 410, 423, 428, 429, 500, 502, 503])),
        };
        self.note(format!("next: {fault:?}"));
        self.vault.fail_next(fault);
    }

    fn purge(&mut self, content: usize) {
        let id = vault::path(content).rsplit('/').next().unwrap().to_owned();
        let purge = match self.dice.below(3) {
            0 => Purge::All,
            1 => Purge::Prefix("/v1/contents/".to_owned()),
            _ => Purge::Content(id),
        };
        self.note(format!("{purge:?}"));
        self.proxy().cache.purge(&purge);
    }

    /// The process ends; the next one finds its files.
    async fn restart(&mut self) {
        self.settle().await;
        self.note("a restart".to_owned());
        let Process { proxy, gate, writer } = self.process.take().unwrap();
        gate.abort();
        drop(proxy);
        writer.close(Duration::from_secs(5));
        self.process = Some(Process::start(&self.vault, &self.clock, self.dir.path()));
    }

    fn note(&mut self, what: String) {
        self.history.push(what);
    }

    /// All who ask have an answer, and it is the right one.
    async fn settle(&mut self) {
        while let Some(done) = self.under_way.join_next().await {
            let (asked, told) = done.unwrap();
            let Some(told) = told else { continue };
            let verdict = judge(&asked, &told, (&self.vault.log(), &self.vault.refused()));
            let tail = &self.history[self.history.len().saturating_sub(40)..];
            assert!(verdict.is_ok(), "{verdict:?}\n{asked:?}\n{told:?}\n{}", tail.join("\n"));
            if matches!(asked.what, What::Content(_)) && matches!(told.status, 200 | 206 | 304) {
                let way =
                    told.field("cache-status").split("ttl").next().unwrap().trim_end_matches("; ").to_owned();
                *self.ways.entry(way).or_default() += 1;
            }
        }
    }
}

#[test]
fn no_byte_and_no_word_reaches_a_token_that_the_api_did_not_give_it_lately() {
    let steps = std::env::var("STEPS").ok().and_then(|steps| steps.parse().ok()).unwrap_or(STEPS);
    let seed = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(0);
    let mut ways = BTreeMap::new();
    for number in 0..steps.div_ceil(PER_WORLD) {
        let seed = seed + u64::try_from(number).unwrap();
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        let of_world = runtime.block_on(async {
            let mut world = World::new(seed);
            world.note(format!("SEED={seed}"));
            for _ in 0..PER_WORLD {
                world.step().await;
            }
            world.settle().await;
            world.ways
        });
        for (way, count) in of_world {
            *ways.entry(way).or_insert(0) += count;
        }
    }
    for way in [
        "Tollgate; hit",
        "Tollgate; fwd=stale; fwd-status=200; detail=proved",
        "Tollgate; fwd=uri-miss; collapsed",
    ] {
        assert!(ways.get(way).is_some_and(|count| *count > 0), "{way} never happened: {ways:?}");
    }
}
