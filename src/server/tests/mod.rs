//! The room's tests, one file for each subject, and a small world of one server and raw clients.

mod bounds;
mod ca;
mod deadlines;
mod gathered;
mod goodbye;
mod leaving;
mod protocols;
mod resting;
mod tls;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http2::SendRequest;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use self::super::ca::LocalCa;
use self::super::drain::{Drain, DrainTrigger};
use self::super::tls::{Certificates, Tls};
use self::super::{Arrival, Server, ServerSettings};
use crate::body::Body;

struct World {
    address: SocketAddr,
    server: Server,
    trigger: DrainTrigger,
    run: JoinHandle<()>,
    ca: Arc<LocalCa>,
}

/// Deadlines that are short but apart from each other, so that a test can tell which one passed.
fn brisk() -> ServerSettings {
    ServerSettings {
        handshake_timeout: Duration::from_millis(200),
        header_timeout: Duration::from_millis(300),
        idle_timeout: Duration::from_millis(900),
        body_idle_timeout: Duration::from_millis(300),
        write_stall_timeout: Duration::from_millis(300),
        ..ServerSettings::recommended()
    }
}

async fn world<H, F>(settings: ServerSettings, scheme: &str, handler: H) -> World
where
    H: Fn(Arrival, Request<Body>) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Response<Body>> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let ca = Arc::new(LocalCa::in_memory("test").unwrap());
    let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
    let certificates = Arc::new(Certificates::from_ca(ca.clone(), names).unwrap());
    let tls = (scheme == "https").then(|| Tls::new(certificates, None).unwrap());
    let server = Server::new(settings);
    let (trigger, drain) = Drain::new();
    let running = server.clone();
    let run = tokio::spawn(async move { running.run(listener, tls, handler, drain).await });
    World { address, server, trigger, run, ca }
}

/// Answers with the version and the path; `/panic`, `/never`, `/slow`, `/endless`, `/ignore` do what they say.
async fn echo(arrival: Arrival, request: Request<Body>) -> Response<Body> {
    match request.uri().path() {
        "/panic" => panic!("as asked"),
        "/never" => std::future::pending().await,
        "/slow" => tokio::time::sleep(Duration::from_millis(400)).await,
        "/endless" => return Response::new(Body::whole(vec![b'x'; 64 * 1024 * 1024])),
        "/ignore" => {
            let mut response = Response::new(Body::whole("too large"));
            *response.status_mut() = http::StatusCode::PAYLOAD_TOO_LARGE;
            return response;
        }
        _ => {}
    }
    let path = request.uri().path().to_owned();
    let read = request.into_body().collect().await.map(|body| body.to_bytes().len());
    let read = read.map_or_else(|error| error.to_string(), |length| length.to_string());
    Response::new(Body::whole(format!("{:?} {} {path} {read}", arrival.version, arrival.scheme.as_str())))
}

impl World {
    async fn tcp(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    async fn tls(&self, name: &str, alpn: &[&str]) -> TlsStream<TcpStream> {
        self.tls_over(self.tcp().await, name, alpn).await
    }

    async fn tls_over(&self, tcp: TcpStream, name: &str, alpn: &[&str]) -> TlsStream<TcpStream> {
        let mut roots = RootCertStore::empty();
        roots.add(self.ca.certificate_der()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        let name = ServerName::try_from(name.to_owned()).unwrap();
        TlsConnector::from(Arc::new(config)).connect(name, tcp).await.unwrap()
    }

    async fn h2(&self) -> SendRequest<Empty<Bytes>> {
        let stream = self.tls("localhost", &["h2"]).await;
        let io = TokioIo::new(stream);
        let (sender, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await.unwrap();
        tokio::spawn(connection);
        sender
    }

    /// Waits until at most `count` connections are open.
    async fn until_at_most(&self, count: usize) {
        let waiting = async {
            while self.server.connections() > count {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(Duration::from_secs(5), waiting).await.unwrap();
    }
}

/// Sends `request` to `handler` over a pipe that holds `bytes` at a time; what comes back.
async fn over_a_pipe<H, F>(bytes: usize, request: &str, handler: H) -> String
where
    H: Fn(Arrival, Request<Body>) -> F + Send + Sync + 'static,
    F: Future<Output = Response<Body>> + Send + 'static,
{
    let (client, socket) = tokio::io::duplex(bytes);
    let (mut reader, mut writer) = tokio::io::split(client);
    let (_trigger, drain) = Drain::new();
    let server = Server::new(ServerSettings::recommended());
    let serve = server.run_one(socket, ([127, 0, 0, 1], 1).into(), handler, drain);
    let mut told = String::new();
    let (_, sent, read) =
        tokio::join!(serve, writer.write_all(request.as_bytes()), reader.read_to_string(&mut told));
    sent.unwrap();
    read.unwrap();
    told
}

fn get(path: &str) -> Request<Empty<Bytes>> {
    Request::get(format!("https://localhost{path}")).body(Empty::new()).unwrap()
}

/// Sends `text` and reads one answer with a Content-Length.
async fn ask<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S, text: &str) -> String {
    stream.write_all(text.as_bytes()).await.unwrap();
    answer(stream).await
}

async fn answer<S: AsyncRead + Unpin>(stream: &mut S) -> String {
    let reading = async {
        let mut bytes = Vec::new();
        let mut byte = [0];
        while !bytes.ends_with(b"\r\n\r\n") {
            assert_eq!(stream.read(&mut byte).await.unwrap(), 1, "closed after {bytes:?}");
            bytes.push(byte[0]);
        }
        let head = String::from_utf8(bytes).unwrap();
        let length = head
            .to_lowercase()
            .split_once("content-length: ")
            .map_or(0, |(_, rest)| rest.split_once("\r\n").unwrap().0.parse::<usize>().unwrap());
        let mut body = vec![0; length];
        stream.read_exact(&mut body).await.unwrap();
        head + &String::from_utf8(body).unwrap()
    };
    timeout(Duration::from_secs(5), reading).await.unwrap()
}

/// Reads to the end, a reset counting as one; yields what came and after how long the end did.
async fn rest<S: AsyncRead + Unpin>(stream: &mut S) -> (String, Duration) {
    let begun_at = Instant::now();
    let mut bytes = Vec::new();
    let reading = timeout(Duration::from_secs(5), stream.read_to_end(&mut bytes)).await;
    drop(reading.expect("the server closes"));
    (String::from_utf8_lossy(&bytes).into_owned(), begun_at.elapsed())
}
