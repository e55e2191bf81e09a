//! What handles, readers and the writer share: one lock, held for a moment and never while the disk is touched.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;

use crate::clock::Clock;

use super::index::Index;

/// Shared by all.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) dir: PathBuf,
    pub(super) clock: Clock,
    pub(super) max_queued_bytes: u64,
    state: Mutex<State>,
    /// There is something to do.
    work: Condvar,
    /// There is nothing to do, or never will be.
    rest: Condvar,
}

/// Behind the lock.
#[derive(Debug)]
pub(super) struct State {
    pub(super) index: Index,
    pub(super) counts: Counts,
    pub(super) phase: Phase,
    queue: VecDeque<Job>,
    /// Bytes on disk of what is queued or being written.
    queued_bytes: u64,
    writing: Option<Writing>,
    /// Whether files are leaving that the writer has not tried to remove.
    is_untidy: bool,
    is_resting: bool,
}

/// What went wrong or was refused since the start.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Counts {
    pub(super) evicted: u64,
    pub(super) failures: u64,
    pub(super) dropped: u64,
}

/// How long the writer goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// Until told.
    Open,
    /// Until nothing is queued.
    Closing,
    /// Until the next chunk.
    Abandoned,
    /// It is gone.
    Ended,
}

/// A body to be written.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) key: Arc<str>,
    pub(super) meta: HeaderMap,
    pub(super) chunks: Arc<[Bytes]>,
    pub(super) body_bytes: u64,
    pub(super) file_bytes: u64,
}

#[derive(Debug)]
struct Writing {
    key: Arc<str>,
    file_bytes: u64,
    is_wanted: bool,
}

/// What the writer does next.
#[derive(Debug)]
pub(super) enum Work {
    /// Remove these files.
    Tidy(Vec<String>),
    /// Write this body.
    Write(Job),
}

impl State {
    /// Queues a body; whether there was room.
    pub(super) fn queue(&mut self, job: Job, max_queued_bytes: u64) -> bool {
        let queued = self.queued_bytes.saturating_add(job.file_bytes);
        // One body is always taken, or a bound below the largest body would keep it out for ever.
        let fits = queued <= max_queued_bytes || self.queued_bytes == 0;
        if fits && self.phase == Phase::Open {
            self.queued_bytes = queued;
            self.queue.push_back(job);
            true
        } else {
            false
        }
    }

    /// Forgets a content, kept, queued or being written; whether it was kept.
    pub(super) fn remove(&mut self, key: &str) -> bool {
        self.unqueue(|queued| queued == key);
        let is_removed = self.index.remove(key);
        self.is_untidy |= is_removed;
        is_removed
    }

    /// Forgets contents, kept, queued or being written, whose key is chosen; how many of them were kept.
    pub(super) fn remove_where(&mut self, is_chosen: impl Fn(&str) -> bool) -> u64 {
        self.unqueue(&is_chosen);
        let removed = self.index.remove_where(is_chosen);
        self.is_untidy |= removed > 0;
        removed
    }

    fn unqueue(&mut self, is_chosen: impl Fn(&str) -> bool) {
        let mut freed = 0;
        self.queue.retain(|job| {
            let stays = !is_chosen(&job.key);
            freed += if stays { 0 } else { job.file_bytes };
            stays
        });
        self.queued_bytes = self.queued_bytes.saturating_sub(freed);
        if let Some(writing) = self.writing.as_mut().filter(|writing| is_chosen(&writing.key)) {
            writing.is_wanted = false;
        }
    }

    /// Forgets this very content because its file failed; whether it was still kept.
    pub(super) fn lose(&mut self, key: &str, id: u64) -> bool {
        let is_lost = self.index.get(key).is_some_and(|entry| entry.id == id) && self.index.remove(key);
        self.is_untidy |= is_lost;
        is_lost
    }

    /// Whether the body in hand is still to be kept.
    pub(super) fn is_wanted(&self) -> bool {
        self.phase != Phase::Abandoned && self.writing.as_ref().is_some_and(|writing| writing.is_wanted)
    }

    /// The body in hand is kept or lost.
    pub(super) fn written(&mut self) {
        let freed = self.writing.take().map_or(0, |writing| writing.file_bytes);
        self.queued_bytes = self.queued_bytes.saturating_sub(freed);
    }

    /// Whether the same content is kept already: the bytes of a key never change while these fields stay.
    pub(super) fn has(&self, key: &str, meta: &HeaderMap, body_bytes: u64) -> bool {
        self.index
            .get(key)
            .is_some_and(|entry| entry.content.body_bytes == body_bytes && *entry.content.meta == *meta)
    }

    /// This file must go.
    pub(super) fn leave(&mut self, name: String, file_bytes: u64) {
        self.index.leave(name, file_bytes);
        self.is_untidy = true;
    }

    fn next(&mut self) -> Option<Work> {
        if self.phase == Phase::Abandoned {
            self.queue.clear();
        }
        if std::mem::take(&mut self.is_untidy) {
            return Some(Work::Tidy(self.index.leaving()));
        }
        let job = self.queue.pop_front()?;
        self.writing =
            Some(Writing { key: Arc::clone(&job.key), file_bytes: job.file_bytes, is_wanted: true });
        Some(Work::Write(job))
    }

    fn is_idle(&self) -> bool {
        self.is_resting && self.queue.is_empty() && !self.is_untidy || self.phase == Phase::Ended
    }
}

impl Shared {
    pub(super) fn new(
        dir: PathBuf,
        clock: Clock,
        max_queued_bytes: u64,
        index: Index,
        counts: Counts,
    ) -> Self {
        let state = State {
            index,
            counts,
            phase: Phase::Open,
            queue: VecDeque::new(),
            queued_bytes: 0,
            writing: None,
            is_untidy: true,
            is_resting: false,
        };
        Self {
            dir,
            clock,
            max_queued_bytes,
            state: Mutex::new(state),
            work: Condvar::new(),
            rest: Condvar::new(),
        }
    }

    /// For looking.
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// For changes that may give the writer something to do.
    pub(super) fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let outcome = change(&mut self.lock());
        self.work.notify_one();
        outcome
    }

    /// Waits for work; none when the writer shall end, and then it has.
    pub(super) fn next(&self) -> Option<Work> {
        let mut state = self.lock();
        loop {
            state.is_resting = false;
            if let Some(work) = state.next() {
                return Some(work);
            }
            if state.phase != Phase::Open {
                state.phase = Phase::Ended;
                self.rest.notify_all();
                return None;
            }
            state.is_resting = true;
            self.rest.notify_all();
            state = self.work.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Blocks until nothing is left to do, at most this long; whether nothing is.
    pub(super) fn wait_for_rest(&self, patience: Duration) -> bool {
        let (state, _) = self
            .rest
            .wait_timeout_while(self.lock(), patience, |state| !state.is_idle())
            .unwrap_or_else(PoisonError::into_inner);
        state.is_idle()
    }
}
