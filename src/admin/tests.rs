//! Holds what each path answers, to whom, and what an order does.

use super::*;

use std::sync::Mutex;

use crate::cache::Purge;
use crate::config::LogLevel;
use crate::metrics::tests::gauges;
use crate::metrics::{Pace, Refusal, RefusalReason};
use crate::route::RouteId;

const TOKEN: &str = "0123456789abcdef0123456789abcdef";

type Orders = Arc<Mutex<Vec<Mutation>>>;

fn view(readiness: Readiness) -> View {
    let tenant = TenantId::new([1; 16]);
    let now = Instant::now() + Duration::from_secs(60);
    let refusal = Refusal {
        last_at: now - Duration::from_secs(4),
        tenant: Some(tenant),
        route: RouteId::OTHER,
        reason: RefusalReason::Deadline,
        retry_after: Some(Duration::from_secs(30)),
        times: 3,
    };
    let pace = Pace {
        tenant,
        requests: 4,
        waited: Duration::from_secs(10),
        upstream_for: Duration::from_secs(2),
        slowest: Duration::from_secs(9),
    };
    View {
        now,
        wall: SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000),
        up_for: Duration::from_secs(60),
        upstream: "https://webexapis.com".into(),
        gauges: gauges(),
        recent: RecentView {
            answered: 10,
            refused: 3,
            calls_saved: 3,
            cacheable: 4,
            bytes_saved: 1000,
            refusals: vec![refusal],
            slowest: vec![pace],
        },
        names: HashMap::from([(tenant, Arc::from("alerts"))]),
        readiness,
    }
}

/// An admin that records its orders.
fn admin(readiness: Readiness) -> (Admin, Orders) {
    let orders = Orders::default();
    let taken = Arc::clone(&orders);
    let settings = AdminSettings {
        metrics: Arc::new(Metrics::new().unwrap()),
        look: Arc::new(move || view(readiness)),
        beat: Arc::new(|| Beat {
            waiting: 3,
            rate_per_second: 5.0,
            is_closed: true,
            answered: 10,
            refused: 3,
        }),
        obey: Arc::new(move |mutation| {
            taken.lock().unwrap().push(mutation.clone());
            Box::pin(async move {
                match mutation {
                    Mutation::LogLevel(level) => Ok(Done::LogLevel(LogLevel::Info, level)),
                    Mutation::Purge(Target::Cache(_)) => Ok(Done::Purged(7)),
                    Mutation::Purge(Target::Tenant(_)) => Err(Undone::Unknown("no such tenant".to_owned())),
                    Mutation::Reload => Err(Undone::Faults("a:1:1: one\na:2:1: two\n".to_owned())),
                }
            })
        }),
        token: AdminToken::new(&format!("{TOKEN}\n"), "/state/admin-token".into()),
        hosts: vec!["ops.example".parse().unwrap(), "ops.example.net:8080".parse().unwrap()],
    };
    (Admin::new(settings), orders)
}

fn request(method: &str, path: &str, fields: &[(&str, &str)], body: &str) -> Request<Body> {
    let mut request = Request::builder().method(method).uri(path);
    if !fields.iter().any(|(name, _)| *name == "host") {
        request = request.header("host", "127.0.0.1:9900");
    }
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    request.body(Body::whole(body.to_owned())).unwrap()
}

async fn ask(admin: &Admin, method: &str, path: &str, fields: &[(&str, &str)]) -> StatusCode {
    admin.answer(request(method, path, fields, "")).await.status()
}

async fn order(path: &str, body: &str) -> (u16, Value, Vec<Mutation>) {
    let (admin, orders) = admin(Readiness::Ready);
    let bearer = format!("Bearer {TOKEN}");
    let response = admin.answer(request("POST", path, &[("authorization", &bearer)], body)).await;
    let status = response.status().as_u16();
    let told = response.into_body().collect().await.unwrap().to_bytes();
    let orders = orders.lock().unwrap().clone();
    (status, serde_json::from_slice(&told).unwrap(), orders)
}

