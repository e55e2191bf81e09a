//! Whatever an upstream writes into its rate-limit headers, reading it returns, twice the same, and the time it states
//! can be waited for.
//!
//! Input: one header per line, its name as the index of `NAMES` in the line's first byte, counted from `A`.

use std::time::{Duration, SystemTime};

use http::{HeaderMap, HeaderValue, StatusCode};
use tollgate::gate::{Signal, retry_after};

/// Panics where the property does not hold.
pub fn holds(input: &[u8]) {
    let mut headers = HeaderMap::new();
    for line in input.split(|byte| *byte == b'\n') {
        let Some((name, value)) = line.split_first() else { continue };
        let name = NAMES[usize::from(name.wrapping_sub(b'A')) % NAMES.len()];
        if let Ok(value) = HeaderValue::from_bytes(value) {
            headers.append(name, value);
        }
    }
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_176_000);
    for status in [StatusCode::OK, StatusCode::TOO_MANY_REQUESTS, StatusCode::SERVICE_UNAVAILABLE] {
        let signal = Signal::read(status, &headers, now);
        assert_eq!(signal, Signal::read(status, &headers, now), "reading is pure");
    }
    retry_after(&headers, SystemTime::UNIX_EPOCH);
}

const NAMES: [&str; 16] = [
    "retry-after",
    "date",
    "x-ratelimit-limit",
    "x-ratelimit-remaining",
    "x-ratelimit-reset",
    "x-ratelimit-reset-after",
    "x-ratelimit-scope",
    "x-rate-limit-limit",
    "x-rate-limit-remaining",
    "x-rate-limit-reset",
    "ratelimit-limit",
    "ratelimit-remaining",
    "ratelimit-reset",
    "ratelimit",
    "ratelimit-policy",
    "ratelimit-scope",
];
