//! What no field of a stranger's may bring about: a panic, a longer life, a byte outside the body.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};
use proptest::prelude::*;

use super::super::*;
use super::world::World;

const FIELDS: [&str; 21] = [
    "age",
    "cache-control",
    "cdn-cache-control",
    "connection",
    "content-language",
    "content-length",
    "content-location",
    "content-range",
    "date",
    "etag",
    "expires",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "last-modified",
    "location",
    "pragma",
    "range",
    "vary",
    "accept-language",
];

/// Words of the grammar, and noise between them.
fn value() -> impl Strategy<Value = Vec<u8>> {
    let word = prop::sample::select(
        &[
            "max-age=",
            "s-maxage=",
            "no-store",
            "no-cache",
            "private",
            "public",
            "must-revalidate",
            "stale-while-revalidate=",
            "stale-if-error=",
            "bytes ",
            "bytes=",
            "0-4",
            "-5",
            "5-",
            "/10",
            "*",
            "\"",
            "\"a\"",
            "W/",
            ",",
            ";",
            "=",
            " ",
            "0",
            "7",
            "3600",
            "99999999999999999999",
            "-",
            "\\",
            "'",
            "Thu, 18 Aug 2050 02:01:18 GMT",
            "Thursday, 18-Aug-50 02:01:18 GMT",
            "Foo",
            "de;q=0.5",
            "en",
            "..",
            "/",
            "//",
            "http:",
            "origin.test",
            "?",
            "%",
        ][..],
    );
    let noise = prop::collection::vec(any::<u8>(), 0..4);
    let piece = prop_oneof![9 => word.prop_map(|word| word.as_bytes().to_vec()), 1 => noise];
    prop::collection::vec(piece, 0..8).prop_map(|pieces| pieces.concat())
}

fn fields(count: usize) -> impl Strategy<Value = HeaderMap> {
    prop::collection::vec((prop::sample::select(&FIELDS[..]), value()), 0..count).prop_map(|lines| {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            if let Ok(value) = HeaderValue::from_bytes(&value) {
                headers.append(HeaderName::from_static(name), value);
            }
        }
        headers
    })
}

/// How long an answer stays fresh after receipt; zero if it is not kept.
fn left(world: &World, response: &HeaderMap) -> Duration {
    let mut answer = world.response(200, "");
    answer.headers = response.clone();
    let kept = keep(&world.request("GET", ""), &answer, &world.timing());
    kept.filter(|(stored, _)| !stored.terms.needs_proof)
        .map_or(Duration::ZERO, |(stored, _)| stored.fresh_for(world.now()))
}

