//! The behaviours that the public conformance suite names (CACHE 4), seen by one client of the world.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::HeaderMap;

use super::super::*;
use super::world::{Origin, Seen, World, says, validates, with_status};

/// Asks, waits, asks again without anything special.
fn second(response: &Origin, pause: u64) -> Seen {
    let mut world = World::new();
    world.get("", response);
    world.wait(pause).get("", response)
}

#[track_caller]
fn check(name: &str, fields: &str, pause: u64, is_cached: bool) {
    assert_eq!(second(&says(fields), pause).is_cached(), is_cached, "{name}");
}

#[test]
fn lifetimes_follow_the_origin() {
    for (name, fields, is_cached) in [
        ("freshness-none", "", false),
        ("freshness-max-age", "Cache-Control: max-age=3600", true),
        ("freshness-max-age-stale", "Cache-Control: max-age=2\nDate: @0", false),
        ("freshness-max-age-0", "Cache-Control: max-age=0", false),
        ("freshness-max-age-max-minus-1", "Cache-Control: max-age=2147483647", true),
        ("freshness-max-age-max", "Cache-Control: max-age=2147483648", true),
        ("freshness-max-age-max-plus-1", "Cache-Control: max-age=2147483649", true),
        ("freshness-max-age-max-plus", "Cache-Control: max-age=99999999999", true),
        ("freshness-max-age-age", "Date: @0\nCache-Control: max-age=3600\nAge: 7200", false),
        ("freshness-max-age-date", "Date: @-7200\nCache-Control: max-age=3600", false),
        ("freshness-max-age-expires", "Cache-Control: max-age=3600\nExpires: @-7200\nDate: @0", true),
        ("freshness-max-age-expires-invalid", "Cache-Control: max-age=3600\nExpires: 0\nDate: @0", true),
        ("freshness-max-age-0-expires", "Expires: @3600\nCache-Control: max-age=0\nDate: @0", false),
        ("freshness-max-age-extension", "Cache-Control: foobar, max-age=3600", true),
        ("freshness-max-age-case-insenstive", "Cache-Control: MaX-aGe=3600", true),
        ("freshness-max-age-negative", "Cache-Control: max-age=-3600", false),
        ("freshness-s-maxage-shared", "Cache-Control: s-maxage=3600", true),
        ("s-maxage-shared-longer", "Cache-Control: max-age=3600, s-maxage=1", false),
        ("s-maxage-shared-longer-reversed", "Cache-Control: s-maxage=1, max-age=3600", false),
        ("s-maxage-longer-multiple", "Cache-Control: max-age=3600\nCache-Control: s-maxage=1", false),
        ("s-maxage-shared-shorter", "Cache-Control: max-age=1, s-maxage=3600", true),
        ("s-maxage-shorter-expires", "Expires: @-10\nCache-Control: max-age=0, s-maxage=3600", true),
        ("freshness-expires-future", "Expires: @2592000\nDate: @0", true),
        ("freshness-expires-past", "Expires: @-2592000\nDate: @0", false),
        ("freshness-expires-present", "Expires: @0\nDate: @0", false),
        ("freshness-expires-old-date", "Expires: @300\nDate: @400", false),
        ("freshness-expires-invalid", "Expires: 0\nDate: @0", false),
        ("freshness-expires-invalid-date", "Date: foo\nExpires: @10", true),
        ("freshness-expires-age-slow-date", "Date: @-10\nExpires: @10\nAge: 25", false),
        ("freshness-expires-age-fast-date", "Date: @10\nExpires: @20\nAge: 15", false),
        ("freshness-expires-32bit", "Expires: Tue, 19 Jan 2038 14:14:08 GMT\nDate: @0", true),
        ("freshness-expires-far-future", "Expires: Sun, 21 Nov 2286 04:46:39 GMT\nDate: @0", true),
        ("freshness-expires-rfc850", "Expires: Thursday, 18-Aug-50 02:01:18 GMT\nDate: @0", true),
        ("freshness-expires-ansi-c", "Expires: Thu Aug  8 02:01:18 2050\nDate: @0", true),
        ("freshness-expires-wrong-case", "Expires: THU, 18 AUG 2050 02:01:18 gMT\nDate: @0", true),
        ("freshness-expires-invalid-utc", "Expires: Thu, 18 Aug 2050 02:01:18 UTC\nDate: @0", false),
        ("freshness-expires-invalid-aest", "Expires: Thu, 18 Aug 2050 02:01:18 AEST\nDate: @0", false),
        ("invalid-2-digit-year", "Expires: Thu, 18 Aug 50 02:01:18 GMT\nDate: @0", false),
        ("invalid-no-comma", "Expires: Thu 18 Aug 2050 02:01:18 GMT\nDate: @0", false),
        ("invalid-multiple-spaces", "Expires: Thu, 18  Aug  2050 02:01:18 GMT\nDate: @0", false),
        ("invalid-date-dashes", "Expires: Thu, 18-Aug-2050 02:01:18 GMT\nDate: @0", false),
        ("invalid-time-periods", "Expires: Thu, 18 Aug 2050 02.01.18 GMT\nDate: @0", false),
        ("invalid-1-digit-hour", "Expires: Thu, 18 Aug 2050 2:01:18 GMT\nDate: @0", false),
        (
            "invalid-multiple-lines",
            "Expires: Thu, 18 Aug 2050 02:01:18 GMT\nExpires: Thu, 18 Aug 2050 02:01:19 GMT\nDate: @0",
            false,
        ),
    ] {
        check(name, fields, 3, is_cached);
    }
}

