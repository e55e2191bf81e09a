//! The simulator over real sockets: names and certificates, both protocols, abrupt ends.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::{Listeners, config, lock, serve};
use crate::clock::Clock;
use crate::server::ca::LocalCa;
use crate::sim::{Model, SimSettings};

struct Running {
    https: SocketAddr,
    http: SocketAddr,
    ca: LocalCa,
    model: Arc<Mutex<Model>>,
    task: JoinHandle<()>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Running {
    async fn with(settings: SimSettings) -> Self {
        let clock = Clock::system();
        let model = Arc::new(Mutex::new(Model::new(settings, clock.wall())));
        let ca = LocalCa::in_memory("Test CA").unwrap();
        let tls = config(&ca, &model).unwrap();
        let [https, http] = [bind().await, bind().await];
        let [https_at, http_at] = [https.local_addr().unwrap(), http.local_addr().unwrap()];
        let listeners = Listeners { https: Some((https, tls)), http: Some(http) };
        let task = tokio::spawn(serve(listeners, Arc::clone(&model), clock));
        Self { https: https_at, http: http_at, ca, model, task }
    }

    async fn plain() -> Self {
        Self::with(SimSettings::unlimited()).await
    }

    fn control(&self, call: &str, body: Value) -> Value {
        lock(&self.model).control(&Method::POST, (call, ""), body, Clock::system().wall()).unwrap()
    }

    async fn tls(&self, name: Option<&str>, alpn: &str) -> std::io::Result<TlsStream<TcpStream>> {
        let mut roots = RootCertStore::empty();
        roots.add(self.ca.certificate_der()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![alpn.as_bytes().to_vec()];
        config.enable_sni = name.is_some();
        let name = ServerName::try_from(name.unwrap_or("webexapis.com").to_owned()).unwrap();
        let stream = TcpStream::connect(self.https).await.unwrap();
        TlsConnector::from(Arc::new(config)).connect(name, stream).await
    }

    /// Sends one request over TLS in the given protocol.
    async fn ask(&self, alpn: &str, request: Request<Full<Bytes>>) -> hyper::Result<Response<Bytes>> {
        let io = TokioIo::new(self.tls(Some("webexapis.com"), alpn).await.unwrap());
        let response = if alpn == "h2" {
            let (mut sender, connection) = http2::handshake(TokioExecutor::new(), io).await?;
            tokio::spawn(connection);
            sender.send_request(request).await?
        } else {
            let (mut sender, connection) = http1::handshake(io).await?;
            tokio::spawn(connection);
            sender.send_request(request).await?
        };
        let (head, body) = response.into_parts();
        Ok(Response::from_parts(head, body.collect().await?.to_bytes()))
    }

    /// Writes bytes to the plain listener and reads to the end, or for as long as `limit`.
    async fn raw(&self, bytes: &str, limit: Duration) -> String {
        let mut stream = TcpStream::connect(self.http).await.unwrap();
        stream.write_all(bytes.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        // A reset or a limit ends the reading as an end does: what came is what is looked at.
        tokio::time::timeout(limit, stream.read_to_end(&mut answer)).await.ok();
        String::from_utf8_lossy(&answer).into_owned()
    }
}

async fn bind() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").await.unwrap()
}

fn request(method: &str, path: &str, body: impl Into<Bytes>) -> Request<Full<Bytes>> {
    Request::builder()
        .method(method)
        .uri(format!("https://webexapis.com{path}"))
        .header("host", "webexapis.com")
        .header("authorization", "Bearer alice")
        .header("content-type", "application/json")
        .body(Full::new(body.into()))
        .unwrap()
}

const GET_ME: &str = "GET /v1/people/me HTTP/1.1\r\nhost: webexapis.com\r\nauthorization: Bearer alice\r\nconnection: close\r\n\r\n";

const LONG: Duration = Duration::from_secs(10);

#[tokio::test]
async fn new_connections_speak_what_is_set_when_they_come() {
    let sim = Running::plain().await;
    for alpn in ["h2", "http/1.1", "h2"] {
        sim.control("settings", json!({ "alpn": alpn }));
        let other = if alpn == "h2" { "http/1.1" } else { "h2" };
        assert!(sim.tls(Some("webexapis.com"), other).await.is_err(), "{other} while {alpn} is set");
        assert_eq!(
            sim.ask(alpn, request("GET", "/v1/people/me", "")).await.unwrap().status(),
            StatusCode::OK
        );
    }
}

#[tokio::test]
async fn both_protocols_serve_the_api_and_large_files_whole() {
    let sim = Running::plain().await;
    let made = sim.control("content", json!({"size": 5_000_000}));
    let path = made["url"].as_str().unwrap().strip_prefix("https://webexapis.com").unwrap();
    for alpn in ["http/1.1", "h2"] {
        let me = sim.ask(alpn, request("GET", "/v1/people/me", "")).await.unwrap();
        assert_eq!(me.status(), StatusCode::OK);
        assert_eq!(serde_json::from_slice::<Value>(me.body()).unwrap()["displayName"], "Alice Example");
        let head = sim.ask(alpn, request("HEAD", path, "")).await.unwrap();
        assert_eq!((head.headers()["content-length"].to_str().unwrap(), head.body().len()), ("5000000", 0));
        let file = sim.ask(alpn, request("GET", path, "")).await.unwrap();
        let sum = crate::sim::model::Payload::Whole(file.into_body());
        assert_eq!(sum.len(), 5_000_000);
        let body = json!({"roomId": made["roomId"], "text": "x".repeat(7000)}).to_string();
        assert_eq!(
            sim.ask(alpn, request("POST", "/v1/messages", body)).await.unwrap().status(),
            StatusCode::OK
        );
    }
    let stats = lock(&sim.model).stats();
    assert_eq!(stats["wire"]["connections"], 8);
    assert_eq!(stats["wire"]["h2_connections"], 4);
    assert!(stats["wire"]["sent_bytes"].as_u64().unwrap() > 10_000_000);
}

#[tokio::test]
async fn the_certificate_goes_by_the_name_that_is_asked_for() {
    for (setting, name, is_good) in [
        (json!({}), Some("webexapis.com"), true),
        (json!({}), Some("api.ciscospark.com"), true),
        (json!({}), Some("localhost"), true),
        (json!({}), Some("example.com"), false),
        (json!({}), None, true),
        (json!({"require_sni": true}), None, false),
        (json!({"require_sni": true}), Some("webexapis.com"), true),
        (json!({"certificate": "trap"}), Some("webexapis.com"), false),
        (json!({"certificate": "stranger"}), Some("webexapis.com"), false),
    ] {
        let sim = Running::plain().await;
        sim.control("settings", setting.clone());
        let shaken = sim.tls(name, "http/1.1").await;
        assert_eq!(shaken.is_ok(), is_good, "{setting} {name:?}");
        if setting.get("certificate").is_none() && !is_good {
            let fault = shaken.unwrap_err().to_string();
            assert!(fault.contains("wbx2.com"), "{fault}");
        }
    }
}

#[tokio::test]
async fn headers_stand_on_the_wire_as_webex_writes_them() {
    let sim = Running::plain().await;
    let answer = sim.raw(GET_ME, LONG).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    for line in [
        "Cache-Control: no-cache\r\n",
        "Via: 1.1 linkerd\r\n",
        "Content-Type: application/json;charset=UTF-8\r\n",
    ] {
        assert!(answer.contains(line), "{line} in {answer}");
    }
}

#[tokio::test]
async fn connections_end_as_they_were_ordered_to() {
    for (order, expected) in [
        (json!({"close": "before"}), 0),
        (json!({"close": "reset"}), 0),
        (json!({"close": "stream"}), 0),
        (json!({"close": "headers"}), 0),
        (json!({"truncate": 25}), 25),
    ] {
        let sim = Running::plain().await;
        sim.control("force", order.clone());
        let answer = sim.raw(GET_ME, LONG).await;
        let sent = answer.split_once("\r\n\r\n").map(|(_, body)| body.len());
        let has_head = order["close"] == "headers" || order.get("truncate").is_some();
        assert_eq!(sent, has_head.then_some(expected), "{order}: {answer}");
        sim.control("force", order.clone());
        assert!(sim.ask("h2", request("GET", "/v1/people/me", "")).await.is_err(), "{order}");
        assert_eq!(
            sim.ask("h2", request("GET", "/v1/people/me", "")).await.unwrap().status(),
            StatusCode::OK
        );
    }
}

#[tokio::test]
async fn an_upload_refused_at_the_head_is_never_asked_to_continue() {
    let sim = Running::plain().await;
    let head = "POST /v1/messages HTTP/1.1\r\nhost: x\r\nauthorization: Bearer alice\r\ncontent-length: 1000\r\n\
                content-type: application/json\r\nexpect: 100-continue\r\n\r\n";
    sim.control("force", json!({"status": 429, "when": "head", "headers": {"Retry-After": "1"}}));
    let refused = sim.raw(head, LONG).await;
    assert!(refused.starts_with("HTTP/1.1 429 Too Many Requests\r\n"), "{refused}");
    sim.control("force", json!({"status": 503, "when": "half"}));
    let half = sim.raw(&format!("{head}{}", "x".repeat(500)), LONG).await;
    assert!(half.starts_with("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 503 "), "{half}");
}

#[tokio::test]
async fn an_upload_that_breaks_off_is_noted_as_incomplete() {
    let sim = Running::plain().await;
    let head = "POST /v1/messages HTTP/1.1\r\nhost: x\r\nauthorization: Bearer alice\r\ncontent-length: 1000\r\n\r\nabc";
    let mut stream = TcpStream::connect(sim.http).await.unwrap();
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.ok();
    let stats = lock(&sim.model).stats();
    assert_eq!((stats["bodies"]["broken"].as_u64(), stats["bodies"]["bytes"].as_u64()), (Some(1), Some(3)));
}

#[tokio::test]
async fn an_idle_connection_is_closed_after_its_time_and_a_busy_one_is_not() {
    let mut settings = SimSettings::unlimited();
    settings.idle_timeout = Duration::from_millis(100);
    let sim = Running::with(settings).await;
    sim.control("force", json!({"delay_ms": 400}));
    let keep = GET_ME.replace("connection: close\r\n", "");
    let answer = sim.raw(&keep, LONG).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
}

#[tokio::test]
async fn an_answer_falls_silent_where_it_was_ordered_to_and_goes_on() {
    let sim = Running::plain().await;
    sim.control(
        "force",
        json!([{"pause_after": 10, "pause_ms": 60_000}, {"pause_after": 10, "pause_ms": 50}]),
    );
    let mut stream = TcpStream::connect(sim.http).await.unwrap();
    stream.write_all(GET_ME.as_bytes()).await.unwrap();
    let mut seen = String::new();
    while seen.split_once("\r\n\r\n").is_none_or(|(_, body)| body.len() < 10) {
        let mut bytes = [0; 4096];
        let size = tokio::time::timeout(LONG, stream.read(&mut bytes)).await.unwrap().unwrap();
        seen.push_str(std::str::from_utf8(&bytes[..size]).unwrap());
    }
    assert_eq!(seen.split_once("\r\n\r\n").unwrap().1.len(), 10);
    let [paused, plain] = [sim.raw(GET_ME, LONG).await, sim.raw(GET_ME, LONG).await];
    assert_eq!(paused.split_once("\r\n\r\n").unwrap().1, plain.split_once("\r\n\r\n").unwrap().1);
}

#[tokio::test]
async fn a_body_without_a_length_is_chunked() {
    let sim = Running::plain().await;
    sim.control("force", json!({"headers": {"Content-Length": null}}));
    let answer = sim.raw(GET_ME, LONG).await;
    assert!(answer.contains("Transfer-Encoding: chunked\r\n"), "{answer}");
}

#[tokio::test]
async fn the_flags_make_the_settings_and_the_ca_is_written() {
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        sim: crate::sim::SimArgs,
    }

    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ca.pem");
    let line = "sim --https 127.0.0.1:0 --http 127.0.0.1:0 --limit people=5:2 --limit egress=60 --limit room=off \
                --limit-mode token-bucket --retry-after http-date --429-body html --gzip --ranges --require-sni \
                --alpn http/1.1 --idle-timeout 5s --paging loop,max-null --seed 9 --public-base https://x/v1/ --ca-out";
    let words = line.split_whitespace().chain([file.to_str().unwrap()]);
    let args = Line::try_parse_from(words).unwrap().sim;
    let settings = args.settings().unwrap();
    assert_eq!((settings.public_base.as_str(), settings.seed), ("https://x/v1", 9));
    assert_eq!(settings.idle_timeout, Duration::from_secs(5));
    assert_eq!(settings.family_limit("people").unwrap().burst, 2);
    assert_eq!(settings.family_limit("rooms").unwrap().burst, 300);
    let running = tokio::spawn(crate::sim::run(args));
    tokio::time::timeout(LONG, async {
        while !std::fs::read_to_string(&file).is_ok_and(|pem| pem.ends_with("-----END CERTIFICATE-----\n")) {
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap();
    running.abort();
}
