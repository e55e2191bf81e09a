//! Holds how the limits count, in virtual time.

use std::time::Duration;

use serde_json::json;

use super::{Sim, body_of, header, status};
use crate::sim::settings::{LimitMode, SimSettings};

const SECOND: Duration = Duration::from_secs(1);

fn limited(mode: &str, limits: &[&str]) -> Sim {
    let mut settings = SimSettings::unlimited();
    settings.set("limit_mode", mode).unwrap();
    for limit in limits {
        settings.set("limit", limit).unwrap();
    }
    Sim::with(settings)
}

/// How many requests of one user pass before the first 429, and its `Retry-After`.
fn burst(sim: &mut Sim, token: &str, path: &str) -> (usize, String) {
    for passed in 0..10_000 {
        let answer = sim.get(token, path);
        if status(&answer) == 429 {
            return (passed, header(&answer, "retry-after").to_owned());
        }
    }
    panic!("never throttled");
}

#[test]
fn each_mode_refuses_and_allows_at_its_time() {
    for (mode, waits, then) in [("fixed-window", 10, 5), ("sliding-log", 7, 5), ("token-bucket", 2, 1)] {
        // Five requests in ten seconds: the window began when the clock read a multiple of ten.
        let mut sim = limited(mode, &["people=30:5"]);
        for _ in 0..5 {
            assert_eq!(status(&sim.get("alice", "/v1/people/me")), 200);
        }
        if mode == "sliding-log" {
            sim.advance(SECOND * 3);
        }
        let refused = sim.get("alice", "/v1/people/me");
        assert_eq!(header(&refused, "retry-after"), waits.to_string(), "{mode}");
        sim.advance(SECOND * waits - Duration::from_millis(1));
        assert_eq!(status(&sim.get("alice", "/v1/people/me")), 429, "{mode}");
        sim.advance(Duration::from_millis(1));
        assert_eq!(burst(&mut sim, "alice", "/v1/people/me").0, then, "{mode}");
    }
}

#[test]
fn limits_are_counted_per_user_and_family_and_heads_count_too() {
    let mut sim = limited("fixed-window", &["people=3", "rooms=2"]);
    sim.control("people", json!({"email": "eve@example.com", "tokens": ["one", "two"]}));
    let head = |sim: &mut Sim, token: &str| {
        let bearer = format!("Bearer {token}");
        status(&sim.send("HEAD", "/v1/people/me", &[("authorization", &bearer)], ""))
    };
    assert_eq!(["one", "two", "one", "two"].map(|token| head(&mut sim, token)), [200, 200, 200, 429]);
    assert_eq!(burst(&mut sim, "alice", "/v1/people/me").0, 3);
    assert_eq!(burst(&mut sim, "one", "/v1/rooms").0, 2);
}

#[test]
fn a_hidden_limit_holds_for_all_users_together() {
    let mut sim = limited("fixed-window", &["egress=60:5"]);
    let statuses = ["a", "b", "c", "d", "e", "f"].map(|token| status(&sim.get(token, "/v1/people/me")));
    assert_eq!(statuses, [200, 200, 200, 200, 200, 429]);
    assert_eq!(sim.model.totals(), (5, 1));
}

#[test]
fn one_rooms_reads_have_a_small_bucket_of_their_own() {
    let mut sim = Sim::with(SimSettings::plain());
    sim.control("settings", json!({"limit_mode": "token-bucket"}));
    let [one, other] = [sim.room(), sim.room()].map(|room| format!("/v1/messages?roomId={room}"));
    assert_eq!(header(&sim.get("alice", &one), "x-ratelimit-limit"), "3");
    assert_eq!(burst(&mut sim, "alice", &one), (2, "8".to_owned()));
    assert_eq!(header(&sim.get("alice", &one), "x-ratelimit-limit"), "3");
    assert_eq!(burst(&mut sim, "alice", &other).0, 3);
    assert_eq!(status(&sim.get("bob", &one)), 200);
    assert_eq!(header(&sim.get("alice", "/v1/people/me"), "x-ratelimit-limit"), "");
    sim.advance(SECOND * 8);
    assert_eq!(burst(&mut sim, "alice", &one).0, 1);
}

#[test]
fn the_default_limits_are_those_of_the_documentation() {
    for (path, expected) in [("/v1/people/me", 600), ("/v1/rooms", 300), ("/v1/webhooks", 300)] {
        assert_eq!(burst(&mut Sim::with(SimSettings::plain()), "alice", path), (expected, "60".to_owned()));
    }
}

