//! Holds the states of an attachment, its headers, and who may have it.

use serde_json::json;

use super::{Sim, body_of, header, status, word};
use crate::sim::model::Payload;

fn path_of(url: &str) -> String {
    url.strip_prefix("https://webexapis.com").unwrap().to_owned()
}

/// Every file of the room that is there from the beginning: name, path.
fn files(sim: &mut Sim) -> Vec<(String, String)> {
    let rooms = body_of(&sim.get("alice", "/v1/rooms"));
    let room = word(&rooms["items"][0], "id");
    let messages = body_of(&sim.get("alice", &format!("/v1/messages?roomId={room}")));
    let messages = messages["items"].as_array().unwrap().clone();
    messages
        .iter()
        .map(|message| (word(message, "text"), path_of(message["files"][0].as_str().unwrap())))
        .collect()
}

fn head(sim: &mut Sim, token: &str, path: &str) -> crate::sim::Answer {
    sim.send("HEAD", path, &[("authorization", &format!("Bearer {token}"))], "")
}

#[test]
fn the_seeds_head_example_is_answered_exactly() {
    let mut sim = Sim::unlimited();
    let files = files(&mut sim);
    let (_, path) = files.iter().find(|(name, _)| name == "example.png").unwrap();
    let answer = head(&mut sim, "alice", path);
    assert_eq!(status(&answer), 200);
    for (name, value) in [
        ("cache-control", "no-cache"),
        ("content-disposition", "attachment; filename=\"example.png\""),
        ("content-length", "44752"),
        ("content-type", "image/png"),
        ("etag", ""),
        ("last-modified", ""),
        ("accept-ranges", ""),
    ] {
        assert_eq!(header(&answer, name), value, "{name}");
    }
    assert!(answer.response.body().is_empty());
    let whole = sim.get("alice", path);
    assert_eq!(whole.response.body().len(), 44_752);
    assert!(whole.response.body().to_bytes().starts_with(b"\x89PNG"));
}

#[test]
fn all_ten_file_types_of_the_seed_are_there() {
    let mut sim = Sim::unlimited();
    let files = files(&mut sim);
    assert_eq!(files.len(), 11);
    for (extension, media_type) in [
        ("doc", "application/msword"),
        ("docx", "application/vnd.openxmlformats-officedocument.wordprocessingml.document"),
        ("ppt", "application/vnd.ms-powerpoint"),
        ("pptx", "application/vnd.openxmlformats-officedocument.presentationml.presentation"),
        ("pdf", "application/pdf"),
        ("jpg", "image/jpeg"),
        ("jpeg", "image/jpeg"),
        ("bmp", "image/bmp"),
        ("gif", "image/gif"),
        ("png", "image/png"),
    ] {
        let (_, path) = files.iter().find(|(name, _)| *name == format!("example.{extension}")).unwrap();
        assert_eq!(header(&head(&mut sim, "bob", path), "content-type"), media_type);
    }
}

#[test]
fn a_name_beyond_ascii_can_be_told_twice() {
    let mut sim = Sim::unlimited();
    let files = files(&mut sim);
    let (_, path) = files.iter().find(|(name, _)| !name.is_ascii()).unwrap();
    let raw = head(&mut sim, "alice", path);
    let raw = raw.response.headers()["content-disposition"].as_bytes();
    assert_eq!(raw, "attachment; filename=\"Übersicht 世界.pdf\"".as_bytes());
    sim.control("settings", json!({"filename_star": true}));
    let answer = head(&mut sim, "alice", path);
    let star = header(&answer, "content-disposition");
    assert!(star.ends_with("filename*=UTF-8''%C3%9Cbersicht%20%E4%B8%96%E7%95%8C.pdf"), "{star}");
}

#[test]
fn the_scan_decides_in_every_state() {
    for (state, query, expected) in [
        ("clean", "", [200, 200, 200]),
        ("scanning:2", "", [423, 423, 200]),
        ("infected", "", [410, 410, 410]),
        ("unscannable", "", [428, 428, 428]),
        ("unscannable", "?allow=unscannable", [200, 200, 200]),
        ("dlp", "", [423, 423, 423]),
        ("dlp", "?allow=dlpEvaluating,dlpUnchecked", [200, 200, 200]),
    ] {
        let mut sim = Sim::unlimited();
        let made = sim.control("content", json!({"size": 1000, "state": state}));
        let path = format!("/v1/contents/{}{query}", word(&made, "id"));
        let answers = [0; 3].map(|_| sim.get("alice", &path));
        assert_eq!(answers.each_ref().map(status), expected, "{state} {query}");
        let locked = answers.iter().filter(|answer| status(answer) == 423);
        locked.for_each(|answer| assert_eq!(header(answer, "retry-after"), "1"));
    }
}

