//! An API whose every answer is written down: who may read what, in which form, and how its answers fail.

use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response};
use http_body::{Body as HttpBody, Frame};
use http_body_util::BodyExt;
use tokio::time::{Instant, Sleep};
use tollgate::body::{Body, BodyError};
use tollgate::gate::Permit;
use tollgate::rewrite::Outbound;
use tollgate::upstream::{Answer, Failed, Transport};
use tollgate::words::Side;

pub(super) const TENANTS: usize = 3;
pub(super) const CONTENTS: usize = 4;
/// What is answered with a query: other bytes under the same fields as variant 0.
pub(super) const QUERIED: usize = 2;

/// The API. Cloning shares it.
#[derive(Clone, Default)]
pub(super) struct Vault {
    shared: Arc<Mutex<Shared>>,
}

#[derive(Default)]
struct Shared {
    tenants: [Tenant; TENANTS],
    contents: [Content; CONTENTS],
    faults: VecDeque<Fault>,
    log: Vec<Entry>,
    refused: Vec<Refused>,
}

/// A tenant's tokens are numbered; one at a time is good, or none.
#[derive(Default)]
struct Tenant {
    token: u32,
    is_revoked: bool,
}

#[derive(Default)]
struct Content {
    is_gone: bool,
    strangers: [bool; TENANTS],
    variants: [usize; TENANTS],
}

/// What goes wrong with one answer.
#[derive(Debug, Clone, Copy)]
pub(super) enum Fault {
    /// The answer's head takes so long.
    Delay(Duration),
    /// Each piece of the body takes so long.
    Drip(Duration),
    /// No answer.
    Reset,
    /// Another answer.
    Status(u16),
    /// The body breaks off after so many pieces.
    Truncate(usize),
}

/// One answer that told of a content.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry {
    pub(super) tenant: usize,
    pub(super) token: u32,
    pub(super) content: usize,
    pub(super) variant: usize,
    pub(super) at: Instant,
    /// When its last byte was sent; none while it streams.
    pub(super) ended_at: Option<Instant>,
}

/// A 401, as Tollgate received it.
#[derive(Debug, Clone)]
pub(super) struct Refused {
    pub(super) credential: String,
    pub(super) at: Instant,
    pub(super) told_at: Instant,
}

/// A tenant's name, as it stands in whatever the API says to it alone.
pub(super) fn name(tenant: usize) -> &'static str {
    ["ann-0f3a", "ben-7c2d", "cyd-9e41"][tenant]
}

/// The path of a content; its id names its message, as Webex's do.
pub(super) fn path(content: usize) -> String {
    format!("/v1/contents/{}", URL_SAFE_NO_PAD.encode(format!("ciscospark://us/CONTENT/{content}/0")))
}

/// The path of its message.
pub(super) fn message_path(content: usize) -> String {
    format!("/v1/messages/{}", URL_SAFE_NO_PAD.encode(format!("ciscospark://us/MESSAGE/{content}")))
}

/// The bytes of a content in one form. Forms 0 and 1 differ in one of the fields that tell them apart, and in that alone.
pub(super) fn bytes(content: usize, variant: usize) -> Bytes {
    let extra = if content == 0 && variant == 1 { 100 } else { 0 };
    let piece = format!("<{content}.{variant}>");
    Bytes::from(piece.repeat(600 + 100 * content + extra))
}

