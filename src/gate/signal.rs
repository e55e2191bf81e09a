//! Decides what an answer says about the limit: throttled and for how long, or not.

use std::time::{Duration, SystemTime};

use http::{HeaderMap, StatusCode, header};

/// Longer values say nothing that a limit could mean; cut before any parsing (SECURITY 3).
const MAX_VALUE_BYTES: usize = 128;

/// What an answer told the gate.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Signal {
    /// The API took the request, whatever it made of it.
    Accepted,
    /// The API refused to process the request for now (429, or 503 with Retry-After).
    Throttled(Wait),
}

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

impl Signal {
    /// Reads status and `Retry-After`; `now` is wall time, used when a date stands there without a `Date` beside it.
    pub fn read(status: StatusCode, headers: &HeaderMap, now: SystemTime) -> Self {
        let wait = retry_after(headers, now);
        match (status, wait) {
            (StatusCode::TOO_MANY_REQUESTS, wait) => Self::Throttled(wait),
            (StatusCode::SERVICE_UNAVAILABLE, Wait::Stated(_)) => Self::Throttled(wait),
            _ => Self::Accepted,
        }
    }
}

/// Reads `Retry-After` in every form that Webex and its gateways send (GATE 4). The largest valid value wins.
///
/// Accepts delta-seconds, decimals, an HTTP-date (against the answer's own `Date`), duplicates, lists, and
/// `rand(30),add(30)`, which Webex really sends: read as the longest wait it can mean, 60 s.
pub fn retry_after(headers: &HeaderMap, now: SystemTime) -> Wait {
    let sent_at = headers.get(header::DATE).and_then(|date| date.to_str().ok()).and_then(date);
    let mut wait = Wait::Missing;
    for value in headers.get_all(header::RETRY_AFTER) {
        let text = value.to_str().ok().filter(|text| text.len() <= MAX_VALUE_BYTES).map(str::trim);
        let read = text.and_then(|text| one_value(text, sent_at.unwrap_or(now)));
        wait = match (wait, read) {
            (Wait::Stated(old), Some(new)) => Wait::Stated(old.max(new)),
            (_, Some(new)) => Wait::Stated(new),
            (Wait::Stated(old), None) => Wait::Stated(old),
            (_, None) => Wait::Malformed,
        };
    }
    wait
}

fn one_value(text: &str, sent_at: SystemTime) -> Option<Duration> {
    if let Some(at) = date(text) {
        return Some(at.duration_since(sent_at).unwrap_or_default());
    }
    if text.contains('(') {
        let terms: Option<Vec<Duration>> = text.split(',').map(|term| call(term.trim())).collect();
        return terms.map(|terms| terms.into_iter().fold(Duration::ZERO, Duration::saturating_add));
    }
    text.split(',').filter_map(|member| seconds(member.trim())).max()
}

/// `rand(30)` or `add(30)`: at most, or exactly, that many seconds.
fn call(term: &str) -> Option<Duration> {
    let (name, rest) = term.split_once('(')?;
    matches!(name.trim(), "rand" | "add").then(|| seconds(rest.strip_suffix(')')?.trim())).flatten()
}

/// Digits with an optional fraction and an optional trailing `s`; saturates, so that no value is too large to be honoured.
fn seconds(text: &str) -> Option<Duration> {
    let text = text.strip_suffix(['s', 'S']).map_or(text, str::trim_end);
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let is_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !is_digits(whole) || !is_digits(fraction) {
        return None;
    }
    let whole = whole.parse().unwrap_or(u64::MAX);
    let fraction: f64 = format!("0.{fraction}0").parse().unwrap_or_default();
    Some(Duration::from_secs(whole).saturating_add(Duration::from_secs_f64(fraction)))
}

fn date(text: &str) -> Option<SystemTime> {
    text.contains(':').then(|| httpdate::parse_http_date(text).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(values: &[&str]) -> Wait {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(header::RETRY_AFTER, value.parse().unwrap());
        }
        headers.insert(header::DATE, "Fri, 20 Nov 2026 12:00:00 GMT".parse().unwrap());
        retry_after(&headers, SystemTime::UNIX_EPOCH)
    }

    #[test]
    fn every_form_that_was_seen_is_read() {
        let stated = |millis: u64| Wait::Stated(Duration::from_millis(millis));
        for (values, expected) in [
            (&["194"][..], stated(194_000)),
            (&["0"], stated(0)),
            (&["1.5"], stated(1_500)),
            (&[" 3600 "], stated(3_600_000)),
            (&["rand(30),add(30)"], stated(60_000)),
            (&["5, 7, x"], stated(7_000)),
            (&["5", "9"], stated(9_000)),
            (&["5", "soon"], stated(5_000)),
            (&["30s"], stated(30_000)),
            (&["Fri, 20 Nov 2026 12:00:25 GMT"], stated(25_000)),
            (&["Fri, 20 Nov 2026 11:00:00 GMT"], stated(0)),
            (&["18446744073709551616"], Wait::Stated(Duration::from_secs(u64::MAX))),
            (&[], Wait::Missing),
            (&["soon"], Wait::Malformed),
            (&["-5"], Wait::Malformed),
            (&["+5"], Wait::Malformed),
            (&[""], Wait::Malformed),
            (&["1e20"], Wait::Malformed),
            (&["exec(5)"], Wait::Malformed),
        ] {
            assert_eq!(read(values), expected, "{values:?}");
        }
    }

    #[test]
    fn only_a_429_or_a_503_with_a_stated_time_throttles() {
        let mut stated = HeaderMap::new();
        stated.insert(header::RETRY_AFTER, "4".parse().unwrap());
        let read = |status, headers: &HeaderMap| Signal::read(status, headers, SystemTime::UNIX_EPOCH);
        let four = Signal::Throttled(Wait::Stated(Duration::from_secs(4)));
        assert_eq!(read(StatusCode::TOO_MANY_REQUESTS, &stated), four);
        assert_eq!(read(StatusCode::TOO_MANY_REQUESTS, &HeaderMap::new()), Signal::Throttled(Wait::Missing));
        assert_eq!(read(StatusCode::SERVICE_UNAVAILABLE, &stated), four);
        assert_eq!(read(StatusCode::SERVICE_UNAVAILABLE, &HeaderMap::new()), Signal::Accepted);
        assert_eq!(read(StatusCode::LOCKED, &stated), Signal::Accepted);
    }

    proptest::proptest! {
        #[test]
        fn no_value_panics(value in "\\PC{0,200}") {
            if let Ok(value) = http::HeaderValue::from_str(&value) {
                let mut headers = HeaderMap::new();
                headers.insert(header::RETRY_AFTER, value);
                retry_after(&headers, SystemTime::UNIX_EPOCH);
            }
        }
    }
}
