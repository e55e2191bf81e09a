//! No phase of a connection lasts for ever.

use super::*;

const SLACK: Duration = Duration::from_millis(500);

fn assert_about(elapsed: Duration, expected: Duration) {
    assert!(elapsed + Duration::from_millis(30) >= expected, "{elapsed:?} is too early for {expected:?}");
    assert!(elapsed < expected + SLACK, "{elapsed:?} is too late for {expected:?}");
}

#[tokio::test]
async fn a_connection_that_says_too_little_is_closed() {
    let http = world(brisk(), "http", echo).await;
    let https = world(brisk(), "https", echo).await;
    let header_timeout = brisk().header_timeout;
    for begin in ["", "G", "GET / HTTP/1.1\r\nhost: x\r\n"] {
        let mut stream = http.tcp().await;
        stream.write_all(begin.as_bytes()).await.unwrap();
        assert_about(rest(&mut stream).await.1, header_timeout);
    }
    for begin in [&b""[..], b"\x16\x03\x01\x02\x00\x01\x00"] {
        let mut stream = https.tcp().await;
        stream.write_all(begin).await.unwrap();
        assert_about(rest(&mut stream).await.1, brisk().handshake_timeout);
    }
    for alpn in ["h2", "http/1.1"] {
        let mut stream = https.tls("localhost", &[alpn]).await;
        assert_about(rest(&mut stream).await.1, header_timeout);
    }
    let mut preface = https.tls("localhost", &["h2"]).await;
    preface.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
    assert_about(rest(&mut preface).await.1, header_timeout);
}

#[tokio::test]
async fn a_head_that_drips_is_closed_after_the_total_time() {
    let world = world(brisk(), "http", echo).await;
    let (mut reader, mut writer) = world.tcp().await.into_split();
    let dripping = tokio::spawn(async move {
        for byte in b"GET / HTTP/1.1\r\nx-long-header-name: value value value" {
            if writer.write_all(&[*byte]).await.is_err() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(40)).await;
        }
    });
    assert_about(rest(&mut reader).await.1, brisk().header_timeout);
    dripping.abort();
}

#[tokio::test]
async fn a_kept_connection_may_be_idle_longer_than_a_head_may_take() {
    let world = world(brisk(), "http", echo).await;
    let mut stream = world.tcp().await;
    ask(&mut stream, "GET /1 HTTP/1.1\r\nhost: x\r\n\r\n").await;
    tokio::time::sleep(brisk().header_timeout * 2).await;
    ask(&mut stream, "GET /2 HTTP/1.1\r\nhost: x\r\n\r\n").await;
    assert_about(rest(&mut stream).await.1, brisk().idle_timeout);

    let mut stream = world.tcp().await;
    ask(&mut stream, "GET /1 HTTP/1.1\r\nhost: x\r\n\r\n").await;
    stream.write_all(b"GET /half").await.unwrap();
    assert_about(rest(&mut stream).await.1, brisk().header_timeout);
}

#[tokio::test]
async fn an_idle_http2_connection_is_told_to_go() {
    let world = world(brisk(), "https", echo).await;
    let mut h2 = world.h2().await;
    h2.send_request(get("/slow")).await.unwrap();
    tokio::time::sleep(brisk().header_timeout * 2).await;
    assert!(h2.send_request(get("/")).await.is_ok());
    world.until_at_most(0).await;
    assert!(h2.ready().await.is_err());
}

#[tokio::test]
async fn a_slow_reader_of_http1_is_dropped() {
    for scheme in ["http", "https"] {
        let world = world(brisk(), scheme, echo).await;
        let request = b"GET /endless HTTP/1.1\r\nhost: x\r\n\r\n";
        let begun_at = Instant::now();
        let (mut plain, mut tls);
        if scheme == "http" {
            plain = world.tcp().await;
            plain.write_all(request).await.unwrap();
        } else {
            tls = world.tls("localhost", &["http/1.1"]).await;
            tls.write_all(request).await.unwrap();
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert_eq!(world.server.connections(), 1);
        world.until_at_most(0).await;
        assert!(begun_at.elapsed() >= brisk().write_stall_timeout);
    }
}

#[tokio::test]
async fn a_stalled_http2_stream_is_reset_and_the_others_live() {
    let world = world(brisk(), "https", echo).await;
    let mut h2 = world.h2().await;
    let response = h2.send_request(get("/endless")).await.unwrap();
    for _ in 0..4 {
        tokio::time::sleep(Duration::from_millis(150)).await;
        assert!(h2.send_request(get("/")).await.is_ok());
    }
    let error = response.into_body().collect().await.unwrap_err();
    assert!(format!("{error:?}").contains("Reset"), "{error:?}");
    assert!(h2.send_request(get("/")).await.is_ok());
}

#[tokio::test]
async fn a_body_that_stops_is_given_up() {
    let world = world(brisk(), "http", echo).await;
    let mut stream = world.tcp().await;
    let answer = ask(&mut stream, "POST /x HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\nabc").await;
    assert!(answer.contains("the client sent nothing for 300ms"), "{answer}");
    assert!(answer.contains("connection: close"), "{answer}");
}

#[tokio::test]
async fn a_body_that_drips_is_given_up_though_it_never_stops() {
    let world = world(brisk(), "http", echo).await;
    let (mut reader, mut writer) = world.tcp().await.into_split();
    let begun_at = Instant::now();
    writer.write_all(b"POST /x HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n").await.unwrap();
    let dripping = tokio::spawn(async move {
        while writer.write_all(b"a").await.is_ok() {
            tokio::time::sleep(brisk().body_idle_timeout / 6).await;
        }
    });
    let answer = answer(&mut reader).await;
    assert!(answer.contains("the client sent less than 500 bytes a second"), "{answer}");
    assert_about(begun_at.elapsed(), brisk().body_idle_timeout);
    dripping.abort();
}

#[tokio::test]
async fn the_end_of_an_http2_answer_must_be_taken_too() {
    let world = world(brisk(), "https", echo).await;
    let stream = world.tls("localhost", &["h2"]).await;
    let mut builder = hyper::client::conn::http2::Builder::new(TokioExecutor::new());
    let (mut h2, connection) =
        builder.initial_stream_window_size(1).handshake(TokioIo::new(stream)).await.unwrap();
    let client = tokio::spawn(connection);
    let begun_at = Instant::now();
    let unread = h2.send_request(get("/")).await.unwrap();
    // Other requests go on meanwhile, and do not keep the connection open.
    assert!(h2.send_request(get("/")).await.is_ok());
    world.until_at_most(0).await;
    assert!(begun_at.elapsed() >= brisk().write_stall_timeout);
    drop(unread);
    client.abort();
}