#[test]
fn cache_control_is_read_as_a_list_of_directives() {
    for (name, value, is_cached) in [
        ("ignore-quoted", r#"extension="max-age=3600", max-age=1"#, false),
        ("ignore-quoted-rev", r#"max-age=1, extension="max-age=3600""#, false),
        ("leading-zero", "max-age=003600", true),
        ("single-quoted", "max-age='3600'", false),
        ("quoted", r#"max-age="3600""#, true),
        ("space-before-equals", "max-age =3600", false),
        ("space-after-equals", "max-age= 3600", false),
        ("decimal", "max-age=3600.0", false),
        ("leading alpha", "max-age=a3600", false),
        ("trailing alpha", "max-age=3600a", false),
        ("two, the stale one second", "max-age=1800, max-age=1", false),
        ("two, the stale one first", "max-age=1, max-age=1800", false),
        ("no value", "max-age", false),
        ("private", "private, max-age=3600", false),
        ("no-store", "no-store", false),
        ("no-store in another case", "No-StOrE, max-age=3600", false),
        ("no-store behind an open quote", r#"max-age=3600, x="y, no-store"#, false),
        ("any lifetime behind an open quote", r#"x="max-age=3600"#, false),
        ("no-cache", "max-age=10000, no-cache", false),
        ("no-cache in another case", "max-age=10000, No-CaChE", false),
        ("no-cache of no field", r#"max-age=10000, no-cache="""#, false),
        ("must-revalidate, fresh", "max-age=10000, must-revalidate", true),
        ("must-understand, known", "max-age=3600, no-store, must-understand", true),
    ] {
        check(name, &format!("Cache-Control: {value}"), 3, is_cached);
    }
    let unknown = with_status(599, "Cache-Control: max-age=3600, no-store, must-understand");
    assert!(!second(&unknown, 0).is_cached(), "status-599-must-understand");
}

#[test]
fn the_age_of_an_answer_is_the_first_number_stated() {
    for (name, ages, is_cached) in [
        ("nonnumeric", "Age: abc", true),
        ("negative", "Age: -7200", true),
        ("float", "Age: 7200.0", true),
        ("large-minus-one", "Age: 2147483647", false),
        ("large", "Age: 2147483648", false),
        ("larger", "Age: 2147483649", false),
        ("beyond every type", "Age: 99999999999999999999999999", false),
        ("suffix", "Age: 7200, 0", false),
        ("prefix", "Age: 0, 7200", true),
        ("suffix-twoline", "Age: 7200\nAge: 0", false),
        ("prefix-twoline", "Age: 0\nAge: 7200", true),
        ("dup-0", "Age: 0, 0", true),
        ("dup-0-twoline", "Age: 0\nAge: 0", true),
    ] {
        check(name, &format!("Date: @0\nCache-Control: max-age=3600\n{ages}"), 3, is_cached);
    }
    check("dup-old", "Date: @0\nCache-Control: max-age=10000\nAge: 3600\nAge: 3600", 3, true);
    let eternal = "Date: @0\nCache-Control: max-age=99999999999\nAge: 99999999999";
    check("the longest age is older than the longest lifetime", eternal, 0, false);
}

#[test]
fn the_targeted_field_alone_decides_if_it_is_valid() {
    for (name, fields, is_cached) in [
        ("cdn-max-age", "CDN-Cache-Control: max-age=3600", true),
        ("cdn-max-age-max", "CDN-Cache-Control: max-age=2147483648", true),
        ("cdn-max-age-max-plus", "CDN-Cache-Control: max-age=99999999999", true),
        ("cdn-max-age-age", "Date: @0\nCDN-Cache-Control: max-age=3600\nAge: 7200", false),
        ("cdn-max-age-0", "CDN-Cache-Control: max-age=0", false),
        ("cdn-max-age-extension", "CDN-Cache-Control: foobar, max-age=3600", true),
        ("cdn-max-age-case-insensitive", "CDN-Cache-Control: MaX-aGe=3600", false),
        ("cdn-max-age-expires", "CDN-Cache-Control: max-age=3600\nExpires: @-10000\nDate: @0", true),
        ("cdn-invalid-expires", "CDN-Cache-Control: max-age=3600\nExpires: 0\nDate: @0", true),
        ("cdn-max-age-0-expires", "CDN-Cache-Control: max-age=0\nExpires: @10000\nDate: @0", false),
        ("cdn-short-cc-max-age", "Cache-Control: max-age=1\nCDN-Cache-Control: max-age=3600", true),
        ("cdn-long-cc-max-age", "Cache-Control: max-age=3600\nCDN-Cache-Control: max-age=1", false),
        ("cdn-private", "CDN-Cache-Control: private\nCache-Control: max-age=10000", false),
        ("cdn-no-cache", "CDN-Cache-Control: no-cache\nCache-Control: max-age=10000", false),
        ("cdn-no-store", "Cache-Control: max-age=10000\nCDN-Cache-Control: no-store\nExpires: @10000", false),
        ("cdn-fresh-cc-nostore", "Cache-Control: no-store\nCDN-Cache-Control: max-age=10000", true),
        ("unknown type", "CDN-Cache-Control: max-age=10000, &&&&&\nCache-Control: no-store", false),
        ("wrong type", "CDN-Cache-Control: max-age=\"10000\"\nCache-Control: no-store", false),
        ("decimal", "CDN-Cache-Control: max-age=10000.0\nCache-Control: no-store", false),
        (
            "wrong type, the other has the say",
            "CDN-Cache-Control: no-store=1\nCache-Control: max-age=9",
            true,
        ),
        ("space before =", "Cache-Control: max-age=1\nCDN-Cache-Control: max-age =100", false),
        ("space after =", "Cache-Control: max-age=1\nCDN-Cache-Control: max-age= 100", false),
        ("negative", "CDN-Cache-Control: max-age=-1\nCache-Control: max-age=100", false),
        ("empty", "CDN-Cache-Control:\nCache-Control: max-age=100", true),
        (
            "no longer than an integer",
            "CDN-Cache-Control: max-age=9999999999999999\nCache-Control: no-store",
            false,
        ),
        ("parameters say nothing", "CDN-Cache-Control: max-age=100;x=1, no-store=?0", true),
        ("two lines", "CDN-Cache-Control: foo\nCDN-Cache-Control: max-age=100", true),
        ("the last of two", "CDN-Cache-Control: max-age=100, max-age=1", false),
    ] {
        check(name, fields, 3, is_cached);
    }
    let seen = second(&says("Cache-Control: no-store\nCDN-Cache-Control: max-age=10000"), 3);
    assert_eq!(seen.field("cdn-cache-control"), "max-age=10000", "the field is passed on");
    assert_eq!(seen.field("age"), "3");
}

#[test]
fn lifetimes_are_guessed_for_some_statuses_alone() {
    let guessed = "Last-Modified: @-86400\nDate: @0";
    for status in [200, 203, 204, 300, 301, 308, 404, 405, 410, 414, 501] {
        assert!(second(&with_status(status, guessed), 0).is_cached(), "heuristic-{status}");
    }
    for status in [201, 202, 302, 403, 502, 503, 504, 599] {
        assert!(!second(&with_status(status, guessed), 0).is_cached(), "heuristic-{status}");
    }
    assert!(second(&with_status(599, &format!("{guessed}\nCache-Control: public")), 0).is_cached());
    check("a tenth", "Last-Modified: @-60\nDate: @0", 5, true);
    check("more than a tenth", "Last-Modified: @-60\nDate: @0", 6, false);
    check("a day at most", "Last-Modified: @-99999999\nDate: @0", 86_399, true);
    check("a day at most", "Last-Modified: @-99999999\nDate: @0", 86_401, false);
    check("a Date ahead stretches nothing", "Last-Modified: @-60\nDate: @99999", 7, false);
}

#[test]
fn every_final_status_is_kept_as_long_as_it_says() {
    let stale = "Expires: @-5000\nLast-Modified: @-100000\nDate: @0";
    for status in [200, 203, 204, 299, 301, 302, 303, 307, 308, 400, 404, 410, 499, 500, 502, 503, 504, 599] {
        let fresh = with_status(status, "Cache-Control: max-age=100000\nDate: @0");
        let seen = second(&fresh, 3);
        assert!(seen.is_cached() && seen.status.as_u16() == status, "status-{status}-fresh");
        assert!(!second(&with_status(status, stale), 3).is_cached(), "status-{status}-stale");
    }
    for status in [304, 401, 407, 412, 416, 428, 429, 431, 511] {
        let fresh = with_status(status, "Cache-Control: max-age=100000\nDate: @0");
        assert!(!second(&fresh, 0).is_cached(), "{status} is never kept");
    }
}

#[test]
fn an_answer_is_reused_for_requests_that_it_was_selected_for() {
    let varied = |vary: &str| says(&format!("Cache-Control: max-age=5000\nDate: @0\n{vary}"));
    for (name, vary, first, then, is_cached) in [
        ("vary-match", "Vary: Foo", "Foo: 1", "Foo: 1", true),
        ("vary-no-match", "Vary: Foo", "Foo: 1", "Foo: 2", false),
        ("vary-omit-stored", "Vary: Foo", "", "Foo: 1", false),
        ("vary-omit", "Vary: Foo", "Foo: 1", "", false),
        ("an empty field is not an absent one", "Vary: Foo", "Foo:", "", false),
        ("vary-cache-key", "Vary: Foo", "Foo: 1\nOther: 2", "Foo: 1\nOther: 3", true),
        ("vary-2-match", "Vary: Foo, Bar", "Foo: 1\nBar: abc", "Bar: abc\nFoo: 1", true),
        ("vary-2-no-match", "Vary: Foo, Bar", "Foo: 1\nBar: abc", "Foo: 2\nBar: abc", false),
        ("vary-2-match-omit", "Vary: Foo, Bar", "Foo: 1\nBar: abc", "", false),
        ("vary on two lines", "Vary: Foo\nVary: Bar", "Foo: 1\nBar: a", "Foo: 1\nBar: b", false),
        (
            "vary-3-order",
            "Vary: Foo, Bar, Baz",
            "Foo: 1\nBar: abc\nBaz: 7",
            "Foo: 1\nBaz: 7\nBar: abcde",
            false,
        ),
        ("vary-3-omit", "Vary: Foo, Bar, Baz", "Foo: 1\nBaz: 7", "Foo: 1\nBaz: 7", true),
        ("vary-star", "Vary: *", "Foo: 1", "Foo: 1", false),
        ("star-star", "Vary: *, *", "Foo: 1", "Foo: 1", false),
        ("star-star-lines", "Vary: *\nVary: *", "Foo: 1", "Foo: 1", false),
        ("empty-star", "Vary: , *", "Foo: 1", "Foo: 1", false),
        ("empty-star-lines", "Vary:\nVary: *", "Foo: 1", "Foo: 1", false),
        ("star-foo", "Vary: *, Foo", "Foo: 1", "Foo: 1", false),
        ("foo-star", "Vary: Foo, *", "Foo: 1", "Foo: 1", false),
        ("no field name", "Vary: Foo Bar", "Foo: 1", "Foo: 1", false),
        ("empty members", "Vary: ,Foo,,", "Foo: 1", "Foo: 1", true),
        ("normalise-combine", "Vary: Foo", "Foo: 1, 2", "Foo: 1\nFoo: 2", true),
        ("normalise-space", "Vary: Foo", "Foo: 1,2", "Foo:  1,  2 ", true),
        ("space in quotes stays", "Vary: Foo", "Foo: \"1, 2\"", "Foo: \"1,2\"", false),
        ("lang-order", "Vary: Accept-Language", "Accept-Language: en, de", "Accept-Language: de, en", true),
        ("lang-case", "Vary: Accept-Language", "Accept-Language: en, de", "Accept-Language: eN, De", true),
        (
            "lang-space",
            "Vary: Accept-Language",
            "Accept-Language: en, de",
            "Accept-Language:  en ,  de",
            true,
        ),
        (
            "lang-rank",
            "Vary: Accept-Language",
            "Accept-Language: en, de",
            "Accept-Language: en;q=0.5, de",
            false,
        ),
        (
            "lang-select",
            "Vary: Accept-Language\nContent-Language: de",
            "Accept-Language: en, de",
            "Accept-Language: fr;q=0.5, de;q=1.0",
            true,
        ),
        (
            "not the favourite",
            "Vary: Accept-Language\nContent-Language: de",
            "Accept-Language: en, de",
            "Accept-Language: fr, de;q=0.5",
            false,
        ),
        ("credentials", "Vary: Cookie", "Cookie: a=b", "Cookie: a=b", true),
        ("other credentials", "Vary: Cookie", "Cookie: a=b", "Cookie: a=c", false),
    ] {
        let mut world = World::new();
        world.get(first, &varied(vary));
        assert_eq!(world.get(then, &varied(vary)).is_cached(), is_cached, "{name}");
    }
}

#[test]
fn two_variants_are_kept() {
    let mut world = World::new();
    let varied = says("Cache-Control: max-age=5000\nDate: @0\nVary: Foo");
    world.get("Foo: 1", &varied);
    assert!(!world.get("Foo: 2", &varied).is_cached());
    assert!(world.get("Foo: 1", &varied).is_cached());
    assert!(world.get("Foo: 2", &varied).is_cached());
}

#[test]
fn a_kept_secret_is_a_hash() {
    let mut world = World::new();
    world.get("Cookie: canary", &says("Cache-Control: max-age=5000\nVary: Cookie"));
    let shown = format!("{:?} {:?}", world.kept[0].0, world.kept[0].0.selection);
    assert!(!shown.contains("canary"), "{shown}");
    assert!(world.kept[0].0.selection.bytes() > 0);
}

#[test]
fn credentials_part_the_audience_unless_the_origin_shares() {
    for (name, value, is_cached) in [
        ("other-authorization", "max-age=3600", false),
        ("other-authorization-public", "max-age=3600, public", true),
        ("other-authorization-must-revalidate", "max-age=3600, must-revalidate", true),
        ("other-authorization-smaxage", "s-maxage=3600", true),
    ] {
        let mut world = World::new();
        let origin = says(&format!("Cache-Control: {value}\nDate: @0"));
        world.get("Authorization: FOO", &origin);
        assert!(world.get("Authorization: FOO", &origin).is_cached(), "{name}");
        assert_eq!(world.get("", &origin).is_cached(), is_cached, "{name}");
    }
}

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
fn a_mismatched_variant_offers_its_entity_tag() {
    let origin = says("Expires: @10000\nETag: \"abcdef\"\nDate: @0\nVary: Abc");
    let mut world = World::new();
    world.get("Abc: 123", &origin);
    let seen = world.get("Abc: 456", &origin);
    assert_eq!(seen.asked.unwrap().headers.get("if-none-match").unwrap(), "\"abcdef\"");
    let response = world.response(304, "ETag: \"abcdef\"");
    let kept: Vec<_> = world.kept.iter().map(|(stored, ..)| stored.clone()).collect();
    assert!(confirmed(&kept, &response).is_some());
    assert_eq!(confirmed(&kept, &world.response(304, "ETag: \"x\"")), None);
    assert_eq!(confirmed(&kept, &world.response(304, "")), None);
    assert_eq!(confirmed(&kept[..1], &world.response(304, "")), Some(0));
}

#[test]
fn age_is_counted_and_dates_stay() {
    for (fields, age) in [
        ("Cache-Control: max-age=100000\nDate: @0", "3"),
        ("Cache-Control: max-age=100000\nDate: @0\nAge: 30", "33"),
        ("Expires: @2592000\nDate: @0\nAge: 30", "33"),
        ("Cache-Control: max-age=100000\nDate: @-50\nAge: 30", "53"),
    ] {
        let mut world = World::new();
        let first = world.get("", &says(fields));
        let seen = world.wait(3).get("", &says(fields));
        assert_eq!(seen.field("age"), age, "{fields}");
        assert_eq!(seen.field("date"), first.field("date"), "{fields}");
        assert_eq!(seen.field("expires"), first.field("expires"), "{fields}");
    }
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
fn stale_answers_serve_while_they_are_renewed() {
    let origin = says("Cache-Control: max-age=1, stale-while-revalidate=3600\nETag: \"abc\"");
    assert!(second(&origin, 3).is_cached(), "stale-while-revalidate");
    let mut world = World::new();
    world.get("", &says("Cache-Control: max-age=1, stale-while-revalidate=4\nETag: \"abc\""));
    let renewed = says("Cache-Control: no-cache\nETag: \"def\"");
    let seen = world.wait(3).get("", &renewed);
    assert!(seen.is_cached() && seen.field("n") == "1");
    let seen = world.wait(3).get("", &renewed);
    assert!(seen.asked.is_some(), "stale-while-revalidate-window");
    let late = says("Cache-Control: max-age=1, stale-while-revalidate=4");
    assert!(!second(&late, 6).is_cached());
    for strict in ["must-revalidate", "proxy-revalidate", "s-maxage=1", "no-cache"] {
        let origin = says(&format!("Cache-Control: max-age=1, stale-while-revalidate=3600, {strict}"));
        assert!(!second(&origin, 3).is_cached(), "{strict}");
    }
}

#[test]
fn stale_answers_serve_in_trouble_where_they_may() {
    let unavailable = || with_status(503, "");
    for (cc, origin, pause, is_cached) in [
        ("max-age=2", Origin::Breaks, 3, true),
        ("max-age=2", unavailable(), 3, false),
        ("max-age=2, stale-if-error=60", Origin::Breaks, 3, true),
        ("max-age=2, stale-if-error=60", unavailable(), 3, true),
        ("max-age=2, stale-if-error=60", unavailable(), 63, false),
        ("max-age=2, stale-if-error=60", Origin::Breaks, 63, false),
        ("max-age=2, stale-if-error=60", with_status(429, ""), 3, true),
        ("max-age=2, stale-if-error=60", with_status(404, ""), 3, false),
        ("max-age=2, stale-if-error=60, must-revalidate", unavailable(), 3, false),
        ("max-age=2, must-revalidate", Origin::Breaks, 3, false),
        ("max-age=2, proxy-revalidate", Origin::Breaks, 3, false),
        ("max-age=2, no-cache", Origin::Breaks, 3, false),
        ("max-age=2, s-maxage=2", Origin::Breaks, 3, false),
    ] {
        let mut world = World::new();
        world.get("", &says(&format!("Cache-Control: {cc}\nDate: @0\nETag: \"a\"")));
        assert_eq!(world.wait(pause).get("", &origin).is_cached(), is_cached, "{cc} after {pause} s");
    }
}

#[test]
fn the_clients_word_counts_in_trouble() {
    let mut world = World::new();
    world.get("", &says("Cache-Control: max-age=2\nDate: @0"));
    world.wait(10);
    for (wish, trouble, may) in [
        ("", Trouble::Disconnected, true),
        ("", Trouble::GateClosed, false),
        ("Cache-Control: no-cache", Trouble::Disconnected, false),
        ("Cache-Control: max-age=0", Trouble::Disconnected, false),
        ("Cache-Control: max-age=60", Trouble::Disconnected, true),
        ("Cache-Control: min-fresh=1", Trouble::Disconnected, false),
        ("Pragma: no-cache", Trouble::Disconnected, false),
        ("Cache-Control: stale-if-error=60", Trouble::GateClosed, true),
        ("Cache-Control: stale-if-error=5", Trouble::GateClosed, false),
        ("Cache-Control: max-stale", Trouble::GateClosed, true),
        ("Range: bytes=0-0", Trouble::Disconnected, true),
    ] {
        let request = world.request("GET", wish);
        assert_eq!(may_serve_stale(&world.kept[0].0, &request, world.now(), trouble), may, "{wish}");
    }
}

#[test]
fn requests_say_what_they_will_have() {
    let fresh = "Cache-Control: max-age=1500\nDate: @0\nETag: \"a\"";
    for (name, fields, wish, is_cached) in [
        ("ccreq-ma0", fresh, "Cache-Control: max-age=0", false),
        ("ccreq-ma1", fresh, "Cache-Control: max-age=1", false),
        ("ccreq-ma10", fresh, "Cache-Control: max-age=10", true),
        ("ccreq-magreaterage", "Cache-Control: max-age=3600\nAge: 1800", "Cache-Control: max-age=600", false),
        ("ccreq-max-stale", "Cache-Control: max-age=2", "Cache-Control: max-stale=1000", true),
        ("max-stale too small", "Cache-Control: max-age=1", "Cache-Control: max-stale=1", false),
        ("max-stale without limit", "Cache-Control: max-age=2", "Cache-Control: max-stale", true),
        (
            "max-stale, must-revalidate",
            "Cache-Control: max-age=2, must-revalidate",
            "Cache-Control: max-stale",
            false,
        ),
        (
            "ccreq-max-stale-age",
            "Cache-Control: max-age=1500\nAge: 2000",
            "Cache-Control: max-stale=1000",
            true,
        ),
        ("ccreq-min-fresh", fresh, "Cache-Control: min-fresh=2000", false),
        ("min-fresh enough", fresh, "Cache-Control: min-fresh=1000", true),
        (
            "ccreq-min-fresh-age",
            "Cache-Control: max-age=1500\nAge: 1000",
            "Cache-Control: min-fresh=1000",
            false,
        ),
        ("ccreq-no-cache", fresh, "Cache-Control: no-cache", false),
        ("ccreq-no-store", fresh, "Cache-Control: no-store", false),
        ("pragma", fresh, "Pragma: no-cache", false),
        ("pragma beside cache-control", fresh, "Pragma: no-cache\nCache-Control: x", true),
        ("pragma-request-extension", fresh, "Pragma: x", true),
        ("only-if-cached", fresh, "Cache-Control: only-if-cached", true),
        ("other-cookie", fresh, "Cookie: a=b", true),
    ] {
        let mut world = World::new();
        world.get("", &says(fields));
        assert_eq!(world.wait(3).get(wish, &says(fields)).is_cached(), is_cached, "{name}");
    }
    let seen = World::new().get("Cache-Control: only-if-cached", &says(fresh));
    assert_eq!(seen.status.as_u16(), 504, "ccreq-oic");
    let mut world = World::new();
    world.get("Cache-Control: no-store", &says(fresh));
    assert!(world.kept.is_empty(), "what a client will not have kept is not kept");
}

#[test]
fn unsafe_requests_that_succeed_drop_what_is_kept() {
    let fresh = says("Cache-Control: max-age=100000\nDate: @0");
    for method in ["POST", "PUT", "DELETE", "M-SEARCH", "PATCH"] {
        for (status, is_cached) in [(200, false), (204, false), (303, false), (404, true), (500, true)] {
            let mut world = World::new();
            world.get("", &fresh);
            world.ask(method, "", &with_status(status, ""));
            assert_eq!(world.get("", &fresh).is_cached(), is_cached, "{method} {status}");
        }
    }
    for method in ["GET", "HEAD", "OPTIONS", "TRACE"] {
        assert!(!invalidates(&method.parse().unwrap(), http::StatusCode::OK));
    }
}

#[test]
fn a_post_that_says_what_a_get_would_say_is_kept_for_it() {
    for (fields, is_cached) in [
        ("Cache-Control: max-age=3600\nContent-Location: /test/1\nDate: @0", true),
        ("Cache-Control: max-age=3600\nContent-Location: http://origin.test/test/1\nDate: @0", true),
        ("Cache-Control: max-age=3600\nContent-Location: /test/2\nDate: @0", false),
        ("Cache-Control: max-age=3600\nContent-Location: http://other.test/test/1\nDate: @0", false),
        ("Cache-Control: max-age=3600\nDate: @0", false),
        ("Last-Modified: @-86400\nContent-Location: /test/1\nDate: @0", false),
    ] {
        let mut world = World::new();
        world.ask("POST", "", &says(fields));
        assert_eq!(world.get("", &says(fields)).is_cached(), is_cached, "method-POST: {fields}");
    }
}

#[test]
fn a_newer_answer_that_may_not_be_kept_leaves_the_older_one() {
    let mut world = World::new();
    world.get("", &says("Cache-Control: max-age=10000\nDate: @0\nA: 1"));
    world.get("Cache-Control: no-cache", &says("Cache-Control: no-store\nDate: @0\nA: 2"));
    let seen = world.get("", &says(""));
    assert!(seen.is_cached() && seen.field("a") == "1", "cc-resp-no-store-old-new");
}

#[test]
fn heads_are_answered_from_gets_and_renew_them() {
    let fresh = says("Cache-Control: max-age=2\nDate: @0\nTemplate-A: 1");
    let mut world = World::new();
    world.get("", &fresh);
    let seen = world.ask("HEAD", "", &fresh);
    assert!(seen.is_cached() && seen.body.is_empty() && seen.field("content-length") == "11");
    let seen = world.wait(3).ask("HEAD", "", &says("Cache-Control: max-age=1000\nDate: @0"));
    assert_eq!(seen.asked.as_ref().unwrap().method, http::Method::HEAD, "head-writethrough");
    assert_eq!(seen.headers.get("template-a").unwrap(), "1", "head-200-retain");
    let seen = world.wait(3).get("", &fresh);
    assert!(seen.is_cached() && seen.body.len() == 11, "head-200-freshness-update");
    let seen =
        world.wait(2000).ask("HEAD", "", &with_status(410, "Cache-Control: max-age=1000\nTemplate-A: 2"));
    assert_eq!(seen.status.as_u16(), 410);
    assert!(!world.get("", &fresh).is_cached());
}

#[test]
fn an_answer_to_a_head_answers_heads_alone() {
    let fresh = says("Cache-Control: max-age=100\nDate: @0\nContent-Length: 11");
    let mut world = World::new();
    world.ask("HEAD", "", &fresh);
    let seen = world.ask("HEAD", "", &fresh);
    assert!(seen.is_cached() && seen.field("content-length") == "11");
    assert!(!world.get("", &fresh).is_cached());
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
fn interim_answers_are_not_kept() {
    let world = World::new();
    let request = world.request("GET", "");
    for status in [100, 101, 102, 103] {
        let interim = world.response(status, "Cache-Control: max-age=100000");
        assert!(keep(&request, &interim, &world.timing()).is_none(), "{status}");
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

#[test]
fn an_operators_rule_keeps_what_the_origin_would_not() {
    let mut world = World::new();
    let minute = Duration::from_secs(60);
    let request = world.request("GET", "Foo: 1");
    let kept = |world: &World, status, fields: &str| {
        keep_for(&request, &world.response(status, fields), &world.timing(), minute)
    };
    for (status, fields, is_kept) in [
        (200, "Cache-Control: no-store, private, max-age=0", true),
        (200, "Cache-Control: no-cache\nVary: Foo", true),
        (200, "Vary: *", false),
        (203, "", false),
        (206, "Content-Range: bytes 0-4/10", false),
        (404, "Cache-Control: max-age=60", false),
    ] {
        assert_eq!(kept(&world, status, fields).is_some(), is_kept, "{status} {fields}");
    }
    let old = "Cache-Control: no-store\nAge: 1000\nDate: @-2000\nVary: Foo\nETag: \"a\"";
    let list = [Arc::new(kept(&world, 200, old).unwrap())];
    let other = world.request("GET", "Foo: 2");
    assert_eq!(judge(&list, &other, world.now()), Verdict::Miss(Why::VaryMiss));
    for (wait, verdict) in
        [(0, Verdict::Serve(0)), (59, Verdict::Serve(0)), (1, Verdict::Validate(0, Why::Stale))]
    {
        assert_eq!(judge(&list, &request, world.wait(wait).now()), verdict, "{wait} s later");
    }
    assert!(!may_serve_stale(&list[0], &request, world.now(), Trouble::Disconnected));
    let again = merge(&list[0], &request, &world.response(304, ""), &world.timing()).unwrap();
    assert_eq!(again.audience, Some(Audience::Tenant));
    assert_eq!(again.stored.fresh_for(world.now()), minute);
    assert!(
        keep_for(&world.request("HEAD", ""), &world.response(200, ""), &world.timing(), minute).is_none()
    );
    let refused = world.request("GET", "Cache-Control: no-store");
    assert!(keep_for(&refused, &world.response(200, ""), &world.timing(), minute).is_none());
}

#[test]
fn a_stepped_wall_clock_changes_no_age() {
    let world = World::new();
    let request = world.request("GET", "");
    let response = world.response(200, "Cache-Control: max-age=60\nDate: @0");
    for (wall, age) in [(1_800_000_000, 0), (1_800_000_030, 30), (0, 0), (999_999_999_999, 998_199_999_999)] {
        let timing =
            Timing { received_wall: SystemTime::UNIX_EPOCH + Duration::from_secs(wall), ..world.timing() };
        let (stored, _) = keep(&request, &response, &timing).unwrap();
        let later = world.now() + Duration::from_secs(7);
        assert_eq!(stored.age(later), Duration::from_secs(age + 7), "received at {wall}");
        assert!(keep(&request, &world.response(200, "Cache-Control: max-age=60"), &timing).is_some());
    }
}

#[test]
fn the_time_an_answer_took_counts_as_age() {
    let world = World::new();
    let response = world.response(200, "Cache-Control: max-age=60\nDate: @0\nAge: 10");
    let timing = Timing { received_at: world.now() + Duration::from_millis(5900), ..world.timing() };
    let (stored, _) = keep(&world.request("GET", ""), &response, &timing).unwrap();
    assert_eq!(stored.age(timing.received_at), Duration::from_secs(15));
}

#[test]
fn references_of_the_same_origin_are_outdated_too() {
    let world = World::new();
    for (reference, target) in [
        ("/test/2", Some("/test/2")),
        ("2", Some("/test/2")),
        ("./2?x=1", Some("/test/2?x=1")),
        ("../a/./b/../c", Some("/a/c")),
        ("../../..", Some("/")),
        ("?q", Some("/test/1?q")),
        ("", Some("/test/1")),
        ("#part", Some("/test/1")),
        ("http://origin.test/a#b", Some("/a")),
        ("HTTPS://ORIGIN.test:443", Some("/")),
        ("//origin.test/a", Some("/a")),
        ("http://origin.test:8080/a", None),
        ("http://other.test/a", None),
        ("//other.test/a", None),
        ("mailto:a@origin.test", None),
        ("http://[", None),
        ("/a b", None),
    ] {
        let request = world.request("POST", "");
        let mut response = HeaderMap::new();
        response.insert("location", reference.parse().unwrap());
        let found = also_outdated(&request, &response);
        assert_eq!(found.first().map(|target| target.as_str()), target, "{reference}");
    }
    let mut request = world.request("POST", "Host: origin.test");
    request.uri = "/test/1".parse().unwrap();
    let both = world.fields("Location: http://origin.test/a\nContent-Location: /b");
    let found = also_outdated(&request, &both);
    assert_eq!(found.iter().map(|target| target.as_str()).collect::<Vec<_>>(), ["/a", "/b"]);
}
