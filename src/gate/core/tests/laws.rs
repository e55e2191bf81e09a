//! What holds whatever happens and in whatever order (GATE 2, 3, 6, 9).

#![allow(clippy::as_conversions, reason = "small numbers of a test")]

use std::collections::HashMap;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::{Index, select};

use super::*;
use crate::gate::PROBATION;
use crate::gate::signal::{Hints, NamedScope};

const MILLI: Duration = Duration::from_millis(1);
const FAMILIES: [Family; 3] = [READS, WRITES, Family { segment: "messages", access: Access::Read }];
const LEVELS: [Level; 4] = [Level::Egress, Level::Tenant, Level::Family, Level::Room];

#[derive(Debug, Clone)]
enum Event {
    Join(Request),
    /// Who waits goes away.
    Leave(Index),
    /// Who waits goes away, and nobody has told the line yet.
    Vanish(Index),
    Pass(Duration),
    Accept(Index, Option<Duration>),
    Refuse(Index, Wait, Option<NamedScope>),
    Forget(Index),
    Refund(Index),
    /// Who was refused stands in line again.
    Replay(Index),
    /// The client's request is over.
    Finish(Index),
    Configure(Level, u32),
}

#[derive(Debug, Clone)]
struct Request {
    tenant: u8,
    is_stranger: bool,
    family: usize,
    room: Option<u64>,
    class: u8,
    is_strict: bool,
    size: Size,
    patience: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum State {
    Waiting(Place),
    Vanished(Place),
    Flying(Flight, Instant),
    /// Answered or lost; the client's request is not over.
    Resting,
    Over,
}

#[derive(Debug)]
struct Member {
    ask: Ask,
    turn: Turn,
    state: State,
    /// Its grant counts in the present interval of the budget.
    interval: Option<u32>,
}

/// What a gate was last seen to be.
#[derive(Debug, Clone, Copy)]
enum Seen {
    Closed { since: Instant, tried_at: Option<Instant> },
    Trying(bool),
    Open,
}

/// What is known of a gate from the answers alone, where the operator fixed the scope.
#[derive(Debug, Clone, Copy)]
enum Known {
    Closed(Instant),
    Trying(Option<u32>),
    Open,
}

struct Crowd {
    core: Core<u32>,
    settings: CoreSettings,
    now: Instant,
    members: Vec<Member>,
    seen: HashMap<NodeKey, Seen>,
    known: HashMap<NodeKey, Known>,
    /// Grants above the rate in the present interval, and when that was.
    level: (f64, Instant),
    interval: u32,
}

fn key(ask: &Ask) -> (TenantId, Path) {
    (ask.line, ask.path)
}

fn gates_of(ask: &Ask) -> Vec<NodeKey> {
    let mut keys = LEVELS.map(|level| ask.path.at(level)).to_vec();
    keys.dedup();
    keys
}

impl Crowd {
    fn new(settings: CoreSettings) -> Self {
        let now = Instant::now();
        Self {
            core: Core::new(now, settings.clone()),
            settings,
            now,
            members: Vec::new(),
            seen: HashMap::new(),
            known: HashMap::new(),
            level: (0.0, now),
            interval: 0,
        }
    }

