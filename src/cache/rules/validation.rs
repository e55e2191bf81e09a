//! Decides what to ask about a kept answer, and what the upstream's word changes in it (RFC 9111 §4.3).

use std::sync::Arc;

use http::request::Parts;
use http::response::Parts as Answer;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};

use super::conditions::is_same_weakly;
use super::directives::Directives;
use super::freshness::{Timing, initial_age};
use super::stored::{Basis, Extent, Stored};
use super::storing::{self, Audience, audience, ruled};
use super::vary::Selection;
use super::{fields, list};

/// What a confirmation makes of a kept answer.
#[derive(Debug)]
pub(in crate::cache) struct Confirmed {
    /// The answer as it is now.
    pub(in crate::cache) stored: Stored,
    /// For whom it may be kept; none if it answers this request and is then forgotten.
    pub(in crate::cache) audience: Option<Audience>,
}

/// The request that asks whether a kept answer still holds: with its validators in place of the client's conditions.
///
/// A range is asked for again only if a part is kept. Without validators it is the client's request, unchanged: what comes
/// is an answer of its own, and a 304 the client's.
pub(in crate::cache) fn question(stored: &Stored, request: &Parts) -> Parts {
    let mut asked = request.clone();
    let validators =
        [(header::ETAG, header::IF_NONE_MATCH), (header::LAST_MODIFIED, header::IF_MODIFIED_SINCE)];
    let stated: Vec<_> = validators
        .into_iter()
        .filter_map(|(kept, condition)| Some((condition, validator(stored, &kept)?)))
        .collect();
    if stated.is_empty() {
        return asked;
    }
    drop_conditions(&mut asked.headers);
    asked.headers.extend(stated);
    if !matches!(stored.extent, Extent::Part(_)) {
        asked.headers.remove(header::RANGE);
    }
    asked
}

/// The request for an answer of which other variants are kept: their entity tags may spare the bytes.
///
/// Without a tag among them it is the client's request.
pub(in crate::cache) fn question_of_variants(variants: &[Arc<Stored>], request: &Parts) -> Parts {
    let mut asked = request.clone();
    let mut tags: Vec<_> = variants
        .iter()
        .filter(|one| matches!(one.extent, Extent::Whole(_)) && one.status == StatusCode::OK)
        .filter_map(|one| one.etag())
        .collect();
    tags.dedup();
    if !tags.is_empty()
        && !request.headers.contains_key(header::RANGE)
        && let Ok(value) = HeaderValue::from_bytes(&tags.join(&b", "[..]))
    {
        drop_conditions(&mut asked.headers);
        asked.headers.insert(header::IF_NONE_MATCH, value);
    }
    asked
}

/// Which of several asked about a 304 confirms: the one with its entity tag, or the only one.
pub(in crate::cache) fn confirmed(asked: &[Arc<Stored>], not_modified: &Answer) -> Option<usize> {
    match list::single(&not_modified.headers, &header::ETAG) {
        None => (asked.len() == 1).then_some(0),
        Some(tag) => asked.iter().position(|one| one.etag().is_some_and(|known| is_same_weakly(known, tag))),
    }
}

/// What a 304 makes of the answer it was asked about (RFC 9111 §4.3.4): its fields replace the kept ones, but for those
/// that describe the kept bytes, and its age starts anew.
///
/// None if its entity tag is that of another answer: then ask again without conditions.
pub(in crate::cache) fn merge(
    stored: &Stored,
    request: &Parts,
    not_modified: &Answer,
    timing: &Timing,
) -> Option<Confirmed> {
    let newer = &not_modified.headers;
    let is_another = match (list::single(newer, &header::ETAG), stored.etag()) {
        (Some(named), Some(known)) => !is_same_weakly(named, known),
        _ => false,
    };
    (!is_another).then(|| update(stored, request, newer, timing))
}

/// What a 200 to a HEAD makes of a kept answer (RFC 9111 §4.3.5). None if it describes other bytes: then what is kept is
/// outdated.
pub(in crate::cache) fn update_head(
    stored: &Stored,
    request: &Parts,
    head: &Answer,
    timing: &Timing,
) -> Option<Confirmed> {
    let is_same = |name: &HeaderName| match (head.headers.get(name), stored.headers.get(name)) {
        (Some(newer), Some(kept)) => newer == kept,
        _ => true,
    };
    let length = list::single(&head.headers, &header::CONTENT_LENGTH).map(list::digits);
    let is_as_long = match (length, stored.extent) {
        (None, _) | (_, Extent::Head | Extent::Whole(None)) => true,
        (Some(length), Extent::Whole(kept)) => length == kept,
        (Some(length), Extent::Part(part)) => length == Some(part.total),
    };
    let is_same_bytes = [header::ETAG, header::LAST_MODIFIED, header::CONTENT_ENCODING].iter().all(is_same);
    (head.status == StatusCode::OK && is_as_long && is_same_bytes)
        .then(|| update(stored, request, &head.headers, timing))
}

/// Whether the answer to a [`question`] shows that what is kept no longer holds, even if nothing may be kept in its place.
///
/// A full answer refutes what was asked about by its validators (RFC 9111 §4.3.3); a refusal takes back what an earlier
/// answer allowed. Errors of the upstream, and answers that speak of the moment or of the request, refute nothing.
pub(in crate::cache) fn refutes(stored: &Stored, response: &Answer) -> bool {
    let status = response.status;
    let was_asked_about =
        [header::ETAG, header::LAST_MODIFIED].iter().any(|name| validator(stored, name).is_some());
    let is_full = status.is_success() || status.is_redirection() && status != StatusCode::NOT_MODIFIED;
    is_full && was_asked_about || status.is_client_error() && !PASSING.contains(&status.as_u16())
}

fn update(stored: &Stored, request: &Parts, newer: &HeaderMap, timing: &Timing) -> Confirmed {
    let headers = fields::merged(&stored.headers, newer);
    let said = Directives::of(&headers);
    let confirmed = Stored {
        headers: fields::kept(&headers, &said, timing.received_wall),
        received_at: timing.received_at,
        initial_age: initial_age(newer, timing),
        ..stored.clone()
    };
    if let Basis::Rule(ttl) = stored.basis {
        let selection = Selection::of(&request.headers, &headers);
        let audience = selection.is_some().then_some(Audience::Tenant);
        let terms = ruled(ttl, confirmed.initial_age);
        let selection = selection.unwrap_or_default();
        return Confirmed { stored: Stored { terms, selection, ..confirmed }, audience };
    }
    match storing::store(request, stored.status, &headers, &said, stored.extent, timing) {
        Some(kept) => Confirmed {
            stored: Stored { initial_age: confirmed.initial_age, ..kept },
            audience: Some(audience(request, &said)),
        },
        None => Confirmed { stored: confirmed, audience: None },
    }
}

fn validator(stored: &Stored, name: &HeaderName) -> Option<HeaderValue> {
    list::single(&stored.headers, name)?;
    stored.headers.get(name).filter(|value| !value.is_empty()).cloned()
}

/// The client's conditions are about its own copy, and are judged when there is an answer.
pub(super) fn drop_conditions(headers: &mut HeaderMap) {
    for name in [
        header::IF_MATCH,
        header::IF_MODIFIED_SINCE,
        header::IF_NONE_MATCH,
        header::IF_RANGE,
        header::IF_UNMODIFIED_SINCE,
    ] {
        headers.remove(name);
    }
}

/// Refusals that say nothing about what is kept: timeouts, conditions, ranges, too early, too many.
const PASSING: [u16; 5] = [408, 412, 416, 425, 429];
