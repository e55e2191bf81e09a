//! Answers that come before the request body is sent: the 429 half-way through an upload.

use http::{Method, StatusCode};
use http_body_util::BodyExt;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::super::*;
use super::world::*;
use crate::words::Scheme;

const REFUSAL: &[u8] =
    b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 7\r\nContent-Length: 9\r\n\r\nslow down";

/// Reads 100 kB, refuses, and goes: what is not read then is answered with a reset.
async fn refuse(mut io: impl AsyncRead + AsyncWrite + Unpin, linger: Duration) {
    let mut read = 0;
    let mut buffer = vec![0; 16 * 1024];
    while read < 100_000 {
        match io.read(&mut buffer).await {
            Ok(bytes) if bytes > 0 => read += bytes,
            _ => return,
        }
    }
    drop(io.write_all(REFUSAL).await);
    drop(io.flush().await);
    tokio::time::sleep(linger).await;
}

async fn check_refused(client: &Client, body: Body) {
    let response = send(client, Method::POST, body).await.unwrap();
    assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(response.headers()["retry-after"], "7");
    assert_eq!(text(response).await, "slow down");
}

fn uploads() -> impl Iterator<Item = Body> {
    let whole = || Body::whole(vec![b'x'; 5_000_000]);
    (0..8).flat_map(move |_| {
        [
            whole(),
            slow_body(50, 100_000, Duration::ZERO, true),
            slow_body(50, 100_000, Duration::ZERO, false),
            slow_body(50, 100_000, Duration::from_millis(3), true),
            slow_body(5000, 1000, Duration::ZERO, false),
        ]
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_half_way_through_an_upload_arrives_although_the_connection_is_reset() {
    let ca = Ca::new();
    for linger in [Duration::ZERO, Duration::from_millis(5)] {
        let log = Log::default();
        let address = tls_server(ca.acceptor(&[]), log.clone(), move |tls| refuse(tls, linger)).await;
        let client = client(&settings(address, &ca));
        let mut count = 0;
        for body in uploads() {
            check_refused(&client, body).await;
            count += 1;
        }
        assert_eq!(log.lines().len(), count, "no connection is used again");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_over_plain_loopback() {
    let address = tcp_server(|tcp| refuse(tcp, Duration::ZERO)).await;
    let mut settings = settings(address, &Ca::new());
    settings.base.scheme = Scheme::Http;
    let client = client(&settings);
    for body in uploads() {
        check_refused(&client, body).await;
    }
}

#[tokio::test]
async fn a_connection_with_an_unfinished_upload_is_not_used_again() {
    let ca = Ca::new();
    let log = Log::default();
    let address = tls_server(ca.acceptor(&[]), log.clone(), |tls| refuse(tls, Duration::from_secs(30))).await;
    let client = client(&settings(address, &ca));
    for _ in 0..3 {
        check_refused(&client, slow_body(50, 100_000, Duration::ZERO, true)).await;
    }
    assert_eq!(log.lines().len(), 3);
    for _ in 0..100 {
        if client.connections() == 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(client.connections(), 0, "the refused connections are closed by us");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_half_way_arrives_over_http_2() {
    let ca = Ca::new();
    for is_last in [false, true] {
        let log = Log::default();
        let address = tls_server(ca.acceptor(&["h2"]), log.clone(), move |tls| async move {
            let serving = speak(tls, |request| async move {
                let mut body = request.into_body();
                let mut read = 0;
                while read < 100_000 {
                    read += body.frame().await.unwrap().unwrap().into_data().unwrap().len();
                }
                Response::builder()
                    .status(429)
                    .header("retry-after", "7")
                    .body(Body::whole("slow down"))
                    .unwrap()
            });
            if is_last {
                drop(tokio::time::timeout(Duration::from_millis(200), serving).await);
            } else {
                serving.await;
            }
        })
        .await;
        let client = client(&settings(address, &ca));
        for body in uploads().take(if is_last { 1 } else { 20 }) {
            check_refused(&client, body).await;
        }
        assert_eq!(log.lines(), ["tls"], "HTTP/2 ends the stream and keeps the connection");
    }
}

#[tokio::test]
async fn an_early_success_lets_the_upload_go_on() {
    let ca = Ca::new();
    for alpn in ["h2", "http/1.1"] {
        let address = tls_server(ca.acceptor(&[alpn]), Log::default(), |tls| {
            speak(tls, |request| async move {
                let echo = Body::received(request.into_body(), crate::words::Side::Client);
                Response::new(echo)
            })
        })
        .await;
        let client = client(&settings(address, &ca));
        let body = slow_body(30, 100_000, Duration::from_millis(1), true);
        let response = send(&client, Method::POST, body).await.unwrap();
        assert_eq!(text(response).await.len(), 3_000_000, "{alpn}");
    }
}

#[tokio::test]
async fn a_request_body_that_fails_is_not_the_upstreams_fault() {
    let ca = Ca::new();
    for alpn in ["h2", "http/1.1"] {
        let address = tls_server(ca.acceptor(&[alpn]), Log::default(), |tls| {
            speak(tls, |request| async move {
                drop(request.into_body().collect().await);
                Response::new(Body::empty())
            })
        })
        .await;
        let failed =
            send(&client(&settings(address, &ca)), Method::POST, broken_body(1000)).await.unwrap_err();
        assert!(matches!(failed, Failed::Body(_)), "{alpn}: {failed:?}");
        assert_eq!(failed.side(), crate::words::Side::Client);
    }
}
