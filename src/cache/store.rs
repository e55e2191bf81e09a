//! Decides what stays in memory: bodies, answers and proofs in one bound, the least useful leave first.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use http::HeaderMap;
use moka::notification::RemovalCause;
use moka::ops::compute::Op;
use moka::policy::EvictionPolicy;
use tokio::time::Instant;

use crate::words::TenantId;

use super::key::Key;
use super::marks::{Epoch, Standing};
use super::rules::Stored;

/// The bytes of an attachment, and the fields that tell whether others are the same.
pub(super) struct Content {
    pub(super) shape: HeaderMap,
    pub(super) chunks: Arc<[Bytes]>,
}

/// What the API said of an attachment to one credential, when it said yes.
pub(super) struct Proof {
    pub(super) tenant: TenantId,
    /// The head of that answer, as the API wrote it for this credential.
    pub(super) stored: Stored,
    pub(super) proved_at: Instant,
    /// Its attachment, the message of that, the credential, and what the API says of both.
    pub(super) standing: Standing<4>,
}

/// One stored answer.
#[derive(Clone)]
pub(super) struct Variant {
    pub(super) tenant: TenantId,
    pub(super) stored: Arc<Stored>,
    pub(super) chunks: Arc<[Bytes]>,
    pub(super) epoch: Epoch,
    pub(super) basis: Basis,
}

/// Why an answer may be kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Basis {
    /// HTTP's own rules.
    Http,
    /// A rule of the operator: writes to the family void it, whoever writes.
    Rule,
}

#[derive(Clone)]
enum Item {
    Content(Arc<Content>),
    Proof(Arc<Proof>),
    Variants(Arc<[Variant]>),
}

/// Everything in memory. Cloning shares it.
#[derive(Clone)]
pub(super) struct Store {
    items: moka::sync::Cache<Key, Item>,
    evicted: Arc<AtomicU64>,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Store({} entries)", self.items.entry_count())
    }
}

