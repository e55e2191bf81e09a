//! Decides what a client is told when Tollgate itself answers: the only place where an error becomes a status.

use std::time::{Duration, SystemTime};

use http::response::Parts;
use http::{HeaderName, HeaderValue, Method, Response, StatusCode, header};
use http_body::Body as _;
use http_body_util::{BodyExt, Limited};
use serde_json::json;

use crate::admit;
use crate::body::{Body, BodyError};
use crate::cache::Trouble;
use crate::gate::{Reason, Refused, Wait, retry_after};
use crate::machine::{Overloaded, descriptors};
use crate::route::{self, CacheRule, Route};
use crate::upstream::{Failed, Phase, ReceiveError};

/// The header in which Webex names a request: the client's own value, or one of ours.
pub const TRACKING_ID: HeaderName = HeaderName::from_static("trackingid");

/// RFC 9209: who refused. Ours carries `error`, the API's `received-status`.
const PROXY_STATUS: HeaderName = HeaderName::from_static("proxy-status");

/// Why there is no answer of the API to pass on.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// Two credentials.
    #[error(transparent)]
    Admit(#[from] admit::Denied),
    /// The API could not be reached or broke off.
    #[error(transparent)]
    Failed(#[from] Failed),
    /// The request body did not come whole.
    #[error(transparent)]
    Receive(#[from] ReceiveError),
    /// Nothing kept, and the client forbids to ask.
    #[error("nothing that is kept answers this request, and only-if-cached forbids to ask the API")]
    NotKept,
    /// Memory is short.
    #[error(transparent)]
    Overloaded(#[from] Overloaded),
    /// No turn in time.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// Not a request that is forwarded.
    #[error(transparent)]
    Route(#[from] route::Denied),
}

/// Whether the answer is the client's, our own or the API's doing, in the words of RFC 9209 §2.3.
struct Meaning {
    status: StatusCode,
    proxy_error: &'static str,
}

impl Problem {
    /// When a retry makes sense, if that is known.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Overloaded(overloaded) | Self::Receive(ReceiveError::Overloaded(overloaded)) => {
                Some(overloaded.retry_after())
            }
            Self::Refused(refused) => Some(refused.retry_after),
            Self::Admit(_) | Self::Failed(_) | Self::NotKept | Self::Receive(_) | Self::Route(_) => None,
        }
    }

    /// What it means for an answer that is kept but no longer fresh; none if that has nothing to do with it.
    pub fn trouble(&self) -> Option<Trouble> {
        match self {
            Self::Failed(_) => Some(Trouble::Disconnected),
            Self::Refused(_) => Some(Trouble::GateClosed),
            Self::Admit(_) | Self::NotKept | Self::Overloaded(_) | Self::Receive(_) | Self::Route(_) => None,
        }
    }

    /// The answer to a request of this method, in Webex's own error shape, so that SDKs show its message.
    ///
    /// Shape: a HEAD gets the fields alone. hyper would send a body over HTTP/2, which clients take for a protocol error.
    pub fn response(&self, method: &Method, tracking_id: &HeaderValue) -> Response<Body> {
        let meaning = self.meaning();
        let tracking = String::from_utf8_lossy(tracking_id.as_bytes());
        let message = format!("Tollgate: {self}");
        let body =
            json!({ "message": message, "errors": [{ "description": message }], "trackingId": tracking });
        let body = if method == Method::HEAD { Body::empty() } else { Body::whole(body.to_string()) };
        let mut response = Response::new(body);
        *response.status_mut() = meaning.status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, JSON);
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        headers.insert(TRACKING_ID, tracking_id.clone());
        headers.insert(PROXY_STATUS, proxy_status(meaning.proxy_error, &self.to_string()));
        if let Some(wait) = self.retry_after() {
            headers.insert(header::RETRY_AFTER, whole_seconds(wait));
        }
        let is_last = matches!(
            self,
            Self::Refused(Refused { reason: Reason::Shutdown, .. })
                | Self::Route(
                    route::Denied::AmbiguousPath
                        | route::Denied::BadHost
                        | route::Denied::LongMethod
                        | route::Denied::Method(_)
                        | route::Denied::PaddedField(_)
                )
        );
        if is_last {
            // The process ends; or who names no one host or target may not be the only one that speaks on this
            // connection, and what follows a CONNECT may be meant for the tunnel.
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }

    fn meaning(&self) -> Meaning {
        let (status, proxy_error) = match self {
            Self::Admit(admit::Denied::TwoCredentials) => (StatusCode::BAD_REQUEST, "http_request_error"),
            Self::Admit(admit::Denied::Unlisted) => (StatusCode::FORBIDDEN, "http_request_denied"),
            Self::Failed(failed) => failed_meaning(failed),
            // RFC 9111 §5.2.1.7.
            Self::NotKept => (StatusCode::GATEWAY_TIMEOUT, "http_request_denied"),
            Self::Overloaded(_) | Self::Receive(ReceiveError::Overloaded(_)) => {
                (StatusCode::SERVICE_UNAVAILABLE, "proxy_internal_response")
            }
            Self::Receive(ReceiveError::TooLarge(_) | ReceiveError::Body(BodyError::TooLarge(_))) => {
                (StatusCode::PAYLOAD_TOO_LARGE, "http_request_error")
            }
            Self::Receive(ReceiveError::Body(error)) => body_meaning(error),
            Self::Refused(Refused { reason: Reason::Deadline | Reason::Full, .. }) => {
                (StatusCode::TOO_MANY_REQUESTS, "http_request_denied")
            }
            Self::Refused(Refused { reason: Reason::Shutdown, .. }) => {
                (StatusCode::SERVICE_UNAVAILABLE, "proxy_internal_response")
            }
            Self::Route(denied) => route_meaning(denied),
        };
        Meaning { status, proxy_error }
    }
}

/// The API's refusal for a client whose deadline is too short: its own words, with a true integer `Retry-After`.
pub fn pass_on(mut refusal: Response<Body>, retry_after: Duration) -> Response<Body> {
    let status = format!("Tollgate; received-status={}", refusal.status().as_str());
    let headers = refusal.headers_mut();
    headers.insert(header::RETRY_AFTER, whole_seconds(retry_after));
    headers
        .append(PROXY_STATUS, HeaderValue::try_from(status).unwrap_or(HeaderValue::from_static("Tollgate")));
    refusal
}

/// The API's answer as it is, but for a `Retry-After` that would crash SDKs: then the time that the gate
/// knows (`reopens_in`), or what the value means, as an integer.
pub fn honest(response: Response<Body>, reopens_in: Option<Duration>, now: SystemTime) -> Response<Body> {
    match (response.status(), reopens_in, retry_after(response.headers(), now)) {
        (StatusCode::TOO_MANY_REQUESTS, Some(wait), _) => pass_on(response, wait),
        (StatusCode::TOO_MANY_REQUESTS, None, Wait::Missing) => pass_on(response, UNSTATED),
        (StatusCode::TOO_MANY_REQUESTS | StatusCode::LOCKED | StatusCode::SERVICE_UNAVAILABLE, _, stated) => {
            match stated {
                Wait::Stated(wait) => pass_on(response, wait),
                Wait::Malformed => pass_on(response, UNSTATED),
                Wait::Missing => response,
            }
        }
        _ => response,
    }
}

/// The API's no to a GET of an attachment: its head, with a body of ours in its own shape.
///
/// The API may have been asked with a HEAD, whose answer has no body, because another tenant has read the attachment: if
/// only such answers were spelled out, a stranger could tell by them (SECURITY 1, row 13). What a scan found is told
/// to those alone who may read; a GET passes it on as it is.
pub async fn alike(route: &Route, method: &Method, answer: Response<Body>) -> Response<Body> {
    let status = answer.status();
    let is_refusal = status.is_client_error() || status.is_server_error();
    let is_read = route.rule() == CacheRule::Contents && *method == Method::GET;
    let is_finding = FINDINGS.contains(&status) && !answer.body().is_end_stream();
    let is_of_request = matches!(status, StatusCode::RANGE_NOT_SATISFIABLE | StatusCode::PRECONDITION_FAILED);
    if !is_refusal || !is_read || is_finding || is_of_request {
        return answer;
    }
    let (head, _) = Box::pin(set_aside(answer)).await.into_parts();
    in_words(head, "the API's answer to a HEAD or GET of this attachment, in Tollgate's words")
}

/// An answer set aside while its request waits for another turn: small, and no longer tied to a connection.
///
/// Shape: its own body, or one in Webex's shape if that did not come whole.
pub async fn keep(result: Result<Response<Body>, Failed>) -> Option<Response<Body>> {
    Some(set_aside(result.ok()?).await)
}

async fn set_aside(answer: Response<Body>) -> Response<Body> {
    let (mut head, body) = answer.into_parts();
    let whole = tokio::time::timeout(KEPT_FOR, Limited::new(body, KEPT_BYTES).collect()).await;
    let Ok(Ok(whole)) = whole else {
        return in_words(head, "the API's answer; its body did not come whole");
    };
    let bytes = whole.to_bytes();
    head.headers.remove(header::TRANSFER_ENCODING);
    head.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(bytes.len()));
    Response::from_parts(head, Body::whole(bytes))
}

