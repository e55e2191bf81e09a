//! Decides what a request looks like to the API, and what its answer looks like to the client.

use std::sync::Arc;

use http::header::{
    ACCEPT_RANGES, AUTHORIZATION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, COOKIE, ETAG, EXPECT, HOST,
    LINK, LOCATION, TE, TRAILER, TRANSFER_ENCODING,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri, request};

use crate::body::Body;
use crate::route::{CacheRule, Kind, Route, masked};
use crate::words::{Base, Scheme};

mod bases;
mod edit;
mod escape;
mod fields;
mod inflate;
mod partial;
mod scan;

pub use partial::{FailureCode, PartialFailures};

use edit::Plan;
use fields::Signatures;
use inflate::{Bounds, Coding};
use scan::Paths;

/// A request as the API will see it: absolute URI at the upstream, no hop-by-hop field. Made only here.
pub struct Outbound(Request<Body>);

impl Outbound {
    /// The request itself, for the [`Transport`](crate::upstream::Transport) that sends it.
    pub fn into_request(self) -> Request<Body> {
        self.0
    }

    /// A ready-made request, for unit tests of the room that sends it.
    #[cfg(test)]
    pub(crate) fn for_tests(request: Request<Body>) -> Self {
        Self(request)
    }
}

/// Without query and fields, and with the path masked: all may carry credentials.
impl std::fmt::Debug for Outbound {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Outbound({} {})", self.0.method(), masked(self.0.uri().path()))
    }
}

/// What the rewriter must know.
#[derive(Debug, Clone)]
pub struct RewriteSettings {
    /// Whether URLs are rewritten; hop-by-hop fields and `Via` are handled in any case.
    pub enabled: bool,
    /// The API's bases, the upstream first, then its aliases; URLs that start with one are the API's.
    pub bases: Vec<Base>,
    /// This process in `Via`: a token.
    pub via: Arc<str>,
    /// The most bytes that a packed answer may unpack to.
    pub max_decoded_bytes: u64,
    /// The most bytes that one byte of a packed answer may unpack to, beyond its first 64 KiB.
    pub max_ratio: u32,
}

/// Rewrites requests and answers. Pure: settings, route and message decide.
#[derive(Debug)]
pub struct Rewriter {
    settings: RewriteSettings,
    bases: Arc<[Base]>,
    signatures: Signatures,
}

impl Rewriter {
    /// A rewriter for one API.
    pub fn new(settings: RewriteSettings) -> Self {
        let (bases, signatures) = (settings.bases.as_slice().into(), Signatures::of(&settings.via));
        Self { settings, bases, signatures }
    }

    /// The body as the API shall read it: file URLs that point at the client's base point at the API's.
    ///
    /// Only in JSON, only at `$.files[*]`; every other byte as it came. The length is unknown where it may have changed.
    pub fn request_body(&self, route: &Route, head: &request::Parts, body: Body) -> Body {
        let is_plain = !head.headers.contains_key(CONTENT_ENCODING);
        let Some(api) = self.settings.bases.first().filter(|_| is_plain && self.applies(route)) else {
            return body;
        };
        if !is_json(&head.headers) || http_body::Body::is_end_stream(&body) {
            return body;
        }
        let from = Arc::from([route.client().clone()]);
        edit::edited(body, Plan { paths: Paths::Request, from, tails: REQUEST_TAILS, to: api.clone() })
    }

