//! Ranges: of wholes, of parts, and what is asked to make a part whole.

use proptest::prelude::*;

use super::super::*;
use super::world::{Origin, World, says};

fn part(fields: &str, body: &str) -> Origin {
    Origin::Says(206, fields.to_owned(), body.as_bytes().to_vec())
}

#[test]
fn ranges_are_sliced_from_a_whole() {
    let fresh = says("Cache-Control: max-age=3600\nDate: @-50\nETag: \"a\"\nA: 1");
    for (asked, status, body, content_range) in [
        ("Range: bytes=0-1", 206, "01", "bytes 0-1/11"),
        ("Range: bytes=1-", 206, "123456789A", "bytes 1-10/11"),
        ("Range: bytes=-1", 206, "A", "bytes 10-10/11"),
        ("Range: bytes=-99", 206, "0123456789A", "bytes 0-10/11"),
        ("Range: bytes=9-99999999999999999999999", 206, "9A", "bytes 9-10/11"),
        ("Range: BYTES=0-0", 206, "0", "bytes 0-0/11"),
        ("Range: bytes=11-", 416, "", "bytes */11"),
        ("Range: bytes=99999999999999999999999-", 416, "", "bytes */11"),
        ("Range: bytes=-0", 416, "", "bytes */11"),
        ("Range: bytes=0-1,3-4", 200, "0123456789A", ""),
        ("Range: bytes=0-1\nRange: bytes=3-4", 200, "0123456789A", ""),
        ("Range: bytes=3-1", 200, "0123456789A", ""),
        ("Range: bytes=-", 200, "0123456789A", ""),
        ("Range: bytes=a-b", 200, "0123456789A", ""),
        ("Range: lines=0-1", 200, "0123456789A", ""),
        ("Range: bytes=0-1\nIf-Range: \"a\"", 206, "01", "bytes 0-1/11"),
        ("Range: bytes=0-1\nIf-Range: \"b\"", 200, "0123456789A", ""),
        ("Range: bytes=0-1\nIf-Range: W/\"a\"", 200, "0123456789A", ""),
        ("Range: bytes=0-1\nIf-None-Match: \"a\"", 304, "", ""),
    ] {
        let mut world = World::new();
        world.get("", &fresh);
        let seen = world.get(asked, &fresh);
        assert!(seen.is_cached(), "{asked}");
        assert_eq!((seen.status.as_u16(), &*seen.body), (status, body.as_bytes()), "{asked}");
        assert_eq!(seen.field("content-range"), content_range, "{asked}");
        assert_eq!(seen.field("a"), "1", "partial-use-stored-headers: {asked}");
        if status != 304 {
            assert_eq!(seen.field("content-length"), body.len().to_string(), "{asked}");
        }
    }
}

#[test]
fn a_date_vouches_for_a_range_if_it_is_exact_and_settled() {
    for (changed, named, status) in [("@-100", "@-100", 206), ("@-100", "@-99", 200), ("@0", "@0", 200)] {
        let fresh = says(&format!("Cache-Control: max-age=3600\nDate: @0\nLast-Modified: {changed}"));
        let mut world = World::new();
        world.get("", &fresh);
        let seen = world.get(&format!("Range: bytes=0-1\nIf-Range: {named}"), &fresh);
        assert_eq!(seen.status.as_u16(), status, "{changed} {named}");
    }
}

#[test]
fn ranges_mean_nothing_to_heads_errors_and_the_unmeasured() {
    let mut world = World::new();
    let lost = Origin::Says(404, "Cache-Control: max-age=60\nDate: @0".to_owned(), b"lost".to_vec());
    world.get("", &lost);
    assert_eq!(world.get("Range: bytes=0-1", &lost).body, b"lost");

    let mut world = World::new();
    let fresh = says("Cache-Control: max-age=3600\nDate: @0");
    world.get("", &fresh);
    let seen = world.ask("HEAD", "Range: bytes=0-1", &fresh);
    assert_eq!((seen.status.as_u16(), seen.field("content-length")), (200, "11"));

    let filling = keep_under_proof(&world.fields(""), Extent::Whole(None), world.now());
    let reply = answer(&filling, &world.request("GET", "Range: bytes=0-1"), world.now());
    assert_eq!((reply.status.as_u16(), reply.content), (200, Content::Whole));
}

