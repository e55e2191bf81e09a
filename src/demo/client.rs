//! A bot's own way to call: HTTP/1.1 over TLS on one connection, opened again when the other side closed it.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

/// Where a bot calls, and whom it trusts.
pub(super) struct Way {
    address: SocketAddr,
    authority: String,
    name: ServerName<'static>,
    tls: TlsConnector,
}

/// Why a bot cannot call at all.
#[derive(Debug, thiserror::Error)]
pub enum WayFault {
    /// The certificate of the CA cannot be used.
    #[error("the CA's certificate cannot be used: {0}")]
    Ca(String),
    /// No TLS.
    #[error(transparent)]
    Tls(#[from] rustls::Error),
}

impl Way {
    /// To `address`, where the certificate must carry `host` and lead to the CA in `ca_pem`, and nobody else.
    pub(super) fn new(
        address: SocketAddr,
        host: &str,
        port: Option<u16>,
        ca_pem: &str,
    ) -> Result<Self, WayFault> {
        let ca = |error: &dyn std::fmt::Display| WayFault::Ca(error.to_string());
        let mut roots = RootCertStore::empty();
        let certificate = CertificateDer::from_pem_slice(ca_pem.as_bytes()).map_err(|error| ca(&error))?;
        roots.add(certificate)?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self {
            address,
            authority: port.map_or_else(|| host.to_owned(), |port| format!("{host}:{port}")),
            name: ServerName::try_from(host.to_owned()).map_err(|error| ca(&error))?,
            tls: TlsConnector::from(Arc::new(config)),
        })
    }

    /// What every URL of an answer must begin with.
    pub(super) fn base(&self) -> String {
        format!("https://{}/v1/", self.authority)
    }
}

/// An answer, whole.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

/// Why a call has no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum Broken {
    #[error("cannot connect: {0}")]
    Connect(#[from] io::Error),
    #[error("the exchange broke: {0}")]
    Exchange(#[from] hyper::Error),
    #[error("not a request: {0}")]
    Request(#[from] http::Error),
    #[error("no answer in {TIMEOUT:?}")]
    TimedOut,
    #[error("the body is not usable: {0}")]
    Unread(Box<dyn std::error::Error + Send + Sync>),
}

/// One bot's connection.
///
/// # Drop
/// Closes it.
pub(super) struct Client {
    way: Arc<Way>,
    token: String,
    sender: Option<SendRequest<Full<Bytes>>>,
    connections: JoinSet<()>,
}

impl Client {
    /// Connects with the first call.
    pub(super) fn new(way: Arc<Way>, token: &str) -> Self {
        Self { way, token: token.to_owned(), sender: None, connections: JoinSet::new() }
    }

    /// One call; `url` begins with [`Way::base`]. Waits as long as the popular SDKs do.
    pub(super) async fn call(&mut self, method: &Method, url: &str, body: Bytes) -> Result<Reply, Broken> {
        let reply = match timeout(TIMEOUT, self.exchange(method, url, body)).await {
            Ok(reply) => reply,
            Err(_elapsed) => Err(Broken::TimedOut),
        };
        if reply.is_err() {
            self.sender = None;
        }
        reply
    }

    async fn exchange(&mut self, method: &Method, url: &str, body: Bytes) -> Result<Reply, Broken> {
        let prefix = format!("https://{}", self.way.authority);
        let mut request = Request::builder()
            .method(method)
            .uri(url.strip_prefix(&prefix).unwrap_or(url))
            .header(header::HOST, &self.way.authority)
            .header(header::AUTHORIZATION, format!("Bearer {}", self.token))
            .header(header::USER_AGENT, "tollgate-demo");
        if !body.is_empty() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        let request = request.body(Full::new(body))?;
        let mut sender = match self.kept().await {
            Some(kept) => kept,
            None => self.connect().await?,
        };
        let (head, body) = sender.send_request(request).await?.into_parts();
        let body = Limited::new(body, MAX_BODY_BYTES).collect().await.map_err(Broken::Unread)?.to_bytes();
        self.sender = Some(sender);
        Ok(Reply { status: head.status, headers: head.headers, body })
    }

    /// The connection of the last call, if it is still good for another one.
    async fn kept(&mut self) -> Option<SendRequest<Full<Bytes>>> {
        let mut kept = self.sender.take()?;
        kept.ready().await.ok().map(|()| kept)
    }

    async fn connect(&mut self) -> Result<SendRequest<Full<Bytes>>, Broken> {
        let stream = TcpStream::connect(self.way.address).await?;
        stream.set_nodelay(true)?;
        let stream = self.way.tls.connect(self.way.name.clone(), stream).await?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        // Ends with the connection, or with the bot; how it ends is told to the call that uses it.
        self.connections.spawn(async move { drop(connection.await) });
        Ok(sender)
    }
}

/// What requests and webexpythonsdk wait for.
const TIMEOUT: Duration = Duration::from_secs(60);
/// Far above the attachment and every page of the script.
const MAX_BODY_BYTES: usize = 4 << 20;
