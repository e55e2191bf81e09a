//! Every time series: names, labels and buckets. Labels come from the configuration or a fixed table, never from a request.

use http::Method;
use prometheus::core::Collector;
use prometheus::{
    Encoder, Gauge, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, Opts,
    Registry, TextEncoder,
};

/// A name that the registry refuses: a fault of this file, found by its test.
#[derive(Debug, thiserror::Error)]
#[error("a metric cannot be registered: {0}")]
pub struct Fault(#[from] prometheus::Error);

/// The gauges, read from the rooms at scrape time.
#[derive(Debug, Clone, Copy)]
pub struct Gauges {
    /// Requests in line.
    pub queue_depth: f64,
    /// How long the first in line has waited, in seconds.
    pub queue_oldest_age_seconds: f64,
    /// 1 while nothing may be sent.
    pub gate_closed: f64,
    /// Until it may.
    pub gate_remaining_seconds: f64,
    /// The rate in force.
    pub rate_limit_learned_per_second: f64,
    /// Bytes of request bodies in files.
    pub spool_bytes: f64,
    /// Answers kept.
    pub cache_entries: f64,
    /// Bytes kept.
    pub cache_bytes: f64,
    /// Answers dropped to make room, since start.
    pub cache_evictions: u64,
    /// Client connections.
    pub connections: f64,
    /// Connections to the API.
    pub upstream_connections: f64,
    /// TLS handshakes that failed, since start.
    pub tls_handshake_failures: u64,
    /// When the serving certificate ends, seconds since the epoch; none without TLS.
    pub certificate_not_after: Option<f64>,
}

/// All series of one process. The counters belong to `trail`, which alone counts.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    pub(crate) requests: IntCounterVec,
    pub(crate) tenant_requests: IntCounterVec,
    pub(crate) duration: HistogramVec,
    pub(crate) upstream_requests: IntCounterVec,
    pub(crate) upstream_duration: HistogramVec,
    pub(crate) throttled: IntCounterVec,
    pub(crate) retry_after: Histogram,
    pub(crate) retry_after_malformed: IntCounter,
    pub(crate) queue_wait: HistogramVec,
    pub(crate) observed_wait: HistogramVec,
    pub(crate) queue_refused: IntCounterVec,
    pub(crate) client_gone: IntCounter,
    pub(crate) replays: IntCounterVec,
    pub(crate) cache_requests: IntCounterVec,
    pub(crate) cache_saved_bytes: IntCounter,
    config_reloaded: Gauge,
    pulled: Pulled,
}

#[derive(Debug)]
struct Pulled {
    queue_depth: Gauge,
    queue_oldest_age: Gauge,
    gate_closed: GaugeVec,
    gate_remaining: GaugeVec,
    rate: GaugeVec,
    spool: Gauge,
    cache_entries: Gauge,
    cache_bytes: Gauge,
    cache_evictions: IntCounterVec,
    connections: Gauge,
    upstream_connections: Gauge,
    handshake_failures: IntCounter,
    certificate_not_after: Gauge,
}

impl Metrics {
    /// Registers everything, `build_info` and the process's own series included.
    ///
    /// # Errors
    /// [`Fault`] if two series share a name.
    pub fn new() -> Result<Self, Fault> {
        let series = Series(Registry::new_custom(Some("tollgate".to_owned()), None)?);
        let metrics = Self {
            requests: series.counters(
                "requests_total",
                "Answers to clients, by who gave them",
                &["route", "method", "code", "outcome"],
            )?,
            tenant_requests: series.counters(
                "tenant_requests_total",
                "Answers to clients, by tenant",
                &["tenant", "class", "outcome"],
            )?,
            duration: series.histogram(
                "request_duration_seconds",
                "From the request's head to the end of its answer",
                SECONDS,
                &["route", "outcome"],
            )?,
            upstream_requests: series.counters(
                "upstream_requests_total",
                "Attempts that the API answered",
                &["route", "method", "code"],
            )?,
            upstream_duration: series.histogram(
                "upstream_request_duration_seconds",
                "From a permit to the head of the API's answer",
                SECONDS,
                &["route"],
            )?,
            throttled: series.counters(
                "upstream_throttled_total",
                "429s of the API, by what they close and whom they met",
                &["scope", "tenant"],
            )?,
            retry_after: series.registered(Histogram::with_opts(
                HistogramOpts::new("retry_after_seconds", "Waits that the API asked for")
                    .buckets(WAITS.to_vec()),
            )?)?,
            retry_after_malformed: series
                .counter("retry_after_malformed_total", "Retry-After values that cannot be read")?,
            queue_wait: series.histogram(
                "queue_wait_seconds",
                "Time in line, all attempts of a request together",
                WAITS,
                &["class", "tenant"],
            )?,
            observed_wait: series.histogram(
                "queue_observed_wait_seconds",
                "Time in line that a request which passes the line by would have had",
                WAITS,
                &["class", "tenant"],
            )?,
            queue_refused: series.counters(
                "queue_refused_total",
                "Requests that got no turn",
                &["reason"],
            )?,
            client_gone: series
                .counter("client_gone_total", "Clients that left before their answer's head")?,
            replays: series.counters(
                "replays_total",
                "Requests sent again, by cause",
                &["reason", "outcome"],
            )?,
            cache_requests: series.counters(
                "cache_requests_total",
                "What the cache had to say",
                &["outcome"],
            )?,
            cache_saved_bytes: series
                .counter("cache_saved_bytes_total", "Body bytes answered without the API")?,
            config_reloaded: series.gauge(
                "config_last_reload_successful",
                "1 if the configuration last read is in force, 0 if it had a fault",
            )?,
            pulled: Pulled::new(&series)?,
            registry: series.0,
        };
        let info =
            GaugeVec::new(Opts::new("build_info", "Always 1; the version is the label"), &["version"])?;
        info.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1.0);
        metrics.registry.register(Box::new(info))?;
        metrics.config_reloaded.set(1.0);
        Ok(metrics)
    }

    /// The configuration was read again, and is in force if that went well.
    pub fn reloaded<T, E>(&self, result: &Result<T, E>) {
        self.config_reloaded.set(if result.is_ok() { 1.0 } else { 0.0 });
    }

    /// The exposition in Prometheus' text format, gauges as given, process series as they are now.
    pub fn render(&self, gauges: &Gauges) -> Vec<u8> {
        self.pulled.set(gauges);
        let mut families = self.registry.gather();
        families.extend(prometheus::process_collector::ProcessCollector::for_self().collect());
        let mut text = Vec::new();
        // Writing to memory fails only for a family without a name or a metric: this file makes neither.
        drop(TextEncoder::new().encode(&families, &mut text));
        text
    }
}

