//! Decides how long a `Retry-After` asks us to wait.

use std::time::{Duration, SystemTime};

use http::{HeaderMap, header};

use super::field::{MAX_VALUE_BYTES, date, lines, seconds, sent_at, split};

/// How long the API asks us to wait.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Wait {
    /// A `Retry-After` was there and cannot be read.
    Malformed,
    /// No `Retry-After` at all.
    Missing,
    /// The stated time, not yet clamped.
    Stated(Duration),
}

/// Reads `Retry-After` in every form that Webex and its gateways send (GATE 4). The largest valid value wins.
///
/// Accepts delta-seconds, decimals, an HTTP-date (against the answer's own `Date`, else `now`), duplicates, lists,
/// and `rand(30),add(30)`, which Webex really sends: read as the longest wait it can mean, 60 s.
pub fn retry_after(headers: &HeaderMap, now: SystemTime) -> Wait {
    if !headers.contains_key(header::RETRY_AFTER) {
        return Wait::Missing;
    }
    let sent_at = sent_at(headers, now);
    let mut wait = Wait::Missing;
    for line in lines(headers, header::RETRY_AFTER.as_str(), MAX_VALUE_BYTES) {
        let read = line.and_then(|text| one_line(text, sent_at));
        wait = match (wait, read) {
            (Wait::Stated(old), Some(new)) => Wait::Stated(old.max(new)),
            (_, Some(new)) => Wait::Stated(new),
            (Wait::Stated(old), None) => Wait::Stated(old),
            (_, None) => Wait::Malformed,
        };
    }
    wait
}

/// The largest of the members; calls count together, and only if each of them can be read.
fn one_line(text: &str, sent_at: SystemTime) -> Option<Duration> {
    let until = |at: SystemTime| at.duration_since(sent_at).unwrap_or_default();
    if let Some(at) = date(text) {
        return Some(until(at));
    }
    let is_call = |member: &&str| member.contains('(');
    let calls = split(text, ',').filter(is_call).map(call);
    let called = calls.reduce(|sum, term| Some(sum?.saturating_add(term?))).flatten();
    // A proxy that joins duplicates puts dates into the list, and most dates have a comma of their own.
    let parts = split(text, ',').zip(split(text, ',').skip(1));
    let dates = parts.filter_map(|(weekday, rest)| date(&format!("{weekday}, {rest}"))).map(until);
    let plain = split(text, ',').filter_map(seconds);
    called.into_iter().chain(dates).chain(plain).max()
}

/// `rand(30)` or `add(30)`: at most, or exactly, that many seconds.
fn call(term: &str) -> Option<Duration> {
    let (name, rest) = term.split_once('(')?;
    matches!(name.trim(), "rand" | "add").then(|| seconds(rest.strip_suffix(')')?.trim())).flatten()
}
