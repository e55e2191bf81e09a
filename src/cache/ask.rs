//! Decides what a request asks of the cache: whether it may be answered from it, and whether it may share a fetch.

use std::time::Duration;

use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};

use super::note::Why;
use super::rules::Wishes;

/// What a request asks of the cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ask {
    /// Neither answered from the cache nor kept.
    Bypass(Why),
    /// A read that may be answered from what is kept.
    Read(Manner),
}

/// How it may be answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Manner {
    /// Whatever is good by the rules will do; else the upstream must confirm it now (`no-cache`, `max-age=0`).
    pub(super) takes_kept: bool,
    /// Nor older than this.
    pub(super) max_age: Duration,
    /// It must not go upstream (`only-if-cached`).
    pub(super) stays_here: bool,
    /// A whole answer is wanted, so it may be shared with others that want the same.
    pub(super) wants_whole: bool,
}

/// Reads a request's head.
pub(super) fn ask(head: &Parts) -> Ask {
    if !matches!(head.method, Method::GET | Method::HEAD) {
        return Ask::Bypass(Why::Method);
    }
    if has_body(&head.headers) {
        return Ask::Bypass(Why::Bypass);
    }
    let wishes = Wishes::of(&head.headers);
    if wishes.no_store {
        return Ask::Bypass(Why::Request);
    }
    let max_age = wishes.max_age.unwrap_or(Duration::MAX);
    Ask::Read(Manner {
        takes_kept: !wishes.no_cache && !max_age.is_zero(),
        max_age,
        stays_here: wishes.only_if_cached,
        wants_whole: !head.headers.keys().any(|name| SPECIAL.contains(name)),
    })
}

/// The same request as a HEAD for the whole, without conditions.
pub(super) fn for_proof(head: &Parts) -> Parts {
    let mut question = head.clone();
    question.method = Method::HEAD;
    for name in &SPECIAL {
        question.headers.remove(name);
    }
    question
}

/// The fields that could make an answer to one request wrong for another; those that only name or trace it left out.
pub(super) fn distinctive(headers: &HeaderMap) -> Box<[(HeaderName, HeaderValue)]> {
    let is_distinctive = |name: &HeaderName| !INDIFFERENT.contains(&name.as_str());
    headers
        .iter()
        .filter(|(name, _)| is_distinctive(name))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}

/// Whether an answer that varies by these fields may go to all requests whose distinctive fields agree.
pub(super) fn varies_by_indifferent(answer: &HeaderMap) -> bool {
    let lines = answer.get_all(header::VARY).iter();
    lines.filter_map(|line| line.to_str().ok()).flat_map(|line| line.split(',')).map(str::trim).any(|name| {
        name == "*" || INDIFFERENT.iter().any(|indifferent| name.eq_ignore_ascii_case(indifferent))
    })
}

fn has_body(headers: &HeaderMap) -> bool {
    headers.contains_key(header::TRANSFER_ENCODING)
        || headers.get(header::CONTENT_LENGTH).is_some_and(|length| length != "0")
}

/// Fields that ask for a part, or for an answer only under a condition.
const SPECIAL: [HeaderName; 6] = [
    header::RANGE,
    header::IF_RANGE,
    header::IF_MATCH,
    header::IF_NONE_MATCH,
    header::IF_MODIFIED_SINCE,
    header::IF_UNMODIFIED_SINCE,
];

/// Fields that name the request, its sender or its connection, and say nothing about the answer. Authorization is
/// not among them for its own sake: the credential is part of every key that is shared under these fields.
const INDIFFERENT: &[&str] = &[
    "authorization",
    "connection",
    "content-type",
    "host",
    "keep-alive",
    "prefer",
    "priority",
    "te",
    "traceparent",
    "tracestate",
    "trackingid",
    "user-agent",
    "x-request-id",
];
