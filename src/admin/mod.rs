//! Decides what operators see: metrics, probes and status, on a listener of their own.

use std::collections::HashMap;
use std::sync::Arc;

use http::{HeaderValue, Method, Request, Response, StatusCode, header};

use crate::body::Body;
use crate::metrics::{Gauges, Metrics};
use crate::words::TenantId;

mod status;

/// What the process looks like at one moment.
#[derive(Debug, Clone)]
pub struct View {
    /// The gauges of the metrics.
    pub gauges: Gauges,
    /// Names of tenants that have one.
    pub names: HashMap<TenantId, Arc<str>>,
    /// Whether new traffic should be sent here.
    pub readiness: Readiness,
}

/// Whether the process takes new traffic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Readiness {
    /// It is about to end.
    Draining,
    /// It takes traffic.
    Ready,
}

/// Which paths a listener answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// All.
    Full,
    /// Metrics and probes.
    Metrics,
}

/// Answers operators' requests. Cloning shares it.
#[derive(Clone)]
pub struct Admin {
    metrics: Arc<Metrics>,
    look: Arc<dyn Fn() -> View + Send + Sync>,
    scope: Scope,
}

impl std::fmt::Debug for Admin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Admin({:?})", self.scope)
    }
}

impl Admin {
    /// `look` is called for every answer that shows the state.
    pub fn new(metrics: Arc<Metrics>, scope: Scope, look: impl Fn() -> View + Send + Sync + 'static) -> Self {
        Self { metrics, look: Arc::new(look), scope }
    }

    /// Answers one request. Nothing here changes anything, so only GET and HEAD are known.
    pub fn answer(&self, request: &Request<Body>) -> Response<Body> {
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n");
        }
        match (self.scope, request.uri().path()) {
            (_, "/livez") => text(StatusCode::OK, "ok\n"),
            (_, "/readyz") => match (self.look)().readiness {
                Readiness::Ready => text(StatusCode::OK, "ready\n"),
                Readiness::Draining => text(StatusCode::SERVICE_UNAVAILABLE, "draining\n"),
            },
            (_, "/metrics") => self.metrics(),
            (Scope::Full, "/status") => self.status(),
            (Scope::Full, "/") => text(StatusCode::OK, INDEX),
            _ => text(StatusCode::NOT_FOUND, "not found\n"),
        }
    }

    fn metrics(&self) -> Response<Body> {
        let view = (self.look)();
        let page = self.metrics.render(&view.gauges, &view.names);
        of_type("text/plain; version=0.0.4; charset=utf-8", Body::whole(page))
    }

    fn status(&self) -> Response<Body> {
        let status = status::page(&(self.look)());
        of_type("application/json", Body::whole(format!("{status:#}\n")))
    }
}

fn text(status: StatusCode, text: &'static str) -> Response<Body> {
    let mut response = of_type("text/plain; charset=utf-8", Body::whole(text));
    *response.status_mut() = status;
    response
}

fn of_type(media_type: &'static str, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert("x-content-type-options", HeaderValue::from_static("nosniff"));
    response
}

const INDEX: &str =
    "Tollgate\n\n/metrics  Prometheus\n/status   JSON\n/livez    process\n/readyz   takes traffic\n";

#[cfg(test)]
mod tests {
    use super::*;

    use http_body_util::BodyExt;
    use serde_json::json;

    use crate::metrics::tests::gauges;

    fn admin(scope: Scope, readiness: Readiness) -> Admin {
        let names = HashMap::from([(TenantId::new([1; 16]), Arc::from("alerts"))]);
        let look = move || View { gauges: gauges(), names: names.clone(), readiness };
        Admin::new(Arc::new(Metrics::new().unwrap()), scope, look)
    }

    fn ask(admin: &Admin, method: &str, path: &str) -> Response<Body> {
        admin.answer(&Request::builder().method(method).uri(path).body(Body::empty()).unwrap())
    }

    #[test]
    fn each_path_has_its_answer() {
        for (scope, readiness, method, path, status) in [
            (Scope::Full, Readiness::Ready, "GET", "/livez", 200),
            (Scope::Full, Readiness::Ready, "GET", "/readyz?verbose", 200),
            (Scope::Full, Readiness::Draining, "GET", "/livez", 200),
            (Scope::Full, Readiness::Draining, "GET", "/readyz", 503),
            (Scope::Full, Readiness::Ready, "GET", "/status", 200),
            (Scope::Metrics, Readiness::Ready, "GET", "/status", 404),
            (Scope::Metrics, Readiness::Ready, "GET", "/metrics", 200),
            (Scope::Full, Readiness::Ready, "GET", "/v1/people/me", 404),
            (Scope::Full, Readiness::Ready, "POST", "/livez", 405),
        ] {
            assert_eq!(ask(&admin(scope, readiness), method, path).status(), status, "{method} {path}");
        }
    }

    #[tokio::test]
    async fn status_says_until_when_the_gate_is_closed() {
        let body =
            ask(&admin(Scope::Full, Readiness::Ready), "GET", "/status").into_body().collect().await.unwrap();
        let status: serde_json::Value = serde_json::from_slice(&body.to_bytes()).unwrap();
        assert_eq!(status["gate"]["closed"], true);
        assert_eq!(status["gate"]["remaining_seconds"], 12.0);
        assert_eq!(status["gate"]["waiting"], 3);
        assert_eq!(status["gate"]["in_flight"], 4);
        assert_eq!(
            status["gate"]["verdicts"],
            json!([{"family": "rooms", "access": "write", "level": "tenant"}])
        );
        let gates = status["gate"]["gates"].as_array().unwrap();
        assert_eq!(
            gates[0],
            json!({
                "level": "route", "tenant": "alerts", "family": "rooms", "access": "write", "room": null,
                "closed": true, "remaining_seconds": 8.0, "rate_per_second": 5.0,
            })
        );
        assert_eq!(gates[1]["tenant"], "020202020202");
        assert_eq!(gates.len(), 3);
    }
}
