//! Answers are whole or end in an error.

use std::io::{Read, Write};
use std::sync::mpsc::{Receiver, Sender, channel};

use http::Method;
use http_body_util::BodyExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::super::*;
use super::world::*;
use crate::words::Scheme;

/// Answers the first request with these bytes and closes, politely or not.
async fn scripted(ca: &Ca, answer: &'static [u8], is_polite: bool) -> Client {
    let address = tls_server(ca.acceptor(&[]), Log::default(), move |mut tls: Tls| async move {
        let mut buffer = [0; 4096];
        assert!(tls.read(&mut buffer).await.unwrap() > 0);
        tls.write_all(answer).await.unwrap();
        tls.flush().await.unwrap();
        if is_polite {
            drop(tls.shutdown().await);
        }
    })
    .await;
    client(&settings(address, ca))
}

#[tokio::test]
async fn a_truncated_answer_never_ends_cleanly() {
    let ca = Ca::new();
    for (answer, is_polite) in [
        (&b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort"[..], true),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort", false),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nshort\r\n", true),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nZ\r\nshort\r\n", true),
        (b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nshort", false),
    ] {
        let client = scripted(&ca, answer, is_polite).await;
        let outcome = get(&client).await.unwrap().into_body().collect().await;
        assert!(outcome.is_err(), "{}", String::from_utf8_lossy(answer));
    }
}