#[test]
fn retry_after_takes_every_form() {
    for (form, expected) in [
        ("int", "30"),
        ("garbage", "rand(30),add(30)"),
        ("zero", "0"),
        ("decimal", "29.8"),
        ("missing", ""),
        ("3600", "3600"),
        ("http-date", "Tue, 14 Nov 2023 22:15:01 GMT"),
    ] {
        let mut sim = limited("fixed-window", &["people=2"]);
        sim.control("settings", json!({"retry_after": form}));
        sim.advance(Duration::from_millis(30_250));
        assert_eq!(burst(&mut sim, "alice", "/v1/people/me"), (2, expected.to_owned()), "{form}");
    }
}

#[test]
fn the_429_has_both_of_its_bodies() {
    let mut sim = limited("fixed-window", &["people=1"]);
    assert_eq!(status(&sim.get("alice", "/v1/people/me")), 200);
    let json = sim.get("alice", "/v1/people/me");
    assert!(body_of(&json)["message"].as_str().unwrap().starts_with("The user has sent too many requests"));
    sim.control("settings", json!({"throttle_body": "html"}));
    assert_eq!(status(&sim.get("alice", "/v1/people/me")), 200);
    let html = sim.get("alice", "/v1/people/me");
    assert_eq!((status(&html), header(&html, "content-type")), (429, "text/html"));
}

#[test]
fn a_limit_refuses_at_the_head_where_it_is_told_to_and_charges_once() {
    let mut sim = limited("fixed-window", &["messages=2"]);
    sim.control("settings", json!({"throttle_at": "head"}));
    let request = || http::Request::post("/v1/messages").header("authorization", "Bearer alice");
    for _ in 0..2 {
        assert!(sim.model.early(&request().body(()).unwrap(), sim.now).is_none());
        assert_eq!(status(&sim.model.finish(&request().body(bytes::Bytes::new()).unwrap(), sim.now)), 415);
    }
    let early = sim.model.early(&request().body(()).unwrap(), sim.now).unwrap();
    assert_eq!((status(&early.answer), early.after_bytes), (429, 0));
    assert_eq!(header(&early.answer, "retry-after"), "60");
    let stats = sim.look("stats");
    assert_eq!(
        (&stats["throttled_by"]["messages"], &stats["bodies"]["answered_early"]),
        (&json!(1), &json!(1))
    );
}

#[test]
fn what_was_seen_is_counted_and_control_calls_are_not() {
    let mut sim = limited("fixed-window", &["people=60:2"]);
    for _ in 0..4 {
        for _ in 0..3 {
            sim.get("alice", "/v1/people/me");
        }
        sim.send("GET", "/_sim/stats", &[], "");
        sim.advance(SECOND * 2);
    }
    let stats = sim.look("stats");
    assert_eq!((stats["accepted"].as_u64(), stats["throttled"].as_u64()), (Some(8), Some(4)));
    assert_eq!(stats["throttled_by"]["people"], 4);
    assert_eq!(
        (stats["peak_accepted_per_second"].as_u64(), stats["peak_accepted_per_minute"].as_u64()),
        (Some(2), Some(8))
    );
    assert_eq!(stats["by_user"]["alice@example.com"]["accepted"], 8);
    assert_eq!(stats["by_path"]["GET /v1/people/me"]["throttled"], 4);
    sim.control("reset", json!({"only": "counters"}));
    assert_eq!(sim.model.totals(), (0, 0));
    assert_eq!(sim.model.settings().limit_mode, LimitMode::FixedWindow);
}

proptest::proptest! {
    #[test]
    fn no_mode_lets_more_through_than_its_rate_allows(
        gaps in proptest::collection::vec(0_u64..4_000, 1..200),
        mode in 0_usize..3,
        size in 1_u32..8,
    ) {
        let mut sim = limited(["fixed-window", "sliding-log", "token-bucket"][mode], &[&format!("people=60:{size}")]);
        let mut accepted: Vec<u64> = Vec::new();
        let mut at = 0;
        for gap in gaps {
            at += gap;
            sim.advance(Duration::from_millis(gap));
            if status(&sim.get("alice", "/v1/people/me")) == 200 {
                accepted.push(at);
            }
        }
        let window = u64::from(size) * 1000;
        for start in &accepted {
            let seen = accepted.iter().filter(|time| (*start..start + window).contains(time)).count();
            let most = if mode == 1 { size } else { 2 * size };
            proptest::prop_assert!(seen <= usize::try_from(most).unwrap());
        }
    }
}
