//! Keeps alive what the whole process depends on: a task that breaks off is told and begun again.

use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::sleep;

/// Runs `work` for ever, anew if it panics. Ends when it ends, or when this future is dropped, and `work` with it.
pub(super) async fn keep_alive<F>(task: &'static str, mut work: impl FnMut() -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    loop {
        let mut running = JoinSet::new();
        running.spawn(work());
        match running.join_next().await {
            Some(Err(broken)) if broken.is_panic() => tracing::error!(task, "task broke off, begun again"),
            _ => return,
        }
        sleep(PAUSE).await;
    }
}

/// What breaks off at once again must not fill processor and log.
const PAUSE: Duration = Duration::from_millis(250);

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_task_that_panics_is_begun_again_until_it_ends() {
        let begun = Arc::new(AtomicU32::new(0));
        let count = Arc::clone(&begun);
        keep_alive("test", move || {
            let count = Arc::clone(&count);
            async move { assert!(count.fetch_add(1, Ordering::Relaxed) == 2, "broken") }
        })
        .await;
        assert_eq!(begun.load(Ordering::Relaxed), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn work_ends_with_whoever_keeps_it_alive() {
        let held = Arc::new(());
        let inner = Arc::clone(&held);
        let kept = keep_alive("test", move || {
            let inner = Arc::clone(&inner);
            async move {
                let _inner = inner;
                std::future::pending().await
            }
        });
        drop(tokio::time::timeout(Duration::from_secs(1), kept).await);
        sleep(Duration::from_millis(1)).await;
        assert_eq!(Arc::strong_count(&held), 1);
    }
}
