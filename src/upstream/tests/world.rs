//! A small world of made-up upstreams on loopback sockets.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

pub(super) use std::net::SocketAddr;
pub(super) use std::time::Duration;

use super::super::*;
use crate::clock::Clock;
use crate::words::Scheme;

pub(super) const HOST: &str = "api.test";

pub(super) type Tls = TlsStream<TcpStream>;

/// A certificate authority of one test.
pub(super) struct Ca(CertifiedIssuer<'static, KeyPair>);

impl Ca {
    pub(super) fn new() -> Self {
        Self::named("tollgate test")
    }

    pub(super) fn named(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    pub(super) fn pem(&self) -> String {
        self.0.pem()
    }

    pub(super) fn acceptor(&self, alpn: &[&str]) -> TlsAcceptor {
        self.acceptor_for(HOST, alpn, |_params| {})
    }

    pub(super) fn acceptor_for(
        &self,
        name: &str,
        alpn: &[&str],
        change: impl FnOnce(&mut CertificateParams),
    ) -> TlsAcceptor {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        let leaf = params.signed_by(&key, &self.0).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![leaf.der().clone()], PrivateKeyDer::try_from(key.serialize_der()).unwrap())
            .unwrap();
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        TlsAcceptor::from(Arc::new(config))
    }
}

/// How often something happened, from another task.
#[derive(Clone, Default)]
pub(super) struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    pub(super) fn note(&self, line: impl Into<String>) {
        self.0.lock().unwrap().push(line.into());
    }

    pub(super) fn lines(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

/// Accepts TCP connections and runs `each` on every one.
pub(super) async fn tcp_server<F, R>(each: F) -> SocketAddr
where
    F: Fn(TcpStream) -> R + Send + 'static,
    R: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((tcp, _peer)) = listener.accept().await {
            tokio::spawn(each(tcp));
        }
    });
    address
}

/// The same over TLS; notes `tls` per connection that shook hands.
pub(super) async fn tls_server<F, R>(acceptor: TlsAcceptor, log: Log, each: F) -> SocketAddr
where
    F: Fn(Tls) -> R + Clone + Send + 'static,
    R: Future<Output = ()> + Send + 'static,
{
    tcp_server(move |tcp| {
        let (acceptor, each, log) = (acceptor.clone(), each.clone(), log.clone());
        async move {
            if let Ok(tls) = acceptor.accept(tcp).await {
                log.note("tls");
                each(tls).await;
            }
        }
    })
    .await
}

/// Speaks HTTP by ALPN over an accepted connection.
pub(super) async fn speak<F, R>(tls: Tls, answer: F)
where
    F: Fn(Request<Incoming>) -> R + Send + 'static,
    R: Future<Output = Response<Body>> + Send + 'static,
{
    speak_with(tls, 100, answer).await;
}

/// The same with a limit of HTTP/2 streams.
pub(super) async fn speak_with<F, R>(tls: Tls, max_streams: u32, answer: F)
where
    F: Fn(Request<Incoming>) -> R + Send + 'static,
    R: Future<Output = Response<Body>> + Send + 'static,
{
    let is_h2 = tls.get_ref().1.alpn_protocol() == Some(b"h2");
    let service = hyper::service::service_fn(move |request| {
        let answer = answer(request);
        async move { Ok::<_, std::convert::Infallible>(answer.await) }
    });
    let io = TokioIo::new(tls);
    if is_h2 {
        drop(
            hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                .max_concurrent_streams(max_streams)
                .serve_connection(io, service)
                .await,
        );
    } else {
        drop(hyper::server::conn::http1::Builder::new().serve_connection(io, service).await);
    }
}

pub(super) fn settings(address: SocketAddr, ca: &Ca) -> UpstreamSettings {
    let limit = Duration::from_secs(10);
    UpstreamSettings {
        base: Base { scheme: Scheme::Https, authority: HOST.parse().unwrap() },
        connect: vec![address],
        resolve: Resolve::System,
        proxy: ProxyChoice::None,
        extra_ca: Some(ExtraCa::Pem(ca.pem())),
        connect_timeout: limit,
        handshake_timeout: limit,
        header_timeout: limit,
        write_timeout: limit,
        body_idle_timeout: limit,
        pool_idle_timeout: limit,
        max_connections: 64,
        pool_max_idle: 8,
        codings: Codings::Chunked,
    }
}

pub(super) fn client(settings: &UpstreamSettings) -> Client {
    Client::new(settings, Clock::system()).unwrap()
}

pub(super) fn request(method: Method, body: Body) -> Outbound {
    let request = Request::builder().method(method).uri(format!("https://{HOST}/v1/messages")).body(body);
    Outbound::for_tests(request.unwrap())
}

pub(super) async fn send(client: &Client, method: Method, body: Body) -> Result<Response<Body>, Failed> {
    client.send(Permit::free(), request(method, body)).await.map(|answer| answer.response)
}

pub(super) async fn get(client: &Client) -> Result<Response<Body>, Failed> {
    send(client, Method::GET, Body::empty()).await
}

pub(super) async fn text(response: Response<Body>) -> String {
    String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
}

/// A body of `count` frames of `size` bytes, one each `pause`; its length is announced or not.
pub(super) fn slow_body(count: usize, size: usize, pause: Duration, is_length_known: bool) -> Body {
    let (sender, receiver) = tokio::sync::mpsc::channel(1);
    tokio::spawn(async move {
        for _ in 0..count {
            if !pause.is_zero() {
                tokio::time::sleep(pause).await;
            }
            if sender.send(Ok(Bytes::from(vec![b'x'; size]))).await.is_err() {
                return;
            }
        }
    });
    Body::stream(Channel { receiver, left: is_length_known.then_some(count * size) })
}

/// A body that ends in its sender's failure.
pub(super) fn broken_body(size: usize) -> Body {
    let (sender, receiver) = tokio::sync::mpsc::channel(2);
    sender.try_send(Ok(Bytes::from(vec![b'x'; size]))).unwrap();
    sender
        .try_send(Err(crate::body::BodyError::Stalled(crate::words::Side::Client, Duration::ZERO)))
        .unwrap();
    Body::stream(Channel { receiver, left: None })
}

struct Channel {
    receiver: tokio::sync::mpsc::Receiver<Result<Bytes, crate::body::BodyError>>,
    left: Option<usize>,
}

impl http_body::Body for Channel {
    type Data = Bytes;
    type Error = crate::body::BodyError;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, Self::Error>>> {
        self.receiver.poll_recv(cx).map(|data| {
            let data = data?;
            if let (Ok(data), Some(left)) = (&data, &mut self.left) {
                *left -= data.len();
            }
            Some(data.map(http_body::Frame::data))
        })
    }

    fn size_hint(&self) -> http_body::SizeHint {
        let exact = |left: usize| http_body::SizeHint::with_exact(left.try_into().unwrap());
        self.left.map_or_else(http_body::SizeHint::default, exact)
    }
}