impl Store {
    /// An empty store of at most `max_bytes`. `evicted` gets the attachments that had to leave for others.
    pub(super) fn new(max_bytes: u64, evicted: impl Fn(&str, Arc<Content>) + Send + Sync + 'static) -> Self {
        let count = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&count);
        let items = moka::sync::Cache::builder()
            .max_capacity(max_bytes)
            // TinyLFU turns newcomers away when it is full: a proof was missing while its bytes were kept. Measured with
            // `cargo bench --bench traffic` at 16 and 64 MiB: 3 % fewer calls and a quarter fewer bytes this way.
            .eviction_policy(EvictionPolicy::lru())
            .weigher(|key: &Key, item: &Item| u32::try_from(key.bytes() + item.bytes()).unwrap_or(u32::MAX))
            .eviction_listener(move |key: Arc<Key>, item, cause| {
                if cause != RemovalCause::Size {
                    return;
                }
                counted.fetch_add(1, Ordering::Relaxed);
                if let Item::Content(content) = item {
                    evicted(key.target(), content);
                }
            })
            .build();
        Self { items, evicted: count }
    }

    /// The bytes under a [`Key::Content`].
    pub(super) fn content(&self, key: &Key) -> Option<Arc<Content>> {
        match self.items.get(key)? {
            Item::Content(content) => Some(content),
            Item::Proof(_) | Item::Variants(_) => None,
        }
    }

    /// The yes under a [`Key::Proof`].
    pub(super) fn proof(&self, key: &Key) -> Option<Arc<Proof>> {
        match self.items.get(key)? {
            Item::Proof(proof) => Some(proof),
            Item::Content(_) | Item::Variants(_) => None,
        }
    }

    /// The answers under any other key, newest last.
    pub(super) fn variants(&self, key: &Key) -> Option<Arc<[Variant]>> {
        match self.items.get(key)? {
            Item::Variants(variants) => Some(variants),
            Item::Content(_) | Item::Proof(_) => None,
        }
    }

    pub(super) fn keep_content(&self, key: Key, content: Content) {
        self.items.insert(key, Item::Content(Arc::new(content)));
        self.make_room();
    }

    pub(super) fn keep_proof(&self, key: Key, proof: Arc<Proof>) {
        self.items.insert(key, Item::Proof(proof));
    }

    /// Keeps an answer beside or instead of those that are there: of `kept`, only those that `remains` are left.
    pub(super) fn keep_variant(&self, key: Key, variant: Variant, remains: impl Fn(&Variant) -> bool) {
        self.items.entry(key).and_compute_with(|entry| {
            let kept = match entry.map(moka::Entry::into_value) {
                Some(Item::Variants(kept)) => kept,
                Some(Item::Content(_) | Item::Proof(_)) | None => Arc::from([]),
            };
            let remaining: Vec<_> = kept.iter().filter(|variant| remains(variant)).cloned().collect();
            let excess = (remaining.len() + 1).saturating_sub(MAX_VARIANTS);
            Op::Put(Item::Variants(remaining.into_iter().skip(excess).chain([variant]).collect()))
        });
        self.make_room();
    }

    /// moka does it by itself after some dozens of writes: too late for bodies of any size.
    fn make_room(&self) {
        self.items.run_pending_tasks();
    }

    /// Drops some of the answers under a key.
    pub(super) fn drop_variant(&self, key: &Key, is_meant: impl Fn(&Variant) -> bool) {
        if self.variants(key).is_none_or(|kept| !kept.iter().any(&is_meant)) {
            return;
        }
        self.items.entry_by_ref(key).and_compute_with(|entry| {
            let Some(Item::Variants(kept)) = entry.map(moka::Entry::into_value) else { return Op::Nop };
            let remaining: Arc<[_]> = kept.iter().filter(|variant| !is_meant(variant)).cloned().collect();
            if remaining.is_empty() { Op::Remove } else { Op::Put(Item::Variants(remaining)) }
        });
    }

    pub(super) fn remove(&self, key: &Key) {
        self.items.invalidate(key);
    }

    /// Removes what `is_meant` and says how many entries that were.
    pub(super) fn remove_where(&self, is_meant: impl Fn(&Key, Option<TenantId>) -> bool) -> u64 {
        let mut removed = 0;
        for (key, item) in &self.items {
            if is_meant(&key, item.tenant()) {
                self.items.invalidate(&*key);
                removed += 1;
            }
        }
        removed
    }

    /// Removes every other entry, whichever these are, and says how many bytes they had: in an emergency all are equal.
    pub(super) fn halve(&self) -> u64 {
        self.items.run_pending_tasks();
        let before = self.items.weighted_size();
        for (key, _) in self.items.iter().step_by(2) {
            self.items.invalidate(&*key);
        }
        self.items.run_pending_tasks();
        before.saturating_sub(self.items.weighted_size())
    }

    /// Entries, bytes, evictions since start.
    pub(super) fn glance(&self) -> (u64, u64, u64) {
        self.items.run_pending_tasks();
        (self.items.entry_count(), self.items.weighted_size(), self.evicted.load(Ordering::Relaxed))
    }
}

impl Item {
    /// Bytes held: bodies, fields and fixed cost.
    fn bytes(&self) -> usize {
        match self {
            Self::Content(content) => {
                size_of::<Content>() + fields_bytes(&content.shape) + chunks_bytes(&content.chunks)
            }
            Self::Proof(proof) => size_of::<Proof>() + proof.stored.weight(),
            Self::Variants(variants) => variants.iter().map(Variant::bytes).sum(),
        }
    }

    /// Whose it is; none for what is nobody's own.
    fn tenant(&self) -> Option<TenantId> {
        match self {
            Self::Content(_) => None,
            Self::Proof(proof) => Some(proof.tenant),
            Self::Variants(variants) => variants.first().map(|variant| variant.tenant),
        }
    }
}

impl Variant {
    fn bytes(&self) -> usize {
        size_of::<Self>() + self.stored.weight() + chunks_bytes(&self.chunks)
    }
}

/// Without fields and bytes: they are the tenant's.
impl std::fmt::Debug for Variant {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Variant({:?}, {} bytes)", self.stored, self.bytes())
    }
}

fn chunks_bytes(chunks: &[Bytes]) -> usize {
    chunks.iter().map(|chunk| chunk.len() + size_of::<Bytes>()).sum()
}

fn fields_bytes(headers: &HeaderMap) -> usize {
    headers.iter().map(|(name, value)| name.as_str().len() + value.len() + FIELD_BYTES).sum()
}

/// What a header map holds beside name and value.
const FIELD_BYTES: usize = 72;
/// Forms of one resource kept at once, by language, coding or part (CACHE 3); the oldest leaves first.
const MAX_VARIANTS: usize = 16;