/// The methods that may be a label: a client can invent others.
pub(crate) fn method_label(method: &Method) -> &'static str {
    match *method {
        Method::DELETE => "DELETE",
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::OPTIONS => "OPTIONS",
        Method::PATCH => "PATCH",
        Method::POST => "POST",
        Method::PUT => "PUT",
        _ => "other",
    }
}

impl Pulled {
    fn new(series: &Series) -> Result<Self, Fault> {
        Ok(Self {
            queue_depth: series.gauge("queue_depth", "Requests in line")?,
            queue_oldest_age: series
                .gauge("queue_oldest_age_seconds", "How long the first in line has waited")?,
            gate_closed: series.gauges("gate_closed", "1 while nothing may be sent", &["scope"])?,
            gate_remaining: series.gauges("gate_remaining_seconds", "Until the gate reopens", &["scope"])?,
            rate: series.gauges(
                "rate_limit_learned_per_second",
                "Requests per second in force",
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

    fn set(&self, gauges: &Gauges) {
        self.queue_depth.set(gauges.queue_depth);
        self.queue_oldest_age.set(gauges.queue_oldest_age_seconds);
        self.gate_closed.with_label_values(&[EGRESS]).set(gauges.gate_closed);
        self.gate_remaining.with_label_values(&[EGRESS]).set(gauges.gate_remaining_seconds);
        self.rate.with_label_values(&[EGRESS]).set(gauges.rate_limit_learned_per_second);
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
}

/// A room counted by itself: the series follows.
fn raise(counter: &IntCounter, total: u64) {
    counter.inc_by(total.saturating_sub(counter.get()));
}

/// Makes and registers in one step.
struct Series(Registry);

impl Series {
    fn registered<C: Collector + Clone + 'static>(&self, made: C) -> Result<C, Fault> {
        self.0.register(Box::new(made.clone()))?;
        Ok(made)
    }

    fn counter(&self, name: &str, help: &str) -> Result<IntCounter, Fault> {
        self.registered(IntCounter::new(name, help)?)
    }

    fn counters(&self, name: &str, help: &str, labels: &[&str]) -> Result<IntCounterVec, Fault> {
        self.registered(IntCounterVec::new(Opts::new(name, help), labels)?)
    }

    fn gauge(&self, name: &str, help: &str) -> Result<Gauge, Fault> {
        self.registered(Gauge::new(name, help)?)
    }

    fn gauges(&self, name: &str, help: &str, labels: &[&str]) -> Result<GaugeVec, Fault> {
        self.registered(GaugeVec::new(Opts::new(name, help), labels)?)
    }

    fn histogram(
        &self,
        name: &str,
        help: &str,
        buckets: &[f64],
        labels: &[&str],
    ) -> Result<HistogramVec, Fault> {
        self.registered(HistogramVec::new(HistogramOpts::new(name, help).buckets(buckets.to_vec()), labels)?)
    }
}

/// What a 429 closes: one gate for everybody, until scopes are learned.
pub(crate) const EGRESS: &str = "egress";
/// A millisecond for a hit, half a minute for a request that waited.
const SECONDS: &[f64] =
    &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 25.0, 60.0];
/// Waits reach further: Webex documents an hour.
const WAITS: &[f64] = &[0.001, 0.01, 0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0, 300.0, 3600.0];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_series_has_our_prefix_a_help_text_and_a_unit() {
        let metrics = Metrics::new().unwrap();
        let gauges = Gauges {
            queue_depth: 1.0,
            queue_oldest_age_seconds: 2.0,
            gate_closed: 1.0,
            gate_remaining_seconds: 3.0,
            rate_limit_learned_per_second: 5.0,
            spool_bytes: 0.0,
            cache_entries: 0.0,
            cache_bytes: 0.0,
            cache_evictions: 7,
            connections: 0.0,
            upstream_connections: 0.0,
            tls_handshake_failures: 0,
            certificate_not_after: None,
        };
        metrics.render(&gauges);
        let text = String::from_utf8(metrics.render(&gauges)).unwrap();
        assert!(text.contains("tollgate_gate_remaining_seconds{scope=\"egress\"} 3"), "{text}");
        assert!(text.contains("tollgate_cache_evictions_total{reason=\"size\"} 7"), "{text}");
        assert!(text.contains("\nprocess_resident_memory_bytes"), "{text}");
        let names = text.lines().filter_map(|line| line.strip_prefix("# HELP "));
        assert!(names.clone().count() > 20);
        assert!(names.clone().all(|name| name.starts_with("tollgate_") || name.starts_with("process_")));
    }
}
