//! Decides when a connection ends or rests by our doing: in a drain, at a deadline, or for want of requests.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::activity::{Activity, Expiry};
use super::drain::Drain;

/// Watches the two things that end a connection from our side: the drain and a deadline.
pub(super) struct Ending<'a> {
    drain: &'a Drain,
    activity: &'a Activity,
    phase: Phase,
    asks: Asks,
}

/// What to do with a connection.
pub(super) enum Next {
    /// Close at once.
    Drop,
    /// Say goodbye, and let what is under way come to its end.
    Finish,
    /// Let go of what is held for requests; more of them may come.
    Rest,
}

enum Phase {
    Serving,
    /// The drain has begun, but a request may be on its way: closing now would lose it.
    LastCall(Instant),
    Finishing,
}

/// When closing a quiet connection may cross with a request.
pub(super) enum Asks {
    /// Before each request: HTTP/1 has no way to tell a client which one was too late.
    Anew,
    /// Before the first one: later GOAWAY tells which streams were not looked at.
    Once,
}

impl<'a> Ending<'a> {
    pub(super) fn new(drain: &'a Drain, activity: &'a Activity, asks: Asks) -> Self {
        Self { drain, activity, phase: Phase::Serving, asks }
    }

    /// Waits until something is to be done.
    pub(super) async fn next(&mut self) -> Next {
        loop {
            match self.phase {
                Phase::Serving => {
                    let expiry = tokio::select! {
                        biased;
                        expiry = self.activity.expired() => expiry,
                        _ = self.drain.begun() => {
                            if self.is_request_due() {
                                self.phase = Phase::LastCall(Instant::now() + LAST_REQUEST_WITHIN);
                                continue;
                            }
                            self.phase = Phase::Finishing;
                            return Next::Finish;
                        }
                    };
                    return match expiry {
                        Expiry::Idle => self.finish(GOODBYE_WITHIN),
                        Expiry::Quiet => Next::Rest,
                        Expiry::Stalled => Next::Drop,
                    };
                }
                Phase::LastCall(by) => tokio::select! {
                    biased;
                    () = self.expired() => return Next::Drop,
                    () = sleep_until(by) => return self.finish(LAST_REQUEST_WITHIN),
                },
                Phase::Finishing => {
                    self.expired().await;
                    return Next::Drop;
                }
            }
        }
    }

    /// Waits for a deadline of a connection that does not go on.
    async fn expired(&self) {
        while self.activity.expired().await == Expiry::Quiet {}
    }

    fn finish(&mut self, within: Duration) -> Next {
        self.phase = Phase::Finishing;
        self.activity.finish_by(Instant::now() + within);
        Next::Finish
    }

    fn is_request_due(&self) -> bool {
        match self.asks {
            Asks::Anew => self.activity.is_quiet(),
            Asks::Once => self.activity.is_fresh(),
        }
    }
}

/// A request that a client sent before it could know of the drain is here by then; so is the first one after a
/// handshake.
const LAST_REQUEST_WITHIN: Duration = Duration::from_millis(500);
/// How long an idle HTTP/2 client has to take leave after our GOAWAY.
const GOODBYE_WITHIN: Duration = Duration::from_secs(5);
