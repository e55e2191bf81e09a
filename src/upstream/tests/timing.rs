//! How long each phase may take. Sockets need real time, so the limits are short.

use http::Method;
use hyper::body::Body as _;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::super::*;
use super::world::*;

const SHORT: Duration = Duration::from_millis(150);

fn phase(failed: &Failed) -> Phase {
    let Failed::TimedOut { phase, limit } = failed else { panic!("{failed:?}") };
    assert_eq!(*limit, SHORT);
    *phase
}

async fn silent() -> SocketAddr {
    tcp_server(|tcp: TcpStream| async move {
        tokio::time::sleep(Duration::from_secs(30)).await;
        drop(tcp);
    })
    .await
}

#[tokio::test]
async fn a_silent_proxy_uses_up_the_time_to_connect() {
    let address = silent().await;
    let mut settings = settings(address, &Ca::new());
    settings.proxy = ProxyChoice::Url(format!("http://{address}"));
    settings.connect_timeout = SHORT;
    let failed = get(&client(&settings)).await.unwrap_err();
    assert_eq!(phase(&failed), Phase::Connect);
    assert!(!failed.was_sent());
}

#[tokio::test]
async fn a_silent_port_uses_up_the_time_of_the_handshake() {
    let mut settings = settings(silent().await, &Ca::new());
    settings.handshake_timeout = SHORT;
    let failed = get(&client(&settings)).await.unwrap_err();
    assert_eq!(phase(&failed), Phase::Handshake);
    assert!(!failed.was_sent());
}

#[tokio::test]
async fn an_upstream_that_does_not_answer_times_out_as_sent() {
    let ca = Ca::new();
    for alpn in ["h2", "http/1.1"] {
        for body in [Body::empty(), Body::whole("text")] {
            let address = tls_server(ca.acceptor(&[alpn]), Log::default(), |tls| {
                speak(tls, |_request| std::future::pending())
            })
            .await;
            let mut settings = settings(address, &ca);
            settings.header_timeout = SHORT;
            let failed = send(&client(&settings), Method::POST, body).await.unwrap_err();
            assert_eq!(phase(&failed), Phase::Header, "{alpn}");
            assert!(failed.was_sent());
        }
    }
}

#[tokio::test]
async fn the_time_for_an_answer_starts_when_a_slow_body_has_been_sent() {
    let ca = Ca::new();
    for alpn in ["h2", "http/1.1"] {
        for is_length_known in [true, false] {
            let address = tls_server(ca.acceptor(&[alpn]), Log::default(), |tls| {
                speak(tls, |request| async move {
                    let body =
                        http_body_util::BodyExt::collect(request.into_body()).await.unwrap().to_bytes();
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    Response::new(Body::whole(body.len().to_string()))
                })
            })
            .await;
            let mut settings = settings(address, &ca);
            settings.header_timeout = SHORT;
            settings.write_timeout = SHORT;
            let body = slow_body(4, 1000, Duration::from_millis(100), is_length_known);
            let response = send(&client(&settings), Method::POST, body).await.unwrap();
            assert_eq!(text(response).await, "4000", "{alpn}");
        }
    }
}

#[tokio::test]
async fn an_upstream_that_takes_no_more_of_the_body_times_out() {
    let ca = Ca::new();
    for alpn in ["h2", "http/1.1"] {
        let address = tls_server(ca.acceptor(&[alpn]), Log::default(), |tls| {
            speak(tls, |request| async move {
                tokio::time::sleep(Duration::from_secs(30)).await;
                Response::new(Body::whole(request.body().is_end_stream().to_string()))
            })
        })
        .await;
        let mut settings = settings(address, &ca);
        settings.write_timeout = SHORT;
        let body = slow_body(500, 100_000, Duration::ZERO, true);
        let failed = send(&client(&settings), Method::POST, body).await.unwrap_err();
        assert_eq!(phase(&failed), Phase::Write, "{alpn}");
        assert!(failed.was_sent());
    }
}

#[tokio::test]
async fn an_answer_that_stops_flowing_ends_in_an_error() {
    let ca = Ca::new();
    let address = tls_server(ca.acceptor(&[]), Log::default(), |mut tls: Tls| async move {
        let mut buffer = [0; 4096];
        assert!(tls.read(&mut buffer).await.unwrap() > 0);
        tls.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\nsome").await.unwrap();
        tokio::time::sleep(Duration::from_secs(30)).await;
    })
    .await;
    let mut settings = settings(address, &ca);
    settings.body_idle_timeout = SHORT;
    let response = get(&client(&settings)).await.unwrap();
    let outcome = http_body_util::BodyExt::collect(response.into_body()).await;
    assert!(matches!(outcome, Err(crate::body::BodyError::Stalled(crate::words::Side::Upstream, SHORT))));
}

#[tokio::test]
async fn a_shared_connection_on_which_nothing_came_is_not_used_again() {
    let (ca, log) = (Ca::new(), Log::default());
    let known = log.clone();
    let address = tls_server(ca.acceptor(&["h2"]), log.clone(), move |mut tls: Tls| {
        let is_dead = known.lines().len() == 1;
        async move {
            if is_dead {
                // Everything is taken, nothing is said: what a firewall makes of a connection that it forgot.
                let mut buffer = [0; 4096];
                while tls.read(&mut buffer).await.is_ok_and(|read| read > 0) {}
            }
            speak(tls, |_request| async { Response::new(Body::whole("alive")) }).await;
        }
    })
    .await;
    let mut settings = settings(address, &ca);
    settings.header_timeout = SHORT;
    let client = client(&settings);
    assert_eq!(phase(&get(&client).await.unwrap_err()), Phase::Header);
    for _ in 0..2 {
        assert_eq!(text(get(&client).await.unwrap()).await, "alive");
    }
    assert_eq!(log.lines().len(), 2);
}

#[tokio::test]
async fn a_connection_that_takes_no_request_is_given_up() {
    let ca = Ca::new();
    let address = tls_server(ca.acceptor(&["h2"]), Log::default(), |tls| {
        speak_with(tls, 0, |_request| async { Response::new(Body::empty()) })
    })
    .await;
    let mut settings = settings(address, &ca);
    settings.header_timeout = SHORT;
    settings.write_timeout = SHORT;
    settings.pool_idle_timeout = SHORT;
    let client = client(&settings);
    // The first request leaves before the upstream's SETTINGS arrive.
    for body in [Body::empty(), Body::whole("text"), Body::empty()] {
        drop(send(&client, Method::POST, body).await);
    }
    let gone = async {
        while client.connections() > 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(8), gone).await.unwrap();
}
