//! One Tollgate before one upstream, and the cases that they go through.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::Method;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::bots::{Bots, Told, What};
use super::oracle::{Company, is_ours, judge};
use super::process::{Footprint, Tollgate, Waiting, sum};
use super::table::{Case, End, Fault, Stage, Version, faults};
use super::upstream::{DROP, Upstream};

/// A Tollgate, its upstream and its clients.
pub(super) struct Lane {
    pub(super) upstream: Upstream,
    pub(super) tollgate: Tollgate,
    pub(super) bots: Bots,
    before: Footprint,
    last: Mutex<String>,
}

/// Which Tollgate a case goes to.
pub(super) const GROUPS: [(Version, Waiting); 4] = [
    (Version::H1, Waiting::Spool),
    (Version::H2, Waiting::Spool),
    (Version::H1, Waiting::Stream),
    (Version::H2, Waiting::Stream),
];

/// The case of a number, and where it goes.
pub(super) fn case(seed: u64, number: u64, company: Company) -> (usize, Case) {
    let group = usize::try_from(number % 4).unwrap();
    let mut faults = faults(GROUPS[group].0);
    if company != Company::Alone {
        // Whoever meets them at the door is not known.
        faults.retain(|fault| !matches!(fault, Fault::Door(_)));
    }
    if company == Company::Leaving && GROUPS[group].0 == Version::H2 {
        // Nor whose answer a connection takes with it.
        faults.retain(|fault| !is_everybodys(*fault));
    }
    let fault = faults[usize::try_from(number / 4).unwrap() % faults.len()];
    (group, Case::drawn(seed, number, fault))
}

/// What was seen, for the record.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) cases: u64,
    pub(super) attempts: usize,
    pub(super) effects: usize,
    pub(super) slowest: Duration,
    /// How clients were answered.
    pub(super) told: BTreeMap<String, u64>,
    /// Faults after which a plain request had to be sent again.
    pub(super) again: BTreeMap<String, u64>,
    /// Answers too late on a busy machine, and right the second time.
    pub(super) late: u64,
    /// Everything that is wrong.
    pub(super) wrong: Vec<String>,
}

impl Tally {
    fn note(&mut self, told: &[Told]) {
        for told in told {
            self.slowest = self.slowest.max(told.took);
            let word = match &told.what {
                What::Answer { status, headers, body: Ok(_) } if is_ours(headers) => format!("ours {status}"),
                What::Answer { status, body: Ok(_), .. } => format!("theirs {status}"),
                What::Answer { status, .. } => format!("theirs {status}, broken off"),
                What::Failed(_) => "connection failed".to_owned(),
                What::Hung => "hung".to_owned(),
            };
            *self.told.entry(word).or_default() += 1;
        }
    }
}

impl Lane {
    pub(super) async fn start((version, waiting): (Version, Waiting)) -> Self {
        let upstream = Upstream::start(version);
        let tollgate = Tollgate::start(&upstream, waiting).await;
        let bots = Bots::new(&tollgate);
        let before = tollgate.footprint();
        Self { upstream, tollgate, bots, before, last: Mutex::default() }
    }

    /// A case by itself: its fault, the same again, something plain.
    pub(super) async fn alone(&self, case: &Case, tally: &Mutex<Tally>) {
        let mut wrong = self.meet(case, tally).await;
        if !wrong.is_empty() && wrong.iter().all(|wrong| is_late(case, wrong)) {
            // Another id, so that nothing of the first time counts.
            let retry = Case { id: case.id + 2, ..case.clone() };
            wrong = self.meet(&retry, tally).await;
            tally.lock().unwrap().late += 1;
        }
        if is_everybodys(case.fault) && !matches!(case.fault, Fault::Break(_, End::Freeze)) {
            // The connection dies after its last exchange: not in the middle of the next case.
            sleep(DROP * 2).await;
        }
        let number = case.id / 4;
        self.last.lock().unwrap().clone_from(&shown(case));
        let method = if number.is_multiple_of(8) { Method::POST } else { Method::GET };
        let plain = Case::plain(case.id + 1, method, case.client);
        wrong.extend(self.until_right(&plain, case.fault, tally).await);
        let mut tally = tally.lock().unwrap();
        tally.cases += 1;
        tally.wrong.extend(wrong.iter().map(|wrong| format!("CASE={number} {wrong}: {}", shown(case))));
    }

