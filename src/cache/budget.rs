//! Decides how many bytes of bodies may be alive at once: on their way into the cache, kept, or still being read.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;

/// A number of bytes that all bodies share. Cloning shares it.
#[derive(Debug, Clone)]
pub(super) struct Budget {
    left: Arc<AtomicU64>,
}

/// A part of the budget, for one body.
///
/// # Drop
/// Gives it back.
#[derive(Debug)]
pub(super) struct Lease {
    budget: Budget,
    bytes: AtomicU64,
}

impl Budget {
    /// So many bytes in all.
    pub(super) fn new(bytes: u64) -> Self {
        Self { left: Arc::new(AtomicU64::new(bytes)) }
    }

    /// None if fewer bytes are left.
    pub(super) fn lease(&self, bytes: u64) -> Option<Arc<Lease>> {
        let lease = Lease { budget: self.clone(), bytes: AtomicU64::new(0) };
        lease.cover(bytes).then(|| Arc::new(lease))
    }

    /// Bytes that nobody has.
    #[cfg(test)]
    pub(super) fn left(&self) -> u64 {
        self.left.load(Ordering::Relaxed)
    }
}

impl Lease {
    /// Makes it at least so large; false, and unchanged, if fewer bytes are left. One task alone calls this.
    pub(super) fn cover(&self, bytes: u64) -> bool {
        let more = bytes.saturating_sub(self.bytes.load(Ordering::Relaxed));
        let take = |left: u64| left.checked_sub(more);
        let is_taken = self.budget.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok();
        if is_taken {
            self.bytes.fetch_add(more, Ordering::Relaxed);
        }
        is_taken
    }

    /// The bytes, which hold the lease as long as anybody holds them: in the cache or on the way to a slow reader.
    pub(super) fn on(self: &Arc<Self>, bytes: Bytes) -> Bytes {
        Bytes::from_owner(Leased { bytes, _lease: Arc::clone(self) })
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.budget.left.fetch_add(*self.bytes.get_mut(), Ordering::Relaxed);
    }
}

struct Leased {
    bytes: Bytes,
    _lease: Arc<Lease>,
}

impl AsRef<[u8]> for Leased {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_gets_more_than_is_left_and_everything_comes_back() {
        let budget = Budget::new(10);
        let one = budget.lease(6).unwrap();
        assert!(budget.lease(5).is_none());
        assert!(one.cover(4), "it is covered already");
        assert!(one.cover(10) && !one.cover(11));
        assert!(budget.lease(1).is_none());
        drop(one);
        assert!(budget.lease(10).is_some());
    }

    #[test]
    fn bytes_hold_their_lease_until_the_last_reader_lets_go() {
        let budget = Budget::new(10);
        let bytes = budget.lease(6).unwrap().on(Bytes::from_static(b"abcdef"));
        let part = bytes.slice(1..3);
        drop(bytes);
        assert_eq!(budget.left(), 4);
        assert_eq!(part, "bc");
        drop(part);
        assert_eq!(budget.left(), 10);
    }
}
