//! What a request that goes upstream carries from the cache's look-up to its settling.

use std::sync::Arc;
use std::time::Duration;

use http::request::Parts;

use crate::admit::Pass;
use crate::route::{Kind, Route};
use crate::words::{CredentialId, TenantId};

use super::flight::Lead;
use super::key::Key;
use super::marks::{Epoch, Marks, Subject};
use super::note::{Note, Stored as Kept, Why};
use super::rules::{self, Audience, Stored};
use super::store::Variant;

/// A request that must go upstream, and what the cache expects of the answer. Made only by [`Cache::lookup`](super::Cache::lookup).
///
/// # Drop
/// Nothing is kept. Requests that wait for this one's answer begin anew.
#[derive(Debug)]
pub struct Slot {
    pub(super) pass: Pass,
    pub(super) kind: Kind,
    pub(super) why: Why,
    pub(super) spent: Duration,
    pub(super) plan: Plan,
    /// Others wait for the answer.
    pub(super) lead: Option<Lead>,
    /// Others of the same credential wait for the proof.
    pub(super) proving: Option<Lead>,
}

/// What the cache does with the answer.
#[derive(Debug)]
pub(super) enum Plan {
    /// An attachment: bytes once, proofs per credential.
    Content(Box<ContentPlan>),
    /// It passes.
    Pass,
    /// HTTP's rules, or one of the operator's.
    Standard(Box<StandardPlan>),
    /// It may change what is kept.
    Write(Write),
}

#[derive(Debug)]
pub(super) struct ContentPlan {
    pub(super) content: Key,
    pub(super) proof: Key,
    pub(super) epoch: Epoch,
}

#[derive(Debug)]
pub(super) struct StandardPlan {
    /// Where answers to this credential alone are kept.
    pub(super) own: Key,
    /// Where answers that HTTP gives to everybody are kept.
    pub(super) public: Option<Key>,
    pub(super) family: &'static str,
    pub(super) credential: CredentialId,
    pub(super) tenant: TenantId,
    pub(super) kind: Kind,
    pub(super) epoch: Epoch,
    /// A rule of the operator for this route.
    pub(super) ttl: Option<Duration>,
    pub(super) asked: Asked,
}

/// What the upstream is asked about what is kept.
#[derive(Debug)]
pub(super) enum Asked {
    /// Whether it is one of these, which were kept for other requests.
    AnyOf(Vec<Variant>),
    /// For the rest of this one.
    Complete(Variant),
    /// Nothing: for an answer.
    Nothing,
    /// Whether this one still holds.
    Validate(Variant),
}

impl StandardPlan {
    /// Under what an answer for this audience is kept.
    pub(super) fn key(&self, audience: Audience, stored: &Stored, request: &Parts) -> Key {
        match (audience, &self.public) {
            (Audience::Shared, Some(public)) if !rules::is_personal(stored, request) => public.clone(),
            (Audience::Shared | Audience::Tenant, _) => self.own.clone(),
        }
    }
}

impl Asked {
    /// What would answer the request if it were good.
    pub(super) fn found(&self) -> Option<&Variant> {
        match self {
            Self::Validate(variant) => Some(variant),
            Self::AnyOf(_) | Self::Complete(_) | Self::Nothing => None,
        }
    }
}

/// A write under way.
///
/// # Drop
/// Whatever came of it, it may have changed the family: nothing begun before now is good any more.
#[derive(Debug)]
pub(super) struct Write {
    pub(super) marks: Arc<Marks>,
    pub(super) credential: CredentialId,
    pub(super) family: &'static str,
    pub(super) target: Box<str>,
    /// The upstream has answered: it says itself what changed.
    pub(super) is_answered: bool,
    /// Where an answer to a POST may be kept for later GETs.
    pub(super) plan: Option<Box<StandardPlan>>,
}

impl Slot {
    pub(super) fn new(route: &Route, pass: &Pass, why: Why, plan: Plan) -> Self {
        Self::of(route.kind(), pass, why, plan)
    }

    fn of(kind: Kind, pass: &Pass, why: Why, plan: Plan) -> Self {
        Self { pass: pass.clone(), kind, why, spent: Duration::ZERO, plan, lead: None, proving: None }
    }

    /// For whom.
    pub fn pass(&self) -> &Pass {
        &self.pass
    }

    /// How long the request has waited already, for a proof or for the answer to another one: it counts as time in line.
    pub fn spent(&self) -> Duration {
        self.spent
    }

    /// The same, after so much more time.
    pub fn after(mut self, more: Duration) -> Self {
        self.spent += more;
        self
    }

    /// What the cache did, if the answer is not kept.
    pub fn note(&self) -> Note {
        Note::Forwarded(self.why, Kept::No)
    }

    /// Nobody shall wait for this request any longer.
    pub(super) fn part(&mut self) {
        self.lead.take().into_iter().chain(self.proving.take()).for_each(Lead::part);
    }

    /// A slot for unit tests of the rooms that need one.
    #[cfg(test)]
    pub(crate) fn for_tests(seed: u8) -> Self {
        Self::of(Kind::Webex, &Pass::for_tests(seed), Why::Bypass, Plan::Pass)
    }
}

impl Drop for Write {
    fn drop(&mut self) {
        self.marks.mark(Subject::OwnWrite(self.credential, self.family));
        for family in voided_by(self.family) {
            self.marks.mark(Subject::Family(family));
        }
        if !self.is_answered {
            self.void_target();
        }
    }
}

impl Write {
    /// The resource itself, asked for with this query or none.
    pub(super) fn void_target(&self) {
        self.marks.mark(Subject::Target(&self.target));
        if let Some((path, _)) = self.target.split_once('?') {
            self.marks.mark(Subject::Target(path));
        }
    }
}

/// The families whose answers a write changes (WEBEX 4): a message moves its room's last activity, a membership or a team
/// decides who sees what.
pub(super) fn voided_by(family: &str) -> &'static [&'static str] {
    match family {
        "messages" | "attachment" => &["messages", "rooms"],
        "people" => &["people"],
        "rooms" => &["memberships", "messages", "rooms"],
        "webhooks" | "contents" | "xapi" | "devices" | "events" | "access_token" => &[],
        _ => &["memberships", "messages", "people", "rooms", "team", "teams"],
    }
}
