//! AATB, the best published client-side method (arXiv 2510.04516), as its authors' description and programs tell it.
//!
//! Each bot has a bucket of its own; a telemetry service tells all of them how many 429s and requests there were
//! in the last ten seconds, and the quota. Assumed, for want of published values: a bucket of ten, a first rate of
//! 15 a minute, steps of 1.5 and 1.1.

use std::collections::VecDeque;
use std::time::Duration;

use crate::dice::Dice;
use crate::world::{Answer, Deed, Request, Strategy};

const WINDOW: Duration = Duration::from_secs(10);
const SIZE: f64 = 10.0;
const FIRST_RATE: f64 = 0.25;
const LEAST_RATE: f64 = 0.01;
/// For who sent clearly less than the others, and for the rest.
const STEPS: (f64, f64) = (1.5, 1.1);
/// Seconds in which the quota lets one request pass: the telemetry knows it.
const SECONDS_PER_TOKEN: f64 = 60.0 / 300.0;

/// A hundred bots and their telemetry.
#[derive(Debug)]
pub(crate) struct Aatb {
    bots: Vec<Bot>,
    bot_of: Vec<usize>,
    refused_at: VecDeque<Duration>,
    dice: Dice,
}

#[derive(Debug, Clone, Default)]
struct Bot {
    line: VecDeque<usize>,
    rate: f64,
    tokens: f64,
    filled_at: Duration,
    not_before: Duration,
    changed_at: Duration,
    congested_at: Option<Duration>,
    sent: f64,
    sent_before: f64,
    reports_from: Option<Duration>,
}

impl Aatb {
    pub(crate) fn new(bots: usize, requests: &[Request], seed: u64) -> Self {
        let bot = Bot { rate: FIRST_RATE, tokens: 1.0, ..Bot::default() };
        Self {
            bots: vec![bot; bots],
            bot_of: requests.iter().map(|request| request.tenant as usize).collect(),
            refused_at: VecDeque::new(),
            dice: Dice::new(seed),
        }
    }

    fn try_sending(&mut self, now: Duration, number: usize, deeds: &mut Vec<Deed>) {
        let bot = &mut self.bots[number];
        let gained = now.saturating_sub(bot.filled_at).as_secs_f64() * bot.rate;
        (bot.tokens, bot.filled_at) = ((bot.tokens + gained).min(SIZE), now);
        while let Some(id) = bot.line.front().copied() {
            let missing = Duration::from_secs_f64(((1.0 - bot.tokens) / bot.rate).max(0.0));
            let at = (now + missing).max(bot.not_before);
            if at > now + Duration::from_micros(1) {
                deeds.push(Deed::Wake(at, 2 * number as u64));
                return;
            }
            bot.tokens -= 1.0;
            bot.sent += 1.0;
            bot.line.pop_front();
            deeds.push(Deed::Send(id));
        }
    }

    /// Refusals in the last window, and what an active bot sent in it on average.
    fn telemetry(&mut self, now: Duration) -> (usize, f64) {
        while self.refused_at.front().is_some_and(|at| *at + WINDOW < now) {
            self.refused_at.pop_front();
        }
        let sent = || self.bots.iter().map(|bot| bot.sent_before + bot.sent);
        let active = sent().filter(|sent| *sent > 0.0).count().max(1);
        (self.refused_at.len(), sent().sum::<f64>() / active as f64)
    }

    fn report(&mut self, now: Duration, number: usize) {
        if self.bots[number].congested_at.is_some_and(|at| now - at < WINDOW) {
            return;
        }
        let (refusals, average) = self.telemetry(now);
        let jitter = Duration::from_secs_f64(4.0 * self.dice.share());
        let bot = &mut self.bots[number];
        (bot.sent_before, bot.sent) = (bot.sent, 0.0);
        if refusals > 0 {
            bot.not_before = now + WINDOW - Duration::from_secs(2) + jitter;
        } else if now - bot.changed_at >= WINDOW {
            let step = if bot.sent_before < 0.75 * average { STEPS.0 } else { STEPS.1 };
            (bot.rate, bot.changed_at) = ((bot.rate * step).max(bot.rate + LEAST_RATE), now);
        }
    }
}

impl Strategy for Aatb {
    fn arrived(&mut self, now: Duration, id: usize, _: &Request, deeds: &mut Vec<Deed>) {
        let number = self.bot_of[id];
        let bot = &mut self.bots[number];
        if bot.reports_from.is_none() {
            bot.reports_from = Some(now);
            deeds.push(Deed::Wake(now + WINDOW, 2 * number as u64 + 1));
        }
        bot.line.push_back(id);
        self.try_sending(now, number, deeds);
    }

    fn answered(&mut self, now: Duration, id: usize, _: Duration, answer: Answer, deeds: &mut Vec<Deed>) {
        if let Answer::Accepted = answer {
            return;
        }
        let number = self.bot_of[id];
        let (refusals, average) = self.telemetry(now);
        self.refused_at.push_back(now);
        let wait = (refusals + 1) as f64 * SECONDS_PER_TOKEN + self.dice.share();
        let bot = &mut self.bots[number];
        (bot.sent_before, bot.sent) = (bot.sent, 0.0);
        let share = if bot.sent_before < 0.5 * average { 2.0 } else { 3.0 };
        bot.rate = (bot.rate / share).max(LEAST_RATE);
        (bot.tokens, bot.filled_at) = (1.1, now);
        (bot.changed_at, bot.congested_at) = (now, Some(now));
        bot.not_before = now + Duration::from_secs_f64(wait);
        bot.line.push_front(id);
        self.try_sending(now, number, deeds);
    }

    fn woken(&mut self, now: Duration, mark: u64, deeds: &mut Vec<Deed>) {
        let number = (mark / 2) as usize;
        if mark % 2 == 1 {
            self.report(now, number);
            deeds.push(Deed::Wake(now + WINDOW, mark));
        }
        self.try_sending(now, number, deeds);
    }
}
