//! Decides how long the tasks of HTTP/2 streams live, and what becomes of a body that nobody reads.

use std::sync::{Arc, Mutex, PoisonError};

use hyper::rt::Executor;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::exchange::{discard, unless_stalled};
use super::{ServerSettings, Shared};
use crate::body::Body;

/// The tasks of a connection's HTTP/2 streams; they end with their stream, at the latest with the connection.
#[derive(Clone)]
pub(super) struct Streams {
    tasks: Arc<Mutex<JoinSet<()>>>,
    shared: Arc<Shared>,
    settings: Arc<ServerSettings>,
}

impl Streams {
    pub(super) fn new(shared: Arc<Shared>, settings: Arc<ServerSettings>) -> Self {
        Self { tasks: Arc::default(), shared, settings }
    }

    pub(super) fn abort(&self) {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner).abort_all();
    }

    /// Reads on after an early answer: clients (curl 7.88) take the reset that would follow for a failure.
    pub(super) fn discard(&self, mut body: Body) {
        let (limit, within) = (self.settings.max_linger_bytes, self.settings.linger_timeout);
        self.spawn(async move {
            // Whatever is left when the time is over is reset when the body is dropped.
            drop(timeout(within, discard(&mut body, limit)).await);
        });
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(ended) = tasks.try_join_next() {
            self.shared.note(&ended);
        }
        tasks.spawn(task);
    }
}

impl<F> Executor<F> for Streams
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, stream: F) {
        self.spawn(unless_stalled(stream, self.settings.write_stall_timeout));
    }
}
