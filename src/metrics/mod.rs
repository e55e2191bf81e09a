//! Every time series: names and labels. Labels come from the configuration or a fixed table, never from a request.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use http::{Method, StatusCode};
use prometheus::core::Collector;
use prometheus::{
    Encoder, Gauge, GaugeVec, Histogram, HistogramVec, IntCounter, IntCounterVec, Opts, Registry, TextEncoder,
};
use tokio::time::Instant;

use crate::cache;
use crate::gate::{Glance, Level};
use crate::machine;
use crate::rewrite::FailureCode;
use crate::server::HandshakeFailure;
use crate::upstream::Failed;
use crate::words::{Outcome, TenantId};

mod pulled;
mod recent;
mod series;
mod share;
mod tenants;

use pulled::Pulled;
use series::{DURATIONS, RETRY_AFTERS, Series, WAITS};
use share::Shared;
use tenants::{Tenants, UNLISTED};

pub(crate) use recent::Answered;
pub use recent::{Pace, Recent, RecentView, Refusal, RefusalReason};

/// A name that the registry refuses: a fault of this file, found by its test.
#[derive(Debug, thiserror::Error)]
#[error("a metric cannot be registered: {0}")]
pub struct Fault(#[from] prometheus::Error);

/// The gauges, read from the rooms at scrape time.
#[derive(Debug, Clone)]
pub struct Gauges {
    /// When they were read.
    pub taken_at: Instant,
    /// Lines, gates and verdicts.
    pub gate: Glance,
    /// Bytes of request bodies in files.
    pub spool_bytes: f64,
    /// What is kept, and what had to leave.
    pub cache: cache::Glance,
    /// Client connections.
    pub connections: f64,
    /// Connections to the API.
    pub upstream_connections: f64,
    /// TLS handshakes that failed, since start, by reason.
    pub tls_handshake_failures: Vec<(HandshakeFailure, u64)>,
    /// Connections and streams lost to a fault of ours, since start.
    pub panics: u64,
    /// Memory, and what was refused for want of it.
    pub machine: machine::Glance,
    /// When the serving certificate ends, seconds since the epoch; none without TLS.
    pub certificate_not_after: Option<f64>,
    /// What is shared with other replicas; none if nothing is.
    pub share: Option<crate::share::Glance>,
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
    pub(crate) upstream_failures: IntCounterVec,
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
    pub(crate) partial_failures: IntCounterVec,
    pub(crate) tenants: Tenants,
    recent: Recent,
    shared: Shared,
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
                "Answers to clients, by route and by who gave them",
                &["route", "method", "code", "outcome"],
            )?,
            tenant_requests: series.counters(
                "tenant_requests_total",
                "Answers to clients, by tenant",
                &["tenant", "class", "outcome"],
            )?,
            duration: series.histograms(
                "request_duration_seconds",
                "From the request's head to the end of its answer",
                DURATIONS,
                &["route", "outcome"],
            )?,
            upstream_requests: series.counters(
                "upstream_requests_total",
                "Attempts that the API answered",
                &["route", "method", "code"],
            )?,
            upstream_duration: series.histograms(
                "upstream_request_duration_seconds",
                "From a permit to the head of the API's answer",
                DURATIONS,
                &["route"],
            )?,
            upstream_failures: series.counters(
                "upstream_failures_total",
                "Attempts without an answer, by what went wrong",
                &["reason"],
            )?,
            throttled: series.counters(
                "upstream_throttled_total",
                "Refusals by the API's rate limits, by what they close and whom they met",
                &["scope", "tenant"],
            )?,
            retry_after: series.histogram(
                "retry_after_seconds",
                "Waits that the API asked for",
                RETRY_AFTERS,
            )?,
            retry_after_malformed: series
                .counter("retry_after_malformed_total", "Retry-After values that cannot be read")?,
            queue_wait: series.histograms(
                "queue_wait_seconds",
                "Time in line, all attempts of a request together",
                WAITS,
                &["class", "tenant"],
            )?,
            observed_wait: series.histograms(
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
                "Requests sent again, by why and by what came of it",
                &["reason", "outcome"],
            )?,
            cache_requests: series.counters(
                "cache_requests_total",
                "What the cache had to say",
                &["outcome"],
            )?,
            cache_saved_bytes: series
                .counter("cache_saved_bytes_total", "Body bytes answered without the API")?,
            partial_failures: series.counters(
                "partial_failures_total",
                "Parts of answers with status 200 that the API could not fill in",
                &["code"],
            )?,
            tenants: Tenants::default(),
            config_reloaded: series.gauge(
                "config_last_reload_successful",
                "1 if the configuration last read is in force, 0 if it had a fault",
            )?,
            config_reloaded_at: series.gauge(
                "config_last_reload_success_timestamp_seconds",
                "When the configuration in force was read",
            )?,
            recent: Recent::default(),
            shared: Shared::new(&series)?,
            pulled: Mutex::new(Pulled::new(&series)?),
            registry: series.0,
        };
        let info =
            GaugeVec::new(Opts::new("build_info", "Always 1; the version is the label"), &["version"])?;
        info.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1.0);
        metrics.registry.register(Box::new(info))?;
        metrics.config_reloaded.set(1.0);
        metrics.begin_at_zero();
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

    /// What the last minutes looked like.
    pub fn recent(&self) -> &Recent {
        &self.recent
    }

    /// The exposition in Prometheus' text format, gauges as given, process series as they are now.
    ///
    /// `names` are those of the tenants that have one. Series of tenants that have been idle are dropped first.
    pub fn render(&self, gauges: &Gauges, names: &HashMap<TenantId, Arc<str>>) -> Vec<u8> {
        // One look at a time, or series that come and go would be missing from another's page.
        let pulled = self.pulled.lock().unwrap_or_else(PoisonError::into_inner);
        self.retire(gauges.taken_at);
        pulled.set(gauges, &self.tenants, names);
        self.shared.set(gauges.share.as_ref());
        let mut families = self.registry.gather();
        drop(pulled);
        families.extend(prometheus::process_collector::ProcessCollector::for_self().collect());
        let mut text = Vec::new();
        // Writing to memory fails only for a family without a name or a metric: this file makes neither.
        drop(TextEncoder::new().encode(&families, &mut text));
        text
    }

    /// A series that first appears with its first event hides that event from `rate` and `increase`.
    fn begin_at_zero(&self) {
        let begin = |counters: &IntCounterVec, labels: &[&str]| drop(counters.with_label_values(labels));
        for reason in REFUSALS {
            begin(&self.queue_refused, &[reason]);
        }
        for outcome in Outcome::ALL.into_iter().filter(|outcome| *outcome != Outcome::Refused) {
            begin(&self.cache_requests, &[outcome.as_str()]);
        }
        for code in FailureCode::ALL {
            begin(&self.partial_failures, &[code.as_str()]);
        }
        for kind in Failed::KINDS {
            begin(&self.upstream_failures, &[kind]);
        }
        for level in Level::ALL {
            begin(&self.throttled, &[level.as_str(), UNLISTED]);
        }
    }

    fn retire(&self, now: Instant) {
        let gone = self.tenants.retire(now);
        if !gone.is_empty() {
            tenants::forget(&self.tenant_requests, &gone);
            tenants::forget(&self.throttled, &gone);
            tenants::forget(&self.queue_wait, &gone);
            tenants::forget(&self.observed_wait, &gone);
        }
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

/// The registered statuses alone: an origin can invent others.
pub(crate) fn code_label(status: &StatusCode) -> &str {
    if status.canonical_reason().is_some() { status.as_str() } else { "other" }
}

/// Why a request gets no turn.
const REFUSALS: [&str; 3] = ["deadline", "full", "shutdown"];

#[cfg(test)]
pub(crate) mod tests;