/// A refusal of the API whose own body is not to be had, in Webex's shape.
fn in_words(mut head: Parts, why: &str) -> Response<Body> {
    let reason = head.status.canonical_reason().unwrap_or("The API refused the request");
    let message = format!("{reason}: {why}");
    let tracking =
        head.headers.get(TRACKING_ID).map(|id| String::from_utf8_lossy(id.as_bytes()).into_owned());
    let body = json!({ "message": message, "errors": [{ "description": message }], "trackingId": tracking });
    for name in [header::CONTENT_LENGTH, header::CONTENT_ENCODING, header::ETAG, header::TRANSFER_ENCODING] {
        head.headers.remove(name);
    }
    head.headers.insert(header::CONTENT_TYPE, JSON);
    Response::from_parts(head, Body::whole(body.to_string()))
}

/// What a scan of an attachment found: infected, under way, impossible.
const FINDINGS: [StatusCode; 3] = [StatusCode::GONE, StatusCode::LOCKED, StatusCode::PRECONDITION_REQUIRED];
const JSON: HeaderValue = HeaderValue::from_static("application/json;charset=UTF-8");
/// What the Python SDK assumes for a value that it cannot read.
const UNSTATED: Duration = Duration::from_secs(15);
/// Webex's refusals are some hundred bytes; a gateway's page may be longer.
const KEPT_BYTES: usize = 16 * 1024;
/// The body of a refusal comes with its head, or it is not worth waiting for.
const KEPT_FOR: Duration = Duration::from_secs(1);

