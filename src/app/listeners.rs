//! Decides where the process listens: every address of the configuration, or it does not start.

use std::net::SocketAddr;

use tokio::net::TcpListener;

use crate::config::Config;

use super::Fault;

/// The addresses in use; ports that were 0 are the real ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bound {
    /// Bots, over TLS.
    pub https: Option<SocketAddr>,
    /// Bots, in the clear.
    pub http: Option<SocketAddr>,
    /// Operators.
    pub admin: SocketAddr,
    /// Metrics and probes alone.
    pub metrics: Option<SocketAddr>,
}

/// Bound, and not yet served.
#[derive(Debug)]
pub(super) struct Listeners {
    pub(super) https: Option<TcpListener>,
    pub(super) http: Option<TcpListener>,
    pub(super) admin: Option<TcpListener>,
    pub(super) metrics: Option<TcpListener>,
}

impl Listeners {
    /// Binds every address of the configuration, or none.
    pub(super) async fn bind(config: &Config) -> Result<Self, Fault> {
        Ok(Self {
            https: listen(config.listen.https).await?,
            http: listen(config.listen.http).await?,
            admin: Some(bind(config.admin.listen).await?),
            metrics: listen(config.admin.metrics_listen).await?,
        })
    }

    /// Where they are. `admin` is the address of the operators' listener if that is taken already.
    pub(super) fn bound(&self, admin: SocketAddr) -> Result<Bound, Fault> {
        let at = |listener: &TcpListener| {
            listener.local_addr().map_err(|source| Fault::Bind { address: admin, source })
        };
        Ok(Bound {
            https: self.https.as_ref().map(at).transpose()?,
            http: self.http.as_ref().map(at).transpose()?,
            admin: self.admin.as_ref().map_or(Ok(admin), at)?,
            metrics: self.metrics.as_ref().map(at).transpose()?,
        })
    }
}

async fn listen(address: Option<SocketAddr>) -> Result<Option<TcpListener>, Fault> {
    match address {
        Some(address) => bind(address).await.map(Some),
        None => Ok(None),
    }
}

async fn bind(address: SocketAddr) -> Result<TcpListener, Fault> {
    TcpListener::bind(address).await.map_err(|source| Fault::Bind { address, source })
}
