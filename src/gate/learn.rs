//! Decides how fast to send when nobody publishes the limit: one counted cut per episode, a cubic climb (decision 0012).

use std::time::Duration;

use tokio::time::Instant;

use super::bucket::Rate;

/// Backlog grows the rate by this share of itself a second until the first 429: the limit is found in seconds.
const SEARCH_PER_SECOND: f64 = 1.0;
/// After a cut the rate starts this far below what the limit was counted to let through: what a bucket saves
/// meanwhile pays for the probing above it. Doubles while refusals follow each other closely.
const DIP: f64 = 0.2;
/// Where that doubling ends.
const DEEPEST_DIP: f64 = 0.5;
/// Backlog after which the rate is back at the count. The climb is a cubic around it: flat near the count, steep far
/// from it, so that a limit that doubled is met within a minute or two.
const RETURN: Duration = Duration::from_secs(20);
/// The count reaches back so far: a whole window of the usual minute, so that a lump in it is not taken for the limit.
const HORIZON: Duration = Duration::from_secs(120);
/// The limit is assumed this far on the way from the count to the rate that was refused: the count errs low
/// whenever the rate was below the limit for a while. Measured with `benches/strategies`, as `DIP` and `RETURN` are.
const BELIEF: f64 = 0.7;
/// No cut takes more than three quarters of the rate, whatever was counted.
const DEEPEST_CUT: f64 = 0.25;
/// What is cut at the first 429, after the search: its count is of a bucket that was full.
const BLIND_CUT: f64 = 0.5;
/// A search that has stood at its ceiling under backlog for so long is over: what a bucket had saved up by then says little
/// beside what went through. As long as a rate must last for its refusal not to follow closely on the one before.
const STANDS: Duration = Duration::from_secs(10);
/// Growth is credited for at most this long at once: a late look must not jump.
const MAX_STEP: Duration = Duration::from_secs(1);
/// A wait that nobody stated starts at this share of the one that was last needed.
const REST_SHARE: f64 = 0.75;
/// Each further one is this share of the wait so far.
const REST_STEP: f64 = 0.5;
/// Up to half of what a client usually waits the steps are larger: its eight attempts must last until its deadline.
const EAGER_FOR: Duration = Duration::from_millis(12_500);
const EAGER_STEP: f64 = 0.75;
/// The first wait that nobody stated is at most this, before anything is known (GATE 4).
const FIRST_UNSTATED: Duration = Duration::from_secs(15);
/// The shortest one: an answer without a time is no leave to come back at once (SECURITY 2).
const LEAST_UNSTATED: Duration = Duration::from_secs(1);
/// The longest wait that nobody stated (GATE 4).
const MAX_UNSTATED: Duration = Duration::from_secs(60);

/// The estimate of one limit. Pure: every call takes `now`.
#[derive(Debug, Clone)]
pub(super) struct Estimate {
    rate: Rate,
    ceiling: Rate,
    climb: Climb,
    grown_at: Instant,
    cut_at: Option<Instant>,
    /// The first refusal since requests last passed.
    refused_at: Option<Instant>,
    cycle: Cycle,
    past: Past,
}

#[derive(Debug, Clone, Copy)]
enum Climb {
    /// No limit met yet: the rate doubles each second under backlog. It has `stood` so long where it may grow no more.
    Search { stood: Duration },
    /// Around `anchor`, from `dip` below it, so long under backlog since the cut.
    Cubic { anchor: Rate, dip: f64, since: Duration },
}

/// What is known of the limit beside the rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// The operator's pin was had for long under backlog, and nothing was refused.
    Ceiling,
    /// A refusal has lowered the rate.
    Limit,
    /// Nothing: the rate is where it happens to be.
    Nothing,
}

/// From one reopening to the next.
#[derive(Debug, Clone, Copy)]
struct Cycle {
    began_at: Instant,
    sent: u32,
    backlogged_for: Duration,
}

/// What the last cycles under backlog let through, over their whole length, closed times included.
#[derive(Debug, Clone, Copy)]
struct Past {
    sent: f64,
    seconds: f64,
}

