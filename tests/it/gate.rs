//! Who goes when, once the API has said stop.

use std::time::Duration;

use serde_json::json;
use tokio::task::JoinSet;
use tollgate::gate::{Level, Scope};

use crate::world::{Told, World, world};

const SECOND: Duration = Duration::from_secs(1);
const MILLISECOND: Duration = Duration::from_millis(1);

/// 80 bots ask at the same time; the first is told to wait for 3 s, and an answer takes a second.
async fn eighty_bots_and_one_refusal() -> (World, Vec<Told>) {
    let world = world().egress().paced(20.0).start();
    world.force(json!([
        {"status": 429, "headers": {"retry-after": "3"}},
        {"delay_ms": 1000, "n": 1000},
    ]));
    let mut bots = JoinSet::new();
    for number in 0..80 {
        let bot = world.bot(&format!("bot-{number}"));
        bots.spawn(async move { bot.get("/v1/people/me").await });
    }
    let told = bots.join_all().await;
    (world, told)
}

#[tokio::test(start_paused = true)]
async fn one_refusal_silences_all_eighty_bots_for_as_long_as_it_says() {
    let (world, _) = eighty_bots_and_one_refusal().await;
    let seen = world.seen();
    let refused_at = seen[0].at;
    assert_eq!(seen[0].status, 429);
    assert!(seen[1].at >= refused_at + 3 * SECOND, "sent after {:?}", seen[1].at);
    assert!(seen[1].at <= refused_at + 3 * SECOND + 301 * MILLISECOND, "sent after {:?}", seen[1].at);
}

#[tokio::test(start_paused = true)]
async fn a_gate_that_reopens_lets_one_go_until_that_one_is_answered() {
    let (world, _) = eighty_bots_and_one_refusal().await;
    let seen = world.seen();
    assert!(seen[2].at >= seen[1].at + SECOND, "{:?}, then {:?}", seen[1].at, seen[2].at);
}

#[tokio::test(start_paused = true)]
async fn what_waited_goes_out_paced_and_slower_than_before() {
    let (world, _) = eighty_bots_and_one_refusal().await;
    for pair in world.seen()[2..].windows(2) {
        let gap = pair[1].at - pair[0].at;
        assert!(gap > SECOND / 20, "{gap:?} at {:?}", pair[1].at);
    }
}

#[tokio::test(start_paused = true)]
async fn no_bot_sees_a_refusal_that_its_deadline_can_outlast() {
    let (world, told) = eighty_bots_and_one_refusal().await;
    let statuses: Vec<u16> = told.iter().map(|told| told.status).collect();
    assert_eq!(statuses, [200; 80]);
    assert_eq!(world.seen().len(), 81);
}

