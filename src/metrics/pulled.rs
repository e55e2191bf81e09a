//! The series that are read from the rooms when somebody looks.

use std::time::Duration;

use prometheus::{CounterVec, Gauge, GaugeVec, IntCounter, IntCounterVec};

use crate::gate::{Glance, Level};

use super::{Fault, Gauges, Series};

#[derive(Debug)]
pub(super) struct Pulled {
    queue_depth: Gauge,
    in_flight: Gauge,
    queue_oldest_age: Gauge,
    gate_closed: GaugeVec,
    gate_remaining: GaugeVec,
    gate_closed_seconds: CounterVec,
    gate_verdict: GaugeVec,
    rate: GaugeVec,
    ceiling: GaugeVec,
    spool: Gauge,
    cache_entries: Gauge,
    cache_bytes: Gauge,
    cache_evictions: IntCounterVec,
    connections: Gauge,
    upstream_connections: Gauge,
    handshake_failures: IntCounter,
    certificate_not_after: Gauge,
}

impl Pulled {
    pub(super) fn new(series: &Series) -> Result<Self, Fault> {
        Ok(Self {
            queue_depth: series.gauge("queue_depth", "Requests in line")?,
            in_flight: series.gauge("requests_in_flight", "Requests between permit and answer")?,
            queue_oldest_age: series
                .gauge("queue_oldest_age_seconds", "How long the first in line has waited")?,
            gate_closed: series.gauges("gate_closed", "Closed gates of each width", &["scope"])?,
            gate_remaining: series.gauges(
                "gate_remaining_seconds",
                "Until the last gate of each width reopens",
                &["scope"],
            )?,
            gate_closed_seconds: series.seconds(
                "gate_closed_seconds_total",
                "How long the gate of all tenants has been closed",
                &["scope"],
            )?,
            gate_verdict: series.gauges(
                "gate_verdict",
                "1 for how far refusals of a family reach, where that is proved",
                &["family", "access", "level"],
            )?,
            rate: series.gauges(
                "rate_limit_learned_per_second",
                "Requests per second in force",
                &["scope"],
            )?,
            ceiling: series.gauges(
                "rate_limit_ceiling_per_second",
                "Requests per second that the operator allows at most",
                &["scope"],
            )?,
            spool: series.gauge("spool_bytes", "Bytes of request bodies held in files")?,
            cache_entries: series.gauge("cache_entries", "Answers kept")?,
            cache_bytes: series.gauge("cache_bytes", "Bytes kept: bodies, fields and keys")?,
            cache_evictions: series.counters(
                "cache_evictions_total",
                "Answers dropped to make room",
                &["reason"],
            )?,
            connections: series.gauge("connections", "Client connections open")?,
            upstream_connections: series.gauge("upstream_connections", "Connections to the API open")?,
            handshake_failures: series
                .counter("tls_handshake_failures_total", "TLS handshakes with clients that failed")?,
            certificate_not_after: series
                .gauge("tls_certificate_not_after_timestamp_seconds", "When the serving certificate ends")?,
        })
    }

    pub(super) fn set(&self, gauges: &Gauges) {
        self.gate(&gauges.gate);
        self.spool.set(gauges.spool_bytes);
        self.cache_entries.set(gauges.cache_entries);
        self.cache_bytes.set(gauges.cache_bytes);
        raise(&self.cache_evictions.with_label_values(&["size"]), gauges.cache_evictions);
        self.connections.set(gauges.connections);
        self.upstream_connections.set(gauges.upstream_connections);
        raise(&self.handshake_failures, gauges.tls_handshake_failures);
        if let Some(not_after) = gauges.certificate_not_after {
            self.certificate_not_after.set(not_after);
        }
    }

    #[allow(clippy::as_conversions, reason = "counts shown as gauges: Prometheus knows only floats")]
    fn gate(&self, gate: &Glance) {
        self.queue_depth.set(gate.waiting as f64);
        self.in_flight.set(gate.in_flight as f64);
        self.queue_oldest_age.set(gate.oldest_waited.as_secs_f64());
        for level in Level::ALL {
            let views = gate.gates.iter().chain([&gate.egress]);
            let closed = views.filter(|view| view.key.level() == level).filter_map(|view| view.closed_for);
            let (count, longest) =
                closed.fold((0.0, Duration::ZERO), |(count, longest), wait| (count + 1.0, longest.max(wait)));
            self.gate_closed.with_label_values(&[level.as_str()]).set(count);
            self.gate_remaining.with_label_values(&[level.as_str()]).set(longest.as_secs_f64());
        }
        let closed_seconds = self.gate_closed_seconds.with_label_values(&[EGRESS]);
        closed_seconds.inc_by((gate.egress_closed_for_total.as_secs_f64() - closed_seconds.get()).max(0.0));
        self.gate_verdict.reset();
        for (family, level) in &gate.verdicts {
            let labels = [family.segment, family.access.as_str(), level.as_str()];
            self.gate_verdict.with_label_values(&labels).set(1.0);
        }
        self.rate.with_label_values(&[EGRESS]).set(gate.egress.rate.per_second());
        self.ceiling.reset();
        if let Some(ceiling) = gate.ceiling_per_second {
            self.ceiling.with_label_values(&[EGRESS]).set(ceiling);
        }
    }
}

/// A room counted by itself: the series follows.
fn raise(counter: &IntCounter, total: u64) {
    counter.inc_by(total.saturating_sub(counter.get()));
}

/// The gate of all tenants; the learned rate and the ceiling are shown for it alone.
const EGRESS: &str = Level::Egress.as_str();