#[tokio::test]
async fn each_path_has_its_answer() {
    for (scope, readiness, method, path, status) in [
        (Scope::Full, Readiness::Ready, "GET", "/", 200),
        (Scope::Full, Readiness::Ready, "GET", "/livez", 200),
        (Scope::Full, Readiness::Ready, "GET", "/readyz?verbose", 200),
        (Scope::Full, Readiness::Draining, "GET", "/livez", 200),
        (Scope::Full, Readiness::Draining, "GET", "/readyz", 503),
        (Scope::Full, Readiness::Ready, "GET", "/status", 200),
        (Scope::Full, Readiness::Ready, "GET", "/events", 200),
        (Scope::Metrics, Readiness::Ready, "GET", "/", 404),
        (Scope::Metrics, Readiness::Ready, "GET", "/status", 404),
        (Scope::Metrics, Readiness::Ready, "GET", "/events", 404),
        (Scope::Metrics, Readiness::Ready, "POST", "/-/purge", 404),
        (Scope::Metrics, Readiness::Ready, "GET", "/metrics", 200),
        (Scope::Full, Readiness::Ready, "GET", "/v1/people/me", 404),
        (Scope::Full, Readiness::Ready, "POST", "/livez", 405),
        (Scope::Full, Readiness::Ready, "POST", "/-/shutdown", 404),
        (Scope::Full, Readiness::Ready, "GET", "/-/purge", 405),
        (Scope::Full, Readiness::Ready, "POST", "/-/purge", 401),
    ] {
        let admin = admin(readiness).0.within(scope);
        assert_eq!(ask(&admin, method, path, &[]).await, status, "{method} {path}");
    }
}

#[tokio::test]
async fn a_wrong_method_is_told_the_right_one() {
    let admin = admin(Readiness::Ready).0;
    for (method, path, allow) in
        [("GET", "/-/reload", "POST"), ("PUT", "/-/purge", "POST"), ("POST", "/status", "GET, HEAD")]
    {
        let response = admin.answer(request(method, path, &[], "")).await;
        assert_eq!((response.status().as_u16(), response.headers()["allow"].to_str().unwrap()), (405, allow));
    }
}

#[tokio::test]
async fn probes_and_scrapes_come_under_any_host_and_all_else_under_known_ones() {
    let admin = admin(Readiness::Ready).0;
    for (host, status) in [
        ("localhost", 200),
        ("LOCALHOST:9900", 200),
        ("a.localhost:1", 200),
        ("127.0.0.1", 200),
        ("[::1]:9900", 200),
        ("10.1.2.3:9900", 200),
        ("ops.example", 200),
        ("OPS.example:9900", 200),
        ("ops.example.net:8080", 200),
        ("ops.example.net:8081", 421),
        ("ops.example.net", 421),
        ("evil.example", 421),
        ("127.0.0.1.evil.example", 421),
        ("localhost.evil.example", 421),
        ("", 421),
        ("a b", 421),
    ] {
        for path in ["/", "/status", "/events"] {
            assert_eq!(ask(&admin, "GET", path, &[("host", host)]).await, status, "{host} {path}");
        }
        let changed = if status == 200 { 401 } else { status };
        assert_eq!(ask(&admin, "POST", "/-/purge", &[("host", host)]).await, changed, "{host}");
        for path in ["/metrics", "/livez", "/readyz"] {
            assert_eq!(ask(&admin, "GET", path, &[("host", host)]).await, 200, "{host} {path}");
        }
    }
}

#[tokio::test]
async fn a_page_of_another_site_changes_and_hears_nothing() {
    let admin = admin(Readiness::Ready).0;
    let bearer = format!("Bearer {TOKEN}");
    for (field, value, is_ours) in [
        ("sec-fetch-site", "cross-site", false),
        ("sec-fetch-site", "same-site", false),
        ("sec-fetch-site", "same-origin", true),
        ("sec-fetch-site", "none", true),
        ("origin", "null", false),
        ("origin", "http://evil.example", false),
        ("origin", "http://127.0.0.1:8080", false),
        ("origin", "http://127.0.0.1:9900", true),
    ] {
        let fields = [(field, value), ("authorization", bearer.as_str())];
        let status = if is_ours { 400 } else { 403 };
        assert_eq!(ask(&admin, "POST", "/-/purge", &fields).await, status, "{field}: {value}");
        let status = if is_ours { 200 } else { 403 };
        assert_eq!(ask(&admin, "GET", "/events", &fields).await, status, "{field}: {value}");
        assert_eq!(ask(&admin, "GET", "/", &fields).await, 200, "a link: {field}: {value}");
    }
}

