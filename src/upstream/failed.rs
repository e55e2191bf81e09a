//! Decides what can go wrong on the way to the API, and whether the API can have seen the request.

use std::error::Error;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use http::StatusCode;

use crate::body::{BodyError, BoxError};
use crate::machine::descriptors;
use crate::words::Side;

/// Why a request has no answer.
#[derive(Debug, thiserror::Error)]
pub enum Failed {
    /// The request's own body failed while it was sent: not the upstream's fault, unless its side says so.
    #[error("the request body failed: {0}")]
    Body(#[source] BodyError),
    /// The connection broke, or the answer was not HTTP, after the request may have been sent.
    #[error("the upstream broke the exchange off: {}", chain(.0.as_ref()))]
    Broken(#[source] BoxError),
    /// The certificate does not prove the upstream's name.
    #[error("the certificate shown for SNI {sni} is not accepted: {source}{}", carries(.presented))]
    Certificate {
        /// The name that was asked for.
        sni: String,
        /// The names that the certificate carries, if the name was what failed; else empty.
        presented: Vec<String>,
        /// What rustls found.
        source: rustls::Error,
    },
    /// No connection to any address.
    #[error("cannot connect to {address}: {source}")]
    Connect {
        /// The upstream's or the proxy's address that was tried last.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// TLS or HTTP/2 could not be agreed on.
    #[error("the handshake with {sni} failed: {source}")]
    Handshake {
        /// The name that was asked for.
        sni: String,
        /// What broke it.
        source: BoxError,
    },
    /// The proxy answered CONNECT with something else than success.
    #[error("the proxy refused to connect to {authority}: status {status}")]
    ProxyRefused {
        /// Where the tunnel was to lead.
        authority: String,
        /// The proxy's status.
        status: StatusCode,
    },
    /// The proxy broke off, or did not speak HTTP.
    #[error("the proxy failed to connect to {authority}: {source}")]
    ProxyBroken {
        /// Where the tunnel was to lead.
        authority: String,
        /// What broke it.
        source: std::io::Error,
    },
    /// The name has no address.
    #[error("cannot resolve {host}: {source}")]
    Resolve {
        /// The name that was looked up.
        host: String,
        /// What the resolver said.
        source: BoxError,
    },
    /// The upstream took too long.
    #[error("the upstream timed out after {limit:?}: {phase}")]
    TimedOut {
        /// What was waited for.
        phase: Phase,
        /// How long.
        limit: Duration,
    },
    /// An answer that was not asked for: 101, or another interim status as the last one.
    #[error("the upstream answered {0}, which was not asked for")]
    Unexpected(StatusCode),
    /// The connection ended before the request could be written, or the upstream said that it ignored it.
    #[error("the upstream did not take the request: {}", chain(.0.as_ref()))]
    Untaken(#[source] BoxError),
}

/// What was waited for when time ran out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Name, TCP, proxy.
    Connect,
    /// TLS.
    Handshake,
    /// The head of the answer, the request having been sent.
    Header,
    /// The upstream accepting more of the request's body.
    Write,
}

impl std::fmt::Display for Phase {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Connect => "connecting",
            Self::Handshake => "the TLS handshake",
            Self::Header => "waiting for the answer",
            Self::Write => "sending the request body",
        })
    }
}

impl Failed {
    /// Whether the API may have acted on the request. False only if that is impossible: no byte left, or the
    /// upstream said so (RFC 9113 §8.7).
    pub fn was_sent(&self) -> bool {
        match self {
            Self::Body(_) | Self::Broken(_) | Self::Unexpected(_) => true,
            Self::Certificate { .. }
            | Self::Connect { .. }
            | Self::Handshake { .. }
            | Self::ProxyBroken { .. }
            | Self::ProxyRefused { .. }
            | Self::Resolve { .. }
            | Self::Untaken(_) => false,
            Self::TimedOut { phase, .. } => match phase {
                Phase::Connect | Phase::Handshake => false,
                Phase::Header | Phase::Write => true,
            },
        }
    }

    /// What kind of failure it is, of [`Failed::KINDS`]: a label. None if it was the client's.
    pub fn kind(&self) -> Option<&'static str> {
        Some(match self {
            _ if self.side() == Side::Client => return None,
            Self::Body(_) | Self::Broken(_) => "broken",
            Self::Certificate { .. } => "certificate",
            Self::Connect { source, .. } if descriptors::is_exhausted(source) => "exhausted",
            Self::Connect { .. } => "connect",
            Self::Handshake { .. } => "handshake",
            Self::ProxyBroken { .. } | Self::ProxyRefused { .. } => "proxy",
            Self::Resolve { .. } => "dns",
            Self::TimedOut { .. } => "timeout",
            Self::Unexpected(_) => "unexpected",
            Self::Untaken(_) => "untaken",
        })
    }

    /// Every [`Failed::kind`] there is.
    pub const KINDS: [&'static str; 10] = [
        "broken",
        "certificate",
        "connect",
        "dns",
        "exhausted",
        "handshake",
        "proxy",
        "timeout",
        "unexpected",
        "untaken",
    ];

    /// Whose fault it is.
    pub fn side(&self) -> Side {
        match self {
            Self::Body(
                BodyError::Broken(side, _)
                | BodyError::Garbled(side, _)
                | BodyError::Stalled(side, _)
                | BodyError::TooSlow(side, _),
            ) => *side,
            Self::Body(BodyError::TooLarge(_)) => Side::Client,
            _ => Side::Upstream,
        }
    }
}

/// Why a client for the upstream cannot be built: the configuration's fault.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// The extra CA cannot be read or holds no certificate.
    #[error("cannot use the certificates in {file}: {source}", file = .file.display())]
    CaFile {
        /// The file's name; `upstream.ca` for certificates handed over in memory.
        file: PathBuf,
        /// What is wrong with it.
        source: BoxError,
    },
    /// The base's host is no name that a certificate could carry.
    #[error("{0} is not a host name")]
    HostName(String),
    /// Nothing to verify certificates with.
    #[error("the platform has no root certificates and no CA file is given{}", because(.0))]
    NoRoots(Vec<String>),
    /// The proxy's URL; it may hold a password and is not shown.
    #[error("the proxy's URL is not usable: it must be http://host:port")]
    Proxy,
    /// The system's resolver configuration cannot be read.
    #[error("cannot set up the resolver: {0}")]
    Resolver(#[source] BoxError),
    /// The TLS library refused its settings.
    #[error("cannot set up TLS: {0}")]
    Tls(#[source] rustls::Error),
}

fn carries(presented: &[String]) -> String {
    if presented.is_empty() {
        return String::new();
    }
    format!("; it carries {}", presented.join(", "))
}

fn because(reasons: &[String]) -> String {
    reasons.first().map_or_else(String::new, |reason| format!(" ({reason})"))
}

/// Libraries hide the reason behind "connection error": shows the whole chain.
fn chain(error: &(dyn Error + Send + Sync + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        let reason = source.to_string();
        if !text.contains(&reason) {
            text.push_str(": ");
            text.push_str(&reason);
        }
        next = source.source();
    }
    text
}
