//! Decides how many interim answers an upstream may send before the one that counts.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{Request, StatusCode};

/// The interim answers of one exchange over HTTP/1.1. hyper reads over any number of them.
#[derive(Debug, Default)]
pub(super) struct Interim(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    count: u32,
    last: StatusCode,
}

impl Interim {
    /// Watches what comes before the answer to `request`.
    pub(super) fn watch<B>(request: &mut Request<B>) -> Arc<Self> {
        let interim = Arc::new(Self::default());
        let watcher = Arc::clone(&interim);
        hyper::ext::on_informational(request, move |answer| {
            // RFC 9112 §6.3: an interim answer has no body. One that claims to have is the begin of confusion.
            let claims_body =
                [CONTENT_LENGTH, TRANSFER_ENCODING].iter().any(|name| answer.headers().contains_key(name));
            watcher.note(answer.status(), if claims_body { MOST + 1 } else { 1 });
        });
        interim
    }

    /// What the last one was, if there were too many.
    pub(super) fn exceeded(&self) -> Option<StatusCode> {
        let state = self.state();
        (state.count > MOST).then_some(state.last)
    }

    fn note(&self, status: StatusCode, weight: u32) {
        let mut state = self.state();
        state.count = state.count.saturating_add(weight);
        state.last = status;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One 100, some 102 while it works, a few 103: more are a flood.
const MOST: u32 = 32;
