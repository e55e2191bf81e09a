//! Decides what an answer of the upstream means for what HTTP's own rules let us keep, and what the client gets.

use std::sync::Arc;

use bytes::Bytes;
use http::request::Parts;
use http::response::Parts as Answer;
use http::{Method, Response, StatusCode};
use tokio::time::Instant;

use crate::body::Body;
use crate::route::Kind;

use super::ask::varies_by_indifferent;
use super::flight::{Flowing, Lead};
use super::growing::Growing;
use super::key::Key;
use super::marks::Subject;
use super::message::message_in;
use super::note::{Note, Stored as Kept};
use super::rules::{self, Audience, Joined, Stored, Timing, Trouble};
use super::sealed::may_be_sealed;
use super::slot::{Asked, Plan, Slot, StandardPlan};
use super::store::{Basis, Variant};
use super::stream::Keep;
use super::{Settled, Shared};

impl Shared {
    /// Keeps, confirms or completes what is kept. `asked_at` is when the request left.
    pub(super) fn settle_standard(
        self: &Arc<Self>,
        mut slot: Slot,
        head: &Parts,
        response: Response<Body>,
        asked_at: Instant,
    ) -> Settled {
        let note = slot.note();
        let Plan::Standard(plan) = std::mem::replace(&mut slot.plan, Plan::Pass) else {
            return Settled::Answer(response, note);
        };
        let timing = self.timing(asked_at);
        if let Some((response, note)) = self.cover(&plan, head, Trouble::Status(response.status())) {
            slot.part();
            return Settled::Answer(response, note);
        }
        let is_304 = response.status() == StatusCode::NOT_MODIFIED;
        let answered = match &plan.asked {
            Asked::AnyOf(variants) if is_304 => {
                self.confirm(&mut slot, &plan, (head, variants), response, &timing)
            }
            Asked::Validate(variant) if is_304 => {
                self.confirm(&mut slot, &plan, (head, std::slice::from_ref(variant)), response, &timing)
            }
            Asked::Complete(part) => self.complete(&mut slot, &plan, (head, part), response, &timing),
            Asked::AnyOf(_) | Asked::Nothing | Asked::Validate(_) => {
                Some(self.take(&mut slot, &plan, head, response, &timing))
            }
        };
        match answered {
            Some((response, note)) => Settled::Answer(response, note),
            None => {
                slot.plan = Plan::Standard(Box::new(StandardPlan { asked: Asked::Nothing, ..*plan }));
                Settled::Again(slot)
            }
        }
    }

    /// What a write changed is void; an answer that says it is what a GET would get may be kept.
    pub(super) fn settle_write(
        self: &Arc<Self>,
        mut slot: Slot,
        head: &Parts,
        response: Response<Body>,
        asked_at: Instant,
    ) -> (Response<Body>, Note) {
        let note = slot.note();
        let Plan::Write(write) = &mut slot.plan else { return (response, note) };
        write.is_answered = true;
        let status = response.status();
        if rules::invalidates(&head.method, status) {
            write.void_target();
            for target in rules::also_outdated(head, response.headers()) {
                self.marks.mark(Subject::Target(target.as_str()));
            }
            if let Some(message) = message_in(&write.target).filter(|_| head.method == Method::DELETE) {
                self.marks.mark(Subject::Message(&message));
            }
        }
        let Some(mut plan) = write.plan.take() else { return (response, note) };
        plan.epoch = self.marks.now();
        let (answer, body) = response.into_parts();
        let kept = rules::keep(head, &answer, &self.timing(asked_at));
        let keep = kept.map(|(stored, audience)| self.keep(&plan, head, stored, audience));
        let response = Response::from_parts(answer, body);
        match keep {
            Some(keep) => {
                let (response, kept) = self.stream(None, response, Some(keep));
                (response, Note::Forwarded(slot.why, kept))
            }
            None => (response, note),
        }
    }

