//! Decides which fields of an answer are kept, and which ones a confirmation replaces (RFC 9111 §3.1, §3.2).

use std::time::SystemTime;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, header};

use super::directives::Directives;
use super::{date, list, targeted};

/// The fields that are kept: all but those of one connection and those that the origin reserves.
///
/// A missing Date is filled in with the time of receipt (RFC 9110 §6.6.1).
pub(super) fn kept(headers: &HeaderMap, said: &Directives, received: SystemTime) -> HeaderMap {
    let mut kept = without_connection(headers);
    for name in said.no_cache.fields().iter().chain(said.private.fields()) {
        remove_unless_needed(&mut kept, name);
    }
    if !kept.contains_key(header::DATE)
        && let Ok(now) = HeaderValue::try_from(date::written(received))
    {
        kept.insert(header::DATE, now);
    }
    owned(kept)
}

/// The same fields with values that pin nothing but themselves: those of HTTP/1.1 are slices of the connection's read buffer, and
/// an entry of a few hundred bytes would hold all of it. They lie side by side in one piece of memory: to copy them for an
/// answer is to count one reference, and not to fetch each value's own from where it has long been cold.
pub(in crate::cache) fn owned(mut headers: HeaderMap) -> HeaderMap {
    let mut all: Bytes = headers.values().flat_map(HeaderValue::as_bytes).copied().collect();
    for value in headers.values_mut() {
        let is_sensitive = value.is_sensitive();
        // A value that was valid stays valid.
        if let Ok(copy) = HeaderValue::from_maybe_shared(all.split_to(value.len())) {
            *value = copy;
            value.set_sensitive(is_sensitive);
        }
    }
    headers
}

/// The kept fields with those of a confirmation in their place.
pub(super) fn merged(kept: &HeaderMap, newer: &HeaderMap) -> HeaderMap {
    let mut merged = kept.clone();
    // They belong to the earlier message: a confirmation without them is no older than its receipt.
    merged.remove(header::AGE);
    merged.remove(header::DATE);
    let newer = without_connection(newer);
    for name in newer.keys().filter(|name| !FIXED.contains(name)) {
        merged.remove(name);
        for value in newer.get_all(name) {
            merged.append(name, value.clone());
        }
    }
    merged
}

/// The one Date of an answer, if it can be read.
pub(super) fn dated(headers: &HeaderMap) -> Option<SystemTime> {
    date::field(headers, &header::DATE)
}

/// All but those that concern the connection they came with.
pub(super) fn without_connection(headers: &HeaderMap) -> HeaderMap {
    let mut kept = headers.clone();
    for option in list::of(headers, &header::CONNECTION) {
        if let Ok(name) = HeaderName::from_bytes(option) {
            remove_unless_needed(&mut kept, &name);
        }
    }
    for name in &CONNECTION {
        kept.remove(name);
    }
    kept
}

/// Both a length and a coding: RFC 9112 §6.3 calls it an error, whatever the body then was.
pub(in crate::cache) fn are_framed_twice(headers: &HeaderMap) -> bool {
    headers.contains_key(header::TRANSFER_ENCODING) && headers.contains_key(header::CONTENT_LENGTH)
}

/// What the rules are read from stays, whatever the origin lists: without it an answer would look fresher than it is.
fn remove_unless_needed(headers: &mut HeaderMap, name: &HeaderName) {
    if !NEEDED.contains(name) {
        headers.remove(name);
    }
}

/// Fields of one connection, and of one hop's authentication (RFC 9111 §3.1).
const CONNECTION: [HeaderName; 11] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::PROXY_AUTHENTICATE,
    HeaderName::from_static("proxy-authentication-info"),
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    HeaderName::from_static("http2-settings"),
];

/// Fields that describe the stored bytes and not the resource (RFC 9111 §3.2).
const FIXED: [HeaderName; 3] = [header::CONTENT_ENCODING, header::CONTENT_LENGTH, header::CONTENT_RANGE];

const NEEDED: [HeaderName; 9] = [
    header::AGE,
    header::CACHE_CONTROL,
    targeted::CDN_CACHE_CONTROL,
    header::CONTENT_ENCODING,
    header::CONTENT_RANGE,
    header::DATE,
    header::EXPIRES,
    header::ETAG,
    header::VARY,
];

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;

    use super::*;

    /// A read buffer, and who still holds it.
    struct Buffer(Arc<[u8]>);

    impl AsRef<[u8]> for Buffer {
        fn as_ref(&self) -> &[u8] {
            &self.0
        }
    }

    #[test]
    fn kept_fields_pin_no_read_buffer() {
        let holder = Arc::<[u8]>::from(&b"\"an entity-tag in a large buffer\""[..]);
        let mut headers = HeaderMap::new();
        let value = Bytes::from_owner(Buffer(Arc::clone(&holder)));
        headers.insert(header::ETAG, HeaderValue::from_maybe_shared(value).unwrap());
        let kept = kept(&headers, &Directives::default(), SystemTime::UNIX_EPOCH);
        assert_eq!(kept.get(header::ETAG), headers.get(header::ETAG));
        assert_eq!(Arc::strong_count(&holder), 2, "the answer itself still holds it");
        drop(headers);
        assert_eq!(Arc::strong_count(&holder), 1, "what is kept does not");
    }
}
