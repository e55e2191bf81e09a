//! Which protocol is spoken with whom.

use std::pin::Pin;
use std::task::{Context, Poll};

use http_body::Frame;

use super::*;
use crate::body::BodyError;
use crate::words::Side;

#[tokio::test]
async fn alpn_decides_between_http2_and_http1() {
    let world = world(ServerSettings::recommended(), "https", echo).await;
    let response = world.h2().await.send_request(get("/a")).await.unwrap();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(body, "HTTP/2.0 https /a 0");
    for alpn in [&["http/1.1"][..], &[]] {
        let mut stream = world.tls("localhost", alpn).await;
        let answer = ask(&mut stream, "GET /b HTTP/1.1\r\nhost: x\r\n\r\n").await;
        assert!(answer.ends_with("HTTP/1.1 https /b 0"), "{answer}");
    }
}

#[tokio::test]
async fn a_client_without_sni_gets_the_default_certificate() {
    let world = world(ServerSettings::recommended(), "https", echo).await;
    let mut stream = world.tls("127.0.0.1", &["http/1.1"]).await;
    assert!(ask(&mut stream, "GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn a_plain_listener_speaks_http1_alone() {
    let world = world(ServerSettings::recommended(), "http", echo).await;
    let mut stream = world.tcp().await;
    let answer = ask(&mut stream, "POST /c HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\n\r\nabc").await;
    assert!(answer.ends_with("HTTP/1.1 http /c 3"), "{answer}");
    let mut stream = world.tcp().await;
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
    let (answer, _) = rest(&mut stream).await;
    assert!(!answer.contains(" 200 "), "{answer}");
}

#[tokio::test]
async fn a_client_of_http10_is_answered_and_closed() {
    let world = world(ServerSettings::recommended(), "http", echo).await;
    let mut stream = world.tcp().await;
    stream.write_all(b"GET /old HTTP/1.0\r\n\r\n").await.unwrap();
    let (answer, _) = rest(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.0 200") && answer.ends_with("HTTP/1.0 http /old 0"), "{answer}");
}

#[tokio::test]
async fn a_panic_costs_one_connection_or_one_stream() {
    let world = world(ServerSettings::recommended(), "https", echo).await;
    let mut stream = world.tls("localhost", &["http/1.1"]).await;
    stream.write_all(b"GET /panic HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    assert_eq!(rest(&mut stream).await.0, "");
    let mut h2 = world.h2().await;
    assert!(h2.send_request(get("/panic")).await.is_err());
    assert!(h2.send_request(get("/")).await.is_ok(), "the other streams live");
    drop(h2);
    world.until_at_most(0).await;
    assert_eq!(world.server.panics(), 2);
}

/// A body that breaks off at once, or behind its first piece.
struct Broken(Option<Bytes>);

impl http_body::Body for Broken {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        Poll::Ready(Some(match self.0.take() {
            Some(piece) => Ok(Frame::data(piece)),
            None => Err(BodyError::Broken(Side::Upstream, "as asked".into())),
        }))
    }
}

async fn broken(_arrival: Arrival, request: Request<Body>) -> Response<Body> {
    Response::new(Body::stream(Broken(match request.uri().path() {
        "/head" => None,
        "/piece" => Some("a piece".into()),
        _ => Some("more than a socket takes".repeat(PIECES).into()),
    })))
}

/// Of 24 bytes: far more than hyper and two sockets hold.
const PIECES: usize = 500_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_came_before_an_answer_broke_off_arrives_over_http2() {
    let world = world(ServerSettings::recommended(), "https", broken).await;
    let mut h2 = world.h2().await;
    for (path, expected) in [("/head", ""), ("/piece", "a piece")] {
        let (mut heads, mut pieces, mut ends) = (0, 0, 0);
        for _ in 0..50 {
            let Ok(response) = h2.send_request(get(path)).await else { continue };
            heads += 1;
            let (mut body, mut told) = (response.into_body(), Vec::new());
            while let Some(frame) = body.frame().await {
                match frame {
                    Ok(frame) => told.extend_from_slice(&frame.into_data().unwrap()),
                    Err(_) => {
                        ends += 1;
                        break;
                    }
                }
            }
            pieces += usize::from(told == expected.as_bytes());
        }
        assert_eq!((heads, pieces, ends), (50, 50, 50), "of 50 heads, bodies and visible breaks of {path}");
    }
}

#[tokio::test]
async fn what_came_before_an_answer_broke_off_arrives_over_http1() {
    let world = world(ServerSettings::recommended(), "http", broken).await;
    for (path, expected) in [("/head", 0), ("/piece", 7), ("/large", 24 * PIECES)] {
        let mut stream = world.tcp().await;
        stream.write_all(format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n").as_bytes()).await.unwrap();
        // The client is slow to read: what waits for it must not be lost either.
        tokio::time::sleep(Duration::from_millis(50)).await;
        let (answer, _) = rest(&mut stream).await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{path}: {answer:.80}");
        let (_, body) = answer.split_once("\r\n\r\n").unwrap();
        let told = body.split("\r\n").skip(1).step_by(2).map(str::len).sum::<usize>();
        assert_eq!(told, expected, "bytes of {path}");
        assert!(!body.ends_with("0\r\n\r\n"), "{path} looks whole");
    }
}

#[tokio::test]
async fn failed_handshakes_are_counted_by_class() {
    let world = world(brisk(), "https", echo).await;
    let mut plain = world.tcp().await;
    plain.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    rest(&mut plain).await;
    let mut silent = world.tcp().await;
    rest(&mut silent).await;
    drop(world.tcp().await);
    let counted = || -> Vec<_> {
        let all = world.server.handshake_failures().into_iter();
        all.filter(|(_, count)| *count > 0).map(|(class, count)| (class.as_str(), count)).collect()
    };
    let three = async {
        while counted().len() < 3 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    drop(timeout(Duration::from_secs(5), three).await);
    assert_eq!(counted(), [("gone", 1), ("not_tls", 1), ("timeout", 1)]);
}

/// Answers with a body of unknown length, as an upstream did that speaks HTTP/1.0.
async fn old(_arrival: Arrival, _request: Request<Body>) -> Response<Body> {
    let body = Body::stream(Body::whole("old").map_frame(|frame| frame));
    let mut response = Response::new(body);
    *response.version_mut() = http::Version::HTTP_10;
    response
}

#[tokio::test]
async fn the_version_of_an_answer_is_ours_and_not_the_upstreams() {
    let world = world(ServerSettings::recommended(), "http", old).await;
    for (asked, told) in [("1.1", "HTTP/1.1 200"), ("1.0", "HTTP/1.0 200")] {
        let mut stream = world.tcp().await;
        let request = format!("GET / HTTP/{asked}\r\nhost: x\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let (answer, _) = rest(&mut stream).await;
        assert!(answer.starts_with(told), "{answer}");
        assert_eq!(answer.ends_with("\r\n3\r\nold\r\n0\r\n\r\n"), asked == "1.1", "{answer}");
    }
}