#[test]
fn a_content_under_proof_is_answered_from() {
    let mut world = World::new();
    let headers = world.fields("Cache-Control: no-cache\nContent-Length: 11\nContent-Type: image/png");
    let kept = keep_under_proof(&headers, Extent::Whole(Some(11)), world.now());
    world.wait(7);
    let reply = answer(&kept, &world.request("GET", "Range: bytes=2-3"), world.now());
    assert_eq!((reply.status.as_u16(), reply.content), (206, Content::Slice(2..4)));
    let reply = answer(&kept, &world.request("GET", "If-None-Match: \"x\""), world.now());
    assert_eq!((reply.status.as_u16(), reply.content), (200, Content::Whole));
    assert_eq!(reply.headers.get("age").unwrap(), "7");
    assert_eq!(reply.headers.get("cache-control").unwrap(), "no-cache");
    let reply = answer(&kept, &world.request("HEAD", ""), world.now());
    assert_eq!(
        (reply.headers.get("content-length").unwrap().to_str().unwrap(), reply.content),
        ("11", Content::Nothing)
    );
}

#[test]
fn parts_are_kept_and_answer_the_ranges_they_hold() {
    // The suite's own origin: its Content-Range names six bytes and five come.
    let odd = part("Cache-Control: max-age=3600\nContent-Range: bytes 4-9/10", "01234");
    for (name, asked, body) in [
        ("partial-store-partial-reuse-partial", "Range: bytes=-5", "01234"),
        ("partial-store-partial-reuse-partial-byterange", "Range: bytes=6-8", "234"),
        ("partial-store-partial-reuse-partial-absent", "Range: bytes=6-", "234"),
        ("partial-store-partial-reuse-partial-suffix", "Range: bytes=-1", "4"),
    ] {
        let mut world = World::new();
        world.get("Range: bytes=-5", &odd);
        let seen = world.get(asked, &odd);
        assert!(seen.is_cached(), "{name}");
        assert_eq!((seen.status.as_u16(), &*seen.body), (206, body.as_bytes()), "{name}");
    }
    let whole = part("Cache-Control: max-age=3600\nContent-Range: bytes 4-8/20", "45678");
    for (asked, is_cached, body) in [
        ("Range: bytes=4-8", true, "45678"),
        ("Range: bytes=5-5", true, "5"),
        ("Range: bytes=4-9", false, ""),
        ("Range: bytes=8-19", false, ""),
        ("Range: bytes=9-9", false, ""),
        ("Range: bytes=3-5", false, ""),
        ("Range: bytes=5-", false, ""),
        ("Range: bytes=-1", false, ""),
        ("Range: bytes=0-", false, ""),
        ("Range: bytes=5-6\nIf-Range: \"x\"", false, ""),
        ("", false, ""),
    ] {
        let mut world = World::new();
        world.get("Range: bytes=4-8", &whole);
        let seen = world.get(asked, &whole);
        assert_eq!(seen.is_cached(), is_cached, "{asked}");
        if is_cached {
            assert_eq!(seen.body, body.as_bytes(), "{asked}");
        }
    }
    let mut world = World::new();
    world.get("Range: bytes=4-8", &whole);
    assert!(!world.ask("HEAD", "", &whole).is_cached(), "a part is no head");
}

#[test]
fn a_part_whose_fields_contradict_each_other_is_not_kept() {
    for (content_range, length, asked) in [
        ("bytes 0-4/10", 4, "bytes=0-4"),
        ("bytes 0-4/10", 6, "bytes=0-4"),
        ("bytes 5-9/10", 4, "bytes=-5"),
        ("bytes 4-9/10", 5, "bytes=4-9"),
        ("bytes 4-0/10", 5, "bytes=0-4"),
        ("bytes 0-10/10", 11, "bytes=0-10"),
        ("bytes 0-4/*", 5, "bytes=0-4"),
        ("bytes */10", 5, "bytes=0-4"),
        ("bytes 0-4", 5, "bytes=0-4"),
        ("lines 0-4/10", 5, "bytes=0-4"),
        ("bytes 0-18446744073709551615/18446744073709551615", 5, "bytes=0-4"),
        ("bytes 99999999999999999999-4/10", 5, "bytes=0-4"),
        ("bytes -4-0/10", 5, "bytes=0-4"),
        ("", 5, "bytes=0-4"),
        ("bytes 0-4/10\nContent-Range: bytes 5-9/10", 5, "bytes=0-4"),
        ("bytes 0-4/10\nContent-Length: 5", 5, "bytes=0-4"),
    ] {
        let world = World::new();
        let fields =
            format!("Cache-Control: max-age=60\nContent-Length: {length}\nContent-Range: {content_range}");
        let request = world.request("GET", &format!("Range: {asked}"));
        let kept = keep(&request, &world.response(206, &fields), &world.timing());
        assert!(kept.is_none(), "{content_range} {length} {asked}");
    }
}

