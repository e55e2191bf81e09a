//! The series of what replicas share.

use std::time::Duration;

use prometheus::{Gauge, GaugeVec, Histogram, IntCounter, IntCounterVec};

use crate::share::{Answered, Glance, TroubleKind};

use super::pulled::raise;
use super::{Fault, Metrics, Series};

#[derive(Debug)]
pub(super) struct Shared {
    up: GaugeVec,
    members: GaugeVec,
    part: GaugeVec,
    fallback_grants: IntCounter,
    errors: IntCounterVec,
    calls: IntCounterVec,
    duration: Histogram,
}

impl Shared {
    pub(super) fn new(series: &Series) -> Result<Self, Fault> {
        let made = Self {
            // A process that is alone has none of the three: a zero would say that its share is broken.
            up: series.gauges(
                "share_up",
                "1 while slots are booked for all replicas together, 0 while the local share is in force",
                &[],
            )?,
            members: series.gauges("share_members", "Replicas that share, as last known", &[])?,
            part: series.gauges("share_part_ratio", "This replica's part of the rate in force", &[])?,
            fallback_grants: series.counter(
                "share_fallback_grants_total",
                "Requests that went by the local share, because no slot could be booked",
            )?,
            errors: series.counters(
                "share_errors_total",
                "What went wrong between this replica and the others, by kind",
                &["kind"],
            )?,
            calls: series.counters(
                "share_calls_total",
                "Calls of the shared server, by how they ended",
                &["result"],
            )?,
            duration: series.histogram(
                "share_call_duration_seconds",
                "From a call of the shared server to its end, answered or not",
                CALLS,
            )?,
        };
        for answered in Answered::ALL {
            drop(made.calls.with_label_values(&[answered.as_str()]));
        }
        for kind in TroubleKind::ALL {
            drop(made.errors.with_label_values(&[kind.as_str()]));
        }
        Ok(made)
    }

    pub(super) fn set(&self, glance: Option<&Glance>) {
        let all: [&GaugeVec; 3] = [&self.up, &self.members, &self.part];
        all.iter().for_each(|gauge| gauge.reset());
        let Some(glance) = glance else { return };
        let set = |gauge: &GaugeVec, value: f64| {
            let gauge: Gauge = gauge.with_label_values::<&str>(&[]);
            gauge.set(value);
        };
        set(&self.up, if glance.is_up { 1.0 } else { 0.0 });
        set(&self.members, f64::from(glance.members));
        set(&self.part, glance.part);
        raise(&self.fallback_grants, glance.fallback_grants);
        for (kind, total) in &glance.troubles {
            raise(&self.errors.with_label_values(&[kind.as_str()]), *total);
        }
    }
}

impl Metrics {
    /// A call of the shared server has ended.
    pub fn share_called(&self, answered: Answered, took: Duration) {
        self.shared.calls.with_label_values(&[answered.as_str()]).inc();
        self.shared.duration.observe(took.as_secs_f64());
    }
}

/// A server next door answers within a millisecond, one in another zone within some; 50 ms is the usual timeout.
const CALLS: &[f64] = &[0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25];
