//! What is asked about a kept answer, and what the word of the upstream changes; which fields are kept.

use super::super::*;
use super::world::{World, says, second, validates};

#[test]
fn stale_answers_are_validated_with_what_is_kept() {
    for (fields, condition, value) in [
        ("ETag: \"abcd\"", "if-none-match", "\"abcd\""),
        ("ETag: W/\"abcd\"", "if-none-match", "W/\"abcd\""),
        (
            "Last-Modified: Wed, 01 Jan 2020 00:00:00 GMT",
            "if-modified-since",
            "Wed, 01 Jan 2020 00:00:00 GMT",
        ),
    ] {
        for cc in ["max-age=2", "no-cache", "max-age=10000, no-cache", "max-age=2, must-revalidate"] {
            let origin = validates(&format!("Cache-Control: {cc}\nDate: @0\n{fields}"));
            let mut world = World::new();
            world.get("", &origin);
            let seen = world.wait(3).get("If-None-Match: \"other\"", &origin);
            let asked = seen.asked.as_ref().unwrap();
            assert_eq!(asked.headers.get(condition).unwrap(), value, "{cc} {fields}");
            assert_eq!((seen.status.as_u16(), seen.body.len()), (200, 11), "{cc} {fields}");
        }
    }
}

#[test]
fn both_validators_are_sent() {
    let both = "Cache-Control: max-age=2\nETag: \"a\"\nLast-Modified: @-100\nDate: @0";
    let seen = second(&validates(both), 3);
    let asked = seen.asked.unwrap().headers;
    assert!(asked.contains_key("if-none-match") && asked.contains_key("if-modified-since"));
}

#[test]
fn conditions_are_answered_from_what_is_kept() {
    let fresh = |more: &str| says(&format!("Cache-Control: max-age=100000\nDate: @0\n{more}"));
    for (name, fields, condition, status) in [
        ("strong", "ETag: \"abcdef\"", "If-None-Match: \"abcdef\"", 304),
        ("weak", "ETag: W/\"abcdef\"", "If-None-Match: W/\"abcdef\"", 304),
        ("weak against strong", "ETag: \"abcdef\"", "If-None-Match: W/\"abcdef\"", 304),
        ("multiple-first", "ETag: \"abcdef\"", "If-None-Match: \"abcdef\", \"1234\", \"5678\"", 304),
        ("multiple-second", "ETag: \"abcdef\"", "If-None-Match: \"1234\", \"abcdef\", \"5678\"", 304),
        ("multiple-last", "ETag: \"abcdef\"", "If-None-Match: \"1234\", \"5678\", \"abcdef\"", 304),
        ("any", "ETag: \"abcdef\"", "If-None-Match: *", 304),
        ("another", "ETag: \"abcdef\"", "If-None-Match: \"abc\"", 200),
        ("a comma in the tag", "ETag: \"a,b\"", "If-None-Match: \"x\", \"a,b\"", 304),
        ("unquoted", "ETag: \"abcdef\"", "If-None-Match: abcdef", 200),
        ("both unquoted", "ETag: abcdef", "If-None-Match: abcdef", 304),
        ("obs-text", "ETag: \"abcdefü\"", "If-None-Match: \"abcdefü\"", 304),
        (
            "precedence",
            "Last-Modified: @-5000\nETag: \"abcdef\"",
            "If-None-Match: \"abcdef\"\nIf-Modified-Since: @-10000",
            304,
        ),
        (
            "precedence of a tag that differs",
            "Last-Modified: @-5000\nETag: \"abcdef\"",
            "If-None-Match: \"x\"\nIf-Modified-Since: @0",
            200,
        ),
        ("lm-fresh", "Last-Modified: @-3000", "If-Modified-Since: @-3000", 304),
        ("lm-fresh-earlier", "Last-Modified: @-3000", "If-Modified-Since: @-2000", 304),
        ("lm later", "Last-Modified: @-3000", "If-Modified-Since: @-4000", 200),
        ("lm-fresh-no-lm", "", "If-Modified-Since: @-3000", 200),
        ("a date that is none", "Last-Modified: @-3000", "If-Modified-Since: now", 200),
        ("if-match", "ETag: \"a\"", "If-Match: \"a\"", 200),
        ("unmodified since", "Last-Modified: @-3000", "If-Unmodified-Since: @-3000", 200),
    ] {
        let mut world = World::new();
        world.get("", &fresh(fields));
        let seen = world.get(condition, &fresh(fields));
        assert!(seen.is_cached(), "{name}");
        assert_eq!(seen.status.as_u16(), status, "{name}");
        if status == 304 {
            let etag = world.kept[0].0.headers.get("etag");
            assert_eq!(seen.headers.get("etag"), etag, "conditional-304-etag: {name}");
            assert!(seen.body.is_empty() && !seen.headers.contains_key("content-length"), "{name}");
        }
    }
}

