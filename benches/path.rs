//! What Tollgate itself costs a request: the whole path but sockets, before an API that answers at once.
#![allow(clippy::unwrap_used, missing_docs, reason = "a benchmark: what fails must stop it")]

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use http::{Request, Response, Version};
use http_body_util::BodyExt;
use tokio::runtime::{Builder, Runtime};
use tollgate::body::Body;
use tollgate::clock::Clock;
use tollgate::gate::Permit;
use tollgate::proxy::Proxy;
use tollgate::rewrite::Outbound;
use tollgate::server::Arrival;
use tollgate::upstream::{Answer, Failed, Transport};
use tollgate::words::Scheme;

#[path = "../tests/it/rooms.rs"]
mod rooms;

use rooms::Rooms;

/// The seed's example attachment.
const CONTENT_BYTES: usize = 44_752;
const CONTENT: &str = "/v1/contents/Y2lzY29zcGFyazovL3VzL0NPTlRFTlQvMQ";

/// An API that answers at once: contents of the seed's size, and a person of 1 KB.
#[derive(Debug)]
struct Instantly {
    content: Bytes,
    person: Bytes,
    content_calls: AtomicU64,
}

impl Instantly {
    fn new() -> Self {
        let about = "x".repeat(1_000);
        Self {
            content: vec![7; CONTENT_BYTES].into(),
            person: format!("{{\"id\":\"1\",\"about\":\"{about}\"}}").into(),
            content_calls: AtomicU64::new(0),
        }
    }
}

impl Transport for Instantly {
    async fn send(&self, permit: Permit, outbound: Outbound) -> Result<Answer, Failed> {
        let receipt = permit.spend();
        let request = outbound.into_request();
        let (media_type, bytes) = match request.uri().path() {
            CONTENT => {
                self.content_calls.fetch_add(1, Ordering::Relaxed);
                ("image/png", self.content.clone())
            }
            _ => ("application/json;charset=UTF-8", self.person.clone()),
        };
        let response = Response::builder()
            .header("content-type", media_type)
            .header("content-length", bytes.len())
            .header("cache-control", "no-cache")
            .header("trackingid", "ROUTER_1")
            .body(Body::whole(bytes))
            .unwrap();
        Ok(Answer { response, receipt })
    }
}

/// Sends a request and reads its answer to the end; the bytes of the body.
async fn ask(proxy: &Arc<Proxy<Instantly>>, method: &str, path: &str) -> usize {
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("host", "localhost:8443")
        .header("authorization", "Bearer MGY4OTZhNzMtOTQ4ZC00NDY1LTljZmItMmYxZDY2NTk5ZjQ0")
        .header("user-agent", "python-requests/2.32.3")
        .header("accept", "*/*")
        .header("accept-encoding", "gzip, deflate");
    let peer = ([127, 0, 0, 1], 50_000).into();
    let arrival = Arrival { scheme: Scheme::Https, peer, version: Version::HTTP_11 };
    let response = proxy.answer(arrival, request.body(Body::empty()).unwrap()).await;
    assert_eq!(response.status(), 200);
    let mut body = response.into_body();
    let mut bytes = 0;
    while let Some(frame) = body.frame().await {
        bytes += black_box(frame.unwrap()).data_ref().map_or(0, Bytes::len);
    }
    bytes
}

/// A proxy with its dispatcher beside it, whose proofs outlast the benchmark.
fn proxy(runtime: &Runtime) -> Arc<Proxy<Instantly>> {
    let rooms = Rooms {
        start_rate: 1_000_000.0,
        burst: 1_000_000,
        proof_ttl: Duration::from_secs(3600),
        ..Rooms::wide()
    };
    let _entered = runtime.enter();
    let proxy = Arc::new(rooms.around(Instantly::new(), Clock::system()));
    let gate = proxy.gate.clone();
    // Ends with the runtime.
    runtime.spawn(async move { gate.run().await });
    proxy
}

fn path(criterion: &mut Criterion) {
    let runtime = Builder::new_current_thread().enable_time().build().unwrap();
    let proxy = proxy(&runtime);
    let mut group = criterion.benchmark_group("path");
    for (name, method, target, bytes) in [
        ("cached HEAD", "HEAD", CONTENT, 0),
        ("cached GET", "GET", CONTENT, CONTENT_BYTES),
        ("pass-through GET", "GET", "/v1/people/1", 1_021),
    ] {
        // The first one fetches; the content is kept once its last byte was read.
        runtime.block_on(ask(&proxy, "GET", target));
        assert_eq!(runtime.block_on(ask(&proxy, method, target)), bytes, "{name}");
        group.throughput(Throughput::Elements(1));
        group.bench_function(BenchmarkId::new(name, bytes), |bencher| {
            bencher.to_async(&runtime).iter(|| ask(&proxy, method, target));
        });
    }
    group.finish();
    assert_eq!(proxy.transport.content_calls.load(Ordering::Relaxed), 1, "the cache did not answer");
}

criterion_group!(benches, path);
criterion_main!(benches);
