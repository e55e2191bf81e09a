//! How connections end: after early answers, and in a drain.

use super::*;

const LARGE: usize = 5 * 1024 * 1024;

#[tokio::test]
async fn an_early_answer_is_readable_while_the_client_still_uploads() {
    let settings = ServerSettings { max_linger_bytes: 64 * 1024, ..ServerSettings::recommended() };
    for settings in [ServerSettings::recommended(), settings] {
        for scheme in ["http", "https"] {
            let world = world(settings.clone(), scheme, echo).await;
            let answer = if scheme == "http" {
                upload(world.tcp().await).await
            } else {
                upload(world.tls("localhost", &["http/1.1"]).await).await
            };
            assert!(answer.starts_with("HTTP/1.1 413") && answer.ends_with("too large"), "{answer}");
            assert!(answer.contains("connection: close"), "{answer}");
            world.until_at_most(0).await;
        }
    }
}

async fn upload(stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) -> String {
    let (mut reader, mut writer) = tokio::io::split(stream);
    let sending = tokio::spawn(async move {
        let head = format!("POST /ignore HTTP/1.1\r\nhost: x\r\ncontent-length: {LARGE}\r\n\r\n");
        writer.write_all(head.as_bytes()).await.unwrap();
        drop(writer.write_all(&vec![b'x'; LARGE]).await);
        writer
    });
    let (answer, _) = rest(&mut reader).await;
    sending.abort();
    answer
}

#[tokio::test]
async fn a_client_that_uploads_before_it_reads_sees_the_answer_within_the_linger() {
    let world = world(ServerSettings::recommended(), "http", echo).await;
    let mut stream = world.tcp().await;
    let head = format!("POST /ignore HTTP/1.1\r\nhost: x\r\ncontent-length: {LARGE}\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(&vec![b'x'; LARGE]).await.unwrap();
    assert!(answer(&mut stream).await.starts_with("HTTP/1.1 413"));
}

#[tokio::test]
async fn a_small_unread_body_does_not_cost_the_connection() {
    let world = world(ServerSettings::recommended(), "http", echo).await;
    let mut stream = world.tcp().await;
    let request = "POST /ignore HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\n";
    stream.write_all(request.as_bytes()).await.unwrap();
    let response = ask(&mut stream, "12345").await;
    assert!(response.starts_with("HTTP/1.1 413") && !response.contains("close"), "{response}");
    assert!(ask(&mut stream, "GET /next HTTP/1.1\r\nhost: x\r\n\r\n").await.contains("/next"));

    let expecting = "POST /ignore HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 5\r\n\r\n";
    let response = ask(&mut stream, expecting).await;
    assert!(response.starts_with("HTTP/1.1 413") && response.contains("close"), "{response}");
    assert_eq!(rest(&mut stream).await.0, "");
}

#[tokio::test]
async fn an_early_answer_on_http2_leaves_the_connection_whole() {
    let world = world(ServerSettings::recommended(), "https", echo).await;
    let io = TokioIo::new(world.tls("localhost", &["h2"]).await);
    let (mut h2, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await.unwrap();
    tokio::spawn(connection);
    for (path, status) in [("/ignore", 413), ("/ignore", 413), ("/read", 200)] {
        let request = Request::post(format!("https://localhost{path}"));
        let request = request.body(http_body_util::Full::new(Bytes::from(vec![b'x'; LARGE]))).unwrap();
        let response = timeout(Duration::from_secs(5), h2.send_request(request)).await.unwrap().unwrap();
        assert_eq!(response.status(), status);
    }
}

#[tokio::test]
async fn a_drain_finishes_requests_and_closes_the_idle() {
    let world = world(ServerSettings::recommended(), "https", echo).await;
    let mut idle = world.tls("localhost", &["http/1.1"]).await;
    ask(&mut idle, "GET / HTTP/1.1\r\nhost: x\r\n\r\n").await;
    let mut busy = world.tls("localhost", &["http/1.1"]).await;
    busy.write_all(b"GET /slow HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let mut h2 = world.h2().await;
    h2.send_request(get("/")).await.unwrap();
    let streaming = h2.send_request(get("/slow"));
    let streaming = tokio::spawn(streaming);
    tokio::time::sleep(Duration::from_millis(100)).await;

    world.trigger.begin(Duration::from_secs(5));
    let (_, idle_for) = rest(&mut idle).await;
    assert!(idle_for < Duration::from_secs(1), "{idle_for:?}");
    let response = answer(&mut busy).await;
    assert!(response.starts_with("HTTP/1.1 200") && response.contains("connection: close"), "{response}");
    assert_eq!(streaming.await.unwrap().unwrap().status(), 200);
    assert!(h2.send_request(get("/")).await.is_err(), "GOAWAY");
    timeout(Duration::from_secs(3), world.run).await.unwrap().unwrap();
    assert!(TcpStream::connect(world.address).await.is_err());
}

#[tokio::test]
async fn a_drain_drops_what_is_left_at_its_deadline() {
    let world = world(ServerSettings::recommended(), "http", echo).await;
    let mut busy = world.tcp().await;
    busy.write_all(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\n").await.unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    world.trigger.begin(Duration::from_secs(60));
    tokio::time::sleep(Duration::from_millis(50)).await;
    world.trigger.begin(Duration::from_millis(200));
    timeout(Duration::from_secs(2), world.run).await.unwrap().unwrap();
    assert_eq!(world.server.connections(), 0);
    assert_eq!(rest(&mut busy).await.0, "");
}

/// Answers at once, and reads nothing.
async fn early(_arrival: Arrival, _request: Request<Body>) -> Response<Body> {
    Response::new(Body::whole(vec![b'x'; 1000]))
}

#[tokio::test(start_paused = true)]
async fn the_last_answer_is_written_to_its_end_however_slowly_it_is_taken() {
    for (request, answers) in [
        ("no request at all\r\n\r\n", 1),
        ("GET / HTTP/1.1\r\nhost: x\r\n\r\nno request at all\r\n\r\n", 2),
        ("GET / HTTP/1.1\r\nhost: x\r\nupgrade: h2c\r\n\r\nno request at all\r\n\r\n", 2),
        ("POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n", 1),
    ] {
        let whole = over_a_pipe(64 * 1024, request, early).await;
        assert_eq!(whole.matches("HTTP/1.1 ").count(), answers, "{whole}");
        for bytes in [1, 7, 63, 500] {
            let told = over_a_pipe(bytes, request, early).await;
            assert_eq!(told.len(), whole.len(), "{bytes} at a time: {told}");
        }
    }
}
