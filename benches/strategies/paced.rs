//! The paced strategies beside ours: an oracle that knows the limit, and the bucket of the AWS SDKs.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::limiter::Limiter;
use crate::world::{Answer, Deed, Request, Strategy};

/// Knows the limiter and how long the way to it is: sends in order, each as early as it will pass.
#[derive(Debug)]
pub(crate) struct Oracle {
    mirror: Limiter,
    way: Duration,
    line: BTreeSet<usize>,
}

impl Oracle {
    pub(crate) fn new(limiter: &Limiter, way: Duration) -> Self {
        Self { mirror: limiter.clone(), way, line: BTreeSet::new() }
    }

    fn pour(&mut self, now: Duration, deeds: &mut Vec<Deed>) {
        while let Some(id) = self.line.first().copied() {
            match self.mirror.take(now + self.way) {
                Ok(()) => {
                    self.line.remove(&id);
                    deeds.push(Deed::Send(id));
                }
                Err(wait) => {
                    deeds.push(Deed::Wake(now + wait, 0));
                    return;
                }
            }
        }
    }
}

impl Strategy for Oracle {
    fn arrived(&mut self, now: Duration, id: usize, _: &Request, deeds: &mut Vec<Deed>) {
        self.line.insert(id);
        // Who is not first changes nothing: the first has its wake-up.
        if self.line.len() == 1 {
            self.pour(now, deeds);
        }
    }

    fn answered(&mut self, now: Duration, id: usize, _: Duration, answer: Answer, deeds: &mut Vec<Deed>) {
        if let Answer::Refused(_) = answer {
            self.line.insert(id);
            deeds.push(Deed::Wake(now + Duration::from_millis(10), 0));
        }
    }

    fn woken(&mut self, now: Duration, _: u64, deeds: &mut Vec<Deed>) {
        self.pour(now, deeds);
    }
}

/// The adaptive mode of the AWS SDKs (their published constants), one bucket for all bots: no limit before the first
/// 429, then a rate that follows CUBIC. `Retry-After` is not read; who was refused takes the next token.
#[derive(Debug)]
pub(crate) struct Cubic {
    line: BTreeSet<usize>,
    is_enabled: bool,
    rate: f64,
    tokens: f64,
    filled_at: Duration,
    best_rate: f64,
    cut_at: Duration,
    measured: f64,
    counted: f64,
    counted_from: f64,
    wakes_at: Duration,
}

const BETA: f64 = 0.7;
const SCALE: f64 = 0.4;
const SMOOTH: f64 = 0.8;
const LEAST_RATE: f64 = 0.5;

impl Cubic {
    pub(crate) fn new() -> Self {
        Self {
            line: BTreeSet::new(),
            is_enabled: false,
            rate: LEAST_RATE,
            tokens: 0.0,
            filled_at: Duration::ZERO,
            best_rate: 0.0,
            cut_at: Duration::ZERO,
            measured: 0.0,
            counted: 0.0,
            counted_from: 0.0,
            wakes_at: Duration::ZERO,
        }
    }

    /// The sending rate is measured over half seconds and smoothed.
    fn measure(&mut self, now: Duration) {
        let half = (now.as_secs_f64() * 2.0).floor() / 2.0;
        self.counted += 1.0;
        if half > self.counted_from {
            let current = self.counted / (half - self.counted_from);
            self.measured = current * SMOOTH + self.measured * (1.0 - SMOOTH);
            (self.counted, self.counted_from) = (0.0, half);
        }
    }

    fn fill(&mut self, now: Duration) {
        let gained = now.saturating_sub(self.filled_at).as_secs_f64() * self.rate;
        self.tokens = (self.tokens + gained).min(self.rate.max(1.0));
        self.filled_at = now;
    }

    fn pour(&mut self, now: Duration, deeds: &mut Vec<Deed>) {
        self.fill(now);
        while let Some(id) = self.line.first().copied() {
            if self.is_enabled {
                if self.tokens < 1.0 - 1e-9 {
                    let next_at = now + Duration::from_secs_f64((1.0 - self.tokens) / self.rate + 1e-6);
                    // A wake-up that comes too early (the rate fell) asks again; one is under way at a time.
                    if self.wakes_at <= now || next_at < self.wakes_at {
                        self.wakes_at = next_at;
                        deeds.push(Deed::Wake(next_at, 0));
                    }
                    return;
                }
                self.tokens -= 1.0;
            }
            self.line.remove(&id);
            deeds.push(Deed::Send(id));
        }
    }
}

impl Strategy for Cubic {
    fn arrived(&mut self, now: Duration, id: usize, _: &Request, deeds: &mut Vec<Deed>) {
        self.line.insert(id);
        self.pour(now, deeds);
    }

    fn answered(&mut self, now: Duration, id: usize, _: Duration, answer: Answer, deeds: &mut Vec<Deed>) {
        self.measure(now);
        let since_cut = |strategy: &Self| now.saturating_sub(strategy.cut_at).as_secs_f64();
        let wanted = match answer {
            Answer::Refused(_) => {
                self.line.insert(id);
                self.best_rate = if self.is_enabled { self.measured.min(self.rate) } else { self.measured };
                self.cut_at = now;
                self.is_enabled = true;
                self.best_rate * BETA
            }
            Answer::Accepted => {
                let window = (self.best_rate * (1.0 - BETA) / SCALE).cbrt();
                SCALE * (since_cut(self) - window).powi(3) + self.best_rate
            }
        };
        self.fill(now);
        self.rate = wanted.min(2.0 * self.measured).max(LEAST_RATE);
        self.tokens = self.tokens.min(self.rate.max(1.0));
        self.pour(now, deeds);
    }

    fn woken(&mut self, now: Duration, _: u64, deeds: &mut Vec<Deed>) {
        self.pour(now, deeds);
    }
}
