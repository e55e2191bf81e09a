//! Decides who gets the bytes of an attachment (CACHE 1): kept once for all, served to whoever the API said yes to.

use std::sync::Arc;
use std::time::Duration;

use http::request::Parts;
use http::{HeaderMap, HeaderName, Method, Response, StatusCode, header};
use tokio::time::Instant;

use crate::admit::Pass;
use crate::body::Body;

use super::flight::{Flight, Followed, Wanted};
use super::key::Key;
use super::marks::{Epoch, Subject};
use super::message::message_of;
use super::note::{Note, Stored, Why};
use super::rules::{self, Content as Bytes, Extent};
use super::slot::{ContentPlan, Plan, Slot};
use super::store::{Content, Proof};
use super::stream::{Keep, stated_length};
use super::whole::Whole;
use super::{Lookup, Proved, Query, Shared};

/// What can be had without asking the API.
enum Obtained {
    /// Nothing: it must be fetched.
    Fetch,
    /// What is kept.
    Kept(Response<Body>),
    /// Something else than this tenant was shown is kept.
    Other,
    /// What another request is fetching.
    Read(Response<Body>),
    /// Something, but not without a proof.
    Unproved,
}

impl Shared {
    /// Looks an attachment up; may wait for another request that fetches or proves the same.
    pub(super) async fn lookup_content(&self, query: &Query<'_>) -> Lookup {
        let plan = ContentPlan {
            content: Key::content(query.route),
            proof: Key::proof(query.route, query.pass),
            epoch: self.marks.now(),
        };
        let (proof_key, takes_kept) = (plan.proof.clone(), query.manner.takes_kept);
        let why = if takes_kept { Why::UriMiss } else { Why::Request };
        // What others have read shows in nothing that a tenant without a proof of its own is told.
        let mut known = self.store.proof(&proof_key);
        let is_renewed = takes_kept && known.is_some();
        let mut slot = Slot::new(query.route, query.pass, why, Plan::Content(Box::new(plan)));
        let mut now = query.began_at;
        loop {
            let proof = known.take().or_else(|| self.store.proof(&proof_key));
            let proof = proof.filter(|proof| self.marks.uphold(&proof.standing));
            let fresh =
                proof.filter(|proof| takes_kept && !self.left(proof, query.manner.max_age, now).is_zero());
            let obtained = if query.head.method == Method::HEAD {
                obtain_head(query, fresh.as_deref(), now)
            } else {
                self.obtain(query, &mut slot, fresh.as_deref()).await
            };
            match (obtained, &fresh) {
                (Obtained::Fetch, _) => return Lookup::Fetch(slot),
                (Obtained::Kept(response), Some(proof)) => {
                    let left = self.left(proof, Duration::MAX, self.clock.now());
                    return Lookup::Ready(response, Note::Hit(left));
                }
                (Obtained::Read(response) | Obtained::Kept(response), _) => {
                    return Lookup::Ready(response, Note::Collapsed(slot.why));
                }
                (Obtained::Other | Obtained::Unproved, _) => {}
            }
            if self.is_to_prove(query, &proof_key, &mut slot).await {
                return if query.head.method == Method::HEAD {
                    Lookup::Fetch(slot)
                } else {
                    if is_renewed {
                        slot.why = Why::Stale;
                    }
                    Lookup::Prove(slot)
                };
            }
            now = self.clock.now();
        }
    }

    /// Whether this request has to ask for the proof itself; false after another one of its credential has.
    async fn is_to_prove(&self, query: &Query<'_>, key: &Key, slot: &mut Slot) -> bool {
        // Who wants a proof of his own for every use gets one.
        if !query.manner.takes_kept || self.settings.proof_ttl.is_zero() {
            return true;
        }
        let wanted = Wanted { key: key.clone(), fields: Box::default() };
        let may_join = |flight: &Flight| self.may_join(flight, query);
        match self.flights.join_or_lead(wanted, may_join, self.marks.now(), query.pass.credential()) {
            Ok(flight) => !matches!(self.follow(query, slot, flight).await, Followed::Again),
            Err(lead) => {
                slot.proving = Some(lead);
                true
            }
        }
    }

