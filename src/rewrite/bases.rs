//! Decides whether a URL points at a known base, and swaps scheme and authority where it does.

use http::HeaderValue;

use crate::words::{Base, Scheme};

/// Where a known base stands in a URL, as byte offsets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    /// The scheme ends here, before `://`.
    pub(super) scheme_end: usize,
    /// The authority starts here.
    pub(super) authority_start: usize,
    /// The authority ends here.
    pub(super) authority_end: usize,
}

/// The known base that `url` starts with: scheme and host whatever their case, a default port equal to none
/// (RFC 3986 §6.2.3). A URL with userinfo names no known base.
pub(super) fn find(bases: &[Base], url: &[u8]) -> Option<Span> {
    let scheme_end = url.iter().take(LONGEST_SCHEME + 1).position(|&byte| byte == b':')?;
    let scheme = scheme(url.get(..scheme_end)?)?;
    let rest = url.get(scheme_end..)?.strip_prefix(b"://")?;
    let length = rest.iter().position(|byte| b"/?#".contains(byte)).unwrap_or(rest.len());
    let (host, port) = host_and_port(std::str::from_utf8(rest.get(..length)?).ok()?, scheme)?;
    let is_known = bases.iter().any(|base| {
        base.scheme == scheme
            && base.authority.host().eq_ignore_ascii_case(host)
            && base.authority.port_u16().unwrap_or_else(|| scheme.default_port()) == port
    });
    let authority_start = scheme_end + "://".len();
    is_known.then_some(Span { scheme_end, authority_start, authority_end: authority_start + length })
}

/// A `Link` value whose URLs in `<...>` point at `to` where they pointed at one of `from`.
/// None: nothing to change.
///
/// Only the brackets are looked for, not the grammar: Webex documents the field without its semicolon.
pub(super) fn relink(from: &[Base], to: &Base, value: &HeaderValue) -> Option<HeaderValue> {
    let raw = value.as_bytes();
    let mut out = Vec::new();
    let mut copied = 0;
    for open in memchr::memchr_iter(b'<', raw) {
        let start = open + 1;
        let Some(url) = raw.get(start..).filter(|_| start > copied) else { continue };
        let url = url.get(..memchr::memchr(b'>', url).unwrap_or(0)).unwrap_or_default();
        let Some(span) = find(from, url) else { continue };
        out.extend_from_slice(raw.get(copied..start).unwrap_or_default());
        out.extend_from_slice(&swap(to, url, span));
        copied = start + span.authority_end;
    }
    if copied == 0 {
        return None;
    }
    out.extend_from_slice(raw.get(copied..).unwrap_or_default());
    HeaderValue::from_bytes(&out).ok()
}

/// A `Location` value that points at `to` where it pointed at one of `from`; none: nothing to change.
pub(super) fn relocate(from: &[Base], to: &Base, value: &HeaderValue) -> Option<HeaderValue> {
    let raw = value.as_bytes();
    let span = find(from, raw)?;
    let mut out = swap(to, raw, span);
    out.extend_from_slice(raw.get(span.authority_end..).unwrap_or_default());
    HeaderValue::from_bytes(&out).ok()
}

/// The bytes that take the place of `raw[..authority_end]`.
///
/// What stands between scheme and authority stays as it was written.
pub(super) fn swap(to: &Base, raw: &[u8], span: Span) -> Vec<u8> {
    let separator = raw.get(span.scheme_end..span.authority_start).unwrap_or_default();
    [to.scheme.as_str().as_bytes(), separator, to.authority.as_str().as_bytes()].concat()
}

fn scheme(text: &[u8]) -> Option<Scheme> {
    [Scheme::Http, Scheme::Https]
        .into_iter()
        .find(|scheme| text.eq_ignore_ascii_case(scheme.as_str().as_bytes()))
}

fn host_and_port(authority: &str, scheme: Scheme) -> Option<(&str, u16)> {
    match authority.rsplit_once(':') {
        Some((host, "")) => Some((host, scheme.default_port())),
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => {
            Some((host, port.parse().ok()?))
        }
        // The last colon of a bare IPv6 address.
        _ => Some((authority, scheme.default_port())),
    }
}

const LONGEST_SCHEME: usize = "https".len();

#[cfg(test)]
mod tests {
    use super::*;

    fn base(scheme: Scheme, authority: &str) -> Base {
        Base { scheme, authority: authority.parse().unwrap() }
    }

    fn api() -> [Base; 2] {
        [base(Scheme::Https, "webexapis.com"), base(Scheme::Https, "api.ciscospark.com")]
    }

