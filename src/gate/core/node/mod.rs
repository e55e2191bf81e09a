//! One gate: whether requests may pass it, how fast, and what an answer changes.

use std::time::Duration;

use tokio::time::Instant;

use crate::gate::bucket::{Bucket, Rate};
use crate::gate::learn::{Estimate, Found};

use super::Flight;
use super::ask::Path;
use super::ration::{Due, Ration, Took};

mod booked;

/// A growing estimate is looked at this often while requests wait.
const GROWTH_STEP: Duration = Duration::from_millis(100);

/// Whether requests may pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// None before this instant.
    Closed(Instant),
    /// One at a time, until one is accepted.
    HalfOpen(Option<Flight>),
    /// At the rate.
    Open,
}

/// When the next request may pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pass {
    /// Not before the request that tries the gate is answered.
    AfterProbe,
    /// At this instant.
    At(Instant),
    /// At this instant, which somebody else has set.
    Booked(Instant),
    /// Now.
    Now,
    /// When a slot was asked for.
    Unbooked,
}

/// One refusal and what has been learned about its reach.
#[derive(Debug, Clone)]
pub(super) struct Episode {
    /// Who was refused, when that request was sent, and until when the API said to wait.
    pub(super) refused: Vec<(Path, Instant, Instant)>,
    /// The rate before the refusal, should it turn out to concern somebody else.
    before: Estimate,
    /// When requests may find out how far the refusal reaches.
    pub(super) probes: Probes,
}

/// When it may be found out how far a refusal reaches.
#[derive(Debug, Clone, Copy)]
pub(super) struct Probes {
    /// The next time.
    pub(super) at: Instant,
    /// From one time to the next.
    pub(super) every: Duration,
}

/// How many tenants' refusals say that a gate is closed for everybody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Doubt {
    /// One: anybody else may hope.
    One,
    /// Several: it is enough that one tries now and then.
    Several,
}

/// A gate on the way of some requests.
#[derive(Debug, Clone)]
pub(super) struct Node {
    pub(super) phase: Phase,
    /// Seldom there, and larger than all the rest: gates of idle tenants are many.
    pub(super) episode: Option<Box<Episode>>,
    pub(super) used_at: Instant,
    closed_at: Option<Instant>,
    was_closed_for: Duration,
    bucket: Bucket,
    estimate: Estimate,
    /// Tokens from outside instead of the bucket's; none while this process is alone.
    ration: Option<Box<Ration>>,
    /// When it was shut last, while tokens come from outside.
    shut_at: Option<Instant>,
}

impl Episode {
    /// A success within this time proves nothing: a common bucket refuses one and gives its next token to another.
    pub(super) fn luck(&self) -> Duration {
        Duration::from_secs_f64(LUCKY_TOKENS / self.before.rate().per_second()).min(MAX_LUCK)
    }
}

/// Tokens of the rate before the refusal, and the most that may be in time: the first probe goes after a second.
const LUCKY_TOKENS: f64 = 2.0;
const MAX_LUCK: Duration = Duration::from_millis(900);

/// Refusals of one episode that are told apart; more are alike.
const MAX_REFUSED: usize = 16;

impl Node {
    /// An open gate with a full bucket.
    pub(super) fn new(now: Instant, start: Rate, ceiling: Rate, burst: u32) -> Self {
        let estimate = Estimate::new(now, start, ceiling);
        let bucket = Bucket::full(now, estimate.rate(), burst);
        let (closed_at, was_closed_for) = (None, Duration::ZERO);
        let (phase, episode, ration, shut_at) = (Phase::Open, None, None, None);
        Self { phase, episode, used_at: now, closed_at, was_closed_for, bucket, estimate, ration, shut_at }
    }

    pub(super) fn rate(&self) -> Rate {
        self.estimate.rate()
    }

    /// How long it has been closed, all times together.
    pub(super) fn closed_for_total(&self, now: Instant) -> Duration {
        let ends_at = match self.phase {
            Phase::Closed(until) => until.min(now),
            Phase::HalfOpen(_) | Phase::Open => now,
        };
        let current = self.closed_at.map_or(Duration::ZERO, |at| ends_at.saturating_duration_since(at));
        self.was_closed_for + current
    }

    /// What is known of the limit beside the rate.
    pub(super) fn found(&self) -> Found {
        self.estimate.found()
    }

