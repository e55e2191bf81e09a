//! What one request leaves behind: one line of log, its counts, and the headers that tell what happened.

use std::sync::Arc;
use std::time::Duration;

use http::header::Entry;
use http::request::Parts;
use http::uri::Authority;
use http::{HeaderName, HeaderValue, Method, Response, StatusCode, header};
use http_body::Body as _;
use tokio::time::Instant;
use uuid::Uuid;
use uuid::fmt::Hyphenated;

use crate::admit::Pass;
use crate::body::Body;
use crate::cache::Note;
use crate::gate::{Level, Reason, Signal};
use crate::metrics::{Metrics, RefusalReason, code_label, method_label};
use crate::reply::{Problem, TRACKING_ID};
use crate::rewrite::PartialFailures;
use crate::route::{Access, Kind, Route, RouteId};
use crate::upstream::{Failed, ReplayEvent};
use crate::words::Outcome;

mod counts;
mod followed;
mod line;
mod remembered;
mod trace;

use followed::Followed;
use remembered::refusal_reason;
use trace::TraceId;

/// The record of one request. Facts come in while it walks; [`Trail::close`] ends it.
///
/// # Drop
/// Dropped before an answer, it records that the client left.
#[derive(Debug)]
pub struct Trail {
    record: Option<Box<Record>>,
}

#[derive(Debug)]
struct Record {
    metrics: Arc<Metrics>,
    started_at: Instant,
    tracking_id: HeaderValue,
    webex_tracking_id: Option<HeaderValue>,
    trace_id: TraceId,
    upstream: Option<Authority>,
    method: Method,
    path: String,
    route: RouteId,
    access: Access,
    content: Content,
    tenant: Option<Pass>,
    note: Option<Note>,
    waited: Duration,
    observed: Option<Duration>,
    attempts: u32,
    upstream_for: Duration,
    replayed: Option<ReplayEvent>,
    error: Option<String>,
    retry_after: Option<Duration>,
    refusal: Option<RefusalReason>,
    status: Option<StatusCode>,
    bytes: u64,
    asker: Asker,
}

/// On whose behalf a request was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asker {
    /// The cache's own: what it serves stale is to be fresh again. Calls upstream are counted, no client request is.
    Cache,
    /// A client's.
    Client,
}

/// Whose words an answer is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Content {
    /// A user's own file, or another origin's.
    Foreign,
    /// The API's, which may say that parts are missing.
    Webex,
}

impl Trail {
    /// Begins the record of a request, and has its head carry the trace that the record names. Query strings are left
    /// out: they carry addresses and names.
    pub fn begin(metrics: Arc<Metrics>, head: &mut Parts) -> Self {
        let trace_id = trace::adopt(&mut head.headers);
        Self::of(metrics, head, trace_id, Asker::Client)
    }

    /// Begins the record of a request that nobody waits for: the cache makes it by itself, in its asker's trace.
    pub fn begin_aside(metrics: Arc<Metrics>, head: &Parts) -> Self {
        let trace_id = trace::adopt(&mut head.headers.clone());
        Self::of(metrics, head, trace_id, Asker::Cache)
    }

    fn of(metrics: Arc<Metrics>, head: &Parts, trace_id: TraceId, asker: Asker) -> Self {
        Self {
            record: Some(Box::new(Record {
                metrics,
                started_at: Instant::now(),
                tracking_id: head.headers.get(TRACKING_ID).cloned().unwrap_or_else(own_id),
                webex_tracking_id: None,
                trace_id,
                upstream: None,
                method: head.method.clone(),
                path: head.uri.path().to_owned(),
                route: RouteId::OTHER,
                access: Access::Read,
                content: Content::Foreign,
                tenant: None,
                note: None,
                waited: Duration::ZERO,
                observed: None,
                attempts: 0,
                upstream_for: Duration::ZERO,
                replayed: None,
                error: None,
                retry_after: None,
                refusal: None,
                status: None,
                bytes: 0,
                asker,
            })),
        }
    }

    /// The request's `TrackingID`, or the one we gave it.
    pub fn tracking_id(&self) -> HeaderValue {
        let made = self.record.as_ref().map(|record| record.tracking_id.clone());
        made.unwrap_or(HeaderValue::from_static("TOLLGATE"))
    }

    /// It has a route.
    pub fn routed(&mut self, route: &Route) {
        self.with(|record| {
            record.route = route.id();
            record.upstream = Some(route.upstream().authority.clone());
            record.access = route.family().access;
            if route.kind() == Kind::Webex && route.family().segment != "contents" {
                record.content = Content::Webex;
            }
        });
    }

    /// It has a tenant.
    pub fn admitted(&mut self, pass: &Pass) {
        self.with(|record| record.tenant = Some(pass.clone()));
    }

    /// The cache lets it go upstream.
    pub fn forwarded(&mut self, note: Note) {
        self.with(|record| record.note = Some(note));
    }

    /// The cache has decided what the client gets.
    pub fn noted(&mut self, response: Response<Body>, note: Note) -> Response<Body> {
        self.with(|record| record.note = Some(note));
        response
    }

    /// It has stood in line for so long, all its attempts together; or would have, if it passes the line by.
    pub fn waited(&mut self, waited: Duration, observed: Option<Duration>) {
        self.with(|record| {
            record.waited = waited;
            record.observed = observed;
        });
    }

