//! Decides how many bytes may be on their way into the cache at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A number of bytes that all fills share. Cloning shares it.
#[derive(Debug, Clone)]
pub(super) struct Budget {
    left: Arc<AtomicU64>,
}

/// A part of the budget.
///
/// # Drop
/// Gives it back.
#[derive(Debug)]
pub(super) struct Reserved {
    budget: Budget,
    bytes: u64,
}

impl Budget {
    /// So many bytes in all.
    pub(super) fn new(bytes: u64) -> Self {
        Self { left: Arc::new(AtomicU64::new(bytes)) }
    }

    /// None if fewer bytes are left.
    pub(super) fn reserve(&self, bytes: u64) -> Option<Reserved> {
        let mut reserved = Reserved { budget: self.clone(), bytes: 0 };
        reserved.cover(bytes).then_some(reserved)
    }
}

impl Reserved {
    /// Makes it at least so large; false, and unchanged, if fewer bytes are left.
    pub(super) fn cover(&mut self, bytes: u64) -> bool {
        let more = bytes.saturating_sub(self.bytes);
        let taken = self
            .budget
            .left
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(more))
            .is_ok();
        if taken {
            self.bytes += more;
        }
        taken
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        self.budget.left.fetch_add(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_gets_more_than_is_left_and_everything_comes_back() {
        let budget = Budget::new(10);
        let mut one = budget.reserve(6).unwrap();
        assert!(budget.reserve(5).is_none());
        assert!(one.cover(4), "it is covered already");
        assert!(one.cover(10) && !one.cover(11));
        assert!(budget.reserve(1).is_none());
        drop(one);
        assert!(budget.reserve(10).is_some());
    }
}
