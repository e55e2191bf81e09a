//! Decides what is answered without a call, and what is kept of an answer: attachments under proofs, everything else by HTTP's rules.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use http::request::Parts;
use http::{Method, Response, StatusCode};
use tokio::time::Instant;

use crate::admit::Pass;
use crate::body::Body;
use crate::clock::Clock;
use crate::route::{Access, CacheRule, Kind, Route, RouteId};

mod ask;
mod budget;
mod contents;
mod disk;
mod fill;
mod flight;
mod growing;
mod key;
mod marks;
mod message;
mod note;
mod purge;
mod rules;
mod sealed;
mod settle;
mod slot;
mod standard;
mod store;
mod stream;
mod telling;
mod whole;

pub use disk::{Disk, DiskSettings, Fault, Glance as DiskGlance, Writer};
pub use note::{Excuse, Note, Stored, Why};
pub use purge::Purge;
pub use rules::Trouble;
pub use slot::Slot;
pub use telling::{Told, Void};

use ask::{Ask, Manner};
use budget::Budget;
use flight::Flights;
use marks::{Marks, Subject};
use slot::{Plan, Write};
use store::Store;

/// What the cache must know.
#[derive(Debug, Clone)]
pub struct CacheSettings {
    /// Off: nothing is looked up, shared or kept.
    pub mode: Mode,
    /// Bytes kept in all, bodies, fields and keys.
    pub memory: u64,
    /// Largest body kept.
    pub max_entry: u64,
    /// Bytes of bodies beyond `memory`: on their way into the cache, or pushed out of it but still being read.
    pub fill: u64,
    /// A body that nobody reads any more is fetched to its end if so many percent of it are there.
    pub finish_percent: u64,
    /// How long the API's yes to a credential is good for; zero asks every time.
    pub proof_ttl: Duration,
    /// Routes whose answers are kept for so long, whatever the API says.
    pub rules: HashMap<RouteId, Duration>,
    /// Attachments of more bytes than this go to the disk, if there is one.
    pub disk_from: u64,
}

/// Whether the cache takes part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Keeps what the rules allow.
    On,
    /// Keeps nothing.
    Off,
}

/// What a request brings besides its head. Its fields alone do not tell: HTTP/2 needs none for a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Carries {
    /// Bytes, which no key knows.
    Body,
    /// Nothing.
    Nothing,
}

/// What the cache has to say to a request.
#[derive(Debug)]
pub enum Lookup {
    /// Must be fetched.
    Fetch(Slot),
    /// The bytes are kept, but the API must first confirm with a HEAD that this tenant may have them.
    Prove(Slot),
    /// Answered without a call.
    Ready(Response<Body>, Note),
    /// Answered without a call, though what is kept should be confirmed meanwhile.
    Stale(Response<Body>, Note, Slot),
    /// The client wants no call, and without one there is no answer.
    Unanswerable,
}

/// What came of a proof.
#[derive(Debug)]
pub enum Proved {
    /// The API confirms this tenant's access, but not to what is kept: fetch.
    Fetch(Slot),
    /// The kept bytes are this tenant's to have.
    Holds(Response<Body>, Note),
    /// The API's no, which has no body because a HEAD asked.
    Said(Response<Body>, Note),
}

/// What becomes of an answer.
#[derive(Debug)]
pub enum Settled {
    /// It says nothing about what was asked: ask again, plainly.
    Again(Slot),
    /// What the client gets: the answer, or what is kept, if the upstream confirmed it or may be covered for.
    Answer(Response<Body>, Note),
}

/// The cache at a glance, for status and metrics.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Glance {
    /// Attachments, proofs and answers in memory.
    pub entries: u64,
    /// Bytes in memory, bodies, fields and keys.
    pub bytes: u64,
    /// Entries that left memory to make room, since start.
    pub evicted: u64,
    /// The files, if there is a disk tier.
    pub disk: Option<DiskGlance>,
}

