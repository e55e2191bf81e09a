//! Our gate's core, driven as its shell drives it. The only file here that knows the core's calls.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

use tollgate::gate::core::{
    Ask, Class, Core, CoreSettings, Flight, Level, Order, PLAIN_WEIGHT, Path, RoomKey, Scope, Size, Standing,
    Turn, Verdict,
};
use tollgate::gate::{Hints, Rate, Signal, Wait};
use tollgate::route::{Access, Family};
use tollgate::words::TenantId;

use crate::world::{Answer, Deed, Request, Strategy};

/// The core and what the shell keeps beside it.
pub(crate) struct Ours {
    core: Core<usize>,
    base: Instant,
    knobs: Knobs,
    tickets: HashMap<usize, Ticket>,
    /// The one timer: a wake-up with an older mark is no longer wanted.
    timer: Option<Duration>,
    mark: u64,
}

#[derive(Debug)]
struct Ticket {
    turn: Turn,
    ask: Ask,
    joined_at: Duration,
    waited: Duration,
    flight: Option<Flight>,
}

/// Whether requests are writes to their rooms, whose order counts, or reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Reads,
    Writes,
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
    pub(crate) scope: Scope,
    pub(crate) kind: Kind,
}

impl Knobs {
    /// The defaults of `config/tollgate.toml`.
    pub(crate) const DEFAULT: Self = Self {
        start_rate: 5.0,
        is_pinned: false,
        burst: 10,
        max_wait: Duration::from_secs(25),
        max_waiting: 16_384,
        scope: Scope::Auto,
        kind: Kind::Reads,
    };

    /// Nobody is ever refused, and one quota is everybody's: what GATE 1 compares.
    pub(crate) const PATIENT: Self = Self {
        max_wait: Duration::from_secs(24 * 3600),
        max_waiting: 1_000_000,
        scope: Scope::Fixed(Level::Egress),
        ..Self::DEFAULT
    };
}

impl Ours {
    pub(crate) fn new(knobs: Knobs) -> Self {
        let base = Instant::now();
        Self { core: core(base, knobs), base, knobs, tickets: HashMap::new(), timer: None, mark: 0 }
    }

    fn release(&mut self, now: Duration, deeds: &mut Vec<Deed>) {
        let Self { core, tickets, base, .. } = self;
        let next_at = core.release(*base + now, &mut |id, verdict| {
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
            ticket.ask.deadline = self.base + now + self.knobs.max_wait.saturating_sub(ticket.waited);
            let joined = self.core.join(self.base + now, ticket.turn, ticket.ask, id, &mut |_, _| true);
            ticket.ask.standing = Standing::Replay;
            if let Err((_, Verdict::Refused(_, wait))) = joined {
                self.tickets.remove(&id);
                deeds.push(Deed::Refuse(id, stated(wait)));
            }
        }
        self.release(now, deeds);
    }
}

impl Strategy for Ours {
    fn arrived(&mut self, now: Duration, id: usize, request: &Request, deeds: &mut Vec<Deed>) {
        let turn = self.core.turn();
        let ask = ask(self.base, request.tenant, request.room, self.knobs.kind);
        self.tickets.insert(id, Ticket { turn, ask, joined_at: now, waited: Duration::ZERO, flight: None });
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
            Answer::Accepted => Signal::Accepted(Hints::default()),
            Answer::Refused(stated) => {
                let wait = stated.map_or(Wait::Missing, Wait::Stated);
                Signal::Throttled { wait, scope: None, hints: Hints::default() }
            }
        };
        self.core.learn(self.base + now, flight, self.base + sent_at, signal, &mut |_, _| true);
        match answer {
            Answer::Accepted => {
                if let Some(ticket) = self.tickets.remove(&id) {
                    self.core.finish(&ticket.ask, ticket.turn);
                }
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
        Some(self.core.egress(self.base).rate.per_second())
    }
}

/// What a small request of `tenant` for `room` asks.
pub(crate) fn ask(now: Instant, tenant: u32, room: u32, kind: Kind) -> Ask {
    let mut id = [0; 16];
    id[..4].copy_from_slice(&tenant.to_be_bytes());
    let tenant = TenantId::new(id);
    let (access, order, class, room) = match kind {
        Kind::Reads => (Access::Read, Order::Free, Class::READ, None),
        Kind::Writes => (Access::Write, Order::Strict, Class::WRITE, Some(RoomKey(u64::from(room)))),
    };
    Ask {
        path: Path { tenant, family: Family { segment: "messages", access }, room },
        line: tenant,
        weight: PLAIN_WEIGHT,
        class,
        order,
        size: if kind == Kind::Reads { Size::Probe } else { Size::Small },
        bytes: 500,
        standing: Standing::New,
        deadline: now + Duration::from_secs(1_000_000),
    }
}

/// A core by itself, for measuring it.
pub(crate) fn core(now: Instant, knobs: Knobs) -> Core<usize> {
    let rate = Rate::new(knobs.start_rate).unwrap();
    Core::new(
        now,
        CoreSettings {
            scope: knobs.scope,
            start_rate: rate,
            pin: if knobs.is_pinned { rate } else { Rate::MAX },
            burst: knobs.burst,
            ceiling: None,
            tenant_ceilings: Vec::new(),
            max_in_flight: 1_000_000,
            max_waiting: knobs.max_waiting,
            max_waiting_bytes: 1 << 40,
            max_tenant_waiting: u32::MAX,
            max_tenant_bytes: 1 << 40,
            max_gates: 10_000,
            max_gate: Duration::from_secs(3600),
        },
    )
}

/// As `reply` writes it: whole seconds, never 0.
fn stated(wait: Duration) -> Duration {
    Duration::from_secs(wait.as_secs_f64().ceil().max(1.0) as u64)
}
