//! What is sent again, and what never is.

use std::time::Duration;

use serde_json::{Value, json};
use tollgate::body::Body;

use crate::world::{World, path_of, world};

const SECOND: Duration = Duration::from_secs(1);

/// A room of Alice's alone, and a message for it.
fn room(world: &World) -> Value {
    let room = world.control("rooms", json!({"title": "Replays", "members": ["alice"]}));
    json!({"roomId": room["id"], "text": "once"})
}

#[tokio::test(start_paused = true)]
async fn a_refused_post_is_sent_again_and_applied_once() {
    let world = world().start();
    let message = room(&world);
    world.force(json!({"method": "POST", "status": 429, "headers": {"retry-after": "2"}}));
    let told = world.bot("alice").post("/v1/messages", message.clone()).await;
    assert_eq!((told.status, told.header("tollgate-attempts")), (200, "2".to_owned()));
    let path = format!("/v1/messages?roomId={}", message["roomId"].as_str().unwrap());
    let listed = world.bot("alice").get(&path).await.json();
    assert_eq!(listed["items"].as_array().unwrap().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_refused_grant_is_not_sent_again() {
    let world = world().start();
    world.force(json!({"status": 429, "headers": {"retry-after": "2"}}));
    let bot = world.bot("alice").with("content-type", "application/x-www-form-urlencoded");
    let told =
        bot.send("POST", "/v1/access_token", Body::whole("grant_type=authorization_code&code=1")).await;
    assert_eq!((told.status, told.at), (429, Duration::ZERO));
    assert!((2..=3).contains(&told.retry_after()));
    assert_eq!(world.calls().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_refused_device_command_is_not_sent_again() {
    let world = world().start();
    world.force(json!({"status": 429, "headers": {"retry-after": "2"}}));
    let told = world.bot("alice").post("/v1/xapi/command/Dial", json!({"deviceId": "1"})).await;
    assert_eq!((told.status, told.at), (429, Duration::ZERO));
    assert!((2..=3).contains(&told.retry_after()));
    assert_eq!(world.calls().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_post_that_may_have_been_heard_is_never_sent_again() {
    for order in [json!({"status": 502}), json!({"status": 504}), json!({"close": "reset"})] {
        let world = world().start();
        let message = room(&world);
        world.force(order.clone());
        let told = world.bot("alice").post("/v1/messages", message).await;
        assert!(told.status >= 500, "{order}: {}", told.status);
        assert_eq!(world.calls(), ["POST /v1/messages"], "{order}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_get_outlives_two_faults() {
    for order in
        [json!({"status": 502, "n": 2}), json!({"status": 504, "n": 2}), json!({"close": "reset", "n": 2})]
    {
        let world = world().start();
        // The retry budget grows by one in a second.
        world.pass(SECOND).await;
        world.force(order.clone());
        let told = world.bot("alice").get("/v1/people/me").await;
        assert_eq!((told.status, told.header("tollgate-attempts")), (200, "3".to_owned()), "{order}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_get_that_changes_something_does_not_outlive_a_fault() {
    let world = world().start();
    let path = path_of(&world.control("content", json!({"state": "unscannable"})));
    world.force(json!({"status": 502}));
    assert_eq!(world.bot("alice").get(&format!("{path}?allow=unscannable")).await.status, 502);
    assert_eq!(world.calls().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn eight_refusals_are_the_last_word() {
    let world = world().max_wait(600 * SECOND).start();
    world.force(json!({"status": 429, "headers": {"retry-after": "1"}, "n": 100}));
    let told = world.bot("alice").get("/v1/people/me").await;
    assert_eq!((told.status, told.header("tollgate-attempts")), (429, "8".to_owned()));
    told.retry_after();
    assert_eq!(world.calls().len(), 8);
}

#[tokio::test(start_paused = true)]
async fn a_scan_that_ends_in_time_is_waited_for() {
    let world = world().webex("scan_retry_after", "4").start();
    let path = path_of(&world.control("content", json!({"state": "scanning:2"})));
    let told = world.bot("alice").get(&path).await;
    assert_eq!((told.status, told.bytes().len()), (200, 44_752));
    assert_eq!(told.at, 8 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn a_scan_that_takes_too_long_is_told_in_whole_seconds() {
    let world = world().webex("scan_retry_after", "10").start();
    let path = path_of(&world.control("content", json!({"state": "scanning:9"})));
    let told = world.bot("alice").get(&path).await;
    assert_eq!((told.status, told.retry_after()), (423, 10));
    assert_eq!(world.calls().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_scan_holds_up_nobody_else() {
    let world = world().webex("scan_retry_after", "20").start();
    let path = path_of(&world.control("content", json!({"state": "scanning:1"})));
    let bot = world.bot("alice");
    let scanned = tokio::spawn(async move { bot.get(&path).await });
    world.pass(SECOND).await;
    assert_eq!(world.bot("bob").get("/v1/people/me").await.at, SECOND);
    assert_eq!(scanned.await.unwrap().status, 200);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_breaks_off_never_looks_whole() {
    let world = world().start();
    let path = world.content(&["alice"]);
    world.force(json!({"truncate": 1000}));
    assert!(world.bot("alice").get(&path).await.body.is_err());
    assert_eq!(world.bot("alice").get(&path).await.bytes().len(), 44_752);
    assert_eq!(world.calls().len(), 2);
}
