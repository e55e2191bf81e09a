//! Decides who drives the streams of an HTTP/2 connection, how long they live, and what becomes of a body that nobody reads.

use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use futures_util::future::CatchUnwind;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use hyper::rt::Executor;
use tokio::time::timeout;

use super::exchange::discard;
use super::stall::unless_stalled;
use super::{ServerSettings, Shared};
use crate::body::Body;

/// Where hyper leaves the streams that a client has opened. Cloning shares it.
#[derive(Clone)]
pub(super) struct Streams {
    opened: Arc<Mutex<Vec<Stream>>>,
    settings: Arc<ServerSettings>,
}

type Stream = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The streams of one connection, driven by the connection's own task (decision 0022): what a client asks for at once is
/// answered at once, and leaves in one piece.
///
/// # Drop
/// Ends them all.
pub(super) struct Running {
    streams: Streams,
    shared: Arc<Shared>,
    running: FuturesUnordered<CatchUnwind<AssertUnwindSafe<Stream>>>,
}

impl Streams {
    pub(super) fn new(settings: Arc<ServerSettings>) -> Self {
        Self { opened: Arc::default(), settings }
    }

    /// To be polled beside the connection.
    pub(super) fn run(&self, shared: Arc<Shared>) -> Running {
        Running { streams: self.clone(), shared, running: FuturesUnordered::new() }
    }

    /// Reads on after an early answer: clients (curl 7.88) take the reset that would follow for a failure.
    pub(super) fn discard(&self, mut body: Body) {
        let (limit, within) = (self.settings.max_linger_bytes, self.settings.linger_timeout);
        self.open(async move {
            // Whatever is left when the time is over is reset when the body is dropped.
            drop(timeout(within, discard(&mut body, limit)).await);
        });
    }

    fn open(&self, stream: impl Future<Output = ()> + Send + 'static) {
        self.opened.lock().unwrap_or_else(PoisonError::into_inner).push(Box::pin(stream));
    }

    fn take(&self) -> Vec<Stream> {
        std::mem::take(&mut self.opened.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl<F> Executor<F> for Streams
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, stream: F) {
        self.open(unless_stalled(stream, self.settings.write_stall_timeout));
    }
}

impl Running {
    /// Goes on with every stream that can, those just opened too. A stream that panics is lost, and counted.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) {
        loop {
            let opened = self.streams.take();
            let are_new = !opened.is_empty();
            self.running.extend(opened.into_iter().map(|stream| AssertUnwindSafe(stream).catch_unwind()));
            while let Poll::Ready(Some(ended)) = self.running.poll_next_unpin(cx) {
                if ended.is_err() {
                    self.shared.panicked();
                }
            }
            if !are_new {
                return;
            }
        }
    }
}
