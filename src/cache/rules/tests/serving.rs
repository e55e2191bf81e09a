//! Stale answers, heads, and what requests will have.

use super::super::*;
use super::world::{Origin, World, says, second, with_status};

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
        ("ccreq-ma2", fresh, "Cache-Control: max-age=2", false),
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