    fn happens(&mut self, event: Event) {
        match event {
            Event::Join(request) => self.join(&request),
            Event::Leave(at) => {
                let waits = |state: &State| matches!(state, State::Waiting(_) | State::Vanished(_));
                if let Some((who, State::Waiting(place) | State::Vanished(place))) = self.choose(at, waits) {
                    self.core.leave(place);
                    self.over(who);
                }
            }
            Event::Vanish(at) => {
                if let Some((who, State::Waiting(place))) =
                    self.choose(at, |state| matches!(state, State::Waiting(_)))
                {
                    self.members[who].state = State::Vanished(place);
                }
            }
            Event::Pass(time) => self.pass(time, false),
            Event::Accept(at, rest) => {
                let hints = Hints { remaining: rest.map(|_| 0), reset_in: rest, ..Hints::default() };
                self.answered(at, Signal::Accepted(hints));
            }
            Event::Refuse(at, wait, scope) => {
                self.answered(at, Signal::Throttled { wait, scope, hints: Hints::default() });
            }
            Event::Forget(at) => self.lost(at, |core, flight| core.forget(flight)),
            Event::Refund(at) => {
                match self.choose(at, |state| matches!(state, State::Flying(..))) {
                    Some((who, _)) if self.members[who].interval == Some(self.interval) => {
                        self.level.0 -= 1.0;
                    }
                    Some(_) => self.new_interval(),
                    None => {}
                }
                self.lost(at, |core, flight| core.refund(flight));
            }
            Event::Replay(at) => {
                if let Some((who, _)) = self.choose(at, |state| *state == State::Resting) {
                    let deadline = self.now + SECOND * 1_000_000;
                    let ask = Ask { standing: Standing::Replay, deadline, ..self.members[who].ask };
                    self.stand(who, ask);
                }
            }
            Event::Finish(at) => {
                if let Some((who, _)) = self.choose(at, |state| *state == State::Resting) {
                    self.over(who);
                }
            }
            Event::Configure(level, burst) => {
                if let Scope::Fixed(_) = self.settings.scope {
                    self.settings.scope = Scope::Fixed(level);
                }
                self.settings.burst = burst;
                self.core.reconfigure(self.now, self.settings.clone());
                self.new_interval();
            }
        }
        self.look();
        self.release(false);
    }

    fn choose(&self, at: Index, wanted: impl Fn(&State) -> bool) -> Option<(usize, State)> {
        let found: Vec<_> = (0..self.members.len()).filter(|who| wanted(&self.members[*who].state)).collect();
        let who = *found.get(at.index(found.len().max(1)))?;
        Some((who, self.members[who].state))
    }

    fn join(&mut self, request: &Request) {
        let own = tenant(request.tenant);
        let ask = Ask {
            path: Path { tenant: own, family: FAMILIES[request.family], room: request.room.map(RoomKey) },
            line: if request.is_stranger { PROBATION } else { own },
            weight: NonZeroU32::new(1 + u32::from(request.tenant) % 3).unwrap(),
            class: Class::new(request.class).unwrap(),
            order: if request.is_strict { Order::Strict } else { Order::Free },
            size: request.size,
            bytes: 100,
            standing: Standing::New,
            deadline: self.now + request.patience,
        };
        let turn = self.core.turn();
        self.members.push(Member { ask, turn, state: State::Resting, interval: None });
        self.stand(self.members.len() - 1, ask);
    }

    fn stand(&mut self, who: usize, ask: Ask) {
        let mut told = Vec::new();
        let number = u32::try_from(who).unwrap();
        let turn = self.members[who].turn;
        let joined = self.core.join(self.now, turn, ask, number, &mut |other, verdict| {
            told.push((other, verdict, true));
            true
        });
        match joined {
            Ok(place) => {
                self.members[who].ask = ask;
                self.members[who].state = State::Waiting(place);
            }
            Err((_, Verdict::Refused(..))) => self.over(who),
            Err(other) => panic!("{other:?}"),
        }
        self.hear(told, false);
    }

    fn over(&mut self, who: usize) {
        let Member { ask, turn, .. } = self.members[who];
        self.core.finish(&ask, turn);
        self.members[who].state = State::Over;
    }

    fn answered(&mut self, at: Index, signal: Signal) {
        let Some((who, State::Flying(flight, sent_at))) =
            self.choose(at, |state| matches!(state, State::Flying(..)))
        else {
            return;
        };
        self.answer(who, flight, sent_at, signal);
    }

