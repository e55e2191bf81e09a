//! Decides what a request's conditions make of an answer (RFC 9110 §13).

use std::time::{Duration, SystemTime};

use http::request::Parts;
use http::{HeaderMap, HeaderName, Method, header};

use super::stored::Stored;
use super::{date, fields, list};

/// What the conditions come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The client has it already: 304.
    NotModified,
    /// Answer as if there were no conditions.
    Proceed,
    /// The client wanted another one: 412.
    Failed,
}

/// Evaluates the conditions in the order of RFC 9110 §13.2.2. They ask about a success, and say nothing about others.
pub(super) fn evaluate(stored: &Stored, request: &Parts) -> Outcome {
    let asked = &request.headers;
    let is_read = request.method == Method::GET || request.method == Method::HEAD;
    let has_conditions = asked.keys().any(|name| CONDITIONS.contains(name));
    if !stored.status.is_success() || !is_read || !has_conditions {
        return Outcome::Proceed;
    }
    let changed = date::field(&stored.headers, &header::LAST_MODIFIED);
    let since = |name: &HeaderName| date::field(asked, name);
    if asked.contains_key(header::IF_MATCH) {
        if !names(asked, &header::IF_MATCH, stored.etag(), is_same_strongly) {
            return Outcome::Failed;
        }
    } else if let (Some(since), Some(changed)) = (since(&header::IF_UNMODIFIED_SINCE), changed)
        && changed > since
    {
        return Outcome::Failed;
    }
    if asked.contains_key(header::IF_NONE_MATCH) {
        if names(asked, &header::IF_NONE_MATCH, stored.etag(), is_same_weakly) {
            return Outcome::NotModified;
        }
    } else if let (Some(since), Some(changed)) = (since(&header::IF_MODIFIED_SINCE), changed)
        && changed <= since
    {
        return Outcome::NotModified;
    }
    Outcome::Proceed
}

/// All but If-Range, which asks for nothing by itself.
const CONDITIONS: [HeaderName; 4] =
    [header::IF_MATCH, header::IF_MODIFIED_SINCE, header::IF_NONE_MATCH, header::IF_UNMODIFIED_SINCE];

/// Whether a range may be served: there is no If-Range, or it names exactly what is stored (RFC 9110 §13.1.5).
pub(super) fn allows_range(stored: &Stored, request: &Parts) -> bool {
    if !request.headers.contains_key(header::IF_RANGE) {
        return true;
    }
    let Some(named) = list::single(&request.headers, &header::IF_RANGE).map(<[u8]>::trim_ascii) else {
        return false;
    };
    if let Some(etag) = stored.strong_etag() {
        return named == etag;
    }
    let changed = date::field(&stored.headers, &header::LAST_MODIFIED);
    date::parse(named).is_some_and(|named| changed == Some(named) && is_settled(named, &stored.headers))
}

/// Whether two tags are the same, weak or not (RFC 9110 §8.8.3.2).
pub(super) fn is_same_weakly(one: &[u8], other: &[u8]) -> bool {
    opaque(one) == opaque(other)
}

fn is_same_strongly(one: &[u8], other: &[u8]) -> bool {
    one == other && !is_weak(one)
}

fn is_weak(tag: &[u8]) -> bool {
    tag.starts_with(b"W/")
}

fn opaque(tag: &[u8]) -> &[u8] {
    tag.strip_prefix(b"W/").unwrap_or(tag)
}

/// Whether a list of tags names this one; `*` names any.
fn names(
    asked: &HeaderMap,
    field: &HeaderName,
    etag: Option<&[u8]>,
    is_same: fn(&[u8], &[u8]) -> bool,
) -> bool {
    list::of(asked, field)
        .any(|member| member == b"*" || etag.is_some_and(|etag| is_same(member, etag.trim_ascii())))
}

/// A time of change vouches for the bytes only if there was a second between it and the answer (RFC 9110 §8.8.2.2).
fn is_settled(changed: SystemTime, headers: &HeaderMap) -> bool {
    let dated = fields::dated(headers);
    dated
        .and_then(|dated| dated.duration_since(changed).ok())
        .is_some_and(|apart| apart >= Duration::from_secs(1))
}