impl Estimate {
    /// Starts at `start`, never above `ceiling` (the operator's pin).
    pub(super) fn new(now: Instant, start: Rate, ceiling: Rate) -> Self {
        Self {
            rate: start.min(ceiling),
            ceiling,
            climb: Climb::Search { stood: Duration::ZERO },
            grown_at: now,
            cut_at: None,
            refused_at: None,
            cycle: Cycle::new(now),
            past: Past::NOTHING,
        }
    }

    /// The rate to send at.
    pub(super) fn rate(&self) -> Rate {
        self.rate
    }

    /// What it has found, itself or through an earlier process.
    pub(super) fn found(&self) -> Found {
        match self.climb {
            Climb::Cubic { .. } => Found::Limit,
            Climb::Search { stood } if stood >= STANDS => Found::Ceiling,
            Climb::Search { .. } => Found::Nothing,
        }
    }

    /// The operator's pin has changed.
    pub(super) fn set_ceiling(&mut self, ceiling: Rate) {
        self.ceiling = ceiling;
        self.rate = self.rate.min(ceiling);
    }

    /// Takes over the rate that an earlier process had learned: from there it climbs, it no longer searches.
    pub(super) fn restore(&mut self, rate: Rate) {
        self.climb = Climb::Cubic { anchor: rate, dip: DIP, since: RETURN };
        self.rate = rate.min(self.ceiling);
    }

    /// Takes over the rate that all replicas together have learned, each time anew.
    pub(super) fn follow(&mut self, rate: Rate, found: Found) {
        let stood = match found {
            Found::Limit => return self.restore(rate),
            Found::Ceiling => STANDS,
            Found::Nothing => Duration::ZERO,
        };
        (self.climb, self.rate) = (Climb::Search { stood }, rate.min(self.ceiling));
    }

    /// One request went out.
    pub(super) fn sent(&mut self) {
        self.cycle.sent = self.cycle.sent.saturating_add(1);
    }