    /// The request as the API shall see it, once per attempt.
    ///
    /// `body` is already rewritten; `length` is its exact length, none if nobody knows it.
    pub fn outbound(
        &self,
        route: &Route,
        head: &request::Parts,
        body: Body,
        length: Option<u64>,
    ) -> Outbound {
        let mut headers = head.headers.clone();
        let takes_trailers = fields::takes_trailers(&headers);
        fields::strip(&mut headers);
        if route.rule() == CacheRule::Contents {
            fields::remove_overrides(&mut headers);
        }
        if takes_trailers {
            headers.insert(TE, HeaderValue::from_static("trailers"));
        }
        // hyper writes Host from the URI; whether to wait for 100 was settled with the client.
        headers.remove(HOST);
        headers.remove(EXPECT);
        set_length(&mut headers, &head.method, length);
        fields::join_cookies(&mut headers);
        self.signatures.sign(&mut headers, head.version);
        for name in [AUTHORIZATION, COOKIE] {
            if let http::header::Entry::Occupied(mut lines) = headers.entry(name) {
                lines.iter_mut().for_each(|value| value.set_sensitive(true));
            }
        }
        let mut request = Request::new(fields::with_safe_trailers(body));
        *request.method_mut() = head.method.clone();
        *request.uri_mut() = target(route);
        *request.headers_mut() = headers;
        Outbound(request)
    }

    /// The answer as this client shall see it, from the answer as the API wrote it.
    ///
    /// URLs of the API point at the client's base, in the fields and at `$.files[*]` and `$.items[*].files[*]`.
    /// Where a body must be rewritten it is unpacked first, and its length is no longer known.
    /// Then it fails with [`BodyError::Garbled`](crate::body::BodyError::Garbled) if it is damaged, cut short or unpacks too far.
    pub fn inbound(&self, route: &Route, method: &Method, response: Response<Body>) -> Response<Body> {
        let (mut head, body) = response.into_parts();
        if head.headers.contains_key(TRANSFER_ENCODING) {
            // RFC 9112 §6.3: the chunks said where the body ended, so the length is wrong or an attempt.
            head.headers.remove(CONTENT_LENGTH);
        }
        fields::strip(&mut head.headers);
        self.signatures.sign(&mut head.headers, head.version);
        if self.applies(route) {
            self.point_fields(route.client(), &mut head.headers);
            if let Some(packing) = self.packing(route, method, head.status, &head.headers) {
                announce(&mut head.headers, packing);
                if *method != Method::HEAD {
                    return Response::from_parts(head, self.point_files(route.client(), packing, body));
                }
            }
        }
        Response::from_parts(head, fields::with_safe_trailers(body))
    }

    fn applies(&self, route: &Route) -> bool {
        self.settings.enabled && route.kind() == Kind::Webex && !route.is_native()
    }

    fn point_fields(&self, client: &Base, headers: &mut HeaderMap) {
        let each = |headers: &mut HeaderMap, name: HeaderName, change: Change| {
            let http::header::Entry::Occupied(mut lines) = headers.entry(name) else { return };
            for value in lines.iter_mut() {
                if let Some(new) = change(&self.settings.bases, client, value) {
                    *value = new;
                }
            }
        };
        each(headers, LINK, bases::relink);
        each(headers, LOCATION, bases::relocate);
        each(headers, CISCO_LOCATION, bases::relocate);
    }

    fn point_files(&self, client: &Base, packing: Packing, body: Body) -> Body {
        let body = match packing {
            Packing::None => body,
            Packing::Coded(coding) => inflate::inflated(
                body,
                coding,
                Bounds {
                    max_decoded_bytes: self.settings.max_decoded_bytes,
                    max_ratio: self.settings.max_ratio,
                },
            ),
        };
        let from = Arc::clone(&self.bases);
        edit::edited(body, Plan { paths: Paths::Answer, from, tails: ANSWER_TAILS, to: client.clone() })
    }

    /// How the content is packed, if it is content that must be rewritten.
    fn packing(
        &self,
        route: &Route,
        method: &Method,
        status: StatusCode,
        headers: &HeaderMap,
    ) -> Option<Packing> {
        // An attachment is the user's own file, JSON or not: it passes byte for byte.
        let may_list_files =
            matches!(*method, Method::GET | Method::HEAD | Method::POST | Method::PUT | Method::PATCH)
                && route.family().segment != "contents";
        // Errors pass as they are (WEBEX 4); a part of a body has no path to go by.
        let is_whole = status.is_success()
            && !matches!(
                status,
                StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT | StatusCode::PARTIAL_CONTENT
            );
        if may_list_files && is_whole && is_json(headers) { packing(headers) } else { None }
    }
}

