//! Holds which fields and bodies change on the way, and that nothing else does.

use super::*;

use std::collections::VecDeque;
use std::io::Write;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::Version;
use http_body::Frame;
use http_body_util::BodyExt;

use crate::body::BodyError;
use crate::route::{Hosts, Router, RouterSettings};

struct Frames(VecDeque<Frame<Bytes>>);

impl http_body::Body for Frames {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        Poll::Ready(self.0.pop_front().map(Ok))
    }
}

/// A body that comes in chunks of `size`, with or without the trailers `x-sum` and `authorization`.
pub(super) fn chunked(bytes: &[u8], size: usize, with_trailers: bool) -> Body {
    let mut frames: VecDeque<_> =
        bytes.chunks(size).map(|chunk| Frame::data(Bytes::copy_from_slice(chunk))).collect();
    if with_trailers {
        let fields = [("x-sum", "1"), ("authorization", "Bearer t")];
        let fields =
            fields.map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
        frames.push_back(Frame::trailers(fields.into_iter().collect()));
    }
    Body::stream(Frames(frames))
}

fn base(scheme: Scheme, authority: &str) -> Base {
    Base { scheme, authority: authority.parse().unwrap() }
}

fn rewriter(enabled: bool) -> Rewriter {
    Rewriter::new(RewriteSettings {
        enabled,
        bases: vec![base(Scheme::Https, "webexapis.com"), base(Scheme::Https, "api.ciscospark.com")],
        via: "tollgate-1".into(),
        max_decoded_bytes: 1 << 20,
        max_ratio: 200,
    })
}

fn route_of(kind: Kind, head: &request::Parts) -> Route {
    let router = Router::new(RouterSettings {
        upstream: base(Scheme::Https, "webexapis.com"),
        aliases: vec![base(Scheme::Https, "api.ciscospark.com")],
        kind,
        hosts: Hosts::Any,
        public_base: None,
        via: "tollgate-2".into(),
        max_uri_bytes: 8192,
        max_fields: 64,
    });
    router.find(Scheme::Https, head).unwrap()
}

fn head(method: &str, path: &str, fields: &[(&str, &str)]) -> request::Parts {
    let mut request = Request::builder().method(method).uri(path);
    if !fields.iter().any(|(name, _)| *name == "host") {
        request = request.header("host", "localhost:8443");
    }
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    request.body(()).unwrap().into_parts().0
}

fn lines(headers: &HeaderMap) -> Vec<String> {
    headers.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect()
}

#[test]
fn a_request_leaves_with_its_own_fields_and_none_of_the_connections() {
    for (method, fields, length, expected) in [
        (
            "GET",
            vec![
                ("authorization", "Bearer t"),
                ("x-unknown", " a;b"),
                ("connection", "keep-alive, X-Hop"),
                ("x-hop", "1"),
            ],
            Some(0),
            vec!["authorization: Bearer t", "x-unknown:  a;b", "via: 1.1 tollgate-1"],
        ),
        (
            "POST",
            vec![
                ("authorization", "Bearer t"),
                ("connection", "authorization, host"),
                ("content-length", "9"),
            ],
            Some(12),
            vec!["authorization: Bearer t", "content-length: 12", "via: 1.1 tollgate-1"],
        ),
        (
            "POST",
            vec![
                ("expect", "100-continue"),
                ("transfer-encoding", "chunked"),
                ("te", "gzip, trailers"),
                ("trailer", "x-sum"),
            ],
            None,
            vec!["trailer: x-sum", "te: trailers", "via: 1.1 tollgate-1"],
        ),
        ("POST", vec![("trailer", "x-sum")], Some(0), vec!["content-length: 0", "via: 1.1 tollgate-1"]),
        ("DELETE", vec![("content-length", "0")], Some(0), vec!["content-length: 0", "via: 1.1 tollgate-1"]),
        (
            "GET",
            vec![("via", "1.0 a"), ("forwarded", "for=1"), ("accept-encoding", "gzip, br")],
            None,
            vec!["via: 1.0 a", "via: 1.1 tollgate-1", "forwarded: for=1", "accept-encoding: gzip, br"],
        ),
    ] {
        for kind in [Kind::Webex, Kind::Generic] {
            let head = head(method, "/v1/people?a=%2F&before&max=", &fields);
            let route = route_of(kind, &head);
            let request = rewriter(true).outbound(&route, &head, Body::empty(), length).into_request();
            let (mut found, mut expected) = (lines(request.headers()), expected.clone());
            found.sort();
            expected.sort_unstable();
            assert_eq!(found, expected, "{fields:?}");
            assert_eq!(request.uri(), "https://webexapis.com/v1/people?a=%2F&before&max=");
            assert_eq!(request.method(), method);
            assert!(!format!("{request:?}").contains("Bearer"), "a credential shows in Debug");
        }
    }
}

