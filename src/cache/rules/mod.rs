//! Decides what HTTP allows a cache: what may be kept, used, confirmed and sliced (RFC 9111, 5861, 9213, and 9110's
//! conditions and ranges). No clock, no lock, no I/O, no bytes: `now` is an argument.
#![allow(dead_code, reason = "the store around these rules is built next")]
#![allow(unused_imports, reason = "the store around these rules is built next")]

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

pub(super) use answer::{Content, Reply, answer};
pub(super) use freshness::{Terms, Timing};
pub(super) use invalidation::{also_outdated, invalidates};
pub(super) use judge::{Verdict, Why, judge};
pub(super) use partial::{Joined, combine, continuation};
pub(super) use ranges::Part;
pub(super) use stale::{Trouble, may_serve_stale};
pub(super) use stored::{Extent, Stored};
pub(super) use storing::{Audience, keep, keep_for, keep_under_proof};
pub(super) use validation::{
    Confirmed, confirmed, merge, question, question_of_variants, refutes, update_head,
};

#[cfg(test)]
mod tests;
