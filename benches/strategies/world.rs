//! Virtual time: bots, the wire and the hidden limit, stepped from event to event.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::time::Duration;

use crate::dice::Dice;
use crate::limiter::{Limiter, Told};

/// One request of one bot. Its place in the list of all requests is its id.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Request {
    pub(crate) arrives_at: Duration,
    pub(crate) tenant: u32,
    pub(crate) room: u32,
}

/// What the upstream answered.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Answer {
    Accepted,
    /// 429 with what `Retry-After` said, if it stood there.
    Refused(Option<Duration>),
}

/// What a strategy asks of the world.
#[derive(Debug)]
pub(crate) enum Deed {
    /// Onto the wire, now.
    Send(usize),
    /// The client is told 429 by the strategy itself, with this `Retry-After`.
    Refuse(usize, Duration),
    /// Call [`Strategy::woken`] with this mark.
    Wake(Duration, u64),
}

/// Who decides when requests go.
pub(crate) trait Strategy {
    fn arrived(&mut self, now: Duration, id: usize, request: &Request, deeds: &mut Vec<Deed>);
    fn answered(
        &mut self,
        now: Duration,
        id: usize,
        sent_at: Duration,
        answer: Answer,
        deeds: &mut Vec<Deed>,
    );
    fn woken(&mut self, now: Duration, mark: u64, deeds: &mut Vec<Deed>);
    /// Requests per second it believes in, where it believes in any.
    fn rate(&self) -> Option<f64> {
        None
    }
}

/// One experiment.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) requests: Vec<Request>,
    /// Requests a bot has under way at once; a Python bot has one.
    pub(crate) width: usize,
    pub(crate) limiter: Limiter,
    pub(crate) told: Told,
    pub(crate) round_trip: Duration,
    /// The limit becomes so many requests a second at these times.
    pub(crate) shifts: Vec<(Duration, f64)>,
    /// Share of requests that are refused whatever the limit says.
    pub(crate) stray_refusals: f64,
    pub(crate) seed: u64,
    /// A client that was refused tries again after the stated time.
    pub(crate) insists: bool,
}

/// What came of it.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) refused_at: Vec<Duration>,
    pub(crate) accepted_at: Vec<Duration>,
    /// From arrival at the bot to the answer, per request; `None` if it never was accepted.
    pub(crate) took: Vec<Option<Duration>>,
    /// From reaching the strategy for the first time to the last sending, per request.
    pub(crate) waited: Vec<Duration>,
    /// Our refusals: request, when, stated wait.
    pub(crate) told: Vec<(usize, Duration, Duration)>,
    /// Accepted before one that came earlier for the same tenant and room.
    pub(crate) inversions: usize,
    /// (time, believed rate) whenever it changed.
    pub(crate) rates: Vec<(Duration, f64)>,
    pub(crate) makespan: Duration,
}

impl Outcome {
    pub(crate) fn mean_took(&self) -> f64 {
        let took: Vec<f64> = self.took.iter().flatten().map(Duration::as_secs_f64).collect();
        took.iter().sum::<f64>() / took.len().max(1) as f64
    }

    pub(crate) fn max_took(&self) -> Duration {
        self.took.iter().flatten().max().copied().unwrap_or_default()
    }

    pub(crate) fn accepted_by(&self, end: Duration) -> usize {
        self.accepted_at.partition_point(|at| *at <= end)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Shift(usize),
    Arrive(usize),
    Reach { id: usize, sent_at: Duration },
    Answer { id: usize, sent_at: Duration, accepted: bool, told: Option<Duration> },
    Wake(u64),
    Insist(usize),
}

struct Run<'a> {
    world: &'a World,
    limiter: Limiter,
    dice: Dice,
    events: BinaryHeap<Reverse<(Duration, u64, Event)>>,
    count: u64,
    under_way: HashMap<u32, (usize, VecDeque<usize>)>,
    reached_strategy: Vec<Option<Duration>>,
    last_of_room: HashMap<(u32, u32), usize>,
    outcome: Outcome,
}

impl World {
    /// Runs until nothing is left to happen, at most to `end`.
    pub(crate) fn run(&self, strategy: &mut dyn Strategy, end: Duration) -> Outcome {
        let mut run = Run {
            world: self,
            limiter: self.limiter.clone(),
            dice: Dice::new(self.seed),
            events: BinaryHeap::new(),
            count: 0,
            under_way: HashMap::new(),
            reached_strategy: vec![None; self.requests.len()],
            last_of_room: HashMap::new(),
            outcome: Outcome {
                took: vec![None; self.requests.len()],
                waited: vec![Duration::ZERO; self.requests.len()],
                ..Outcome::default()
            },
        };
        for (number, (at, _)) in self.shifts.iter().enumerate() {
            run.push(*at, Event::Shift(number));
        }
        // One arrival is in the heap at a time: requests are sorted.
        run.push(self.requests.first().map_or(Duration::ZERO, |first| first.arrives_at), Event::Arrive(0));
        let mut deeds = Vec::new();
        let mut open = self.requests.len();
        while let Some(Reverse((now, _, event))) = run.events.pop() {
            if open == 0 || now > end {
                break;
            }
            open -= usize::from(run.step(now, event, strategy, &mut deeds));
            if let Some(rate) = strategy.rate()
                && run.outcome.rates.last().is_none_or(|(_, last)| *last != rate)
            {
                run.outcome.rates.push((now, rate));
            }
        }
        run.outcome
    }
}

