//! Decides what operators see and do: page, status, metrics, probes and orders, on a listener of their own.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::uri::Authority;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Limited};
use serde_json::{Value, json};
use tokio::time::{Instant, timeout};

use crate::body::Body;
use crate::metrics::{Gauges, Metrics, RecentView};
use crate::words::TenantId;

mod feed;
mod guard;
mod history;
mod mutation;
mod page;
mod status;

pub use guard::AdminToken;
pub use history::Beat;
pub use mutation::{Done, Mutation, Obey, Target, Undone};

use feed::Feed;
use guard::{Denied, Guard};
use mutation::Order;
use page::Page;

/// What the process looks like at one moment.
#[derive(Debug, Clone)]
pub struct View {
    /// When it was looked at.
    pub now: Instant,
    /// The same moment by the wall clock.
    pub wall: SystemTime,
    /// Time since the start.
    pub up_for: Duration,
    /// Scheme and host of the API.
    pub upstream: Arc<str>,
    /// The gauges of the metrics.
    pub gauges: Gauges,
    /// The last minutes.
    pub recent: RecentView,
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

/// What the operators' side must know, and how it looks and acts.
pub struct AdminSettings {
    /// Every series.
    pub metrics: Arc<Metrics>,
    /// Called for every answer that shows the state, and once a second while a page is open.
    pub look: Arc<dyn Fn() -> View + Send + Sync>,
    /// Called every other second.
    pub beat: Arc<dyn Fn() -> Beat + Send + Sync>,
    /// Changes something.
    pub obey: Obey,
    /// What changes need.
    pub token: AdminToken,
    /// Hosts besides loopback names and IP addresses; `*` is any.
    pub hosts: Vec<Authority>,
}

/// Answers operators' requests. Cloning shares it.
#[derive(Clone)]
pub struct Admin {
    desk: Arc<Desk>,
    scope: Scope,
}

struct Desk {
    metrics: Arc<Metrics>,
    look: Arc<dyn Fn() -> View + Send + Sync>,
    beat: Arc<dyn Fn() -> Beat + Send + Sync>,
    obey: Obey,
    guard: Guard,
    page: Page,
    feed: Feed,
}

impl std::fmt::Debug for Admin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Admin({:?})", self.scope)
    }
}

impl Admin {
    /// Everything there is. [`Admin::run`] must run beside it, or no page hears of a change.
    pub fn new(settings: AdminSettings) -> Self {
        let AdminSettings { metrics, look, beat, obey, token, hosts } = settings;
        let guard = Guard { hosts, token };
        let desk = Desk { metrics, look, beat, obey, guard, page: Page::new(), feed: Feed::new() };
        Self { desk: Arc::new(desk), scope: Scope::Full }
    }

    /// The same, for a listener that answers less.
    pub fn within(&self, scope: Scope) -> Self {
        Self { scope, ..self.clone() }
    }

    /// Keeps the history and feeds open pages. Ends only when dropped, and so do the pages' streams.
    pub async fn run(&self) {
        let desk = &self.desk;
        desk.feed.run(|| (desk.beat)(), || desk.status()).await;
    }

    /// Answers one request.
    pub async fn answer(&self, request: Request<Body>) -> Response<Body> {
        let path = request.uri().path();
        match (self.scope, Order::find(path)) {
            (Scope::Full, Some(order)) if request.method() == Method::POST => {
                self.desk.obey(order, request).await
            }
            (Scope::Full, Some(_)) => not_allowed("POST"),
            _ => self.show(&request),
        }
    }

    fn show(&self, request: &Request<Body>) -> Response<Body> {
        let desk = &self.desk;
        let show: fn(&Desk) -> Response<Body> = match (self.scope, request.uri().path()) {
            (_, "/livez") => |_| text(StatusCode::OK, "ok\n"),
            (_, "/readyz") => Desk::readiness,
            (_, "/metrics") => Desk::exposition,
            (Scope::Full, "/") => |desk| desk.page.response(),
            (Scope::Full, "/events") => Desk::events,
            (Scope::Full, "/status") => {
                |desk| of_type("application/json", Body::whole(format!("{:#}\n", desk.status())))
            }
            _ => return text(StatusCode::NOT_FOUND, "not found\n"),
        };
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return not_allowed("GET, HEAD");
        }
        match desk.admit(request) {
            Ok(()) => show(desk),
            Err(denied) => refusal(&denied),
        }
    }
}

impl Desk {
    /// Probes come by the pod's address and scrapes by a service's name: they show nothing that a page could misuse.
    fn admit(&self, request: &Request<Body>) -> Result<(), Denied> {
        let (uri, headers) = (request.uri(), request.headers());
        match uri.path() {
            "/livez" | "/readyz" | "/metrics" => Ok(()),
            // A link on another site may lead here.
            "/" => self.guard.host(uri, headers),
            _ => self.guard.host(uri, headers).and_then(|()| Guard::origin(uri, headers)),
        }
    }

