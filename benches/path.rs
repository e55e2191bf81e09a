//! What Tollgate itself costs a request, whole and room by room: everything but sockets, before an API that answers at
//! once. `path count CASE TIMES` only asks, for who counts instructions (`tests/instructions.sh`).
#![allow(clippy::panic, clippy::unwrap_used, missing_docs, reason = "a benchmark: what fails must stop it")]

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group};
use http::request::Parts;
use http::{Request, Response, Version};
use http_body_util::BodyExt;
use tokio::runtime::{Builder, Runtime};
use tollgate::app::logs::Logs;
use tollgate::body::Body;
use tollgate::cache::{Carries, Lookup};
use tollgate::clock::Clock;
use tollgate::config::{Log, LogFormat, LogLevel};
use tollgate::gate::{Load, Permit};
use tollgate::proxy::Proxy;
use tollgate::reply::Problem;
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

fn request(method: &str, path: &str) -> Request<Body> {
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("host", "localhost:8443")
        .header("authorization", "Bearer MGY4OTZhNzMtOTQ4ZC00NDY1LTljZmItMmYxZDY2NTk5ZjQ0")
        .header("user-agent", "python-requests/2.32.3")
        .header("accept", "*/*")
        .header("accept-encoding", "gzip, deflate");
    request.body(Body::empty()).unwrap()
}

/// Sends a request and reads its answer to the end; the bytes of the body.
async fn ask(proxy: &Arc<Proxy<Instantly>>, method: &str, path: &str) -> usize {
    let peer = ([127, 0, 0, 1], 50_000).into();
    let arrival = Arrival { scheme: Scheme::Https, peer, version: Version::HTTP_11 };
    let response = Arc::clone(proxy).answer(arrival, request(method, path)).await;
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

/// Name, method, path, bytes of the answer's body.
const CASES: [(&str, &str, &str, usize); 3] = [
    ("cached-head", "HEAD", CONTENT, 0),
    ("cached-get", "GET", CONTENT, CONTENT_BYTES),
    ("pass-through", "GET", "/v1/people/1", 1_021),
];

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_time().build().unwrap()
}

fn path(criterion: &mut Criterion) {
    let runtime = runtime();
    let proxy = proxy(&runtime);
    let mut group = criterion.benchmark_group("path");
    for (name, method, target, bytes) in CASES {
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

/// Each room that a hit walks through, and the gate while it is open.
fn rooms_alone(criterion: &mut Criterion) {
    let runtime = runtime();
    let proxy = proxy(&runtime);
    runtime.block_on(ask(&proxy, "GET", CONTENT));
    let (hit, _) = request("HEAD", CONTENT).into_parts();
    let (pass_through, _) = request("GET", "/v1/people/1").into_parts();
    let find = |head: &Parts| proxy.router.find(Scheme::Https, head).unwrap();
    let (route, other) = (find(&hit), find(&pass_through));
    let pass = proxy.doorman.admit(&hit.headers).unwrap();
    let patience = || Duration::from_secs(1);
    let lookup =
        |route, head| runtime.block_on(proxy.cache.lookup(route, &pass, (head, Carries::Nothing), &patience));
    let mut group = criterion.benchmark_group("rooms");
    group.bench_function("route", |bencher| bencher.iter(|| find(black_box(&hit))));
    group.bench_function("admit", |bencher| bencher.iter(|| proxy.doorman.admit(black_box(&hit.headers))));
    group.bench_function("key and lookup", |bencher| bencher.iter(|| lookup(&route, black_box(&hit))));
    group.bench_function("patience", |bencher| {
        bencher.iter(|| proxy.gate.patience(&pass, &route, black_box(&hit)));
    });
    let Lookup::Fetch(slot) = lookup(&other, &pass_through) else { panic!("a person was kept") };
    group.bench_function("permit of an open gate", |bencher| {
        bencher.iter(|| {
            let mut ticket =
                proxy.gate.ticket(&slot, &other, &pass_through, Load { length: None, bytes: None });
            runtime.block_on(proxy.gate.acquire(&mut ticket)).unwrap()
        });
    });
    let Lookup::Ready(kept, _) = lookup(&route, &hit) else { panic!("the content is not kept") };
    let (kept, _) = kept.into_parts();
    group.bench_function("reply", |bencher| {
        bencher.iter(|| {
            let response = Response::from_parts(kept.clone(), Body::empty());
            proxy.rewriter.inbound(&route, &hit.method, response)
        });
    });
    let tracking_id = "bot_1".parse().unwrap();
    group.bench_function("refusal", |bencher| {
        bencher.iter(|| Problem::NotKept.response(&hit.method, black_box(&tracking_id)));
    });
    group.finish();
}

/// Asks so many times, with the log as shipped, and no more: what this costs beyond asking fewer times is the cost of asking.
fn count(case: &str, times: usize) {
    Logs::start(&Log { level: LogLevel::Info, format: LogFormat::Json });
    let runtime = runtime();
    let proxy = proxy(&runtime);
    let (_, method, target, _) = CASES.into_iter().find(|(name, ..)| *name == case).unwrap();
    runtime.block_on(async {
        ask(&proxy, "GET", target).await;
        for _ in 0..times {
            ask(&proxy, method, target).await;
        }
    });
}

criterion_group!(benches, path, rooms_alone);

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["count", case, times] => count(case, times.parse().unwrap()),
        _ => {
            benches();
            Criterion::default().configure_from_args().final_summary();
        }
    }
}