    fn answer(&mut self, who: usize, flight: Flight, sent_at: Instant, signal: Signal) {
        let mut told = Vec::new();
        self.core.learn(self.now, flight, sent_at, signal, &mut |other, verdict| {
            told.push((other, verdict, true));
            true
        });
        self.members[who].state = State::Resting;
        let ask = self.members[who].ask;
        let number = u32::try_from(who).unwrap();
        let mut has_learned = false;
        for key in gates_of(&ask) {
            let known = self.known.entry(key).or_insert(Known::Open);
            if matches!(known, Known::Trying(Some(trying)) if *trying == number) {
                has_learned = true;
                let is_accepted = matches!(signal, Signal::Accepted(_));
                *known = if is_accepted { Known::Open } else { Known::Trying(None) };
            }
        }
        if let (Signal::Throttled { wait, .. }, Scope::Fixed(level)) = (signal, self.settings.scope) {
            let key = ask.path.at(level);
            let until = self.now + self.closed_for(key).expect("a refusal closes its gate");
            let least = match wait {
                Wait::Stated(stated) if !stated.is_zero() => stated.min(self.settings.max_gate),
                _ => SECOND,
            };
            assert!(until >= self.now + least, "opens before the stated instant");
            if let Some(Known::Closed(other)) = self.known.insert(key, Known::Closed(until)) {
                assert!(until >= other, "a later refusal opens a gate earlier");
            }
        }
        // An acceptance may reopen a gate (as a probe or as evidence); then the bucket starts anew.
        if has_learned || matches!(signal, Signal::Throttled { .. }) || self.settings.scope == Scope::Auto {
            self.new_interval();
        }
        self.hear(told, false);
    }

    fn lost(&mut self, at: Index, lose: impl FnOnce(&mut Core<u32>, Flight)) {
        let Some((who, State::Flying(flight, _))) =
            self.choose(at, |state| matches!(state, State::Flying(..)))
        else {
            return;
        };
        lose(&mut self.core, flight);
        self.members[who].state = State::Resting;
        let number = u32::try_from(who).unwrap();
        for known in self.known.values_mut() {
            if matches!(known, Known::Trying(Some(trying)) if *trying == number) {
                *known = Known::Trying(None);
            }
        }
    }

    fn new_interval(&mut self) {
        self.interval += 1;
        self.level = (0.0, self.now);
    }

    fn phase(&self, key: NodeKey) -> Phase {
        match key {
            NodeKey::Egress => self.core.egress.phase,
            _ => self.core.gates.get(&key).map_or(Phase::Open, |gate| gate.phase),
        }
    }

    fn closed_for(&self, key: NodeKey) -> Option<Duration> {
        match self.phase(key) {
            Phase::Closed(until) => Some(until.saturating_duration_since(self.now)),
            Phase::HalfOpen(_) | Phase::Open => None,
        }
    }

    /// Takes down what every gate is, before somebody may pass it.
    fn look(&mut self) {
        let keys: Vec<_> = [NodeKey::Egress].into_iter().chain(self.core.gates.keys().copied()).collect();
        self.seen = keys
            .into_iter()
            .map(|key| {
                let seen = match (self.phase(key), self.seen.get(&key)) {
                    (Phase::Closed(until), _) if until <= self.now => Seen::Trying(false),
                    (Phase::Closed(_), Some(seen @ Seen::Closed { .. })) => *seen,
                    (Phase::Closed(_), _) => Seen::Closed { since: self.now, tried_at: None },
                    (Phase::HalfOpen(flight), _) => Seen::Trying(flight.is_some()),
                    (Phase::Open, _) => Seen::Open,
                };
                (key, seen)
            })
            .collect();
    }

    fn pass(&mut self, time: Duration, is_all_accepted: bool) {
        let end = self.now + time;
        while let Some(next) = self.release(is_all_accepted)
            && next <= end
        {
            self.now = next;
            self.look();
        }
        self.now = end;
        self.look();
    }

    fn release(&mut self, is_all_accepted: bool) -> Option<Instant> {
        let mut told = Vec::new();
        let Self { core, members, now, .. } = self;
        let next = core.release(*now, &mut |who, verdict| {
            let is_there = matches!(members[who as usize].state, State::Waiting(_));
            told.push((who, verdict, is_there));
            is_there
        });
        assert!(next.is_none_or(|next| next > self.now), "asks to be asked again at once");
        let has_gone = told.iter().any(|(_, verdict, _)| matches!(verdict, Verdict::Go(_)));
        self.hear(told, is_all_accepted);
        if is_all_accepted && has_gone {
            // Each answer is followed by another look at the line.
            self.look();
            return self.release(is_all_accepted);
        }
        next
    }

