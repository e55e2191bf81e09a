//! Decides when an HTTP/2 connection that nobody trusts any more ends: soon after the last exchange on it.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::time::Sleep;

/// What a connection and the exchanges on it know of each other. Cloning shares it.
///
/// hyper keeps an HTTP/2 connection as long as a stream waits for its turn, even if its request was given up: on one whose
/// upstream allows no streams that is for ever.
#[derive(Debug, Clone, Default)]
pub(super) struct Line(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    exchanges: AtomicUsize,
    is_suspect: AtomicBool,
    waker: Mutex<Option<Waker>>,
}

impl Line {
    /// Whether the connection is to end: it is suspect, and nothing has been on it for [`REST`]. `rest` is the caller's.
    pub(super) fn poll_over(&self, cx: &mut Context<'_>, rest: &mut Option<Pin<Box<Sleep>>>) -> Poll<()> {
        *lock(&self.0.waker) = Some(cx.waker().clone());
        let is_left = self.is_suspect() && self.0.exchanges.load(Ordering::SeqCst) == 0;
        if !is_left {
            *rest = None;
            return Poll::Pending;
        }
        rest.get_or_insert_with(|| Box::pin(tokio::time::sleep(REST))).as_mut().poll(cx)
    }

    /// The connection carries nothing more after the exchanges that are on it.
    pub(super) fn poison(&self) {
        self.0.is_suspect.store(true, Ordering::SeqCst);
        self.wake();
    }

    /// Whether it carries nothing more.
    pub(super) fn is_suspect(&self) -> bool {
        self.0.is_suspect.load(Ordering::SeqCst)
    }

    fn wake(&self) {
        let waker = lock(&self.0.waker).take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// The place of one exchange on its connection.
///
/// # Drop
/// Leaves the connection.
#[derive(Debug)]
pub(super) struct Seat(Line);

impl Seat {
    /// Takes a place.
    pub(super) fn take(line: &Line) -> Self {
        line.0.exchanges.fetch_add(1, Ordering::SeqCst);
        Self(line.clone())
    }

    /// The connection carries nothing more after the exchanges that are on it.
    pub(super) fn poison(&self) {
        self.0.poison();
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.0.exchanges.fetch_sub(1, Ordering::SeqCst);
        self.0.wake();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// For an exchange that was given this connection at the last moment, and for hyper's own goodbye.
const REST: Duration = Duration::from_secs(1);
