//! What the scheduler tells a waiter: go, or why not and when.

use std::time::Duration;

/// One request that has left the line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Flight {
    pub(super) index: usize,
    pub(super) number: u64,
}

/// Why a request may not wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// Its turn would come after its deadline.
    Deadline,
    /// The line is as long as it may be, and this is the longest part of it.
    Full,
    /// Its turn would come after the end of the process.
    Shutdown,
}

/// What a waiter is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Send now.
    Go(Flight),
    /// Not in time; a retry after this long would be.
    Refused(Reason, Duration),
}

/// Tells a waiter its verdict; false if nobody was there to hear it.
pub type Offer<'a, W> = &'a mut dyn FnMut(W, Verdict) -> bool;