/// Kept answers. Cloning shares them.
#[derive(Debug, Clone)]
pub struct Cache {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    settings: CacheSettings,
    clock: Clock,
    store: Store,
    disk: Option<Disk>,
    marks: Arc<Marks>,
    flights: Flights,
    budget: Budget,
}

/// How long a request may wait for what another one fetches.
pub type Patience<'a> = &'a (dyn Fn() -> Duration + Sync);

/// A read, and how long it may wait for the answer to another one.
struct Query<'a> {
    route: &'a Route,
    pass: &'a Pass,
    head: &'a Parts,
    manner: Manner,
    began_at: Instant,
    patience: Patience<'a>,
    /// Before that.
    spent: Duration,
}

impl Cache {
    /// An empty cache in memory, above the files of `disk`.
    pub fn new(settings: CacheSettings, disk: Option<Disk>, clock: Clock) -> Self {
        Self::with(settings, disk, clock, Marks::new())
    }

    /// The same for one of several replicas that tell each other what is void; `key` is theirs alone.
    pub fn agreeing(settings: CacheSettings, disk: Option<Disk>, clock: Clock, key: &[u8]) -> Self {
        Self::with(settings, disk, clock, Marks::agreed(key))
    }

    fn with(settings: CacheSettings, disk: Option<Disk>, clock: Clock, marks: Marks) -> Self {
        let below = disk.clone();
        let store = Store::new(settings.memory, move |key, content| {
            if let Some(disk) = &below {
                disk.keep(key, content.shape.clone(), Arc::clone(&content.chunks));
            }
        });
        Self {
            shared: Arc::new(Shared {
                store,
                disk,
                clock,
                marks: Arc::new(marks),
                flights: Flights::default(),
                budget: Budget::new(settings.memory.saturating_add(settings.fill)),
                settings,
            }),
        }
    }

    /// Decides whether the request can be answered from what is kept, or from what another request is fetching:
    /// for that it waits at most `patience`, which is asked for only then.
    ///
    /// # Drop
    /// Dropping the future changes nothing.
    pub async fn lookup(
        &self,
        route: &Route,
        pass: &Pass,
        (head, carries): (&Parts, Carries),
        patience: Patience<'_>,
    ) -> Lookup {
        let shared = &self.shared;
        let ask = match (shared.settings.mode, route.rule(), carries) {
            (Mode::Off, ..) | (_, CacheRule::Never, _) => Ask::Bypass(Why::Bypass),
            (Mode::On, _, Carries::Body) if head.method.is_safe() => Ask::Bypass(Why::Bypass),
            (Mode::On, CacheRule::Contents | CacheRule::Standard, _) => ask::ask(head),
        };
        match ask {
            Ask::Bypass(why) if route.family().access == Access::Read => {
                Lookup::Fetch(Slot::new(route, pass, why, Plan::Pass))
            }
            Ask::Bypass(_) => Lookup::Fetch(shared.write(route, pass, head)),
            Ask::Read(manner) => {
                let began_at = shared.clock.now();
                let spent = Duration::ZERO;
                let query = Query { route, pass, head, manner, began_at, patience, spent };
                let found = match route.rule() {
                    CacheRule::Contents => shared.lookup_content(&query).await,
                    CacheRule::Never | CacheRule::Standard => shared.lookup_standard(&query).await,
                };
                match found {
                    Lookup::Fetch(_) | Lookup::Prove(_) if manner.stays_here => Lookup::Unanswerable,
                    found => found,
                }
            }
        }
    }

    /// The head to send upstream: the client's own, or one that asks whether what is kept still holds.
    pub fn question(&self, slot: &Slot, head: &Parts) -> Option<Parts> {
        match &slot.plan {
            Plan::Standard(plan) => standard::question(plan, head),
            Plan::Content(_) | Plan::Pass | Plan::Write(_) => None,
        }
    }

