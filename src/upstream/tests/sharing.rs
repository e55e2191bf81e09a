//! Many requests over few connections, and requests that nobody waits for any more.

use std::sync::Arc;

use http::Method;
use http_body_util::BodyExt;

use super::super::*;
use super::world::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cold_burst_is_answered_over_either_version_and_a_low_stream_limit() {
    let ca = Ca::new();
    for alpn in ["h2", "http/1.1"] {
        let log = Log::default();
        let address = tls_server(ca.acceptor(&[alpn]), log.clone(), |tls| {
            speak_with(tls, 3, |request| async move {
                tokio::time::sleep(Duration::from_millis(5)).await;
                Response::new(Body::whole(request.uri().path().to_owned()))
            })
        })
        .await;
        let client = client(&settings(address, &ca));
        let mut burst = tokio::task::JoinSet::new();
        for _ in 0..60 {
            let client = client.clone();
            burst.spawn(async move { text(get(&client).await.unwrap()).await });
        }
        let answers = burst.join_all().await;
        assert!(answers.iter().all(|answer| answer == "/v1/messages"), "{alpn}");
        let connections = log.lines().len();
        assert!(alpn != "h2" || connections <= 5, "{connections}");
    }
}

/// Notes when the exchange it belongs to is given up.
struct Noted(Log);

impl Drop for Noted {
    fn drop(&mut self) {
        self.0.note("dropped");
    }
}

#[tokio::test]
async fn a_dropped_request_is_cancelled_upstream() {
    let ca = Ca::new();
    for alpn in ["h2", "http/1.1"] {
        for body in [Body::empty(), slow_body(10, 10, Duration::from_secs(1), true)] {
            let log = Log::default();
            let noted = Arc::new(log.clone());
            let address = tls_server(ca.acceptor(&[alpn]), Log::default(), move |tls| {
                let log = noted.as_ref().clone();
                speak(tls, move |request| {
                    let guard = Noted(log.clone());
                    guard.0.note("came");
                    async move {
                        // Only a server that reads notices that HTTP/1.1 broke off.
                        if request.into_body().collect().await.is_ok() {
                            tokio::time::sleep(Duration::from_secs(30)).await;
                        }
                        drop(guard);
                        Response::new(Body::empty())
                    }
                })
            })
            .await;
            let client = client(&settings(address, &ca));
            let task = tokio::spawn(async move { send(&client, Method::POST, body).await.map(drop) });
            until(|| log.lines() == ["came"]).await;
            task.abort();
            until(|| log.lines() == ["came", "dropped"]).await;
        }
    }
}

async fn until(is_so: impl Fn() -> bool) {
    for _ in 0..400 {
        if is_so() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("it did not come to pass in two seconds");
}