    /// Whether this process goes by its own part of the rate.
    pub(super) fn is_alone(&self) -> bool {
        self.ration.as_ref().is_some_and(|ration| ration.is_alone())
    }

    /// When the next request may pass. A closed gate whose time has come turns half-open.
    pub(super) fn pass(&mut self, now: Instant) -> Pass {
        self.lapse(now);
        match self.phase {
            Phase::Closed(until) => Pass::At(until),
            Phase::HalfOpen(Some(_)) => Pass::AfterProbe,
            Phase::HalfOpen(None) if self.ration.as_ref().is_none_or(|ration| ration.is_alone()) => Pass::Now,
            Phase::HalfOpen(None) | Phase::Open => match self.ration.as_mut().map(|ration| ration.due(now)) {
                Some(Due::Now) => Pass::Now,
                Some(Due::At(at)) => Pass::Booked(at),
                Some(Due::Unbooked) => Pass::Unbooked,
                None => match self.bucket.next_at(now) {
                    at if at <= now => Pass::Now,
                    at => Pass::At(at),
                },
            },
        }
    }

    /// A closed gate whose time has come: what is refused from now on is another episode.
    fn lapse(&mut self, now: Instant) {
        if let Phase::Closed(until) = self.phase
            && until <= now
        {
            self.was_closed_for = self.closed_for_total(until);
            self.closed_at = None;
            self.phase = Phase::HalfOpen(None);
            self.episode = None;
        }
    }

    /// Requests wait for this gate's tokens: the rate may grow. Returns when to look again.
    pub(super) fn backlogged(&mut self, now: Instant) -> Instant {
        self.estimate.backlogged(now);
        self.bucket.set_rate(now, self.estimate.rate());
        self.bucket.next_at(now).min(now + GROWTH_STEP).max(now + Duration::from_micros(1))
    }

    /// Nobody waits for it.
    pub(super) fn idle(&mut self, now: Instant) {
        self.estimate.idle(now);
    }

    /// A request passes. Tells what by, if tokens come from outside.
    pub(super) fn depart(&mut self, now: Instant, flight: Flight) -> Option<Took> {
        self.used_at = now;
        if self.phase == Phase::HalfOpen(None) {
            self.phase = Phase::HalfOpen(Some(flight));
        }
        self.estimate.sent();
        let Some(ration) = &mut self.ration else {
            self.bucket.take(now);
            return None;
        };
        Some(ration.take(now))
    }

    /// The request in flight was accepted. True if that opened the gate.
    pub(super) fn accepted(&mut self, now: Instant, flight: Flight) -> bool {
        let opens = self.phase == Phase::HalfOpen(Some(flight));
        if opens {
            self.phase = Phase::Open;
            self.estimate.idle(now);
            // What waited goes out paced, not as a burst.
            self.bucket.drain(now);
        }
        opens
    }

    /// The request in flight ended without an answer. True if the next may now try.
    pub(super) fn forget(&mut self, flight: Flight) -> bool {
        let frees = self.phase == Phase::HalfOpen(Some(flight));
        if frees {
            self.phase = Phase::HalfOpen(None);
        }
        frees
    }

    /// The request never left: its token comes back.
    pub(super) fn refund(&mut self, flight: Flight) -> bool {
        match &mut self.ration {
            Some(ration) => ration.give_back(),
            None => self.bucket.give_back(),
        }
        self.forget(flight)
    }

    /// How long to wait when the answer does not say.
    pub(super) fn unstated(&self, now: Instant) -> Duration {
        self.estimate.unstated(now)
    }

    /// Closes until `until`, or longer if it is already closed for longer. `probes` is when its reach may be tried.
    pub(super) fn close(&mut self, now: Instant, refused: (Path, Instant, Instant), probes: Probes) {
        self.lapse(now);
        let (path, sent_at, until) = refused;
        let before = self.estimate.clone();
        let closed_for = until.saturating_duration_since(now);
        match self.ration.as_mut().filter(|ration| ration.excuses(now)) {
            Some(ration) if self.estimate.crowded(now, sent_at, closed_for) => ration.excused(),
            Some(_) => {}
            None => self.estimate.refused(now, sent_at, closed_for),
        }
        self.bucket.set_rate(now, self.estimate.rate());
        let first = || Box::new(Episode { refused: Vec::with_capacity(1), before, probes });
        let episode = self.episode.get_or_insert_with(first);
        if self.ration.is_some() {
            // What others had under way is refused late, and a probe must come after it.
            episode.probes.at = episode.probes.at.max(probes.at);
        }
        if episode.refused.len() < MAX_REFUSED {
            // Of a bucket that others use, too, every other request may be accepted until all have heard of the refusal.
            let told_at = if self.ration.is_some() { now } else { sent_at };
            episode.refused.push((path, told_at, until));
        }
        self.shut(now, until);
    }

