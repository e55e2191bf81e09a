//! Decides what the process does about a machine that runs short: who gets descriptors, and what is done for memory.

use std::time::Duration;

use crate::cache::Cache;
use crate::config::Config;
use crate::machine::{Guard, GuardSettings, Marks, Pressure, Shares, Wanted, descriptors};

/// What the configuration would take of the machine's descriptors.
pub(crate) fn wanted(config: &Config) -> Wanted {
    let count = |number| usize::try_from(number).unwrap_or(usize::MAX);
    Wanted {
        connections: count(config.limits.connections),
        in_flight: count(config.gate.max_in_flight),
        operators: OPERATORS,
    }
}

/// What it gets. The limit is read each time: it is the same until the process ends.
pub(super) fn shares(config: &Config) -> Shares {
    Shares::of(descriptors::limit(), wanted(config))
}

/// Says in the log if the machine gives fewer descriptors than the configuration would take.
pub(super) fn tell(config: &Config) {
    let (wanted, shares) = (wanted(config), shares(config));
    if !shares.cover(wanted) {
        tracing::warn!(
            limit = descriptors::limit(),
            needed = wanted.limit(),
            connections = shares.connections,
            configured = wanted.connections,
            upstream = shares.upstream,
            operators = shares.operators,
            "descriptors short, connections limited"
        );
    }
}

/// Whoever says whether there is memory for one more.
pub(super) fn guard(config: &Config) -> Guard {
    let from = &config.memory;
    if !from.guard {
        return Guard::off();
    }
    Guard::new(GuardSettings {
        marks: Marks { uploads: from.uploads_percent, requests: from.requests_percent },
        limit: from.limit,
        cgroup: from.cgroup.clone(),
    })
}

/// Looks at memory again and again, says what changed, and has the cache give some back while there is none. Ends only when
/// dropped.
pub(super) async fn watch(guard: Guard, cache: Cache) {
    loop {
        let (guard, cache) = (guard.clone(), cache.clone());
        // Fails only if the runtime ends.
        let looked = tokio::task::spawn_blocking(move || look(&guard, &cache)).await;
        tokio::time::sleep(looked.unwrap_or(LOOK_EVERY)).await;
    }
}

/// Says when to look again.
fn look(guard: &Guard, cache: &Cache) -> Duration {
    let (before, now) = guard.look();
    let (used, limit) = guard.glance().memory.unwrap_or_default();
    let relieved = if now == Pressure::Requests { cache.relieve() } else { 0 };
    match now {
        _ if before == now => {}
        Pressure::Calm => tracing::info!(used, limit, "memory eased"),
        Pressure::Requests | Pressure::Uploads => {
            tracing::warn!(used, limit, refused = now.as_str(), relieved, "memory short");
        }
    }
    if used > limit / 2 { LOOK_SOON } else { LOOK_EVERY }
}

/// Operators and their scrapers are few; bots must not crowd them out, nor they the bots.
const OPERATORS: usize = 64;
/// As often as Envoy looks (SECURITY 3).
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// Above half of the limit: a gigabyte a second of attachments then fills less than what is left from the last mark on.
const LOOK_SOON: Duration = Duration::from_millis(50);
