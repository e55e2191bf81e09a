//! Decides whom a connection wakes: the task that uses it now, and not for what that task itself does to it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use futures_util::task::AtomicWaker;

/// What a connection is polled with. hyper hands request, answer and body over in channels, each of which would wake the task
/// that is at it already; and a connection that has rested would wake the task that used it before.
pub(super) struct Bell {
    clapper: Arc<Clapper>,
    waker: Waker,
}

#[derive(Default)]
struct Clapper {
    task: AtomicWaker,
    is_muted: AtomicBool,
}

impl Bell {
    pub(super) fn new() -> Self {
        let clapper = Arc::<Clapper>::default();
        Self { waker: Waker::from(Arc::clone(&clapper)), clapper }
    }

    /// Polls for this task: from now on it is woken.
    pub(super) fn poll<T>(
        &self,
        cx: &Context<'_>,
        poll: impl FnOnce(&mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        self.clapper.task.register(cx.waker());
        poll(&mut Context::from_waker(&self.waker))
    }

    /// Wakes nobody until it is polled for somebody again.
    pub(super) fn rest(&self) {
        drop(self.clapper.task.take());
    }

    /// Does something that wakes nobody. The connection must be polled next, lest something else of that moment be missed.
    pub(super) fn muted<T>(&self, work: impl FnOnce(&mut Context<'_>) -> T) -> T {
        self.clapper.is_muted.store(true, Ordering::SeqCst);
        let done = work(&mut Context::from_waker(Waker::noop()));
        self.clapper.is_muted.store(false, Ordering::SeqCst);
        done
    }
}

impl Wake for Clapper {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.is_muted.load(Ordering::SeqCst) {
            self.task.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Rung(AtomicBool);

    impl Wake for Rung {
        fn wake(self: Arc<Self>) {
            self.0.store(true, Ordering::SeqCst);
        }
    }

    #[test]
    fn it_wakes_who_polled_last_and_nobody_while_it_is_muted_or_rests() {
        let bell = Bell::new();
        let [first, second] = [(); 2].map(|()| Arc::<Rung>::default());
        let poll = |task: &Arc<Rung>| {
            let mut kept = None;
            let waker = Waker::from(Arc::clone(task));
            let polled = bell.poll(&Context::from_waker(&waker), |cx| {
                kept = Some(cx.waker().clone());
                Poll::<()>::Pending
            });
            assert!(polled.is_pending());
            kept.unwrap()
        };
        let rung = |task: &Arc<Rung>| task.0.swap(false, Ordering::SeqCst);

        let waker = poll(&first);
        bell.muted(|_| waker.wake_by_ref());
        assert!(!rung(&first));
        waker.wake_by_ref();
        assert!(rung(&first));
        let _same = poll(&second);
        waker.wake_by_ref();
        assert!(!rung(&first) && rung(&second));
        let _same = poll(&second);
        bell.rest();
        waker.wake_by_ref();
        assert!(!rung(&second));
    }
}
