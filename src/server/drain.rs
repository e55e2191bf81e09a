//! Graceful drain: one signal that every connection hears, with the time by which it must be gone.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

/// Begins the drain. Dropping it unused begins one without any time to finish.
#[derive(Debug)]
pub struct DrainTrigger(watch::Sender<Option<Instant>>);

/// Hears of the drain; every listener holds a clone.
#[derive(Debug, Clone)]
pub struct Drain(watch::Receiver<Option<Instant>>);

impl DrainTrigger {
    /// No new connections from now on; the open ones may finish what they do for `grace`, then they are dropped.
    ///
    /// A second call replaces the time left: an operator in a hurry shortens it.
    pub fn begin(&self, grace: Duration) {
        let now = Instant::now();
        self.0.send_replace(Some(now.checked_add(grace).unwrap_or(now)));
    }
}

impl Drain {
    /// A signal that has not been given yet.
    #[allow(clippy::new_ret_no_self, reason = "the pair is the type")]
    pub fn new() -> (DrainTrigger, Self) {
        let (sender, receiver) = watch::channel(None);
        (DrainTrigger(sender), Self(receiver))
    }

    /// Whether the drain has begun.
    pub fn has_begun(&self) -> bool {
        self.0.borrow().is_some() || self.0.has_changed().is_err()
    }

    /// Waits for the drain to begin; yields the instant by which all must be done.
    pub async fn begun(&self) -> Instant {
        let mut receiver = self.0.clone();
        match receiver.wait_for(Option::is_some).await {
            Ok(deadline) => deadline.unwrap_or_else(Instant::now),
            Err(_) => Instant::now(),
        }
    }

    /// Waits for the end of the time that the drain has.
    pub(super) async fn over(&self) {
        let mut receiver = self.0.clone();
        loop {
            receiver.mark_unchanged();
            let deadline = self.begun().await;
            tokio::select! {
                () = sleep_until(deadline) => return,
                Ok(()) = receiver.changed() => {}
            }
        }
    }
}
