//! Whatever stands in `Link` and `Location`, URLs of the API point at the client's base afterwards, and every other byte is
//! as it was; a second look changes nothing.
//!
//! Input: values, one per line; the first byte of each says in which field it stands.

use http::{HeaderMap, HeaderValue, Method, Request, Response};
use tollgate::body::Body;
use tollgate::route::{Kind, Route};
use tollgate::words::Scheme;

use super::rooms::{API, LEGACY, rewriter, router};

/// Panics where the property does not hold.
pub fn holds(input: &[u8]) {
    let mut headers = HeaderMap::new();
    for line in input.split(|byte| *byte == b'\n') {
        let Some((name, value)) = line.split_first() else { continue };
        let name = NAMES[usize::from(name % 4)];
        if let Ok(value) = HeaderValue::from_bytes(value) {
            headers.append(name, value);
        }
    }
    let [client, api] = ["localhost:8080", API].map(route);
    let once = rewritten(&client, &headers);
    for name in NAMES {
        let expected = headers.get_all(name).iter().map(|value| match name {
            "link" => relinked(value.as_bytes()),
            "x-link" => value.as_bytes().to_vec(),
            _ => relocated(value.as_bytes()).unwrap_or_else(|| value.as_bytes().to_vec()),
        });
        let shown = |bytes: &[u8]| bytes.escape_ascii().to_string();
        let found: Vec<_> = once.get_all(name).iter().map(|value| shown(value.as_bytes())).collect();
        assert_eq!(found, expected.map(|value| shown(&value)).collect::<Vec<_>>(), "{name}");
    }
    let lines =
        |headers: &HeaderMap| NAMES.map(|name| headers.get_all(name).iter().cloned().collect::<Vec<_>>());
    assert_eq!(lines(&rewritten(&client, &once)), lines(&once), "a second look");
    assert_eq!(lines(&rewritten(&api, &headers)), lines(&headers), "a client that calls the API by its name");
}

fn route(host: &str) -> Route {
    let head = Request::get("/v1/rooms").header("host", host).body(()).unwrap().into_parts().0;
    let scheme = if host == API { Scheme::Https } else { Scheme::Http };
    router(Kind::Webex).find(scheme, &head).unwrap()
}

fn rewritten(route: &Route, headers: &HeaderMap) -> HeaderMap {
    let mut response = Response::new(Body::empty());
    *response.headers_mut() = headers.clone();
    rewriter().inbound(route, &Method::GET, response).headers().clone()
}

/// The value with each URL that begins behind a `<` and ends before a `>` relocated.
fn relinked(value: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = value;
    while let Some((first, after)) = rest.split_first() {
        out.push(*first);
        rest = after;
        let url = if *first == b'<' {
            rest.iter().position(|byte| *byte == b'>').map(|end| &rest[..end])
        } else {
            None
        };
        if let Some((url, new)) = url.and_then(|url| Some((url, relocated(url)?))) {
            let kept = url.len() - base_length(url).unwrap_or(0);
            out.extend_from_slice(&new[..new.len() - kept]);
            rest = &rest[url.len() - kept..];
        }
    }
    out
}

/// The URL at the client's base, if it is one of the API's.
fn relocated(url: &[u8]) -> Option<Vec<u8>> {
    let length = base_length(url)?;
    Some([b"http://localhost:8080", &url[length..]].concat())
}

/// How long scheme and authority are, if they are the API's: RFC 3986 §6.2.3 lets the port be written or not.
fn base_length(url: &[u8]) -> Option<usize> {
    let after = |prefix: String| {
        let is_same =
            url.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix.as_bytes()));
        is_same.then_some(prefix.len())
    };
    let host = after(format!("https://{API}")).or_else(|| after(format!("https://{LEGACY}")))?;
    let rest = &url[host..];
    let port = match rest.split_first() {
        Some((b':', digits)) => {
            let count = digits.iter().take_while(|digit| digit.is_ascii_digit()).count();
            let significant = digits[..count].iter().skip_while(|digit| **digit == b'0');
            let is_default = count == 0 || significant.eq(b"443");
            is_default.then_some(1 + count)?
        }
        _ => 0,
    };
    matches!(rest.get(port), None | Some(b'/' | b'?' | b'#')).then_some(host + port)
}

const NAMES: [&str; 4] = ["link", "location", "cisco-location", "x-link"];
