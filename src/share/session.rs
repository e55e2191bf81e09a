//! One connection's life: what is asked, told and heard over it, until something goes wrong that concerns all of it.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use crate::cache::Told;
use crate::gate::{Closure, News, NodeKey, Stand, Wish};

use super::calls::{acquire, key_of, report};
use super::desk::{Again, Desks};
use super::link::{Link, Push};
use super::message::{Ear, Shut, Word};
use super::script::Acquired;
use super::tally::{Answered, Event};
use super::trouble::{Trouble, TroubleKind};
use super::{BREAK, Shared, Tell, alone, jittered};

/// A connection in use.
pub(super) struct Session<'a> {
    pub(super) shared: &'a Arc<Shared>,
    pub(super) link: Link,
    pub(super) tell: &'a Tell,
    pub(super) desks: Desks<News>,
    calls: JoinSet<Done>,
    ear: Ear,
    /// When this replica must be heard of again.
    beat_at: Instant,
    /// A message is being told: one at a time.
    is_telling: bool,
    /// Until then others may still go by their parts of the rate, unseen.
    settling: Option<Instant>,
    /// Replicas that there were when the server was last seen.
    known: u32,
}

/// A call that has ended.
enum Done {
    Asked(Wish, Instant, Instant, Result<Acquired, Trouble>),
    Reported(NodeKey, Duration, Result<(), Trouble>),
    Told(Told, Duration, Result<(), Trouble>),
}

impl<'a> Session<'a> {
    pub(super) fn new(shared: &'a Arc<Shared>, link: Link, tell: &'a Tell) -> Self {
        let now = shared.clock.now();
        Self {
            shared,
            link,
            tell,
            desks: Desks::new(),
            calls: JoinSet::new(),
            ear: Ear::default(),
            beat_at: now,
            is_telling: false,
            settling: Some(now + SETTLES_WITHIN),
            known: shared.tally.read().members,
        }
    }

    /// Works until there is trouble that concerns the whole connection.
    ///
    /// # Drop
    /// Calls that are on their way are given up; what they booked is lost.
    pub(super) async fn run(mut self) -> Trouble {
        if let Err(trouble) = self.greet().await {
            return trouble;
        }
        loop {
            self.send();
            let next_at = self.desks.next_at().map_or(self.beat_at, |at| at.min(self.beat_at));
            let ended = tokio::select! {
                push = self.link.pushes.recv() => self.heard(push),
                Some(done) = self.calls.join_next() => match done {
                    Ok(done) => self.done(done),
                    Err(_panicked) => Some(Trouble::new(TroubleKind::Server, "a call broke off")),
                },
                () = self.shared.gate.called() => None,
                () = self.shared.cache.has_told(), if !self.is_telling => None,
                () = sleep_until(next_at) => None,
            };
            if let Some(trouble) = ended {
                return trouble;
            }
            if self.link.take_missed() {
                // A gate that was shut is heard of with the next slots; for the cache nobody says anything again.
                self.shared.cache.doubt();
                self.odd(Trouble::new(TroubleKind::Message, "more messages than can be taken"));
            }
        }
    }

    /// Asks and tells what there is to ask and tell.
    fn send(&mut self) {
        let shared = self.shared;
        let now = shared.clock.now();
        for news in shared.gate.news() {
            self.desks.put(key_of(&news), news);
        }
        for (key, news) in self.desks.next_reports() {
            let (shared, caller) = (Arc::clone(shared), self.link.caller.clone());
            self.calls.spawn(async move {
                let began_at = shared.clock.now();
                let result = report(&shared, &caller, news).await;
                Done::Reported(key, shared.clock.now() - began_at, result)
            });
        }
        self.desks.wake(now);
        let mut wishes = shared.gate.wishes(|key| self.desks.may_ask(key, now));
        let mut due = self.desks.due(now);
        if self.beat_at <= now && self.desks.may_ask(NodeKey::Egress, now) {
            due.push(NodeKey::Egress);
        }
        due.retain(|key| !wishes.iter().any(|wish| wish.key == *key));
        wishes.extend(due.into_iter().filter_map(|key| shared.gate.wish(key)));
        for wish in wishes {
            self.ask(wish);
        }
        if self.beat_at <= now {
            self.beat_at = now + shared.settings.member_ttl / 3;
        }
        if !self.is_telling {
            self.tell_void();
        }
    }