    /// Closes until `until`, or longer if it is already closed for longer; why is not known here.
    pub(super) fn shut(&mut self, now: Instant, until: Instant) {
        self.lapse(now);
        self.phase = match self.phase {
            Phase::Closed(other) => Phase::Closed(until.max(other)),
            Phase::HalfOpen(_) | Phase::Open => Phase::Closed(until),
        };
        self.closed_at.get_or_insert(now);
        self.used_at = now;
        self.cancel(now);
    }

    /// What was booked before the gate shut is void.
    fn cancel(&mut self, now: Instant) {
        if let Some(ration) = &mut self.ration {
            ration.cancel(now, self.estimate.rate());
            self.shut_at = Some(now);
        }
    }

    /// Nothing was refused, but nothing more would be accepted before `until`: no cut, nothing to find out.
    pub(super) fn rest(&mut self, now: Instant, until: Instant) {
        if self.phase == Phase::Open {
            self.phase = Phase::Closed(until);
            self.closed_at = Some(now);
            self.cancel(now);
        }
        self.used_at = now;
    }

    /// The refusal did not concern this gate: it opens as if nothing had been.
    pub(super) fn acquit(&mut self, now: Instant) -> Option<Box<Episode>> {
        let episode = self.episode.take()?;
        self.estimate = episode.before.clone();
        self.estimate.idle(now);
        self.bucket.set_rate(now, self.estimate.rate());
        self.was_closed_for = self.closed_for_total(now);
        self.closed_at = None;
        self.phase = Phase::Open;
        Some(episode)
    }

    /// When it may be found out whether this gate's refusals concern `path` too: while nobody knows, waiting for
    /// that is better than the whole stated time. None if they surely do, or nothing is closed.
    pub(super) fn doubt(&self, tells: impl Fn(&Path) -> bool) -> Option<(Instant, Doubt)> {
        let episode = self.episode.as_ref().filter(|_| matches!(self.phase, Phase::Closed(_)))?;
        let tells_all = episode.refused.iter().all(|(refused, ..)| tells(refused));
        let is_one = episode.refused.iter().all(|(refused, ..)| {
            Some(refused.tenant) == episode.refused.first().map(|(first, ..)| first.tenant)
        });
        tells_all.then_some((episode.probes.at, if is_one { Doubt::One } else { Doubt::Several }))
    }

    /// Time for `count` requests to pass.
    pub(super) fn time_for(&self, now: Instant, count: u32) -> Duration {
        match self.phase {
            Phase::Closed(until) => {
                let part = self.ration.as_ref().map_or(1.0, |ration| ration.part());
                let paced = f64::from(count.saturating_sub(1)) / self.rate().times(part).per_second();
                until.saturating_duration_since(now).saturating_add(Duration::from_secs_f64(paced))
            }
            Phase::HalfOpen(_) | Phase::Open => match &self.ration {
                Some(ration) => ration.time_for(now, count, self.rate()),
                None => self.bucket.time_for(now, count),
            },
        }
    }

    /// The operator has changed his mind about pin and burst.
    pub(super) fn set_limits(&mut self, now: Instant, pin: Rate, burst: u32) {
        self.estimate.set_ceiling(pin);
        self.bucket.set_burst(burst);
        self.bucket.set_rate(now, self.estimate.rate());
        if let Some(ration) = &mut self.ration {
            ration.set_rate(now, self.estimate.rate());
        }
    }

    /// Takes over what an earlier process had learned.
    pub(super) fn restore(&mut self, now: Instant, rate: Option<Rate>, closed_for: Option<Duration>) {
        if let Some(rate) = rate {
            self.estimate.restore(rate);
            self.bucket.set_rate(now, self.estimate.rate());
        }
        if let Some(closed_for) = closed_for {
            self.phase = Phase::Closed(now + closed_for);
            self.closed_at = Some(now);
        }
    }
}
