//! Decides whether a request can be answered from what is kept, and from which answer (RFC 9111 §4).

use std::sync::Arc;
use std::time::Duration;

use http::Method;
use http::request::Parts;
use tokio::time::Instant;

use super::conditions::{self, Outcome};
use super::directives::Wishes;
use super::ranges::{self, Wanted};
use super::stored::{Extent, Stored};

/// What to do with a request. An index is a place in the list that was judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::cache) enum Verdict {
    /// Answer from it: fresh, or as stale as the client allows.
    Serve(usize),
    /// Answer from it now, and validate it in the background (RFC 5861 §3).
    ServeAndRefresh(usize),
    /// Ask the upstream whether it still holds; [`super::question`] is what to ask.
    Validate(usize, Why),
    /// It holds the beginning: ask for the rest; [`super::continuation`] is what to ask.
    Complete(usize),
    /// Nothing kept answers it.
    Miss(Why),
    /// The client wants a kept answer or none (`only-if-cached`), and there is none: 504.
    Unanswerable,
}

/// Why a request goes upstream, in the words of RFC 9211 §2.2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::cache) enum Why {
    /// The method is not one that can be answered from a cache.
    Method,
    /// What is kept holds other bytes than those asked for.
    Partial,
    /// The client does not want what is kept.
    Request,
    /// What is kept is no longer fresh, or must be confirmed on every use.
    Stale,
    /// Nothing is kept.
    UriMiss,
    /// What is kept was selected for other requests.
    VaryMiss,
}

/// Judges the kept answers of one URI.
///
/// Among those that can answer, the fresh come before the stale, and the newer before the older.
pub(in crate::cache) fn judge(stored: &[Arc<Stored>], request: &Parts, now: Instant) -> Verdict {
    let wishes = Wishes::of(&request.headers);
    if request.method != Method::GET && request.method != Method::HEAD {
        return Verdict::Miss(Why::Method);
    }
    let verdict =
        if wishes.no_store { Verdict::Miss(Why::Request) } else { choose(stored, request, &wishes, now) };
    match verdict {
        Verdict::Validate(..) | Verdict::Complete(_) | Verdict::Miss(_) if wishes.only_if_cached => {
            Verdict::Unanswerable
        }
        verdict => verdict,
    }
}

fn choose(stored: &[Arc<Stored>], request: &Parts, wishes: &Wishes, now: Instant) -> Verdict {
    let mut missed = Why::UriMiss;
    let mut candidates = Vec::new();
    for (index, one) in stored.iter().enumerate() {
        if !one.is_selected_by(request) {
            missed = later(missed, Why::VaryMiss);
        } else if has_bytes(one, request) {
            candidates.push((index, one));
        } else if one.answers(&request.method) {
            missed = later(missed, Why::Partial);
        }
    }
    candidates.sort_by_key(|(_, one)| std::cmp::Reverse(one.received_at));
    let verdict = |(index, one): &(usize, &Arc<Stored>)| consider(*index, one, request, wishes, now);
    let verdicts: Vec<_> = candidates.iter().map(verdict).collect();
    let best = verdicts.iter().min_by_key(|verdict| rank(verdict)).copied();
    best.or_else(|| begun(stored, request, wishes, now)).unwrap_or(Verdict::Miss(missed))
}

/// What one answer with the right bytes is good for.
fn consider(index: usize, one: &Stored, request: &Parts, wishes: &Wishes, now: Instant) -> Verdict {
    let age = one.age(now);
    let refused = refuses(one, wishes, age) || conditions::evaluate(one, request) == Outcome::Failed;
    if one.terms.needs_proof {
        return Verdict::Validate(index, Why::Stale);
    }
    if refused {
        return Verdict::Validate(index, Why::Request);
    }
    let staleness = one.terms.staleness(age);
    if one.terms.is_fresh(age) {
        return Verdict::Serve(index);
    }
    if one.terms.forbids_stale || wishes.min_fresh.is_some() {
        return Verdict::Validate(index, Why::Stale);
    }
    if wishes.max_stale.is_some_and(|limit| staleness <= limit) {
        return Verdict::Serve(index);
    }
    if staleness < one.terms.stale_while_revalidate {
        return Verdict::ServeAndRefresh(index);
    }
    Verdict::Validate(index, Why::Stale)
}

/// Whether the client's own directives refuse an answer of this age (RFC 9111 §5.2.1).
pub(super) fn refuses(one: &Stored, wishes: &Wishes, age: Duration) -> bool {
    let left = one.terms.lifetime.saturating_sub(age);
    let is_fresh = one.terms.is_fresh(age);
    wishes.no_cache
        || wishes.max_age.is_some_and(|limit| limit.is_zero() || age > limit)
        || wishes.min_fresh.is_some_and(|wanted| is_fresh && left < wanted)
}

/// Whether the kept bytes are those that the request asks for.
pub(super) fn has_bytes(one: &Stored, request: &Parts) -> bool {
    let wanted = wanted(request);
    match one.extent {
        _ if !one.answers(&request.method) => false,
        Extent::Head | Extent::Whole(_) => true,
        Extent::Part(part) => {
            wanted.is_some_and(|wanted| wanted.of_part(&part).is_some())
                && conditions::allows_range(one, request)
        }
    }
}

/// The range a GET asks for; a range means nothing to other methods (RFC 9110 §14.2).
pub(super) fn wanted(request: &Parts) -> Option<Wanted> {
    (request.method == Method::GET).then(|| ranges::wanted(&request.headers))?
}

/// A kept beginning of the whole that is asked for. A stale one is of use only if the upstream can tell by a strong
/// validator whether its end still belongs to it.
fn begun(stored: &[Arc<Stored>], request: &Parts, wishes: &Wishes, now: Instant) -> Option<Verdict> {
    if request.method != Method::GET || request.headers.contains_key(http::header::RANGE) {
        return None;
    }
    let is_begun = |one: &Stored| {
        let age = one.age(now);
        let is_usable = one.terms.is_fresh(age) && !one.terms.needs_proof && !refuses(one, wishes, age);
        matches!(one.extent, Extent::Part(part) if part.first == 0 && part.is_exact() && !part.reaches_end)
            && one.is_selected_by(request)
            && (is_usable || one.strong_etag().is_some())
    };
    let begun = stored.iter().enumerate().filter(|(_, one)| is_begun(one));
    begun.max_by_key(|(_, one)| one.received_at).map(|(index, _)| Verdict::Complete(index))
}

fn rank(verdict: &Verdict) -> u8 {
    match verdict {
        Verdict::Serve(_) => 0,
        Verdict::ServeAndRefresh(_) => 1,
        _ => 2,
    }
}

/// The reason that came nearest to an answer.
fn later(one: Why, other: Why) -> Why {
    if one == Why::Partial { one } else { other }
}