    /// Judges the answer to the HEAD that a proof asks for.
    pub(super) async fn prove_content(
        &self,
        query: &Query<'_>,
        mut slot: Slot,
        answer: Response<Body>,
        asked_at: Instant,
    ) -> Proved {
        let Plan::Content(plan) = &slot.plan else { return Proved::Fetch(slot) };
        let (content, key) = (plan.content.clone(), plan.proof.clone());
        match answer.status() {
            StatusCode::OK if is_storable(answer.headers()) => {}
            // The API does not know HEAD here: only the request itself can tell.
            StatusCode::METHOD_NOT_ALLOWED | StatusCode::NOT_IMPLEMENTED => return Proved::Fetch(slot),
            status if status.is_client_error() || status.is_server_error() => {
                self.refused(&slot, status);
                slot.part();
                return Proved::Said(answer, slot.note());
            }
            _ => return Proved::Fetch(slot),
        }
        let proof = self.yes(&slot.pass, plan, answer.headers(), asked_at);
        self.store.keep_proof(key, Arc::clone(&proof));
        // Others of this credential waited for the proof: now it is theirs, too.
        slot.proving = None;
        loop {
            return match self.obtain(query, &mut slot, Some(&proof)).await {
                Obtained::Kept(response) => Proved::Holds(response, Note::Proved),
                Obtained::Read(response) => Proved::Holds(response, Note::Collapsed(slot.why)),
                Obtained::Fetch | Obtained::Unproved => Proved::Fetch(slot),
                Obtained::Other => {
                    self.drop_content(&content);
                    continue;
                }
            };
        }
    }

    /// Records what the API said, and keeps the bytes while they stream past.
    pub(super) fn settle_content(
        self: &Arc<Self>,
        mut slot: Slot,
        method: &Method,
        response: Response<Body>,
        asked_at: Instant,
    ) -> (Response<Body>, Note) {
        let Plan::Content(plan) = &slot.plan else { return (response, slot.note()) };
        if response.status() != StatusCode::OK || !is_storable(response.headers()) {
            self.refused(&slot, response.status());
            slot.part();
            return (response, slot.note());
        }
        let proof = self.yes(&slot.pass, plan, response.headers(), asked_at);
        self.store.keep_proof(plan.proof.clone(), proof);
        slot.proving = None;
        if *method == Method::HEAD {
            return (response, Note::Forwarded(slot.why, Stored::Yes));
        }
        let (key, epoch, shape) = (plan.content.clone(), plan.epoch, shape(response.headers()));
        let shared = Arc::clone(self);
        let may_keep = tells_apart(&shape);
        let keep: Keep = Box::new(move |chunks| shared.keep_content(key, epoch, Content { shape, chunks }));
        // Trailers are words to one tenant, as fields are: those who read along have none of their own.
        let response = response.map(Body::without_trailers);
        let (response, stored) = self.stream(slot.lead.take(), response, may_keep.then_some(keep));
        (response, Note::Forwarded(slot.why, stored))
    }

