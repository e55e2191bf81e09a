//! Decides when a request may pass a gate whose tokens come from outside: at a booked slot, or by a part of the rate
//! while nobody books.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use crate::gate::bucket::{Bucket, Rate};

/// A slot of the widest gate that nobody took is gone after so long: what waits longer than the timers and the scheduler
/// make it would go out in a lump.
pub(super) const WIDE_LAPSE: Duration = Duration::from_millis(50);
/// One of a narrow gate waits for its request to get a slot of the widest, too. They are few: none is asked for while one
/// is in hand.
pub(super) const NARROW_LAPSE: Duration = Duration::from_secs(2);

/// The tokens of one gate, as somebody outside hands them in.
#[derive(Debug, Clone)]
pub(super) struct Ration {
    /// Instants at which one request may pass, the earliest first.
    slots: VecDeque<Instant>,
    /// Requests that passed without one: the next are theirs.
    owed: u32,
    /// The slot taken last, should its request never leave.
    taken: Option<Instant>,
    /// How much of the gate's rate is this process's, as last told.
    part: f64,
    /// So long as nobody hands in any.
    alone: Option<Alone>,
    lapse_for: Duration,
    least_lapse: Duration,
}

/// A part of the rate, without a burst.
#[derive(Debug, Clone)]
struct Alone {
    /// Until then what was booked goes out, here and elsewhere.
    from: Instant,
    /// Refusals that did not lower the rate.
    excused: u32,
    bucket: Bucket,
}

/// When the next request may pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Due {
    /// At this instant.
    At(Instant),
    /// Now.
    Now,
    /// Nobody knows: a slot must be asked for.
    Unbooked,
}

/// What a request passed by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Took {
    /// A token of this process's own part.
    Alone,
    /// Nothing that was there.
    Credit,
    /// A booked slot.
    Slot,
}

impl Ration {
    /// Nothing yet; `part` of the rate is expected. A slot lapses after `least_lapse`, of a slow gate somewhat later.
    pub(super) fn new(part: f64, least_lapse: Duration) -> Self {
        let (slots, lapse_for) = (VecDeque::new(), least_lapse);
        Self { slots, owed: 0, taken: None, part, alone: None, lapse_for, least_lapse }
    }

    pub(super) fn due(&mut self, now: Instant) -> Due {
        while self.slots.front().is_some_and(|slot| *slot + self.lapse_for < now) {
            self.slots.pop_front();
        }
        let next_at = self.slots.front().copied();
        match next_at.or_else(|| self.alone.as_ref().map(|alone| alone.bucket.next_at(now))) {
            Some(at) if at <= now => Due::Now,
            Some(at) => Due::At(at),
            None => Due::Unbooked,
        }
    }

    /// A request passes.
    pub(super) fn take(&mut self, now: Instant) -> Took {
        if self.slots.front().is_some_and(|slot| *slot <= now) {
            self.taken = self.slots.pop_front();
            return Took::Slot;
        }
        match &mut self.alone {
            Some(Alone { bucket, .. }) => {
                // What a timer came late for is made up for: the part would otherwise never be had whole.
                bucket.take(now.checked_sub(LATE).unwrap_or(now));
                Took::Alone
            }
            None => {
                self.owed = self.owed.saturating_add(1).min(MOST_OWED);
                Took::Credit
            }
        }
    }

    /// A request that passed never left.
    pub(super) fn give_back(&mut self) {
        if let Some(alone) = &mut self.alone {
            alone.bucket.give_back();
        } else if self.owed > 0 {
            self.owed -= 1;
        } else if let Some(slot) = self.taken.take() {
            self.slots.push_front(slot);
        }
    }

    /// What must be asked for beside what waits.
    pub(super) fn owed(&self) -> u32 {
        self.owed
    }

    /// This process's part of the rate.
    pub(super) fn part(&self) -> f64 {
        self.part
    }