/// The fields that describe them.
pub(super) fn shape(content: usize, variant: usize) -> [(&'static str, String); 4] {
    let is = |number| content == number && variant == 1;
    [
        ("content-length", bytes(content, variant).len().to_string()),
        ("content-type", if is(1) { "text/html" } else { "text/plain" }.to_owned()),
        (
            "content-disposition",
            format!("attachment; filename=\"{}\"", if is(2) { "redacted" } else { "file" }),
        ),
        ("etag", format!("\"{}\"", if is(3) { "other" } else { "one" })),
    ]
}

impl Vault {
    /// The token with which the tenant is let in; an older one if `age` says so.
    pub(super) fn token(&self, tenant: usize, age: u32) -> u32 {
        self.lock().tenants[tenant].token.saturating_sub(age)
    }

    pub(super) fn revoke(&self, tenant: usize) {
        self.lock().tenants[tenant].is_revoked = true;
    }

    pub(super) fn rotate(&self, tenant: usize) {
        let mut shared = self.lock();
        let tenant = &mut shared.tenants[tenant];
        *tenant = Tenant { token: tenant.token + 1, is_revoked: false };
    }

    pub(super) fn lets_in(&self, tenant: usize, content: usize, is_member: bool) {
        self.lock().contents[content].strangers[tenant] = !is_member;
    }

    /// The tenant is shown the other form from now on.
    pub(super) fn turn(&self, tenant: usize, content: usize) {
        self.lock().contents[content].variants[tenant] ^= 1;
    }

    pub(super) fn lose(&self, content: usize, is_gone: bool) {
        self.lock().contents[content].is_gone = is_gone;
    }

    pub(super) fn fail_next(&self, fault: Fault) {
        self.lock().faults.push_back(fault);
    }

    /// Every answer that told of a content, oldest first.
    pub(super) fn log(&self) -> Vec<Entry> {
        self.lock().log.clone()
    }

    /// Every 401 that came to be known.
    pub(super) fn refused(&self) -> Vec<Refused> {
        self.lock().refused.clone()
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shared {
    fn answer<B>(&mut self, request: &Request<B>) -> (Response<Bytes>, Option<usize>) {
        let shown = request.headers().get("authorization").and_then(|value| value.to_str().ok());
        let asker = shown.and_then(|shown| {
            let (name_shown, token) = shown.strip_prefix("Bearer ")?.split_once('.')?;
            let tenant = (0..TENANTS).find(|tenant| name(*tenant) == name_shown)?;
            let token: u32 = token.parse().ok()?;
            let is_good = self.tenants[tenant].token == token && !self.tenants[tenant].is_revoked;
            is_good.then_some((tenant, token))
        });
        let Some((tenant, token)) = asker else { return (refusal(401, "nobody"), None) };
        let wanted = request.uri().path();
        if let Some(content) = (0..CONTENTS).find(|content| wanted == message_path(*content)) {
            let content = &mut self.contents[content];
            if content.is_gone || content.strangers[tenant] || request.method() != Method::DELETE {
                return (refusal(404, name(tenant)), None);
            }
            content.is_gone = true;
            return (told(204, tenant, Bytes::new()), None);
        }
        let Some(content) = (0..CONTENTS).find(|content| wanted == path(*content)) else {
            return (told(200, tenant, Bytes::from(format!("{{\"owner\":\"{}\"}}", name(tenant)))), None);
        };
        let state = &self.contents[content];
        if state.is_gone || state.strangers[tenant] {
            return (refusal(404, name(tenant)), None);
        }
        let variant = if request.uri().query().is_some() { QUERIED } else { state.variants[tenant] };
        let is_whole = *request.method() == Method::HEAD;
        let ended_at = is_whole.then(Instant::now);
        self.log.push(Entry { tenant, token, content, variant, at: Instant::now(), ended_at });
        (content_answer(request, (tenant, content, variant)), Some(self.log.len() - 1))
    }
}

/// The content, a part of it, or that it has not changed.
fn content_answer<B>(
    request: &Request<B>,
    (tenant, content, variant): (usize, usize, usize),
) -> Response<Bytes> {
    let whole = bytes(content, variant);
    let field = |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok());
    let part = field("range").and_then(|range| {
        let (first, last) = range.strip_prefix("bytes=")?.split_once('-')?;
        Some((first.parse::<usize>().ok()?, last.parse::<usize>().ok()?))
    });
    let fields = shape(content, variant);
    let is_known = field("if-none-match").is_some_and(|tags| tags == fields[3].1);
    let (status, body) = match part {
        _ if is_known => (304, Bytes::new()),
        Some((first, last)) => (206, whole.slice(first..=last)),
        None => (200, whole.clone()),
    };
    let mut response = told(status, tenant, body);
    for (name, value) in fields {
        response.headers_mut().insert(HeaderName::from_static(name), HeaderValue::try_from(value).unwrap());
    }
    if let Some((first, last)) = part.filter(|_| status == 206) {
        let range = format!("bytes {first}-{last}/{}", whole.len());
        let length = last + 1 - first;
        response.headers_mut().insert("content-length", HeaderValue::from(length));
        response.headers_mut().insert("content-range", range.parse().unwrap());
    }
    response
}

/// An answer with the tenant's name wherever one can stand.
fn told(status: u16, tenant: usize, body: Bytes) -> Response<Bytes> {
    let name = name(tenant);
    Response::builder()
        .status(status)
        .header("trackingid", format!("ROUTER_{name}"))
        .header("set-cookie", format!("session={name}"))
        .header("x-owner", name)
        .header("cache-control", "no-cache")
        .header("content-type", "application/json")
        .header("content-length", body.len())
        .body(body)
        .unwrap()
}

fn refusal(status: u16, name: &str) -> Response<Bytes> {
    let body = Bytes::from(format!("{{\"message\":\"not for {name}\",\"trackingId\":\"{name}\"}}"));
    Response::builder().status(status).header("content-length", body.len()).body(body).unwrap()
}

impl fmt::Debug for Vault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Vault")
    }
}

