//! Decides how one connection is opened: address, proxy, TLS, each within its time.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::clock::Clock;
use crate::words::Scheme;

use super::proxy::Proxy;
use super::resolve::Resolver;
use super::tls::Tls;
use super::wire::{Gauge, Stream, Wire};
use super::{Failed, Fault, Phase, ProxyChoice, UpstreamSettings};

/// Opens connections to the one upstream. Cloning shares its places.
#[derive(Clone)]
pub(super) struct Connector(Arc<Path>);

struct Path {
    /// Of the proxy if there is one, else of the upstream.
    resolver: Resolver,
    proxy: Option<(Proxy, String)>,
    tls: Option<Tls>,
    limit: Duration,
    gauge: Gauge,
    places: Arc<Semaphore>,
}

impl Connector {
    pub(super) fn new(settings: &UpstreamSettings, gauge: Gauge, clock: Clock) -> Result<Self, Fault> {
        let base = &settings.base;
        let (host, port) = (base.authority.host(), base.authority.port_u16());
        let port = port.unwrap_or_else(|| base.scheme.default_port());
        // A given address is meant to be reached as it stands; only a proxy given as explicitly is asked for it.
        let is_direct =
            !settings.connect.is_empty() && matches!(settings.proxy, ProxyChoice::Environment { .. });
        let proxy = if is_direct { None } else { Proxy::choose(&settings.proxy, base)? };
        let limit = settings.connect_timeout / 2;
        let resolver = match &proxy {
            Some(proxy) => Resolver::new(proxy.host(), proxy.port(), &[], settings.resolve, limit, clock)?,
            None => Resolver::new(host, port, &settings.connect, settings.resolve, limit, clock)?,
        };
        let target = settings.connect.first().map_or_else(|| format!("{host}:{port}"), ToString::to_string);
        let tls = match base.scheme {
            Scheme::Http => None,
            Scheme::Https => Some(Tls::new(host, settings.extra_ca.as_ref(), settings.handshake_timeout)?),
        };
        Ok(Self(Arc::new(Path {
            resolver,
            proxy: proxy.map(|proxy| (proxy, target)),
            tls,
            limit: settings.connect_timeout,
            gauge,
            places: Arc::new(Semaphore::new(settings.max_connections.min(Semaphore::MAX_PERMITS))),
        })))
    }
}

impl Connector {
    /// Opens a connection, each step of it within its time.
    pub(super) async fn open(&self) -> Result<Wire, Failed> {
        self.0.open().await
    }
}

impl Path {
    async fn open(&self) -> Result<Wire, Failed> {
        let (tcp, place) = timeout(self.limit, self.reach())
            .await
            .map_err(|_elapsed| Failed::TimedOut { phase: Phase::Connect, limit: self.limit })??;
        let stream = match &self.tls {
            None => Stream::Plain(tcp),
            Some(tls) => Stream::Tls(Box::new(tls.handshake(tcp).await?)),
        };
        Ok(Wire::new(stream, &self.gauge, place))
    }

    async fn reach(&self) -> Result<(TcpStream, Option<OwnedSemaphorePermit>), Failed> {
        // Nobody closes this semaphore. While one waits here, the pool may offer a connection that came back.
        let place = Arc::clone(&self.places).acquire_owned().await.ok();
        let addresses = self.resolver.addresses().await?;
        let mut tcp = race(alternate(addresses)).await?;
        if let Some((proxy, target)) = &self.proxy {
            proxy.tunnel(&mut tcp, target).await?;
        }
        Ok((tcp, place))
    }
}

/// Happy eyeballs (RFC 8305 §5): the next address is tried when one failed or took [`HEAD_START`].
///
/// Dropping the future ends all attempts.
async fn race(addresses: Vec<SocketAddr>) -> Result<TcpStream, Failed> {
    let mut attempts = JoinSet::new();
    let mut last = None;
    for address in addresses {
        attempts.spawn(async move { (address, dial(address).await) });
        match timeout(HEAD_START, attempts.join_next()).await {
            Ok(Some(Ok((_, Ok(tcp))))) => return Ok(tcp),
            Ok(Some(Ok((address, Err(source))))) => last = Some(Failed::Connect { address, source }),
            Ok(None | Some(Err(_))) | Err(_) => {}
        }
    }
    while let Some(attempt) = attempts.join_next().await {
        match attempt {
            Ok((_, Ok(tcp))) => return Ok(tcp),
            Ok((address, Err(source))) => last = Some(Failed::Connect { address, source }),
            Err(_aborted) => {}
        }
    }
    Err(last.unwrap_or_else(|| Failed::Untaken(io::Error::from(io::ErrorKind::NotConnected).into())))
}

/// IPv6 and IPv4 in turns, so that one broken family costs one head start and not one per address.
fn alternate(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let is_first_v6 = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let (first, second): (Vec<_>, Vec<_>) =
        addresses.into_iter().partition(|address| address.is_ipv6() == is_first_v6);
    let mut second = second.into_iter();
    let mut mixed: Vec<_> =
        first.into_iter().flat_map(|address| std::iter::once(address).chain(second.next())).collect();
    mixed.extend(second);
    mixed.truncate(MAX_ADDRESSES);
    mixed
}

async fn dial(address: SocketAddr) -> io::Result<TcpStream> {
    let socket = if address.is_ipv6() { TcpSocket::new_v6()? } else { TcpSocket::new_v4()? };
    socket.set_keepalive(true)?;
    socket.set_nodelay(true)?;
    socket.connect(address).await
}

/// RFC 8305 §8 recommends 250 ms.
const HEAD_START: Duration = Duration::from_millis(250);
const MAX_ADDRESSES: usize = 16;
