//! Listens to the proxy's own request lines for the time each request stood in line, and keeps them off the screen.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

/// Times in line by tenant. Cloning shares them.
#[derive(Debug, Clone, Default)]
pub(super) struct Waits(Arc<Mutex<BTreeMap<String, Vec<Duration>>>>);

impl Waits {
    /// Takes the place of the log.
    ///
    /// # Errors
    /// If there is a log already.
    pub(super) fn listen() -> Result<Self, tracing::dispatcher::SetGlobalDefaultError> {
        let waits = Self::default();
        tracing::subscriber::set_global_default(waits.clone())?;
        Ok(waits)
    }

    /// What was heard so far.
    pub(super) fn heard(&self) -> BTreeMap<String, Vec<Duration>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The fields of one request line that matter here.
#[derive(Debug, Default)]
struct Line {
    tenant: Option<String>,
    wait_ms: Option<u64>,
    attempts: u64,
}

impl Visit for Line {
    fn record_u64(&mut self, field: &Field, value: u64) {
        match field.name() {
            "attempts" => self.attempts = value,
            "wait_ms" => self.wait_ms = Some(value),
            _ => {}
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "tenant" {
            self.tenant = Some(value.to_owned());
        }
    }

    fn record_debug(&mut self, _field: &Field, _value: &dyn Debug) {}
}

impl Subscriber for Waits {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_event() && metadata.fields().field("wait_ms").is_some()
    }

    fn event(&self, event: &Event<'_>) {
        let mut line = Line::default();
        event.record(&mut line);
        // What never left stood in no line, as in the metric tollgate_queue_wait_seconds.
        if let (Some(tenant), Some(wait_ms), 1..) = (line.tenant, line.wait_ms, line.attempts) {
            let mut waits = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            waits.entry(tenant).or_default().push(Duration::from_millis(wait_ms));
        }
    }

    fn new_span(&self, _span: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _span: &Id, _values: &Record<'_>) {}

    fn record_follows_from(&self, _span: &Id, _follows: &Id) {}

    fn enter(&self, _span: &Id) {}

    fn exit(&self, _span: &Id) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_requests_that_went_to_the_api_stood_in_line() {
        let waits = Waits::default();
        tracing::subscriber::with_default(waits.clone(), || {
            let tenant = Some("bot-01".to_owned());
            tracing::info!(tenant, wait_ms = 12_u64, attempts = 1_u32, "request");
            tracing::info!(tenant, wait_ms = 0_u64, attempts = 0_u32, "request");
            tracing::info!(wait_ms = 5_u64, attempts = 1_u32, "request");
            tracing::info!("draining");
        });
        assert_eq!(waits.heard(), BTreeMap::from([("bot-01".to_owned(), vec![Duration::from_millis(12)])]));
    }
}
