//! The way in: accept, TLS, the connection's limits and deadlines, graceful drain.

mod activity;
mod broken;
pub mod ca;
mod chatter;
mod connection;
pub mod drain;
mod ending;
mod exchange;
mod fault;
mod gathered;
mod handshake;
mod pace;
mod pem;
mod settings;
mod stall;
mod streams;
mod strict;
pub mod tls;
mod validity;
mod watched;

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use http::{Request, Response, Version};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::{JoinError, JoinSet};
use tokio::time::sleep;

use self::connection::Connection;
use self::drain::Drain;
use self::handshake::HandshakeFailures;
use self::tls::Tls;
use crate::body::Body;
use crate::words::Scheme;

pub use fault::Fault;
pub use handshake::HandshakeFailure;
pub use settings::ServerSettings;

/// What a request's connection says about it.
#[derive(Debug, Clone, Copy)]
pub struct Arrival {
    /// Whether the client came over TLS.
    pub scheme: Scheme,
    /// The client's end of the connection; a load balancer's, if one stands between.
    pub peer: SocketAddr,
    /// HTTP/1.0, HTTP/1.1 or HTTP/2.
    pub version: Version,
}

/// Accepts connections and hands their requests to a handler. Cheap to clone; clones share limit and counts.
#[derive(Debug, Clone)]
pub struct Server {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    settings: ArcSwap<ServerSettings>,
    places: Arc<Semaphore>,
    connections: AtomicUsize,
    panics: AtomicU64,
    handshake_failures: HandshakeFailures,
}

/// A function from a request to its answer, of a type that does not spread through the room.
type Handler =
    Arc<dyn Fn(Arrival, Request<Body>) -> Pin<Box<dyn Future<Output = Response<Body>> + Send>> + Send + Sync>;

/// A client at the door, and its place.
type Accepted = (TcpStream, SocketAddr, Option<OwnedSemaphorePermit>);

impl Server {
    /// A server within `settings`. It may run on several listeners, which then share `max_connections`.
    pub fn new(settings: ServerSettings) -> Self {
        let places = Arc::new(Semaphore::new(settings.max_connections.min(Semaphore::MAX_PERMITS)));
        Self {
            shared: Arc::new(Shared {
                settings: ArcSwap::from_pointee(settings),
                places,
                connections: AtomicUsize::new(0),
                panics: AtomicU64::new(0),
                handshake_failures: HandshakeFailures::default(),
            }),
        }
    }

    /// Serves `listener` until the drain is over: every connection done, or its deadline passed and the rest dropped.
    ///
    /// With `tls` HTTP/2 and HTTP/1.1 by ALPN, without it plain HTTP/1.1. A handler that panics loses its
    /// connection (HTTP/1) or its stream (HTTP/2), nothing else.
    ///
    /// # Drop
    /// Dropping the future drops every connection.
    pub async fn run<H, F>(&self, listener: TcpListener, tls: Option<Tls>, handler: H, drain: Drain)
    where
        H: Fn(Arrival, Request<Body>) -> F + Send + Sync + 'static,
        F: Future<Output = Response<Body>> + Send + 'static,
    {
        let handler = boxed(handler);
        let mut tasks = JoinSet::new();
        loop {
            let accepted = tokio::select! {
                biased;
                _ = drain.begun() => break,
                Some(ended) = tasks.join_next() => {
                    self.shared.note(&ended);
                    continue;
                }
                accepted = self.accept(&listener) => accepted,
            };
            tasks.spawn(self.serve(accepted, &tls, &handler, &drain));
        }
        for accepted in self.backlog(listener) {
            tasks.spawn(self.serve(accepted, &tls, &handler, &drain));
        }
        self.finish(tasks, &drain).await;
    }

    /// Serves one plain connection that is open already, to its end; nothing bounds how many there are of these.
    ///
    /// # Drop
    /// Dropping the future drops the connection.
    pub async fn run_one<S, H, F>(&self, socket: S, peer: SocketAddr, handler: H, drain: Drain)
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
        H: Fn(Arrival, Request<Body>) -> F + Send + Sync + 'static,
        F: Future<Output = Response<Body>> + Send + 'static,
    {
        let open = Open::new(self.shared.clone(), None);
        self.connection(peer, &boxed(handler), &drain).serve_plain(socket).await;
        drop(open);
    }