    /// The API answered an attempt after `took`; the gate read `signal` from it and closed a gate as wide as `closed`.
    pub fn answered(&mut self, status: StatusCode, took: Duration, signal: Signal, closed: Option<Level>) {
        self.with(|record| {
            record.upstream_for += took;
            record.settle_replay(match signal {
                Signal::Throttled { .. } => "throttled",
                Signal::Accepted(_) if status.is_server_error() => "failed",
                Signal::Accepted(_) => "answered",
            });
            let labels = [record.route.as_str(), method_label(&record.method), code_label(&status)];
            record.metrics.upstream_requests.with_label_values(&labels).inc();
            record
                .metrics
                .upstream_duration
                .with_label_values(&[record.route.as_str()])
                .observe(took.as_secs_f64());
            if let Signal::Throttled { wait, .. } = signal {
                record.throttled(wait, closed);
            }
        });
    }

    /// An attempt had no answer.
    pub fn failed(&mut self, failed: &Failed) {
        self.with(|record| {
            if let Some(kind) = failed.kind() {
                record.metrics.upstream_failures.with_label_values(&[kind]).inc();
            }
        });
    }

    /// One more attempt was made.
    pub fn attempted(&mut self, attempts: u32) {
        self.with(|record| record.attempts = attempts);
    }

    /// It is sent again.
    pub fn replayed(&mut self, event: ReplayEvent) {
        self.with(|record| {
            // The last replay has had no answer, or it would not be sent again.
            record.settle_replay("failed");
            record.replayed = Some(event);
        });
    }

    /// Tollgate answers by itself.
    pub fn refused(&mut self, problem: &Problem) {
        self.with(|record| {
            record.note = None;
            record.error = Some(problem.to_string());
            record.retry_after = problem.retry_after();
            record.refusal = Some(refusal_reason(problem));
            if let Problem::Refused(refused) = problem {
                let reason = match refused.reason {
                    Reason::Deadline => "deadline",
                    Reason::Full => "full",
                    Reason::Shutdown => "shutdown",
                };
                record.metrics.queue_refused.with_label_values(&[reason]).inc();
            }
        });
    }

    /// Adds the headers that tell what happened; the record ends with the answer's last byte.
    pub fn close(mut self, mut response: Response<Body>) -> Response<Body> {
        let Some(mut record) = self.record.take() else { return response };
        record.status = Some(response.status());
        let headers = response.headers_mut();
        let status = record.note.and_then(|note| HeaderValue::try_from(note.cache_status()).ok());
        if let Some(status) = status {
            headers.append(CACHE_STATUS, status);
        }
        if record.attempts > 1 {
            headers.insert(ATTEMPTS, HeaderValue::from(record.attempts));
        }
        let id = headers.entry(TRACKING_ID);
        if let (Entry::Occupied(id), true) = (&id, record.attempts > 0) {
            record.webex_tracking_id = Some(id.get().clone());
        }
        id.or_insert_with(|| record.tracking_id.clone());
        if record.retry_after.is_none() && response.status() == StatusCode::TOO_MANY_REQUESTS {
            let stated = response.headers().get(header::RETRY_AFTER).and_then(|value| value.to_str().ok());
            record.retry_after = stated.and_then(|text| text.parse().ok()).map(Duration::from_secs);
        }
        let is_first_hand = record.attempts > 0 && record.content == Content::Webex;
        let partial =
            if is_first_hand { PartialFailures::of(response.status(), response.headers()) } else { None };
        response.map(|body| {
            if body.is_end_stream() {
                body
            } else {
                Body::stream(Followed { inner: body, record: Some(record), partial })
            }
        })
    }

    fn with(&mut self, write: impl FnOnce(&mut Record)) {
        if let Some(record) = &mut self.record {
            write(record);
        }
    }
}

fn own_id() -> HeaderValue {
    let mut digits = [0; Hyphenated::LENGTH];
    let id = ["TOLLGATE_", Uuid::new_v4().as_hyphenated().encode_lower(&mut digits)].concat();
    HeaderValue::try_from(id).unwrap_or(HeaderValue::from_static("TOLLGATE"))
}

impl Drop for Trail {
    fn drop(&mut self) {
        if let Some(record) = self.record.take().filter(|record| record.asker == Asker::Client) {
            record.metrics.client_gone.inc();
        }
    }
}

impl Record {
    fn outcome(&self) -> Outcome {
        self.note.map_or(Outcome::Refused, Note::outcome)
    }
}

/// Ends with the answer's last byte, with its failure, or with the client's departure.
impl Drop for Record {
    fn drop(&mut self) {
        let now = Instant::now();
        let total = now.saturating_duration_since(self.started_at);
        self.settle_replay(if self.status.is_some() { "failed" } else { "gone" });
        match self.asker {
            Asker::Cache => self.log_aside(),
            Asker::Client => {
                self.count(now, total);
                self.remember(now);
                self.log(total);
            }
        }
    }
}

/// RFC 9211.
const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");
/// How often the request was sent, if more than once.
const ATTEMPTS: HeaderName = HeaderName::from_static("tollgate-attempts");
