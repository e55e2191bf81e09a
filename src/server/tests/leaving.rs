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
