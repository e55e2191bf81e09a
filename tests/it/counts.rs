//! What is counted, and that strangers cannot make the page grow.

use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use http::{Request, Response, Version};
use serde_json::json;
use tollgate::admit::{Admittance, NamedTenant};
use tollgate::body::Body;
use tollgate::clock::Clock;
use tollgate::gate::Permit;
use tollgate::rewrite::Outbound;
use tollgate::server::Arrival;
use tollgate::upstream::{Answer, Failed, Transport};
use tollgate::words::Scheme;

use crate::rooms::Rooms;
use crate::world::{World, gauges, world};

/// The value of a series, written as it stands on the page; none if it does not stand there.
fn value(world: &World, series: &str) -> Option<f64> {
    let page = world.page();
    let found = page.lines().find_map(|line| line.strip_prefix("tollgate_")?.strip_prefix(series));
    found.map(|value| value.trim().parse().unwrap())
}

/// A tenant for each name; its token is its name.
fn list(world: &World, names: impl Iterator<Item = String>) {
    let named = |name: String| NamedTenant {
        token_sha256: vec![
            aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, name.as_bytes())
                .as_ref()
                .try_into()
                .unwrap(),
        ],
        name: Arc::from(name),
    };
    world.proxy.doorman.relist(&names.map(named).collect::<Vec<_>>(), Admittance::Any);
}

#[tokio::test(start_paused = true)]
async fn a_part_that_the_api_could_not_fill_in_is_counted_by_its_code() {
    let world = world().start();
    let room = world.control("rooms", json!({"title": "t", "members": ["alice"], "kms": 2}));
    let bot = world.bot("alice");
    assert_eq!(bot.get("/v1/rooms").await.status, 200);
    let packed = bot.clone().with("accept-encoding", "gzip");
    packed.get(&format!("/v1/rooms/{}", room["id"].as_str().unwrap())).await;
    world.force(json!({"body": {"errors": {"title": {"code": "brand_new"}}}}));
    bot.get("/v1/rooms").await;
    bot.get("/v1/rooms").await;
    assert_eq!(value(&world, "partial_failures_total{code=\"kms_failure\"}"), Some(2.0));
    assert_eq!(value(&world, "partial_failures_total{code=\"other\"}"), Some(1.0));
}

