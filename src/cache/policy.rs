//! Decides what a request and an answer allow: the rules for attachment contents (CACHE 1).

use http::request::Parts;
use http::{HeaderMap, Method, Response, StatusCode, header};

use crate::route::{CacheRule, Route};

/// What a request asks of the cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Demand {
    /// Anything kept will do.
    Any,
    /// Nothing unless the API confirms it now (`no-cache`, `max-age=0`).
    Confirmed,
    /// Neither answered from the cache nor kept.
    None(Why),
}

/// Why a request went upstream, in the words of RFC 9211 §2.2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// The route, the configuration or the request keeps the cache out of it.
    Bypass,
    /// The method is not one that can be answered from a cache.
    Method,
    /// The client asked for an answer from upstream.
    Request,
    /// Something is kept, but the proof that this tenant may have it is too old.
    Stale,
    /// Nothing is kept under this URI.
    UriMiss,
}

impl Why {
    /// The value of `fwd` in `Cache-Status`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Bypass => "bypass",
            Self::Method => "method",
            Self::Request => "request",
            Self::Stale => "stale",
            Self::UriMiss => "uri-miss",
        }
    }
}

/// What this request may be answered from.
pub(super) fn demand(route: &Route, head: &Parts) -> Demand {
    if !matches!(head.method, Method::GET | Method::HEAD) {
        return Demand::None(Why::Method);
    }
    let is_special = [
        header::RANGE,
        header::IF_RANGE,
        header::IF_MATCH,
        header::IF_NONE_MATCH,
        header::IF_MODIFIED_SINCE,
        header::IF_UNMODIFIED_SINCE,
    ];
    if route.rule() != CacheRule::Contents || is_special.iter().any(|name| head.headers.contains_key(name)) {
        return Demand::None(Why::Bypass);
    }
    let says =
        |wanted: &str| directives(&head.headers).any(|directive| directive.eq_ignore_ascii_case(wanted));
    if says("no-store") {
        Demand::None(Why::Request)
    } else if says("no-cache") || says("max-age=0") || head.headers.contains_key(header::PRAGMA) {
        Demand::Confirmed
    } else {
        Demand::Any
    }
}

/// Only complete, unencoded 200s are kept: the one form in which the bytes of an id are the same for everybody.
pub(super) fn is_storable<B>(response: &Response<B>) -> bool {
    let headers = response.headers();
    let is_encoded = headers.get(header::CONTENT_ENCODING).is_some_and(|coding| coding != "identity");
    response.status() == StatusCode::OK
        && !is_encoded
        && !headers.contains_key(header::CONTENT_RANGE)
        && !directives(headers).any(|directive| directive.eq_ignore_ascii_case("no-store"))
}

/// Whether two heads describe the same bytes: length, type, disposition and, if there is one, ETag.
pub(super) fn is_same(kept: &HeaderMap, shown: &HeaderMap) -> bool {
    [header::CONTENT_LENGTH, header::CONTENT_TYPE, header::CONTENT_DISPOSITION, header::ETAG]
        .iter()
        .all(|name| kept.get(name) == shown.get(name))
}

fn directives(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let lines = headers.get_all(header::CACHE_CONTROL).iter().filter_map(|line| line.to_str().ok());
    lines.flat_map(|line| line.split(',')).map(str::trim)
}