    /// A 304 to our question: what was asked about is good again. None if it speaks of something else.
    fn confirm(
        &self,
        slot: &mut Slot,
        plan: &StandardPlan,
        (head, asked): (&Parts, &[Variant]),
        response: Response<Body>,
        timing: &Timing,
    ) -> Option<(Response<Body>, Note)> {
        let stored: Vec<_> = asked.iter().map(|variant| Arc::clone(&variant.stored)).collect();
        if !stored.iter().any(|stored| stored.has_validator()) {
            // Ours had nothing to ask with: it answers the client's own condition.
            slot.part();
            return Some((response, slot.note()));
        }
        let (answer, _) = response.into_parts();
        let meant = asked.get(rules::confirmed(&stored, &answer)?)?;
        let confirmed = rules::merge(&meant.stored, head, &answer, timing)?;
        let variant = Variant { stored: Arc::new(confirmed.stored), epoch: plan.epoch, ..meant.clone() };
        self.forget(plan, meant);
        if let Some(audience) = confirmed.audience {
            self.insert(plan.key(audience, &variant.stored, head), head, variant.clone());
        }
        if let Some(lead) = slot.lead.take() {
            let (status, headers) = (variant.stored.status, variant.stored.headers.clone());
            lead.share(Flowing { status, headers, body: Growing::kept(&variant.chunks) });
        }
        Some((self.respond(&variant, head), Note::Revalidated))
    }

    /// The answer to a question for the rest of what is kept. None if it is neither the rest nor a whole.
    fn complete(
        self: &Arc<Self>,
        slot: &mut Slot,
        plan: &StandardPlan,
        (head, part): (&Parts, &Variant),
        response: Response<Body>,
        timing: &Timing,
    ) -> Option<(Response<Body>, Note)> {
        let (answer, body) = response.into_parts();
        match rules::combine(&part.stored, head, &answer, timing) {
            Joined::Apart => {
                self.forget(plan, part);
                None
            }
            Joined::Rest(stored, audience) => {
                let mut whole = Response::new(Body::chained(Arc::clone(&part.chunks), body));
                *whole.status_mut() = stored.status;
                whole.headers_mut().clone_from(&stored.headers);
                let keep = audience.map(|audience| self.keep(plan, head, *stored, audience));
                let (whole, kept) = self.stream(slot.lead.take(), whole, keep);
                Some((whole, Note::Forwarded(slot.why, kept)))
            }
            Joined::Whole => Some(self.take(slot, plan, head, Response::from_parts(answer, body), timing)),
        }
    }

    /// An answer of its own: kept if it may be, shared if others wait for the same.
    fn take(
        self: &Arc<Self>,
        slot: &mut Slot,
        plan: &StandardPlan,
        head: &Parts,
        response: Response<Body>,
        timing: &Timing,
    ) -> (Response<Body>, Note) {
        let (answer, body) = response.into_parts();
        if head.method == Method::HEAD {
            let kept = self.take_head(plan, head, &answer, timing);
            return (Response::from_parts(answer, body), Note::Forwarded(slot.why, kept));
        }
        let kept = match (plan.kind, plan.ttl) {
            // No negative caching: a fresh message id may answer 404 for a moment (CACHE 1).
            (Kind::Webex, _) if answer.status != StatusCode::OK => None,
            (_, Some(ttl)) => {
                rules::keep_for(head, &answer, timing, ttl).map(|stored| (stored, Audience::Tenant))
            }
            (_, None) => rules::keep(head, &answer, timing),
        };
        if let Some(found) = plan.asked.found()
            && (kept.is_none() && answer.status.is_success() || rules::refutes(&found.stored, &answer))
        {
            self.forget(plan, found);
        }
        let is_wanted = kept.is_some() || slot.lead.as_ref().is_some_and(Lead::is_followed);
        if is_wanted && !is_shareable(plan.kind, &answer, kept.is_some()) {
            slot.part();
        }
        let response = Response::from_parts(answer, body);
        let keep = kept.map(|(stored, audience)| self.keep(plan, head, stored, audience));
        if keep.is_none() && (slot.lead.is_none() || !is_wanted) {
            return (response, slot.note());
        }
        let (response, kept) = self.stream(slot.lead.take(), response, keep);
        (response, Note::Forwarded(slot.why, kept))
    }

