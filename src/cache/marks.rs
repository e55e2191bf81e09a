//! Decides what was dropped and when: marks in fixed tables, so that dropping costs the same however much is kept.
//!
//! A mark names a subject (a resource, a credential, a family) and stands for "whatever was begun before now is
//! void". Subjects share slots by hash: a shared slot may void too much, which costs a call, never too little.

use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::words::CredentialId;

/// A point in the order of marks; not a time, so no clock can confuse it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Epoch(u64);

/// What a mark is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Subject<'a> {
    /// What the API said of one attachment to one credential (a 403, 404, 410, 423).
    Access(CredentialId, &'a str),
    /// What the API said to this credential (a 401, a purge).
    Credential(CredentialId),
    /// Answers of this family, kept by a rule of the operator, whoever asked.
    Family(&'a str),
    /// Contents of this message.
    Message(&'a str),
    /// Answers of this family to a tenant that has written to it.
    OwnWrite(CredentialId, &'a str),
    /// One resource, in every form and for everybody.
    Target(&'a str),
    /// Everything that is on its way into the cache.
    Underway,
}

/// All marks. Bounded: [`SLOTS`] numbers for each kind of subject.
pub(super) struct Marks {
    clock: AtomicU64,
    hasher: RandomState,
    underway: AtomicU64,
    tables: [Box<[AtomicU64]>; KINDS],
}

impl std::fmt::Debug for Marks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Marks(at {})", self.clock.load(Ordering::Relaxed))
    }
}

impl Marks {
    /// No marks.
    pub(super) fn new() -> Self {
        let table = |_| std::iter::repeat_with(|| AtomicU64::new(0)).take(SLOTS).collect();
        Self {
            clock: AtomicU64::new(1),
            hasher: RandomState::new(),
            underway: AtomicU64::new(0),
            tables: std::array::from_fn(table),
        }
    }

    /// The epoch of what begins now: only marks made later void it.
    pub(super) fn now(&self) -> Epoch {
        Epoch(self.clock.load(Ordering::SeqCst))
    }

    /// Voids what was begun about `subject` before now.
    pub(super) fn mark(&self, subject: Subject<'_>) {
        let at = self.clock.fetch_add(1, Ordering::SeqCst);
        if let Some(slot) = self.slot(subject) {
            slot.fetch_max(at, Ordering::SeqCst);
        }
    }

    /// Whether what began at `epoch` still stands, as far as `subject` goes.
    pub(super) fn stands(&self, epoch: Epoch, subject: Subject<'_>) -> bool {
        self.slot(subject).is_none_or(|slot| slot.load(Ordering::SeqCst) < epoch.0)
    }

    fn slot(&self, subject: Subject<'_>) -> Option<&AtomicU64> {
        let table = match subject {
            Subject::Underway => return Some(&self.underway),
            Subject::Credential(_) => 0,
            Subject::Family(_) => 1,
            Subject::Message(_) => 2,
            Subject::OwnWrite(..) => 3,
            Subject::Target(_) => 4,
            Subject::Access(..) => 5,
        };
        // The remainder is below SLOTS, which fits every usize.
        let at = usize::try_from(self.hasher.hash_one(subject) % SLOTS_WIDE).ok()?;
        self.tables.get(table)?.get(at)
    }
}

const KINDS: usize = 6;
/// 128 KiB for each kind. With 1,000 bots that write all the time, one answer in sixteen is thought to be older than
/// its tenant's own write when it is not: that costs a joined flight, no answer.
const SLOTS: usize = 16 * 1024;
const SLOTS_WIDE: u64 = 16 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_voids_what_began_before_it_and_nothing_later() {
        let marks = Marks::new();
        let bot = CredentialId::new([1; 16]);
        for subject in [
            Subject::Access(bot, "/v1/contents/c"),
            Subject::Credential(bot),
            Subject::Family("rooms"),
            Subject::Message("m"),
            Subject::OwnWrite(bot, "rooms"),
            Subject::Target("/v1/rooms"),
            Subject::Underway,
        ] {
            let before = marks.now();
            assert!(marks.stands(before, subject), "{subject:?}");
            marks.mark(subject);
            assert!(!marks.stands(before, subject), "{subject:?}");
            assert!(marks.stands(marks.now(), subject), "{subject:?}");
        }
    }

    #[test]
    fn a_mark_says_nothing_about_other_kinds_of_subject() {
        let marks = Marks::new();
        let epoch = marks.now();
        marks.mark(Subject::Family("rooms"));
        assert!(marks.stands(epoch, Subject::Target("rooms")));
        assert!(marks.stands(epoch, Subject::Underway));
    }
}
