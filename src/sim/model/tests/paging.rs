//! Holds that pages show everything once, with each oddity.

use serde_json::json;

use super::{Sim, body_of, header, status, word};

const BASE: &str = "https://webexapis.com";

/// The target of `rel="next"`, as a path.
fn next(link: &str) -> Option<String> {
    let next = link.split(", ").find(|link| link.ends_with("rel=\"next\""))?;
    let url = next.strip_prefix('<')?.split('>').next()?;
    Some(url.strip_prefix(BASE).unwrap().to_owned())
}

/// The ids on all pages, and how many pages there were.
fn collect(sim: &mut Sim, path: &str) -> (Vec<String>, usize) {
    let (mut ids, mut pages, mut path) = (Vec::new(), 0, Some(path.to_owned()));
    while let Some(at) = path {
        let answer = sim.get("alice", &at);
        assert_eq!(status(&answer), 200, "{at}");
        let body = body_of(&answer);
        ids.extend(body["items"].as_array().unwrap().iter().map(|item| word(item, "id")));
        pages += 1;
        path = next(header(&answer, "link"));
        assert!(pages < 100, "the links go in circles");
    }
    (ids, pages)
}

fn crowded() -> (Sim, String) {
    let mut sim = Sim::unlimited();
    let room = sim.room();
    sim.control("messages", json!({"roomId": room, "count": 1000}));
    sim.control("rooms", json!({"title": "Many", "members": ["alice"], "count": 205}));
    let people: Vec<_> = (0..25)
        .map(|number| json!({"email": format!("h{number}@example.com"), "displayName": format!("Harold {number}")}))
        .collect();
    sim.control("people", json!(people));
    (sim, room)
}

#[test]
fn following_the_links_finds_everything_once() {
    let (mut sim, room) = crowded();
    for (path, items, pages) in [
        (format!("/v1/messages?roomId={room}&max=100"), 1000, 10),
        (format!("/v1/messages?roomId={room}"), 1000, 20),
        (format!("/v1/messages?roomId={room}&max=5000"), 1000, 1),
        (format!("/v1/messages?roomId={room}&max=null"), 1000, 20),
        ("/v1/rooms?max=50&type=group".to_owned(), 207, 5),
        ("/v1/rooms?sortBy=lastactivity".to_owned(), 207, 3),
        ("/v1/memberships?max=100".to_owned(), 207, 3),
        ("/v1/people?displayName=Harold&max=10".to_owned(), 25, 3),
    ] {
        let (mut ids, seen) = collect(&mut sim, &path);
        assert_eq!((ids.len(), seen), (items, pages), "{path}");
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), items, "{path}");
    }
}

#[test]
fn a_max_above_the_endpoints_own_is_clamped_and_next_follows() {
    let (mut sim, room) = crowded();
    sim.control("messages", json!({"roomId": room, "count": 10}));
    let answer = sim.get("alice", &format!("/v1/messages?roomId={room}&max=2000"));
    assert_eq!(body_of(&answer)["items"].as_array().unwrap().len(), 1000);
    assert!(header(&answer, "link").contains("max=1000&beforeMessage="), "{}", header(&answer, "link"));
}

#[test]
fn links_are_written_as_webex_writes_them() {
    let (mut sim, room) = crowded();
    for (path, expected) in [
        (
            format!("/v1/messages?roomId={room}&max=2"),
            format!("<{BASE}/v1/messages?roomId={room}&max=2&beforeMessage=Y2lz"),
        ),
        (
            "/v1/people?displayName=Harold&max=2".to_owned(),
            format!("<{BASE}/v1/people?displayName=Harold&max=2&before&after=Y2lz"),
        ),
        ("/v1/memberships?max=2".to_owned(), format!("<{BASE}/v1/memberships/?max=2&cursor=Y2lz")),
    ] {
        let answer = sim.get("alice", &path);
        let link = header(&answer, "link");
        assert!(link.starts_with(&expected) && link.ends_with(">; rel=\"next\""), "{link}");
        assert_eq!(answer.response.headers().get_all("link").iter().count(), 1);
    }
}

#[test]
fn every_oddity_can_be_switched_on() {
    let (mut sim, room) = crowded();
    let path = format!("/v1/messages?roomId={room}&mentionedPeople=me&max=1");
    let mention = json!({"roomId": room, "markdown": "<@personEmail:alice@example.com|A>"});
    for _ in 0..3 {
        sim.made("bob", "/v1/messages", &mention);
    }
    for (quirk, expected) in [
        ("max-null", "&mentionedPeople=me&max=null&"),
        ("drop-filters", "?roomId=ROOM&max=1&"),
        ("no-semicolon", "> rel=\"next\""),
        ("first-prev", "rel=\"first\", <"),
    ] {
        sim.control("settings", json!({"paging": [quirk]}));
        let answer = sim.get("alice", &path);
        let link = header(&answer, "link").replace(&room, "ROOM");
        assert!(link.contains(expected), "{quirk}: {link}");
    }
    sim.control("settings", json!({"paging": "first-prev"}));
    let second = next(header(&sim.get("alice", &path), "link")).unwrap();
    let third = next(header(&sim.get("alice", &second), "link")).unwrap();
    assert!(header(&sim.get("alice", &third), "link").contains("rel=\"prev\""));
    sim.control("settings", json!({"paging": "empty-tail-page"}));
    let (ids, pages) = collect(&mut sim, &format!("/v1/messages?roomId={room}&mentionedPeople=me&max=3"));
    assert_eq!((ids.len(), pages), (3, 2));
    sim.control("settings", json!({"paging": "loop"}));
    let second = next(header(&sim.get("alice", &path), "link")).unwrap();
    assert_eq!(next(header(&sim.get("alice", &second), "link")).unwrap(), second);
}

#[test]
fn an_unknown_cursor_is_not_found() {
    let (mut sim, room) = crowded();
    let path = format!("/v1/messages?roomId={room}&beforeMessage=gone");
    assert_eq!(status(&sim.get("alice", &path)), 404);
}
