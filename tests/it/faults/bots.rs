//! The clients: HTTP/1.1 and HTTP/2 over TLS, and what they were told.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Uri};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::process::Tollgate;
use super::table::{Case, Version};
use super::upstream::alpn;

/// Clients of one Tollgate. Cloning shares their connections.
#[derive(Clone)]
pub(super) struct Bots {
    h1: legacy::Client<Dial, Upload>,
    h2: legacy::Client<Dial, Upload>,
    base: String,
}

/// What a client got.
#[derive(Debug)]
pub(super) struct Told {
    pub(super) took: Duration,
    pub(super) what: What,
}

#[derive(Debug)]
pub(super) enum What {
    Answer {
        status: u16,
        headers: HeaderMap,
        body: Result<Bytes, String>,
    },
    /// The connection failed, visibly.
    Failed(String),
    /// Nothing at all, for too long.
    Hung,
}

impl Bots {
    pub(super) fn new(tollgate: &Tollgate) -> Self {
        let client = |version| {
            let dial = Dial::new(tollgate, version);
            legacy::Client::builder(TokioExecutor::new())
                .http2_only(version == Version::H2)
                .http2_initial_stream_window_size(4_000_000)
                .http2_initial_connection_window_size(16_000_000)
                .retry_canceled_requests(false)
                .build(dial)
        };
        let base = format!("https://localhost:{}", tollgate.address.port());
        Self { h1: client(Version::H1), h2: client(Version::H2), base }
    }

    /// Sends the request of a case and takes its answer to the end.
    pub(super) async fn ask(&self, case: &Case, limit: Duration) -> Told {
        let began_at = Instant::now();
        let what = timeout(limit, self.exchange(case)).await.unwrap_or(What::Hung);
        Told { took: began_at.elapsed(), what }
    }

    async fn exchange(&self, case: &Case) -> What {
        let body = Upload { body: Full::new(case.body.clone()), is_announced: case.is_announced };
        let request = Request::builder()
            .method(&case.method)
            .uri(format!("{}{}", self.base, case.path()))
            .header("authorization", format!("Bearer token-{}", case.id))
            .header("content-type", "application/octet-stream")
            .header("trackingid", format!("case_{}", case.id))
            .body(body)
            .unwrap();
        let client = if case.client == Version::H2 { &self.h2 } else { &self.h1 };
        match client.request(request).await {
            Err(error) => What::Failed(chain(&error)),
            Ok(response) => {
                let (head, body) = response.into_parts();
                let body = body.collect().await.map(|whole| whole.to_bytes()).map_err(|error| chain(&error));
                What::Answer { status: head.status.as_u16(), headers: head.headers, body }
            }
        }
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {}", chain(source)),
        None => error.to_string(),
    }
}

/// A request body whose length is announced or not.
struct Upload {
    body: Full<Bytes>,
    is_announced: bool,
}

impl http_body::Body for Upload {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, Self::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        let is_told = self.is_announced || self.body.is_end_stream();
        if is_told { self.body.size_hint() } else { http_body::SizeHint::default() }
    }
}

#[derive(Clone)]
struct Dial {
    address: std::net::SocketAddr,
    tls: TlsConnector,
}

impl Dial {
    fn new(tollgate: &Tollgate, version: Version) -> Self {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(tollgate.ca_pem().as_bytes()).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![alpn(version).to_vec()];
        Self { address: tollgate.address, tls: TlsConnector::from(Arc::new(config)) }
    }
}

impl tower_service::Service<Uri> for Dial {
    type Response = TokioIo<Dialled>;
    type Error = std::io::Error;
    type Future = Pin<Box<dyn Future<Output = std::io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _uri: Uri) -> Self::Future {
        let Self { address, tls } = self.clone();
        Box::pin(async move {
            let tcp = TcpStream::connect(address).await?;
            tcp.set_nodelay(true)?;
            let name = ServerName::try_from("localhost").unwrap();
            Ok(TokioIo::new(Dialled(tls.connect(name, tcp).await?)))
        })
    }
}

/// A connection to Tollgate.
struct Dialled(TlsStream<TcpStream>);

impl Connection for Dialled {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl AsyncRead for Dialled {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Dialled {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
