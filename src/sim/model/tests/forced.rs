//! Holds that an ordered answer comes when and as it was ordered.

use std::time::Duration;

use serde_json::{Value, json};

use super::{Sim, body_of, header, status};
use crate::sim::Close;

#[test]
fn every_status_can_be_forced() {
    let mut sim = Sim::unlimited();
    for code in [200, 204, 400, 401, 403, 404, 405, 409, 410, 413, 415, 423, 428, 429, 500, 502, 503, 504] {
        sim.control(
            "force",
            json!({"path": "/v1/people/me", "status": code, "headers": {"Retry-After": "7"}}),
        );
        let answer = sim.get("alice", "/v1/people/me");
        assert_eq!((status(&answer), header(&answer, "retry-after")), (code, "7"));
        assert_eq!(status(&sim.get("alice", "/v1/people/me")), 200, "once only");
    }
}

#[test]
fn an_order_answers_as_many_matching_requests_as_it_says() {
    let mut sim = Sim::unlimited();
    for (order, expected) in [
        (json!({"path": "/v1/people/me", "status": 503, "n": 2}), [503, 503, 200]),
        (json!({"path": "/v1/people*", "status": 503, "skip": 1}), [200, 503, 200]),
        (json!({"path": "/v1/people", "status": 503}), [200, 200, 200]),
        (json!({"method": "post", "status": 503}), [200, 200, 200]),
        (json!({"user": "alice@example.com", "status": 503}), [503, 200, 200]),
        (json!({"user": "bob@example.com", "status": 503}), [200, 200, 200]),
        (json!({"query": "a=b", "status": 503}), [200, 200, 200]),
    ] {
        sim.control("reset", json!({}));
        sim.control("force", json!([order]));
        let statuses = [0; 3].map(|_| status(&sim.get("alice", "/v1/people/me")));
        assert_eq!(statuses, expected, "{order}");
    }
}

#[test]
fn bodies_headers_delays_and_breaks_are_as_ordered() {
    let mut sim = Sim::unlimited();
    let check = |sim: &mut Sim, order: Value| {
        sim.control("force", order);
        sim.get("alice", "/v1/people/me")
    };
    let html = check(&mut sim, json!({"status": 502, "html": true}));
    assert_eq!(header(&html, "content-type"), "text/html");
    assert!(html.response.body().to_bytes().starts_with(b"<html>"));
    let text = check(&mut sim, json!({"body": "{\"odd\":  1}"}));
    assert_eq!(text.response.body().to_bytes(), "{\"odd\":  1}");
    assert_eq!(body_of(&check(&mut sim, json!({"body": {"a": 1}}))), json!({"a": 1}));
    let links = check(&mut sim, json!({"headers": {"Link": ["<a>", "<b>"], "Content-Length": null}}));
    assert_eq!(links.response.headers().get_all("link").iter().count(), 2);
    assert!(!links.response.headers().contains_key("content-length"));
    assert_eq!(body_of(&links)["displayName"], "Alice Example", "the model's own body");
    assert_eq!(check(&mut sim, json!({"delay_ms": 250})).delay, Duration::from_millis(250));
    for (order, close) in [
        (json!({"close": "before"}), Close::Before),
        (json!({"close": "reset"}), Close::Reset),
        (json!({"close": "stream"}), Close::Stream),
        (json!({"close": "headers"}), Close::After(0)),
        (json!({"truncate": 10}), Close::After(10)),
        (json!({"delay_ms": 1}), Close::Never),
    ] {
        assert_eq!(check(&mut sim, order).close, close);
    }
}

#[test]
fn a_refusal_can_come_before_the_body_or_half_way() {
    let mut sim = Sim::unlimited();
    for (order, expected) in [
        (json!({"status": 429, "when": "head"}), Some(0)),
        (json!({"status": 429, "when": "half"}), Some(500)),
        (json!({"status": 429, "when": "half", "after_bytes": 7}), Some(7)),
        (json!({"status": 429, "when": "end"}), None),
    ] {
        sim.control("reset", json!({}));
        sim.control("force", order);
        let request = http::Request::post("/v1/messages").header("content-length", "1000").body(()).unwrap();
        let early = sim.model.early(&request, sim.now);
        assert_eq!(early.as_ref().map(|early| early.after_bytes), expected);
        assert!(early.is_none_or(|early| status(&early.answer) == 429));
    }
}

#[test]
fn packed_answers_say_so() {
    use std::io::Read;
    let mut sim = Sim::unlimited();
    let headers = [("authorization", "Bearer alice"), ("accept-encoding", "gzip, deflate")];
    assert_eq!(header(&sim.send("GET", "/v1/people/me", &headers, ""), "content-encoding"), "");
    sim.control("settings", json!({"gzip": true}));
    assert_eq!(header(&sim.get("alice", "/v1/people/me"), "content-encoding"), "");
    let packed = sim.send("GET", "/v1/people/me", &headers, "");
    assert_eq!((header(&packed, "content-encoding"), header(&packed, "vary")), ("gzip", "Accept-Encoding"));
    let bytes = packed.response.body().to_bytes();
    assert_eq!(header(&packed, "content-length"), bytes.len().to_string());
    let mut text = String::new();
    flate2::read::GzDecoder::new(&bytes[..]).read_to_string(&mut text).unwrap();
    assert!(text.contains("Alice Example"));
}