fn with(world: &World, base: &str, name: &'static str, value: &[u8]) -> Option<HeaderMap> {
    let mut headers = world.fields(base);
    headers.append(HeaderName::from_static(name), HeaderValue::from_bytes(value).ok()?);
    Some(headers)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(ProptestConfig::default().cases.max(1000)))]

    #[test]
    fn nothing_panics_and_slices_lie_within_the_body(
        asked in fields(6),
        then in fields(6),
        first in fields(8),
        second in fields(6),
        status in prop::sample::select(&[200_u16, 203, 204, 206, 301, 304, 404, 416, 503, 599][..]),
        later in prop::sample::select(&[200_u16, 206, 304, 416][..]),
        method in prop::sample::select(&["GET", "HEAD", "POST"][..]),
        body in 0_u64..12,
    ) {
        let mut world = World::new();
        let mut request = world.request(method, "");
        request.headers = asked;
        let mut response = world.response(status, "");
        response.headers = first;
        also_outdated(&request, &response.headers);
        let kept = keep(&request, &response, &world.timing()).and_then(|(stored, _)| stored.finished(body));
        let ruled = keep_for(&request, &response, &world.timing(), Duration::from_secs(60))
            .and_then(|stored| stored.finished(body));
        let list: Vec<_> = kept.into_iter().chain(ruled).map(Arc::new).collect();
        world.wait(9);
        let mut question_asked = world.request("GET", "");
        question_asked.headers = then;
        let mut answer_to_it = world.response(later, "");
        answer_to_it.headers = second;
        judge(&list, &question_asked, world.now());
        question_of_variants(&list, &question_asked);
        confirmed(&list, &answer_to_it);
        for stored in &list {
            question(stored, &question_asked);
            continuation(stored, &question_asked);
            may_serve_stale(stored, &question_asked, world.now(), Trouble::Disconnected);
            update_head(stored, &question_asked, &answer_to_it, &world.timing());
            merge(stored, &question_asked, &answer_to_it, &world.timing());
            if let Joined::Rest(joined, _) = combine(stored, &question_asked, &answer_to_it, &world.timing()) {
                prop_assert!(matches!(joined.extent, Extent::Whole(Some(total)) if total >= body));
            }
            let reply = answer(stored, &question_asked, world.now());
            if let Content::Slice(range) = reply.content {
                prop_assert!(range.start < range.end && range.end <= body, "{range:?} of {body}");
                let length = (range.end - range.start).to_string();
                prop_assert_eq!(reply.headers.get("content-length").unwrap().to_str().unwrap(), length);
            }
        }
    }

    #[test]
    fn no_age_makes_an_answer_younger(value in value()) {
        let world = World::new();
        let base = "Cache-Control: max-age=3600\nDate: @-10";
        if let Some(headers) = with(&world, base, "age", &value) {
            prop_assert!(left(&world, &headers) <= left(&world, &world.fields(base)));
        }
    }

    #[test]
    fn no_date_makes_an_answer_last_longer_than_the_origin_said(value in value()) {
        let world = World::new();
        for base in ["Cache-Control: max-age=3600", "Expires: @3600", "Last-Modified: @-36000"] {
            if let Some(headers) = with(&world, base, "date", &value) {
                prop_assert!(left(&world, &headers) <= Duration::from_secs(3600), "{base}");
            }
        }
    }

    #[test]
    fn no_further_directive_makes_an_answer_last_longer(value in value()) {
        let world = World::new();
        // The two that may by definition are s-maxage and what comes in its place.
        let is_longer = String::from_utf8_lossy(&value).contains("s-maxage");
        for base in ["Cache-Control: max-age=60\nETag: \"a\"", "Cache-Control: s-maxage=60\nETag: \"a\""] {
            if let (Some(headers), false) = (with(&world, base, "cache-control", &value), is_longer) {
                prop_assert!(left(&world, &headers) <= Duration::from_secs(60), "{base}");
            }
        }
    }

    #[test]
    fn no_directive_lets_what_must_not_be_kept_be_kept(value in value()) {
        let world = World::new();
        for base in ["Cache-Control: no-store", "Cache-Control: private", "Cache-Control: max-age=60\nVary: *"] {
            for name in ["cache-control", "vary", "age", "date", "expires", "content-range"] {
                if let Some(headers) = with(&world, base, name, &value) {
                    prop_assert_eq!(left(&world, &headers), Duration::ZERO, "{} {}", base, name);
                }
            }
        }
    }

    #[test]
    fn no_vary_lets_more_requests_match(vary in value(), foo in value()) {
        let world = World::new();
        let base = "Cache-Control: max-age=60\nVary: Foo";
        let Some(headers) = with(&world, base, "vary", &vary) else { return Ok(()) };
        let mut response = world.response(200, "");
        response.headers = headers;
        let kept = keep(&world.request("GET", "Foo: here"), &response, &world.timing());
        let Ok(foo) = HeaderValue::from_bytes(&foo) else { return Ok(()) };
        let mut other = world.request("GET", "");
        other.headers.insert("foo", foo);
        if let Some((stored, _)) = kept {
            let is_miss = matches!(judge(&[Arc::new(stored)], &other, world.now()), Verdict::Miss(_));
            prop_assert!(is_miss || other.headers.get("foo").unwrap() == "here");
        }
    }
}
