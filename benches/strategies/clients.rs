//! The strategies without pacing: what clients do by themselves, and gates that only wait for `Retry-After`.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use crate::dice::Dice;
use crate::world::{Answer, Deed, Request, Strategy};

/// What the Python SDK waits when a 429 names no time; the shared gates do the same.
const UNSTATED: Duration = Duration::from_secs(15);

/// How a client chooses its pause after a 429.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Pause {
    /// As webexpythonsdk does: the stated time, at least a second, 15 s if there is none.
    Stated,
    /// Full jitter between nothing and 1 s doubled for each refusal, at most 64 s; `Retry-After` is not read.
    Backoff,
}

/// Every request for itself.
#[derive(Debug)]
pub(crate) struct Alone {
    pause: Pause,
    dice: Dice,
    refusals: HashMap<usize, i32>,
}

impl Alone {
    pub(crate) fn new(pause: Pause, seed: u64) -> Self {
        Self { pause, dice: Dice::new(seed), refusals: HashMap::new() }
    }
}

impl Strategy for Alone {
    fn arrived(&mut self, _: Duration, id: usize, _: &Request, deeds: &mut Vec<Deed>) {
        deeds.push(Deed::Send(id));
    }

    fn answered(&mut self, now: Duration, id: usize, _: Duration, answer: Answer, deeds: &mut Vec<Deed>) {
        let Answer::Refused(stated) = answer else { return };
        let pause = match self.pause {
            Pause::Stated => stated.unwrap_or(UNSTATED).max(Duration::from_secs(1)),
            Pause::Backoff => {
                let refusals = self.refusals.entry(id).or_insert(0);
                *refusals += 1;
                let most = 2_f64.powi((*refusals - 1).min(6));
                Duration::from_secs_f64(most * self.dice.share())
            }
        };
        deeds.push(Deed::Wake(now + pause, id as u64));
    }

    fn woken(&mut self, _: Duration, mark: u64, deeds: &mut Vec<Deed>) {
        deeds.push(Deed::Send(mark as usize));
    }
}

/// One gate for all: closed until the latest `Retry-After` has passed, then open to `most_in_flight` at a time.
#[derive(Debug)]
pub(crate) struct SharedGate {
    line: BTreeSet<usize>,
    closed_until: Duration,
    /// One probe first, and so many at a time after it; `None` releases everybody at once.
    most_in_flight: Option<usize>,
    is_half_open: bool,
    in_flight: usize,
}

impl SharedGate {
    pub(crate) fn new(most_in_flight: Option<usize>) -> Self {
        Self {
            line: BTreeSet::new(),
            closed_until: Duration::ZERO,
            most_in_flight,
            is_half_open: false,
            in_flight: 0,
        }
    }

    fn pour(&mut self, now: Duration, deeds: &mut Vec<Deed>) {
        let most = match self.most_in_flight {
            _ if now < self.closed_until => 0,
            None => usize::MAX,
            Some(_) if self.is_half_open => 1,
            Some(most) => most,
        };
        while self.in_flight < most
            && let Some(id) = self.line.pop_first()
        {
            self.in_flight += 1;
            deeds.push(Deed::Send(id));
        }
    }
}

impl Strategy for SharedGate {
    fn arrived(&mut self, now: Duration, id: usize, _: &Request, deeds: &mut Vec<Deed>) {
        self.line.insert(id);
        self.pour(now, deeds);
    }

    fn answered(&mut self, now: Duration, id: usize, _: Duration, answer: Answer, deeds: &mut Vec<Deed>) {
        self.in_flight -= 1;
        match answer {
            Answer::Accepted => self.is_half_open = false,
            Answer::Refused(stated) => {
                self.line.insert(id);
                self.closed_until = self.closed_until.max(now + stated.unwrap_or(UNSTATED));
                self.is_half_open = true;
                deeds.push(Deed::Wake(self.closed_until, 0));
            }
        }
        self.pour(now, deeds);
    }

    fn woken(&mut self, now: Duration, _: u64, deeds: &mut Vec<Deed>) {
        self.pour(now, deeds);
    }
}
