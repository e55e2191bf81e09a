//! Decides which header fields and trailers cross the proxy, and signs the message with `Via`.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{CONNECTION, COOKIE, TE, VIA};
use http::{HeaderMap, HeaderName, HeaderValue, Version};
use http_body::{Body as HttpBody, Frame, SizeHint};

use crate::body::{Body, BodyError};
use crate::route::OVERRIDES;

/// Removes what concerns one connection only: the fixed names and those that `Connection` lists (RFC 9110 §7.6.1).
///
/// A field that everyone behind must see stays, listed or not: listing it is an attack (SECURITY 1, row 15).
pub(super) fn strip(headers: &mut HeaderMap) {
    // One look at the names that are there costs less than looking for ten that are not.
    let found: Vec<HeaderName> = headers.keys().filter(|name| is_hop_by_hop(name)).cloned().collect();
    if found.is_empty() {
        return;
    }
    let listed: Vec<HeaderName> = tokens(headers, &CONNECTION)
        .filter_map(|token| HeaderName::from_bytes(token).ok())
        .filter(|name| !END_TO_END.contains(&name.as_str()))
        .collect();
    for name in listed.iter().chain(&found) {
        headers.remove(name);
    }
}

/// RFC 9110 §7.6.1 and what older texts and HTTP/2 upgrades add. `Trailer` passes: it announces what passes too.
fn is_hop_by_hop(name: &HeaderName) -> bool {
    matches!(
        name.as_str(),
        "connection"
            | "http2-settings"
            | "keep-alive"
            | "proxy-authenticate"
            | "proxy-authentication-info"
            | "proxy-authorization"
            | "proxy-connection"
            | "te"
            | "transfer-encoding"
            | "upgrade"
    )
}

/// Removes what would have some servers answer another request than the one that was routed and keyed: bytes that tenants
/// share may not depend on what no key knows.
pub(super) fn remove_overrides(headers: &mut HeaderMap) {
    if !headers.keys().any(|name| OVERRIDES.contains(name)) {
        return;
    }
    for name in OVERRIDES {
        headers.remove(name);
    }
}

/// The sender reads trailers: the only thing in `TE` that a proxy may say again for itself.
pub(super) fn takes_trailers(headers: &HeaderMap) -> bool {
    tokens(headers, &TE).any(|token| token.eq_ignore_ascii_case(b"trailers"))
}

/// Makes one line of the crumbs that HTTP/2 allows (RFC 9113 §8.2.3).
pub(super) fn join_cookies(headers: &mut HeaderMap) {
    if !headers.contains_key(COOKIE) {
        return;
    }
    let crumbs: Vec<&[u8]> = headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes).collect();
    if crumbs.len() > 1
        && let Ok(line) = HeaderValue::from_bytes(&crumbs.join(b"; ".as_slice()))
    {
        headers.insert(COOKIE, line);
    }
}

/// A `Via` line of our own for each version that a message can come with, made once.
#[derive(Debug)]
pub(super) struct Signatures {
    http_10: HeaderValue,
    http_11: HeaderValue,
    http_2: HeaderValue,
}

impl Signatures {
    pub(super) fn of(pseudonym: &str) -> Self {
        let line = |version: &str| {
            // The pseudonym is ours, a token: it always makes a value.
            HeaderValue::try_from(format!("{version} {pseudonym}")).unwrap_or(HeaderValue::from_static("1.1"))
        };
        Self { http_10: line("1.0"), http_11: line("1.1"), http_2: line("2") }
    }

    /// Appends the line for the version that the message came with.
    pub(super) fn sign(&self, headers: &mut HeaderMap, version: Version) {
        let line = match version {
            Version::HTTP_10 => &self.http_10,
            Version::HTTP_2 => &self.http_2,
            _ => &self.http_11,
        };
        headers.append(VIA, line.clone());
    }
}

/// The body with trailers that only say what a trailer may say: no framing, routing or credentials (RFC 9110 §6.5.1).
pub(super) fn with_safe_trailers(body: Body) -> Body {
    if body.is_end_stream() { body } else { Body::stream(SafeTrailers(body)) }
}

struct SafeTrailers(Body);