#[test]
fn via_tells_the_version_that_the_client_spoke() {
    let mut head = head("GET", "/people", &[]);
    head.version = Version::HTTP_2;
    let request =
        rewriter(false).outbound(&route_of(Kind::Webex, &head), &head, Body::empty(), None).into_request();
    assert_eq!(request.headers()["via"], "2 tollgate-1");
    assert_eq!(request.uri(), "https://webexapis.com/v1/people");
}

#[tokio::test]
async fn trailers_leave_without_credentials() {
    let head = head("POST", "/v1/messages", &[]);
    let route = route_of(Kind::Webex, &head);
    let request = rewriter(true).outbound(&route, &head, chunked(b"abc", 1, true), None).into_request();
    let body = request.into_body().collect().await.unwrap();
    assert_eq!(lines(body.trailers().unwrap()), ["x-sum: 1"]);
    assert_eq!(body.to_bytes(), "abc");
}

const UPLOAD: &str = r#"{"files":["https://localhost:8443/v1/contents/a","https://localhost:8443/contents/b","https://other.example/v1/contents/c"],"markdown":"https://localhost:8443/v1/contents/a  \n世界"}"#;

#[tokio::test]
async fn only_json_requests_are_edited() {
    let edited = UPLOAD.replacen("https://localhost:8443", "https://webexapis.com", 2);
    for (kind, enabled, fields, expected) in [
        (Kind::Webex, true, vec![("content-type", "application/json;charset=utf-8")], edited.as_str()),
        (Kind::Webex, true, vec![("content-type", "Application/JSON")], edited.as_str()),
        (Kind::Webex, true, vec![("content-type", "multipart/form-data; boundary=x")], UPLOAD),
        (Kind::Webex, true, vec![("content-type", "application/json"), ("content-encoding", "gzip")], UPLOAD),
        (Kind::Webex, true, vec![], UPLOAD),
        (Kind::Webex, false, vec![("content-type", "application/json")], UPLOAD),
        (Kind::Generic, true, vec![("content-type", "application/json")], UPLOAD),
        (Kind::Webex, true, vec![("content-type", "application/json"), ("host", "webexapis.com")], UPLOAD),
    ] {
        let head = head("POST", "/v1/messages", &fields);
        let body = rewriter(enabled).request_body(
            &route_of(kind, &head),
            &head,
            chunked(UPLOAD.as_bytes(), 11, true),
        );
        let body = body.collect().await.unwrap();
        assert!(body.trailers().is_some());
        assert_eq!(body.to_bytes(), expected, "{kind:?} {enabled} {fields:?}");
    }
}

const LIST: &str = r#"{"items":[{"files":["https://webexapis.com/v1/contents/a"],"text":"https://webexapis.com/v1/contents/a"}]}"#;
const EDITED: &str = r#"{"items":[{"files":["https://localhost:8443/v1/contents/a"],"text":"https://webexapis.com/v1/contents/a"}]}"#;

fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

fn answer(status: u16, fields: &[(&str, &str)], body: Body) -> Response<Body> {
    let mut response = Response::builder().status(status);
    for (name, value) in fields {
        response = response.header(*name, *value);
    }
    response.body(body).unwrap()
}

async fn check_answer(
    (method, path): (&str, &str),
    status: u16,
    (fields, body): (&[(&str, &str)], &[u8]),
    (expected_fields, expected): (&[&str], &[u8]),
) {
    let head = head(method, path, &[]);
    let response = answer(status, fields, chunked(body, 13, false));
    let response = rewriter(true).inbound(&route_of(Kind::Webex, &head), &head.method, response);
    let mut found = lines(response.headers());
    found.retain(|line| line != "via: 1.1 tollgate-1" && !line.starts_with("content-type"));
    assert_eq!(found, expected_fields, "{method} {path} {status} {fields:?}");
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(
        String::from_utf8_lossy(&bytes),
        String::from_utf8_lossy(expected),
        "{method} {path} {fields:?}"
    );
}

const JSON: (&str, &str) = ("content-type", "application/json;charset=UTF-8");

#[tokio::test]
async fn json_answers_are_edited_and_say_no_longer_what_is_not_true() {
    let (list, edited, packed) = (LIST.as_bytes(), EDITED.as_bytes(), gzip(LIST));
    let get = ("GET", "/v1/messages");
    for method in ["GET", "POST", "PUT", "PATCH"] {
        check_answer((method, "/v1/messages"), 200, (&[JSON, ("content-length", "9")], list), (&[], edited))
            .await;
    }
    for coding in ["gzip", "X-GZIP"] {
        let sent = [JSON, ("content-encoding", coding), ("content-length", "9"), ("etag", "\"a\"")];
        check_answer(get, 200, (&sent, &packed), (&["etag: W/\"a\""], edited)).await;
    }
    let sent = [("content-type", "application/vnd.x+json"), ("etag", "W/\"a\""), ("content-md5", "x")];
    check_answer(get, 200, (&sent, list), (&["etag: W/\"a\""], edited)).await;
    // A GET would be rewritten, so its length is not known.
    check_answer(("HEAD", "/v1/messages"), 200, (&[JSON, ("content-length", "9")], b""), (&[], b"")).await;
}