    /// The answer to a HEAD speaks about what is kept for GET (RFC 9111 §4.3.5), and answers later HEADs.
    fn take_head(
        self: &Arc<Self>,
        plan: &StandardPlan,
        head: &Parts,
        answer: &Answer,
        timing: &Timing,
    ) -> Kept {
        if plan.kind == Kind::Webex && (answer.status != StatusCode::OK || plan.ttl.is_some()) {
            return Kept::No;
        }
        if let Some(found) = plan.asked.found().filter(|_| answer.status == StatusCode::OK) {
            self.forget(plan, found);
            if let Some(confirmed) = rules::update_head(&found.stored, head, answer, timing) {
                let Some(audience) = confirmed.audience else { return Kept::No };
                let stored = Arc::new(confirmed.stored);
                let variant = Variant { stored, epoch: plan.epoch, ..found.clone() };
                self.insert(plan.key(audience, &variant.stored, head), head, variant);
                return Kept::Yes;
            }
        }
        let Some((stored, audience)) = rules::keep(head, answer, timing) else { return Kept::No };
        (self.keep(plan, head, stored, audience))(Arc::from([]));
        Kept::Yes
    }

    /// What to do with the bytes once all are there.
    fn keep(self: &Arc<Self>, plan: &StandardPlan, head: &Parts, stored: Stored, audience: Audience) -> Keep {
        let (shared, key) = (Arc::clone(self), plan.key(audience, &stored, head));
        let (epoch, kind, tenant) = (plan.epoch, plan.kind, plan.tenant);
        let basis = if plan.ttl.is_some() { Basis::Rule } else { Basis::Http };
        let head = head.clone();
        Box::new(move |chunks: Arc<[Bytes]>| {
            let bytes = chunks.iter().map(|chunk| u64::try_from(chunk.len()).unwrap_or(u64::MAX)).sum();
            let is_sealed = kind == Kind::Webex && may_be_sealed(&stored.headers, &chunks);
            let stands = shared.marks.stands(epoch, Subject::Underway);
            let Some(stored) = stored.finished(bytes).filter(|_| stands && !is_sealed) else { return };
            let variant = Variant { tenant, stored: Arc::new(stored), chunks, epoch, basis };
            shared.insert(key, &head, variant);
        })
    }

    fn insert(&self, key: Key, head: &Parts, variant: Variant) {
        let newer = Arc::clone(&variant.stored);
        self.store.keep_variant(key, variant, |older| !older.stored.is_replaced_by(&newer, head));
    }

    fn forget(&self, plan: &StandardPlan, outdated: &Variant) {
        for key in [Some(&plan.own), plan.public.as_ref()].into_iter().flatten() {
            self.store.drop_variant(key, |variant| Arc::ptr_eq(&variant.stored, &outdated.stored));
        }
    }

    fn timing(&self, asked_at: Instant) -> Timing {
        Timing { asked_at, received_at: self.clock.now(), received_wall: self.clock.wall() }
    }
}

/// Whether requests of the same credential that came meanwhile may have this answer, too. With Webex every plain 200,
/// though it says `no-cache`: it is as fresh as any of them could ask for (CACHE 2).
fn is_shareable(kind: Kind, answer: &Answer, is_kept: bool) -> bool {
    match kind {
        Kind::Generic => is_kept,
        Kind::Webex => {
            answer.status == StatusCode::OK
                && !varies_by_indifferent(&answer.headers)
                && !rules::forbids_keeping(&answer.headers)
        }
    }
}
