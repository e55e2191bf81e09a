//! The upstream's own record: what it was asked, what it did, what it said.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard};

use bytes::Bytes;
use http::Method;

use super::table::{Case, Fault};

/// Everything that the upstream knows, by the id in the path.
#[derive(Debug, Default)]
pub(super) struct Book(Mutex<HashMap<u64, Entry>>);

/// One case, as the upstream saw it.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) case: Case,
    pub(super) attempts: Vec<Attempt>,
}

/// One request that arrived.
#[derive(Debug, Clone)]
pub(super) struct Attempt {
    pub(super) method: Method,
    /// It had its effect.
    pub(super) is_applied: bool,
    /// With exactly the bytes that were sent.
    pub(super) is_right: bool,
    pub(super) said: Said,
}

/// How much of an answer left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Said {
    Nothing,
    Part(u16),
    Whole(u16),
}

/// What the upstream is to do with a request.
#[derive(Debug, Clone)]
pub(super) struct Turn {
    pub(super) case: Case,
    pub(super) attempt: usize,
    pub(super) fault: Fault,
    pub(super) method: Method,
}

impl Book {
    pub(super) fn open(&self, case: &Case) {
        self.lock().insert(case.id, Entry { case: case.clone(), attempts: Vec::new() });
    }

    pub(super) fn close(&self, id: u64) -> Entry {
        self.lock().remove(&id).unwrap()
    }

    /// The upstream behaves from now on.
    pub(super) fn heal(&self, id: u64) {
        if let Some(entry) = self.lock().get_mut(&id) {
            entry.case.times = 0;
        }
    }

    pub(super) fn attempts(&self, id: u64) -> Vec<Attempt> {
        self.lock().get(&id).map(|entry| entry.attempts.clone()).unwrap_or_default()
    }

    /// A request arrived; none if nobody waits for it any more.
    pub(super) fn begin(&self, path: &str, method: &Method) -> Option<Turn> {
        let id: u64 = path.rsplit('/').next()?.parse().ok()?;
        let mut entries = self.lock();
        let entry = entries.get_mut(&id)?;
        let attempt = entry.attempts.len();
        let said = Said::Nothing;
        entry.attempts.push(Attempt { method: method.clone(), is_applied: false, is_right: false, said });
        let is_hit = attempt < usize::try_from(entry.case.times).unwrap();
        let fault = if is_hit { entry.case.fault } else { Fault::None };
        Some(Turn { case: entry.case.clone(), attempt, fault, method: method.clone() })
    }

    /// The request has its effect now.
    pub(super) fn apply(&self, turn: &Turn, is_right: bool) {
        self.change(turn, |attempt| (attempt.is_applied, attempt.is_right) = (true, is_right));
    }

    /// What leaves next is this much of an answer.
    pub(super) fn say(&self, turn: &Turn, said: Said) {
        self.change(turn, |attempt| attempt.said = said);
    }

    fn change(&self, turn: &Turn, change: impl FnOnce(&mut Attempt)) {
        let mut entries = self.lock();
        if let Some(entry) = entries.get_mut(&turn.case.id) {
            change(&mut entry.attempts[turn.attempt]);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Entry>> {
        self.0.lock().unwrap()
    }
}

/// Compares a request's body with what was sent, as it arrives.
#[derive(Debug)]
pub(super) struct Check {
    expected: Bytes,
    seen: usize,
    is_same: bool,
}

impl Check {
    pub(super) fn new(turn: &Turn) -> Self {
        Self { expected: turn.case.body.clone(), seen: 0, is_same: true }
    }

    pub(super) fn feed(&mut self, bytes: &[u8]) {
        let wanted = self.expected.get(self.seen..self.seen + bytes.len());
        self.is_same &= wanted == Some(bytes);
        self.seen += bytes.len();
    }

    pub(super) fn seen(&self) -> usize {
        self.seen
    }

    pub(super) fn is_right(&self) -> bool {
        self.is_same && self.seen == self.expected.len()
    }
}
