//! What a bot does, and in which order: decided by the seed alone, the same on both ways.

use std::time::Duration;

/// One thing a bot does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// GET the attachment.
    Download,
    /// HEAD of the attachment: its name and size.
    Look,
    /// POST the message of that number.
    Post(u32),
    /// GET the shared room's messages, page by page.
    Read,
    /// GET people/me.
    Whoami,
}

/// How often a bot looks at the attachment and loads it.
pub(super) const LOOKS: u32 = 4;
/// How many messages a bot posts.
pub(super) const POSTS: u32 = 3;
/// Messages that the shared room has, and how many a bot asks for at a time.
pub(super) const MESSAGES: u32 = 27;
pub(super) const PAGE: u32 = 10;
/// Calls of one bot, if none is refused.
pub(super) const CALLS: u32 = 1 + MESSAGES.div_ceil(PAGE) + 2 * LOOKS + POSTS;

/// The steps of one bot, each with the pause before it.
pub(super) fn script(seed: u64, bot: u32) -> Vec<(Duration, Step)> {
    let mut dice = Dice(seed.rotate_left(32) ^ u64::from(bot));
    // It must know itself and the attachment before anything else; then the order is its own.
    let mut rest: Vec<Vec<Step>> = (1..=POSTS).map(|number| vec![Step::Post(number)]).collect();
    rest.extend((0..LOOKS).map(|_| vec![Step::Look, Step::Download]));
    let mut steps = vec![Step::Whoami, Step::Read];
    while !rest.is_empty() {
        steps.extend(rest.swap_remove(dice.below(rest.len())));
    }
    steps.into_iter().map(|step| (dice.pause(), step)).collect()
}

/// Numbers that depend on the seed alone (splitmix64).
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`, which is small: the bias does not matter here.
    fn below(&mut self, bound: usize) -> usize {
        let bound = u64::try_from(bound.max(1)).unwrap_or(1);
        usize::try_from(self.next() % bound).unwrap_or_default()
    }

    /// A bot works a little between its calls.
    fn pause(&mut self) -> Duration {
        Duration::from_millis(self.next() % 100)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn steps(seed: u64, bot: u32) -> Vec<Step> {
        script(seed, bot).into_iter().map(|(_pause, step)| step).collect()
    }

    #[test]
    fn the_seed_decides_the_order() {
        assert_eq!(script(1, 1), script(1, 1));
        assert_ne!(steps(1, 1), steps(1, 2));
        assert_ne!(steps(1, 1), steps(2, 1));
    }

    #[test]
    fn every_bot_makes_the_same_calls() {
        for bot in 0..100 {
            let mut steps = steps(7, bot);
            assert_eq!(steps[..2], [Step::Whoami, Step::Read]);
            for pair in steps.windows(2).filter(|pair| pair[0] == Step::Look) {
                assert_eq!(pair[1], Step::Download);
            }
            let calls = u32::try_from(steps.len()).unwrap() - 1 + MESSAGES.div_ceil(PAGE);
            assert_eq!(calls, CALLS);
            steps.retain(|step| matches!(step, Step::Post(_)));
            steps.sort_by_key(|step| format!("{step:?}"));
            assert_eq!(steps, [Step::Post(1), Step::Post(2), Step::Post(3)]);
        }
    }
}
