//! Decides what a kept answer looks like to one client: conditions, ranges, Age (RFC 9111 §4.3.2, RFC 9110 §14).

use std::ops::Range;

use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header};
use tokio::time::Instant;

use crate::body::Body;

use super::conditions::{self, Outcome};
use super::judge::wanted;
use super::ranges::{self, Piece, Wanted};
use super::stored::{Extent, Stored};

/// The head of an answer from the cache, and which of the kept bytes follow it.
#[derive(Debug)]
pub(in crate::cache) struct Reply {
    /// The kept one; 206, 304, 412 or 416 where range or conditions ask for it.
    pub(in crate::cache) status: StatusCode,
    /// The kept ones, with Age as of now.
    pub(in crate::cache) headers: HeaderMap,
    /// What follows.
    pub(in crate::cache) content: Content,
}

impl Reply {
    /// The answer itself; `read` gives the kept bytes, or a part of them.
    pub(in crate::cache) fn with(self, read: impl FnOnce(Option<Range<u64>>) -> Body) -> Response<Body> {
        let mut response = Response::new(match self.content {
            Content::Nothing => Body::empty(),
            Content::Slice(part) => read(Some(part)),
            Content::Whole => read(None),
        });
        *response.status_mut() = self.status;
        *response.headers_mut() = self.headers;
        response
    }
}

/// Which of the kept bytes are sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::cache) enum Content {
    /// None.
    Nothing,
    /// These, counted within the kept bytes; never empty and never past their end.
    Slice(Range<u64>),
    /// All of them.
    Whole,
}

/// Answers a request from what [`super::judge()`] chose, or from what another rule keeps.
pub(in crate::cache) fn answer(stored: &Stored, request: &Parts, now: Instant) -> Reply {
    let mut headers = with_room(&stored.headers);
    headers.insert(header::AGE, HeaderValue::from(stored.age(now).as_secs().min(OLDEST)));
    match conditions::evaluate(stored, request) {
        Outcome::NotModified => return not_modified(headers),
        Outcome::Failed => return failed(&headers),
        Outcome::Proceed => {}
    }
    let mut reply = match (stored.extent, wanted(request)) {
        (Extent::Whole(Some(length)), Some(wanted))
            if stored.status == StatusCode::OK && conditions::allows_range(stored, request) =>
        {
            slice(headers, wanted, length)
        }
        (Extent::Part(part), Some(wanted)) if let Some(piece) = wanted.of_part(&part) => {
            partial(headers, &piece)
        }
        (Extent::Whole(Some(length)), _) if may_have_body(stored.status) => {
            headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
            Reply { status: stored.status, headers, content: Content::Whole }
        }
        _ => Reply { status: stored.status, headers, content: Content::Whole },
    };
    if request.method == Method::HEAD || stored.extent == Extent::Head {
        reply.content = Content::Nothing;
    }
    reply
}

fn slice(mut headers: HeaderMap, wanted: Wanted, length: u64) -> Reply {
    if let Some(range) = wanted.of_whole(length) {
        let first = range.start;
        return partial(headers, &Piece { slice: range, first, total: length });
    }
    for name in &REPRESENTATION {
        headers.remove(name);
    }
    if let Ok(value) = HeaderValue::try_from(format!("bytes */{length}")) {
        headers.insert(header::CONTENT_RANGE, value);
    }
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(0));
    Reply { status: StatusCode::RANGE_NOT_SATISFIABLE, headers, content: Content::Nothing }
}

fn partial(mut headers: HeaderMap, piece: &Piece) -> Reply {
    if let Some(value) = ranges::content_range_of(piece) {
        headers.insert(header::CONTENT_RANGE, value);
    }
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(piece.slice.end - piece.slice.start));
    Reply { status: StatusCode::PARTIAL_CONTENT, headers, content: Content::Slice(piece.slice.clone()) }
}

/// The client keeps its own description of the bytes (RFC 9110 §15.4.5).
fn not_modified(mut headers: HeaderMap) -> Reply {
    for name in &REPRESENTATION {
        headers.remove(name);
    }
    Reply { status: StatusCode::NOT_MODIFIED, headers, content: Content::Nothing }
}

/// A refusal of our own: of the kept fields only those that say which answer was compared.
fn failed(kept: &HeaderMap) -> Reply {
    let mut headers = HeaderMap::new();
    for name in [header::ETAG, header::LAST_MODIFIED, header::VARY, header::AGE] {
        for value in kept.get_all(&name) {
            headers.append(&name, value.clone());
        }
    }
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(0));
    Reply { status: StatusCode::PRECONDITION_FAILED, headers, content: Content::Nothing }
}

/// The kept fields, and room for those that every answer gets on its way: a mere copy has none, and would move to a larger
/// place twice.
fn with_room(kept: &HeaderMap) -> HeaderMap {
    let mut headers = kept.clone();
    headers.reserve(ADDED);
    headers
}

fn may_have_body(status: StatusCode) -> bool {
    !matches!(status, StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT)
}

/// Fields that describe bytes which are not sent.
const REPRESENTATION: [header::HeaderName; 5] = [
    header::CONTENT_ENCODING,
    header::CONTENT_LANGUAGE,
    header::CONTENT_LENGTH,
    header::CONTENT_RANGE,
    header::CONTENT_TYPE,
];

/// Age, Via, Cache-Status, TrackingID, and a few more.
const ADDED: usize = 6;

/// What Age says at most (RFC 9111 §1.2.2).
const OLDEST: u64 = 1 << 31;
