//! What is answered without a call, for whom, and for how long.

use std::time::Duration;

use serde_json::json;
use tokio::task::JoinSet;

use crate::world::{Told, World, path_of, world};

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
async fn each_tenant_asks_for_itself_and_the_bytes_come_once() {
    let world = world().start();
    let path = world.content(&["alice", "bob"]);
    for token in ["alice", "bob", "alice", "bob"] {
        let told = world.bot(token).get(&path).await;
        assert_eq!((told.status, told.bytes().len()), (200, 44_752));
    }
    assert_eq!(world.calls(), [format!("GET {path}"), format!("HEAD {path}")]);
}

/// All at once, each API call takes a second.
async fn crowd(world: &World, tokens: impl IntoIterator<Item = String>, path: &str) -> Vec<Told> {
    world.force(json!({"delay_ms": 1000, "n": 1000}));
    let mut bots = JoinSet::new();
    for token in tokens {
        let (bot, path) = (world.bot(&token), path.to_owned());
        bots.spawn(async move { bot.get(&path).await });
    }
    bots.join_all().await
}

fn count(world: &World, what: &str) -> usize {
    world.calls().iter().filter(|call| call.starts_with(what)).count()
}

#[tokio::test(start_paused = true)]
async fn equal_requests_of_one_token_at_once_cost_one_call() {
    let world = world().start();
    let told = crowd(&world, vec!["alice".to_owned(); 20], "/v1/people/me").await;
    assert_eq!(world.calls().len(), 1);
    assert!(told.iter().all(|told| told.status == 200 && told.json()["id"].is_string()));
    let collapsed = told.iter().filter(|told| told.header("cache-status").ends_with("collapsed")).count();
    assert_eq!(collapsed, 19);
}

#[tokio::test(start_paused = true)]
async fn requests_of_different_tokens_share_nothing_but_attachments() {
    let world = world().start();
    let tokens = (0..20).map(|number| format!("bot{number}"));
    crowd(&world, tokens, "/v1/people/me").await;
    assert_eq!(world.calls().len(), 20);
}

#[tokio::test(start_paused = true)]
async fn a_crowd_before_an_attachment_costs_one_get_and_a_head_for_each_other_tenant() {
    let world = world().start();
    let path = world.content(&["alice", "bob", "carol", "dave", "erin"]);
    let tokens = ["alice", "bob", "carol", "dave", "erin"].map(str::to_owned);
    let told = crowd(&world, tokens.iter().cycle().take(50).cloned(), &path).await;
    assert!(told.iter().all(|told| told.status == 200 && told.bytes().len() == 44_752));
    assert_eq!((count(&world, "GET"), count(&world, "HEAD")), (1, 4));
    assert!(told.iter().all(|told| told.at <= 3 * SECOND), "nobody waits in turn");
}

#[tokio::test(start_paused = true)]
async fn a_crowd_of_strangers_gets_nothing_of_it() {
    let world = world().start();
    let path = world.content(&["alice"]);
    world.bot("alice").get(&path).await;
    let told = crowd(&world, ["bob", "bob", "carol"].map(str::to_owned), &path).await;
    assert!(told.iter().all(|told| told.status == 404 && told.bytes().len() < 1000));
    assert!(world.bot("alice").get(&path).await.header("cache-status").starts_with("Tollgate; hit"));
}

#[tokio::test(start_paused = true)]
async fn a_bot_that_waited_for_anothers_answer_has_waited_in_line() {
    let world = world().max_wait(5 * SECOND).start();
    world.force(json!({"delay_ms": 20_000, "n": 1}));
    let (leader, follower) = (world.bot("alice"), world.bot("alice"));
    let leading = tokio::spawn(async move { leader.get("/v1/people/me").await });
    tokio::task::yield_now().await;
    let told = follower.get("/v1/people/me").await;
    assert_eq!((told.status, told.at), (200, 5 * SECOND), "it goes on alone when its time is over");
    assert_eq!(leading.await.unwrap().at, 20 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn a_rule_of_the_operator_spares_calls_until_somebody_writes() {
    let world = world().rule("/v1/rooms/{id}", 30 * SECOND).start();
    let room = world.control("rooms", json!({"title": "Ops", "members": ["alice", "bob"]}));
    let path = format!("/v1/rooms/{}", room["id"].as_str().unwrap());
    for _ in 0..3 {
        assert_eq!(world.bot("alice").get(&path).await.json()["title"], "Ops");
    }
    assert_eq!(world.bot("bob").get(&path).await.json()["title"], "Ops");
    assert_eq!(count(&world, "GET"), 2, "one for each tenant");
    world.bot("bob").send("PUT", &path, tollgate::body::Body::whole(r#"{"title":"New"}"#)).await;
    assert_eq!(world.bot("alice").get(&path).await.status, 200);
    assert_eq!(count(&world, "GET"), 3);
    world.pass(30 * SECOND).await;
    world.bot("alice").get(&path).await;
    assert_eq!(count(&world, "GET"), 4);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_wants_no_call_is_told_so() {
    let world = world().start();
    let path = world.content(&["alice"]);
    let bot = world.bot("alice").with("cache-control", "only-if-cached");
    for path in [path.as_str(), "/v1/people/me"] {
        let told = bot.get(path).await;
        assert_eq!(told.status, 504);
        assert!(told.json()["message"].as_str().unwrap().contains("only-if-cached"));
    }
    assert!(world.calls().is_empty());
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