    /// What is kept, or on its way, for a tenant that was shown what `proof` says.
    async fn obtain(&self, query: &Query<'_>, slot: &mut Slot, proof: Option<&Proof>) -> Obtained {
        let (key, manner) = (Key::content(query.route), query.manner);
        // A file that cannot be read now may still be there.
        let mut is_unreadable = false;
        loop {
            if let Some(whole) = self.whole(&key).filter(|_| !is_unreadable) {
                let Some(proof) = proof else { return Obtained::Unproved };
                if !is_same(whole.shape(), &proof.stored.headers) {
                    return Obtained::Other;
                }
                match self.read(&whole, proof, query.head).await {
                    Some(_) if !self.holds(proof) => return Obtained::Unproved,
                    Some(response) => return Obtained::Kept(response),
                    None => is_unreadable = true,
                }
            }
            if !manner.wants_whole {
                return Obtained::Fetch;
            }
            let wanted = Wanted { key: key.clone(), fields: Box::default() };
            let may_join = |flight: &Flight| self.may_join(flight, query);
            let (epoch, credential) = (self.marks.now(), query.pass.credential());
            let flight = match self.flights.join_or_lead(wanted, may_join, epoch, credential) {
                Ok(flight) => flight,
                // Whoever led before may have finished since.
                Err(_lead) if !is_unreadable && self.whole(&key).is_some() => continue,
                Err(lead) => {
                    slot.lead = Some(lead);
                    return Obtained::Fetch;
                }
            };
            // An answer that is still to come is as good a yes as one's own; one that came long ago may be taken back.
            let is_own = flight.credential == credential;
            if proof.is_none() && !(is_own && flight.is_asking() && manner.takes_kept) {
                return Obtained::Unproved;
            }
            match self.follow(query, slot, flight).await {
                Followed::Again => {}
                Followed::Alone => return Obtained::Fetch,
                Followed::Flowing(_) if proof.is_some_and(|proof| !self.holds(proof)) => {
                    return Obtained::Unproved;
                }
                Followed::Flowing(flowing) => {
                    let said = proof.map_or(&flowing.headers, |proof| &proof.stored.headers);
                    let is_same =
                        is_same(said, &flowing.headers) && (is_own || tells_apart(&flowing.headers));
                    let response = is_same.then(|| flowing.read(said)).flatten();
                    return response.map_or(Obtained::Fetch, Obtained::Read);
                }
            }
        }
    }

    /// The client's answer from kept bytes, under the fields of its own proof; none if they cannot be read.
    async fn read(&self, whole: &Whole, proof: &Proof, head: &Parts) -> Option<Response<Body>> {
        let reply = rules::answer(&proof.stored, head, self.clock.now());
        let body = match &reply.content {
            Bytes::Nothing => Body::empty(),
            Bytes::Slice(part) => whole.read(Some(part.clone())).await?,
            Bytes::Whole => whole.read(None).await?,
        };
        Some(reply.with(|_| body))
    }

    /// Whether a proof that a request has waited with is still good. One that was asked for this very use is, if every
    /// use asks.
    fn holds(&self, proof: &Proof) -> bool {
        let ttl = self.settings.proof_ttl;
        (ttl.is_zero() || !self.left(proof, Duration::MAX, self.clock.now()).is_zero())
            && self.marks.uphold(&proof.standing)
    }

    /// How much longer a proof is good for a client that takes answers of `max_age`; zero if it is not.
    fn left(&self, proof: &Proof, max_age: Duration, now: Instant) -> Duration {
        let age = now.saturating_duration_since(proof.proved_at);
        let is_wanted = age <= max_age;
        if is_wanted { self.settings.proof_ttl.saturating_sub(age) } else { Duration::ZERO }
    }

    /// The bytes, if they are kept. They may be older than a mark: it is proofs that marks take back.
    fn whole(&self, key: &Key) -> Option<Whole> {
        if let Some(content) = self.store.content(key) {
            return Some(Whole::Memory(content));
        }
        let disk = self.disk.as_ref()?;
        Some(Whole::Disk(disk.clone(), disk.find(key.target())?))
    }

    /// All bytes have come: they stay, unless somebody wanted them gone meanwhile.
    fn keep_content(&self, key: Key, epoch: Epoch, content: Content) {
        if !self.marks.stands(epoch, Subject::Underway) || !self.content_stands(epoch, &key) {
            return;
        }
        let bytes: u64 =
            content.chunks.iter().map(|chunk| u64::try_from(chunk.len()).unwrap_or(u64::MAX)).sum();
        match self.disk.as_ref().filter(|_| bytes > self.settings.disk_from) {
            Some(disk) => disk.keep(key.target(), content.shape, content.chunks),
            None => self.store.keep_content(key, content),
        }
    }

