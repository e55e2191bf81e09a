//! Decides when a connection that nobody trusts any more ends: soon after the last exchange on it.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use http::Extensions;
use hyper_util::client::legacy::connect::CaptureConnection;
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
        let is_left =
            self.0.is_suspect.load(Ordering::SeqCst) && self.0.exchanges.load(Ordering::SeqCst) == 0;
        if !is_left {
            *rest = None;
            return Poll::Pending;
        }
        rest.get_or_insert_with(|| Box::pin(tokio::time::sleep(REST))).as_mut().poll(cx)
    }

    fn of(captured: &CaptureConnection) -> Option<Self> {
        let mut extras = Extensions::new();
        captured.connection_metadata().as_ref()?.get_extras(&mut extras);
        extras.remove()
    }

    fn wake(&self) {
        let waker = lock(&self.0.waker).take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// The place of one exchange on its connection, once it has one. Cloning shares it.
///
/// # Drop
/// The last clone leaves the connection.
#[derive(Debug, Clone, Default)]
pub(super) struct Seat(Arc<Mutex<Option<Taken>>>);

#[derive(Debug)]
struct Taken(Line);

impl Drop for Taken {
    fn drop(&mut self) {
        self.0.0.exchanges.fetch_sub(1, Ordering::SeqCst);
        self.0.wake();
    }
}

impl Seat {
    /// Takes the place, if there is a connection and it was not taken before.
    pub(super) fn take(&self, captured: &CaptureConnection) {
        let mut seat = lock(&self.0);
        if seat.is_none()
            && let Some(line) = Line::of(captured)
        {
            line.0.exchanges.fetch_add(1, Ordering::SeqCst);
            *seat = Some(Taken(line));
        }
    }
}

/// The connection carries nothing more after the exchanges that are on it.
pub(super) fn poison(captured: &CaptureConnection) {
    if let Some(connected) = captured.connection_metadata().as_ref() {
        connected.poison();
    }
    if let Some(line) = Line::of(captured) {
        line.0.is_suspect.store(true, Ordering::SeqCst);
        line.wake();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// For an exchange that was given this connection at the last moment, and for hyper's own goodbye.
const REST: Duration = Duration::from_secs(1);
