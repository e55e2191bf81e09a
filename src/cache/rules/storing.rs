//! Decides which answers may be kept, and for whom (RFC 9111 §3).

use std::time::Duration;

use http::request::Parts;
use http::response::Parts as Answer;
use http::{HeaderMap, Method, StatusCode, header};
use tokio::time::Instant;

use super::directives::{Directives, Reach, Wishes};
use super::freshness::{Terms, Timing, explicit_lifetime, initial_age, may_guess};
use super::ranges::Part;
use super::stored::{Basis, Extent, Stored};
use super::vary::Selection;
use super::{fields, invalidation, list};

/// For whom an answer may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::cache) enum Audience {
    /// Everybody who asks the same.
    Shared,
    /// Those who may ask with the same credential.
    Tenant,
}

/// Decides whether an answer may be kept, for whom, and on what terms.
///
/// GET and HEAD; a POST only if its answer states a lifetime and is by its Content-Location what a later GET of the
/// same URI would get: then what is kept answers that GET. Interim answers are never handed here.
pub(in crate::cache) fn keep(
    request: &Parts,
    response: &Answer,
    timing: &Timing,
) -> Option<(Stored, Audience)> {
    let said = Directives::of(&response.headers);
    // First what most answers of Webex fail.
    if !may_be_stored(&said, response.status, &response.headers) {
        return None;
    }
    let is_wanted = match request.method {
        Method::GET | Method::HEAD => true,
        Method::POST => {
            explicit_lifetime(&said, &response.headers, timing.received_wall).is_some()
                && response.status == StatusCode::OK
                && invalidation::is_about_itself(request, &response.headers)
        }
        _ => false,
    };
    if !is_wanted || Wishes::of(&request.headers).no_store {
        return None;
    }
    let extent = extent(request, response)?;
    let stored = store(request, response.status, &response.headers, &said, extent, timing)?;
    Some((stored, audience(request, &said)))
}

/// Keeps an answer for as long as the operator's rule says, whatever the origin says about keeping it.
///
/// Only a 200 to a GET, never one that varies by everything. It is for the same credential, and never used stale.
pub(in crate::cache) fn keep_for(
    request: &Parts,
    response: &Answer,
    timing: &Timing,
    ttl: Duration,
) -> Option<Stored> {
    let is_wanted = request.method == Method::GET && response.status == StatusCode::OK;
    if !is_wanted || Wishes::of(&request.headers).no_store {
        return None;
    }
    let initial_age = initial_age(&response.headers, timing);
    Some(Stored {
        status: response.status,
        headers: fields::kept(&response.headers, &Directives::default(), timing.received_wall),
        extent: extent(request, response)?,
        terms: ruled(ttl, initial_age),
        received_at: timing.received_at,
        initial_age,
        basis: Basis::Rule(ttl),
        selection: Selection::of(&request.headers, &response.headers)?,
    })
}

/// A 200 whose use another rule decides, such as a content under a tenant's proof: so that it can be answered from.
pub(in crate::cache) fn keep_under_proof(headers: &HeaderMap, extent: Extent, proved_at: Instant) -> Stored {
    Stored {
        status: StatusCode::OK,
        headers: fields::owned(fields::without_connection(headers)),
        extent,
        terms: ruled(Duration::ZERO, Duration::ZERO),
        received_at: proved_at,
        initial_age: Duration::ZERO,
        basis: Basis::Rule(Duration::ZERO),
        selection: Selection::default(),
    }
}

/// Applies the origin's rules to an answer of known extent.
pub(super) fn store(
    request: &Parts,
    status: StatusCode,
    headers: &HeaderMap,
    said: &Directives,
    extent: Extent,
    timing: &Timing,
) -> Option<Stored> {
    if !may_be_stored(said, status, headers) {
        return None;
    }
    let terms = Terms::of(said, status, headers, timing.received_wall);
    let is_explicit = explicit_lifetime(said, headers, timing.received_wall).is_some();
    let may_be_used = !terms.needs_proof
        && (terms.lifetime > Duration::ZERO
            || is_explicit && terms.stale_while_revalidate > Duration::ZERO
            || is_explicit && terms.stale_if_error.is_some_and(|window| window > Duration::ZERO));
    if !(is_explicit || may_guess(said, status)) || !(may_be_used || has_validator(headers)) {
        return None;
    }
    Some(Stored {
        status,
        headers: fields::kept(headers, said, timing.received_wall),
        extent,
        terms,
        received_at: timing.received_at,
        initial_age: initial_age(headers, timing),
        basis: Basis::Origin,
        selection: Selection::of(&request.headers, headers)?,
    })
}