impl Run<'_> {
    fn push(&mut self, at: Duration, event: Event) {
        self.count += 1;
        self.events.push(Reverse((at, self.count, event)));
    }

    /// True if a request came to its end.
    fn step(
        &mut self,
        now: Duration,
        event: Event,
        strategy: &mut dyn Strategy,
        deeds: &mut Vec<Deed>,
    ) -> bool {
        let mut ended = None;
        match event {
            Event::Shift(number) => self.limiter.set_rate(now, self.world.shifts[number].1),
            Event::Arrive(id) => {
                if let Some(next) = self.world.requests.get(id + 1) {
                    self.push(next.arrives_at, Event::Arrive(id + 1));
                }
                let (active, line) = self.under_way.entry(self.world.requests[id].tenant).or_default();
                if *active < self.world.width {
                    *active += 1;
                    self.hand_over(now, id, strategy, deeds);
                } else {
                    line.push_back(id);
                }
            }
            Event::Reach { id, sent_at } => self.reach(now, id, sent_at),
            Event::Answer { id, sent_at, accepted, told } => {
                let answer = if accepted { Answer::Accepted } else { Answer::Refused(told) };
                strategy.answered(now, id, sent_at, answer, deeds);
                if accepted {
                    self.outcome.took[id] = Some(now - self.world.requests[id].arrives_at);
                    self.outcome.makespan = now;
                    ended = Some(id);
                }
            }
            Event::Wake(mark) => strategy.woken(now, mark, deeds),
            Event::Insist(id) => self.hand_over(now, id, strategy, deeds),
        }
        let refused = self.carry_out(now, deeds);
        let has_ended = ended.is_some();
        for id in ended.into_iter().chain(refused) {
            self.end(now, id, strategy, deeds);
        }
        has_ended
    }

    fn hand_over(&mut self, now: Duration, id: usize, strategy: &mut dyn Strategy, deeds: &mut Vec<Deed>) {
        self.reached_strategy[id].get_or_insert(now);
        strategy.arrived(now, id, &self.world.requests[id], deeds);
    }

    fn reach(&mut self, now: Duration, id: usize, sent_at: Duration) {
        let is_stray = self.world.stray_refusals > 0.0 && self.dice.share() < self.world.stray_refusals;
        let verdict = if is_stray { Err(Duration::from_secs(1)) } else { self.limiter.take(now) };
        let (accepted, told) = match verdict {
            Ok(()) => {
                self.outcome.accepted_at.push(now);
                let request = &self.world.requests[id];
                let last = self.last_of_room.entry((request.tenant, request.room)).or_insert(id);
                self.outcome.inversions += usize::from(id < *last);
                *last = id.max(*last);
                (true, None)
            }
            Err(wait) => {
                self.outcome.refused_at.push(now);
                (false, self.world.told.say(wait))
            }
        };
        self.push(sent_at + self.world.round_trip, Event::Answer { id, sent_at, accepted, told });
    }

    /// Returns who was refused for good.
    fn carry_out(&mut self, now: Duration, deeds: &mut Vec<Deed>) -> Vec<usize> {
        let mut refused = Vec::new();
        for deed in deeds.drain(..) {
            match deed {
                Deed::Send(id) => {
                    self.outcome.waited[id] = now - self.reached_strategy[id].unwrap_or(now);
                    self.push(now + self.world.round_trip / 2, Event::Reach { id, sent_at: now });
                }
                Deed::Refuse(id, wait) => {
                    self.outcome.told.push((id, now, wait));
                    if self.world.insists {
                        self.push(now + wait, Event::Insist(id));
                    } else {
                        refused.push(id);
                    }
                }
                Deed::Wake(at, mark) => self.push(at.max(now), Event::Wake(mark)),
            }
        }
        refused
    }

    /// The bot goes on with its next request.
    fn end(&mut self, now: Duration, id: usize, strategy: &mut dyn Strategy, deeds: &mut Vec<Deed>) {
        let tenant = self.world.requests[id].tenant;
        let mut next = None;
        if let Some((active, line)) = self.under_way.get_mut(&tenant) {
            next = line.pop_front();
            *active -= usize::from(next.is_none());
        }
        if let Some(next) = next {
            self.hand_over(now, next, strategy, deeds);
            for refused in self.carry_out(now, deeds) {
                self.end(now, refused, strategy, deeds);
            }
        }
    }
}