impl Transport for Vault {
    async fn send(&self, permit: Permit, outbound: Outbound) -> Result<Answer, Failed> {
        let receipt = permit.spend();
        let (head, body) = outbound.into_request().into_parts();
        body.collect().await.map_err(Failed::Body)?;
        let request = Request::from_parts(head, ());
        let decided_at = Instant::now();
        let (fault, (response, entry)) = {
            let mut shared = self.lock();
            let fault = shared.faults.pop_front();
            match fault {
                Some(Fault::Status(status)) => (fault, (refusal(status, "nobody"), None)),
                fault => (fault, shared.answer(&request)),
            }
        };
        match fault {
            Some(Fault::Delay(time)) => tokio::time::sleep(time).await,
            Some(Fault::Reset) => return Err(Failed::Broken("reset".into())),
            _ => {}
        }
        if response.status() == 401 {
            let shown = request.headers().get("authorization").unwrap().to_str().unwrap();
            let refused = Refused { credential: shown.to_owned(), at: decided_at, told_at: Instant::now() };
            self.lock().refused.push(refused);
        }
        let is_head = *request.method() == Method::HEAD;
        let owner = response.headers().get("x-owner").cloned();
        let response = response.map(|bytes| {
            let pieces = if is_head { VecDeque::new() } else { pieces(&bytes) };
            let vault = self.clone();
            let mut trailers = HeaderMap::new();
            trailers
                .extend(owner.filter(|_| !is_head).map(|owner| (HeaderName::from_static("x-owner"), owner)));
            let sent = Sent { vault, entry, pieces, trailers: Some(trailers), fault, sent: 0, timer: None };
            if is_head { Body::empty() } else { Body::stream(sent) }
        });
        Ok(Answer { response, receipt })
    }
}

fn pieces(bytes: &Bytes) -> VecDeque<Bytes> {
    let step = |from: usize| bytes.slice(from..bytes.len().min(from + PIECE_BYTES));
    (0..bytes.len()).step_by(PIECE_BYTES).map(step).collect()
}

const PIECE_BYTES: usize = 700;

/// A body that says in the log when it ended.
struct Sent {
    vault: Vault,
    entry: Option<usize>,
    pieces: VecDeque<Bytes>,
    trailers: Option<HeaderMap>,
    fault: Option<Fault>,
    sent: usize,
    timer: Option<Pin<Box<Sleep>>>,
}

impl HttpBody for Sent {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if let Some(Fault::Drip(time)) = self.fault {
            let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep(time)));
            ready!(timer.as_mut().poll(cx));
            self.timer = None;
        }
        if matches!(self.fault, Some(Fault::Truncate(pieces)) if pieces == self.sent) {
            return Poll::Ready(Some(Err(BodyError::Broken(Side::Upstream, "reset".into()))));
        }
        self.sent += 1;
        if let Some(piece) = self.pieces.pop_front() {
            return Poll::Ready(Some(Ok(Frame::data(piece))));
        }
        Poll::Ready(self.trailers.take().map(|trailers| Ok(Frame::trailers(trailers))))
    }
}

impl Drop for Sent {
    fn drop(&mut self) {
        if let Some(entry) = self.entry {
            self.vault.lock().log[entry].ended_at = Some(Instant::now());
        }
    }
}
