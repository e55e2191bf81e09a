//! Who asks for what and when: the same seed makes the same hour, whatever stands between the bots and the API.

use std::f64::consts::TAU;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::dice::Dice;

/// The team of the design: 25 bots behind one egress.
const BOTS: usize = 25;
const ROOMS: usize = 40;
/// So that about five bots share a room.
const ROOMS_OF_A_BOT: usize = 8;
/// Contents that are there when the hour begins.
const OLD_CONTENTS: usize = 1_000;
/// How much more often the first is read than the hundredth; about what is measured for files on the web.
const ZIPF: f64 = 0.9;
/// Lengths are log-normal: half are shorter than this ...
const MEDIAN_BYTES: f64 = 120_000.0;
/// ... and one in forty is longer than 22 times that.
const SIGMA: f64 = 1.6;
/// What bots are spared of the API's 100 MB, so that no single content decides the figures.
const MAX_BYTES: f64 = 50e6;

/// Each bot lists the messages of one of its rooms this often.
const POLL_EVERY: Duration = Duration::from_secs(10);
/// Each bot asks who it is this often.
const ME_EVERY: Duration = Duration::from_secs(300);
/// A new content comes to some room, on average.
const POST_EVERY: Duration = Duration::from_secs(20);
/// A bot reads a content that it or another one read before, on average.
const READ_EVERY: Duration = Duration::from_secs(20);
/// Bots of the room that care about a new content.
const CARING: f64 = 0.7;
/// Reads that ask for the name and length alone.
const HEADS: f64 = 0.4;
/// Reads of one of the room's last contents instead of a popular one.
const RECENT: f64 = 0.3;
/// Downloads that two workers of a bot begin together.
const DOUBLED: f64 = 0.05;

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wish {
    /// `GET` of a content, by number.
    Get(usize),
    /// `HEAD` of a content, by number.
    Head(usize),
    /// Who am I.
    Me,
    /// The messages of a room, by number.
    Poll(usize),
}

/// One request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Event {
    /// Since the beginning.
    pub(crate) at: Duration,
    /// Whose.
    pub(crate) bot: usize,
    /// Of what.
    pub(crate) wish: Wish,
}

/// All requests in order, and what there is to read.
#[derive(Debug)]
pub(crate) struct Plan {
    /// Sorted by time.
    pub(crate) events: Vec<Event>,
    /// Bytes of each content.
    pub(crate) sizes: Arc<[u64]>,
}

struct Draft {
    dice: Dice,
    length: Duration,
    events: Vec<Event>,
    sizes: Vec<u64>,
    /// The room of each content.
    rooms: Vec<usize>,
    /// When each content came.
    posted_at: Vec<Duration>,
    /// Rooms of each bot.
    homes: Vec<Vec<usize>>,
    /// Chances of the contents up to each rank.
    zipf: Vec<f64>,
}

impl Plan {
    /// The requests of a time.
    pub(crate) fn new(length: Duration, seed: u64) -> Self {
        let mut draft = Draft {
            dice: Dice::new(seed),
            length,
            events: Vec::new(),
            sizes: Vec::new(),
            rooms: Vec::new(),
            posted_at: Vec::new(),
            homes: Vec::new(),
            zipf: Vec::new(),
        };
        draft.settle();
        draft.post();
        draft.routine();
        draft.read();
        draft.events.sort_by_key(|event| event.at);
        Self { events: draft.events, sizes: draft.sizes.into() }
    }

    fn count(&self, is_it: impl Fn(Wish) -> bool) -> usize {
        self.events.iter().filter(|event| is_it(event.wish)).count()
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let polls = self.count(|wish| matches!(wish, Wish::Poll(_)));
        let me = self.count(|wish| wish == Wish::Me);
        let heads = self.count(|wish| matches!(wish, Wish::Head(_)));
        let gets = self.count(|wish| matches!(wish, Wish::Get(_)));
        let all = self.sizes.iter().sum::<u64>() as f64 / 1e6;
        write!(
            f,
            "{BOTS} bots in {ROOMS} rooms, {} contents of {all:.0} MB; {polls} polls of messages, {me} people/me, \
             {heads} HEADs and {gets} GETs of contents",
            self.sizes.len()
        )
    }
}

