//! Whether a connection is at work, and when it has been idle for too long or must die at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::Notify;

/// The work under way on one connection. Clones are handles to the same.
#[derive(Debug, Clone)]
pub(super) struct Activity(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    exchanges: AtomicUsize,
    changed: Notify,
    killed: Notify,
}

/// One exchange at work; dropping it ends it.
#[derive(Debug)]
pub(super) struct Working(Activity);

impl Activity {
    pub(super) fn new() -> Self {
        let (changed, killed) = (Notify::new(), Notify::new());
        Self(Arc::new(Inner { exchanges: AtomicUsize::new(0), changed, killed }))
    }

    pub(super) fn begin(&self) -> Working {
        self.0.exchanges.fetch_add(1, Ordering::SeqCst);
        self.0.changed.notify_one();
        Working(self.clone())
    }

    /// Ends the connection now.
    pub(super) fn kill(&self) {
        self.0.killed.notify_one();
    }

    /// Returns when the connection was killed, or when no exchange was at work for `idle_timeout`.
    pub(super) async fn ended(&self, idle_timeout: Duration) {
        loop {
            let is_idle = self.0.exchanges.load(Ordering::SeqCst) == 0;
            tokio::select! {
                () = self.0.killed.notified() => return,
                () = self.0.changed.notified() => {}
                () = tokio::time::sleep(idle_timeout), if is_idle => return,
            }
        }
    }
}

impl Drop for Working {
    fn drop(&mut self) {
        self.0.0.exchanges.fetch_sub(1, Ordering::SeqCst);
        self.0.0.changed.notify_one();
    }
}
