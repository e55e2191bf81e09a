//! Decides how long an answer is fresh and how old it is (RFC 9111 §4.2).

use std::time::{Duration, SystemTime};

use http::{HeaderMap, StatusCode, header};
use tokio::time::Instant;

use super::directives::{Directives, Reach};
use super::{date, list};

/// When an answer was asked for and came.
#[derive(Debug, Clone, Copy)]
pub(in crate::cache) struct Timing {
    /// When the request was sent.
    pub(in crate::cache) asked_at: Instant,
    /// When the head of the answer came.
    pub(in crate::cache) received_at: Instant,
    /// The same moment by the wall clock. It is read here alone, to compare with the origin's Date.
    pub(in crate::cache) received_wall: SystemTime,
}

/// What an answer allows over time, worked out once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::cache) struct Terms {
    /// From the answer's origination; zero if it states and suggests none.
    pub(in crate::cache) lifetime: Duration,
    /// Every use must be confirmed (`no-cache`).
    pub(in crate::cache) needs_proof: bool,
    /// Never used stale (`must-revalidate`, `proxy-revalidate`, `s-maxage`, `no-cache`).
    pub(in crate::cache) forbids_stale: bool,
    /// How long it may be used stale while it is asked for anew (RFC 5861 §3).
    pub(in crate::cache) stale_while_revalidate: Duration,
    /// How long it may be used stale after an error (RFC 5861 §4), if it says so.
    pub(in crate::cache) stale_if_error: Option<Duration>,
}

impl Terms {
    /// Works out the terms of an answer.
    pub(super) fn of(
        said: &Directives,
        status: StatusCode,
        headers: &HeaderMap,
        received: SystemTime,
    ) -> Self {
        let lifetime = explicit_lifetime(said, headers, received)
            .or_else(|| may_guess(said, status).then(|| heuristic(headers, received)))
            .unwrap_or(Duration::ZERO);
        Self {
            lifetime,
            needs_proof: said.no_cache == Reach::All,
            forbids_stale: said.forbids_stale(),
            stale_while_revalidate: said.stale_while_revalidate.unwrap_or(Duration::ZERO),
            stale_if_error: said.stale_if_error,
        }
    }

    /// Whether an answer of this age is fresh.
    pub(super) fn is_fresh(&self, age: Duration) -> bool {
        self.lifetime > age
    }

    /// How long ago an answer of this age became stale.
    pub(super) fn staleness(&self, age: Duration) -> Duration {
        age.saturating_sub(self.lifetime)
    }
}

/// What the answer states: `s-maxage` over `max-age` over Expires (RFC 9111 §4.2.1).
pub(super) fn explicit_lifetime(
    said: &Directives,
    headers: &HeaderMap,
    received: SystemTime,
) -> Option<Duration> {
    let by_directive = said.s_maxage.or(said.max_age);
    if by_directive.is_some() || said.is_targeted || !headers.contains_key(header::EXPIRES) {
        return by_directive;
    }
    let expires = date::field(headers, &header::EXPIRES);
    let from = date::field(headers, &header::DATE).unwrap_or(received);
    Some(expires.and_then(|expires| expires.duration_since(from).ok()).unwrap_or(Duration::ZERO))
}

/// How old an answer is when it comes, in whole seconds (RFC 9111 §4.2.3).
pub(super) fn initial_age(headers: &HeaderMap, timing: &Timing) -> Duration {
    let apparent = date::field(headers, &header::DATE)
        .and_then(|date| timing.received_wall.duration_since(date).ok())
        .unwrap_or(Duration::ZERO);
    let delay = timing.received_at.saturating_duration_since(timing.asked_at);
    let corrected = stated_age(headers).saturating_add(delay);
    Duration::from_secs(apparent.max(corrected).as_secs())
}

/// Statuses whose answers may be kept without a stated lifetime (RFC 9110 §15.1).
pub(super) fn may_guess(said: &Directives, status: StatusCode) -> bool {
    said.public || HEURISTIC.contains(&status.as_u16())
}

/// The first member of the first line; what is no number says nothing (RFC 9111 §5.1).
fn stated_age(headers: &HeaderMap) -> Duration {
    let first = headers.get(header::AGE).and_then(|line| line.as_bytes().split(|byte| *byte == b',').next());
    let seconds = first.and_then(|member| list::digits(member.trim_ascii())).unwrap_or(0);
    Duration::from_secs(seconds.min(OLDEST))
}

/// A tenth of the time since the last change (RFC 9111 §4.2.2). A Date ahead of our clock does not stretch it.
fn heuristic(headers: &HeaderMap, received: SystemTime) -> Duration {
    let dated = date::field(headers, &header::DATE).unwrap_or(received).min(received);
    let changed = date::field(headers, &header::LAST_MODIFIED);
    let unchanged_for = changed.and_then(|changed| dated.duration_since(changed).ok());
    unchanged_for.map_or(Duration::ZERO, |unchanged_for| (unchanged_for / 10).min(LONGEST_GUESS))
}

/// The largest age that is believed: longer than every lifetime.
const OLDEST: u64 = (1 << 31) + 1;

/// A guess is good for a day, as in Apache Traffic Server: a file of ten years' age may still change tomorrow.
const LONGEST_GUESS: Duration = Duration::from_secs(86_400);

const HEURISTIC: [u16; 12] = [200, 203, 204, 206, 300, 301, 308, 404, 405, 410, 414, 501];