fn route_meaning(denied: &route::Denied) -> (StatusCode, &'static str) {
    let status = match denied {
        route::Denied::AmbiguousPath | route::Denied::BadHost | route::Denied::PaddedField(_) => {
            StatusCode::BAD_REQUEST
        }
        route::Denied::LongMethod => StatusCode::NOT_IMPLEMENTED,
        route::Denied::Loop => return (StatusCode::LOOP_DETECTED, "proxy_loop_detected"),
        route::Denied::Method(_) => StatusCode::METHOD_NOT_ALLOWED,
        route::Denied::TooManyFields(_) => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
        route::Denied::UnknownHost(_) => StatusCode::MISDIRECTED_REQUEST,
        route::Denied::UriTooLong(_) => StatusCode::URI_TOO_LONG,
    };
    (status, "http_request_error")
}

fn body_meaning(error: &BodyError) -> (StatusCode, &'static str) {
    match error {
        BodyError::Broken(..) | BodyError::Garbled(..) => (StatusCode::BAD_REQUEST, "http_request_error"),
        BodyError::Cache(_) | BodyError::Spool(_) => {
            (StatusCode::SERVICE_UNAVAILABLE, "proxy_internal_error")
        }
        BodyError::Stalled(..) | BodyError::TooSlow(..) => {
            (StatusCode::REQUEST_TIMEOUT, "http_request_error")
        }
        BodyError::TooLarge(_) => (StatusCode::PAYLOAD_TOO_LARGE, "http_request_error"),
    }
}

fn failed_meaning(failed: &Failed) -> (StatusCode, &'static str) {
    match failed {
        Failed::Body(error) => body_meaning(error),
        Failed::Broken(_) => (StatusCode::BAD_GATEWAY, "connection_terminated"),
        Failed::Certificate { .. } => (StatusCode::BAD_GATEWAY, "tls_certificate_error"),
        // Not the API's fault, and over as soon as something ends.
        Failed::Connect { source, .. } if descriptors::is_exhausted(source) => {
            (StatusCode::SERVICE_UNAVAILABLE, "proxy_internal_error")
        }
        Failed::Connect { .. } => (StatusCode::BAD_GATEWAY, "connection_refused"),
        Failed::Handshake { .. } => (StatusCode::BAD_GATEWAY, "tls_protocol_error"),
        Failed::ProxyBroken { .. } | Failed::ProxyRefused { .. } => {
            (StatusCode::BAD_GATEWAY, "destination_unavailable")
        }
        Failed::Resolve { .. } => (StatusCode::BAD_GATEWAY, "dns_error"),
        Failed::TimedOut { phase: Phase::Connect | Phase::Handshake, .. } => {
            (StatusCode::GATEWAY_TIMEOUT, "connection_timeout")
        }
        Failed::TimedOut { phase: Phase::Header, .. } => {
            (StatusCode::GATEWAY_TIMEOUT, "http_response_timeout")
        }
        Failed::TimedOut { phase: Phase::Write, .. } => {
            (StatusCode::GATEWAY_TIMEOUT, "connection_write_timeout")
        }
        Failed::Unexpected(_) => (StatusCode::BAD_GATEWAY, "http_protocol_error"),
        Failed::Untaken(_) => (StatusCode::BAD_GATEWAY, "connection_terminated"),
    }
}

