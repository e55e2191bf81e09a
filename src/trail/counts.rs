//! What one request adds to the metrics.

use std::time::Duration;

use tokio::time::Instant;

use crate::admit::Pass;
use crate::gate::{Level, Wait};
use crate::metrics::{code_label, method_label};
use crate::rewrite::FailureCode;
use crate::upstream::ReplayEvent;
use crate::words::Outcome;

use super::Record;

impl Record {
    fn tenant_label(&self, now: Instant) -> &str {
        self.metrics.tenants.label(self.tenant.as_ref().and_then(Pass::name), now)
    }

    fn class(&self) -> &'static str {
        self.access.as_str()
    }

    pub(super) fn settle_replay(&mut self, outcome: &str) {
        if let Some(event) = self.replayed.take() {
            self.metrics.replays.with_label_values(&[event_label(event), outcome]).inc();
        }
    }

    pub(super) fn failed_in_part(&self, codes: &[FailureCode]) {
        for code in codes {
            self.metrics.partial_failures.with_label_values(&[code.as_str()]).inc();
        }
    }

    pub(super) fn throttled(&self, wait: Wait, closed: Option<Level>) {
        // Without a gate, a refusal closes nothing.
        let scope = closed.map_or("none", Level::as_str);
        self.metrics.throttled.with_label_values(&[scope, self.tenant_label(Instant::now())]).inc();
        match wait {
            Wait::Malformed => self.metrics.retry_after_malformed.inc(),
            Wait::Missing => {}
            Wait::Stated(stated) => self.metrics.retry_after.observe(stated.as_secs_f64()),
        }
    }

    pub(super) fn count(&self, now: Instant, total: Duration) {
        let (route, outcome, tenant) = (self.route.as_str(), self.outcome(), self.tenant_label(now));
        let outcome_label = outcome.as_str();
        // 499 is what nginx taught dashboards to read as "the client left".
        let code = self.status.as_ref().map_or("499", code_label);
        let metrics = &self.metrics;
        metrics.requests.with_label_values(&[route, method_label(&self.method), code, outcome_label]).inc();
        metrics.tenant_requests.with_label_values(&[tenant, self.class(), outcome_label]).inc();
        metrics.duration.with_label_values(&[route, outcome_label]).observe(total.as_secs_f64());
        if self.attempts > 0 {
            metrics.queue_wait.with_label_values(&[self.class(), tenant]).observe(self.waited.as_secs_f64());
        }
        if let Some(observed) = self.observed {
            metrics.observed_wait.with_label_values(&[self.class(), tenant]).observe(observed.as_secs_f64());
        }
        if self.note.is_some() {
            metrics.cache_requests.with_label_values(&[outcome_label]).inc();
        }
        if matches!(outcome, Outcome::Coalesced | Outcome::Hit | Outcome::Revalidated | Outcome::Stale) {
            metrics.cache_saved_bytes.inc_by(self.bytes);
        }
    }
}

fn event_label(event: ReplayEvent) -> &'static str {
    match event {
        ReplayEvent::Fault => "fault",
        ReplayEvent::HeadersSent => "headers_sent",
        ReplayEvent::Locked => "locked",
        ReplayEvent::NeverSent => "never_sent",
        ReplayEvent::Throttled => "throttled",
    }
}