    /// The HEAD that asks for a proof: whether this tenant may have the whole, whatever part of it the client wants.
    pub fn proof_question(head: &Parts) -> Parts {
        ask::for_proof(head)
    }

    /// Judges the answer to the HEAD that a proof asks for, which left at `asked_at`; may wait as [`Cache::lookup`] does.
    pub async fn prove(
        &self,
        slot: Slot,
        (route, head): (&Route, &Parts),
        (answer, asked_at): (Response<Body>, Instant),
        patience: Duration,
    ) -> Proved {
        let Ask::Read(manner) = ask::ask(head) else { return Proved::Fetch(slot) };
        let pass = slot.pass().clone();
        self.shared.take_back(&slot, answer.status());
        let began_at = self.shared.clock.now();
        // The proof is as fresh as any client can ask for.
        let manner = Manner { takes_kept: true, ..manner };
        let spent = slot.spent();
        let patience = || patience;
        let query = Query { route, pass: &pass, head, manner, began_at, patience: &patience, spent };
        self.shared.prove_content(&query, slot, answer, asked_at).await
    }

    /// Keeps the answer if it may be kept, while it streams past; nothing is kept before its last byte. `asked_at` is when
    /// the request left.
    pub fn settle(&self, slot: Slot, head: &Parts, response: Response<Body>, asked_at: Instant) -> Settled {
        self.shared.take_back(&slot, response.status());
        let (response, note) = match &slot.plan {
            Plan::Content(_) => self.shared.settle_content(slot, &head.method, response, asked_at),
            Plan::Standard(_) => return self.shared.settle_standard(slot, head, response, asked_at),
            Plan::Pass => (response, slot.note()),
            Plan::Write(_) => self.shared.settle_write(slot, head, response, asked_at),
        };
        Settled::Answer(response, note)
    }

    /// What may be served of what is kept when the upstream cannot be asked.
    pub fn fall_back(&self, slot: &Slot, head: &Parts, trouble: Trouble) -> Option<(Response<Body>, Note)> {
        match &slot.plan {
            Plan::Standard(plan) => self.shared.cover(plan, head, trouble),
            Plan::Content(_) | Plan::Pass | Plan::Write(_) => None,
        }
    }

    /// The request failed: whoever waits for its answer goes on alone.
    pub fn give_up(&self, mut slot: Slot) {
        slot.part();
    }

    /// Drops what is meant and says how many entries that were. Answers that are on their way are not kept either.
    pub fn purge(&self, purge: &Purge) -> u64 {
        self.shared.purge(purge)
    }

    /// Gives about half of the memory back that kept answers take, and says how many bytes. What is on disk stays.
    pub fn relieve(&self) -> u64 {
        self.shared.store.halve()
    }

    /// Counts and bytes as they are now.
    pub fn glance(&self) -> Glance {
        let (entries, bytes, evicted) = self.shared.store.glance();
        Glance { entries, bytes, evicted, disk: self.shared.disk.as_ref().map(Disk::glance) }
    }
}

impl Shared {
    /// A credential that Webex refuses loses every proof and answer, wherever the refusal came from. Elsewhere a 401 may
    /// concern one page alone.
    fn take_back(&self, slot: &Slot, status: StatusCode) {
        if status == StatusCode::UNAUTHORIZED && slot.kind == Kind::Webex {
            self.marks.mark(Subject::Credential(slot.pass.credential()));
        }
    }

    fn write(&self, route: &Route, pass: &Pass, head: &Parts) -> Slot {
        let may_be_kept =
            head.method == Method::POST && self.settings.mode == Mode::On && route.kind() == Kind::Generic;
        let write = Write {
            plan: may_be_kept.then(|| Box::new(self.plan(route, pass))),
            marks: Arc::clone(&self.marks),
            credential: pass.credential(),
            family: route.family().segment,
            target: route.target().as_str().into(),
            is_answered: false,
        };
        Slot::new(route, pass, Why::Method, Plan::Write(write))
    }
}

#[cfg(test)]
mod tests;
