//! No credential stays behind: not in a log at its most talkative, not in a metric, not in `Debug`.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use http_body_util::BodyExt;
use serde_json::json;
use tokio::time::Instant;
use tollgate::admin::{Admin, AdminSettings, AdminToken, Beat, Readiness, Undone, View};
use tollgate::body::Body;
use tollgate::metrics::Gauges;
use tracing_subscriber::fmt::MakeWriter;

use crate::world::{World, world};

const CANARY: &str = "canary-7f3a9c";

/// Everything that is logged on this thread.
#[derive(Debug, Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap()).into_owned()
    }
}

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

/// A bot's day with the canary wherever a credential can stand: hits, misses, refusals, faults, a departure.
async fn a_day(world: &World) {
    let bot = world.bot(CANARY).with("cookie", &format!("session={CANARY}"));
    let path = world.content(&[CANARY]);
    for _ in 0..2 {
        assert_eq!(bot.get(&path).await.status, 200);
    }
    assert_eq!(bot.get(&format!("/v1/people?access_token={CANARY}")).await.status, 400);
    let grant = Body::whole(format!("grant_type=refresh_token&refresh_token={CANARY}"));
    let form = bot.clone().with("content-type", "application/x-www-form-urlencoded");
    assert_eq!(form.send("POST", "/v1/access_token", grant).await.status, 200);
    assert_eq!(world.bot(&format!("expired-{CANARY}")).get("/v1/people/me").await.status, 401);
    for path in [format!("/v1/webhooks/incoming/{CANARY}"), format!("/v1/{CANARY}")] {
        assert_eq!(bot.send("POST", &path, Body::whole(CANARY)).await.status, 404);
    }
    let odd = bot.clone().with("traceparent", CANARY).with("priority", CANARY).with("prefer", CANARY);
    assert_eq!(odd.get("/v1/people/me").await.status, 200);
    let answer = json!({"status": 404, "headers": {"x-secret": CANARY, "set-cookie": CANARY}, "body": {"message": CANARY}});
    world.force(json!([answer]));
    assert_eq!(bot.get("/v1/people/me").await.status, 404);
    let twice = bot.clone().with("authorization", &format!("Basic {CANARY}"));
    assert_eq!(twice.get("/v1/people/me").await.status, 400);
    assert_eq!(bot.clone().at("evil.example").get("/v1/people/me").await.status, 421);
    world.force(json!([{"close": "reset", "n": 3}, {"status": 429, "headers": {"retry-after": "100"}}]));
    assert_eq!(bot.get("/v1/people/me").await.status, 502);
    let leaver = bot.clone();
    let leaves = tokio::spawn(async move { leaver.get("/v1/people/me").await });
    world.pass(Duration::from_secs(1)).await;
    leaves.abort();
    assert_eq!(bot.get("/v1/people/me").await.status, 429);
}

#[tokio::test(start_paused = true)]
async fn no_log_line_shows_a_credential() {
    let log = Log::default();
    // With one subscriber alone, tracing asks the thread that logs first whether anybody listens: another test's.
    let _second = tracing::Dispatch::new(tracing::subscriber::NoSubscriber::default());
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_ansi(false)
        .with_writer(log.clone())
        .finish();
    let _until_dropped = tracing::subscriber::set_default(subscriber);
    a_day(&world().start()).await;
    let text = log.text();
    assert!(text.contains("outcome=\"hit\""), "nothing was captured: {text}");
    assert!(text.contains("a transport sees"), "the transport was not captured");
    let line = text.lines().find(|line| line.contains(CANARY));
    assert_eq!(line, None);
}

#[tokio::test(start_paused = true)]
async fn no_metric_and_no_status_shows_a_credential() {
    let world = world().start();
    a_day(&world).await;
    let gauges = world.gauges();
    let admin = Admin::new(operators(&world, &gauges));
    let page = world.page();
    assert!(page.contains("outcome=\"hit\""), "{page}");
    assert!(!page.contains(CANARY));
    assert!(!format!("{admin:?}").contains(CANARY));
    let ask = http::Request::get("/status").header("host", "localhost").body(Body::empty()).unwrap();
    let told = admin.answer(ask).await.into_body().collect().await.unwrap().to_bytes();
    let status = String::from_utf8(told.to_vec()).unwrap();
    assert!(status.contains("\"deadline\"") && status.contains("/v1/people/me"), "{status}");
    assert!(!status.contains(CANARY), "{status}");
}

/// The operators' side over a world that is not served.
fn operators(world: &World, gauges: &Gauges) -> AdminSettings {
    let (gauges, recent) = (gauges.clone(), world.proxy.metrics.recent().look(Instant::now()));
    AdminSettings {
        metrics: Arc::clone(&world.proxy.metrics),
        look: Arc::new(move || View {
            now: Instant::now(),
            wall: SystemTime::UNIX_EPOCH,
            up_for: Duration::ZERO,
            upstream: "https://webexapis.com".into(),
            gauges: gauges.clone(),
            recent: recent.clone(),
            names: HashMap::new(),
            readiness: Readiness::Ready,
        }),
        beat: Arc::new(|| Beat {
            waiting: 0,
            rate_per_second: 1.0,
            is_closed: false,
            answered: 0,
            refused: 0,
        }),
        obey: Arc::new(|_| Box::pin(std::future::ready(Err(Undone::Unable("nothing runs here"))))),
        token: AdminToken::new(CANARY, "admin-token".into()),
        hosts: Vec::new(),
    }
}

#[tokio::test(start_paused = true)]
async fn no_room_shows_a_credential_when_it_is_printed() {
    let world = world().start();
    a_day(&world).await;
    let shown = format!("{:#?}", world.proxy);
    assert!(shown.contains("Doorman"), "{shown}");
    assert!(!shown.contains(CANARY));
}

#[tokio::test(start_paused = true)]
async fn no_room_shows_what_it_keeps_when_it_is_printed() {
    let world = world().start();
    a_day(&world).await;
    let shown = format!("{:#?}", world.proxy.cache);
    assert!(shown.contains("Store("), "{shown}");
    assert!(!shown.contains("attachment; filename"), "{shown}");
}