#[tokio::test]
async fn nothing_changes_without_the_token() {
    let good = format!("Bearer {TOKEN}");
    for (shown, status) in [
        (None, 401),
        (Some("Basic YTpi"), 401),
        (Some(TOKEN), 401),
        (Some("Bearer "), 403),
        (Some("Bearer 0123456789abcdef"), 403),
        (Some("Bearer 0123456789abcdef0123456789abcdeg"), 403),
        (Some(good.as_str()), 200),
    ] {
        let (admin, orders) = admin(Readiness::Ready);
        let fields: Vec<_> = shown.iter().map(|shown| ("authorization", *shown)).collect();
        let response = admin.answer(request("POST", "/-/purge", &fields, r#"{"all": true}"#)).await;
        assert_eq!(response.status(), status, "{shown:?}");
        assert_eq!(orders.lock().unwrap().is_empty(), status != 200, "{shown:?}");
        if status != 200 {
            let told = response.into_body().collect().await.unwrap().to_bytes();
            let told = String::from_utf8(told.to_vec()).unwrap();
            assert!(told.contains("/state/admin-token") && !told.contains(TOKEN), "{told}");
        }
    }
}

#[tokio::test]
async fn an_order_is_read_strictly_and_its_fault_named() {
    for (path, body, fault) in [
        ("/-/purge", "", "EOF"),
        ("/-/purge", "{}", "exactly one"),
        ("/-/purge", r#"{"all": false}"#, "all is true"),
        ("/-/purge", r#"{"all": true, "id": "x"}"#, "exactly one"),
        ("/-/purge", r#"{"id": ""}"#, "id is empty"),
        ("/-/purge", r#"{"id": 7}"#, "expected a string"),
        ("/-/purge", r#"{"prefix": "v1"}"#, "begins with a slash"),
        ("/-/purge", r#"{"prefx": "/"}"#, "unknown field `prefx`"),
        ("/-/purge", r#"{"all": true} x"#, "trailing"),
        ("/-/log-level", r#"{"level": "loud"}"#, "error, warn, info, debug, trace"),
        ("/-/log-level", "{}", "missing field `level`"),
        ("/-/reload", r#"{"force": true}"#, "no body"),
    ] {
        let (status, told, orders) = order(path, body).await;
        assert_eq!((status, orders.len()), (400, 0), "{path} {body}");
        assert!(told["error"].as_str().unwrap().contains(fault), "{body}: {told}");
    }
    let (status, told, _) = order("/-/purge", &format!("{{\"id\": \"{}\"}}", "x".repeat(5000))).await;
    assert_eq!(status, 413, "{told}");
}

#[tokio::test]
async fn an_order_is_carried_out_and_answered() {
    let cache = |purge| Mutation::Purge(Target::Cache(purge));
    for (path, body, mutation, status, told) in [
        ("/-/purge", r#"{"all": true}"#, cache(Purge::All), 200, json!({"purged": 7})),
        ("/-/purge", r#"{"id": "x"}"#, cache(Purge::Content("x".into())), 200, json!({"purged": 7})),
        ("/-/purge", r#"{"prefix": "/v1/"}"#, cache(Purge::Prefix("/v1/".into())), 200, json!({"purged": 7})),
        (
            "/-/purge",
            r#"{"tenant": "x"}"#,
            Mutation::Purge(Target::Tenant("x".into())),
            404,
            json!({"error": "no such tenant"}),
        ),
        (
            "/-/log-level",
            r#"{"level": "debug"}"#,
            Mutation::LogLevel(LogLevel::Debug),
            200,
            json!({"old": "info", "new": "debug"}),
        ),
        (
            "/-/reload",
            "",
            Mutation::Reload,
            422,
            json!({
                "error": "the configuration was not reloaded: the old one stays in force",
                "faults": ["a:1:1: one", "a:2:1: two"],
            }),
        ),
    ] {
        assert_eq!(order(path, body).await, (status, told, vec![mutation]), "{path} {body}");
    }
}

#[tokio::test]
async fn every_answer_forbids_what_no_page_may_do_with_it() {
    let admin = admin(Readiness::Ready).0;
    for path in ["/", "/status", "/events", "/metrics", "/none", "/-/purge"] {
        let response = admin.answer(request("GET", path, &[], "")).await;
        for (name, _) in SAFE {
            assert!(response.headers().contains_key(*name), "{path} lacks {name}");
        }
        let policy = response.headers()["content-security-policy"].to_str().unwrap();
        assert!(policy.starts_with("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
    }
}

#[tokio::test]
async fn too_many_pages_are_told_so() {
    let admin = admin(Readiness::Ready).0;
    let mut open = Vec::new();
    let refused = loop {
        let response = admin.answer(request("GET", "/events", &[], "")).await;
        if response.status() != 200 {
            break response;
        }
        open.push(response);
    };
    assert_eq!((refused.status().as_u16(), refused.headers()["retry-after"].to_str().unwrap()), (503, "10"));
    assert!(open.len() >= 8);
}

#[tokio::test]
async fn status_says_who_waits_and_until_when_the_gate_is_closed() {
    let admin = admin(Readiness::Ready).0;
    let body = admin.answer(request("GET", "/status", &[], "")).await.into_body().collect().await.unwrap();
    let status: Value = serde_json::from_slice(&body.to_bytes()).unwrap();
    let gate = &status["gate"];
    assert_eq!((&gate["closed"], &gate["remaining_seconds"]), (&json!(true), &json!(12.0)));
    assert_eq!((&gate["waiting"], &gate["in_flight"]), (&json!(3), &json!(4)));
    assert_eq!(gate["verdicts"], json!([{"family": "rooms", "access": "write", "level": "tenant"}]));
    assert_eq!(
        gate["lines"],
        json!([
            { "tenant": "strangers", "waiting": 5, "oldest_waited_seconds": 2.0 },
            { "tenant": "alerts", "waiting": 2, "oldest_waited_seconds": 3.0 },
            { "tenant": "020202020202", "waiting": 1, "oldest_waited_seconds": 4.0 },
        ])
    );
    assert_eq!(
        gate["gates"][0],
        json!({
            "level": "route", "tenant": "alerts", "family": "rooms", "access": "write", "room": null,
            "closed": true, "remaining_seconds": 8.0, "rate_per_second": 5.0,
        })
    );
    assert_eq!(gate["gates"][1]["tenant"], "020202020202");
    assert_eq!((gate["gates"].as_array().unwrap().len(), &gate["gates_shut"]), (3, &json!(3)));
    assert_eq!(
        status["refusals"],
        json!([{
            "seconds_ago": 4.0, "tenant": "alerts", "route": "other", "reason": "deadline",
            "retry_after_seconds": 30.0, "times": 3,
        }])
    );
    assert_eq!(
        status["slowest"],
        json!([{
            "tenant": "alerts", "requests": 4, "mean_wait_seconds": 2.5, "mean_upstream_seconds": 0.5,
            "slowest_seconds": 9.0,
        }])
    );
    assert_eq!(status["cache"]["hit_ratio"], 0.75);
}

#[tokio::test(start_paused = true)]
async fn history_is_told_as_series_of_equal_length() {
    let admin = admin(Readiness::Ready).0;
    let feeds = admin.clone();
    let _feed = tokio::spawn(async move { feeds.run().await });
    tokio::time::sleep(Duration::from_secs(700)).await;
    let history = admin.desk.feed.history();
    for series in ["waiting", "rate_per_second", "closed", "answered", "refused"] {
        assert_eq!(history[series].as_array().unwrap().len(), 150, "{series}");
    }
    assert_eq!(history["answered"][0], 0);
}