/// Rounded up, so that a client which comes back at the stated time is not too early; never 0, which some SDKs
/// take for "no value".
fn whole_seconds(wait: Duration) -> HeaderValue {
    HeaderValue::from(wait.as_secs().saturating_add(u64::from(wait.subsec_nanos() > 0)).max(1))
}

/// RFC 9209: names us as the one who answered. Details are a string of printable ASCII.
fn proxy_status(error: &str, details: &str) -> HeaderValue {
    let is_plain = |byte: &char| (' '..='~').contains(byte) && !matches!(byte, '"' | '\\');
    let details: String =
        details.chars().map(|byte| if is_plain(&byte) { byte } else { '\'' }).take(256).collect();
    HeaderValue::from_str(&format!("Tollgate; error={error}; details=\"{details}\""))
        .unwrap_or(HeaderValue::from_static("Tollgate"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(wait: Duration) -> Problem {
        Problem::Refused(Refused { reason: Reason::Deadline, retry_after: wait })
    }

    #[tokio::test]
    async fn an_error_of_ours_looks_like_webexs_and_says_whose_it_is() {
        let id = HeaderValue::from_static("bot_1");
        let response = Problem::from(route::Denied::UnknownHost("evil.example".parse().unwrap()))
            .response(&Method::GET, &id);
        assert_eq!(response.status(), 421);
        assert_eq!(response.headers()[TRACKING_ID], "bot_1");
        let status = response.headers()["proxy-status"].to_str().unwrap().to_owned();
        assert!(
            status.starts_with("Tollgate; error=http_request_error; details=\"host evil.example"),
            "{status}"
        );
        let body = response.into_body().collect().await.unwrap().to_bytes();
        let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(body["trackingId"], "bot_1");
        assert_eq!(body["message"], body["errors"][0]["description"]);
    }

    #[test]
    fn retry_after_is_a_positive_integer_and_never_too_early() {
        for (wait, stated) in [(0, "1"), (1_000, "1"), (1_001, "2"), (3_599_999, "3600")] {
            let response =
                refused(Duration::from_millis(wait)).response(&Method::GET, &HeaderValue::from_static("x"));
            assert_eq!(response.status(), 429);
            assert_eq!(response.headers()[header::RETRY_AFTER], stated);
        }
    }

    #[tokio::test]
    async fn a_refusal_that_broke_off_is_kept_in_words() {
        let broken = Limited::new(Body::whole("slow down"), 3);
        let broken = broken.map_err(|error| BodyError::Garbled(crate::words::Side::Upstream, error));
        let mut answer = Response::new(Body::stream(broken));
        *answer.status_mut() = StatusCode::TOO_MANY_REQUESTS;
        answer.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(9));
        let kept = keep(Ok(answer)).await.unwrap();
        assert_eq!((kept.status().as_u16(), kept.headers().get(header::CONTENT_LENGTH)), (429, None));
        let body = kept.into_body().collect().await.unwrap().to_bytes();
        let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(body["message"], "Too Many Requests: the API's answer; its body did not come whole");
    }

    #[test]
    fn a_head_is_refused_without_a_body() {
        let response = refused(Duration::ZERO).response(&Method::HEAD, &HeaderValue::from_static("x"));
        assert_eq!(response.status(), 429);
        assert!(http_body::Body::is_end_stream(response.body()));
    }

    #[test]
    fn details_cannot_break_out_of_their_quotes() {
        let value = proxy_status("dns_error", "a\"; error=x; b=\"\r\n世");
        assert_eq!(value, "Tollgate; error=dns_error; details=\"a'; error=x; b=''''\"");
    }
}
