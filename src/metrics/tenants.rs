//! Decides which tenants are labels: names from the configuration, so many at a time, until they have long been idle.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use prometheus::core::{Collector, MetricVec, MetricVecBuilder};
use tokio::time::Instant;

/// The names that are labels now, and when each was last used.
#[derive(Debug, Default)]
pub(crate) struct Tenants(Mutex<HashMap<Arc<str>, Instant>>);

impl Tenants {
    /// The label of a tenant that does something at `now`: its name from the configuration, or a fixed word.
    ///
    /// Never a credential's hash, which a client could multiply.
    pub(crate) fn label<'a>(&self, name: Option<&'a Arc<str>>, now: Instant) -> &'a str {
        let Some(name) = name else { return UNLISTED };
        let mut used = self.lock();
        if let Some(used_at) = used.get_mut(name) {
            *used_at = now;
        } else if used.len() < MAX_NAMES {
            used.insert(Arc::clone(name), now);
        } else {
            return OTHER;
        }
        name
    }

    /// The names that are labels now.
    pub(super) fn names(&self) -> Vec<Arc<str>> {
        self.lock().keys().cloned().collect()
    }

    /// Takes out the names that nobody has used for [`IDLE_AFTER`]: others may take their places.
    pub(super) fn retire(&self, now: Instant) -> HashSet<Arc<str>> {
        let is_idle =
            |_: &Arc<str>, used_at: &mut Instant| now.saturating_duration_since(*used_at) >= IDLE_AFTER;
        self.lock().extract_if(is_idle).map(|(name, _)| name).collect()
    }

    /// A panic cannot leave the map in a state that is worse than going on with it.
    fn lock(&self) -> MutexGuard<'_, HashMap<Arc<str>, Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Drops the series of tenants that are gone.
pub(super) fn forget<T: MetricVecBuilder>(series: &MetricVec<T>, gone: &HashSet<Arc<str>>)
where
    MetricVec<T>: Collector,
{
    for family in series.collect() {
        for metric in family.get_metric() {
            let labels: HashMap<&str, &str> =
                metric.get_label().iter().map(|pair| (pair.name(), pair.value())).collect();
            if labels.get("tenant").is_some_and(|tenant| gone.contains(*tenant)) {
                // Fails only if the series is gone already.
                drop(series.remove(&labels));
            }
        }
    }
}

/// Tenants without a name in the configuration, and requests without a tenant.
pub(super) const UNLISTED: &str = "unlisted";
/// Named tenants beyond [`MAX_NAMES`].
const OTHER: &str = "other";
/// OPS 2. A histogram of ten buckets and two classes makes 26 series of each.
const MAX_NAMES: usize = 200;
/// OPS 2. A bot that polls every ten minutes keeps its series.
const IDLE_AFTER: Duration = Duration::from_secs(15 * 60);
