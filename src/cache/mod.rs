//! Decides what is answered without a call: attachment contents, kept per tenant, served under that tenant's own proof.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::request::Parts;
use http::{Method, Response, StatusCode};
use tokio::time::Instant;

use crate::admit::Pass;
use crate::body::Body;
use crate::route::{CacheRule, Route};
use crate::words::{Outcome, TenantId};

mod entry;
mod fill;
mod key;
mod policy;

pub use policy::Why;

use entry::{Entry, Kept};
use key::Key;
use policy::Demand;

/// What the cache must know.
#[derive(Debug, Clone)]
pub struct CacheSettings {
    /// Off: nothing is looked up or kept.
    pub mode: Mode,
    /// Bytes kept in all, bodies, fields and keys.
    pub memory: u64,
    /// Largest body kept.
    pub max_entry: u64,
    /// How long the API's yes to a tenant is good for; zero asks every time.
    pub proof_ttl: Duration,
}

/// Whether the cache takes part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Keeps what the rules allow.
    On,
    /// Keeps nothing.
    Off,
}

/// Which answers an operator wants forgotten.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Purge {
    /// All.
    All,
    /// Those of one attachment, by its id.
    Content(String),
    /// Those whose path begins so.
    Prefix(String),
    /// Those of one tenant.
    Tenant(TenantId),
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
}

/// What came of a proof.
#[derive(Debug)]
pub enum Proof {
    /// The API does not confirm what is kept: fetch to learn what it says instead.
    Failed(Slot),
    /// The kept bytes are this tenant's to have.
    Holds(Response<Body>, Note),
}

/// A request that must go upstream, and what the cache expects of the answer. Made only by [`Cache::lookup`].
///
/// # Drop
/// Nothing is kept.
#[derive(Debug)]
pub struct Slot {
    pass: Pass,
    method: Method,
    why: Why,
    key: Option<Key>,
    kept: Option<Arc<Entry>>,
}

/// What the cache did, for log, metric and `Cache-Status`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Note {
    /// Sent upstream.
    Forwarded(Why, Stored),
    /// Answered from memory; the proof holds for this much longer.
    Hit(Duration),
    /// Answered from memory after the API confirmed it.
    Proved,
}

/// Whether an answer is being kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stored {
    /// It streams past.
    No,
    /// It is kept once its last byte has come.
    Yes,
}

impl Note {
    /// The word for log and metric.
    pub fn outcome(self) -> Outcome {
        match self {
            Self::Forwarded(Why::Bypass | Why::Method, _) => Outcome::Bypass,
            Self::Forwarded(Why::Request | Why::Stale | Why::UriMiss, _) => Outcome::Miss,
            Self::Hit(_) => Outcome::Hit,
            Self::Proved => Outcome::Revalidated,
        }
    }
}

impl Slot {
    /// For whom.
    pub fn pass(&self) -> &Pass {
        &self.pass
    }

    /// What the cache did, if the answer is not kept.
    pub fn note(&self) -> Note {
        Note::Forwarded(self.why, Stored::No)
    }

    /// A slot for unit tests of the rooms that need one.
    #[cfg(test)]
    pub(crate) fn for_tests(seed: u8) -> Self {
        Self { pass: Pass::for_tests(seed), method: Method::GET, why: Why::Bypass, key: None, kept: None }
    }
}

/// Kept answers. Cloning shares them.
#[derive(Debug, Clone)]
pub struct Cache {
    settings: CacheSettings,
    entries: moka::sync::Cache<Key, Arc<Entry>>,
    evicted: Arc<AtomicU64>,
}

/// The cache at a glance, for status and metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Glance {
    /// Answers kept.
    pub entries: u64,
    /// Bytes kept, bodies, fields and keys.
    pub bytes: u64,
    /// Answers dropped to make room, since start.
    pub evicted: u64,
}