#[tokio::test]
async fn an_answer_that_ends_with_a_proper_close_is_whole() {
    let ca = Ca::new();
    let client = scripted(&ca, b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nwhole", true).await;
    assert_eq!(text(get(&client).await.unwrap()).await, "whole");
}

#[tokio::test]
async fn what_is_not_an_answer_is_a_broken_exchange() {
    let ca = Ca::new();
    for answer in [
        &b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab"[..],
        b"HTTP/1.1 2000 OK\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Le",
        b"",
    ] {
        let failed = get(&scripted(&ca, answer, true).await).await.unwrap_err();
        assert!(matches!(failed, Failed::Broken(_)), "{failed:?} for {}", String::from_utf8_lossy(answer));
        assert!(failed.was_sent());
    }
}

#[tokio::test]
async fn an_answer_has_a_hundred_fields_at_most() {
    let ca = Ca::new();
    let answer = |fields: usize| {
        let others: String = (1..fields).map(|number| format!("x-{number}: 1\r\n")).collect();
        format!("HTTP/1.1 200 OK\r\n{others}Content-Length: 2\r\n\r\nok")
    };
    let response = get(&scripted(&ca, answer(100).leak().as_bytes(), true).await).await.unwrap();
    assert_eq!(response.headers().len(), 100);
    let failed = get(&scripted(&ca, answer(101).leak().as_bytes(), true).await).await.unwrap_err();
    assert!(matches!(failed, Failed::Broken(_)), "{failed:?}");
}

#[tokio::test]
async fn interim_answers_are_dropped_and_an_unasked_101_is_an_error() {
    let ca = Ca::new();
    let interim = b"HTTP/1.1 103 Early Hints\r\nLink: <a>\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n\
        HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    let response = get(&scripted(&ca, interim, true).await).await.unwrap();
    assert!(!response.headers().contains_key("link"));
    assert_eq!(text(response).await, "ok");
    let switch = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n";
    let failed = get(&scripted(&ca, switch, true).await).await.unwrap_err();
    assert!(matches!(failed, Failed::Unexpected(_)), "{failed:?}");
}

#[tokio::test]
async fn an_answer_that_has_no_content_gets_none() {
    let ca = Ca::new();
    for (answer, length) in [
        (&b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\nshort"[..], None),
        (b"HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nshort\r\n", None),
        (b"HTTP/1.1 205 Reset Content\r\nContent-Length: 0\r\n\r\n", Some("0")),
        (b"HTTP/1.1 205 Reset Content\r\nContent-Length: 5\r\n\r\nshort", Some("0")),
        (b"HTTP/1.1 205 Reset Content\r\nContent-Length: 10\r\n\r\nshort", Some("0")),
        (
            b"HTTP/1.1 205 Reset Content\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nshort\r\n0\r\n\r\n",
            Some("0"),
        ),
        (b"HTTP/1.1 205 Reset Content\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nshort\r\nart", Some("0")),
        (b"HTTP/1.1 205 Reset Content\r\n\r\nshort", Some("0")),
    ] {
        let name = answer.escape_ascii();
        let response = get(&scripted(&ca, answer, true).await).await.unwrap();
        let told = response.headers().get("content-length").map(|length| length.to_str().unwrap().to_owned());
        assert_eq!(told.as_deref(), length, "{name}");
        assert!(!response.headers().contains_key("transfer-encoding"), "{name}");
        assert_eq!(text(response).await, "", "{name}");
    }
}

#[tokio::test]
async fn a_reason_is_printable_or_stays_behind() {
    let ca = Ca::new();
    for (answer, reason) in [
        (&b"HTTP/1.1 200 Fine indeed\r\nContent-Length: 0\r\n\r\n"[..], Some(&b"Fine indeed"[..])),
        (b"HTTP/1.1 200 Fine\tindeed\r\nContent-Length: 0\r\n\r\n", None),
    ] {
        let response = get(&scripted(&ca, answer, true).await).await.unwrap();
        let told = response.extensions().get::<hyper::ext::ReasonPhrase>();
        assert_eq!(told.map(hyper::ext::ReasonPhrase::as_bytes), reason, "{}", answer.escape_ascii());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thirty_megabytes_pass_both_ways() {
    let ca = Ca::new();
    for alpn in ["h2", "http/1.1"] {
        let address = tls_server(ca.acceptor(&[alpn]), Log::default(), |tls| {
            speak(tls, |request| async move {
                let body = request.into_body().collect().await.unwrap().to_bytes();
                Response::new(Body::whole(body))
            })
        })
        .await;
        let client = client(&settings(address, &ca));
        let body = slow_body(300, 100_000, Duration::ZERO, true);
        let response = send(&client, Method::POST, body).await.unwrap();
        assert_eq!(text(response).await.len(), 30_000_000, "{alpn}");
    }
}

#[tokio::test]
async fn an_answer_that_could_be_read_in_two_ways_ends_its_connection() {
    let ca = Ca::new();
    for (answer, connections) in [
        (&b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"[..], 1),
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
            3,
        ),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\n", 3),
    ] {
        let log = Log::default();
        let address = tls_server(ca.acceptor(&[]), log.clone(), move |mut tls: Tls| async move {
            let mut buffer = [0; 4096];
            while tls.read(&mut buffer).await.is_ok_and(|read| read > 0) {
                tls.write_all(answer).await.unwrap();
            }
        })
        .await;
        let client = client(&settings(address, &ca));
        for _ in 0..3 {
            assert_eq!(text(get(&client).await.unwrap()).await, "ok");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert_eq!(log.lines().len(), connections, "{}", String::from_utf8_lossy(answer));
    }
}

/// Answers the first request of each connection with the connection's number; says more on the first one when told to.
fn talkative(say: Receiver<()>, said: Sender<()>) -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for (number, tcp) in listener.incoming().enumerate() {
            let mut tcp = tcp.unwrap();
            let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n{number}");
            let mut head = [0; 4096];
            assert!(tcp.read(&mut head).unwrap() > 0);
            tcp.write_all(answer.as_bytes()).unwrap();
            if number == 0 {
                say.recv().unwrap();
                tcp.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil").unwrap();
                said.send(()).unwrap();
            }
        }
    });
    address
}

#[tokio::test]
async fn what_the_kernel_holds_before_a_request_is_nobodys_answer() {
    let (go, say) = channel();
    let (said, heard) = channel();
    let address = talkative(say, said);
    let mut settings = settings(address, &Ca::new());
    settings.base.scheme = Scheme::Http;
    let client = client(&settings);
    assert_eq!(text(get(&client).await.unwrap()).await, "0");
    go.send(()).unwrap();
    // The runtime's only thread waits here: nobody can be told of the bytes before the next request is written.
    heard.recv().unwrap();
    let failed = get(&client).await.unwrap_err();
    assert!(matches!(failed, Failed::Untaken(_)) && !failed.was_sent(), "{failed:?}");
    assert_eq!(text(get(&client).await.unwrap()).await, "1");
}