    fn hear(&mut self, told: Vec<(u32, Verdict, bool)>, is_all_accepted: bool) {
        for (number, verdict, is_there) in told {
            let who = number as usize;
            let state = self.members[who].state;
            assert!(matches!(state, State::Waiting(_) | State::Vanished(_)), "told twice, or after it left");
            match verdict {
                Verdict::Refused(reason, _) => {
                    self.check_refusal(who, reason);
                    self.over(who);
                }
                Verdict::Go(_) if !is_there => self.over(who),
                Verdict::Go(flight) => {
                    self.check_order(who);
                    self.check_gates(who);
                    self.members[who].state = State::Flying(flight, self.now);
                    if is_all_accepted {
                        self.answer(who, flight, self.now, Signal::accepted());
                        self.over(who);
                    }
                }
            }
        }
    }

    fn check_refusal(&self, who: usize, reason: Reason) {
        let ask = &self.members[who].ask;
        let reopens_in = self.core.closed_for(self.now, &ask.path).unwrap_or_default();
        let is_hopeless = ask.deadline <= self.now || ask.deadline < self.now + reopens_in;
        assert!(reason == Reason::Full || is_hopeless, "refused although it could still go");
    }

    /// Law (d): of one room's ordered writes, all that came before are over, and no other is under way.
    fn check_order(&self, who: usize) {
        let this = &self.members[who];
        if this.ask.order == Order::Free {
            return;
        }
        let others = self.members.iter().filter(|other| {
            other.turn != this.turn && other.ask.order == Order::Strict && key(&other.ask) == key(&this.ask)
        });
        for other in others {
            let is_gone = matches!(other.state, State::Over | State::Vanished(_));
            let waits_behind = matches!(other.state, State::Waiting(_)) && other.turn > this.turn;
            assert!(is_gone || waits_behind, "{:?} goes beside or before {other:?}", this.turn);
        }
    }

    /// Laws (a) and (b).
    fn check_gates(&mut self, who: usize) {
        let ask = self.members[who].ask;
        let now = self.now;
        let number = u32::try_from(who).unwrap();
        let mut is_probe = false;
        for key in gates_of(&ask) {
            let seen = self.seen.entry(key).or_insert(Seen::Open);
            match seen {
                Seen::Open => {}
                Seen::Trying(is_tried) => {
                    assert!(!*is_tried, "a second request through the half-open {key:?}");
                    *is_tried = true;
                    is_probe = true;
                }
                Seen::Closed { since, tried_at } => {
                    let earliest = tried_at.map_or(*since + SECOND, |tried_at| tried_at + SECOND * 5);
                    assert!(now >= earliest, "through the closed {key:?} too early");
                    assert!(ask.size == Size::Probe, "no small safe request through the closed {key:?}");
                    *tried_at = Some(now);
                    is_probe = true;
                }
            }
            if let Scope::Fixed(_) = self.settings.scope {
                let known = self.known.entry(key).or_insert(Known::Open);
                *known = match *known {
                    Known::Open => Known::Open,
                    Known::Closed(until) if now >= until => Known::Trying(Some(number)),
                    Known::Trying(None) => Known::Trying(Some(number)),
                    Known::Closed(_) | Known::Trying(Some(_)) => panic!("{ask:?} through {key:?}, {known:?}"),
                };
            }
        }
        if is_probe {
            return;
        }
        let (level, at) = self.level;
        let gone = (now - at).as_secs_f64() * self.settings.pin.per_second();
        let level = (level - gone).max(0.0) + 1.0;
        assert!(level <= f64::from(self.settings.burst) + 0.001, "{level} grants above the rate");
        self.level = (level, now);
        self.members[who].interval = Some(self.interval);
    }

    /// Laws (c), (f), (g): everybody is served, or refused because his deadline came.
    fn serve_all(&mut self) {
        for who in 0..self.members.len() {
            if let State::Flying(flight, sent_at) = self.members[who].state {
                self.answer(who, flight, sent_at, Signal::accepted());
            }
            if self.members[who].state == State::Resting {
                self.over(who);
            }
        }
        self.look();
        // Far before the deadline of those with patience, whom nothing but a lost wake-up keeps waiting so long.
        let end = self.now + SECOND * 100_000;
        while let Some(next) = self.release(true) {
            assert!(next < end, "a lost wake-up: {:?}", self.core);
            self.now = next;
            self.look();
        }
        for member in &self.members {
            assert!(member.state == State::Over, "a lost wake-up: {member:?}");
        }
    }

