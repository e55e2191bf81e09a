//! Serves the model over sockets: TLS and plain, HTTP/1.1 and HTTP/2, with ends as abrupt as ordered.

mod activity;
mod exchange;
mod socket;
mod tls;

pub use tls::config;

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;

use super::model::{Model, Wire};
use crate::clock::Clock;
use activity::Activity;
use exchange::Exchange;
use socket::Socket;

/// Connections open at once; further ones wait in the listener's queue.
const MAX_CONNECTIONS: usize = 8192;

/// The longest TLS handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// Pause after an `accept` that failed for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Why the simulator cannot be started or goes no further.
#[derive(Debug, thiserror::Error)]
pub enum SimFault {
    /// The address cannot be listened on.
    #[error("cannot listen on {0}: {1}")]
    Bind(std::net::SocketAddr, #[source] io::Error),
    /// A certificate cannot be made.
    #[error("no certificate: {0}")]
    Issue(#[source] crate::server::Fault),
    /// The CA file cannot be written, or the addresses cannot be printed.
    #[error("cannot write {0}: {1}")]
    Output(String, #[source] io::Error),
    /// A flag means nothing.
    #[error(transparent)]
    Setting(#[from] super::SettingFault),
    /// The TLS library refuses the configuration.
    #[error("no TLS: {0}")]
    Tls(#[source] rustls::Error),
}

/// Listeners of the simulator; each one that is there is served.
#[derive(Debug)]
pub struct Listeners {
    /// For TLS, with its configuration from [`config`].
    pub https: Option<(TcpListener, Arc<ServerConfig>)>,
    /// Without TLS.
    pub http: Option<TcpListener>,
}

/// Serves the model until the future is dropped, which also drops every connection at once.
pub async fn serve(listeners: Listeners, model: Arc<Mutex<Model>>, clock: Clock) {
    let wire = lock(&model).wire();
    let mut host =
        Host { model, clock, wire, places: Arc::new(Semaphore::new(MAX_CONNECTIONS)), tasks: JoinSet::new() };
    let Listeners { https, http } = listeners;
    let (https, tls) = match https {
        Some((listener, config)) => (Some(listener), Some(config)),
        None => (None, None),
    };
    loop {
        let Ok(place) = Arc::clone(&host.places).acquire_owned().await else { return };
        tokio::select! {
            stream = accept(https.as_ref()) => host.spawn(stream, tls.as_ref(), place).await,
            stream = accept(http.as_ref()) => host.spawn(stream, None, place).await,
            Some(_) = host.tasks.join_next() => {}
        }
    }
}

/// What every connection is served from. The tasks end with their connection or with the host.
struct Host {
    model: Arc<Mutex<Model>>,
    clock: Clock,
    wire: Arc<Wire>,
    places: Arc<Semaphore>,
    tasks: JoinSet<()>,
}

impl Host {
    async fn spawn(
        &mut self,
        stream: io::Result<TcpStream>,
        tls: Option<&Arc<ServerConfig>>,
        place: OwnedSemaphorePermit,
    ) {
        let Ok(stream) = stream else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            return;
        };
        // Without it the connection still works, only later.
        stream.set_nodelay(true).ok();
        let (wire, reset) = (Arc::clone(&self.wire), Arc::new(AtomicBool::new(false)));
        let socket = Socket::new(stream, Arc::clone(&wire), Arc::clone(&reset));
        let activity = Activity::new();
        let exchange = Exchange::new(Arc::clone(&self.model), self.clock.clone(), activity.clone(), reset);
        let (idle_timeout, tls) = {
            let model = lock(&self.model);
            let alpn = &model.settings().alpn;
            (model.settings().idle_timeout, tls.map(|config| tls::acceptor(config, alpn)))
        };
        self.tasks.spawn(async move {
            let connection = async {
                let Some(tls) = tls else { return speak(socket, Speech::Http1, exchange).await };
                match tokio::time::timeout(HANDSHAKE_TIMEOUT, tls.accept(socket)).await {
                    Ok(Ok(stream)) => {
                        let is_h2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
                        wire.h2_connections.fetch_add(u64::from(is_h2), Ordering::Relaxed);
                        speak(stream, if is_h2 { Speech::Http2 } else { Speech::Http1 }, exchange).await;
                    }
                    Ok(Err(_)) | Err(_) => {
                        wire.failed_handshakes.fetch_add(1, Ordering::Relaxed);
                    }
                }
            };
            tokio::select! {
                () = connection => {}
                () = activity.ended(idle_timeout) => {}
            }
            drop(place);
        });
    }
}

#[derive(Clone, Copy)]
enum Speech {
    Http1,
    Http2,
}

/// Answers requests until the peer goes; how the connection ended does not matter here, the model saw the requests.
async fn speak(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    speech: Speech,
    exchange: Exchange,
) {
    let service = service_fn(move |request| exchange.clone().answer(request));
    let io = TokioIo::new(stream);
    match speech {
        Speech::Http1 => http1::Builder::new()
            .timer(TokioTimer::new())
            .title_case_headers(true)
            .auto_date_header(false)
            .header_read_timeout(None)
            .serve_connection(io, service)
            .await
            .ok(),
        Speech::Http2 => http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .auto_date_header(false)
            .initial_stream_window_size(1 << 20)
            .initial_connection_window_size(1 << 22)
            .serve_connection(io, service)
            .await
            .ok(),
    };
}

async fn accept(listener: Option<&TcpListener>) -> io::Result<TcpStream> {
    match listener {
        Some(listener) => listener.accept().await.map(|(stream, _)| stream),
        None => std::future::pending().await,
    }
}

fn lock(model: &Mutex<Model>) -> std::sync::MutexGuard<'_, Model> {
    model.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
