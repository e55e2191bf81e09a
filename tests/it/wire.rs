//! Which fields cross, and which tell what happened.

use serde_json::json;

use crate::rooms::VIA;
use crate::world::world;

#[tokio::test(start_paused = true)]
async fn what_concerns_one_connection_only_does_not_reach_the_api() {
    let world = world().start();
    let bot = world.bot("alice").with("connection", "keep-alive, x-private").with("x-private", "1");
    let bot = bot.with("keep-alive", "timeout=5").with("te", "gzip").with("x-public", "2");
    assert_eq!(bot.get("/v1/people/me").await.status, 200);
    let seen = world.seen();
    for name in ["connection", "x-private", "keep-alive", "te"] {
        assert_eq!(seen[0].header(name), None, "{name}");
    }
    assert_eq!(seen[0].header("x-public"), Some("2"));
}

#[tokio::test(start_paused = true)]
async fn what_concerns_one_connection_only_does_not_reach_the_bot() {
    let world = world().start();
    let headers = json!({"connection": "x-private", "x-private": "1", "keep-alive": "5", "x-public": "2"});
    world.force(json!({"headers": headers}));
    let told = world.bot("alice").get("/v1/people/me").await;
    for name in ["connection", "x-private", "keep-alive"] {
        assert_eq!(told.header(name), "", "{name}");
    }
    assert_eq!(told.header("x-public"), "2");
}

#[tokio::test(start_paused = true)]
async fn both_sides_see_the_hop() {
    let world = world().start();
    let told = world.bot("alice").with("via", "1.1 sidecar").get("/v1/people/me").await;
    assert_eq!(world.seen()[0].header("via"), Some(format!("1.1 sidecar, 1.1 {VIA}").as_str()));
    assert_eq!(told.header("via"), format!("1.1 linkerd, 1.1 {VIA}"));
}

#[tokio::test(start_paused = true)]
async fn a_request_that_comes_back_to_us_is_stopped() {
    let world = world().start();
    let told = world.bot("alice").with("via", &format!("1.1 {VIA}")).get("/v1/people/me").await;
    assert_eq!(told.status, 508);
    assert!(world.calls().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_query_arrives_as_it_was_written() {
    let world = world().start();
    let query = "email=a%2Bb%40example.com&max=10&x=%zz&y=a+b&&z";
    world.bot("alice").get(&format!("/v1/people?{query}")).await;
    assert_eq!(world.seen()[0].query(), query);
}

#[tokio::test(start_paused = true)]
async fn every_answer_says_what_the_cache_did() {
    let world = world().start();
    let path = world.content(&["alice"]);
    for (path, expected) in [
        ("/v1/people/me", "Tollgate; fwd=uri-miss"),
        ("/v1/webhooks", "Tollgate; fwd=bypass"),
        (path.as_str(), "Tollgate; fwd=uri-miss; stored"),
        (path.as_str(), "Tollgate; hit; ttl=60"),
    ] {
        assert_eq!(world.bot("alice").get(path).await.header("cache-status"), expected);
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_took_one_attempt_does_not_speak_of_it() {
    let world = world().start();
    assert_eq!(world.bot("alice").get("/v1/people/me").await.header("tollgate-attempts"), "");
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_took_more_says_how_many() {
    let world = world().start();
    world.force(json!({"status": 429, "headers": {"retry-after": "1"}, "n": 2}));
    let told = world.bot("alice").get("/v1/people/me").await;
    assert_eq!((told.status, told.header("tollgate-attempts")), (200, "3".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn a_base_url_without_its_slash_still_finds_the_api() {
    let world = world().start();
    assert_eq!(world.bot("alice").get("/people/me").await.status, 200);
    assert_eq!(world.calls(), ["GET /v1/people/me"]);
}