    async fn meet(&self, case: &Case, tally: &Mutex<Tally>) -> Vec<String> {
        let book = &self.upstream.book;
        book.open(case);
        if let Fault::Door(door) = case.fault {
            self.upstream.hang_up();
            let gone = async {
                while self.tollgate.gauge("tollgate_upstream_connections").await > 0.0 {
                    sleep(TICK).await;
                }
            };
            if timeout(LIMIT, gone).await.is_err() {
                return vec!["connections stay although they were closed".to_owned()];
            }
            self.upstream.bar(door, case.times).await;
        }
        let told = self.ask(case).await;
        self.upstream.unbar();
        tally.lock().unwrap().note(&told);
        let mut wrong = judge(case, &told, &book.attempts(case.id), Company::Alone);
        if case.method == Method::GET && wrong.is_empty() {
            book.heal(case.id);
            let healed = Case { fault: Fault::None, times: 0, at_once: 1, ..case.clone() };
            wrong.extend(self.again(&healed, case, tally).await);
        }
        let entry = book.close(case.id);
        let mut tally = tally.lock().unwrap();
        tally.attempts += entry.attempts.len();
        tally.effects += entry.attempts.iter().filter(|attempt| attempt.is_applied).count();
        if !wrong.is_empty() {
            wrong.push(format!("the upstream saw {:?}", entry.attempts));
        }
        wrong
    }

    async fn ask(&self, case: &Case) -> Vec<Told> {
        let mut asking = JoinSet::new();
        for _ in 0..case.at_once {
            let (bots, case) = (self.bots.clone(), case.clone());
            asking.spawn(async move { bots.ask(&case, LIMIT + transfer(&case)).await });
        }
        asking.join_all().await
    }

    /// The same request once the upstream is well again: right, and not a remnant of what broke.
    async fn again(&self, healed: &Case, case: &Case, tally: &Mutex<Tally>) -> Vec<String> {
        self.tries(healed, case.fault, tally)
            .await
            .into_iter()
            .map(|wrong| format!("again: {wrong}"))
            .collect()
    }

    async fn until_right(&self, plain: &Case, fault: Fault, tally: &Mutex<Tally>) -> Vec<String> {
        self.upstream.book.open(plain);
        let wrong = self.tries(plain, fault, tally).await;
        self.upstream.book.close(plain.id);
        wrong.into_iter().map(|wrong| format!("a plain {} after it: {wrong}", plain.method)).collect()
    }

    /// A connection that the upstream closes may be chosen before the news of it arrives; not three times.
    async fn tries(&self, case: &Case, fault: Fault, tally: &Mutex<Tally>) -> Vec<String> {
        let mut wrong = Vec::new();
        for _ in 0..TRIES {
            let told = self.bots.ask(case, LIMIT).await;
            wrong = judge(case, &[told], &self.upstream.book.attempts(case.id), Company::Alone);
            if wrong.is_empty() {
                return wrong;
            }
            *tally.lock().unwrap().again.entry(format!("{fault:?}: {}", wrong.join("; "))).or_default() += 1;
            if case.is_write()
                && self.upstream.book.attempts(case.id).iter().any(|attempt| attempt.is_applied)
            {
                // It was done, and nobody could say so: that is right for a write.
                return Vec::new();
            }
        }
        wrong
    }

    /// A case among others.
    pub(super) async fn among(&self, case: &Case, company: Company, tally: &Mutex<Tally>) {
        let book = &self.upstream.book;
        book.open(case);
        let told = self.ask(case).await;
        let entry = book.close(case.id);
        let wrong = judge(case, &told, &entry.attempts, company);
        let mut tally = tally.lock().unwrap();
        tally.note(&told);
        tally.cases += 1;
        tally.attempts += entry.attempts.len();
        tally.effects += entry.attempts.iter().filter(|attempt| attempt.is_applied).count();
        let told: Vec<_> = told.iter().map(|told| short(&told.what)).collect();
        tally.wrong.extend(wrong.iter().map(|wrong| {
            format!("CASE={} {wrong}: {} told {told:?}; saw {:?}", case.id / 4, shown(case), entry.attempts)
        }));
    }

