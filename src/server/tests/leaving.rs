//! Clients that leave before they are answered.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;

/// Counts the requests that are being answered.
struct Waiting(Arc<AtomicUsize>);

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[tokio::test]
async fn a_client_that_leaves_takes_its_request_with_it() {
    let waiting = Arc::new(AtomicUsize::new(0));
    let counted = waiting.clone();
    let world = world(ServerSettings::recommended(), "https", move |_, request: Request<Body>| {
        let counted = counted.clone();
        async move {
            counted.fetch_add(1, Ordering::Relaxed);
            let _waiting = Waiting(counted);
            drop(request);
            std::future::pending::<Response<Body>>().await
        }
    })
    .await;
    let until = async |count: usize| {
        let reached = async {
            while waiting.load(Ordering::Relaxed) != count {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(Duration::from_secs(3), reached).await.unwrap();
    };
    let mut h1 = world.tls("localhost", &["http/1.1"]).await;
    h1.write_all(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\nab").await.unwrap();
    until(1).await;
    drop(h1);
    until(0).await;
    let mut h2 = world.h2().await;
    let request = tokio::spawn(h2.send_request(get("/")));
    until(1).await;
    request.abort();
    until(0).await;
    assert_eq!(world.server.connections(), 1, "a reset stream does not cost the connection");
}

#[tokio::test]
async fn a_client_is_seen_to_leave_behind_the_requests_that_it_sent_ahead() {
    for scheme in ["http", "https"] {
        for (path, requests) in
            [("/never", 1), ("/never", 3), ("/never", 60), ("/endless", 1), ("/endless", 3)]
        {
            for is_reset in [false, true] {
                let world = world(ServerSettings::recommended(), scheme, echo).await;
                let sent = format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n").repeat(requests);
                let tcp = world.tcp().await;
                if is_reset {
                    tcp.set_zero_linger().unwrap();
                }
                if scheme == "http" {
                    begin(tcp, &world, &sent).await;
                } else {
                    begin(world.tls_over(tcp, "localhost", &["http/1.1"]).await, &world, &sent).await;
                }
                // No deadline is near: each is 30 seconds or more.
                world.until_at_most(0).await;
            }
        }
    }
}

/// Asks, takes a little where there is something, and leaves.
async fn begin<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S, world: &World, sent: &str) {
    stream.write_all(sent.as_bytes()).await.unwrap();
    let mut taken = [0; 500];
    if sent.contains("/endless") {
        stream.read_exact(&mut taken).await.unwrap();
    } else {
        let early = timeout(Duration::from_millis(50), stream.read_exact(&mut taken)).await;
        assert!(early.is_err(), "{early:?}");
    }
    assert_eq!(world.server.connections(), 1);
}

#[tokio::test(start_paused = true)]
async fn requests_that_are_sent_ahead_are_answered_one_after_the_other() {
    let numbers = 0..600;
    let sent: String = numbers.clone().map(ahead).collect();
    let last = "GET /last HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    for bytes in [64, 1000, 64 * 1024] {
        let told = over_a_pipe(bytes, &format!("{sent}{last}"), late).await;
        let answered: Vec<_> = told.split("HTTP/1.1 200 OK").skip(1).collect();
        assert_eq!(answered.len(), numbers.len() + 1, "{bytes} at a time");
        for (number, answer) in numbers.clone().zip(answered) {
            assert!(answer.ends_with(&format!("/{number} {}", number % 3 * 2)), "{number}: {answer}");
        }
    }
}

/// A request without a body, with a counted one of two bytes, or a chunked one of four.
fn ahead(number: usize) -> String {
    let body = match number % 3 {
        0 => "\r\n",
        1 => "content-length: 2\r\n\r\nab",
        _ => "transfer-encoding: chunked\r\n\r\n2\r\nab\r\n2;x\r\ncd\r\n0\r\n\r\n",
    };
    format!("POST /{number} HTTP/1.1\r\nhost: x\r\n{body}")
}

/// Answers a moment after the request was read, with its path and length.
async fn late(_arrival: Arrival, request: Request<Body>) -> Response<Body> {
    let path = request.uri().path().to_owned();
    let read = request.into_body().collect().await.unwrap().to_bytes().len();
    tokio::time::sleep(Duration::from_millis(1)).await;
    Response::new(Body::whole(format!("{path} {read}")))
}