    /// Time passed with requests waiting for a token: the limit may be higher than assumed.
    pub(super) fn backlogged(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.grown_at).min(MAX_STEP);
        self.grown_at = now;
        self.cycle.backlogged_for += passed;
        let grown = match &mut self.climb {
            Climb::Search { stood } if self.rate < self.ceiling => {
                *stood = Duration::ZERO;
                self.rate.times(1.0 + SEARCH_PER_SECOND * passed.as_secs_f64())
            }
            Climb::Search { stood } => {
                *stood += passed;
                self.rate
            }
            Climb::Cubic { anchor, dip, since } => {
                *since += passed;
                cubic(*anchor, *dip, *since)
            }
        };
        self.rate = grown.min(self.ceiling);
    }

    /// Nobody waited until now: such time proves nothing about the limit ("do not grow when app-limited").
    pub(super) fn idle(&mut self, now: Instant) {
        self.grown_at = now;
    }

    /// How long to wait after a 429 that names no time: at first a little less than was needed the last time, then
    /// half as long again as the wait so far. Ask before [`Estimate::refused`].
    pub(super) fn unstated(&self, now: Instant) -> Duration {
        let two_tokens = Duration::from_secs_f64(2.0 / self.rate.per_second());
        let least = two_tokens.clamp(LEAST_UNSTATED, FIRST_UNSTATED);
        let since = |at: Option<Instant>, until: Instant| {
            at.map_or(Duration::ZERO, |at| until.saturating_duration_since(at))
        };
        let wait = if self.is_probe() {
            let so_far = since(self.refused_at, now);
            so_far.mul_f64(if so_far < EAGER_FOR { EAGER_STEP } else { REST_STEP })
        } else {
            since(self.refused_at, self.cycle.began_at).mul_f64(REST_SHARE)
        };
        wait.max(least).min(MAX_UNSTATED)
    }

    /// A request sent at `sent_at` was refused and the gate stays closed for `closed_for`. One cut per
    /// episode: refusals of what was sent before the last cut say nothing new.
    pub(super) fn refused(&mut self, now: Instant, sent_at: Instant, closed_for: Duration) {
        if self.cut_at.is_some_and(|cut_at| sent_at <= cut_at) {
            return;
        }
        let reopens_at = now + closed_for;
        if self.is_probe() {
            // The gate reopened too early; the rate was not too high.
            self.past.add(0, reopens_at.saturating_duration_since(self.cycle.began_at));
        } else {
            self.cut(now, reopens_at);
            self.refused_at = Some(now);
        }
        self.turn(now, reopens_at);
    }

    /// The same, but others are to make room: the rate stays. True if it would have been cut.
    pub(super) fn crowded(&mut self, now: Instant, sent_at: Instant, closed_for: Duration) -> bool {
        if self.cut_at.is_some_and(|cut_at| sent_at <= cut_at) {
            return false;
        }
        let is_cut = !self.is_probe();
        if is_cut {
            self.refused_at = Some(now);
        }
        self.turn(now, now + closed_for);
        is_cut
    }

    fn turn(&mut self, now: Instant, reopens_at: Instant) {
        self.cut_at = Some(now);
        self.grown_at = reopens_at;
        self.cycle = Cycle::new(reopens_at);
    }

    fn cut(&mut self, now: Instant, reopens_at: Instant) {
        let open_for = now.saturating_duration_since(self.cycle.began_at);
        let is_backlogged = self.cycle.backlogged_for * 2 > open_for;
        let cycle_for = reopens_at.saturating_duration_since(self.cycle.began_at);
        let (anchor, dip) = match self.climb {
            Climb::Cubic { dip, .. } if is_backlogged => {
                self.past.add(self.cycle.sent, cycle_for);
                let dip = if open_for < RETURN / 2 { (dip * 2.0).min(DEEPEST_DIP) } else { DIP };
                (self.believed(self.past), dip)
            }
            // A burst ran into the limit. What was counted under backlog still holds; should it not, the rate
            // falls by a dip each time, for it does not climb without a backlog.
            Climb::Cubic { anchor, .. } => (anchor.min(self.rate), DIP),
            // It counts for once: what the bucket had saved up would stay in what is remembered.
            Climb::Search { stood } if stood >= STANDS && is_backlogged && open_for >= STANDS => {
                let mut counted = Past::NOTHING;
                counted.add(self.cycle.sent, cycle_for);
                (self.believed(counted), DIP)
            }
            // What was counted since is less than what is known from before.
            Climb::Search { stood } if stood >= STANDS => (self.rate, DIP),
            Climb::Search { .. } => (self.rate.times(BLIND_CUT), DIP),
        };
        self.climb = Climb::Cubic { anchor, dip, since: Duration::ZERO };
        self.rate = cubic(anchor, dip, Duration::ZERO).min(self.ceiling);
    }

    fn believed(&self, counted: Past) -> Rate {
        let counted = counted.per_second() / self.rate.per_second();
        let believed = counted + (1.0 - counted) * BELIEF;
        self.rate.times(believed.clamp(DEEPEST_CUT, 1.0))
    }

    /// Whether only the one request of a half-open gate went out since it reopened.
    fn is_probe(&self) -> bool {
        self.cycle.sent <= 1 && self.cut_at.is_some()
    }
}

impl Cycle {
    fn new(began_at: Instant) -> Self {
        Self { began_at, sent: 0, backlogged_for: Duration::ZERO }
    }
}

impl Past {
    const NOTHING: Self = Self { sent: 0.0, seconds: 0.0 };

    fn add(&mut self, sent: u32, length: Duration) {
        let length = length.as_secs_f64();
        let kept = ((HORIZON.as_secs_f64() - length) / self.seconds.max(f64::MIN_POSITIVE)).clamp(0.0, 1.0);
        self.sent = self.sent * kept + f64::from(sent);
        self.seconds = self.seconds * kept + length;
    }

    fn per_second(self) -> f64 {
        self.sent / self.seconds.max(f64::MIN_POSITIVE)
    }
}

