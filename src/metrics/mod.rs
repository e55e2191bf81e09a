//! Every time series: names, labels and buckets. Labels come from the configuration or a fixed table, never from a request.

use std::sync::{Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use http::Method;
use prometheus::core::Collector;
use prometheus::{
    CounterVec, Encoder, Gauge, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec,
    Opts, Registry, TextEncoder,
};

use crate::gate::Glance;

mod pulled;

use pulled::Pulled;

/// A name that the registry refuses: a fault of this file, found by its test.
#[derive(Debug, thiserror::Error)]
#[error("a metric cannot be registered: {0}")]
pub struct Fault(#[from] prometheus::Error);

/// The gauges, read from the rooms at scrape time.
#[derive(Debug, Clone)]
pub struct Gauges {
    /// Lines, gates and verdicts.
    pub gate: Glance,
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
    config_reloaded_at: Gauge,
    pulled: Mutex<Pulled>,
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
            config_reloaded_at: series.gauge(
                "config_last_reload_success_timestamp_seconds",
                "When the configuration in force was read",
            )?,
            pulled: Mutex::new(Pulled::new(&series)?),
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
    pub fn reloaded(&self, is_applied: bool, now: SystemTime) {
        self.config_reloaded.set(if is_applied { 1.0 } else { 0.0 });
        if is_applied {
            self.config_reloaded_at
                .set(now.duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64()));
        }
    }

    /// The exposition in Prometheus' text format, gauges as given, process series as they are now.
    pub fn render(&self, gauges: &Gauges) -> Vec<u8> {
        // One look at a time, or series that come and go would be missing from another's page.
        let pulled = self.pulled.lock().unwrap_or_else(PoisonError::into_inner);
        pulled.set(gauges);
        let mut families = self.registry.gather();
        drop(pulled);
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

    fn seconds(&self, name: &str, help: &str, labels: &[&str]) -> Result<CounterVec, Fault> {
        self.registered(CounterVec::new(Opts::new(name, help), labels)?)
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

/// A millisecond for a hit, half a minute for a request that waited.
const SECONDS: &[f64] =
    &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 25.0, 60.0];
/// Waits reach further: Webex documents an hour.
const WAITS: &[f64] = &[0.001, 0.01, 0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0, 300.0, 3600.0];

#[cfg(test)]
pub(crate) mod tests;
