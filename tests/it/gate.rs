//! Who goes when, once the API has said stop.

use std::time::Duration;

use serde_json::json;
use tokio::task::JoinSet;

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
