//! What is answered without a call, for whom, and for how long.

use std::time::Duration;

use serde_json::json;

use crate::world::{path_of, world};

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn a_content_read_twice_costs_one_call() {
    for method in ["HEAD", "GET"] {
        let world = world().start();
        let path = world.content(&["alice"]);
        let bot = world.bot("alice");
        let (first, second) = (bot.ask(method, &path).await, bot.ask(method, &path).await);
        assert_eq!(world.calls(), [format!("{method} {path}")]);
        assert_eq!(first.bytes(), second.bytes(), "{method}");
        assert!(first.header("cache-status").starts_with("Tollgate; fwd=uri-miss; stored"), "{method}");
        assert!(second.header("cache-status").starts_with("Tollgate; hit"), "{method}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_head_after_a_get_costs_nothing() {
    let world = world().start();
    let path = world.content(&["alice"]);
    let whole = world.bot("alice").get(&path).await;
    let head = world.bot("alice").head(&path).await;
    assert_eq!(world.calls().len(), 1);
    for name in ["content-type", "content-length", "content-disposition"] {
        assert_eq!(head.header(name), whole.header(name), "{name}");
        assert_ne!(head.header(name), "", "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn each_tenant_asks_for_itself() {
    let world = world().start();
    let path = world.content(&["alice", "bob"]);
    for token in ["alice", "bob", "alice", "bob"] {
        assert_eq!(world.bot(token).get(&path).await.status, 200);
    }
    assert_eq!(world.calls().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn an_old_proof_is_renewed_by_one_head() {
    let world = world().start();
    let path = world.content(&["alice"]);
    let fresh = world.bot("alice").get(&path).await;
    world.pass(60 * SECOND).await;
    let proved = world.bot("alice").get(&path).await;
    world.bot("alice").get(&path).await;
    assert_eq!(world.calls(), [format!("GET {path}"), format!("HEAD {path}")]);
    assert_eq!(proved.bytes(), fresh.bytes());
    assert!(proved.header("cache-status").contains("detail=proved"), "{}", proved.header("cache-status"));
}

#[tokio::test(start_paused = true)]
async fn a_bot_that_lost_its_room_is_told_so_in_the_apis_words() {
    let world = world().start();
    let made = world.control("content", json!({"members": ["alice", "bob"]}));
    let path = path_of(&made);
    assert_eq!(world.bot("bob").get(&path).await.status, 200);
    world.control(
        "memberships",
        json!({"room_id": made["roomId"], "email": "bob@example.com", "remove": true}),
    );
    world.pass(60 * SECOND).await;
    let told = world.bot("bob").get(&path).await;
    assert_eq!(told.status, 404);
    assert!(told.json()["message"].is_string());
    assert_eq!(world.bot("alice").get(&path).await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn a_token_that_was_revoked_loses_all_that_was_kept_for_it() {
    let world = world().start();
    let path = world.content(&["alice"]);
    world.bot("alice").get(&path).await;
    world.force(json!({"status": 401, "n": 2, "body": {"message": "revoked"}}));
    assert_eq!(world.bot("alice").get("/v1/people/me").await.status, 401);
    let told = world.bot("alice").get(&path).await;
    assert_eq!(
        (told.status, told.header("content-type")),
        (401, "application/json;charset=UTF-8".to_owned())
    );
    // The API was asked with a HEAD, whose answer has no body: ours says so, under the API's own id.
    assert!(told.json()["message"].as_str().unwrap().starts_with("Unauthorized: the API's answer to a HEAD"));
    assert_eq!(told.json()["trackingId"], told.header("trackingid"));
    assert_eq!(world.calls().last().unwrap(), &format!("HEAD {path}"));
}

#[tokio::test(start_paused = true)]
async fn a_no_to_a_content_is_never_kept() {
    let world = world().start();
    let made = world.control("content", json!({"members": ["alice"]}));
    let path = path_of(&made);
    assert_eq!(world.bot("bob").get(&path).await.status, 404);
    world.control("memberships", json!({"room_id": made["roomId"], "email": "bob@example.com"}));
    assert_eq!(world.bot("bob").get(&path).await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn what_is_allowed_explicitly_is_always_asked_for() {
    let world = world().start();
    let path = path_of(&world.control("content", json!({"state": "unscannable"})));
    let path = format!("{path}?allow=unscannable");
    for _ in 0..3 {
        assert_eq!(world.bot("alice").get(&path).await.status, 200);
    }
    assert_eq!(world.calls().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_list_with_broken_keys_passes_intact_and_is_never_kept() {
    let world = world().start();
    world.control("rooms", json!({"title": "Sealed", "members": ["alice"], "kms": 1}));
    let sealed = world.bot("alice").get("/v1/rooms").await;
    let is_broken = |room: &serde_json::Value| room["errors"]["title"]["code"] == "kms_failure";
    assert_eq!(sealed.json()["items"].as_array().unwrap().iter().filter(|room| is_broken(room)).count(), 1);
    let healed = world.bot("alice").get("/v1/rooms").await;
    assert!(!healed.json()["items"].as_array().unwrap().iter().any(is_broken));
    assert_eq!(world.calls().len(), 2);
}