    fn content_stands(&self, epoch: Epoch, key: &Key) -> bool {
        self.marks.stands(epoch, Subject::Target(key.target()))
            && message_of(key.target())
                .is_none_or(|message| self.marks.stands(epoch, Subject::Message(&message)))
    }

    /// The API's yes to this request. It counts from the question: nobody knows when in between the API decided.
    /// It ends with a no to this attachment, a 401 to the credential, a deletion, a purge.
    fn yes(&self, pass: &Pass, plan: &ContentPlan, headers: &HeaderMap, asked_at: Instant) -> Arc<Proof> {
        let (target, credential) = (plan.proof.target(), pass.credential());
        let message = message_of(target);
        let subjects = [
            Subject::Target(target),
            message.as_deref().map_or(Subject::Target(target), Subject::Message),
            Subject::Access(credential, target),
            Subject::Credential(credential),
        ];
        let standing = self.marks.standing(plan.epoch, subjects);
        let extent = Extent::Whole(stated_length(headers));
        let stored = rules::keep_under_proof(headers, extent, asked_at);
        Arc::new(Proof { tenant: pass.tenant(), stored, proved_at: asked_at, standing })
    }

    /// The API's no takes back an earlier yes; a lost content goes altogether. A stranger's 404 says nothing about it.
    fn refused(&self, slot: &Slot, status: StatusCode) {
        let Plan::Content(plan) = &slot.plan else { return };
        let had_proof = self.store.proof(&plan.proof).is_some();
        // A yes that was asked for before and comes later does not outlive it.
        let take_back = || {
            self.store.remove(&plan.proof);
            self.marks.mark(Subject::Access(slot.pass.credential(), plan.proof.target()));
        };
        match status {
            StatusCode::FORBIDDEN | StatusCode::LOCKED => take_back(),
            StatusCode::GONE | StatusCode::NOT_FOUND => {
                take_back();
                if status == StatusCode::GONE || had_proof {
                    self.drop_content(&plan.content);
                    self.marks.mark(Subject::Target(plan.content.target()));
                }
            }
            _ => {}
        }
    }

    fn drop_content(&self, key: &Key) {
        self.store.remove(key);
        if let Some(disk) = &self.disk {
            disk.remove(key.target());
        }
    }
}

fn obtain_head(query: &Query<'_>, proof: Option<&Proof>, now: Instant) -> Obtained {
    let Some(proof) = proof else { return Obtained::Unproved };
    let reply = rules::answer(&proof.stored, query.head, now);
    Obtained::Kept(reply.with(|_| Body::empty()))
}

/// Only complete, unencoded answers are kept: the one form in which the bytes of an id are the same for everybody.
fn is_storable(headers: &HeaderMap) -> bool {
    let is_encoded = headers.get(header::CONTENT_ENCODING).is_some_and(|coding| coding != "identity");
    let is_part = headers.contains_key(header::CONTENT_RANGE);
    !is_encoded && !is_part && !rules::are_framed_twice(headers) && !rules::forbids_keeping(headers)
}

/// Whether a head tells its bytes from others: by their number or a tag. Otherwise no other tenant's can be known as the same.
fn tells_apart(headers: &HeaderMap) -> bool {
    [header::CONTENT_LENGTH, header::ETAG].iter().any(|name| headers.contains_key(name))
}

/// Whether two heads describe the same bytes.
fn is_same(kept: &HeaderMap, shown: &HeaderMap) -> bool {
    SHAPE.iter().all(|name| kept.get(name) == shown.get(name))
}

fn shape(headers: &HeaderMap) -> HeaderMap {
    rules::owned(SHAPE.iter().filter_map(|name| Some((name.clone(), headers.get(name)?.clone()))).collect())
}

/// What tells whether two answers have the same bytes (CACHE 1).
const SHAPE: [HeaderName; 4] =
    [header::CONTENT_LENGTH, header::CONTENT_TYPE, header::CONTENT_DISPOSITION, header::ETAG];
