//! When an HTTP/2 stream is given up: its client takes nothing of what was handed over for it.

use std::pin::{Pin, pin};
use std::sync::{Mutex, PoisonError};
use std::task::Poll;
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

tokio::task_local! {
    /// When the stream whose task this is handed its last piece to the connection.
    static HANDED_AT: Mutex<Option<Instant>>;
}

/// Notes when a piece was handed over by the stream whose task this is; none: nothing waits for the client.
pub(super) fn note_handed(at: impl FnOnce() -> Option<Instant>) {
    // HTTP/1 has no task per answer: there the socket itself tells a slow reader.
    HANDED_AT
        .try_with(|handed| *handed.lock().unwrap_or_else(PoisonError::into_inner) = at())
        .unwrap_or_default();
}

/// Runs the task of an HTTP/2 stream; gives it up when its client takes nothing for `limit`.
pub(super) async fn unless_stalled(stream: impl Future<Output = ()>, limit: Duration) {
    let mut stream = pin!(stream);
    let mut timer: Option<Pin<Box<Sleep>>> = None;
    let watched = std::future::poll_fn(move |cx| {
        if stream.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        let handed = HANDED_AT.try_with(|at| *at.lock().unwrap_or_else(PoisonError::into_inner));
        let Ok(Some(handed_at)) = handed else {
            timer = None;
            return Poll::Pending;
        };
        let by = handed_at + limit;
        let timer = timer.get_or_insert_with(|| Box::pin(sleep_until(by)));
        if timer.deadline() != by {
            timer.as_mut().reset(by);
        }
        timer.as_mut().poll(cx)
    });
    HANDED_AT.scope(Mutex::new(None), watched).await;
}
