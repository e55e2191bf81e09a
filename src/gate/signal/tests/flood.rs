//! Values by the million, mostly almost right. `FUZZED_VALUES=10000000 cargo test --lib -- --nocapture
//! every_fuzzed_value` gives figure 7 of GATE 9 for the parsers.

use std::time::{Duration, SystemTime};

use http::{HeaderMap, HeaderValue, StatusCode};
use tokio::time::Instant;

use super::super::{Signal, Wait, retry_after};

pub(super) const NAMES: [&str; 16] = [
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

const FRAGMENTS: [&str; 40] = [
    "0",
    "1",
    "5",
    "60",
    "3600",
    "18446744073709551615",
    "9223372036854775807",
    "1795176030",
    "1795176030500",
    "99999999",
    ".",
    ",",
    ";",
    "=",
    "-",
    "+",
    " ",
    "\"",
    "\\",
    "(",
    ")",
    ":",
    "e",
    "s",
    "rand(30)",
    "add(30)",
    "NaN",
    "inf",
    "\t",
    "limit=",
    "remaining=",
    "reset=",
    "\"burst\";r=",
    ";t=",
    ";w=",
    ";q=",
    ";pk=:cHs=:",
    "Fri, 20 Nov 2026 12:00:25 GMT",
    "Friday, 20-Nov-26 12:00:25 GMT",
    "user",
];

/// Reads all that can be read, and asks of the result what the gate relies on.
pub(super) fn check(headers: &HeaderMap, now: SystemTime) {
    let throttled = Signal::read(StatusCode::TOO_MANY_REQUESTS, headers, now);
    let Signal::Throttled { wait, hints, .. } = throttled else {
        panic!("a 429 throttles, whatever it says")
    };
    if let (Wait::Stated(stated), read) = (wait, retry_after(headers, now)) {
        let is_own = read == Wait::Stated(stated);
        assert!(is_own || hints.reset_in == Some(stated), "a wait is stated somewhere: {headers:?}");
    }
    assert_ne!(hints.window, Some(Duration::ZERO), "nobody divides by a window of nothing: {headers:?}");
    let accepted = Signal::read(StatusCode::OK, headers, now);
    assert_eq!(accepted, Signal::Accepted(hints), "the status changes nothing in the hints: {headers:?}");
}

/// Xorshift: the same values in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).unwrap() % end
    }

    fn value(&mut self) -> Vec<u8> {
        let mut value = Vec::new();
        for _ in 0..self.below(7) {
            match self.below(12) {
                0 => value.push(u8::try_from(self.below(256)).unwrap()),
                1 => value.extend(self.0.to_string().bytes()),
                _ => value.extend(FRAGMENTS[self.below(FRAGMENTS.len())].bytes()),
            }
        }
        value
    }
}

#[test]
fn every_fuzzed_value_is_read_without_harm() {
    // Taken when the test is built: nothing below config/ reads the environment.
    let wanted = option_env!("FUZZED_VALUES").map_or(200_000, |text| text.parse().unwrap());
    let (mut random, started_at) = (Random(0x9e37_79b9_7f4a_7c15), Instant::now());
    let (mut values, mut stated) = (0_u64, 0_u64);
    while values < wanted {
        let mut headers = HeaderMap::new();
        // Half of the values are a Retry-After, alone as often as beside others.
        for nth in 0..=random.below(4) {
            let name = if nth == 0 || random.below(4) == 0 { 0 } else { random.below(NAMES.len()) };
            if let Ok(value) = HeaderValue::from_bytes(&random.value()) {
                headers.append(NAMES[name], value);
                values += 1;
            }
        }
        check(&headers, super::now());
        stated += u64::from(matches!(retry_after(&headers, super::now()), Wait::Stated(_)));
    }
    assert!(stated * 10 > wanted / 3, "enough of them are read at all: {stated} of {values}");
    eprintln!("{values} fuzzed values in {:.1?}; {stated} answers stated a wait", started_at.elapsed());
}