impl Cache {
    /// An empty cache.
    pub fn new(settings: CacheSettings) -> Self {
        let evicted = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&evicted);
        let entries = moka::sync::Cache::builder()
            .max_capacity(settings.memory)
            .weigher(|key: &Key, entry: &Arc<Entry>| {
                u32::try_from(key.bytes() + entry.bytes()).unwrap_or(u32::MAX)
            })
            .support_invalidation_closures()
            .eviction_listener(move |_, _, cause| {
                count.fetch_add(u64::from(cause.was_evicted()), Ordering::Relaxed);
            })
            .build();
        Self { settings, entries, evicted }
    }

    /// Decides whether the request can be answered from what is kept.
    pub fn lookup(&self, route: &Route, pass: &Pass, head: &Parts, now: Instant) -> Lookup {
        let slot = |why, key, kept| Slot { pass: pass.clone(), method: head.method.clone(), why, key, kept };
        let demand = match self.settings.mode {
            Mode::On => policy::demand(route, head),
            Mode::Off => Demand::None(Why::Bypass),
        };
        if let Demand::None(why) = demand {
            // A write to a content (a DLP verdict) decides about later reads of it.
            if route.rule() == CacheRule::Contents && why == Why::Method {
                self.entries.invalidate(&Key::new(route, pass));
            }
            return Lookup::Fetch(slot(why, None, None));
        }
        let key = Key::new(route, pass);
        let Some(entry) = self.entries.get(&key).filter(|entry| entry.answers(&head.method)) else {
            return Lookup::Fetch(slot(Why::UriMiss, Some(key), None));
        };
        let age = entry.age(now);
        if demand == Demand::Any && age < self.settings.proof_ttl {
            return Lookup::Ready(
                entry.response(&head.method, now),
                Note::Hit(self.settings.proof_ttl - age),
            );
        }
        let why = if demand == Demand::Confirmed { Why::Request } else { Why::Stale };
        let slot = slot(why, Some(key), Some(entry));
        // A HEAD is its own proof.
        if head.method == Method::HEAD { Lookup::Fetch(slot) } else { Lookup::Prove(slot) }
    }

    /// Judges the answer to the HEAD that a proof asks for.
    pub fn prove(&self, slot: Slot, answer: &Response<Body>, now: Instant) -> Proof {
        let same = slot.kept.as_ref().filter(|kept| {
            answer.status() == StatusCode::OK && policy::is_same(&kept.headers, answer.headers())
        });
        match (same, &slot.key) {
            (Some(kept), Some(key)) => {
                let entry = Arc::new(Entry { proved_at: now, ..Entry::clone(kept) });
                self.entries.insert(key.clone(), Arc::clone(&entry));
                Proof::Holds(entry.response(&slot.method, now), Note::Proved)
            }
            _ => {
                self.forget(&slot, answer.status());
                Proof::Failed(slot)
            }
        }
    }

    /// Keeps the answer if it may be kept, while it streams past. Nothing is kept before its last byte.
    pub fn settle(&self, slot: Slot, response: Response<Body>, now: Instant) -> (Response<Body>, Note) {
        self.forget(&slot, response.status());
        let note = slot.note();
        let Some(key) = slot.key.filter(|_| policy::is_storable(&response)) else { return (response, note) };
        let (head, body) = response.into_parts();
        let entries = self.entries.clone();
        let headers = head.headers.clone();
        let note = Note::Forwarded(slot.why, Stored::Yes);
        if slot.method == Method::HEAD {
            let bytes = match slot.kept.filter(|kept| policy::is_same(&kept.headers, &headers)) {
                Some(kept) => kept.bytes.clone(),
                None => Kept::Head,
            };
            entries.insert(key, Arc::new(Entry { headers, bytes, proved_at: now }));
            return (Response::from_parts(head, body), note);
        }
        let keep = move |chunks: Vec<bytes::Bytes>| {
            let bytes = Kept::Whole(chunks.into());
            entries.insert(key, Arc::new(Entry { headers, bytes, proved_at: now }));
        };
        (Response::from_parts(head, Body::stream(fill::Fill::new(body, self.settings.max_entry, keep))), note)
    }

    /// Forgets what `purge` names. Returns how many answers that were. A fill under way is not stopped.
    pub fn purge(&self, purge: &Purge) -> u64 {
        let named = self.entries.iter().filter(|(key, _)| key.is_named_by(purge));
        let mut purged = 0;
        for (key, _) in named {
            self.entries.invalidate(key.as_ref());
            purged += 1;
        }
        purged
    }

    /// Counts and bytes as they are now.
    pub fn glance(&self) -> Glance {
        self.entries.run_pending_tasks();
        Glance {
            entries: self.entries.entry_count(),
            bytes: self.entries.weighted_size(),
            evicted: self.evicted.load(Ordering::Relaxed),
        }
    }

    /// A no takes back what an earlier yes allowed: a refused credential loses all, a lost content its bytes.
    fn forget(&self, slot: &Slot, status: StatusCode) {
        match status {
            StatusCode::UNAUTHORIZED => {
                let credential = slot.pass.credential();
                // Fails only without support for closures, which the builder has switched on.
                drop(self.entries.invalidate_entries_if(move |key, _| key.is_of(credential)));
            }
            StatusCode::FORBIDDEN | StatusCode::NOT_FOUND | StatusCode::GONE | StatusCode::LOCKED => {
                if let Some(key) = &slot.key {
                    self.entries.invalidate(key);
                }
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests;