    #[test]
    fn a_base_is_known_by_scheme_host_and_port() {
        let bases =
            [api().as_slice(), &[base(Scheme::Http, "[::1]:8080"), base(Scheme::Http, "127.0.0.1:80")]]
                .concat();
        for (url, end) in [
            ("https://webexapis.com/v1/x", Some(21)),
            ("HTTPS://WebexAPIs.com", Some(21)),
            ("https://webexapis.com:443/v1", Some(25)),
            ("https://webexapis.com:/v1", Some(22)),
            ("https://api.ciscospark.com?x", Some(26)),
            ("http://[::1]:8080/v1", Some(17)),
            ("http://127.0.0.1#", Some(16)),
            ("http://webexapis.com/", None),
            ("http://webexapis.com:443/", None),
            ("https://webexapis.com:8443/", None),
            ("https://webexapis.com.evil.example/", None),
            ("https://webexapis.com@evil.example/", None),
            ("https://user@webexapis.com/", None),
            ("https://webexapis.com:99999/", None),
            ("https://webexapis.com:+443/", None),
            ("https://webexapis.com\\@evil.example/", None),
            ("https://[::1]/", None),
            ("https:/webexapis.com/", None),
            ("//webexapis.com/", None),
            ("/v1/people", None),
            ("", None),
        ] {
            assert_eq!(find(&bases, url.as_bytes()).map(|span| span.authority_end), end, "{url}");
        }
    }

    #[test]
    fn every_form_of_link_is_rewritten_between_its_brackets_alone() {
        for (value, expected) in [
            (
                "<https://webexapis.com/v1/messages?roomId=Y2&max=50&beforeMessage=Z>; rel=\"next\"",
                "<http://localhost:8080/v1/messages?roomId=Y2&max=50&beforeMessage=Z>; rel=\"next\"",
            ),
            (
                "<https://webexapis.com/v1/people?displayName=Harold&max=10&before&after=Y2lz> rel=\"next\"",
                "<http://localhost:8080/v1/people?displayName=Harold&max=10&before&after=Y2lz> rel=\"next\"",
            ),
            (
                "<https://api.ciscospark.com/v1/memberships/?max=50&cursor=a%20b>;rel=next",
                "<http://localhost:8080/v1/memberships/?max=50&cursor=a%20b>;rel=next",
            ),
            (
                "<https://webexapis.com/v1/rooms?u=https://webexapis.com/>; rel=\"first\", <HTTPS://webexapis.com:443/v1/rooms?b>; rel=prev , <https://other.example/>;rel=x",
                "<http://localhost:8080/v1/rooms?u=https://webexapis.com/>; rel=\"first\", <HTTP>; rel=prev , <https://other.example/>;rel=x",
            ),
            ("<https://other.example/v1>; rel=\"next\"", ""),
            ("<https://webexapis.com/v1; rel=\"next\"", ""),
            ("https://webexapis.com/v1; rel=\"next\"", ""),
            ("</v1/people>; rel=\"next\"", ""),
            ("<<https://webexapis.com/v1>>", "<<http://localhost:8080/v1>>"),
            ("<>", ""),
            ("<", ""),
            ("", ""),
        ] {
            let expected = expected.replace("<HTTP>", "<http://localhost:8080/v1/rooms?b>");
            let value = HeaderValue::from_str(value).unwrap();
            let changed = relink(&api(), &base(Scheme::Http, "localhost:8080"), &value);
            assert_eq!(
                changed.map_or(String::new(), |new| new.to_str().unwrap().into()),
                expected,
                "{value:?}"
            );
        }
    }

    #[test]
    fn bytes_that_are_no_text_survive_in_a_link() {
        let value = HeaderValue::from_bytes(b"<https://webexapis.com/v1/p?q=\xe4>; title=\"\xff\"").unwrap();
        let changed = relink(&api(), &base(Scheme::Https, "localhost"), &value).unwrap();
        assert_eq!(changed.as_bytes(), b"<https://localhost/v1/p?q=\xe4>; title=\"\xff\"");
    }

    #[test]
    fn only_absolute_locations_of_the_api_are_rewritten() {
        for (value, expected) in [
            ("https://webexapis.com/v1/rooms/1?a", Some("https://bots.example/v1/rooms/1?a")),
            ("https://api.ciscospark.com", Some("https://bots.example")),
            ("/v1/rooms", None),
            ("//webexapis.com/v1", None),
            ("https://idbroker.webex.com/idb", None),
        ] {
            let changed =
                relocate(&api(), &base(Scheme::Https, "bots.example"), &HeaderValue::from_static(value));
            assert_eq!(changed.as_ref().map(|new| new.to_str().unwrap()), expected, "{value}");
        }
    }
}