impl HttpBody for SafeTrailers {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        Pin::new(&mut self.0).poll_frame(cx).map_ok(|mut frame| {
            if let Some(trailers) = frame.trailers_mut() {
                make_safe(trailers);
            }
            frame
        })
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.size_hint()
    }
}

/// Leaves of trailers what a trailer may say.
pub(super) fn make_safe(trailers: &mut HeaderMap) {
    strip(trailers);
    for name in NO_TRAILER {
        trailers.remove(*name);
    }
}

/// The members of a comma-separated field, without their parameters.
fn tokens<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a [u8]> {
    headers
        .get_all(name)
        .iter()
        .flat_map(|line| line.as_bytes().split(|&byte| byte == b','))
        .filter_map(|member| member.split(|&byte| byte == b';').next())
        .map(<[u8]>::trim_ascii)
}

/// Fields that `Connection` cannot make hop-by-hop.
const END_TO_END: &[&str] = &[
    "authorization",
    "cache-control",
    "content-encoding",
    "content-length",
    "content-range",
    "content-type",
    "cookie",
    "date",
    "etag",
    "host",
    "if-match",
    "if-none-match",
    "range",
    "retry-after",
    "set-cookie",
    "vary",
    "via",
];

const NO_TRAILER: &[&str] = &[
    "authorization",
    "cache-control",
    "content-encoding",
    "content-length",
    "content-range",
    "content-type",
    "cookie",
    "expect",
    "host",
    "max-forwards",
    "set-cookie",
    "trailer",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        lines
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect()
    }

    #[test]
    fn only_end_to_end_fields_cross() {
        for (sent, kept) in [
            (vec![("connection", "close"), ("x-a", "1")], vec![("x-a", "1")]),
            (
                vec![
                    ("keep-alive", "5"),
                    ("proxy-connection", "x"),
                    ("upgrade", "h2c"),
                    ("http2-settings", "AA"),
                ],
                vec![],
            ),
            (
                vec![("proxy-authorization", "Basic x"), ("transfer-encoding", "chunked"), ("te", "gzip")],
                vec![],
            ),
            (
                vec![("connection", "X-A ,, x-b;q=1,"), ("x-a", "1"), ("x-b", "2"), ("x-c", "3")],
                vec![("x-c", "3")],
            ),
            (
                vec![("connection", "x-a"), ("connection", "x-b"), ("x-a", "1"), ("x-b", "2"), ("x-a", "3")],
                vec![],
            ),
            (
                vec![
                    ("connection", "Authorization, HOST, content-length, x-a"),
                    ("authorization", "Bearer t"),
                    ("host", "h"),
                    ("content-length", "3"),
                    ("x-a", "1"),
                ],
                vec![("authorization", "Bearer t"), ("host", "h"), ("content-length", "3")],
            ),
            (
                vec![("forwarded", "for=1"), ("x-forwarded-for", "1"), ("trailer", "x-t")],
                vec![("forwarded", "for=1"), ("x-forwarded-for", "1"), ("trailer", "x-t")],
            ),
        ] {
            let mut map = headers(&sent);
            strip(&mut map);
            assert_eq!(map, headers(&kept), "{sent:?}");
        }
    }

    #[test]
    fn trailers_are_taken_only_where_te_says_so() {
        for (value, expected) in [
            ("trailers", true),
            ("gzip, Trailers;q=0.5", true),
            ("gzip", false),
            ("trailersx", false),
            ("", false),
        ] {
            assert_eq!(takes_trailers(&headers(&[("te", value)])), expected, "{value}");
        }
    }

    #[test]
    fn via_grows_by_one_line_and_cookies_shrink_to_one() {
        for (version, expected) in
            [(Version::HTTP_10, "1.0 t"), (Version::HTTP_11, "1.1 t"), (Version::HTTP_2, "2 t")]
        {
            let mut map = headers(&[("via", "1.1 linkerd"), ("cookie", "a=1"), ("cookie", "b=2")]);
            Signatures::of("t").sign(&mut map, version);
            join_cookies(&mut map);
            let lines = |name: &str| {
                map.get_all(name).iter().map(|value| value.to_str().unwrap()).collect::<Vec<_>>()
            };
            assert_eq!(lines("via"), ["1.1 linkerd", expected]);
            assert_eq!(lines("cookie"), ["a=1; b=2"]);
        }
    }
}