    /// One connection to its end. Its task ends with the set that it is spawned on.
    fn serve(
        &self,
        (socket, peer, permit): Accepted,
        tls: &Option<Tls>,
        handler: &Handler,
        drain: &Drain,
    ) -> impl Future<Output = ()> + Send + use<> {
        let open = Open::new(self.shared.clone(), permit);
        let connection = self.connection(peer, handler, drain);
        let tls = tls.clone();
        async move {
            connection.serve(socket, tls).await;
            drop(open);
        }
    }

    fn connection(&self, peer: SocketAddr, handler: &Handler, drain: &Drain) -> Connection {
        let (shared, settings) = (self.shared.clone(), self.shared.settings.load_full());
        Connection { shared, settings, handler: handler.clone(), drain: drain.clone(), peer }
    }

    /// Closes the listener, but first takes those whom the kernel has accepted already: it would reset them.
    fn backlog(&self, listener: TcpListener) -> Vec<Accepted> {
        let Ok(listener) = listener.into_std() else { return Vec::new() };
        let mut waiting = Vec::new();
        while let Ok(permit) = self.shared.places.clone().try_acquire_owned()
            && let Ok((socket, peer)) = listener.accept()
        {
            let socket = socket.set_nonblocking(true).and_then(|()| TcpStream::from_std(socket));
            waiting.extend(socket.ok().map(|socket| (socket, peer, Some(permit))));
        }
        waiting
    }

    /// Takes new settings: they hold for every connection accepted from now on, but `max_connections` stays.
    pub fn reconfigure(&self, settings: ServerSettings) {
        self.shared.settings.store(Arc::new(settings));
    }

    /// Connections open now, handshakes included.
    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::Relaxed)
    }

    /// Failed TLS handshakes since the start, by class.
    pub fn handshake_failures(&self) -> Vec<(HandshakeFailure, u64)> {
        self.shared.handshake_failures.read()
    }

    /// Connections and streams lost to a panic since the start.
    pub fn panics(&self) -> u64 {
        self.shared.panics.load(Ordering::Relaxed)
    }

    /// Waits for a free place first, so that a full server leaves clients in the kernel's backlog.
    async fn accept(&self, listener: &TcpListener) -> Accepted {
        let mut pause = SHORTEST_PAUSE;
        // Nobody closes this semaphore.
        let permit = self.shared.places.clone().acquire_owned().await.ok();
        loop {
            match listener.accept().await {
                Ok((socket, peer)) => return (socket, peer, permit),
                Err(error) if is_of_one_connection(&error) => {}
                Err(_) => {
                    // Out of descriptors or memory: connections that end give some back.
                    sleep(pause).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
            }
        }
    }

    async fn finish(&self, mut tasks: JoinSet<()>, drain: &Drain) {
        let all_done = async {
            while let Some(ended) = tasks.join_next().await {
                self.shared.note(&ended);
            }
        };
        tokio::select! {
            () = all_done => {}
            () = drain.over() => {}
        }
        tasks.shutdown().await;
    }
}

impl Shared {
    fn note(&self, ended: &Result<(), JoinError>) {
        if ended.as_ref().is_err_and(JoinError::is_panic) {
            self.panicked();
        }
    }

    fn panicked(&self) {
        self.panics.fetch_add(1, Ordering::Relaxed);
    }
}

/// One of `max_connections` places, taken and counted; given back when it is dropped, by a panic too.
struct Open {
    shared: Arc<Shared>,
    _permit: Option<OwnedSemaphorePermit>,
}

impl Open {
    fn new(shared: Arc<Shared>, permit: Option<OwnedSemaphorePermit>) -> Self {
        shared.connections.fetch_add(1, Ordering::Relaxed);
        Self { shared, _permit: permit }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.shared.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

fn boxed<H, F>(handler: H) -> Handler
where
    H: Fn(Arrival, Request<Body>) -> F + Send + Sync + 'static,
    F: Future<Output = Response<Body>> + Send + 'static,
{
    Arc::new(move |arrival, request| Box::pin(handler(arrival, request)))
}

fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}

/// Pauses between two attempts to accept while the machine has no descriptor left.
const SHORTEST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests;
