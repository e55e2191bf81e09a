//! An upstream that misbehaves in every way TCP allows: its address, its door, and who speaks on each connection.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::sleep;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::book::Book;
use super::table::{Door, Version};
use super::{upstream_h1, upstream_h2};

pub(super) const HOST: &str = "api.test";
/// Longer than Tollgate waits for anything.
pub(super) const STALL: Duration = Duration::from_millis(2_500);

/// Between two pieces of an answer that comes slowly, but in time.
pub(super) const DROP: Duration = Duration::from_millis(60);

pub(super) type Tls = TlsStream<TcpStream>;

/// A running upstream.
pub(super) struct Upstream {
    pub(super) address: SocketAddr,
    pub(super) ca_pem: String,
    pub(super) book: Arc<Book>,
    shared: Arc<Shared>,
    /// Bound but deaf: nobody else gets the port while the upstream refuses connections.
    _port: TcpSocket,
    listening: Mutex<Option<JoinHandle<()>>>,
}

struct Shared {
    book: Arc<Book>,
    version: Version,
    acceptor: TlsAcceptor,
    stranger: TlsAcceptor,
    door: Mutex<Option<(Door, u32)>>,
    hang_up: watch::Sender<u64>,
}

impl Upstream {
    pub(super) fn start(version: Version) -> Self {
        let (ca, stranger) = (authority("faults"), authority("stranger"));
        let book = Arc::new(Book::default());
        let port = socket("127.0.0.1:0".parse().unwrap());
        let address = port.local_addr().unwrap();
        let shared = Arc::new(Shared {
            book: Arc::clone(&book),
            version,
            acceptor: acceptor(&ca, version),
            stranger: acceptor(&stranger, version),
            door: Mutex::new(None),
            hang_up: watch::Sender::new(0),
        });
        let listening = Mutex::new(Some(listen(&shared, address)));
        Self { address, ca_pem: ca.pem(), book, shared, _port: port, listening }
    }

    /// The next `times` connections meet this at the door.
    pub(super) async fn bar(&self, door: Door, times: u32) {
        if door == Door::Refused {
            let listening = self.listening.lock().unwrap().take();
            if let Some(listening) = listening {
                listening.abort();
                drop(listening.await);
            }
        } else {
            *self.shared.door.lock().unwrap() = Some((door, times));
        }
    }

    /// Everybody may come in again.
    pub(super) fn unbar(&self) {
        *self.shared.door.lock().unwrap() = None;
        self.listening.lock().unwrap().get_or_insert_with(|| listen(&self.shared, self.address));
    }

    /// Closes every connection.
    pub(super) fn hang_up(&self) {
        self.shared.hang_up.send_modify(|count| *count += 1);
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        if let Some(listening) = self.listening.lock().unwrap().take() {
            listening.abort();
        }
        self.hang_up();
    }
}

fn listen(shared: &Arc<Shared>, address: SocketAddr) -> JoinHandle<()> {
    let listener = socket(address).listen(1024).unwrap();
    let shared = Arc::clone(shared);
    tokio::spawn(async move {
        while let Ok((tcp, _peer)) = listener.accept().await {
            let shared = Arc::clone(&shared);
            // Ends with its connection, or when the upstream hangs up.
            tokio::spawn(async move {
                let mut hang_up = shared.hang_up.subscribe();
                tokio::select! {
                    () = shared.serve(tcp) => {}
                    _ = hang_up.changed() => {}
                }
            });
        }
    })
}

fn socket(address: SocketAddr) -> TcpSocket {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_reuseaddr(true).unwrap();
    socket.bind(address).unwrap();
    socket
}

impl Shared {
    fn door(&self) -> Option<Door> {
        let mut barred = self.door.lock().unwrap();
        let (door, times) = (*barred)?;
        *barred = (times > 1).then_some((door, times - 1));
        Some(door)
    }

    async fn serve(&self, mut tcp: TcpStream) {
        tcp.set_nodelay(true).unwrap();
        let door = self.door();
        match door {
            Some(Door::ResetAtOnce) => return tcp.set_zero_linger().unwrap(),
            Some(Door::SilentBeforeTls) => return sleep(STALL).await,
            Some(Door::Garbage) => return drop(tcp.write_all(b"220 mail.test ESMTP ready\r\n").await),
            Some(Door::CloseAfterHello | Door::ResetAfterHello) => {
                let mut hello = [0; 4096];
                drop(tcp.read(&mut hello).await);
                if door == Some(Door::ResetAfterHello) {
                    tcp.set_zero_linger().unwrap();
                }
                return;
            }
            _ => {}
        }
        let acceptor = if door == Some(Door::Stranger) { &self.stranger } else { &self.acceptor };
        let Ok(mut tls) = acceptor.accept(tcp).await else { return };
        match door {
            Some(Door::CloseAfterHandshake) => drop(tls.shutdown().await),
            Some(Door::ResetAfterHandshake) => tls.get_ref().0.set_zero_linger().unwrap(),
            Some(Door::SilentAfterHandshake) => sleep(STALL).await,
            _ if self.version == Version::H1 => Box::pin(upstream_h1::serve(tls, &self.book)).await,
            _ => upstream_h2::serve(tls, &self.book, door).await,
        }
    }
}

fn authority(name: &str) -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name.push(rcgen::DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

fn acceptor(ca: &CertifiedIssuer<'static, KeyPair>, version: Version) -> TlsAcceptor {
    let key = KeyPair::generate().unwrap();
    let leaf = CertificateParams::new(vec![HOST.to_owned()]).unwrap().signed_by(&key, ca).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![leaf.der().clone()], PrivateKeyDer::try_from(key.serialize_der()).unwrap())
        .unwrap();
    config.alpn_protocols = vec![alpn(version).to_vec()];
    TlsAcceptor::from(Arc::new(config))
}

pub(super) fn alpn(version: Version) -> &'static [u8] {
    match version {
        Version::H1 => b"http/1.1",
        Version::H2 => b"h2",
    }
}
