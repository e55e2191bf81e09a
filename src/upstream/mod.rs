//! Decides how a request reaches the API and its answer comes back: connections, deadlines, replays.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use http::Response;

use crate::body::Body;
use crate::gate::{Permit, Receipt};
use crate::rewrite::Outbound;
use crate::words::Base;

mod attempts;
mod bell;
mod budget;
mod client;
mod connect;
mod failed;
mod form;
mod framing;
mod interim;
mod platform;
mod pool;
mod proxy;
mod receiving;
mod replay;
mod resolve;
mod seat;
mod sending;
mod single;
mod spool;
mod stake;
mod tls;
mod wire;

pub use attempts::{Attempts, Next, ReplaySettings, Replayer};
pub use budget::RetryBudget;
pub use client::Client;
pub use failed::{Failed, Fault, Phase};
pub use platform::platform_roots;
pub use replay::{ReplayEvent, may_replay};
pub use spool::{Parcel, ReceiveError, Spool, SpoolRoom, SpoolSettings};

/// Sends requests to the API: over the network, or into a model in tests and demonstrations.
pub trait Transport: Send + Sync + 'static {
    /// Sends one request and returns its answer as soon as the head is there; the body streams.
    ///
    /// # Errors
    /// [`Failed`] if no usable answer came; [`Failed::was_sent`] says whether the API may have acted on it.
    ///
    /// # Drop
    /// Dropping the future cancels the request. The permit's token is given back if no byte of the request can
    /// have left, and is spent otherwise.
    fn send(&self, permit: Permit, outbound: Outbound)
    -> impl Future<Output = Result<Answer, Failed>> + Send;
}

/// What the API answered.
#[derive(Debug)]
pub struct Answer {
    /// Head and streaming body; a truncated body ends in an error, never cleanly.
    pub response: Response<Body>,
    /// The spent permit, through which the gate hears of the answer.
    pub receipt: Receipt,
}

/// How the API is reached.
#[derive(Debug, Clone)]
pub struct UpstreamSettings {
    /// The API itself: its host is the name in SNI and the name that the certificate must carry.
    pub base: Base,
    /// Where to connect instead of what the name resolves to; empty: resolve.
    pub connect: Vec<SocketAddr>,
    /// Who resolves the name.
    pub resolve: Resolve,
    /// The site's proxy.
    pub proxy: ProxyChoice,
    /// Trusted besides the platform's roots.
    pub extra_ca: Option<ExtraCa>,
    /// Name resolution, TCP and the proxy's answer share it.
    pub connect_timeout: Duration,
    /// The TLS handshake.
    pub handshake_timeout: Duration,
    /// From the end of the request body to the head of the answer.
    pub header_timeout: Duration,
    /// How long the upstream may accept no byte of a request body.
    pub write_timeout: Duration,
    /// Between two parts of the answer's body.
    pub body_idle_timeout: Duration,
    /// How long an unused connection is kept.
    pub pool_idle_timeout: Duration,
    /// How many connections there may be; who finds none waits for one within `connect_timeout`.
    pub max_connections: usize,
    /// How many unused HTTP/1.1 connections are kept.
    pub pool_max_idle: usize,
    /// Which transfer codings an answer may have.
    pub codings: Codings,
}

/// Transfer codings of answers over HTTP/1.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Codings {
    /// Unknown ones are read to the close of the connection, as they are (RFC 9112 §6.3).
    Any,
    /// Chunks alone; all else is no usable answer.
    Chunked,
}

/// Who resolves the upstream's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resolve {
    /// The name servers of the system, asked past its hosts file.
    Dns,
    /// The system's own resolver, hosts file included.
    System,
}

/// Whether connections go through the site's CONNECT proxy.
#[derive(Clone)]
pub enum ProxyChoice {
    /// What the environment asks for: the values of `HTTPS_PROXY` and `NO_PROXY`.
    Environment {
        /// The proxy's URL; empty: none.
        https_proxy: String,
        /// Hosts, domains and networks reached directly, in curl's notation.
        no_proxy: String,
    },
    /// Straight to the API.
    None,
    /// Always through this proxy; user and password stand in the URL.
    Url(String),
}

impl std::fmt::Debug for ProxyChoice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The URL may carry a password.
        f.write_str(match self {
            Self::Environment { .. } => "Environment",
            Self::None => "None",
            Self::Url(_) => "Url",
        })
    }
}

/// Certificates of a private authority, PEM.
#[derive(Debug, Clone)]
pub enum ExtraCa {
    /// Read once, when the client is built.
    File(PathBuf),
    /// The certificates themselves.
    Pem(String),
}

#[cfg(test)]
mod tests;