    /// Whether this replica still keeps to its part, for others that may do so unseen.
    pub(super) fn is_settling(&self) -> bool {
        self.settling.is_some()
    }

    fn ask(&mut self, mut wish: Wish) {
        self.desks.asked(wish.key);
        if self.settling.is_some() {
            wish.slots = 0;
        }
        if wish.key == NodeKey::Egress {
            self.beat_at = self.shared.clock.now() + self.shared.settings.member_ttl / 3;
        }
        let (shared, caller) = (Arc::clone(self.shared), self.link.caller.clone());
        self.calls.spawn(async move {
            let asked_at = shared.clock.now();
            let acquired = acquire(&shared, &caller, &wish).await;
            Done::Asked(wish, asked_at, shared.clock.now(), acquired)
        });
    }

    fn tell_void(&mut self) {
        let told = self.shared.cache.to_tell();
        if told.is_empty() {
            return;
        }
        self.is_telling = true;
        let (shared, caller) = (Arc::clone(self.shared), self.link.caller.clone());
        self.calls.spawn(async move {
            let began_at = shared.clock.now();
            let word = Word::Cache(told);
            let channel = &shared.names.void;
            let mut call = redis::cmd("PUBLISH");
            call.arg(channel).arg(shared.pen.write(channel, &word));
            let result = caller.call::<i64>(call).await.map(drop);
            let told = if let Word::Cache(told) = word { told } else { Told::default() };
            Done::Told(told, shared.clock.now() - began_at, result)
        });
    }

    /// What became of a call. Returns trouble that concerns all.
    fn done(&mut self, done: Done) -> Option<Trouble> {
        match done {
            Done::Asked(wish, asked_at, answered_at, acquired) => {
                (self.tell)(Event::Called(Answered::of(&acquired), answered_at - asked_at));
                self.asked(&wish, (asked_at, answered_at), acquired)
            }
            Done::Reported(key, took, result) => {
                (self.tell)(Event::Called(Answered::of(&result), took));
                self.desks.told(key);
                result.err().and_then(|trouble| self.weigh(trouble))
            }
            Done::Told(told, took, result) => {
                (self.tell)(Event::Called(Answered::of(&result), took));
                self.is_telling = false;
                let trouble = result.err()?;
                self.shared.cache.tell_later(told);
                Some(trouble)
            }
        }
    }

    pub(super) fn asked(
        &mut self,
        wish: &Wish,
        at: (Instant, Instant),
        acquired: Result<Acquired, Trouble>,
    ) -> Option<Trouble> {
        let (shared, key) = (self.shared, wish.key);
        let Acquired { booking, again_in, is_fresh } = match acquired {
            Ok(acquired) => acquired,
            Err(trouble) => {
                let ended = self.weigh(trouble);
                if self.settling.take().is_some() && ended.is_none() {
                    shared.gate.ration(alone(shared.tally.read().members));
                }
                if ended.is_none() {
                    // This bucket alone is out of order: its gate goes by its part of the rate.
                    let part = alone(shared.tally.read().members);
                    shared.gate.fall_back(Some(key), part, shared.settings.horizon);
                    if key == NodeKey::Egress {
                        shared.tally.change(|state| state.is_up = false);
                    }
                    self.desks.answered(key, Again::Surely(at.1 + jittered(BREAK)));
                }
                return ended;
            }
        };
        if let Some(until) = self.settling {
            if booking.members < self.known && at.1 < until {
                self.desks.answered(key, Again::AtWill);
                self.beat_at = at.1 + SETTLES_WITHIN / 8;
                if let Stand::Shut(left) = booking.stand {
                    let until = at.1 + left;
                    shared.gate.hear(&Closure { key, refused: None, sent_at: at.0, until });
                }
                return None;
            }
            self.settling = None;
            shared.gate.ration(booking.part);
        }
        if key == NodeKey::Egress {
            let (members, part) = (booking.members, booking.part);
            if !shared.tally.read().is_up {
                (self.tell)(Event::Up(members));
            }
            shared.tally.change(|state| (state.is_up, state.members, state.part) = (true, members, part));
        }
        let again = match booking.stand {
            Stand::Theirs => Again::Surely(at.1 + again_in.clamp(LEAST_PAUSE, MOST_PAUSE)),
            Stand::Shut(_) if wish.slots > 0 => Again::NotBefore(at.1 + LEAST_PAUSE),
            Stand::Open | Stand::Ours | Stand::Shut(_) => Again::AtWill,
        };
        self.desks.answered(key, again);
        shared.gate.book(key, at, booking);
        if is_fresh {
            self.reassert(key);
        }
        None
    }

