//! What hyper, rustls and jemalloc cost without Tollgate: a proxy that decides nothing, the floor of the comparison.
//!
//! One thread. Attachments stay in memory once they were fetched; everything else is passed on over HTTP/1.1. No queue, no
//! log, no counts, no limits and no timeouts: nothing that anybody should run.
//!
//! `bare PORT CERTIFICATE KEY CA ORIGIN_PORT`, the three as PEM files.
#![allow(clippy::unwrap_used, reason = "it ends with the first thing that goes wrong")]

use std::cell::RefCell;
use std::collections::HashMap;
use std::convert::Infallible;
use std::net::Ipv4Addr;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, header};
use http_body_util::{BodyExt, Either, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::rt::Executor;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{LocalSet, spawn_local};
use tokio_rustls::{TlsAcceptor, TlsConnector};

#[global_allocator]
static MEMORY: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

type Answer = Response<Either<Full<Bytes>, Incoming>>;

/// The way to the origin, and what was fetched.
struct Bare {
    connector: TlsConnector,
    origin: u16,
    resting: RefCell<Vec<SendRequest<Incoming>>>,
    kept: RefCell<HashMap<String, Response<Bytes>>>,
}

impl Bare {
    async fn answer(self: Rc<Self>, request: Request<Incoming>) -> Result<Answer, Infallible> {
        let path = request.uri().path().to_owned();
        if !path.starts_with("/v1/contents/") {
            return Ok(self.forward(request).await.map(Either::Right));
        }
        let is_head = request.method() == Method::HEAD;
        let is_wanted_anew = request.headers().contains_key(header::CACHE_CONTROL);
        if is_wanted_anew || !self.kept.borrow().contains_key(&path) {
            let (mut head, body) = self.forward(request).await.into_parts();
            let body = body.collect().await.unwrap().to_bytes();
            head.headers.insert(header::CONTENT_LENGTH, body.len().into());
            self.kept.borrow_mut().insert(path.clone(), Response::from_parts(head, body));
        }
        let kept = self.kept.borrow();
        let mut answer = kept.get(&path).unwrap().clone();
        if is_head {
            *answer.body_mut() = Bytes::new();
        }
        Ok(answer.map(|body| Either::Left(Full::new(body))))
    }

    async fn forward(self: &Rc<Self>, mut request: Request<Incoming>) -> Response<Incoming> {
        *request.uri_mut() = request.uri().path_and_query().unwrap().clone().into();
        *request.version_mut() = http::Version::HTTP_11;
        request.headers_mut().insert(header::HOST, HeaderValue::from_static(HOST));
        let mut sender = self.connection().await;
        let mut response = sender.send_request(request).await.unwrap();
        response.headers_mut().remove(header::CONNECTION);
        let bare = Rc::clone(self);
        spawn_local(async move {
            // Free once the body is read, which is up to the client.
            if sender.ready().await.is_ok() {
                bare.resting.borrow_mut().push(sender);
            }
        });
        response
    }

    async fn connection(&self) -> SendRequest<Incoming> {
        while let Some(sender) = { self.resting.borrow_mut().pop() } {
            if sender.is_ready() {
                return sender;
            }
        }
        let tcp = TcpStream::connect((Ipv4Addr::LOCALHOST, self.origin)).await.unwrap();
        tcp.set_nodelay(true).unwrap();
        let tls = self.connector.connect(ServerName::try_from(HOST).unwrap(), tcp).await.unwrap();
        let (sender, connection) = handshake(TokioIo::new(tls)).await.unwrap();
        spawn_local(connection);
        sender
    }
}

/// Tasks stay on the one thread.
#[derive(Clone)]
struct Here;

impl<F: Future<Output = ()> + 'static> Executor<F> for Here {
    fn execute(&self, task: F) {
        spawn_local(task);
    }
}

async fn serve(listener: TcpListener, acceptor: TlsAcceptor, bare: Rc<Bare>) {
    loop {
        let (tcp, _) = listener.accept().await.unwrap();
        tcp.set_nodelay(true).unwrap();
        let (acceptor, bare) = (acceptor.clone(), Rc::clone(&bare));
        spawn_local(async move {
            let Ok(tls) = acceptor.accept(tcp).await else { return };
            let is_http2 = tls.get_ref().1.alpn_protocol() == Some(b"h2");
            let service = service_fn(move |request| Rc::clone(&bare).answer(request));
            // How a connection ends is its client's affair.
            if is_http2 {
                drop(http2::Builder::new(Here).serve_connection(TokioIo::new(tls), service).await);
            } else {
                drop(http1::Builder::new().serve_connection(TokioIo::new(tls), service).await);
            }
        });
    }
}

fn main() {
    let [_, port, certificate, key, ca, origin] =
        <[String; 6]>::try_from(std::env::args().collect::<Vec<_>>())
            .unwrap_or_else(|_| std::process::exit(2));
    let chain = CertificateDer::pem_file_iter(certificate).unwrap().map(Result::unwrap).collect();
    let key = PrivateKeyDer::from_pem_file(key).unwrap();
    let mut server = ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key).unwrap();
    server.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(ca).unwrap()).unwrap();
    let client = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    let bare = Rc::new(Bare {
        connector: TlsConnector::from(Arc::new(client)),
        origin: origin.parse().unwrap(),
        resting: RefCell::default(),
        kept: RefCell::default(),
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    LocalSet::new().block_on(&runtime, async move {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port.parse().unwrap())).await.unwrap();
        serve(listener, TlsAcceptor::from(Arc::new(server)), bare).await;
    });
}

/// The API's name.
const HOST: &str = "webexapis.com";
