//! Decides what other replicas are told of what is void here: numbers that only they can read, and operators' purges.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::{Cache, Purge};

/// A mark, without saying what about: a kind of subject and the slot that it shares with others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Void {
    /// Which table.
    pub kind: u8,
    /// Which place in it.
    pub slot: u16,
}

/// What others must hear of.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// Marks.
    pub voids: Vec<Void>,
    /// Orders of the operator.
    pub purges: Vec<Purge>,
    /// There was more than is kept: everything is in doubt.
    pub is_everything: bool,
}

impl Told {
    /// Whether there is nothing to tell.
    pub fn is_empty(&self) -> bool {
        self.voids.is_empty() && self.purges.is_empty() && !self.is_everything
    }
}

/// What is still to be told.
#[derive(Debug, Default)]
pub(super) struct Telling {
    pending: Mutex<Pending>,
    added: Notify,
}

#[derive(Debug, Default)]
struct Pending {
    voids: BTreeSet<Void>,
    purges: Vec<Purge>,
    is_everything: bool,
}

impl Telling {
    pub(super) fn void(&self, void: Void) {
        let mut pending = self.pending();
        if pending.voids.len() < MAX_VOIDS {
            pending.voids.insert(void);
        } else {
            pending.overflow();
        }
        drop(pending);
        self.added.notify_one();
    }

    pub(super) fn purge(&self, purge: &Purge) {
        let mut pending = self.pending();
        if pending.purges.len() < MAX_PURGES {
            pending.purges.push(purge.clone());
        } else {
            pending.overflow();
        }
        drop(pending);
        self.added.notify_one();
    }

    pub(super) fn take(&self) -> Told {
        let Pending { voids, purges, is_everything } = std::mem::take(&mut *self.pending());
        Told { voids: voids.into_iter().collect(), purges, is_everything }
    }

    /// A panic while it was held leaves what was pending.
    fn pending(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pending {
    fn overflow(&mut self) {
        self.is_everything = true;
        self.voids.clear();
        self.purges.clear();
    }
}

impl Cache {
    /// Resolves when there may be something in [`Cache::to_tell`]; never while this process is alone.
    ///
    /// # Drop
    /// Nothing is lost: the next call resolves instead.
    pub async fn has_told(&self) {
        match self.shared.marks.telling() {
            Some(telling) => telling.added.notified().await,
            None => std::future::pending().await,
        }
    }

    /// What other replicas must hear of; each is told once.
    pub fn to_tell(&self) -> Told {
        self.shared.marks.telling().map(Telling::take).unwrap_or_default()
    }

    /// What could not be told comes back, to be told later.
    pub fn tell_later(&self, told: Told) {
        let Some(telling) = self.shared.marks.telling() else { return };
        told.voids.into_iter().for_each(|void| telling.void(void));
        told.purges.iter().for_each(|purge| telling.purge(purge));
        if told.is_everything {
            telling.pending().overflow();
        }
    }

    /// Another replica has voided something.
    pub fn hear(&self, void: Void) {
        self.shared.marks.heed(void);
    }

    /// An operator has purged another replica. What is on its way is voided by a mark that comes with it.
    pub fn hear_purge(&self, purge: &Purge) -> u64 {
        self.shared.remove_purged(purge)
    }

    /// What others voided meanwhile was not heard: all that was kept or begun before now counts as stale.
    pub fn doubt(&self) {
        self.shared.marks.doubt();
    }
}

/// More marks than a busy replica makes in a minute; each costs a few bytes.
const MAX_VOIDS: usize = 4096;
/// Operators are few.
const MAX_PURGES: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_much_to_tell_becomes_everything() {
        let telling = Telling::default();
        for slot in 0..MAX_VOIDS {
            telling.void(Void { kind: 1, slot: u16::try_from(slot).unwrap() });
        }
        telling.void(Void { kind: 2, slot: 0 });
        let told = telling.take();
        assert!(told.is_everything && told.voids.is_empty());
        assert!(telling.take().is_empty());
    }

    #[test]
    fn the_same_mark_is_told_once() {
        let telling = Telling::default();
        (0..3).for_each(|_| telling.void(Void { kind: 1, slot: 7 }));
        telling.purge(&Purge::All);
        let told = telling.take();
        assert_eq!((told.voids.len(), told.purges, told.is_everything), (1, vec![Purge::All], false));
    }
}
