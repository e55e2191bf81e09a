//! The one line of log of a request: only what is listed here, in a form that breaks no line and holds no credential.

use std::time::Duration;

use http::HeaderValue;
use http::uri::Authority;

use crate::metrics::method_label;

use super::Record;

impl Record {
    pub(super) fn log(&self, total: Duration) {
        tracing::info!(
            request_id = %text(&self.tracking_id),
            webex_tracking_id = self.webex_tracking_id.as_ref().map(text),
            trace_id = self.trace_id,
            route = self.route.as_str(),
            tenant = self.tenant.as_ref().map(|pass| match pass.name() {
                Some(name) => name.to_string(),
                None => pass.tenant().to_string(),
            }),
            upstream = self.upstream.as_ref().map(Authority::as_str),
            outcome = self.outcome().as_str(),
            http.method = method_label(&self.method),
            http.path = %path(&self.path),
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
            trace_id = self.trace_id,
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
fn text(value: &HeaderValue) -> String {
    let bytes = value.as_bytes().get(..MAX_BYTES).unwrap_or(value.as_bytes());
    String::from_utf8_lossy(bytes).escape_default().to_string()
}

/// A path: plain words and Webex's ids stay, whatever else a segment may be is `*`. The address of an incoming
/// webhook is its credential, and a client with a fault puts its token anywhere.
fn path(path: &str) -> String {
    let mut shown = String::with_capacity(path.len().min(MAX_BYTES));
    for (index, segment) in path.split('/').enumerate() {
        if shown.len() > MAX_BYTES {
            shown.push_str("/...");
            break;
        }
        if index > 0 {
            shown.push('/');
        }
        shown.push_str(if is_harmless(segment) { segment } else { "*" });
    }
    shown
}

fn is_harmless(segment: &str) -> bool {
    let is_version = matches!(segment, "v1" | "v2");
    // Words such as meetingInfo have few capitals; a random text of letters alone has many.
    let is_word = segment.len() <= MAX_WORD
        && segment.bytes().all(|byte| byte.is_ascii_alphabetic() || matches!(byte, b'_' | b'-' | b'.'))
        && segment.bytes().filter(u8::is_ascii_uppercase).count() <= MAX_CAPITALS;
    let is_id = segment.len() <= MAX_ID
        && WEBEX_IDS.iter().any(|begin| segment.starts_with(begin))
        && segment.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'='));
    is_version || is_word || is_id
}

/// `ciscospark://` in base64: the beginning of every id that the REST API gives out.
const WEBEX_IDS: [&str; 1] = ["Y2lzY29zcGFyazovL"];
/// The longest word of the API's paths is shorter.
const MAX_WORD: usize = 32;
const MAX_CAPITALS: usize = 3;
const MAX_ID: usize = 256;
const MAX_BYTES: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_ids_stay_and_the_rest_is_masked() {
        let id = "Y2lzY29zcGFyazovL3VzL1JPT00vYmJjZWIxYWQtNDNmMS0zYjU4LTkxNDctZjE0YmIwYzRkMTU0";
        for (sent, shown) in [
            ("/", "/"),
            ("/v1/people/me", "/v1/people/me"),
            (&format!("/v1/rooms/{id}/meetingInfo"), &format!("/v1/rooms/{id}/meetingInfo")),
            ("/v1/people/ZmkYZmNMZA", "/v1/people/*"),
            ("/v1/webhooks/incoming/ZDk0YjU3", "/v1/webhooks/incoming/*"),
            ("/v1/unheard-of", "/v1/unheard-of"),
            ("/v1/Bearer%20abc", "/v1/*"),
            (&format!("/v1/rooms/{id}.token"), "/v1/rooms/*"),
            ("/v1/rooms/NjM4ZmE2YzQ", "/v1/rooms/*"),
            ("//\u{1b}[2J/\n", "//*/*"),
            ("*", "*"),
        ] {
            assert_eq!(path(sent), shown, "{sent}");
        }
        assert!(path(&"/a".repeat(100_000)).len() < 2 * MAX_BYTES);
    }

    #[test]
    fn a_field_breaks_no_line() {
        assert_eq!(text(&HeaderValue::from_bytes(b"a\tb\xff\"").unwrap()), "a\\tb\\u{fffd}\\\"");
        assert_eq!(text(&HeaderValue::from_bytes(&[b'x'; 5000]).unwrap()).len(), MAX_BYTES);
    }
}
