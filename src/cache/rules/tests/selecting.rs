//! Which requests an answer was selected for, and for whom.

use super::super::*;
use super::world::{World, says};

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
