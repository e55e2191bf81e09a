//! Decides what HTTP allows a cache: what may be kept, used, confirmed and sliced (RFC 9111, 5861, 9213, and 9110's
//! conditions and ranges). No clock, no lock, no I/O, no bytes: `now` is an argument.

mod list;
mod date;
mod directives;
mod targeted;
mod freshness;
mod vary;
mod fields;
mod ranges;
mod stored;
mod storing;
mod conditions;
mod judge;
mod answer;
mod validation;
mod partial;
mod stale;
mod invalidation;

pub use stale::Trouble;

pub(super) use answer::{Content, answer};
pub(super) use directives::{Wishes, forbids_keeping};
pub(super) use fields::{are_framed_twice, owned};
pub(super) use freshness::Timing;
pub(super) use invalidation::{also_outdated, invalidates};
pub(super) use judge::{Verdict, Why, judge};
pub(super) use partial::{Joined, combine, continuation};
pub(super) use stale::may_serve_stale;
pub(super) use stored::{Extent, Stored};
pub(super) use storing::{Audience, is_personal, keep, keep_for, keep_under_proof};
pub(super) use validation::{confirmed, merge, question, question_of_variants, refutes, update_head};

#[cfg(test)]
mod tests;
