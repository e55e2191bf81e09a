//! What the program needs: the configuration with every choice made and nothing left to parse.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::route::{Hosts, Kind, RouteId};
use crate::words::Base;

use super::keys::{
    Admin, Cache, CacheDisk, Gate, Limits, ListenKeys, Log, Memory, Reload, Replay, Rewrite, RootKeys,
    Shutdown, TlsKeys, UpstreamKeys,
};
use super::keys_share::Share;
use super::layers::Layers;
use super::proxy::Proxy;
use super::section::Section;
use super::shape_net::TokenHash;

/// The whole configuration; made only by [`load`](super::load). `Debug` shows no credential.
#[derive(Debug, Clone)]
pub struct Config {
    /// Directory of the local CA, the tenant-hash key, the admin token and the ports in use; may not exist yet.
    pub state_dir: PathBuf,
    /// Where bots connect.
    pub listen: Listen,
    /// The API.
    pub upstream: Upstream,
    /// How requests are held back.
    pub gate: Gate,
    /// What is sent again, and where bodies wait.
    pub replay: Replay,
    /// What is kept.
    pub cache: Cache,
    /// Attachments on disk.
    pub cache_disk: CacheDisk,
    /// Answers that are kept whatever the API says. At most 32; routes differ, and each is one that may be kept so.
    pub cache_rules: Vec<RouteTtl>,
    /// What is changed on the way.
    pub rewrite: Rewrite,
    /// At most 200; names differ, and no token belongs to two.
    pub tenants: Vec<Tenant>,
    /// The operators' listener.
    pub admin: Admin,
    /// The program's own log.
    pub log: Log,
    /// How changes of the configuration are noticed.
    pub reload: Reload,
    /// How the program ends.
    pub shutdown: Shutdown,
    /// The bounds of everything that can grow.
    pub limits: Limits,
    /// What happens while memory is short.
    pub memory: Memory,
    /// What replicas share, and through which Redis or Valkey.
    pub share: Share,
    pub(super) written: AsWritten,
}

impl Config {
    /// Keys, by their whole paths, which another configuration has otherwise; tenants are one key.
    pub fn differs_in(&self, other: &Self) -> Vec<&'static str> {
        let rule = (self.cache_rules != other.cache_rules).then_some("cache.rule");
        let tenant = (self.tenants != other.tenants).then_some("tenant");
        [
            self.written.root.differs_in(&other.written.root),
            self.written.listen.differs_in(&other.written.listen),
            self.written.tls.differs_in(&other.written.tls),
            self.written.upstream.differs_in(&other.written.upstream),
            self.gate.differs_in(&other.gate),
            self.replay.differs_in(&other.replay),
            self.cache.differs_in(&other.cache),
            self.cache_disk.differs_in(&other.cache_disk),
            self.rewrite.differs_in(&other.rewrite),
            self.admin.differs_in(&other.admin),
            self.log.differs_in(&other.log),
            self.reload.differs_in(&other.reload),
            self.shutdown.differs_in(&other.shutdown),
            self.limits.differs_in(&other.limits),
            self.memory.differs_in(&other.memory),
            self.share.differs_in(&other.share),
            rule.into_iter().chain(tenant).collect(),
        ]
        .concat()
    }
}

/// Sections whose keys become something else: kept to tell what another configuration changes.
#[derive(Debug, Clone)]
pub(super) struct AsWritten {
    pub(super) root: RootKeys,
    pub(super) listen: ListenKeys,
    pub(super) tls: TlsKeys,
    pub(super) upstream: UpstreamKeys,
}

impl AsWritten {
    /// Takes the keys of these sections; none only if a default is faulty.
    pub(super) fn take(layers: &mut Layers) -> Option<Self> {
        Some(Self {
            root: RootKeys::take(layers)?,
            listen: ListenKeys::take(layers)?,
            tls: TlsKeys::take(layers)?,
            upstream: UpstreamKeys::take(layers)?,
        })
    }
}

/// Where bots connect: at least one of `https` and `http` is open.
#[derive(Debug, Clone, PartialEq)]
pub struct Listen {
    /// The TLS listener.
    pub https: Option<SocketAddr>,
    /// The plain listener: loopback, or expressly allowed elsewhere.
    pub http: Option<SocketAddr>,
    /// Which authorities are answered.
    pub hosts: Hosts,
    /// What URLs are rewritten to when an ingress hides the client's scheme.
    pub public_base: Option<Base>,
    /// What the TLS listener shows.
    pub certificate: Certificate,
    /// The CA whose client certificates are required.
    pub client_ca_file: Option<PathBuf>,
}

/// Where the TLS listener's certificate comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Certificate {
    /// PEM files.
    Files {
        /// The certificate and its chain.
        cert: PathBuf,
        /// Its private key.
        key: PathBuf,
    },
    /// The local CA.
    Local {
        /// DNS names and IP addresses besides the usual ones; a name may begin with `*.`.
        names: Vec<String>,
    },
}

/// The API and the way to it.
#[derive(Debug, Clone, PartialEq)]
pub struct Upstream {
    /// Scheme and authority; plain http only on loopback.
    pub url: Base,
    /// Which rules hold.
    pub kind: Kind,
    /// Other names of the same API.
    pub aliases: Vec<Base>,
    /// How its name becomes addresses.
    pub resolve: Resolve,
    /// The site's CONNECT proxy.
    pub proxy: Proxy,
    /// PEM file of CAs trusted besides the platform's.
    pub ca_file: Option<PathBuf>,
    /// Longest time for name and TCP connection.
    pub connect_timeout: Duration,
    /// Longest time for the TLS handshake.
    pub handshake_timeout: Duration,
    /// Longest time from the end of the request's body to the head of the answer.
    pub header_timeout: Duration,
    /// Longest silence within a body, and longest time in which the upstream takes nothing of one.
    pub idle_timeout: Duration,
    /// How long an idle connection is kept.
    pub pool_idle_timeout: Duration,
}

/// How the API's name becomes addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resolve {
    /// By DNS, past the hosts file.
    Dns,
    /// Not at all: these addresses, in order; at least one.
    Fixed(Vec<SocketAddr>),
    /// As the machine does it.
    System,
}

/// A rule of the operator: how long answers of one route are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RouteTtl {
    /// A template of people, rooms, memberships, teams or team/memberships.
    pub route: RouteId,
    /// From 1 second to 1 hour.
    pub ttl: Duration,
}

/// A tenant with a name of its own; has at least one token.
#[derive(Debug, Clone, PartialEq)]
pub struct Tenant {
    /// 1 to 64 letters, digits, dots, dashes or underscores: safe as a label.
    pub name: String,
    /// Files that hold one token each; not yet read.
    pub token_files: Vec<PathBuf>,
    /// Hashes of tokens.
    pub token_sha256: Vec<TokenHash>,
    /// Turns per round; at least one.
    pub weight: u32,
    /// Fixed ceiling: requests per second, and how many at once.
    pub ceiling: Option<(f64, u32)>,
    /// Longest time in line, instead of the common one.
    pub max_wait: Option<Duration>,
    /// Whether its requests pass the line by.
    pub bypass: bool,
}
