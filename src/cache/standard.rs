//! Decides what is answered from what HTTP's own rules let us keep: everything but attachments.

use std::sync::Arc;

use http::request::Parts;
use http::{Method, Response};
use tokio::time::Instant;

use crate::admit::Pass;
use crate::body::Body;
use crate::route::{Kind, Route};

use super::ask::distinctive;
use super::flight::{Flight, Followed, Wanted};
use super::key::Key;
use super::marks::Subject;
use super::note::{Excuse, Note, Why};
use super::rules::{self, Trouble, Verdict};
use super::slot::{Asked, Plan, Slot, StandardPlan};
use super::store::{Basis, Variant};
use super::{Lookup, Query, Shared, whole};

impl Shared {
    /// Looks an answer up; may wait for another request that fetches the same.
    pub(super) async fn lookup_standard(&self, query: &Query<'_>) -> Lookup {
        let mut slot = Slot::new(query.route, query.pass, Why::UriMiss, Plan::Pass);
        loop {
            let mut plan = self.plan(query.route, query.pass);
            let kept = self.kept(&plan);
            let now = self.clock.now();
            let at = |index: usize| kept.get(index).cloned();
            let (asked, why) = match judge(&kept, query.head, now) {
                Verdict::Serve(index) => match at(index) {
                    Some(variant) => {
                        let note = Note::Hit(variant.stored.fresh_for(now));
                        return Lookup::Ready(self.respond(&variant, query.head), note);
                    }
                    None => (None, Why::UriMiss),
                },
                Verdict::ServeAndRefresh(index) => match at(index) {
                    Some(variant) => return self.serve_and_refresh(query, plan, slot, variant),
                    None => (None, Why::UriMiss),
                },
                Verdict::Validate(index, why) => (at(index).map(Asked::Validate), why.into()),
                Verdict::Complete(index) => (at(index).map(Asked::Complete), Why::Partial),
                Verdict::Miss(rules::Why::VaryMiss) => (Some(Asked::AnyOf(kept)), Why::VaryMiss),
                Verdict::Miss(why) => (None, why.into()),
                Verdict::Unanswerable => return Lookup::Unanswerable,
            };
            plan.asked = asked.unwrap_or(Asked::Nothing);
            let (epoch, wanted) = (plan.epoch, wanted(&plan, query));
            slot.why = why;
            slot.plan = Plan::Standard(Box::new(plan));
            let Some(wanted) = wanted else { return Lookup::Fetch(slot) };
            let may_join = |flight: &Flight| self.may_join(flight, query);
            match self.flights.join_or_lead(wanted, may_join, epoch, query.pass.credential()) {
                Err(lead) => {
                    slot.lead = Some(lead);
                    return Lookup::Fetch(slot);
                }
                Ok(flight) => match self.follow(query, &mut slot, flight).await {
                    Followed::Again => {}
                    Followed::Alone => return Lookup::Fetch(slot),
                    Followed::Flowing(flowing) => {
                        return match flowing.read(&flowing.headers) {
                            Some(response) => Lookup::Ready(response, Note::Collapsed(slot.why)),
                            None => Lookup::Fetch(slot),
                        };
                    }
                },
            }
        }
    }

    /// What may be served of what is kept instead of `trouble`.
    pub(super) fn cover(
        &self,
        plan: &StandardPlan,
        head: &Parts,
        trouble: Trouble,
    ) -> Option<(Response<Body>, Note)> {
        // It was found before the upstream was asked: a refused credential may have lost it since.
        let variant = plan.asked.found().filter(|variant| self.stands(plan, variant))?;
        let excuse = if trouble == Trouble::GateClosed { Excuse::Gate } else { Excuse::Failed };
        rules::may_serve_stale(&variant.stored, head, self.clock.now(), trouble)
            .then(|| (self.respond(variant, head), Note::Stale(excuse)))
    }

    /// The client's answer from what is kept.
    pub(super) fn respond(&self, variant: &Variant, head: &Parts) -> Response<Body> {
        rules::answer(&variant.stored, head, self.clock.now()).with(|part| whole::read(&variant.chunks, part))
    }

