//! Decides which trace a request belongs to: the client's own, or a new one if it sent none that can be read.

use http::{HeaderMap, HeaderName, HeaderValue};

/// W3C Trace Context, version 00 and whatever follows it.
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// The trace of a request: 32 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TraceId([u8; TRACE_DIGITS]);

impl TraceId {
    pub(super) fn as_str(&self) -> &str {
        str::from_utf8(&self.0).unwrap_or_default()
    }
}

/// The trace of a request that is about to be forwarded.
///
/// One `traceparent` that can be read stays as it is: a proxy without spans of its own is no parent. Without one, or
/// with one that cannot be read, a new one takes its place, and `tracestate`, which then belongs to nothing, goes
/// (Trace Context §3.2, §4.3).
pub(super) fn adopt(headers: &mut HeaderMap) -> TraceId {
    let mut sent = headers.get_all(&TRACEPARENT).iter();
    let (first, second) = (sent.next(), sent.next());
    let known = first.filter(|_| second.is_none()).and_then(|value| trace_id(value.as_bytes()));
    known.unwrap_or_else(|| {
        let (trace, line) = begun();
        headers.remove(&TRACESTATE);
        // Digits and dashes always make a value.
        if let Ok(value) = HeaderValue::try_from(line) {
            headers.insert(TRACEPARENT, value);
        }
        trace
    })
}

/// The id of a trace that begins here, and its line. Not sampled: nobody has asked for it.
fn begun() -> (TraceId, String) {
    let (mut trace, mut span) = ([0; TRACE_DIGITS], [0; TRACE_DIGITS]);
    uuid::Uuid::new_v4().as_simple().encode_lower(&mut trace);
    let span = uuid::Uuid::new_v4().as_simple().encode_lower(&mut span);
    // The version's digit stands in the first half, so that is never zero.
    let span = span.get(..SPAN_DIGITS).unwrap_or_default();
    let trace = TraceId(trace);
    (trace, ["00-", trace.as_str(), "-", span, "-00"].concat())
}

/// The trace id; none if the value is malformed. A higher version may say more after the flags (§3.2.2).
fn trace_id(value: &[u8]) -> Option<TraceId> {
    let mut parts = value.splitn(5, |byte| *byte == b'-');
    let mut part = |digits: usize| {
        let is_hex = |byte: &u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(byte);
        parts.next().filter(|part| part.len() == digits && part.iter().all(is_hex))
    };
    let version = part(2).filter(|version| *version != b"ff")?;
    let trace = part(TRACE_DIGITS).filter(|trace| trace.iter().any(|digit| *digit != b'0'))?;
    part(SPAN_DIGITS).filter(|span| span.iter().any(|digit| *digit != b'0'))?;
    part(2)?;
    let has_more = parts.next().is_some();
    if version == b"00" && has_more {
        return None;
    }
    trace.try_into().ok().map(TraceId)
}

const TRACE_DIGITS: usize = 32;
const SPAN_DIGITS: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

    fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
        let line =
            |(name, value): &(&'static str, &str)| (HeaderName::from_static(name), value.parse().unwrap());
        lines.iter().map(line).collect()
    }

    #[test]
    fn a_trace_that_can_be_read_passes_untouched() {
        for parent in [
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-ff",
            "cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-what-the-future-will-be",
        ] {
            let sent = headers(&[("traceparent", parent), ("tracestate", "a=1"), ("tracestate", "b=2")]);
            let mut passed = sent.clone();
            assert_eq!(adopt(&mut passed).as_str(), TRACE, "{parent}");
            assert_eq!(passed, sent);
        }
    }

    #[test]
    fn a_trace_that_cannot_be_read_is_replaced_and_its_state_goes() {
        for parent in [
            "",
            "00",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-1",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01 ",
            "0x-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "Bearer canary",
        ] {
            check_replaced(&headers(&[("traceparent", parent), ("tracestate", "a=1")]));
        }
        let twice = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        check_replaced(&headers(&[("traceparent", twice), ("traceparent", twice)]));
        check_replaced(&headers(&[("tracestate", "a=1")]));
    }

    #[track_caller]
    fn check_replaced(sent: &HeaderMap) {
        let mut passed = sent.clone();
        let trace = adopt(&mut passed);
        let lines: Vec<_> = passed.get_all("traceparent").iter().collect();
        assert_eq!(lines.len(), 1);
        assert_eq!(trace_id(lines[0].as_bytes()), Some(trace), "{sent:?}");
        assert_ne!(trace.as_str(), TRACE);
        assert_eq!(passed.get("tracestate"), None);
    }
}
