//! What a phase is measured by, and how many figures become two.

use std::collections::BTreeMap;
use std::time::Duration;

/// What the API saw of a phase.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Api {
    /// Requests, refused ones included.
    pub(super) calls: u64,
    /// Those it answered with 429.
    pub(super) throttled: u64,
    /// Bytes it sent, TLS included.
    pub(super) sent_bytes: u64,
}

/// One way of doing the work, done.
#[derive(Debug)]
pub(super) struct Phase {
    pub(super) took: Duration,
    pub(super) api: Api,
    /// 429s that reached a bot.
    pub(super) throttled_bots: u64,
    /// What went wrong, in sentences.
    pub(super) faults: Vec<String>,
    /// How long each request had to wait for the limit, by bot.
    pub(super) waits: BTreeMap<String, Vec<Duration>>,
}

/// The middle and the far end of some waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Spread {
    pub(super) p50: Duration,
    pub(super) p99: Duration,
}

impl Spread {
    /// Nearest rank: always a wait that happened. Zero if there was none.
    pub(super) fn of(waits: &[Duration]) -> Self {
        let mut sorted = waits.to_vec();
        sorted.sort_unstable();
        let at = |percent: usize| {
            let rank = (sorted.len() * percent).div_ceil(100).max(1);
            sorted.get(rank - 1).copied().unwrap_or_default()
        };
        Self { p50: at(50), p99: at(99) }
    }
}

impl Phase {
    /// Over all bots.
    pub(super) fn overall(&self) -> Spread {
        Spread::of(&self.waits.values().flatten().copied().collect::<Vec<_>>())
    }

    /// Each bot's own, by name.
    pub(super) fn by_tenant(&self) -> Vec<(&str, Spread)> {
        self.waits.iter().map(|(name, waits)| (name.as_str(), Spread::of(waits))).collect()
    }

    /// The bots with the shortest and the longest p99, then p50.
    pub(super) fn extremes(&self) -> Option<[(&str, Spread); 2]> {
        let tenants = self.by_tenant();
        let rank = |(_, spread): &&(&str, Spread)| (spread.p99, spread.p50);
        Some([*tenants.iter().min_by_key(rank)?, *tenants.iter().max_by_key(rank)?])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(all: impl IntoIterator<Item = u64>) -> Vec<Duration> {
        all.into_iter().map(Duration::from_secs).collect()
    }

    #[test]
    fn percentiles_are_waits_that_happened() {
        let check = |waits: Vec<Duration>, p50, p99| {
            let expected = Spread { p50: Duration::from_secs(p50), p99: Duration::from_secs(p99) };
            assert_eq!(Spread::of(&waits), expected);
        };
        check(seconds((1..=100).rev()), 50, 99);
        check(seconds(1..=1000), 500, 990);
        check(seconds([3, 1, 2]), 2, 3);
        check(seconds([4]), 4, 4);
        check(seconds([]), 0, 0);
    }

    #[test]
    fn the_slowest_tenant_waited_longest_at_the_far_end() {
        let waits = [("a", seconds([5, 5])), ("b", seconds([0, 6])), ("c", seconds([1, 5]))];
        let phase = Phase {
            took: Duration::ZERO,
            api: Api { calls: 0, throttled: 0, sent_bytes: 0 },
            throttled_bots: 0,
            faults: Vec::new(),
            waits: waits.into_iter().map(|(name, waits)| (name.to_owned(), waits)).collect(),
        };
        let [fastest, slowest] = phase.extremes().unwrap();
        assert_eq!((fastest.0, slowest.0), ("c", "b"));
        assert_eq!(phase.overall(), Spread { p50: Duration::from_secs(5), p99: Duration::from_secs(6) });
    }
}