    /// Everything comes back to where it was.
    pub(super) async fn settle(self, tally: &Arc<Mutex<Tally>>) -> Footprint {
        let Self { upstream, mut tollgate, bots, before, last } = self;
        drop(bots);
        let mut left = Vec::new();
        for _ in 0..500 {
            let metrics = tollgate.metrics().await;
            let held = GAUGES.iter().map(|name| (*name, sum(&metrics, name)));
            left = held.filter(|(_, value)| *value > 0.0).collect();
            if left.is_empty() {
                break;
            }
            sleep(TICK * 10).await;
        }
        let after = tollgate.footprint();
        let mut tally = tally.lock().unwrap();
        if !left.is_empty() {
            tally.wrong.push(format!("still held at the end: {left:?} after {}", last.lock().unwrap()));
        }
        if after.descriptors > before.descriptors + 8 {
            tally.wrong.push(format!("descriptors: {} to {}", before.descriptors, after.descriptors));
        }
        if after.resident_kib > before.resident_kib + 96 * 1024 {
            tally.wrong.push(format!("memory: {} to {} KiB", before.resident_kib, after.resident_kib));
        }
        if !tollgate.is_alive() || tollgate.log().contains("panicked") {
            tally.wrong.push(format!("it died or panicked: {}", tollgate.log()));
        }
        drop(upstream);
        Footprint {
            descriptors: after.descriptors.saturating_sub(before.descriptors),
            resident_kib: after.resident_kib.saturating_sub(before.resident_kib),
        }
    }
}

/// Whether it ends the whole connection.
fn is_everybodys(fault: Fault) -> bool {
    let ends = |end| matches!(end, End::Cut | End::CutFrame | End::Reset | End::Freeze);
    matches!(fault, Fault::GoAway(_)) || matches!(fault, Fault::Break(_, end) if ends(end))
}

/// What the body itself may take: its sender's time, not Tollgate's, and 150 kB/s are little even among 128 others.
fn transfer(case: &Case) -> Duration {
    Duration::from_secs(u64::try_from(case.body.len() / 150_000).unwrap())
}

/// Whether a busy machine may be the reason: an answer in time was too late, or a connection ended before it was flushed.
fn is_late(case: &Case, wrong: &str) -> bool {
    let is_timed = matches!(case.fault, Fault::Drip | Fault::Break(Stage::Answered, End::Cut));
    wrong.starts_with("the upstream saw")
        || (wrong.starts_with("Served") && wrong.contains("Tollgate says 504"))
        || (wrong.starts_with("Served") && wrong.contains("told 200 with Err") && is_timed)
}

fn short(what: &What) -> String {
    match what {
        What::Answer { status, body, .. } => match body {
            Ok(bytes) => format!("{status}, {} bytes {:?}", bytes.len(), &bytes[..bytes.len().min(200)]),
            Err(error) => format!("{status}, {error}"),
        },
        other => format!("{other:?}"),
    }
}

fn shown(case: &Case) -> String {
    format!(
        "{:?} x{} {} {:?} {} bytes (announced {}), {} at once, client {:?}, {:?} of {} bytes, may be kept {}",
        case.fault,
        case.times,
        case.method,
        case.kind,
        case.body.len(),
        case.is_announced,
        case.at_once,
        case.client,
        case.framing,
        case.answer_bytes,
        case.is_fresh
    )
}

const GAUGES: [&str; 6] = [
    "tollgate_requests_in_flight",
    "tollgate_queue_depth",
    "tollgate_connections",
    "tollgate_upstream_connections",
    "tollgate_spool_bytes",
    "tollgate_panics_total",
];
const TICK: Duration = Duration::from_millis(2);
const TRIES: usize = 3;
/// Three attempts of at most 1.7 s (connection 0.5 + 0.5, head or body 0.6), two pauses of at most 0.4 s and three
/// seconds in line make 9 s; the rest is for the machine.
const LIMIT: Duration = Duration::from_secs(15);