type Change = fn(&[Base], &Base, &HeaderValue) -> Option<HeaderValue>;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Packing {
    None,
    Coded(Coding),
}

fn packing(headers: &HeaderMap) -> Option<Packing> {
    let mut codings = headers.get_all(CONTENT_ENCODING).iter();
    let Some(coding) = codings.next() else { return Some(Packing::None) };
    if codings.next().is_some() {
        return None;
    }
    match coding.to_str().ok()?.trim().to_ascii_lowercase().as_str() {
        "" | "identity" => Some(Packing::None),
        "gzip" | "x-gzip" => Some(Packing::Coded(Coding::Gzip)),
        "deflate" => Some(Packing::Coded(Coding::Deflate)),
        _ => None,
    }
}

/// Takes back what the fields said about bytes that will be others: length, coding, digests, ranges, the exact tag.
fn announce(headers: &mut HeaderMap, packing: Packing) {
    for name in [CONTENT_LENGTH, ACCEPT_RANGES].iter().chain(&DIGESTS) {
        headers.remove(name);
    }
    if packing != Packing::None {
        headers.remove(CONTENT_ENCODING);
    }
    if let Some(tag) = headers.get_mut(ETAG).filter(|tag| tag.as_bytes().starts_with(b"\""))
        && let Ok(weak) = HeaderValue::from_bytes(&[b"W/", tag.as_bytes()].concat())
    {
        *tag = weak;
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let Some(value) = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()) else { return false };
    let media = value.split(';').next().unwrap_or_default().trim().as_bytes();
    let suffix = media.len().checked_sub(SUFFIX.len()).and_then(|at| media.get(at..)).unwrap_or_default();
    media.eq_ignore_ascii_case(b"application/json") || suffix.eq_ignore_ascii_case(SUFFIX)
}

/// The URI of the route's target at its upstream.
fn target(route: &Route) -> Uri {
    let scheme = match route.upstream().scheme {
        Scheme::Http => http::uri::Scheme::HTTP,
        Scheme::Https => http::uri::Scheme::HTTPS,
    };
    let mut parts = http::uri::Parts::default();
    parts.scheme = Some(scheme);
    parts.authority = Some(route.upstream().authority.clone());
    parts.path_and_query = Some(route.target().clone());
    // All three parts are parsed and there, so they always make a URI; the default names no host and goes nowhere.
    Uri::from_parts(parts).unwrap_or_default()
}

/// States the body's length; says nothing for a body that neither the client nor its method speaks of.
fn set_length(headers: &mut HeaderMap, method: &Method, length: Option<u64>) {
    let was_stated = headers.remove(CONTENT_LENGTH).is_some();
    let Some(length) = length else { return };
    // A body of stated length has no room for trailers in HTTP/1.1.
    headers.remove(TRAILER);
    if length > 0 || was_stated || matches!(*method, Method::POST | Method::PUT | Method::PATCH) {
        headers.insert(CONTENT_LENGTH, length.into());
    }
}

const SUFFIX: &[u8] = b"+json";

const CISCO_LOCATION: HeaderName = HeaderName::from_static("cisco-location");

const DIGESTS: [HeaderName; 4] = [
    HeaderName::from_static("content-digest"),
    HeaderName::from_static("content-md5"),
    HeaderName::from_static("digest"),
    HeaderName::from_static("repr-digest"),
];

const ANSWER_TAILS: &[&str] = &["/v1/contents/"];

/// The proxy answers root-level paths as well, so a client may hold such a URL.
const REQUEST_TAILS: &[&str] = &["/v1/contents/", "/contents/"];

#[cfg(test)]
mod tests;