    /// Whether slots are in hand.
    pub(super) fn is_booked(&self) -> bool {
        !self.slots.is_empty()
    }

    /// Whether this process goes by its own part of the rate.
    pub(super) fn is_alone(&self) -> bool {
        self.alone.is_some()
    }

    /// Whether a refusal is no reason to lower the rate: others who see what is booked are still to make room.
    pub(super) fn excuses(&self, now: Instant) -> bool {
        let is_early = |alone: &Alone| now < alone.from + ROOM_WITHIN && alone.excused < MOST_EXCUSED;
        self.alone.as_ref().is_some_and(is_early)
    }

    /// One refusal has not lowered the rate.
    pub(super) fn excused(&mut self) {
        if let Some(alone) = &mut self.alone {
            alone.excused += 1;
        }
    }

    /// Slots come in, `interval` apart; `part` of the rate is this process's.
    pub(super) fn hand_in(
        &mut self,
        slots: impl Iterator<Item = Instant>,
        (interval, part): (Duration, f64),
    ) {
        self.alone = None;
        self.part = part;
        self.lapse_for = self.least_lapse.max(interval.min(MOST_LAPSE));
        for slot in slots {
            if self.owed > 0 {
                self.owed -= 1;
            } else {
                self.slots.push_back(slot);
            }
        }
    }

    /// The gate shut: what was booked before it reopens is void.
    pub(super) fn cancel(&mut self, now: Instant, rate: Rate) {
        self.slots.clear();
        self.taken = None;
        self.set_rate(now, rate);
    }

    /// Nobody hands slots in for now: after those in hand, and not before `from`, `part` of `rate` holds, without a burst.
    pub(super) fn fall_back(&mut self, now: Instant, from: Instant, (rate, part): (Rate, f64)) {
        self.part = part;
        self.owed = 0;
        if self.is_alone() {
            return self.set_rate(now, rate);
        }
        let from = self.slots.back().copied().unwrap_or(now).max(from);
        let mut bucket = Bucket::full(from, rate.times(part), 1);
        bucket.drain(from);
        self.alone = Some(Alone { from, excused: 0, bucket });
    }

    /// Slots are handed in again: from now on they are asked for.
    pub(super) fn resume(&mut self) {
        self.alone = None;
    }

    /// The rate of the gate has changed.
    pub(super) fn set_rate(&mut self, now: Instant, rate: Rate) {
        let part = self.part;
        if let Some(Alone { from, bucket, .. }) = &mut self.alone {
            bucket.set_rate(now.max(*from), rate.times(part));
        }
    }

    /// Time for `count` more requests to pass, as far as can be told.
    pub(super) fn time_for(&self, now: Instant, count: u32, rate: Rate) -> Duration {
        let at = usize::try_from(count.saturating_sub(1)).unwrap_or(usize::MAX);
        if let Some(slot) = self.slots.get(at) {
            return slot.saturating_duration_since(now);
        }
        let booked = u32::try_from(self.slots.len()).unwrap_or(u32::MAX);
        let beyond = count.saturating_sub(booked);
        if let Some(Alone { bucket, .. }) = &self.alone {
            return bucket.time_for(now, beyond.max(1));
        }
        let last = self.slots.back().map_or(Duration::ZERO, |slot| slot.saturating_duration_since(now));
        // The first that is not booked yet may be due at once.
        let steps = if booked == 0 { beyond.saturating_sub(1) } else { beyond };
        let paced = f64::from(steps.saturating_add(self.owed)) / rate.times(self.part).per_second();
        last.saturating_add(Duration::from_secs_f64(paced))
    }
}

