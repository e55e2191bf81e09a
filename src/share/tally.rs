//! What is counted and shown of sharing.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::trouble::{Trouble, TroubleKind};

/// What happened, for whoever logs and counts.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// A call was answered, or not.
    Called(Answered, Duration),
    /// The local share holds from now on.
    Down(Trouble),
    /// Something is wrong that does not stop the rest: with one bucket, or with a message.
    Odd(Trouble),
    /// Slots are booked again, by so many replicas.
    Up(u32),
}

/// How a call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answered {
    /// With an error.
    Error,
    /// Well.
    Ok,
    /// Not in time.
    Timeout,
}

impl Answered {
    /// All.
    pub const ALL: [Self; 3] = [Self::Error, Self::Ok, Self::Timeout];

    /// The word for the metric.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Ok => "ok",
            Self::Timeout => "timeout",
        }
    }

    pub(super) fn of<T>(result: &Result<T, Trouble>) -> Self {
        match result {
            Ok(_) => Self::Ok,
            Err(Trouble { kind: TroubleKind::Timeout, .. }) => Self::Timeout,
            Err(_) => Self::Error,
        }
    }
}

/// Sharing at a glance, for status and metrics.
#[derive(Debug, Clone, PartialEq)]
pub struct Glance {
    /// Where the server is, without credentials.
    pub server: String,
    /// Whether slots are booked there; otherwise this process goes by its own part of the rate.
    pub is_up: bool,
    /// Replicas, this one included, as last known.
    pub members: u32,
    /// This replica's part of the rate in force.
    pub part: f64,
    /// Requests that went by this process's own part, since start.
    pub fallback_grants: u64,
    /// What went wrong last.
    pub trouble: Option<Trouble>,
    /// How often what went wrong, since start.
    pub troubles: Vec<(TroubleKind, u64)>,
}

/// What changes.
#[derive(Debug)]
pub(super) struct Tally {
    state: Mutex<State>,
}

#[derive(Debug, Clone)]
pub(super) struct State {
    pub(super) is_up: bool,
    pub(super) members: u32,
    pub(super) part: f64,
    pub(super) trouble: Option<Trouble>,
    pub(super) troubles: BTreeMap<TroubleKind, u64>,
}

impl Tally {
    pub(super) fn new(members: u32, part: f64) -> Self {
        let troubles = TroubleKind::ALL.into_iter().map(|kind| (kind, 0)).collect();
        Self { state: Mutex::new(State { is_up: false, members, part, trouble: None, troubles }) }
    }

    pub(super) fn read(&self) -> State {
        self.state().clone()
    }

    pub(super) fn count(&self, trouble: &Trouble) {
        let mut state = self.state();
        *state.troubles.entry(trouble.kind).or_default() += 1;
        state.trouble = Some(trouble.clone());
    }

    pub(super) fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state());
    }

    /// A panic while it was held leaves numbers that are still right.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
