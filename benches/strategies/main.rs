//! The gate against other strategies and its own figures, in virtual time (GATE 1 and 9).
//!
//! `cargo bench --bench strategies -- table`. Each word is one figure; without any, all of them.
#![allow(
    clippy::as_conversions,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a measuring command: it prints, and stops where its own arithmetic is wrong"
)]

mod aatb;
mod clients;
mod dice;
mod figures;
mod limiter;
mod ours;
mod paced;
mod speed;
mod table;
mod world;

const USAGE: &str = "strategies [FIGURE [NUMBER]]
  table [WIDTH]    9.1: every strategy and limit; WIDTH requests of a bot under way at once, 1
  ours [SEEDS]     9.1: ours over many seeds, 10
  trace [NUMBER]   9.1: ours after each 429, for combination 0 to 11
  steady [COUNT]   9.2: refusals seen at 0.95x, 1,000,000 requests
  fair             9.3: light tenants beside heavy ones
  order [COUNT]    9.4: order of writes, 1,000,000
  speed [GRANTS]   9.5: time and bytes of the core, 200,000
  honest           9.6: whether our Retry-After holds
  shift            9.9: a limit that halves or doubles";

fn main() {
    // Cargo adds `--bench`.
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let number = |default: usize| arguments.get(1).and_then(|text| text.parse().ok()).unwrap_or(default);
    match arguments.first().map(String::as_str) {
        None => {
            // Memory first: see there.
            for figure in ["speed", "table", "ours", "steady", "fair", "order", "honest", "shift"] {
                run(figure, &|default| default);
            }
        }
        Some(figure) => run(figure, &number),
    }
}

fn run(figure: &str, number: &dyn Fn(usize) -> usize) {
    match figure {
        "table" => table::print(number(1)),
        "ours" => table::print_ours(1, number(10) as u64),
        "trace" => table::trace(number(0).min(11), 1),
        "steady" => figures::steady(number(1_000_000)),
        "fair" => figures::fair(),
        "order" => figures::order(number(1_000_000)),
        "speed" => {
            speed::memory();
            speed::tokens();
            speed::speed(number(200_000));
        }
        "honest" => figures::honest(),
        "shift" => figures::shift(),
        _ => println!("{USAGE}"),
    }
}