#[tokio::test(start_paused = true)]
async fn a_replay_is_counted_with_what_came_of_it() {
    let throttled = || json!({"status": 429, "headers": {"retry-after": "1"}});
    for (orders, expected) in [
        (json!([throttled()]), &[("throttled", "answered", 1.0)][..]),
        (
            json!([throttled(), throttled()]),
            &[("throttled", "throttled", 1.0), ("throttled", "answered", 1.0)],
        ),
        (json!([{"status": 502}]), &[("fault", "answered", 1.0)]),
        (json!([{"status": 502}, {"status": 502, "n": 9}]), &[("fault", "failed", 1.0)]),
        (json!([{"close": "reset", "n": 9}]), &[("fault", "failed", 1.0)]),
    ] {
        let world = world().start();
        world.force(orders.clone());
        world.bot("alice").get("/v1/people/me").await;
        for (reason, outcome, count) in expected {
            let series = format!("replays_total{{outcome=\"{outcome}\",reason=\"{reason}\"}}");
            assert_eq!(value(&world, &series), Some(*count), "{orders}: {series}\n{}", world.page());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_leaves_while_it_is_sent_again_is_no_failure_of_the_api() {
    let world = world().start();
    world.force(json!({"status": 429, "headers": {"retry-after": "10"}}));
    let bot = world.bot("alice");
    let asked = tokio::spawn(async move { bot.get("/v1/people/me").await });
    world.pass(Duration::from_secs(1)).await;
    asked.abort();
    world.pass(Duration::from_secs(1)).await;
    assert_eq!(value(&world, "replays_total{outcome=\"gone\",reason=\"throttled\"}"), Some(1.0));
    assert_eq!(value(&world, "client_gone_total"), Some(1.0));
}

#[tokio::test(start_paused = true)]
async fn the_series_of_an_idle_tenant_are_dropped_after_a_quarter_of_an_hour() {
    let world = world().start();
    list(&world, ["alerts", "digest"].map(str::to_owned).into_iter());
    world.force(json!({"status": 429, "headers": {"retry-after": "1"}, "n": 1}));
    for name in ["alerts", "digest"] {
        world.bot(name).get("/v1/people/me").await;
    }
    assert!(world.page().contains("queue_wait_seconds_count{class=\"read\",tenant=\"alerts\"} 1"));
    world.pass(Duration::from_secs(14 * 60)).await;
    world.bot("digest").get("/v1/people/me").await;
    assert!(world.page().contains("tenant=\"alerts\""));
    world.pass(Duration::from_secs(60)).await;
    let page = world.page();
    assert!(!page.contains("alerts"), "{page}");
    assert!(page.contains("queue_depth{tenant=\"digest\"} 0"), "{page}");
    assert_eq!(
        value(&world, "tenant_requests_total{class=\"read\",outcome=\"refused\",tenant=\"digest\"}"),
        None
    );
    world.bot("alerts").get("/v1/people/me").await;
    assert!(world.page().contains("tenant=\"alerts\""));
}

#[tokio::test(start_paused = true)]
async fn two_hundred_names_are_labels_and_the_rest_is_one() {
    let world = world().start();
    list(&world, (0..250).map(|number| format!("bot-{number}")));
    for number in 0..250 {
        world.bot(&format!("bot-{number}")).get("/v1/people/me").await;
    }
    let page = world.page();
    let named = page.lines().filter(|line| line.starts_with("tollgate_queue_depth{tenant=\"bot-")).count();
    assert_eq!(named, 200);
    let others = page.lines().filter(|line| {
        line.starts_with("tollgate_tenant_requests_total{") && line.contains("tenant=\"other\"")
    });
    let counted: f64 = others.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()).sum();
    assert_eq!(counted, 50.0);
}

/// An API that knows nothing.
#[derive(Debug)]
struct Nowhere;

impl Transport for Nowhere {
    async fn send(&self, permit: Permit, _: Outbound) -> Result<Answer, Failed> {
        let response = Response::builder().status(404).body(Body::empty()).unwrap();
        Ok(Answer { response, receipt: permit.spend() })
    }
}

#[tokio::test(start_paused = true)]
async fn a_hundred_thousand_tokens_and_paths_leave_the_page_as_long_as_it_was() {
    let proxy = Arc::new(Rooms::wide().around(Nowhere, Clock::starting_at(UNIX_EPOCH)));
    let gate = proxy.gate.clone();
    tokio::spawn(async move { gate.run().await });
    let methods = ["GET", "PURGE", "BREW"];
    let ask = async |number: usize| {
        let request = Request::builder()
            .method(methods[number % methods.len()])
            .uri(format!("/v1/p{number}/q{number}?r={number}"))
            .header("host", "localhost:8443")
            .header("authorization", format!("Bearer stranger-{number}"))
            .header("trackingid", format!("id-{number}"));
        let arrival = Arrival {
            scheme: Scheme::Https,
            peer: ([127, 0, 0, 1], 50_000).into(),
            version: Version::HTTP_11,
        };
        drop(Arc::clone(&proxy).answer(arrival, request.body(Body::empty()).unwrap()).await);
    };
    let page = || {
        let page = proxy.metrics.render(&gauges(proxy.gate.glance()), &proxy.doorman.names());
        String::from_utf8(page).unwrap()
    };
    for number in 0..1000 {
        ask(number).await;
    }
    let before = page().lines().count();
    for number in 1000..100_000 {
        ask(number).await;
    }
    let page = page();
    assert_eq!(page.lines().count(), before);
    assert!(page.contains("route=\"other\"} 100000"), "{page}");
    for mark in ["stranger", "id-", "/p9", "PURGE"] {
        assert!(!page.contains(mark), "{mark}: {page}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_status_that_an_origin_invents_is_no_label() {
    let world = world().start();
    for status in [299, 418, 599, 777] {
        world.force(json!({"status": status}));
        world.bot("alice").get("/v1/people/me").await;
    }
    let page = world.page();
    assert!(page.contains("code=\"418\"") && page.contains("code=\"other\""), "{page}");
    for invented in ["299", "599", "777"] {
        assert!(!page.contains(&format!("code=\"{invented}\"")), "{page}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_line_is_shown_by_tenant() {
    let world = world().paced(1.0).start();
    list(&world, std::iter::once("alerts".to_owned()));
    // Requests for the same would be answered together.
    let ask = |token: &str| {
        let (bot, path) = (world.bot(token), format!("/v1/people?id={}", uuid::Uuid::new_v4()));
        tokio::spawn(async move { bot.get(&path).await })
    };
    let asked: Vec<_> = ["alerts", "alerts", "alerts", "nobody", "nowhere"].map(ask).into_iter().collect();
    world.pass(Duration::from_millis(500)).await;
    let (named, strangers) = ["alerts", "unlisted"]
        .map(|tenant| value(&world, &format!("queue_depth{{tenant=\"{tenant}\"}}")))
        .into();
    assert_eq!(named.unwrap() + strangers.unwrap(), 4.0);
    assert_eq!(value(&world, "queue_oldest_age_seconds{tenant=\"unlisted\"}"), Some(0.5));
    for asked in asked {
        assert!(asked.await.is_ok());
    }
    assert_eq!(value(&world, "queue_depth{tenant=\"alerts\"}"), Some(0.0));
}