/// For whom an answer to this request may be used (RFC 9111 §3.5).
pub(super) fn audience(request: &Parts, said: &Directives) -> Audience {
    if !request.headers.contains_key(header::AUTHORIZATION) || said.allows_sharing() {
        Audience::Shared
    } else {
        Audience::Tenant
    }
}

/// Whether an answer is the asker's own though HTTP would let everybody have it: a cookie is a credential too; a cookie that is
/// set, an answer to a body, and an error that the asker's own fields may have caused are for the asker alone.
pub(in crate::cache) fn is_personal(stored: &Stored, request: &Parts) -> bool {
    let is_known = request.headers.contains_key(header::COOKIE)
        && !request.headers.contains_key(header::AUTHORIZATION)
        && !Directives::of(&stored.headers).allows_sharing();
    is_known
        || stored.headers.contains_key(header::SET_COOKIE)
        || request.method == Method::POST
        || ASKERS.contains(&stored.status.as_u16())
}

/// The operator's terms: fresh for so long after receipt, then of no use without asking.
pub(super) fn ruled(ttl: Duration, initial_age: Duration) -> Terms {
    Terms {
        lifetime: ttl.saturating_add(initial_age),
        needs_proof: false,
        forbids_stale: true,
        stale_while_revalidate: Duration::ZERO,
        stale_if_error: None,
    }
}

/// Whether an answer may be kept at all, and can ever be used: what may not be used without asking must be such that it can be
/// asked about.
fn may_be_stored(said: &Directives, status: StatusCode, headers: &HeaderMap) -> bool {
    allows_keeping(said, status)
        && said.private != Reach::All
        && (said.no_cache != Reach::All || has_validator(headers))
}

fn has_validator(headers: &HeaderMap) -> bool {
    [header::ETAG, header::LAST_MODIFIED].iter().any(|name| list::single(headers, name).is_some())
}

/// Whether the status and the directives let an answer be kept. `must-understand` overrides `no-store`, if it is
/// understood (RFC 9111 §5.2.2.3).
fn allows_keeping(said: &Directives, status: StatusCode) -> bool {
    let status = status.as_u16();
    let is_understood = UNDERSTOOD.iter().any(|range| range.contains(&status));
    let is_allowed = if said.must_understand { is_understood } else { !said.no_store };
    status >= 200 && is_allowed && !NEVER.contains(&status)
}

/// Which bytes an answer brings; none if its fields contradict each other or it depends on the request's own range.
fn extent(request: &Parts, response: &Answer) -> Option<Extent> {
    if fields::are_framed_twice(&response.headers) {
        return None;
    }
    if response.status == StatusCode::PARTIAL_CONTENT {
        let is_part = request.method == Method::GET;
        return is_part.then(|| Part::of(&request.headers, &response.headers))?.map(Extent::Part);
    }
    if request.method == Method::HEAD {
        return Some(Extent::Head);
    }
    let lines = response.headers.get_all(header::CONTENT_LENGTH).iter().count();
    let length = list::single(&response.headers, &header::CONTENT_LENGTH);
    match length.map(|length| list::digits(length.trim_ascii())) {
        Some(None) => None,
        _ if lines > 1 => None,
        length => Some(Extent::Whole(length.flatten())),
    }
}

/// Statuses whose meaning RFC 9110 gives, which is all of it for a cache.
const UNDERSTOOD: [std::ops::RangeInclusive<u16>; 7] =
    [200..=206, 300..=303, 305..=308, 400..=417, 421..=422, 426..=426, 500..=505];

/// Errors that a field of the request can provoke at a resource that is well for everybody else.
const ASKERS: [u16; 9] = [400, 403, 405, 406, 413, 414, 415, 417, 501];

/// Statuses that speak of one request, credential or moment, whatever lifetime they state: 428, 429, 431 and 511 by RFC
/// 6585, 304 and 416 because they answer conditions and ranges, 401, 407 and 412 because the next request may differ.
const NEVER: [u16; 9] = [304, 401, 407, 412, 416, 428, 429, 431, 511];