#[test]
fn a_condition_that_fails_is_the_upstreams_to_judge_first() {
    for (fields, condition) in [
        ("ETag: \"a\"", "If-Match: \"b\""),
        ("ETag: W/\"a\"", "If-Match: W/\"a\""),
        ("Last-Modified: @-3000\nETag: \"a\"", "If-Unmodified-Since: @-4000"),
    ] {
        let origin = validates(&format!("Cache-Control: max-age=100\nDate: @0\n{fields}"));
        let mut world = World::new();
        world.get("", &origin);
        let seen = world.get(condition, &origin);
        assert!(seen.asked.is_some(), "{condition}");
        assert_eq!((seen.status.as_u16(), seen.body.len()), (412, 0), "{condition}");
    }
}

#[test]
fn conditions_are_answered_after_a_validation() {
    let origin =
        validates("Cache-Control: max-age=2\nLast-Modified: Wed, 01 Jan 2020 00:00:00 GMT\nDate: @0");
    let mut world = World::new();
    world.get("", &origin);
    let seen = world.wait(3).get("If-Modified-Since: Wed, 01 Jan 2020 00:00:00 GMT", &origin);
    assert!(seen.asked.is_some());
    assert_eq!(seen.status.as_u16(), 304, "conditional-lm-stale");
}

#[test]
fn fields_are_kept_but_for_those_of_one_connection() {
    let kept = [
        "test-header: a",
        "content-encoding: xyz",
        "content-location: /bar",
        "content-md5: N7UdGUp1E+RbVvZSTy1R8g==",
        "content-range: xyz",
        "content-type: text/plain;charset=utf-8",
        "clear-site-data: cookies",
        "etag: \"ghijkl\"",
        "public-key-pins: x",
        "set-cookie: a=c",
        "set-cookie2: a=c",
        "x-xss-protection: 1; mode=block",
    ];
    let dropped = [
        "keep-alive: x",
        "proxy-authenticate: x",
        "proxy-authentication-info: x",
        "proxy-authorization: x",
        "proxy-connection: x",
        "te: x",
        "upgrade: x",
        "a: 1",
        "b: 2",
        "connection: a, b",
    ];
    let fields =
        format!("{}\n{}\nCache-Control: max-age=3600\nDate: @0", kept.join("\n"), dropped.join("\n"));
    let seen = second(&says(&fields), 3);
    assert!(seen.is_cached());
    for line in kept {
        let (name, value) = line.split_once(": ").unwrap();
        assert_eq!(seen.field(name), value);
    }
    for line in dropped {
        assert!(!seen.headers.contains_key(line.split(':').next().unwrap()), "{line}");
    }
}

#[test]
fn fields_that_the_origin_reserves_are_not_reused() {
    for directive in ["no-cache", "private"] {
        let fields = format!(
            "Cache-Control: {directive}=\"a, b\"\na: 1\nb: 2\nc: 3\nCache-Control: max-age=3600\nDate: @0"
        );
        let seen = second(&says(&fields), 3);
        assert!(seen.is_cached(), "{directive}");
        assert_eq!((seen.field("a"), seen.field("b"), seen.field("c")), ("", "", "3"), "{directive}");
    }
    let hidden =
        "Cache-Control: max-age=1, private=\"cache-control\"\nConnection: Cache-Control, Vary\nVary: Foo";
    let seen = second(&says(hidden), 0);
    assert!(seen.is_cached());
    assert_eq!(seen.field("vary"), "Foo", "what the rules are read from cannot be listed away");
}

