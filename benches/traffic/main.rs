//! What the cache saves 25 bots: an hour of made-up traffic through the library, in virtual time.
//!
//! `cargo bench --bench traffic`, or `-- MINUTES`. `--profile dev` is quick enough.
#![allow(
    clippy::as_conversions,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::unwrap_used,
    missing_docs,
    reason = "a measuring command: it prints, and stops where its own arithmetic is wrong"
)]

use std::time::Duration;

use tokio::runtime::Builder;
use tollgate::cache::Mode;

#[path = "../strategies/dice.rs"]
mod dice;
mod plan;
mod replay;
#[path = "../../tests/it/rooms.rs"]
mod rooms;
mod webex;

use plan::Plan;
use replay::{Figures, replay};
use rooms::Rooms;

const MIB: u64 = 1024 * 1024;

fn main() {
    // Cargo adds `--bench`.
    let minutes = std::env::args().skip(1).find_map(|argument| argument.parse().ok()).unwrap_or(60);
    let plan = Plan::new(Duration::from_secs(60 * minutes), 1);
    println!("{minutes} min: {plan}");
    println!();
    println!(
        "{:34} {:>8} {:>8} {:>8} {:>7} {:>9} {:>7} {:>6} {:>8} {:>8} {:>9} {:>8}",
        "contents, for these settings",
        "calls",
        "GET",
        "HEAD",
        "saved",
        "MB",
        "saved",
        "hits",
        "proved",
        "proofs",
        "coalesced",
        "evicted"
    );
    let off = measure(&plan, &Rooms { cache: Mode::Off, ..shipped() });
    print("cache off", &off, &off);
    let on = measure(&plan, &shipped());
    print("cache on (1 min, 256 MiB)", &on, &off);
    for (name, seconds) in [("0: always asked", 0), ("10 s", 10), ("5 min", 300), ("1 h", 3600)] {
        let rooms = Rooms { proof_ttl: Duration::from_secs(seconds), ..shipped() };
        print(&format!("proof_ttl {name}"), &measure(&plan, &rooms), &off);
    }
    for memory in [16, 64, 1024] {
        let rooms = Rooms { memory: memory * MIB, max_entry: (memory * MIB / 2).min(128 * MIB), ..shipped() };
        print(&format!("memory {memory} MiB"), &measure(&plan, &rooms), &off);
    }
    println!();
    println!("all else (polls of messages, people/me), which the API lets nobody keep:");
    println!(
        "  cache off {} calls, on {} calls, of them coalesced {}",
        off.others, on.others, on.others_coalesced
    );
}

/// The defaults of `config/tollgate.toml`, and a gate that holds nobody up.
fn shipped() -> Rooms {
    Rooms {
        start_rate: 1_000_000.0,
        burst: 1_000_000,
        memory: 256 * MIB,
        max_entry: 128 * MIB,
        fill: 128 * MIB,
        ..Rooms::wide()
    }
}

/// One run in a world of its own; its time passes when everybody waits.
fn measure(plan: &Plan, rooms: &Rooms) -> Figures {
    let runtime = Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(replay(plan, rooms))
}

fn print(name: &str, run: &Figures, off: &Figures) {
    let share = |part: u64, whole: u64| 100.0 * part as f64 / whole.max(1) as f64;
    let saved = |now: u64, before: u64| format!("{:.1}%", share(before.saturating_sub(now), before));
    println!(
        "{name:34} {:>8} {:>8} {:>8} {:>7} {:>9.0} {:>7} {:>5.1}% {:>7.1}% {:>8} {:>9} {:>8}",
        run.calls(),
        run.gets,
        run.heads,
        saved(run.calls(), off.calls()),
        run.bytes as f64 / 1e6,
        saved(run.bytes, off.bytes),
        share(run.hits, run.asked),
        share(run.proved, run.asked),
        run.proofs,
        run.coalesced,
        run.evicted
    );
}