#[test]
fn a_data_loss_check_is_signalled_counted_and_judged() {
    for (result, expected) in [("approve", 200), ("reject", 410)] {
        let mut sim = Sim::unlimited();
        let made = sim.control("content", json!({"size": 10, "state": "dlp"}));
        let id = word(&made, "id");
        assert!(word(&made, "url").ends_with("?allow=dlpEvaluating"));
        for _ in 0..2 {
            head(&mut sim, "alice", &format!("/v1/contents/{id}?allow=dlpEvaluating,dlpUnchecked"));
        }
        assert_eq!(sim.look(&format!("content/{id}"))["dlp_signals"], 2);
        let path = format!("/v1/contents/{id}?result={result}");
        assert_eq!(status(&sim.send("PUT", &path, &[("authorization", "Bearer alice")], "")), 200);
        assert_eq!(status(&sim.get("alice", &format!("/v1/contents/{id}"))), expected);
    }
}

#[test]
fn contents_are_for_members_and_go_with_their_message() {
    let mut sim = Sim::unlimited();
    let made = sim.control("content", json!({"members": ["alice@example.com", "bob@example.com"]}));
    let path = format!("/v1/contents/{}", word(&made, "id"));
    let room = word(&made, "roomId");
    assert_eq!(["alice", "bob", "eve"].map(|token| status(&sim.get(token, &path))), [200, 200, 404]);
    sim.control("memberships", json!({"roomId": room, "email": "bob@example.com", "remove": true}));
    assert_eq!(status(&sim.get("bob", &path)), 404);
    let message = format!("/v1/messages/{}", word(&made, "messageId"));
    assert_eq!(status(&sim.write("alice", "DELETE", &message, &json!({}))), 204);
    assert_eq!(status(&sim.get("alice", &path)), 404);
    assert_eq!(status(&sim.write("alice", "DELETE", &path, &json!({}))), 405);
}

#[test]
fn ranges_and_validators_are_there_only_when_switched_on() {
    let mut sim = Sim::unlimited();
    let path = format!("/v1/contents/{}", word(&sim.control("content", json!({"size": 1000})), "id"));
    let ask = |sim: &mut Sim, name: &str, value: &str| {
        sim.send("GET", &path, &[("authorization", "Bearer alice"), (name, value)], "")
    };
    assert_eq!(status(&ask(&mut sim, "range", "bytes=0-9")), 200);
    sim.control("settings", json!({"ranges": true, "validators": true}));
    let whole = sim.get("alice", &path).response.body().to_bytes();
    for (range, expected, from, to) in [
        ("bytes=0-9", 206, 0, 10),
        ("bytes=990-", 206, 990, 1000),
        ("bytes=-10", 206, 990, 1000),
        ("bytes=5-2000", 206, 5, 1000),
    ] {
        let part = ask(&mut sim, "range", range);
        assert_eq!(
            (status(&part), part.response.body().to_bytes()),
            (expected, whole.slice(from..to)),
            "{range}"
        );
    }
    assert_eq!(header(&ask(&mut sim, "range", "bytes=0-9"), "content-range"), "bytes 0-9/1000");
    assert_eq!(status(&ask(&mut sim, "range", "bytes=1000-")), 416);
    let tag = header(&sim.get("alice", &path), "etag").to_owned();
    assert_eq!(status(&ask(&mut sim, "if-none-match", &tag)), 304);
}

#[test]
fn large_contents_are_made_up_the_same_each_time() {
    let mut sim = Sim::unlimited();
    let size = 3 * 1024 * 1024 + 17;
    let made = sim.control("content", json!({"size": size}));
    let answer = sim.get("alice", &path_of(&word(&made, "url")));
    let payload = answer.response.body();
    assert!(matches!(payload, Payload::Generated { .. }));
    assert_eq!(payload.chunks().map(|chunk| chunk.len()).sum::<usize>(), size);
    assert!(payload.chunks().all(|chunk| !chunk.is_empty() && chunk.len() <= 65_536));
    assert_eq!(crate::sim::model::ids::sha256(payload.chunks()), word(&made, "sha256"));
    let bytes = payload.to_bytes();
    assert_eq!(payload.slice(65_000, 140_000).to_bytes(), bytes.slice(65_000..140_000));
}