#[test]
fn a_body_that_is_not_as_long_as_promised_is_not_kept() {
    let world = World::new();
    let request = world.request("GET", "");
    for (length, body, is_kept) in [
        ("Content-Length: 5", 5, true),
        ("Content-Length: 5", 4, false),
        ("Content-Length: 5", 6, false),
        ("", 6, true),
    ] {
        let answer = world.response(200, &format!("Cache-Control: max-age=60\n{length}"));
        let (stored, _) = keep(&request, &answer, &world.timing()).unwrap();
        let finished = stored.finished(body);
        assert_eq!(finished.is_some(), is_kept, "{length} {body}");
        if let Some(finished) = finished {
            assert_eq!(finished.extent, Extent::Whole(Some(body)));
        }
    }
    for length in ["Content-Length: five", "Content-Length: -5", "Content-Length: 5\nContent-Length: 6"] {
        let answer = world.response(200, &format!("Cache-Control: max-age=60\n{length}"));
        assert!(keep(&request, &answer, &world.timing()).is_none(), "{length}");
    }
}

#[test]
fn a_beginning_is_completed() {
    let begun = |etag: &str| {
        part(&format!("Cache-Control: max-age=3600\nDate: @0\nContent-Range: bytes 0-4/10\n{etag}"), "01234")
    };
    let mut world = World::new();
    world.get("Range: bytes=0-4", &begun(""));
    let seen = world.get("", &says("Cache-Control: max-age=60\nDate: @0"));
    let asked = seen.asked.unwrap();
    assert_eq!(asked.headers.get("range").unwrap(), "bytes=5-", "partial-store-partial-complete");
    assert_eq!(seen.body, b"0123456789A", "the upstream's 200 is used as it is");

    let mut world = World::new();
    world.get("Range: bytes=0-4", &begun("ETag: \"a\""));
    let rest = "Cache-Control: max-age=3600\nDate: @0\nContent-Range: bytes 5-9/10\nETag: \"a\"\nB: 2";
    let seen = world.get("If-None-Match: \"x\"", &part(rest, "56789"));
    let asked = seen.asked.as_ref().unwrap();
    assert_eq!(asked.headers.get("if-range").unwrap(), "\"a\"");
    assert!(!asked.headers.contains_key("if-none-match"));
    assert_eq!((seen.status.as_u16(), &*seen.body), (200, &b"0123456789"[..]));
    assert_eq!((seen.field("content-length"), seen.field("content-range")), ("10", ""));
    let seen = world.get("", &begun(""));
    assert!(seen.is_cached() && seen.body == b"0123456789" && seen.field("b") == "2");
    assert_eq!(world.kept.len(), 1, "the part has gone");
}

#[test]
fn only_the_same_answer_is_joined() {
    let world = World::new();
    let begun = |etag: &str| {
        let fields =
            format!("Cache-Control: max-age=60\nContent-Length: 5\nContent-Range: bytes 0-4/10\n{etag}");
        keep(&world.request("GET", "Range: bytes=0-4"), &world.response(206, &fields), &world.timing())
            .unwrap()
            .0
    };
    for (kept, came, joins) in [
        ("ETag: \"a\"", "Content-Range: bytes 5-9/10\nETag: \"a\"", true),
        ("ETag: \"a\"", "Content-Range: bytes 5-9/10\nETag: \"b\"", false),
        ("ETag: \"a\"", "Content-Range: bytes 5-9/10", false),
        ("ETag: W/\"a\"", "Content-Range: bytes 5-9/10\nETag: W/\"a\"", false),
        ("", "Content-Range: bytes 5-9/10", false),
        ("ETag: \"a\"", "Content-Range: bytes 5-8/10\nETag: \"a\"", false),
        ("ETag: \"a\"", "Content-Range: bytes 4-9/10\nETag: \"a\"", false),
        ("ETag: \"a\"", "Content-Range: bytes 6-9/10\nETag: \"a\"", false),
        ("ETag: \"a\"", "Content-Range: bytes 5-9/11\nETag: \"a\"", false),
        ("ETag: \"a\"", "Content-Range: bytes 5-9/10\nContent-Length: 4\nETag: \"a\"", false),
    ] {
        let stored = begun(kept);
        let request = world.request("GET", "");
        let joined = combine(&stored, &request, &world.response(206, came), &world.timing());
        assert_eq!(matches!(joined, Joined::Rest(..)), joins, "{kept} {came}");
        assert_eq!(matches!(joined, Joined::Apart), !joins, "{kept} {came}");
    }
    for (status, is_whole) in [(200, true), (404, true), (503, true), (416, false), (304, false)] {
        let answer = world.response(status, "");
        let joined = combine(&begun(""), &world.request("GET", ""), &answer, &world.timing());
        assert_eq!(matches!(joined, Joined::Whole), is_whole, "{status}");
    }
}

