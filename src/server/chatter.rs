//! How many bytes of an HTTP/2 client may be about nothing: neither a request, nor a body, nor room for an answer.

use std::time::Duration;

use tokio::time::Instant;

/// An account of bytes: everything received is taken from it, everything that makes sense pays in.
///
/// So a flood of SETTINGS, PING, WINDOW_UPDATE, PRIORITY, CONTINUATION or unknown frames ends by one rule.
#[derive(Debug)]
pub(super) struct Chatter {
    left: u64,
    paid_at: Instant,
}

impl Chatter {
    /// What a client may say before its first request.
    pub(super) fn new(now: Instant) -> Self {
        Self { left: AT_FIRST, paid_at: now }
    }

    /// Takes received bytes. False if there are not enough left, even with what time paid in.
    pub(super) fn take(&mut self, bytes: usize, now: impl FnOnce() -> Instant) -> bool {
        let bytes = size(bytes);
        if self.left < bytes {
            let now = now();
            let seconds = now.saturating_duration_since(self.paid_at).as_secs();
            self.pay(seconds.saturating_mul(PER_SECOND));
            self.paid_at += Duration::from_secs(seconds);
        }
        let is_covered = bytes <= self.left;
        self.left = self.left.saturating_sub(bytes);
        is_covered
    }

    /// A request began.
    pub(super) fn request(&mut self) {
        self.pay(PER_REQUEST);
    }

    /// A frame of a request's body was read.
    pub(super) fn body(&mut self, bytes: usize) {
        self.pay(size(bytes).saturating_mul(2).saturating_add(PER_FRAME));
    }

    /// A piece of an answer was handed over, for which the client has to make room again. What answers its own frames
    /// pays nothing.
    pub(super) fn answer(&mut self, bytes: usize) {
        self.pay(size(bytes));
    }

    fn pay(&mut self, bytes: u64) {
        self.left = self.left.saturating_add(bytes).min(MOST);
    }
}

fn size(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

/// The connection's window and some 10,000 frames: bodies may have come up to it before the first request is looked at,
/// when the machine is busy. Otherwise far more than any client has to say without asking for anything.
const AT_FIRST: u64 = 1024 * 1024 + 128 * 1024;
/// Twice the connection's window: so much may be on its way of bodies that nobody reads any more.
const MOST: u64 = 2 * 1024 * 1024;
/// Some 1,000 frames.
const PER_SECOND: u64 = 16 * 1024;
/// Its head, and one stream's window of a body that was refused unread.
const PER_REQUEST: u64 = 80 * 1024;
/// The frame's head, and a TLS record around it; h2 itself bounds how many small ones there are.
const PER_FRAME: u64 = 128;

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_flood_is_cut_off_and_a_second_of_silence_pays_a_little() {
        let begun_at = Instant::now();
        let mut chatter = Chatter::new(begun_at);
        for _ in 0..AT_FIRST / 1024 {
            assert!(chatter.take(1024, || begun_at));
        }
        assert!(!chatter.take(1, || begun_at));
        let later = begun_at + Duration::from_secs(2);
        assert!(chatter.take(2 * 16 * 1024, || later));
        assert!(!chatter.take(1, || later));
    }

    #[tokio::test]
    async fn requests_bodies_and_answers_are_never_cut_off() {
        let now = Instant::now();
        let mut chatter = Chatter::new(now);
        for _ in 0..10_000 {
            chatter.request();
            assert!(chatter.take(8 * 1024, || now));
            for _ in 0..100 {
                assert!(chatter.take(1 + 9 + 29, || now));
                chatter.body(1);
                assert!(chatter.take(16 * 1024 + 9 + 29, || now));
                chatter.body(16 * 1024);
            }
            chatter.answer(1024);
            assert!(chatter.take(2 * 13 + 29, || now));
        }
    }
}