    /// The server knows nothing of a bucket, as after FLUSHALL: what is shut there is said again.
    fn reassert(&mut self, key: NodeKey) {
        let closures = self.shared.gate.closures().into_iter();
        let lost = closures.filter(|closure| key == NodeKey::Egress || closure.key == key);
        for closure in lost.take(MAX_REASSERTED) {
            self.desks.put(closure.key, News::Rests(closure.key, closure.until));
        }
    }

    /// Counts trouble; returns it if it concerns all.
    pub(super) fn weigh(&self, trouble: Trouble) -> Option<Trouble> {
        if !trouble.kind.is_of_one() {
            return Some(trouble);
        }
        self.odd(trouble);
        None
    }

    pub(super) fn odd(&self, trouble: Trouble) {
        self.shared.tally.count(&trouble);
        (self.tell)(Event::Odd(trouble));
    }

    /// What came unasked. Returns trouble that concerns all.
    fn heard(&mut self, push: Option<Push>) -> Option<Trouble> {
        let is_cluster = self.shared.settings.address.cluster;
        let (channel, payload, at) = match push {
            Some(Push::Message { channel, payload, at }) => (channel, payload, at),
            Some(Push::Missed) if is_cluster => {
                self.shared.cache.doubt();
                return None;
            }
            Some(Push::Subscribed) => {
                self.shared.cache.doubt();
                return None;
            }
            Some(Push::Missed) | None => {
                return Some(Trouble::new(TroubleKind::Connect, "the connection is gone"));
            }
        };
        match self.ear.read(&self.shared.pen, &channel, &payload) {
            Ok(Some(word)) => self.heed(word, at),
            Ok(None) => {}
            Err(unheeded) => self.odd(Trouble::new(TroubleKind::Message, unheeded)),
        }
        None
    }

    fn heed(&mut self, word: Word, at: Instant) {
        let shared = self.shared;
        match word {
            Word::Cache(told) => {
                told.voids.iter().for_each(|void| shared.cache.hear(*void));
                for purge in &told.purges {
                    shared.cache.hear_purge(purge);
                }
                if told.is_everything {
                    shared.cache.doubt();
                }
            }
            Word::Look(key) => self.desks.look(key),
            Word::Shut(Shut { key, refused, remaining }) => {
                let until = at + remaining.min(LONGEST);
                shared.gate.hear(&Closure { key, refused, sent_at: at, until });
            }
            Word::Verdict(family, level) => shared.gate.hear_verdict(family, level),
        }
    }
}

/// Who lost the server together is back by then: a pause, its jitter, and a connection. Whoever booked all slots meanwhile
/// would do so beside the others' parts.
const SETTLES_WITHIN: Duration = Duration::from_millis(900);
/// More gates than this are not said again: the rest is heard of when it is asked about.
pub(super) const MAX_REASSERTED: usize = 1000;
/// Between two questions that have the same answer.
const LEAST_PAUSE: Duration = Duration::from_millis(10);
const MOST_PAUSE: Duration = Duration::from_secs(2);
/// No gate is shut for longer than the configuration may say.
const LONGEST: Duration = Duration::from_secs(86_400);
