//! Decides when a stale answer may be used because there is no better one (RFC 9111 §4.2.4, RFC 5861 §4).

use http::request::Parts;
use http::{Method, StatusCode};
use tokio::time::Instant;

use super::directives::Wishes;
use super::judge::{has_bytes, refuses};
use super::stored::Stored;

/// What came instead of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// The upstream cannot be reached, or broke the connection before an answer.
    Disconnected,
    /// The gate is closed: the upstream refuses requests for now.
    GateClosed,
    /// An answer of this status.
    Status(StatusCode),
}

/// Whether a stale answer may be used in place of `trouble`.
///
/// Without a `stale-if-error` of the origin's or the client's only when disconnected. Statuses are those of RFC 5861, and
/// 429, which like a closed gate says that there is no answer for now: an extension of ours.
pub(in crate::cache) fn may_serve_stale(
    stored: &Stored,
    request: &Parts,
    now: Instant,
    trouble: Trouble,
) -> bool {
    let wishes = Wishes::of(&request.headers);
    let age = stored.age(now);
    let is_read = request.method == Method::GET || request.method == Method::HEAD;
    if !is_read || !stored.is_selected_by(request) || !has_bytes(stored, request) {
        return false;
    }
    if stored.terms.forbids_stale
        || stored.terms.needs_proof
        || wishes.no_store
        || refuses(stored, &wishes, age)
    {
        return false;
    }
    let staleness = stored.terms.staleness(age);
    if wishes.min_fresh.is_some() && !stored.terms.is_fresh(age) {
        return false;
    }
    let windows = [stored.terms.stale_if_error, wishes.stale_if_error, wishes.max_stale];
    let is_within = windows.iter().flatten().any(|window| staleness <= *window);
    match trouble {
        Trouble::Disconnected => is_within || stored.terms.stale_if_error.is_none(),
        Trouble::GateClosed => is_within || staleness < stored.terms.stale_while_revalidate,
        Trouble::Status(status) => is_within && ERRORS.contains(&status.as_u16()),
    }
}

const ERRORS: [u16; 5] = [429, 500, 502, 503, 504];