    fn cancel_all(&mut self) {
        for who in 0..self.members.len() {
            match self.members[who].state {
                State::Waiting(place) | State::Vanished(place) => self.core.leave(place),
                State::Flying(flight, _) if who % 2 == 0 => self.core.refund(flight),
                State::Flying(flight, _) => self.core.forget(flight),
                State::Resting | State::Over => {}
            }
            self.over(who);
        }
        while let Some(next) = self.core.release(self.now, &mut |_, _| panic!("told after it left")) {
            self.now = next;
        }
    }
}

fn waits() -> impl Strategy<Value = Wait> {
    let stated = [Duration::ZERO, MILLI, MILLI * 300, SECOND * 3, SECOND * 30, SECOND * 9999, Duration::MAX];
    prop_oneof![
        6 => select(stated.to_vec()).prop_map(Wait::Stated),
        1 => Just(Wait::Missing),
        1 => Just(Wait::Malformed),
    ]
}

fn requests() -> impl Strategy<Value = Request> {
    let sizes = select(vec![Size::Probe, Size::Small, Size::Large]);
    let patience = select(vec![SECOND * 1_000_000, SECOND * 1_000_000, SECOND * 20, MILLI * 100]);
    let who = (0_u8..4, prop::bool::weighted(0.2));
    let what = (0_usize..3, option::of(0_u64..2), 0_u8..8, any::<bool>());
    (who, what, sizes, patience).prop_map(
        |((tenant, is_stranger), (family, room, class, is_strict), size, patience)| Request {
            tenant,
            is_stranger,
            family,
            room,
            class,
            is_strict,
            size,
            patience,
        },
    )
}

fn events() -> impl Strategy<Value = Event> {
    let at = any::<Index>;
    let times = select(vec![MILLI, MILLI * 50, MILLI * 400, SECOND, SECOND * 6, SECOND * 40]);
    let rest = option::weighted(0.1, select(vec![MILLI * 100, SECOND * 2]));
    let named = option::weighted(0.2, select(vec![NamedScope::Tenant, NamedScope::Route, NamedScope::Room]));
    prop_oneof![
        12 => requests().prop_map(Event::Join),
        2 => at().prop_map(Event::Leave),
        1 => at().prop_map(Event::Vanish),
        8 => times.prop_map(Event::Pass),
        6 => (at(), rest).prop_map(|(at, rest)| Event::Accept(at, rest)),
        3 => (at(), waits(), named).prop_map(|(at, wait, scope)| Event::Refuse(at, wait, scope)),
        1 => at().prop_map(Event::Forget),
        1 => at().prop_map(Event::Refund),
        4 => at().prop_map(Event::Replay),
        4 => at().prop_map(Event::Finish),
        1 => (select(LEVELS.to_vec()), 1_u32..6).prop_map(|(level, burst)| Event::Configure(level, burst)),
    ]
}

fn scopes() -> impl Strategy<Value = Scope> {
    prop_oneof![2 => Just(Scope::Auto), 3 => select(LEVELS.to_vec()).prop_map(Scope::Fixed)]
}

fn crowd(scope: Scope, rate: f64, burst: u32, max_gates: usize, max_in_flight: usize) -> Crowd {
    Crowd::new(CoreSettings { scope, max_gates, max_in_flight, ..settings(rate, burst) })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases.max(1_000), ..Default::default() })]

    #[test]
    fn whatever_happens_gates_budget_and_order_hold_and_everybody_is_told_once(
        scope in scopes(),
        rate in select(vec![1.0, 20.0, 3000.0]),
        burst in 1_u32..6,
        max_in_flight in select(vec![1_usize, 3, 1000]),
        story in vec(events(), 1..80),
    ) {
        let mut crowd = crowd(scope, rate, burst, 1000, max_in_flight);
        story.into_iter().for_each(|event| crowd.happens(event));
        crowd.serve_all();
        prop_assert_eq!(crowd.core.in_flight(), 0);
        prop_assert!(crowd.core.lines.is_swept(), "{:?}", crowd.core.lines);
    }

    #[test]
    fn nothing_is_left_when_everybody_went_away(
        scope in scopes(),
        burst in 1_u32..6,
        story in vec(events(), 1..60),
    ) {
        let mut crowd = crowd(scope, 20.0, burst, 1000, 1000);
        story.into_iter().for_each(|event| crowd.happens(event));
        crowd.cancel_all();
        prop_assert_eq!(crowd.core.in_flight(), 0);
        prop_assert!(crowd.core.lines.is_swept(), "{:?}", crowd.core.lines);
    }

    /// Law (e): a token that nobody used can be used, whoever held it.
    #[test]
    fn what_is_given_back_can_go_again(
        burst in 1_u32..8,
        steps in vec((0_u8..4, any::<Index>(), any::<bool>()), 1..60),
    ) {
        let mut world = World::new(1.0, burst);
        let (mut flights, mut places) = (Vec::new(), Vec::new());
        for (step, at, is_there) in steps {
            match step {
                0 | 1 => {
                    let ask = world.of(step);
                    places.extend(world.put(0, ask).map(|(_, place)| place));
                }
                2 if !places.is_empty() => world.core.leave(places.swap_remove(at.index(places.len()))),
                _ if !flights.is_empty() => world.core.refund(flights.swap_remove(at.index(flights.len()))),
                _ => {}
            }
            world.core.release(world.now, &mut |_, verdict| {
                if let Verdict::Go(flight) = verdict && is_there {
                    flights.push(flight);
                }
                is_there
            });
            prop_assert!(flights.len() <= burst as usize);
        }
        places.into_iter().for_each(|place| world.core.leave(place));
        flights.into_iter().for_each(|flight| world.core.refund(flight));
        (0..burst + 3).for_each(|who| {
            let _told_later = world.join(who, SECOND * 1000);
        });
        prop_assert_eq!(world.goes(Duration::ZERO).len(), burst as usize);
    }

    /// Law (c): between two turns of a line that always has somebody to send, no other has more turns than its
    /// weight; so over any time two such lines differ by less than one round of theirs.
    #[test]
    fn turns_between_two_of_a_tenant_are_at_most_the_others_weights(
        weights in vec(1_u32..4, 2..6),
        story in vec((any::<Index>(), any::<Index>(), 0_u8..8, 0_u32..4), 1..200),
    ) {
        let mut world = World::with(CoreSettings { max_waiting: 10_000, max_tenant_waiting: 10_000, ..settings(1000.0, 1) });
        let lines = weights.len();
        let mut waiting = vec![Vec::new(); lines];
        // How often each went since each other did.
        let mut since = vec![vec![0_u32; lines]; lines];
        let mut number = 0;
        for (joins, leaves, class, grants) in story {
            for at in [joins.index(lines), leaves.index(lines)] {
                let class = Class::new(class).unwrap();
                let ask = Ask { weight: NonZeroU32::new(weights[at]).unwrap(), class, ..world.of(at as u8) };
                let (_, place) = world.put(number, ask).unwrap();
                waiting[at].push((number, place));
                number += 1;
            }
            let at = leaves.index(lines);
            if grants == 0 && !waiting[at].is_empty() {
                let leaver = leaves.index(waiting[at].len());
                let (_, place) = waiting[at].swap_remove(leaver);
                world.core.leave(place);
            }
            world.now += MILLI * grants;
            let end = world.now - world.start;
            for who in world.goes(end) {
                let went = waiting.iter().position(|line| line.iter().any(|(other, _)| *other == who)).unwrap();
                waiting[went].retain(|(other, _)| *other != who);
                for (other, row) in since.iter_mut().enumerate() {
                    row[went] += 1;
                    let has_backlog = !waiting[other].is_empty() && other != went;
                    prop_assert!(!has_backlog || row[went] <= weights[went], "{went} before {other}: {row:?}");
                }
                since[went].fill(0);
                world.accept(who);
            }
            for (line, row) in waiting.iter().zip(&mut since) {
                if line.is_empty() {
                    row.fill(0);
                }
            }
        }
    }
}
