//! The gate against other strategies, in virtual time: `cargo bench --bench strategies -- table` (GATE 1 and 9).
//!
//! Figures: `table`, `ours`, `trace`.
#![allow(
    clippy::as_conversions,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a measuring command: it prints, and stops where its own arithmetic is wrong"
)]

mod clients;
mod dice;
mod limiter;
mod ours;
mod paced;
mod table;
mod world;

fn main() {
    // Cargo adds `--bench`.
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let figure = arguments.first().map_or("table", String::as_str);
    let number = |default| arguments.get(1).and_then(|text| text.parse().ok()).unwrap_or(default);
    match figure {
        "table" => table::print(number(1) as usize),
        "trace" => table::trace(number(0) as usize, 1),
        "ours" => table::print_ours(1, number(10)),
        _ => println!("figures: table [width], ours [seeds], trace [number of the combination]"),
    }
}
