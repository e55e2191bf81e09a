//! How long a client is waited for: patience that waiting uses up and that bytes give back.

use std::num::NonZeroU32;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep_until};

use super::activity::Activity;
use crate::body::{Body, BodyError};
use crate::words::Side;

/// Patience with one client.
///
/// Only time in which the client was waited for uses it up. It never grows beyond the longest silence, so no burst of
/// bytes buys a long one later.
#[derive(Debug)]
pub(super) struct Pace {
    longest_silence: Duration,
    min_rate: Option<NonZeroU32>,
    left: Duration,
    waiting_since: Option<Instant>,
}

impl Pace {
    /// Full patience: a silence of `longest_silence` ends it, and so does less than `min_rate` bytes per second on
    /// average.
    pub(super) fn new(longest_silence: Duration, min_rate: Option<NonZeroU32>) -> Self {
        Self { longest_silence, min_rate, left: longest_silence, waiting_since: None }
    }

    /// The client is waited for since `now`, or since an earlier call.
    pub(super) fn waits(&mut self, now: Instant) {
        self.waiting_since.get_or_insert(now);
    }

    /// It sent or took so many bytes; `now` is asked only if it was waited for.
    pub(super) fn moved(&mut self, bytes: usize, now: impl FnOnce() -> Instant) {
        if let Some(since) = self.waiting_since.take() {
            self.left = self.left.saturating_sub(now().saturating_duration_since(since));
        }
        let given_back = match self.min_rate {
            Some(rate) => {
                let nanos = u64::try_from(bytes).unwrap_or(u64::MAX).saturating_mul(1_000_000_000);
                Duration::from_nanos(nanos / u64::from(rate.get()))
            }
            None => self.longest_silence,
        };
        self.left = self.left.saturating_add(given_back).min(self.longest_silence);
    }

    /// Until when the client is waited for; none while it is not, or if that is beyond the clock's range.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.waiting_since?.checked_add(self.left)
    }

    /// What a client that used up its patience did wrong: it was silent, or too slow.
    fn fault(&self, side: Side) -> BodyError {
        match self.min_rate {
            Some(rate) if self.left < self.longest_silence => BodyError::TooSlow(side, rate),
            _ => BodyError::Stalled(side, self.longest_silence),
        }
    }
}

/// A client's `body`; it fails with [`BodyError::Stalled`] or [`BodyError::TooSlow`] when patience is used up.
pub(super) fn paced(body: Body, pace: Pace, activity: Arc<Activity>) -> Body {
    if body.is_end_stream() {
        return body;
    }
    Body::stream(Paced { body, pace, timer: None, activity })
}

struct Paced {
    body: Body,
    pace: Pace,
    timer: Option<Pin<Box<Sleep>>>,
    activity: Arc<Activity>,
}

impl HttpBody for Paced {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        if let Poll::Ready(frame) = Pin::new(&mut this.body).poll_frame(cx) {
            let data = frame.as_ref().and_then(|frame| frame.as_ref().ok()).and_then(Frame::data_ref);
            let bytes = data.map_or(0, Bytes::len);
            this.pace.moved(bytes, Instant::now);
            this.activity.body_read(bytes);
            return Poll::Ready(frame);
        }
        this.pace.waits(Instant::now());
        let Some(by) = this.pace.deadline() else { return Poll::Pending };
        let timer = this.timer.get_or_insert_with(|| Box::pin(sleep_until(by)));
        if timer.deadline() != by {
            timer.as_mut().reset(by);
        }
        ready!(timer.as_mut().poll(cx));
        Poll::Ready(Some(Err(this.pace.fault(Side::Client))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SILENCE: Duration = Duration::from_secs(20);

    /// How long a client lasts that moves `bytes` after every `pause`; none: longer than a day.
    fn lasts(bytes: usize, pause: Duration, min_rate: u32) -> Option<Duration> {
        let begun_at = Instant::now();
        let mut now = begun_at;
        let mut pace = Pace::new(SILENCE, NonZeroU32::new(min_rate));
        while now - begun_at < Duration::from_secs(86_400) {
            pace.waits(now);
            let by = pace.deadline().unwrap();
            if by < now + pause {
                return Some(by - begun_at);
            }
            now += pause;
            pace.moved(bytes, || now);
        }
        None
    }

    #[tokio::test]
    async fn a_client_may_be_as_slow_as_the_rate_and_as_silent_as_the_silence() {
        let seconds = Duration::from_secs;
        let cases = [
            (1, seconds(19), 500, Some(20)),
            (1, seconds(1), 500, Some(20)),
            (499, seconds(1), 500, Some(9_500)),
            (500, seconds(1), 500, None),
            (9_500, seconds(19), 500, None),
            (9_000, seconds(19), 500, Some(56)),
            (1_000_000, seconds(21), 500, Some(20)),
            (1, seconds(19), 0, None),
            (1_000_000, seconds(21), 0, Some(20)),
        ];
        for (bytes, pause, min_rate, expected) in cases {
            let got = lasts(bytes, pause, min_rate).map(|lasted| lasted.as_secs());
            let near =
                got.zip(expected).is_some_and(|(got, expected)| got.abs_diff(expected) <= expected / 50 + 1);
            assert!(
                near || got == expected,
                "{bytes} bytes per {pause:?} at {min_rate}: {got:?}, not {expected:?}"
            );
        }
    }

    #[tokio::test]
    async fn time_in_which_nobody_waits_costs_nothing() {
        let begun_at = Instant::now();
        let mut pace = Pace::new(SILENCE, NonZeroU32::new(500));
        for hour in 1..10 {
            pace.moved(1, || begun_at + Duration::from_secs(hour * 3_600));
            assert_eq!(pace.deadline(), None);
        }
        let later = begun_at + Duration::from_secs(36_000);
        pace.waits(later);
        assert_eq!(pace.deadline(), Some(later + SILENCE));
    }
}
