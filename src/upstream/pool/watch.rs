//! Decides when connections that rest are looked at, and which of them end.

use std::sync::{Arc, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::interval;

use super::{Shared, State, end, spawn};

impl Shared {
    pub(super) fn look_after(self: &Arc<Self>, state: &mut State) {
        state.has_rested = true;
        if !std::mem::replace(&mut state.is_watched, true) {
            // Ends when nothing has been kept for a while, at the latest with the pool.
            spawn(watch(Arc::downgrade(self), self.rest_timeout.min(LOOK_EVERY)));
        }
    }

    /// Ends what has rested too long, and drops what the upstream has ended. Whether anything was kept since the last tick:
    /// where all are in use, the next one rests soon.
    fn look(&self, cx: &mut Context<'_>, is_tick: bool) -> bool {
        let mut ended = Vec::new();
        let mut state = self.lock();
        let now = self.clock.now();
        let all = std::mem::take(&mut state.resting);
        for mut resting in all {
            if now.saturating_duration_since(resting.since) >= self.rest_timeout {
                ended.push(resting);
            } else if resting.single.poll(cx).is_pending() {
                state.resting.push(resting);
            }
        }
        state.common = state.common.take().filter(|common| self.is_kept(common, now));
        if is_tick {
            let has_rested = std::mem::take(&mut state.has_rested);
            state.is_watched = has_rested || !state.resting.is_empty() || state.common.is_some();
        }
        let is_watched = state.is_watched;
        drop(state);
        ended.into_iter().for_each(|resting| end(resting.single));
        is_watched
    }
}

/// Looks after the connections that rest: at once when one of them that was seen resting before is closed, and at every tick.
/// A request that takes one wakes nobody.
async fn watch(pool: Weak<Shared>, every: Duration) {
    let mut tick = interval(every.max(Duration::from_millis(1)));
    std::future::poll_fn(|cx| {
        let Some(pool) = pool.upgrade() else { return Poll::Ready(()) };
        let mut is_tick = false;
        while tick.poll_tick(cx).is_ready() {
            is_tick = true;
        }
        if pool.look(cx, is_tick) { Poll::Pending } else { Poll::Ready(()) }
    })
    .await;
}

/// A connection that the upstream closes right after an exchange holds its descriptor for so long, if nobody needs one.
const LOOK_EVERY: Duration = Duration::from_secs(1);
