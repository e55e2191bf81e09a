//! Holds each form in which answers speak of limits, one table for each.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use proptest::prelude::*;

use super::*;

mod flood;

/// Fri, 20 Nov 2026 12:00:00 GMT.
const NOW: u64 = 1_795_176_000;

fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(NOW)
}

fn headers(lines: &[(&str, &str)]) -> HeaderMap {
    let line = |(name, value): &(&str, &str)| (name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
    let mut headers = HeaderMap::new();
    lines.iter().map(line).for_each(|(name, value): (_, HeaderValue)| {
        headers.append(name, value);
    });
    headers
}

fn hints(lines: &[(&str, &str)]) -> Hints {
    Hints::read(&headers(lines), now())
}

/// What is expected of limit, remaining, reset in milliseconds and window in seconds.
fn told(limit: Option<u32>, remaining: Option<u32>, reset_ms: Option<u64>, window: Option<u64>) -> Hints {
    let (reset_in, window) = (reset_ms.map(Duration::from_millis), window.map(Duration::from_secs));
    Hints { limit, remaining, reset_in, window, partition: None }
}

fn check(table: &[(&[(&str, &str)], Hints)]) {
    for (lines, expected) in table {
        assert_eq!(Hints { partition: None, ..hints(lines) }, *expected, "{lines:?}");
    }
}

fn read_retry_after(values: &[&str]) -> Wait {
    let lines = values.iter().map(|value| ("retry-after", *value));
    let lines: Vec<_> = lines.chain([("date", "Fri, 20 Nov 2026 12:00:00 GMT")]).collect();
    retry_after(&headers(&lines), UNIX_EPOCH)
}

#[test]
fn every_form_of_retry_after_that_was_seen_is_read() {
    let stated = |millis: u64| Wait::Stated(Duration::from_millis(millis));
    for (values, expected) in [
        (&["194"][..], stated(194_000)),
        (&["0"], stated(0)),
        (&["1.5"], stated(1_500)),
        (&["1."], stated(1_000)),
        (&["0.0009"], Wait::Stated(Duration::from_micros(900))),
        (&["1.99999999999999999999"], Wait::Stated(Duration::new(1, 999_999_999))),
        (&[" 3600 "], stated(3_600_000)),
        (&["007"], stated(7_000)),
        (&["rand(30),add(30)"], stated(60_000)),
        (&["rand(30), add(30)"], stated(60_000)),
        (&["rand(30),add(30), 90"], stated(90_000)),
        (&["rand(18446744073709551615),add(30)"], Wait::Stated(Duration::MAX)),
        (&["5, 7, x"], stated(7_000)),
        (&["5", "9"], stated(9_000)),
        (&["9", "5"], stated(9_000)),
        (&["5", "soon"], stated(5_000)),
        (&["soon", "5"], stated(5_000)),
        (&["30s"], stated(30_000)),
        (&["Fri, 20 Nov 2026 12:00:25 GMT"], stated(25_000)),
        (&["Friday, 20-Nov-26 12:00:25 GMT"], stated(25_000)),
        (&["Fri Nov 20 12:00:25 2026"], stated(25_000)),
        (&["5, Fri, 20 Nov 2026 12:00:25 GMT"], stated(25_000)),
        (&["Fri, 20 Nov 2026 12:00:25 GMT, 30"], stated(30_000)),
        (&["Fri, 20 Nov 2026 11:00:00 GMT"], stated(0)),
        (&["18446744073709551615"], Wait::Stated(Duration::from_secs(u64::MAX))),
        (&["18446744073709551616"], Wait::Stated(Duration::from_secs(u64::MAX))),
        (&["18446744073709551615.999999999"], Wait::Stated(Duration::MAX)),
        (&["9223372036854775807"], Wait::Stated(Duration::from_secs(9_223_372_036_854_775_807))),
        (&[], Wait::Missing),
        (&["soon"], Wait::Malformed),
        (&["-5"], Wait::Malformed),
        (&["+5"], Wait::Malformed),
        (&[""], Wait::Malformed),
        (&[","], Wait::Malformed),
        (&[".5"], Wait::Malformed),
        (&["1.2.3"], Wait::Malformed),
        (&["0x10"], Wait::Malformed),
        (&["1e20"], Wait::Malformed),
        (&["NaN"], Wait::Malformed),
        (&["inf"], Wait::Malformed),
        (&["exec(5)"], Wait::Malformed),
        (&["rand(30),exec(5)"], Wait::Malformed),
        (&["rand(-30)"], Wait::Malformed),
        (&["Fri, 31 Feb 2026 25:61:61 GMT"], Wait::Malformed),
        (&["1", "2", "3", "4", "5", "6", "7", "8", "9"], stated(8_000)),
    ] {
        assert_eq!(read_retry_after(values), expected, "{values:?}");
    }
}

#[test]
fn a_value_beyond_any_meaning_is_not_parsed() {
    assert_eq!(read_retry_after(&[&"9".repeat(128)]), Wait::Stated(Duration::from_secs(u64::MAX)));
    assert_eq!(read_retry_after(&[&"9".repeat(129)]), Wait::Malformed);
    let long = "1".repeat(129);
    assert_eq!(hints(&[("x-ratelimit-limit", &long), ("x-ratelimit-reset", &long)]), Hints::default());
}

#[test]
fn bytes_that_are_no_text_are_malformed() {
    let mut headers = HeaderMap::new();
    headers.insert(header::RETRY_AFTER, HeaderValue::from_bytes(b"\xff5").unwrap());
    assert_eq!(retry_after(&headers, now()), Wait::Malformed);
}

#[test]
fn the_spellings_that_came_before_the_draft_are_read() {
    check(&[
        // Seen at Webex.
        (&[("x-ratelimit-limit", "3")], told(Some(3), None, None, None)),
        (
            &[
                ("x-ratelimit-limit", "60"),
                ("x-ratelimit-remaining", "59"),
                ("x-ratelimit-reset", "1795176030"),
            ],
            told(Some(60), Some(59), Some(30_000), None),
        ),
        (
            &[
                ("x-rate-limit-limit", "15"),
                ("x-rate-limit-remaining", "0"),
                ("x-rate-limit-reset", "1795176900"),
            ],
            told(Some(15), Some(0), Some(900_000), None),
        ),
        (
            &[
                ("x-ratelimit-limit", "5"),
                ("x-ratelimit-remaining", "0"),
                ("x-ratelimit-reset", "1795176001.4"),
                ("x-ratelimit-reset-after", "1.337"),
            ],
            told(Some(5), Some(0), Some(1_337), None),
        ),
        // Envoy writes the draft's lists under the older names.
        (
            &[
                ("x-ratelimit-limit", "10, 10;w=1;name=\"a, b\", 1000;w=3600"),
                ("x-ratelimit-remaining", "9"),
                ("x-ratelimit-reset", "1"),
            ],
            told(Some(10), Some(9), Some(1_000), Some(1)),
        ),
    ]);
}

#[test]
fn a_reset_is_seconds_from_now_or_since_the_epoch_by_its_magnitude() {
    for (value, expected_ms) in [
        ("0", Some(0)),
        ("30", Some(30_000)),
        ("0.25", Some(250)),
        ("2592000", Some(2_592_000_000)),
        ("1795176030", Some(30_000)),
        ("1795176030.5", Some(30_500)),
        ("1795176030500", Some(30_500)),
        ("1795176030500000", Some(30_500)),
        ("1795176030500000000", Some(30_500)),
        ("1795175000", Some(0)),
        ("1795175000000", Some(0)),
        ("Fri, 20 Nov 2026 12:00:25 GMT", Some(25_000)),
        ("Fri, 20 Nov 2026 11:00:00 GMT", Some(0)),
        ("5, 9", Some(9_000)),
        ("-1", None),
        ("+1", None),
        ("1e3", None),
        ("never", None),
        ("", None),
    ] {
        let read = hints(&[("x-ratelimit-reset", value)]).reset_in;
        assert_eq!(read, expected_ms.map(Duration::from_millis), "{value}");
    }
    for value in ["18446744073709551615", "99999999999999999999999999", "1795176030500000000000"] {
        assert!(
            hints(&[("x-ratelimit-reset", value)]).reset_in.unwrap() > Duration::from_secs(NOW),
            "{value}"
        );
    }
}

#[test]
fn an_epoch_is_taken_against_the_clock_of_its_sender() {
    let lines = [("x-ratelimit-reset", "1795176030"), ("date", "Fri, 20 Nov 2026 12:00:20 GMT")];
    assert_eq!(hints(&lines).reset_in, Some(Duration::from_secs(10)));
    let unset = Hints::read(&headers(&[("x-ratelimit-reset", "30")]), UNIX_EPOCH);
    assert_eq!(
        unset.reset_in,
        Some(Duration::from_secs(30)),
        "an unset clock makes no epoch of a short time"
    );
}

#[test]
fn the_drafts_up_to_06_are_read() {
    check(&[
        (
            &[("ratelimit-limit", "100"), ("ratelimit-remaining", "50"), ("ratelimit-reset", "50")],
            told(Some(100), Some(50), Some(50_000), None),
        ),
        (
            &[
                ("ratelimit-limit", "100, 100;window=60;comment=\"x, y\""),
                ("ratelimit-remaining", "70"),
                ("ratelimit-reset", "25"),
            ],
            told(Some(100), Some(70), Some(25_000), None),
        ),
        (
            &[
                ("ratelimit-limit", "10, 10;w=1, 50;w=60, 1000;w=3600, 5000;w=86400"),
                ("ratelimit-remaining", "9"),
                ("ratelimit-reset", "1"),
            ],
            told(Some(10), Some(9), Some(1_000), Some(1)),
        ),
        (
            &[
                ("ratelimit-limit", "5000"),
                ("ratelimit-remaining", "100"),
                ("ratelimit-reset", "36000"),
                ("ratelimit-policy", "1000;w=3600, 5000;w=86400"),
            ],
            told(Some(5_000), Some(100), Some(36_000_000), Some(86_400)),
        ),
        (&[("ratelimit-limit", "10;w=1, 50;w=60")], told(Some(50), None, None, Some(60))),
    ]);
}

#[test]
fn draft_07_is_read() {
    check(&[
        (
            &[("ratelimit", "limit=100, remaining=50, reset=50")],
            told(Some(100), Some(50), Some(50_000), None),
        ),
        (
            &[("ratelimit", "limit=100,remaining=50,reset=5"), ("ratelimit-policy", "10;w=1, 100;w=60")],
            told(Some(100), Some(50), Some(5_000), Some(60)),
        ),
        (&[("ratelimit", "remaining=0, reset=7")], told(None, Some(0), Some(7_000), None)),
        (
            &[
                ("ratelimit", "limit=10, remaining=9, reset=1"),
                ("ratelimit", "limit=20, remaining=0, reset=9"),
            ],
            told(Some(20), Some(0), Some(9_000), None),
        ),
        (&[("ratelimit", "limit=-1, remaining=x, reset=")], Hints::default()),
    ]);
}

#[test]
fn the_drafts_from_08_are_read_and_the_tightest_policy_counts() {
    check(&[
        (&[("ratelimit", "\"default\";r=50;t=30")], told(None, Some(50), Some(30_000), None)),
        (&[("ratelimit", "default; r=50; t=30")], told(None, Some(50), Some(30_000), None)),
        (
            &[("ratelimit", "\"default\";r=50;t=30"), ("ratelimit-policy", "\"default\";q=100;w=60")],
            told(Some(100), Some(50), Some(30_000), Some(60)),
        ),
        (&[("ratelimit", "\"default\";r=999;pk=:dHJpYWwxMjEzMjM=:")], told(None, Some(999), None, None)),
        (
            &[
                ("ratelimit", "\"day\";r=600;t=36000, \"burst\";r=50;t=30"),
                ("ratelimit-policy", "\"burst\";q=100;w=60,\"day\";q=1000;w=86400"),
            ],
            told(Some(1_000), Some(600), Some(36_000_000), Some(86_400)),
        ),
        (
            &[("ratelimit", "\"a\";r=0;t=3"), ("ratelimit", "\"b\";r=0;t=9, \"c\";r=1;t=1")],
            told(None, Some(0), Some(9_000), None),
        ),
        (
            &[("ratelimit-policy", "\"permin\";q=50;w=60,\"perhr\";q=1000;w=3600")],
            told(Some(1_000), None, None, Some(3_600)),
        ),
        (&[("ratelimit", "\"odd;,\\\"r=1\";r=2;t=3")], told(None, Some(2), Some(3_000), None)),
        // As one real API sends it: more than 128 bytes of policies.
        (
            &[
                ("ratelimit", "\"100-in-15min\";r=99;t=897, \"250-in-1day\";r=249;t=86397"),
                (
                    "ratelimit-policy",
                    "\"100-in-15min\";q=100;w=900;pk=:bucket:, \"3000-in-30days\";q=3000;w=2592000;pk=:bucket:, \
                     \"250-in-1day\";q=250;w=86400;pk=:bucket:",
                ),
            ],
            told(Some(250), Some(249), Some(86_397_000), Some(86_400)),
        ),
        (&[("ratelimit", "\"x\";t=5")], Hints::default()),
        (&[("ratelimit", "\"x\";r=-5;t=5")], Hints::default()),
        (&[("ratelimit", "\"unclosed;r=5;t=5")], Hints::default()),
        (
            &[
                ("ratelimit", "\"day\";r=0;t=3, \"burst\";r=0;t=9"),
                ("ratelimit-policy", "\"burst\";q=10;w=9, \"day\";q=100;w=86400"),
            ],
            told(Some(10), Some(0), Some(9_000), Some(9)),
        ),
        (&[("ratelimit-policy", "\"x\";q=100;w=0")], told(Some(100), None, None, None)),
    ]);
}

#[test]
fn bytes_are_not_taken_for_requests() {
    let policy =
        ("ratelimit-policy", "\"b\";q=65535;qu=\"content-bytes\";w=10, \"n\";q=10;qu=\"requests\";w=60");
    check(&[
        (
            &[policy, ("ratelimit", "\"b\";r=3;t=10, \"n\";r=9;t=50")],
            told(Some(10), Some(9), Some(50_000), Some(60)),
        ),
        (
            &[policy, ("ratelimit", "\"b\";r=0;t=10, \"n\";r=9;t=50")],
            told(None, Some(0), Some(10_000), Some(10)),
        ),
        (&[policy], told(Some(10), None, None, Some(60))),
    ]);
}

#[test]
fn a_partition_is_equal_for_the_same_policy_and_key_only() {
    let partition =
        |limit: &str, policy: &str| hints(&[("ratelimit", limit), ("ratelimit-policy", policy)]).partition;
    let first = partition("\"user\";r=5;t=9;pk=:cHsdsRa894==:", "\"user\";q=9;w=9");
    assert!(first.is_some());
    assert_eq!(partition("\"user\";r=4;t=8", "\"user\";q=9;w=9;pk=:cHsdsRa894==:"), first, "from the policy");
    assert_ne!(partition("\"user\";r=5;t=9;pk=:sdfjLJUOUH==:", ""), first);
    assert_ne!(partition("\"room\";r=5;t=9;pk=:cHsdsRa894==:", ""), first);
    assert_eq!(partition("\"user\";r=5;t=9", ""), None);
}

#[test]
fn counts_that_cannot_be_are_absent_and_huge_ones_saturate() {
    for (value, expected) in [
        ("5", Some(5)),
        ("5.9", Some(5)),
        ("4294967296", Some(u32::MAX)),
        ("18446744073709551616", Some(u32::MAX)),
        ("7, 3", Some(3)),
        ("x, 3", Some(3)),
        ("-1", None),
        ("+1", None),
        ("unlimited", None),
        ("", None),
    ] {
        assert_eq!(hints(&[("x-ratelimit-remaining", value)]).remaining, expected, "{value}");
        assert_eq!(hints(&[("x-ratelimit-limit", value)]).limit, expected, "{value}");
    }
    let twice = [("x-ratelimit-limit", "9"), ("x-ratelimit-limit", "4")];
    assert_eq!(hints(&twice).limit, Some(4), "of duplicates the smaller");
}

#[test]
fn the_widest_known_scope_is_believed() {
    for (value, expected) in [
        ("user", Some(NamedScope::Tenant)),
        ("Tenant", Some(NamedScope::Tenant)),
        ("\"token\"", Some(NamedScope::Tenant)),
        ("global", Some(NamedScope::Egress)),
        ("ip", Some(NamedScope::Egress)),
        ("organization", Some(NamedScope::Egress)),
        ("route", Some(NamedScope::Route)),
        ("shared", Some(NamedScope::Route)),
        ("room", Some(NamedScope::Room)),
        ("room, user", Some(NamedScope::Tenant)),
        ("galaxy, user", Some(NamedScope::Tenant)),
        ("galaxy", None),
        ("", None),
    ] {
        let Signal::Throttled { scope, .. } =
            Signal::read(StatusCode::TOO_MANY_REQUESTS, &headers(&[("x-ratelimit-scope", value)]), now())
        else {
            panic!("a 429 throttles");
        };
        assert_eq!(scope, expected, "{value}");
    }
}

#[test]
fn only_a_429_or_a_503_with_a_stated_time_throttles() {
    let wait = |status: u16, lines: &[(&str, &str)]| match Signal::read(
        StatusCode::from_u16(status).unwrap(),
        &headers(lines),
        now(),
    ) {
        Signal::Accepted(_) => None,
        Signal::Throttled { wait, .. } => Some(wait),
    };
    let stated = |seconds| Some(Wait::Stated(Duration::from_secs(seconds)));
    let four = ("retry-after", "4");
    let reset = ("x-ratelimit-reset", "1795176030");
    for (status, lines, expected) in [
        (429, &[four][..], stated(4)),
        (429, &[], Some(Wait::Missing)),
        (429, &[("retry-after", "soon")], Some(Wait::Malformed)),
        (429, &[reset], stated(30)),
        (429, &[reset, ("retry-after", "soon")], stated(30)),
        (429, &[reset, four], stated(4)),
        (429, &[("ratelimit", "\"a\";r=0;t=3"), ("ratelimit", "\"b\";r=0;t=9")], stated(9)),
        (429, &[("x-ratelimit-reset", "1795170000")], Some(Wait::Missing)),
        (429, &[("x-ratelimit-limit", "3")], Some(Wait::Missing)),
        (503, &[four], stated(4)),
        (503, &[], None),
        (503, &[reset], None),
        (503, &[("retry-after", "soon")], None),
        (423, &[four], None),
        (200, &[four], None),
        (200, &[reset, ("x-ratelimit-remaining", "0")], None),
    ] {
        assert_eq!(wait(status, lines), expected, "{status} {lines:?}");
    }
}

#[test]
fn an_accepted_answer_can_tell_that_nothing_is_left() {
    let told = [("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "1795176030")];
    let Signal::Accepted(hints) = Signal::read(StatusCode::OK, &headers(&told), now()) else {
        panic!("a 200 is accepted");
    };
    assert_eq!(hints.exhausted_for(), Some(Duration::from_secs(30)));
    assert_eq!(Hints { remaining: Some(1), ..hints }.exhausted_for(), None);
}

proptest! {
    #[test]
    fn no_bytes_panic(lines in proptest::collection::vec((0..flood::NAMES.len(), proptest::collection::vec(any::<u8>(), 0..200)), 0..12)) {
        let mut headers = HeaderMap::new();
        for (name, value) in &lines {
            if let Ok(value) = HeaderValue::from_bytes(value) {
                headers.append(flood::NAMES[*name], value);
            }
        }
        flood::check(&headers, now());
    }

    #[test]
    fn whole_seconds_are_read_as_written(seconds in any::<u64>()) {
        prop_assert_eq!(read_retry_after(&[&seconds.to_string()]), Wait::Stated(Duration::from_secs(seconds)));
    }

    #[test]
    fn a_later_smaller_value_never_shortens_the_wait(values in proptest::collection::vec(0_u32..100_000, 1..8)) {
        let texts: Vec<_> = values.iter().map(u32::to_string).collect();
        let texts: Vec<_> = texts.iter().map(String::as_str).collect();
        let longest = values.iter().max().copied().unwrap_or_default();
        prop_assert_eq!(read_retry_after(&texts), Wait::Stated(Duration::from_secs(longest.into())));
    }
}
