//! Our gate's core, driven as its shell drives it. The only file here that knows the core's calls.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

use tollgate::gate::core::{Core, CoreSettings, Flight, Turn, Verdict};
use tollgate::gate::{Rate, Signal, Wait};

use crate::world::{Answer, Deed, Request, Strategy};

/// The core and what the shell keeps beside it.
pub(crate) struct Ours {
    core: Core<usize>,
    base: Instant,
    max_wait: Duration,
    tickets: HashMap<usize, Ticket>,
    /// The one timer: a wake-up with an older mark is no longer wanted.
    timer: Option<Duration>,
    mark: u64,
}

#[derive(Debug)]
struct Ticket {
    turn: Turn,
    joined_at: Duration,
    waited: Duration,
    flight: Option<Flight>,
}

/// What is not at its default.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Knobs {
    /// Requests per second; from the first on, and never faster, if `is_pinned`.
    pub(crate) start_rate: f64,
    pub(crate) is_pinned: bool,
    pub(crate) burst: u32,
    pub(crate) max_wait: Duration,
    pub(crate) max_waiting: usize,
}

impl Knobs {
    /// The defaults of `config/tollgate.toml`.
    pub(crate) const DEFAULT: Self = Self {
        start_rate: 5.0,
        is_pinned: false,
        burst: 10,
        max_wait: Duration::from_secs(25),
        max_waiting: 10_000,
    };

    /// Nobody is ever refused.
    pub(crate) const PATIENT: Self =
        Self { max_wait: Duration::from_secs(24 * 3600), max_waiting: 1_000_000, ..Self::DEFAULT };
}

impl Ours {
    pub(crate) fn new(knobs: Knobs) -> Self {
        let base = Instant::now();
        Self {
            core: core(base, knobs),
            base,
            max_wait: knobs.max_wait,
            tickets: HashMap::new(),
            timer: None,
            mark: 0,
        }
    }

    fn release(&mut self, now: Duration, deeds: &mut Vec<Deed>) {
        let Self { core, tickets, base, .. } = self;
        let next_at = core.release(*base + now, |id, verdict| {
            let Some(ticket) = tickets.get_mut(&id) else { return false };
            ticket.waited += now - ticket.joined_at;
            match verdict {
                Verdict::Go(flight) => {
                    ticket.flight = Some(flight);
                    deeds.push(Deed::Send(id));
                }
                Verdict::Refused(_, wait) => {
                    tickets.remove(&id);
                    deeds.push(Deed::Refuse(id, stated(wait)));
                }
            }
            true
        });
        let next_at = next_at.map(|at| at.saturating_duration_since(self.base));
        if self.timer != next_at {
            self.timer = next_at;
            self.mark += 1;
            deeds.extend(next_at.map(|at| Deed::Wake(at, self.mark)));
        }
    }

    fn join(&mut self, now: Duration, id: usize, deeds: &mut Vec<Deed>) {
        if let Some(ticket) = self.tickets.get_mut(&id) {
            ticket.joined_at = now;
            let deadline = self.base + now + self.max_wait.saturating_sub(ticket.waited);
            if let Err((_, Verdict::Refused(_, wait))) =
                self.core.join(self.base + now, ticket.turn, deadline, id)
            {
                self.tickets.remove(&id);
                deeds.push(Deed::Refuse(id, stated(wait)));
            }
        }
        self.release(now, deeds);
    }
}

impl Strategy for Ours {
    fn arrived(&mut self, now: Duration, id: usize, _: &Request, deeds: &mut Vec<Deed>) {
        let turn = self.core.turn();
        self.tickets.insert(id, Ticket { turn, joined_at: now, waited: Duration::ZERO, flight: None });
        self.join(now, id, deeds);
    }

    fn answered(
        &mut self,
        now: Duration,
        id: usize,
        sent_at: Duration,
        answer: Answer,
        deeds: &mut Vec<Deed>,
    ) {
        let Some(flight) = self.tickets.get_mut(&id).and_then(|ticket| ticket.flight.take()) else { return };
        let signal = match answer {
            Answer::Accepted => Signal::Accepted,
            Answer::Refused(stated) => Signal::Throttled(stated.map_or(Wait::Missing, Wait::Stated)),
        };
        self.core.learn(self.base + now, flight, self.base + sent_at, signal);
        match answer {
            Answer::Accepted => {
                self.tickets.remove(&id);
                self.release(now, deeds);
            }
            Answer::Refused(_) => {
                self.release(now, deeds);
                self.join(now, id, deeds);
            }
        }
    }

    fn woken(&mut self, now: Duration, mark: u64, deeds: &mut Vec<Deed>) {
        if mark == self.mark {
            self.timer = None;
            self.release(now, deeds);
        }
    }

    fn rate(&self) -> Option<f64> {
        Some(self.core.rate().per_second())
    }
}

/// A core by itself, for measuring it.
pub(crate) fn core(now: Instant, knobs: Knobs) -> Core<usize> {
    let rate = Rate::new(knobs.start_rate).unwrap();
    Core::new(
        now,
        CoreSettings {
            start_rate: rate,
            ceiling: if knobs.is_pinned { rate } else { Rate::MAX },
            burst: knobs.burst,
            max_waiting: knobs.max_waiting,
            max_gate: Duration::from_secs(3600),
        },
    )
}

/// As `reply` writes it: whole seconds, never 0.
fn stated(wait: Duration) -> Duration {
    Duration::from_secs(wait.as_secs_f64().ceil().max(1.0) as u64)
}