#[test]
fn parts_and_wholes_take_each_others_place_in_order() {
    let world = World::new();
    let request = world.request("GET", "");
    let whole = |etag: &str| {
        keep(&request, &world.response(200, &format!("Cache-Control: max-age=60\n{etag}")), &world.timing())
            .unwrap()
            .0
    };
    let piece = |range: &str, etag: &str| {
        let fields = format!("Cache-Control: max-age=60\nContent-Range: {range}\n{etag}");
        keep(&request, &world.response(206, &fields), &world.timing()).unwrap().0
    };
    for (name, old, new, goes) in [
        ("a newer whole", whole(""), whole(""), true),
        ("a part for its whole", piece("bytes 0-4/10", ""), whole(""), true),
        ("a whole for its part", whole(""), piece("bytes 0-4/10", ""), false),
        ("a whole of the same tag", whole("ETag: \"a\""), piece("bytes 0-4/10", "ETag: \"a\""), false),
        ("an outdated whole", whole("ETag: \"a\""), piece("bytes 0-4/10", "ETag: \"b\""), true),
        ("a part of who knows what", piece("bytes 0-4/10", ""), piece("bytes 5-9/10", ""), true),
        ("another part", piece("bytes 0-4/10", "ETag: \"a\""), piece("bytes 5-9/10", "ETag: \"a\""), false),
        ("a smaller part", piece("bytes 1-2/10", "ETag: \"a\""), piece("bytes 0-4/10", "ETag: \"a\""), true),
    ] {
        assert_eq!(old.is_replaced_by(&new, &request), goes, "{name}");
    }
    let varied =
        keep(&request, &world.response(200, "Cache-Control: max-age=60\nVary: Foo"), &world.timing());
    let other = world.request("GET", "Foo: 1");
    assert!(!varied.unwrap().0.is_replaced_by(&whole(""), &other), "another variant stays");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn a_slice_of_a_part_is_what_its_content_range_says(
        first in 0_u64..12,
        span in 1_u64..12,
        rest in 0_u64..12,
        strange in prop::option::weighted(0.3, 0_u64..12),
        asked in "bytes=([0-9]|1[0-9])?-([0-9]|[12][0-9])?",
        then in "bytes=([0-9]|1[0-9])?-([0-9]|[12][0-9])?",
    ) {
        let world = World::new();
        let (total, length) = (first + span + rest, strange.unwrap_or(span));
        let fields = format!(
            "Cache-Control: max-age=60\nContent-Length: {length}\nContent-Range: bytes {first}-{}/{total}",
            first + span - 1
        );
        let request = world.request("GET", &format!("Range: {asked}"));
        let kept = keep(&request, &world.response(206, &fields), &world.timing());
        let Some(stored) = kept.and_then(|(stored, _)| stored.finished(length)) else {
            prop_assert!(span != length, "a sound part is kept");
            return Ok(());
        };
        let reply = answer(&stored, &world.request("GET", &format!("Range: {then}")), world.now());
        let Content::Slice(slice) = reply.content else { return Ok(()) };
        prop_assert!(slice.start < slice.end && slice.end <= length);
        if span == length {
            let (from, to) = (first + slice.start, first + slice.end - 1);
            let said = format!("bytes {from}-{to}/{total}");
            prop_assert_eq!(reply.headers.get("content-range").unwrap().to_str().unwrap(), said);
        }
    }
}
