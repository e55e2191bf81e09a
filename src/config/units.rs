//! Decides how durations and sizes are written: a whole number and a unit.

use std::time::Duration;

use super::fault::quote_short;

/// Reads `"25s"`. Units: ms, s, m, h.
///
/// # Errors
/// What is wrong with the text, fit to be shown behind the key.
pub fn duration(text: &str) -> Result<Duration, String> {
    scaled(text, &TIMES, "s").map(Duration::from_millis)
}

/// Reads `"64MiB"` as bytes. Units: B, kB or KB, MB, GB (powers of 1,000), KiB, MiB, GiB (powers of 1,024).
///
/// # Errors
/// What is wrong with the text, fit to be shown behind the key.
pub fn size(text: &str) -> Result<u64, String> {
    scaled(text, &SIZES, "MiB")
}

/// Writes a duration in the largest unit that keeps it whole; below a millisecond it is cut.
pub fn show_duration(duration: Duration) -> String {
    let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    if millis == 0 { "0s".to_owned() } else { show(millis, &TIMES) }
}

/// Writes bytes in the largest unit that keeps them whole.
pub fn show_size(bytes: u64) -> String {
    if bytes == 0 { "0B".to_owned() } else { show(bytes, &SIZES) }
}

fn scaled(text: &str, units: &[(&str, u64)], usual: &str) -> Result<u64, String> {
    let end = text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = text.split_at(end);
    let quoted = quote_short(text);
    if digits.is_empty() {
        return Err(format!("{quoted} does not begin with a whole number"));
    }
    if unit.is_empty() {
        return Err(format!("{quoted} has no unit: write {}", quote_short(&format!("{text}{usual}"))));
    }
    let Some((_, scale)) = units.iter().find(|(name, _)| *name == unit) else {
        let names: Vec<_> = units.iter().map(|(name, _)| *name).collect();
        return Err(format!("{quoted} has an unknown unit {}: use {}", quote_short(unit), names.join(", ")));
    };
    let number = digits.parse::<u64>().ok().and_then(|number| number.checked_mul(*scale));
    number.ok_or_else(|| format!("{quoted} is too large"))
}

fn show(number: u64, units: &[(&str, u64)]) -> String {
    let whole = units.iter().filter(|(_, scale)| number.is_multiple_of(*scale));
    match whole.max_by_key(|(_, scale)| *scale) {
        Some((name, scale)) => format!("{}{name}", number.checked_div(*scale).unwrap_or(number)),
        None => number.to_string(),
    }
}

const TIMES: [(&str, u64); 4] = [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000)];

const SIZES: [(&str, u64); 8] = [
    ("B", 1),
    ("KB", 1_000),
    ("kB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
];
