//! The series that are read from the rooms when somebody looks.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use prometheus::{CounterVec, Gauge, GaugeVec, IntCounter, IntCounterVec};

use crate::cache;
use crate::gate::{GateView, Glance, Level};
use crate::machine;
use crate::words::TenantId;

use super::tenants::{Tenants, UNLISTED};
use super::{Fault, Gauges, Series};

#[derive(Debug)]
pub(super) struct Pulled {
    queue_depth: GaugeVec,
    in_flight: Gauge,
    queue_oldest_age: GaugeVec,
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
    cache_disk_entries: Gauge,
    cache_disk_bytes: Gauge,
    cache_disk_faults: IntCounterVec,
    connections: Gauge,
    upstream_connections: Gauge,
    handshake_failures: IntCounterVec,
    panics: IntCounter,
    memory_used: GaugeVec,
    memory_limit: GaugeVec,
    memory_pressure: Gauge,
    memory_refused: IntCounterVec,
    certificate_not_after: GaugeVec,
}

impl Pulled {
    pub(super) fn new(series: &Series) -> Result<Self, Fault> {
        Ok(Self {
            queue_depth: series.gauges("queue_depth", "Requests in line", &["tenant"])?,
            in_flight: series.gauge("requests_in_flight", "Requests between permit and answer")?,
            queue_oldest_age: series.gauges(
                "queue_oldest_age_seconds",
                "How long the first in line has waited",
                &["tenant"],
            )?,
            gate_closed: series.gauges("gate_closed", "Closed gates of each width", &["scope"])?,
            gate_remaining: series.gauges(
                "gate_remaining_seconds",
                "Until the last gate of each width reopens",
                &["scope"],
            )?,
            gate_closed_seconds: series.seconds(
                "gate_closed_seconds_total",
                "How long gates of each width have been closed; several at once add up",
                &["scope"],
            )?,
            gate_verdict: series.gauges(
                "gate_verdict",
                "1 for how far refusals of a family reach, where that is proved",
                &["family", "access", "level"],
            )?,
            rate: series.gauges(
                "rate_limit_learned_per_second",
                "Requests per second in force: the lowest of each width, narrow ones only where a limit was met",
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
            cache_disk_entries: series.gauge("cache_disk_entries", "Attachments kept on disk")?,
            cache_disk_bytes: series.gauge("cache_disk_bytes", "Bytes of their files")?,
            cache_disk_faults: series.counters(
                "cache_disk_faults_total",
                "Attachments not kept on disk, or lost there",
                &["reason"],
            )?,
            connections: series.gauge("connections", "Client connections open")?,
            upstream_connections: series.gauge("upstream_connections", "Connections to the API open")?,
            handshake_failures: series.counters(
                "tls_handshake_failures_total",
                "TLS handshakes with clients that failed",
                &["reason"],
            )?,
            panics: series.counter("panics_total", "Connections and streams lost to a fault of Tollgate's own")?,
            // Where nothing tells, a zero would say that there is no memory.
            memory_used: series.gauges(
                "memory_used_bytes",
                "Memory in use that the kernel cannot drop, as the overload guard counts it",
                &[],
            )?,
            memory_limit: series.gauges("memory_limit_bytes", "Memory that there is for it", &[])?,
            memory_pressure: series.gauge(
                "memory_pressure",
                "0 enough, 1 large uploads are refused, 2 all requests are refused",
            )?,
            memory_refused: series.counters(
                "memory_refused_total",
                "Requests refused for want of memory",
                &["what"],
            )?,
            // Without TLS there is none: a zero would say that it ended in 1970.
            certificate_not_after: series.gauges(
                "tls_certificate_not_after_timestamp_seconds",
                "When the serving certificate ends",
                &[],
            )?,
        })
    }

    pub(super) fn set(&self, gauges: &Gauges, tenants: &Tenants, names: &HashMap<TenantId, Arc<str>>) {
        self.lines(gauges, tenants, names);
        self.gate(&gauges.gate);
        self.rates(&gauges.gate);
        self.spool.set(gauges.spool_bytes);
        self.cache(&gauges.cache);
        self.connections.set(gauges.connections);
        self.upstream_connections.set(gauges.upstream_connections);
        for (reason, total) in &gauges.tls_handshake_failures {
            raise(&self.handshake_failures.with_label_values(&[reason.as_str()]), *total);
        }
        raise(&self.panics, gauges.panics);
        self.memory(&gauges.machine);
        self.certificate_not_after.reset();
        if let Some(not_after) = gauges.certificate_not_after {
            self.certificate_not_after.with_label_values::<&str>(&[]).set(not_after);
        }
    }

    #[allow(clippy::as_conversions, reason = "counts shown as gauges: Prometheus knows only floats")]
    fn memory(&self, machine: &machine::Glance) {
        self.memory_pressure.set(f64::from(machine.pressure.level()));
        self.memory_used.reset();
        self.memory_limit.reset();
        if let Some((used, limit)) = machine.memory {
            self.memory_used.with_label_values::<&str>(&[]).set(used as f64);
            self.memory_limit.with_label_values::<&str>(&[]).set(limit as f64);
        }
        raise(&self.memory_refused.with_label_values(&["requests"]), machine.refused_requests);
        raise(&self.memory_refused.with_label_values(&["uploads"]), machine.refused_uploads);
    }

    /// Without a disk tier its series stand at zero.
    #[allow(clippy::as_conversions, reason = "counts shown as gauges: Prometheus knows only floats")]
    fn cache(&self, cache: &cache::Glance) {
        let disk = cache.disk.unwrap_or_default();
        self.cache_entries.set(cache.entries as f64);
        self.cache_bytes.set(cache.bytes as f64);
        self.cache_disk_entries.set(disk.entries as f64);
        self.cache_disk_bytes.set(disk.bytes as f64);
        raise(&self.cache_evictions.with_label_values(&["size"]), cache.evicted);
        raise(&self.cache_evictions.with_label_values(&["disk_size"]), disk.evicted);
        raise(&self.cache_disk_faults.with_label_values(&["io"]), disk.failures);
        raise(&self.cache_disk_faults.with_label_values(&["queue"]), disk.dropped);
    }

    /// A tenant that is a label anyhow shows an empty line too.
    fn lines(&self, gauges: &Gauges, tenants: &Tenants, names: &HashMap<TenantId, Arc<str>>) {
        self.queue_depth.reset();
        self.queue_oldest_age.reset();
        let known = tenants.names();
        for tenant in known.iter().map(AsRef::as_ref).chain([UNLISTED]) {
            self.queue_depth.with_label_values(&[tenant]).set(0.0);
            self.queue_oldest_age.with_label_values(&[tenant]).set(0.0);
        }
        for line in &gauges.gate.lines {
            let tenant = tenants.label(names.get(&line.tenant), gauges.taken_at);
            self.queue_depth.with_label_values(&[tenant]).add(f64::from(line.waiting));
            let oldest = self.queue_oldest_age.with_label_values(&[tenant]);
            oldest.set(oldest.get().max(line.oldest_waited.as_secs_f64()));
        }
    }

    #[allow(clippy::as_conversions, reason = "counts shown as gauges: Prometheus knows only floats")]
    fn gate(&self, gate: &Glance) {
        self.in_flight.set(gate.in_flight as f64);
        for level in Level::ALL {
            let closed = of_width(gate, level).filter_map(|view| view.closed_for);
            let (count, longest) =
                closed.fold((0.0, Duration::ZERO), |(count, longest), wait| (count + 1.0, longest.max(wait)));
            self.gate_closed.with_label_values(&[level.as_str()]).set(count);
            self.gate_remaining.with_label_values(&[level.as_str()]).set(longest.as_secs_f64());
        }
        for (level, total) in gate.closed_for_total {
            let seconds = self.gate_closed_seconds.with_label_values(&[level.as_str()]);
            seconds.inc_by((total.as_secs_f64() - seconds.get()).max(0.0));
        }
        self.gate_verdict.reset();
        for (family, level) in &gate.verdicts {
            let labels = [family.segment, family.access.as_str(), level.as_str()];
            self.gate_verdict.with_label_values(&labels).set(1.0);
        }
    }

    fn rates(&self, gate: &Glance) {
        self.rate.reset();
        for level in Level::ALL {
            let told = of_width(gate, level).filter(|view| level == Level::Egress || view.has_met_limit);
            if let Some(lowest) = told.map(|view| view.rate.per_second()).min_by(f64::total_cmp) {
                self.rate.with_label_values(&[level.as_str()]).set(lowest);
            }
        }
        self.ceiling.reset();
        if let Some(ceiling) = gate.ceiling_per_second {
            self.ceiling.with_label_values(&[Level::Egress.as_str()]).set(ceiling);
        }
    }
}

fn of_width(gate: &Glance, level: Level) -> impl Iterator<Item = &GateView> {
    gate.gates.iter().chain([&gate.egress]).filter(move |view| view.key.level() == level)
}

/// A room counted by itself: the series follows.
pub(super) fn raise(counter: &IntCounter, total: u64) {
    counter.inc_by(total.saturating_sub(counter.get()));
}
