//! Decides what was dropped and when: marks in fixed tables, so that dropping costs the same however much is kept.
//!
//! A mark names a subject (a resource, a credential, a family) and stands for "whatever was begun before now is
//! void". Subjects share slots by hash: a shared slot may void too much, which costs a call, never too little.

use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};

use aws_lc_rs::hmac;

use crate::words::CredentialId;

use super::telling::{Telling, Void};

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
    sorting: Sorting,
    underway: AtomicU64,
    tables: [Box<[AtomicU64]>; KINDS],
}

/// How subjects come to their slots.
enum Sorting {
    /// As all replicas have agreed, so that a slot's number means the same to each of them.
    Agreed(Box<Agreed>),
    /// As this process likes.
    Own(RandomState),
}

struct Agreed {
    key: hmac::Key,
    /// What was begun before is in doubt: a replica may have said so unheard.
    doubted: AtomicU64,
    telling: Telling,
}

/// Where the marks of some subjects would be, found once: to hash them costs more than to look.
pub(super) struct Standing<const N: usize> {
    epoch: Epoch,
    voids: [Void; N],
}

impl std::fmt::Debug for Marks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Marks(at {})", self.clock.load(Ordering::Relaxed))
    }
}

impl Marks {
    /// No marks.
    pub(super) fn new() -> Self {
        Self::sorted(Sorting::Own(RandomState::new()))
    }

    /// No marks; replicas with the same key tell each other theirs.
    pub(super) fn agreed(key: &[u8]) -> Self {
        let key = hmac::Key::new(hmac::HMAC_SHA256, key);
        let agreed = Agreed { key, doubted: AtomicU64::new(0), telling: Telling::default() };
        Self::sorted(Sorting::Agreed(Box::new(agreed)))
    }

    fn sorted(sorting: Sorting) -> Self {
        let table = |_| std::iter::repeat_with(|| AtomicU64::new(0)).take(SLOTS).collect();
        Self {
            clock: AtomicU64::new(1),
            sorting,
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
        let void = self.void(subject);
        self.heed(void);
        if let Some(telling) = self.telling() {
            telling.void(void);
        }
    }

    /// The same for what another replica has marked.
    pub(super) fn heed(&self, void: Void) {
        let at = self.clock.fetch_add(1, Ordering::SeqCst);
        if let Some(slot) = self.slot(void) {
            slot.fetch_max(at, Ordering::SeqCst);
        }
    }

    /// Voids everything that was begun before now: nobody knows what others have marked meanwhile.
    pub(super) fn doubt(&self) {
        let at = self.clock.fetch_add(1, Ordering::SeqCst);
        if let Sorting::Agreed(agreed) = &self.sorting {
            agreed.doubted.fetch_max(at, Ordering::SeqCst);
        }
    }

    /// What is to be told to other replicas; none if there are none.
    pub(super) fn telling(&self) -> Option<&Telling> {
        match &self.sorting {
            Sorting::Agreed(agreed) => Some(&agreed.telling),
            Sorting::Own(_) => None,
        }
    }

    /// Whether what began at `epoch` still stands, as far as `subject` goes.
    pub(super) fn stands(&self, epoch: Epoch, subject: Subject<'_>) -> bool {
        self.is_unmarked(epoch, self.void(subject))
    }

    /// What `subjects` say of something that was begun at `epoch`, to be looked at often.
    pub(super) fn standing<const N: usize>(&self, epoch: Epoch, subjects: [Subject<'_>; N]) -> Standing<N> {
        Standing { epoch, voids: subjects.map(|subject| self.void(subject)) }
    }

    /// Whether nothing it stands on was marked since.
    pub(super) fn uphold<const N: usize>(&self, standing: &Standing<N>) -> bool {
        standing.voids.iter().all(|void| self.is_unmarked(standing.epoch, *void))
    }

    fn is_unmarked(&self, epoch: Epoch, void: Void) -> bool {
        if let Sorting::Agreed(agreed) = &self.sorting
            && agreed.doubted.load(Ordering::SeqCst) >= epoch.0
        {
            return false;
        }
        self.slot(void).is_none_or(|slot| slot.load(Ordering::SeqCst) < epoch.0)
    }

    fn void(&self, subject: Subject<'_>) -> Void {
        let kind = subject.kind();
        if kind == UNDERWAY {
            return Void { kind, slot: 0 };
        }
        let hash = match &self.sorting {
            Sorting::Agreed(agreed) => subject.hashed(&agreed.key),
            Sorting::Own(hasher) => hasher.hash_one(subject),
        };
        // The remainder is below SLOTS, which fits.
        Void { kind, slot: u16::try_from(hash % SLOTS_WIDE).unwrap_or_default() }
    }

    fn slot(&self, void: Void) -> Option<&AtomicU64> {
        match void.kind {
            UNDERWAY => Some(&self.underway),
            kind => self.tables.get(usize::from(kind))?.get(usize::from(void.slot)),
        }
    }
}

impl Subject<'_> {
    /// The same for every version that speaks to another: part of what is told.
    fn kind(self) -> u8 {
        match self {
            Self::Credential(_) => 0,
            Self::Family(_) => 1,
            Self::Message(_) => 2,
            Self::OwnWrite(..) => 3,
            Self::Target(_) => 4,
            Self::Access(..) => 5,
            Self::Underway => UNDERWAY,
        }
    }

    /// The same in every process that has the key, whatever it was built with.
    fn hashed(self, key: &hmac::Key) -> u64 {
        let mut context = hmac::Context::with_key(key);
        context.update(&[self.kind()]);
        match self {
            Self::Access(credential, text) | Self::OwnWrite(credential, text) => {
                context.update(&credential.bytes());
                context.update(text.as_bytes());
            }
            Self::Credential(credential) => context.update(&credential.bytes()),
            Self::Family(text) | Self::Message(text) | Self::Target(text) => context.update(text.as_bytes()),
            Self::Underway => {}
        }
        let tag = context.sign();
        tag.as_ref().iter().take(8).fold(0, |hash, byte| hash << 8 | u64::from(*byte))
    }
}

/// Has no table: it is one mark.
const UNDERWAY: u8 = 6;

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

    #[test]
    fn what_one_replica_voids_is_void_to_the_others_that_have_its_key() {
        let [here, there, stranger] = [b"key", b"key", b"yek"].map(|key| Marks::agreed(key));
        let bot = CredentialId::new([1; 16]);
        let subjects =
            [Subject::Access(bot, "/v1/contents/c"), Subject::Target("/v1/rooms"), Subject::Underway];
        for subject in subjects {
            let (epoch, elsewhere) = (there.now(), stranger.now());
            here.mark(subject);
            let told = here.telling().unwrap().take();
            assert_eq!(told.voids.len(), 1);
            for void in told.voids {
                there.heed(void);
                stranger.heed(void);
            }
            assert!(!there.stands(epoch, subject), "{subject:?}");
            assert!(stranger.stands(elsewhere, subject) || subject == Subject::Underway, "{subject:?}");
            assert!(there.telling().unwrap().take().is_empty(), "what is heard is not told again");
        }
    }

    #[test]
    fn in_doubt_everything_that_was_begun_before_is_void() {
        let marks = Marks::agreed(b"key");
        let before = marks.now();
        assert!(marks.stands(before, Subject::Target("/v1/rooms")));
        marks.doubt();
        assert!(!marks.stands(before, Subject::Target("/v1/rooms")));
        assert!(marks.stands(marks.now(), Subject::Target("/v1/rooms")));
    }

    #[test]
    fn nobody_else_is_told_where_nobody_else_is() {
        assert!(Marks::new().telling().is_none());
    }
}
