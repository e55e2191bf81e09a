//! Decides how the rest of a half-kept answer is asked for, and whether what comes belongs to it (RFC 9111 §3.4).

use http::request::Parts;
use http::response::Parts as Answer;
use http::{HeaderValue, StatusCode, header};

use super::directives::Directives;
use super::freshness::{Timing, initial_age};
use super::ranges::Part;
use super::stored::{Extent, Stored};
use super::storing::{self, Audience, audience};
use super::validation::drop_conditions;
use super::{fields, list};

/// What an answer to a [`continuation`] is.
#[derive(Debug)]
pub(in crate::cache) enum Joined {
    /// Not the rest of what is kept, and no whole either: drop the part, and ask again as the client did.
    Apart,
    /// The rest: its bytes follow the kept ones. What both make together, and for whom it may be kept.
    Rest(Box<Stored>, Option<Audience>),
    /// An answer of its own (a 200, an error): use it as if nothing had been kept.
    Whole,
}

/// The request for what is missing: all from the first byte that is not kept, if it is still the same answer.
pub(in crate::cache) fn continuation(stored: &Stored, request: &Parts) -> Parts {
    let mut asked = request.clone();
    drop_conditions(&mut asked.headers);
    let Extent::Part(part) = stored.extent else { return asked };
    if let Ok(rest) = HeaderValue::try_from(format!("bytes={}-", part.bytes)) {
        asked.headers.insert(header::RANGE, rest);
        if let Some(tag) = stored.strong_etag().and_then(|tag| HeaderValue::from_bytes(tag).ok()) {
            asked.headers.insert(header::IF_RANGE, tag);
        }
    }
    asked
}

/// Judges the answer to a [`continuation`]: joined only if both have the same strong entity tag, and fit.
pub(in crate::cache) fn combine(
    stored: &Stored,
    request: &Parts,
    response: &Answer,
    timing: &Timing,
) -> Joined {
    match response.status {
        StatusCode::PARTIAL_CONTENT => rest(stored, request, response, timing).unwrap_or(Joined::Apart),
        StatusCode::RANGE_NOT_SATISFIABLE | StatusCode::NOT_MODIFIED => Joined::Apart,
        _ => Joined::Whole,
    }
}

fn rest(stored: &Stored, request: &Parts, response: &Answer, timing: &Timing) -> Option<Joined> {
    let Extent::Part(kept) = stored.extent else { return None };
    let came = Part::of(&request.headers, &response.headers)?;
    let is_same = list::single(&response.headers, &header::ETAG) == Some(stored.strong_etag()?);
    let fits = kept.is_exact() && came.is_exact() && came.total == kept.total && came.reaches_end;
    if !is_same || !fits || kept.first != 0 || kept.bytes != came.first {
        return None;
    }
    let mut headers = fields::merged(&stored.headers, &response.headers);
    headers.remove(header::CONTENT_RANGE);
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(kept.total));
    let said = Directives::of(&headers);
    let extent = Extent::Whole(Some(kept.total));
    let initial_age = initial_age(&response.headers, timing);
    let joined = storing::store(request, StatusCode::OK, &headers, &said, extent, timing);
    let audience = joined.is_some().then(|| audience(request, &said));
    let stored = joined.unwrap_or_else(|| Stored {
        status: StatusCode::OK,
        headers: fields::kept(&headers, &said, timing.received_wall),
        extent,
        received_at: timing.received_at,
        ..stored.clone()
    });
    Some(Joined::Rest(Box::new(Stored { initial_age, ..stored }), audience))
}