#[tokio::test(start_paused = true)]
async fn a_bot_that_leaves_the_line_is_never_heard_of() {
    let world = world().start();
    world.force(json!({"status": 429, "headers": {"retry-after": "10"}}));
    let bot = world.bot("alice");
    let stays = tokio::spawn(async move { bot.get("/v1/people/me").await });
    world.pass(SECOND).await;
    let leaver = world.bot("bob");
    let leaves = tokio::spawn(async move { leaver.get("/v1/rooms").await });
    world.pass(SECOND).await;
    assert_eq!(world.proxy.gate.glance().waiting, 2);
    leaves.abort();
    assert!(leaves.await.unwrap_err().is_cancelled());
    assert_eq!(world.proxy.gate.glance().waiting, 1);
    assert_eq!(stays.await.unwrap().status, 200);
    world.pass(60 * SECOND).await;
    assert_eq!(world.proxy.gate.glance().waiting, 0);
    assert_eq!(world.calls(), ["GET /v1/people/me"; 2]);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_never_began_gives_its_place_to_the_next() {
    let world = world().start();
    world.force(json!([
        {"status": 429, "headers": {"retry-after": "1"}},
        {"path": "/v1/people/me", "delay_ms": 600_000},
    ]));
    let prober = world.bot("alice");
    let probes = tokio::spawn(async move { prober.get("/v1/people/me").await });
    world.pass(2 * SECOND).await;
    assert!(world.proxy.gate.glance().egress.is_half_open);
    let bot = world.bot("bob");
    let waits = tokio::spawn(async move { bot.get("/v1/rooms").await });
    world.pass(SECOND).await;
    probes.abort();
    assert_eq!(waits.await.unwrap().status, 200);
    assert!(world.now() < 4 * SECOND, "{:?}", world.now());
}

/// Alice is told to wait for 6 s. When those who ask 1.5 s later, one after the other, are answered.
async fn a_second_and_a_half_after_a_refusal(asked: [(&str, &str); 2]) -> [Duration; 2] {
    let world = world().start();
    for bot in ["alice", "bob"] {
        assert_eq!(world.bot(bot).get("/v1/people/me").await.status, 200);
    }
    world.force(json!({"status": 429, "headers": {"retry-after": "6"}}));
    let first = world.bot("alice");
    let first = tokio::spawn(async move { first.get("/v1/people/me").await });
    world.pass(SECOND * 3 / 2).await;
    let mut answers = [Duration::ZERO; 2];
    for (answered, (bot, path)) in answers.iter_mut().zip(asked) {
        let told = world.bot(bot).get(path).await;
        assert_eq!(told.status, 200);
        *answered = told.at;
    }
    assert_eq!(first.await.unwrap().status, 200);
    answers
}

#[tokio::test(start_paused = true)]
async fn a_refusal_stops_everybody_until_somebody_elses_success_proves_it_narrower() {
    let asked = [("bob", "/v1/people/me"), ("alice", "/v1/people/me")];
    let [bob, alice] = a_second_and_a_half_after_a_refusal(asked).await;
    assert!(bob <= 2 * SECOND, "it found out itself: {bob:?}");
    assert!(alice >= 6 * SECOND, "the refused tenant waits: {alice:?}");
}

#[tokio::test(start_paused = true)]
async fn a_tenants_refusal_shrinks_to_its_family_once_another_family_of_its_is_accepted() {
    let asked = [("bob", "/v1/people/me"), ("alice", "/v1/rooms")];
    let [_, alice] = a_second_and_a_half_after_a_refusal(asked).await;
    assert!(alice <= 3 * SECOND, "{alice:?}");
}

#[tokio::test(start_paused = true)]
async fn a_verdict_once_found_spares_the_others_from_the_next_refusal() {
    let world = world().start();
    for number in 0..2 {
        world.force(json!({"status": 429, "headers": {"retry-after": "3"}}));
        let first = world.bot("alice");
        let first = tokio::spawn(async move { first.get("/v1/people/me").await });
        world.pass(SECOND / 10).await;
        let asked_at = world.now();
        let told = world.bot("bob").get("/v1/people/me").await;
        let waited = told.at - asked_at;
        assert_eq!((told.status, waited.is_zero()), (200, number == 1), "{number}: {waited:?}");
        assert_eq!(first.await.unwrap().status, 200);
    }
    assert_eq!(world.proxy.gate.glance().verdicts.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_stranger_behind_a_refused_stranger_does_not_wait_for_it() {
    let world = world().scope(Scope::Fixed(Level::Tenant)).start();
    world.force(json!({"status": 429, "headers": {"retry-after": "3"}}));
    let first = world.bot("alice");
    let first = tokio::spawn(async move { first.get("/v1/people/me").await });
    world.pass(SECOND).await;
    let told = world.bot("bob").get("/v1/people/me").await;
    assert_eq!((told.status, told.at), (200, SECOND));
    assert_eq!(first.await.unwrap().status, 200);
}

#[tokio::test(start_paused = true)]
async fn an_unavailable_api_closes_the_gate_but_only_safe_requests_are_sent_again() {
    let unavailable = json!({"status": 503, "headers": {"retry-after": "3"}});
    let world = world().start();
    world.force(unavailable.clone());
    let told = world.bot("alice").get("/v1/people/me").await;
    assert_eq!((told.status, told.header("tollgate-attempts")), (200, "2".to_owned()));
    assert!(told.at >= 3 * SECOND, "{:?}", told.at);
    world.force(unavailable);
    let asked_at = world.now();
    let told = world.bot("alice").post("/v1/rooms", json!({"title": "once"})).await;
    assert_eq!(told.status, 503);
    assert!(told.at < asked_at + SECOND);
    assert!((3..=4).contains(&told.retry_after()));
    let told = world.bot("bob").get("/v1/people/me").await;
    assert!(told.at >= asked_at + SECOND, "nobody goes at once: {:?}", told.at - asked_at);
    assert_eq!(world.calls().iter().filter(|call| *call == "POST /v1/rooms").count(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_client_says_how_long_it_stands_in_line() {
    let world = world().egress().max_wait(2 * SECOND).start();
    assert_eq!(world.bot("alice").with("prefer", "wait=0").get("/v1/people/me").await.status, 200);
    world.force(json!({"status": 429, "headers": {"retry-after": "30"}}));
    assert_eq!(world.bot("alice").get("/v1/people/me").await.status, 429);
    for hurried in [world.bot("bob").with("prefer", "wait=0"), world.bot("bob")] {
        let told = hurried.get("/v1/people/me").await;
        assert_eq!((told.status, told.at), (429, Duration::ZERO));
        assert!((30..=31).contains(&told.retry_after()));
    }
    let told = world.bot("bob").with("prefer", "wait=40").get("/v1/people/me").await;
    assert_eq!(told.status, 200);
    assert!(told.at >= 30 * SECOND && told.at <= 31 * SECOND, "{:?}", told.at);
}