#[test]
fn a_confirmation_updates_fields() {
    for (name, before, after, expected) in [
        ("Test-Header", "1", "2", "2"),
        ("X-Content-Foo", "1", "2", "2"),
        ("Set-Cookie", "a=b", "a=c", "a=c"),
        ("Content-Type", "text/plain", "text/html", "text/html"),
        ("Content-Encoding", "a", "b", "a"),
        ("Content-Range", "a", "b", "a"),
        ("Content-Length", "11", "12", "11"),
        ("Connection", "x", "y", ""),
        ("Keep-Alive", "x", "y", ""),
    ] {
        let with = |value: &str| {
            validates(&format!("Cache-Control: max-age=2\nDate: @0\nETag: \"e\"\n{name}: {value}"))
        };
        let mut world = World::new();
        world.get("", &with(before));
        let validated = world.wait(3).get("", &with(after));
        assert!(validated.asked.is_some());
        assert_eq!(validated.field(name), expected, "{name}");
        let seen = world.get("", &with(after));
        assert!(seen.is_cached(), "{name}");
        assert_eq!(seen.field(name), expected, "{name}");
    }
}

#[test]
fn a_confirmation_brings_new_terms() {
    let with = |cc: &str| validates(&format!("Cache-Control: {cc}\nDate: @0\nETag: \"e\""));
    let mut world = World::new();
    world.get("", &with("max-age=1"));
    assert!(world.wait(3).get("", &with("max-age=3600")).asked.is_some());
    assert!(world.wait(3000).get("", &with("max-age=3600")).is_cached());
    // A 304 that forbids keeping ends it.
    assert_eq!(world.wait(3000).get("", &with("no-store")).status.as_u16(), 200);
    assert!(world.kept.is_empty());
}

#[test]
fn a_confirmation_of_something_else_confirms_nothing() {
    let mut world = World::new();
    world.get("", &says("Cache-Control: max-age=1\nETag: \"a\"\nDate: @0"));
    let request = world.request("GET", "");
    let timing = world.timing();
    let stored = &world.kept[0].0;
    assert!(merge(stored, &request, &world.response(304, "ETag: \"b\""), &timing).is_none());
    assert!(merge(stored, &request, &world.response(304, "ETag: W/\"a\""), &timing).is_some());
    let bare = merge(stored, &request, &world.response(304, ""), &timing).unwrap();
    assert_eq!(bare.stored.headers.get("etag").unwrap(), "\"a\"");
}

#[test]
fn a_head_that_describes_other_bytes_renews_nothing() {
    let mut world = World::new();
    world.get("", &says("Cache-Control: max-age=1\nETag: \"a\"\nDate: @0"));
    let (request, timing) = (world.request("HEAD", ""), world.timing());
    for (status, fields, is_same) in [
        (200, "", true),
        (200, "Content-Length: 11\nETag: \"a\"", true),
        (200, "Content-Length: 12", false),
        (200, "Content-Length: eleven", false),
        (200, "ETag: \"b\"", false),
        (200, "Content-Encoding: gzip", true),
        (204, "", false),
    ] {
        let head = world.response(status, fields);
        let updated = update_head(&world.kept[0].0, &request, &head, &timing);
        assert_eq!(updated.is_some(), is_same, "{status} {fields}");
    }
}

#[test]
fn the_answer_to_a_question_can_refute_what_is_kept() {
    let world = World::new();
    let request = world.request("GET", "");
    let stored = |fields: &str| {
        let answer = world.response(200, &format!("Cache-Control: max-age=9\n{fields}"));
        keep(&request, &answer, &world.timing()).unwrap().0
    };
    for (status, with_tag, without) in [
        (200, true, false),
        (204, true, false),
        (301, true, false),
        (304, false, false),
        (401, true, true),
        (403, true, true),
        (404, true, true),
        (408, false, false),
        (416, false, false),
        (429, false, false),
        (500, false, false),
        (503, false, false),
    ] {
        let answer = world.response(status, "");
        assert_eq!(refutes(&stored("ETag: \"a\""), &answer), with_tag, "{status}");
        assert_eq!(refutes(&stored(""), &answer), without, "{status}");
    }
}

#[test]
fn questions_without_validators_are_the_clients_own() {
    let origin = says("Cache-Control: max-age=1\nDate: @0");
    let mut world = World::new();
    world.get("", &origin);
    let asked = world.wait(3).get("If-None-Match: \"x\"\nRange: bytes=0-1", &origin).asked.unwrap();
    assert_eq!(asked.headers.get("if-none-match").unwrap(), "\"x\"");
    assert_eq!(asked.headers.get("range").unwrap(), "bytes=0-1");
}