impl Draft {
    /// Bots enter rooms, and the old contents are there.
    fn settle(&mut self) {
        for _ in 0..BOTS {
            let mut home: Vec<usize> = (0..ROOMS).collect();
            for place in 0..ROOMS_OF_A_BOT {
                let other = place + self.dice.below(ROOMS - place);
                home.swap(place, other);
            }
            home.truncate(ROOMS_OF_A_BOT);
            self.homes.push(home);
        }
        let mut total = 0.0;
        for rank in 1..=OLD_CONTENTS {
            self.content(Duration::ZERO);
            total += (rank as f64).powf(-ZIPF);
            self.zipf.push(total);
        }
    }

    fn content(&mut self, posted_at: Duration) -> usize {
        let (one, other) = (1.0 - self.dice.share(), self.dice.share());
        let normal = (-2.0 * one.ln()).sqrt() * (TAU * other).cos();
        let bytes = (MEDIAN_BYTES * (SIGMA * normal).exp()).clamp(1_000.0, MAX_BYTES);
        self.sizes.push(bytes as u64);
        self.rooms.push(self.dice.below(ROOMS));
        self.posted_at.push(posted_at);
        self.sizes.len() - 1
    }

    /// Time until the next of events that come `every` so often on average, whatever came before.
    fn pause(&mut self, every: Duration) -> Duration {
        every.mul_f64(-(1.0 - self.dice.share()).ln())
    }

    fn seconds(&mut self, from: f64, to: f64) -> Duration {
        Duration::from_secs_f64(from + (to - from) * self.dice.share())
    }

    /// New contents: the room's bots are told, look at it and download it.
    fn post(&mut self) {
        let mut at = self.pause(POST_EVERY);
        while at < self.length {
            let content = self.content(at);
            for bot in 0..BOTS {
                if !self.homes[bot].contains(&self.rooms[content]) || self.dice.share() > CARING {
                    continue;
                }
                let look_at = at + self.seconds(0.1, 1.5);
                self.events.push(Event { at: look_at, bot, wish: Wish::Head(content) });
                let get_at = look_at + self.seconds(0.2, 0.5);
                self.download(get_at, bot, content);
            }
            at += self.pause(POST_EVERY);
        }
    }

    fn download(&mut self, at: Duration, bot: usize, content: usize) {
        let event = Event { at, bot, wish: Wish::Get(content) };
        self.events.push(event);
        if self.dice.share() < DOUBLED {
            self.events.push(event);
        }
    }

    /// What every bot does by the clock.
    fn routine(&mut self) {
        for bot in 0..BOTS {
            for (every, is_poll) in [(POLL_EVERY, true), (ME_EVERY, false)] {
                let mut at = every.mul_f64(self.dice.share());
                let mut turn = 0;
                while at < self.length {
                    let wish =
                        if is_poll { Wish::Poll(self.homes[bot][turn % ROOMS_OF_A_BOT]) } else { Wish::Me };
                    self.events.push(Event { at, bot, wish });
                    turn += 1;
                    at += every;
                }
            }
        }
    }

    /// Contents read again, as people ask the bots about them.
    fn read(&mut self) {
        for bot in 0..BOTS {
            let mut at = self.pause(READ_EVERY);
            while at < self.length {
                let content = self.choose(bot, at);
                if self.dice.share() < HEADS {
                    self.events.push(Event { at, bot, wish: Wish::Head(content) });
                } else {
                    self.download(at, bot, content);
                }
                at += self.pause(READ_EVERY);
            }
        }
    }

    /// A content of the bot's rooms: one of the last, or one by rank.
    fn choose(&mut self, bot: usize, now: Duration) -> usize {
        let newest = self.posted_at.partition_point(|at| *at < now);
        if self.dice.share() < RECENT {
            let mine = |content: &usize| self.homes[bot].contains(&self.rooms[*content]);
            let last: Vec<usize> = (OLD_CONTENTS..newest).rev().filter(mine).take(5).collect();
            if !last.is_empty() {
                return last[self.dice.below(last.len())];
            }
        }
        loop {
            let point = self.dice.share() * self.zipf[OLD_CONTENTS - 1];
            let content = self.zipf.partition_point(|sum| *sum < point).min(OLD_CONTENTS - 1);
            if self.homes[bot].contains(&self.rooms[content]) {
                return content;
            }
        }
    }
}