/// After so long those who see each other have found out who is cut off, and leave it its part, or never will (decision 0017):
/// the usual time for which a silent process counts, and ten seconds.
const ROOM_WITHIN: Duration = Duration::from_secs(15);
/// Of so many refusals one met the others, nearly always: they send more.
const MOST_EXCUSED: u32 = 3;
/// So late a timer may come on a busy machine.
const LATE: Duration = WIDE_LAPSE;
/// More than this is not made up for: it would keep a line waiting for what was sent past it.
const MOST_OWED: u32 = 1000;
/// A slot of a slow gate is worth keeping for a moment longer, but not until its successor has gone, too.
const MOST_LAPSE: Duration = Duration::from_millis(500);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn handed(ration: &mut Ration, from: Instant, count: u32) {
        ration.hand_in((0..count).map(|step| from + MS * 10 * step), (MS * 10, 0.5));
    }

    #[test]
    fn nobody_passes_without_a_slot() {
        let start = Instant::now();
        let mut ration = Ration::new(1.0, WIDE_LAPSE);
        assert_eq!(ration.due(start), Due::Unbooked);
        handed(&mut ration, start + MS * 5, 2);
        assert_eq!(ration.due(start), Due::At(start + MS * 5));
        assert_eq!(ration.due(start + MS * 5), Due::Now);
        assert_eq!(ration.take(start + MS * 5), Took::Slot);
        assert_eq!(ration.due(start + MS * 5), Due::At(start + MS * 15));
    }

    #[test]
    fn slots_are_void_when_the_gate_shuts_and_lapse_when_nobody_comes() {
        let start = Instant::now();
        let mut ration = Ration::new(1.0, WIDE_LAPSE);
        handed(&mut ration, start, 3);
        ration.cancel(start, Rate::MAX);
        assert_eq!(ration.due(start + MS * 30), Due::Unbooked);
        handed(&mut ration, start, 3);
        assert_eq!(ration.due(start + MS * 65), Due::Now);
        assert_eq!(ration.slots.len(), 1);
        assert_eq!(ration.due(start + MS * 71), Due::Unbooked);
    }

    #[test]
    fn what_passed_without_a_slot_takes_the_next() {
        let start = Instant::now();
        let mut ration = Ration::new(1.0, WIDE_LAPSE);
        assert_eq!(ration.take(start), Took::Credit);
        handed(&mut ration, start, 2);
        assert_eq!((ration.slots.len(), ration.owed()), (1, 0));
    }

    #[test]
    fn a_request_that_never_left_gives_its_slot_back() {
        let start = Instant::now();
        let mut ration = Ration::new(1.0, WIDE_LAPSE);
        handed(&mut ration, start, 1);
        ration.take(start);
        ration.give_back();
        assert_eq!(ration.due(start), Due::Now);
        ration.take(start);
        ration.take(start);
        ration.give_back();
        assert_eq!(ration.owed(), 0);
    }

    #[test]
    fn alone_it_uses_what_is_booked_and_then_its_part_without_a_burst() {
        let start = Instant::now();
        let mut ration = Ration::new(1.0, WIDE_LAPSE);
        handed(&mut ration, start, 2);
        ration.fall_back(start, start, (Rate::new(100.0).unwrap(), 0.2));
        assert_eq!(ration.take(start), Took::Slot);
        assert_eq!(ration.take(start + MS * 10), Took::Slot);
        assert_eq!(ration.due(start + MS * 10), Due::At(start + MS * 60));
        let went = (0..10_000_u32).filter(|step| {
            let now = start + MS * (10 + step);
            ration.due(now) == Due::Now && ration.take(now) == Took::Alone
        });
        assert_eq!(went.count(), 200 - 1);
        // Said again, it changes nothing: what is due stays due.
        let due = ration.due(start + MS * 10_010);
        ration.fall_back(start + MS * 10_010, start, (Rate::new(100.0).unwrap(), 0.2));
        assert_eq!(ration.due(start + MS * 10_010), due);
        ration.resume();
        assert_eq!(ration.due(start + MS * 20_000), Due::Unbooked);
    }

    #[test]
    fn all_together_never_have_more_than_the_rate_while_what_was_booked_runs_out() {
        let (start, rate) = (Instant::now(), Rate::new(200.0).unwrap());
        // Four processes have booked a horizon of 200 ms by turns, ten slots each, when the server goes.
        let turns = (0..4_u32).map(|turn| {
            let mut ration = Ration::new(0.25, WIDE_LAPSE);
            let slots = (0..10).map(|slot| start + MS * 5 * (turn * 10 + slot));
            ration.hand_in(slots, (MS * 5, 0.25));
            ration.fall_back(start, start + MS * 200, (rate, 0.2));
            ration
        });
        let mut rations: Vec<_> = turns.collect();
        let mut passed = 0;
        for step in 0..1000 {
            let now = start + MS * step;
            for ration in &mut rations {
                while ration.due(now) == Due::Now {
                    ration.take(now);
                    passed += 1;
                }
            }
            assert!(passed <= step / 5 + 1, "{passed} after {step} ms");
        }
        assert!(passed >= 40 + 800 * 200 * 8 / 10 / 1000 - 4, "{passed}");
    }

    #[test]
    fn what_others_have_booked_goes_first_whatever_happens_meanwhile() {
        let start = Instant::now();
        let (rate, from) = (Rate::new(100.0).unwrap(), start + MS * 200);
        let mut ration = Ration::new(1.0, WIDE_LAPSE);
        ration.fall_back(start, from, (rate, 0.2));
        assert_eq!(ration.due(start), Due::At(from + MS * 50));
        ration.set_rate(start + MS * 10, rate.times(0.5));
        assert_eq!(ration.due(start + MS * 10), Due::At(from + MS * 100));
        ration.fall_back(start + MS * 20, from + MS * 20, (rate, 0.2));
        assert_eq!(ration.due(start + MS * 20), Due::At(from + MS * 50));
        handed(&mut ration, start, 30);
        ration.fall_back(start, from, (rate, 0.2));
        assert_eq!(ration.alone.unwrap().from, start + MS * 290);
    }

    #[test]
    fn a_wait_is_told_by_what_is_booked_and_by_this_part_of_the_rate() {
        let start = Instant::now();
        let (mut ration, rate) = (Ration::new(0.5, WIDE_LAPSE), Rate::new(20.0).unwrap());
        assert_eq!(ration.time_for(start, 1, rate), Duration::ZERO);
        assert_eq!(ration.time_for(start, 11, rate), MS * 1000);
        handed(&mut ration, start + MS * 50, 2);
        assert_eq!(ration.time_for(start, 2, rate), MS * 60);
        assert_eq!(ration.time_for(start, 12, rate), MS * 1060);
    }

    proptest! {
        #[test]
        fn never_more_pass_than_were_handed_in_and_none_before_its_slot(
            steps in prop::collection::vec((0_u8..5, 0_u64..40), 1..200),
        ) {
            let (mut now, mut ration) = (Instant::now(), Ration::new(1.0, WIDE_LAPSE));
            let (mut booked, mut passed, mut due_by_now) = (0_u32, 0_u32, Vec::new());
            for (action, amount) in steps {
                now += MS * u32::try_from(amount).unwrap();
                match action {
                    0 => {
                        let count = u32::try_from(amount).unwrap() % 7;
                        let slots: Vec<_> = (0..count).map(|step| now + MS * 10 * (step + 1)).collect();
                        due_by_now.extend(slots.iter().copied());
                        booked += count;
                        ration.hand_in(slots.into_iter(), (MS * 10, 1.0));
                    }
                    1 => ration.cancel(now, Rate::MAX),
                    _ => {
                        while ration.due(now) == Due::Now {
                            prop_assert_eq!(ration.take(now), Took::Slot);
                            passed += 1;
                        }
                    }
                }
                let ripe = due_by_now.iter().filter(|slot| **slot <= now).count();
                prop_assert!(usize::try_from(passed).unwrap() <= ripe && passed <= booked);
            }
        }
    }
}
