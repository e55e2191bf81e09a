//! The one line of log of a request: only what is listed here, in a form that breaks no line and holds no credential.

use std::borrow::Cow;
use std::time::Duration;

use http::HeaderValue;
use http::uri::Authority;

use crate::admit::Pass;
use crate::metrics::method_label;
use crate::route::masked;
use crate::words::Digits;

use super::Record;

impl Record {
    pub(super) fn log(&self, total: Duration) {
        let digits = self.tenant.as_ref().map(|pass| pass.tenant().digits());
        // The name that the operator gave, or the beginning of its hash.
        let name = self.tenant.as_ref().and_then(Pass::name).map(AsRef::as_ref);
        tracing::info!(
            request_id = %text(&self.tracking_id),
            webex_tracking_id = self.webex_tracking_id.as_ref().map(text).as_deref(),
            trace_id = self.trace_id.as_str(),
            route = self.route.as_str(),
            tenant = name.or_else(|| digits.as_ref().map(Digits::as_str)),
            upstream = self.upstream.as_ref().map(Authority::as_str),
            outcome = self.outcome().as_str(),
            http.method = method_label(&self.method),
            http.path = %masked(&self.path),
            http.status = self.status.map(|status| status.as_u16()),
            wait_ms = millis(self.waited),
            observed_wait_ms = self.observed.map(millis),
            upstream_ms = millis(self.upstream_for),
            total_ms = millis(total),
            attempts = self.attempts,
            retry_after = self.retry_after.map(|wait| wait.as_secs()),
            bytes = self.bytes,
            error = self.error.as_deref(),
            "request"
        );
    }

    /// What the cache does by itself is a step, not a request.
    pub(super) fn log_aside(&self) {
        tracing::debug!(
            request_id = %text(&self.tracking_id),
            trace_id = self.trace_id.as_str(),
            route = self.route.as_str(),
            attempts = self.attempts,
            upstream_ms = millis(self.upstream_for),
            error = self.error.as_deref(),
            "revalidation"
        );
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// A stranger's bytes, in a form that cannot break a log line.
fn text(value: &HeaderValue) -> Cow<'_, str> {
    let bytes = value.as_bytes().get(..MAX_BYTES).unwrap_or(value.as_bytes());
    let is_plain = |byte: &u8| matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b'\'' | b'\\');
    match str::from_utf8(bytes) {
        // All of them, though the first odd one would tell: so many are looked at in one step.
        Ok(plain) if bytes.iter().fold(true, |plain, byte| plain & is_plain(byte)) => Cow::Borrowed(plain),
        _ => Cow::Owned(String::from_utf8_lossy(bytes).escape_default().to_string()),
    }
}

/// More than any id of a client has.
const MAX_BYTES: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_breaks_no_line() {
        let shown = |bytes: &[u8]| text(&HeaderValue::from_bytes(bytes).unwrap()).to_string();
        assert_eq!(shown(b"a\tb\xff\""), "a\\tb\\u{fffd}\\\"");
        assert_eq!(shown(b"a'b"), "a\\'b");
        assert_eq!(shown(b"ROUTER_1-2 ~"), "ROUTER_1-2 ~");
        assert_eq!(shown(&[b'x'; 5000]).len(), MAX_BYTES);
    }
}