fn cubic(anchor: Rate, dip: f64, since: Duration) -> Rate {
    let from_return = since.as_secs_f64() / RETURN.as_secs_f64() - 1.0;
    let steepness = if from_return < 0.0 { dip } else { DIP };
    anchor.times(1.0 + steepness * from_return.powi(3))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn rate(per_second: f64) -> Rate {
        Rate::new(per_second).unwrap()
    }

    /// An estimate that left its search: its first 429 halved it to `anchor`.
    fn met(start: Instant, anchor: f64) -> Estimate {
        let mut estimate = Estimate::new(start, rate(anchor * 2.0), Rate::MAX);
        estimate.sent();
        estimate.sent();
        estimate.refused(start, start, Duration::ZERO);
        estimate
    }

    fn is_near(estimate: &Estimate, expected: f64) -> bool {
        (estimate.rate().per_second() - expected).abs() < 0.01 * expected
    }

    /// Sends at the estimate's rate under backlog for so many seconds.
    fn send_for(estimate: &mut Estimate, from: Instant, seconds: u32) -> Instant {
        for second in 1..=seconds {
            let rate = estimate.rate().per_second().round();
            (0_u32..).take_while(|sent| f64::from(*sent) < rate).for_each(|_| estimate.sent());
            estimate.backlogged(from + SECOND * second);
        }
        from + SECOND * seconds
    }

    #[test]
    fn one_episode_cuts_once() {
        let start = Instant::now();
        let mut estimate = met(start, 5.0);
        let cut = estimate.rate();
        estimate.refused(start + SECOND, start, SECOND);
        assert_eq!(estimate.rate(), cut);
    }

    #[test]
    fn a_cut_starts_below_what_was_counted_and_returns_to_it() {
        let start = Instant::now();
        let mut estimate = met(start, 5.0);
        assert!(is_near(&estimate, 5.0 * (1.0 - DIP)));
        send_for(&mut estimate, start, 20);
        assert!(is_near(&estimate, 5.0));
    }

    #[test]
    fn a_search_that_has_long_stood_at_its_ceiling_is_cut_by_what_was_counted() {
        let start = Instant::now();
        for (seconds, closed_for, expected) in [
            (9, Duration::ZERO, 100.0 * BLIND_CUT),
            (10, Duration::ZERO, 100.0),
            // Of a minute's window it had used up all before half of it was over.
            (30, SECOND * 30, 85.0),
        ] {
            let mut estimate = Estimate::new(start, rate(100.0), rate(100.0));
            let refused_at = send_for(&mut estimate, start, seconds);
            estimate.refused(refused_at, refused_at, closed_for);
            assert!(is_near(&estimate, expected * (1.0 - DIP)), "{seconds}: {:?}", estimate.rate());
        }
    }

    #[test]
    fn what_a_full_bucket_let_through_is_forgotten_with_the_next_refusal() {
        let start = Instant::now();
        let mut estimate = Estimate::new(start, rate(100.0), rate(100.0));
        // The limit is half of the pin, the bucket of it one minute deep.
        let (mut now, mut tokens, mut refusals) = (start, 3000.0, 0);
        for _ in 0..2400 {
            now += SECOND / 10;
            tokens = f64::min(tokens + 5.0, 3000.0);
            let due = (estimate.rate().per_second() / 10.0).round();
            for _ in (0_u32..).take_while(|sent| f64::from(*sent) < due) {
                estimate.sent();
                tokens -= 1.0;
            }
            if tokens < 0.0 {
                refusals += 1;
                tokens = 0.0;
                estimate.refused(now, now, Duration::ZERO);
            }
            estimate.backlogged(now);
        }
        assert!(refusals <= 12, "{refusals} in three minutes");
        assert!((35.0..55.0).contains(&estimate.rate().per_second()), "{:?}", estimate.rate());
    }

    #[test]
    fn a_ceiling_that_is_raised_is_searched_for_again() {
        let start = Instant::now();
        let mut estimate = Estimate::new(start, rate(10.0), rate(10.0));
        send_for(&mut estimate, start, 10);
        assert_eq!(estimate.found(), Found::Ceiling);
        estimate.set_ceiling(rate(100.0));
        estimate.backlogged(start + SECOND * 11);
        assert_eq!((estimate.rate(), estimate.found()), (rate(20.0), Found::Nothing));
    }

    #[test]
    fn where_others_are_to_make_room_the_rate_stays() {
        let start = Instant::now();
        let mut estimate = met(start, 5.0);
        let cut = estimate.rate();
        send_for(&mut estimate, start, 20);
        let before = estimate.rate();
        assert!(estimate.crowded(start + SECOND * 20, start + SECOND * 20, SECOND));
        assert!(estimate.rate() == before && before > cut);
        estimate.refused(start + SECOND * 20, start + SECOND * 20, SECOND);
        assert_eq!(estimate.rate(), before, "the same episode");
    }

    #[test]
    fn a_refused_probe_leaves_the_rate_as_it_is() {
        let start = Instant::now();
        let mut estimate = met(start, 5.0);
        let cut = estimate.rate();
        estimate.sent();
        estimate.refused(start + SECOND, start + SECOND, SECOND);
        assert_eq!(estimate.rate(), cut);
    }

    #[test]
    fn a_closed_stretch_counts_as_time_in_which_nothing_went() {
        let start = Instant::now();
        let mut estimate = met(start, 5.0);
        let refused_at = send_for(&mut estimate, start, 40);
        let refused = estimate.rate().per_second();
        let sent = f64::from(estimate.cycle.sent);
        estimate.refused(refused_at, refused_at, SECOND * 20);
        let counted = sent / 60.0;
        assert!(is_near(&estimate, (counted + (refused - counted) * BELIEF) * (1.0 - DIP)));
    }

    #[test]
    fn no_single_cut_assumes_less_than_a_quarter() {
        let start = Instant::now();
        let mut estimate = met(start, 8.0);
        estimate.past = Past { sent: 0.0, seconds: 1.0 };
        let refused_at = send_for(&mut estimate, start, 20);
        estimate.refused(refused_at, refused_at, SECOND * 36_000);
        assert!(estimate.rate().per_second() >= 8.0 * DEEPEST_CUT * (1.0 - DEEPEST_DIP));
    }

    #[test]
    fn without_a_backlog_the_count_says_nothing_and_the_rate_dips() {
        let start = Instant::now();
        let mut estimate = met(start, 5.0);
        estimate.sent();
        estimate.sent();
        let rate = estimate.rate().per_second();
        estimate.refused(start + SECOND * 60, start + SECOND * 60, SECOND);
        assert!(is_near(&estimate, rate * (1.0 - DIP)));
    }

    #[test]
    fn the_rate_grows_only_under_backlog() {
        let start = Instant::now();
        let mut estimate = Estimate::new(start, rate(8.0), rate(100.0));
        estimate.idle(start + SECOND * 60);
        assert_eq!(estimate.rate(), rate(8.0));
        estimate.backlogged(start + SECOND * 61);
        assert_eq!(estimate.rate(), rate(16.0));
        (62..90).for_each(|second| estimate.backlogged(start + SECOND * second));
        assert_eq!(estimate.rate(), rate(100.0));
    }

    #[test]
    fn a_rate_that_is_learned_elsewhere_is_taken_over_each_time_anew_but_never_above_the_pin() {
        let start = Instant::now();
        let mut estimate = Estimate::new(start, rate(8.0), rate(100.0));
        let (nothing, limit, ceiling) = (Found::Nothing, Found::Limit, Found::Ceiling);
        let told =
            [(20.0, nothing, 20.0), (16.0, limit, 16.0), (500.0, limit, 100.0), (100.0, ceiling, 100.0)];
        for (told, found, taken) in told {
            estimate.follow(rate(told), found);
            assert_eq!((estimate.rate(), estimate.found()), (rate(taken), found));
        }
    }

    #[test]
    fn a_limit_that_doubled_is_met_within_a_minute() {
        let start = Instant::now();
        let mut estimate = met(start, 5.0);
        send_for(&mut estimate, start, 60);
        assert!(estimate.rate() >= rate(10.0));
    }

    #[test]
    fn an_unstated_wait_grows_with_each_probe_and_is_remembered() {
        let start = Instant::now();
        let mut estimate = met(start, 0.01);
        let mut now = start;
        let mut waits = Vec::new();
        for _ in 0..6 {
            let wait = estimate.unstated(now);
            waits.push(wait.as_secs());
            estimate.refused(now, now, wait);
            now += wait;
            estimate.cycle.began_at = now;
            estimate.sent();
        }
        assert_eq!(waits, [15, 15, 15, 22, 33, 50]);
        estimate.sent();
        assert_eq!(estimate.unstated(now + SECOND * 600), MAX_UNSTATED);
    }

    #[test]
    fn a_first_unstated_wait_is_two_tokens_long_but_never_nothing() {
        for (per_second, wait) in [(4.0, SECOND), (0.5, SECOND * 4), (0.01, FIRST_UNSTATED)] {
            let estimate = Estimate::new(Instant::now(), rate(per_second), Rate::MAX);
            assert_eq!(estimate.unstated(Instant::now()), wait);
        }
    }
}