#[tokio::test]
async fn answers_that_cannot_or_must_not_be_edited_keep_every_byte_and_their_length() {
    let (list, packed) = (LIST.as_bytes(), gzip(LIST));
    let length = ["content-length: 9"].as_slice();
    for (method, path, status, content_type) in [
        ("GET", "/v1/messages", 200, "text/html"),
        ("GET", "/v1/contents/Y2", 200, "application/json"),
        ("HEAD", "/v1/contents/Y2", 200, "application/json"),
        ("HEAD", "/v1/messages", 200, "image/png"),
        ("GET", "/v1/messages", 206, "application/json"),
        ("GET", "/v1/messages", 304, "application/json"),
        ("GET", "/v1/messages", 204, "application/json"),
        ("GET", "/v1/messages", 429, "application/json"),
        ("DELETE", "/v1/messages", 200, "application/json"),
    ] {
        let sent = [("content-type", content_type), ("content-length", "9")];
        check_answer((method, path), status, (&sent, list), (length, list)).await;
    }
    for coding in ["br", "zstd", "gzip, br"] {
        let expected = ["content-length: 9".to_owned(), format!("content-encoding: {coding}")];
        let sent = [JSON, ("content-length", "9"), ("content-encoding", coding)];
        let expected: Vec<_> = expected.iter().map(String::as_str).collect();
        check_answer(("GET", "/v1/messages"), 200, (&sent, &packed), (&expected, &packed)).await;
    }
}

#[tokio::test]
async fn urls_in_fields_follow_the_client_and_hop_by_hop_fields_end_here() {
    let sent = [
        ("link", "<https://webexapis.com/v1/rooms?before&after=x>; rel=\"next\""),
        ("link", "<https://api.ciscospark.com/v1/rooms> rel=\"first\""),
        ("location", "https://webexapis.com/v1/rooms/1"),
        ("cisco-location", "https://webexapis.com/v1/rooms/2"),
        ("connection", "keep-alive, x-hop"),
        ("x-hop", "1"),
        ("keep-alive", "5"),
        ("via", "1.1 linkerd"),
        ("x-url", "https://webexapis.com/v1/rooms/3"),
    ];
    let expected = [
        "link: <https://localhost:8443/v1/rooms?before&after=x>; rel=\"next\"",
        "link: <https://localhost:8443/v1/rooms> rel=\"first\"",
        "location: https://localhost:8443/v1/rooms/1",
        "cisco-location: https://localhost:8443/v1/rooms/2",
        "x-url: https://webexapis.com/v1/rooms/3",
        "via: 1.1 linkerd",
    ];
    check_answer(("GET", "/v1/rooms"), 302, (&sent, b""), (&expected, b"")).await;
}

#[tokio::test]
async fn a_client_under_the_apis_own_name_gets_what_the_api_wrote() {
    let packed = gzip(LIST);
    for (kind, enabled, host) in [
        (Kind::Webex, true, "webexapis.com"),
        (Kind::Webex, true, "api.ciscospark.com"),
        (Kind::Webex, false, "localhost"),
        (Kind::Generic, true, "localhost"),
    ] {
        let head = head("GET", "/v1/messages", &[("host", host)]);
        let link = ("link", "<https://webexapis.com/v1/messages>; rel=next");
        let sent =
            [JSON, ("content-encoding", "gzip"), link, ("connection", "close"), ("content-length", "9")];
        let response = answer(200, &sent, chunked(&packed, 8, false));
        let response = rewriter(enabled).inbound(&route_of(kind, &head), &head.method, response);
        assert_eq!(response.headers()["link"], link.1);
        assert_eq!(response.headers()["content-length"], "9");
        assert_eq!(response.headers()["via"], "1.1 tollgate-1");
        assert!(!response.headers().contains_key("connection"));
        assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), packed, "{host}");
    }
}

#[tokio::test]
async fn a_packed_answer_cut_short_does_not_end_well() {
    let packed = gzip(LIST);
    let head = head("GET", "/v1/messages", &[]);
    for length in 1..packed.len() {
        let response =
            answer(200, &[JSON, ("content-encoding", "gzip")], chunked(&packed[..length], 8, false));
        let response = rewriter(true).inbound(&route_of(Kind::Webex, &head), &head.method, response);
        let error = response.into_body().collect().await.unwrap_err();
        assert!(
            matches!(error, BodyError::Garbled(crate::words::Side::Upstream, _)),
            "cut at {length}: {error}"
        );
    }
}

#[test]
fn the_target_of_a_server_wide_request_stays_an_asterisk() {
    let head = head("OPTIONS", "*", &[]);
    let request =
        rewriter(true).outbound(&route_of(Kind::Generic, &head), &head, Body::empty(), None).into_request();
    assert_eq!(request.uri().path(), "*");
    assert_eq!(request.uri().host(), Some("webexapis.com"));
}