    fn readiness(&self) -> Response<Body> {
        match (self.look)().readiness {
            Readiness::Ready => text(StatusCode::OK, "ready\n"),
            Readiness::Draining => text(StatusCode::SERVICE_UNAVAILABLE, "draining\n"),
        }
    }

    fn exposition(&self) -> Response<Body> {
        let view = (self.look)();
        let page = self.metrics.render(&view.gauges, &view.names);
        of_type("text/plain; version=0.0.4; charset=utf-8", Body::whole(page))
    }

    fn status(&self) -> Value {
        status::page(&(self.look)(), &self.feed.history())
    }

    fn events(&self) -> Response<Body> {
        match self.feed.subscribe() {
            Some(events) => of_type("text/event-stream", events),
            None => {
                let error = "too many pages are open: close one, or read /status";
                let mut response = answer(StatusCode::SERVICE_UNAVAILABLE, &json!({ "error": error }));
                response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("10"));
                response
            }
        }
    }

    async fn obey(&self, order: Order, request: Request<Body>) -> Response<Body> {
        let (head, body) = request.into_parts();
        let (uri, headers) = (&head.uri, &head.headers);
        let admitted = self
            .guard
            .host(uri, headers)
            .and_then(|()| Guard::origin(uri, headers))
            .and_then(|()| self.guard.token(headers));
        if let Err(denied) = admitted {
            return refusal(&denied);
        }
        let body = match timeout(BODY_TIMEOUT, Limited::new(body, MAX_BODY_BYTES).collect()).await {
            Ok(Ok(body)) => body.to_bytes(),
            Ok(Err(_)) => {
                let error = format!("the body broke off, or is longer than {MAX_BODY_BYTES} bytes");
                return answer(StatusCode::PAYLOAD_TOO_LARGE, &json!({ "error": error }));
            }
            Err(_) => {
                return answer(StatusCode::REQUEST_TIMEOUT, &json!({ "error": "the body did not come" }));
            }
        };
        let mutation = match order.read(&body) {
            Ok(mutation) => mutation,
            Err(error) => return answer(StatusCode::BAD_REQUEST, &json!({ "error": error })),
        };
        let outcome = timeout(OBEY_TIMEOUT, (self.obey)(mutation)).await;
        let unable = Undone::Unable("it takes too long; it may still happen");
        let (status, told) = mutation::told(outcome.unwrap_or(Err(unable)));
        answer(status, &told)
    }
}

fn refusal(denied: &Denied) -> Response<Body> {
    let status = match denied {
        Denied::CrossSite | Denied::WrongToken(_) => StatusCode::FORBIDDEN,
        Denied::NoToken(_) => StatusCode::UNAUTHORIZED,
        Denied::UnknownHost(_) => StatusCode::MISDIRECTED_REQUEST,
    };
    let mut response = answer(status, &json!({ "error": denied.to_string() }));
    if status == StatusCode::UNAUTHORIZED {
        let scheme = HeaderValue::from_static("Bearer realm=\"tollgate admin\"");
        response.headers_mut().insert(header::WWW_AUTHENTICATE, scheme);
    }
    response
}

fn answer(status: StatusCode, value: &Value) -> Response<Body> {
    let mut response = of_type("application/json", Body::whole(format!("{value}\n")));
    *response.status_mut() = status;
    response
}

fn not_allowed(methods: &'static str) -> Response<Body> {
    let mut response = answer(StatusCode::METHOD_NOT_ALLOWED, &json!({ "error": format!("only {methods}") }));
    response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(methods));
    response
}

fn text(status: StatusCode, text: &'static str) -> Response<Body> {
    let mut response = of_type("text/plain; charset=utf-8", Body::whole(text));
    *response.status_mut() = status;
    response
}

fn of_type(media_type: &'static str, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    for (name, value) in [("content-type", media_type)].iter().chain(SAFE) {
        headers.insert(*name, HeaderValue::from_static(value));
    }
    response
}

/// On every answer: nothing is stored, guessed, framed, embedded or told to others.
const SAFE: &[(&str, &str)] = &[
    ("cache-control", "no-store"),
    ("content-security-policy", "default-src 'none'; frame-ancestors 'none'"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
    ("referrer-policy", "no-referrer"),
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
];
/// An order is one line; a content's id has a hundred bytes.
const MAX_BODY_BYTES: usize = 4096;
const BODY_TIMEOUT: Duration = Duration::from_secs(5);
/// A reload reads files of tokens and certificates.
const OBEY_TIMEOUT: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests;
