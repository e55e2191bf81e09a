//! What unsafe requests and newer answers do to what is kept.

use http::HeaderMap;

use super::super::*;
use super::world::{World, says, with_status};

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