    /// One request at a time validates what all others are served meanwhile.
    fn serve_and_refresh(
        &self,
        query: &Query<'_>,
        plan: StandardPlan,
        slot: Slot,
        variant: Variant,
    ) -> Lookup {
        let response = self.respond(&variant, query.head);
        let note = Note::Stale(Excuse::Revalidating);
        let wanted = Wanted { key: plan.own.clone(), fields: distinctive(&query.head.headers) };
        let may_join = |flight: &Flight| self.may_join(flight, query);
        match self.flights.join_or_lead(wanted, may_join, plan.epoch, query.pass.credential()) {
            Ok(_refreshing) => Lookup::Ready(response, note),
            Err(lead) => {
                let plan = Plan::Standard(Box::new(StandardPlan { asked: Asked::Validate(variant), ..plan }));
                Lookup::Stale(response, note, Slot { why: Why::Stale, plan, lead: Some(lead), ..slot })
            }
        }
    }

    /// Where answers to such a request are kept, and since when they may be trusted.
    pub(super) fn plan(&self, route: &Route, pass: &Pass) -> StandardPlan {
        StandardPlan {
            own: Key::own(route, pass),
            public: Key::public(route),
            family: route.family().segment,
            credential: pass.credential(),
            tenant: pass.tenant(),
            kind: route.kind(),
            epoch: self.marks.now(),
            ttl: self.settings.rules.get(&route.id()).copied(),
            asked: Asked::Nothing,
        }
    }

    /// What is kept for this query and still stands.
    fn kept(&self, plan: &StandardPlan) -> Vec<Variant> {
        let keys = [Some(&plan.own), plan.public.as_ref()];
        let found = keys.into_iter().flatten().filter_map(|key| self.store.variants(key));
        let all = found.flat_map(|variants| variants.to_vec());
        all.filter(|variant| self.stands(plan, variant)).collect()
    }

    /// Whether nothing has happened since the answer was asked for that makes it void: a refused credential, a write to
    /// the resource, and with Webex a write of the same tenant to the family, or of anybody if a rule keeps the answer.
    fn stands(&self, plan: &StandardPlan, variant: &Variant) -> bool {
        let stands = |subject| self.marks.stands(variant.epoch, subject);
        let is_webex = plan.kind == Kind::Webex;
        stands(Subject::Target(plan.own.target()))
            && stands(Subject::Credential(plan.credential))
            && (!is_webex || stands(Subject::OwnWrite(plan.credential, plan.family)))
            && (variant.basis == Basis::Http || stands(Subject::Family(plan.family)))
    }
}

/// What is kept, judged by the rules. Where nothing is, they need not be asked: what the request wishes was read before.
fn judge(kept: &[Variant], head: &Parts, now: Instant) -> Verdict {
    if kept.is_empty() {
        return Verdict::Miss(rules::Why::UriMiss);
    }
    let stored: Vec<_> = kept.iter().map(|variant| Arc::clone(&variant.stored)).collect();
    rules::judge(&stored, head, now)
}

/// The head to send upstream, if it is another than the client's.
pub(super) fn question(plan: &StandardPlan, head: &Parts) -> Option<Parts> {
    match &plan.asked {
        Asked::AnyOf(variants) => {
            let stored: Vec<_> = variants.iter().map(|variant| Arc::clone(&variant.stored)).collect();
            Some(rules::question_of_variants(&stored, head))
        }
        Asked::Complete(variant) => Some(rules::continuation(&variant.stored, head)),
        Asked::Nothing => None,
        Asked::Validate(variant) => Some(rules::question(&variant.stored, head)),
    }
}

/// What others must want to share this request's answer; none if it is shared with nobody.
fn wanted(plan: &StandardPlan, query: &Query<'_>) -> Option<Wanted> {
    let is_shared = query.head.method == Method::GET && query.manner.wants_whole && query.manner.takes_kept;
    is_shared.then(|| Wanted { key: plan.own.clone(), fields: distinctive(&query.head.headers) })
}

impl From<rules::Why> for Why {
    fn from(why: rules::Why) -> Self {
        match why {
            rules::Why::Method => Self::Method,
            rules::Why::Partial => Self::Partial,
            rules::Why::Request => Self::Request,
            rules::Why::Stale => Self::Stale,
            rules::Why::UriMiss => Self::UriMiss,
            rules::Why::VaryMiss => Self::VaryMiss,
        }
    }
}
