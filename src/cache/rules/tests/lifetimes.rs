//! How long answers are fresh and how old they are, by the names of the public suite (CACHE 4).

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::super::*;
use super::world::{World, says, second, with_status};

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
        ("a lifetime in an open quote", r#"x="y, max-age=3600"#, false),
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
fn interim_answers_are_not_kept() {
    let world = World::new();
    let request = world.request("GET", "");
    for status in [100, 101, 102, 103] {
        let interim = world.response(status, "Cache-Control: max-age=100000");
        assert!(keep(&request, &interim, &world.timing()).is_none(), "{status}");
    }
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
