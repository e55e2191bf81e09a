//! The one table of keys: what each is called, what it accepts, its default, and what it decides.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use http::uri::Authority;

use crate::admit::Admittance;
use crate::gate::{Level, Scope};
use crate::route::{Kind, RouteId};
use crate::words::Base;

use super::choice::{GateMode, LogFormat, LogLevel, ResolveBy};
use super::fault::Place;
use super::keys_share::Share;
use super::layers::Layers;
use super::proxy::{ProxyChoice, ProxyShape};
use super::section::{Key, Section, section};
use super::shape::{Lasting, Number, Rate, Shape, Size, Switch, Tell, Word};
use super::shape_net::{Address, Alias, CertificateName, FilePath, Host, Sha256, TokenHash, Url};
use super::shape_of::{List, Optional};
use super::shape_route::Template;
use super::written::Written;

/// Every key, in the order of `config/tollgate.toml`; those of arrays of tables last.
pub fn keys() -> Vec<Key> {
    [
        RootKeys::keys(),
        ListenKeys::keys(),
        TlsKeys::keys(),
        UpstreamKeys::keys(),
        Gate::keys(),
        Replay::keys(),
        Cache::keys(),
        CacheDisk::keys(),
        Rewrite::keys(),
        Admin::keys(),
        Log::keys(),
        Reload::keys(),
        Shutdown::keys(),
        Limits::keys(),
        Memory::keys(),
        Share::keys(),
        CacheRuleKeys::keys(),
        TenantKeys::keys(),
    ]
    .concat()
}

section! {
    /// The keys outside any section.
    pub(super) struct RootKeys in "" {
        /// Directory of the local CA, the tenant-hash key, what the gate has learned and the ports in use.
        /// Default: `$XDG_STATE_HOME/tollgate`, else `$HOME/.local/state/tollgate`, else `./.tollgate`.
        state_dir: Option<PathBuf> = Optional(FilePath), "";
    }
}

section! {
    /// Where bots connect, as written.
    pub(super) struct ListenKeys in "listen." {
        /// Address of the TLS listener; "" closes it.
        https: Option<SocketAddr> = Optional(Address), "127.0.0.1:8443";
        /// Address of the plain listener; "" closes it. Only loopback unless `listen.insecure_http`.
        http: Option<SocketAddr> = Optional(Address), "";
        /// Whether the plain listener may leave loopback: tokens then cross the network unencrypted.
        insecure_http: bool = Switch, "false";
        /// Hosts answered besides loopback names, the listener's own and the API's; others get 421.
        /// `["*"]` answers any.
        hosts: Vec<Authority> = List(Host), "";
        /// What Link and file URLs are rewritten to when an ingress hides the client's scheme; "": what the client used.
        public_base: Option<Base> = Optional(Url), "";
    }
}

section! {
    /// The TLS listener's certificate, as written.
    pub(super) struct TlsKeys in "listen.tls." {
        /// PEM file of the certificate and its chain; "": a certificate of the local CA.
        cert_file: Option<PathBuf> = Optional(FilePath), "";
        /// PEM file of the certificate's private key.
        key_file: Option<PathBuf> = Optional(FilePath), "";
        /// PEM file of the CA whose client certificates are required; "": none is asked for.
        client_ca_file: Option<PathBuf> = Optional(FilePath), "";
        /// More names for the local CA's certificate, and for what that CA may certify.
        names: Vec<String> = List(CertificateName), "";
    }
}

section! {
    /// The API, as written.
    pub(super) struct UpstreamKeys in "upstream." {
        /// Scheme and host of the API; plain http only for loopback hosts.
        url: Base = Url, "https://webexapis.com";
        /// `webex`: all rules of the Webex API; `generic`: any origin, nothing rewritten, RFC 9111 sharing.
        kind: Kind = Word(&[("webex", Kind::Webex), ("generic", Kind::Generic)]), "webex";
        /// Other names of the same API. The default holds for kind `webex` alone.
        aliases: Vec<Base> = List(Url), "https://api.ciscospark.com";
        /// Fixed addresses of the API, tried in order; the certificate is still checked against the host's name.
        connect: Vec<SocketAddr> = List(Address), "";
        /// `system`: as the machine resolves names; `dns`: past the hosts file, for name-override mode.
        resolve: ResolveBy = Word(&[("system", ResolveBy::System), ("dns", ResolveBy::Dns)]), "system";
        /// The site's CONNECT proxy; "": as HTTPS_PROXY and NO_PROXY say; "none": no proxy.
        proxy: Option<ProxyChoice> = Optional(ProxyShape), "";
        /// PEM file of CAs trusted besides the platform's.
        ca_file: Option<PathBuf> = Optional(FilePath), "";
        /// Longest time for name and TCP connection.
        connect_timeout: Duration = Lasting(MILLI, MINUTE), "5s";
        /// Longest time for the TLS handshake.
        handshake_timeout: Duration = Lasting(MILLI, MINUTE), "10s";
        /// Longest time from the end of the request's body to the head of the answer.
        header_timeout: Duration = Lasting(MILLI, HOUR), "30s";
        /// Longest silence within a body, and longest time in which the API takes nothing of one.
        idle_timeout: Duration = Lasting(MILLI, HOUR), "30s";
        /// How long an idle connection is kept for the next request.
        pool_idle_timeout: Duration = Lasting(MILLI, HOUR), "60s";
    }
}

section! {
    /// How requests are held back.
    pub struct Gate in "gate." {
        /// Whether requests wait at all; without it nothing is learned either.
        enabled: bool = Switch, "true";
        /// `enforce`: requests wait; `observe`: they pass at once, and what the line would have meant is recorded.
        mode: GateMode = Word(&[("enforce", GateMode::Enforce), ("observe", GateMode::Observe)]), "enforce";
        /// Whom a 429 stops: `egress` everybody; `tenant` that tenant; `route` that tenant's family of paths; `auto`
        /// everybody, until a success of somebody else proves the limit narrower.
        retry_after_scope: Scope = Word(&[
            ("auto", Scope::Auto),
            ("egress", Scope::Fixed(Level::Egress)),
            ("tenant", Scope::Fixed(Level::Tenant)),
            ("route", Scope::Fixed(Level::Family)),
        ]), "auto";
        /// `any`: every token has a place in line; `listed`: only tokens of a named tenant, others get 403.
        admit: Admittance = Word(&[("any", Admittance::Any), ("listed", Admittance::Listed)]), "any";
        /// Pinned requests per second; learning then only lowers it. "": learned.
        rate: Option<f64> = Optional(Rate(0.001, 1e6)), "";
        /// Requests that may go at once after a quiet time.
        burst: u32 = Number(1, 1_000_000), "10";
        /// Fixed ceiling of the whole egress, requests per second, besides what is learned. "": none.
        ceiling: Option<f64> = Optional(Rate(0.001, 1e6)), "";
        /// Requests that the ceiling lets go at once.
        ceiling_burst: u32 = Number(1, 1_000_000), "10";
        /// Requests per second before anything is learned: Webex names 300 a minute for most of its API.
        start_rate: f64 = Rate(0.001, 1e6), "5";
        /// Longest time in line. Go clients give up after 30 s, Python ones after 60 s.
        max_wait: Duration = Lasting(Duration::ZERO, HOUR), "25s";
        /// Longest time closed by one Retry-After; Webex documents 3600 s.
        max_gate: Duration = Lasting(SECOND, DAY), "1h";
        /// Longest time in line that a client may ask for with `Prefer: wait=`.
        max_prefer_wait: Duration = Lasting(Duration::ZERO, HOUR), "60s";
        /// Most requests in line; when it is full the longest line loses its last.
        max_waiting: u32 = Number(1, 1_000_000), "16384";
        /// Most requests in line of one tenant.
        max_tenant_waiting: u32 = Number(1, 1_000_000), "1024";
        /// Most bytes of heads and small bodies in line.
        max_waiting_bytes: u64 = Size(1 << 16, 1 << 40), "64MiB";
        /// Most bytes of heads and small bodies in line of one tenant.
        max_tenant_bytes: u64 = Size(1 << 16, 1 << 40), "8MiB";
        /// Most requests between permit and answer.
        max_in_flight: u32 = Number(1, 1_000_000), "1024";
        /// Requests per second of all unnamed tokens together that the API has not yet accepted.
        probation_rate: f64 = Rate(0.001, 1e6), "20";
        /// How many of them may go at once.
        probation_burst: u32 = Number(1, 1_000_000), "100";
    }
}

section! {
    /// What is sent again, and where bodies wait.
    pub struct Replay in "replay." {
        /// Whether safe requests are sent again after 502, 503, 504 or a reset.
        faults: bool = Switch, "true";
        /// Whether requests that the API refused with 429 are sent again.
        throttled: bool = Switch, "true";
        /// Directory of uploads that wait; "": the system's directory for temporary files.
        spool_dir: Option<PathBuf> = Optional(FilePath), "";
        /// Most bytes of waiting uploads on disk; "": none waits there, each streams once.
        spool_size: Option<u64> = Optional(Size(1 << 20, 1 << 40)), "1GiB";
    }
}

section! {
    /// What is kept.
    pub struct Cache in "cache." {
        /// Whether answers are kept at all.
        enabled: bool = Switch, "true";
        /// Most bytes kept in memory, bodies and headers.
        memory: u64 = Size(1 << 20, 1 << 40), "256MiB";
        /// Most bytes of one answer that is kept; at most half of `cache.memory`.
        max_entry: u64 = Size(1, 1 << 31), "128MiB";
        /// Most bytes besides `cache.memory`: of answers on their way into the cache, and of those pushed out of it that
        /// slow clients still read. What finds no room streams past. "": half of `cache.memory`.
        fill: Option<u64> = Optional(Size(1 << 20, 1 << 40)), "";
        /// An answer that nobody waits for any more is fetched to its end if so many percent of it are there.
        finish_percent: u32 = Number(0, 100), "50";
        /// How long a tenant's own successful request proves its access to a content; "0s": prove it on every use.
        proof_ttl: Duration = Lasting(Duration::ZERO, HOUR), "60s";
    }
}

section! {
    /// Attachments on disk, as written.
    pub struct CacheDisk in "cache.disk." {
        /// Directory of attachments that are large or had to leave memory; "": none are kept on disk. One process alone
        /// may use it.
        path: Option<PathBuf> = Optional(FilePath), "";
        /// Most bytes of its files.
        size: u64 = Size(1 << 20, 1 << 44), "4GiB";
        /// Attachments of more bytes go straight to the disk.
        threshold: u64 = Size(0, 1 << 40), "1MiB";
    }
}

section! {
    /// What is changed on the way.
    pub struct Rewrite in "rewrite." {
        /// Whether Link, Location and file URLs are pointed at this proxy; never with kind `generic`.
        enabled: bool = Switch, "true";
    }
}

section! {
    /// The operators' listener.
    pub struct Admin in "admin." {
        /// Address of metrics, probes and status; shares none with traffic.
        listen: SocketAddr = Address, "127.0.0.1:9900";
        /// A second address with metrics and probes alone; "": none.
        metrics_listen: Option<SocketAddr> = Optional(Address), "";
        /// File of the token that changes need (POST); "": `admin-token` in `state_dir`, made on first start.
        token_file: Option<PathBuf> = Optional(FilePath), "";
        /// Hosts under which page, status and changes are answered, besides loopback names and IP addresses; others get
        /// 421. `["*"]` answers any. Metrics and probes answer under every host.
        hosts: Vec<Authority> = List(Host), "";
    }
}

section! {
    /// The program's own log.
    pub struct Log in "log." {
        /// The least that is worth a line: `error`, `warn`, `info`, `debug` or `trace`.
        level: LogLevel = Word(&[
            ("error", LogLevel::Error),
            ("warn", LogLevel::Warn),
            ("info", LogLevel::Info),
            ("debug", LogLevel::Debug),
            ("trace", LogLevel::Trace),
        ]), "info";
        /// `json`, `text`, or `auto`: text on a terminal, JSON elsewhere.
        format: LogFormat = Word(&[
            ("auto", LogFormat::Auto),
            ("json", LogFormat::Json),
            ("text", LogFormat::Text),
        ]), "auto";
    }
}

section! {
    /// How changes of the configuration are noticed.
    pub struct Reload in "reload." {
        /// How often the configuration file, token files, certificates and keys are looked at for a change; "": on
        /// SIGHUP and on order alone.
        poll: Option<Duration> = Optional(Lasting(TENTH, HOUR)), "5s";
    }
}

section! {
    /// How the program ends.
    pub struct Shutdown in "shutdown." {
        /// How long new connections are still taken after the signal, while /readyz already says 503.
        delay: Duration = Lasting(Duration::ZERO, HOUR), "5s";
        /// How long requests in line may then wait for their turn; those in flight get up to 5 s more.
        drain: Duration = Lasting(Duration::ZERO, HOUR), "25s";
    }
}

section! {
    /// The bounds of everything that can grow, and the deadlines of a client's connection.
    pub struct Limits in "limits." {
        /// Most connections at once.
        connections: u32 = Number(1, 1_000_000), "4096";
        /// Most streams at once on one HTTP/2 connection.
        streams: u32 = Number(1, 10_000), "64";
        /// Most bytes of an HTTP/1.1 head.
        header_bytes: u64 = Size(8 << 10, 1 << 20), "32KiB";
        /// Most bytes of an HTTP/2 head, as decoded.
        h2_header_bytes: u64 = Size(1 << 10, 1 << 20), "8KiB";
        /// Most header fields, cookie crumbs counted one by one.
        fields: u32 = Number(1, 256), "64";
        /// Most bytes of path and query.
        uri_bytes: u64 = Size(256, 64 << 10), "8KiB";
        /// Most bytes of a request's body: an attachment of 100 MB and its form.
        body_bytes: u64 = Size(1 << 10, 1 << 40), "110MB";
        /// Longest time from accept to the end of the TLS handshake.
        handshake_timeout: Duration = Lasting(MILLI, HOUR), "10s";
        /// Longest time for the head of a request.
        header_timeout: Duration = Lasting(MILLI, HOUR), "30s";
        /// How long a connection may wait for its next request.
        idle_timeout: Duration = Lasting(MILLI, DAY), "300s";
        /// Longest silence within a request's body.
        body_idle_timeout: Duration = Lasting(MILLI, HOUR), "20s";
        /// Longest time in which a client takes nothing of its answer.
        write_stall_timeout: Duration = Lasting(MILLI, HOUR), "30s";
        /// Fewest bytes per second of a request's body or an answer, on average over the time in which the client is
        /// waited for; a client that falls behind has as long as it may be silent. "": any rate.
        min_rate: Option<u32> = Optional(Number(1, 1_000_000)), "500";
        /// Most bytes of an unwanted body that are read so that the connection can be kept.
        drain_bytes: u64 = Size(0, 16 << 20), "64KiB";
        /// Most tenants remembered, and most gates of theirs; the one idle longest is forgotten.
        tenants: u32 = Number(1, 10_000_000), "10000";
    }
}

section! {
    /// What happens while memory is short, before the system ends the process.
    pub struct Memory in "memory." {
        /// Whether requests are refused while memory is short.
        guard: bool = Switch, "true";
        /// Most bytes that this process may use; "": what its control group allows, else what the machine has.
        limit: Option<u64> = Optional(Size(1 << 24, 1 << 50)), "";
        /// Percent of it from which uploads that do not fit in a small buffer get 503.
        uploads_percent: u32 = Number(1, 100), "70";
        /// Percent of it from which every request gets 503 and the cache shrinks.
        requests_percent: u32 = Number(1, 100), "80";
        /// Directory of the control group's memory files; "": found through /proc/self/cgroup.
        cgroup: Option<PathBuf> = Optional(FilePath), "";
    }
}

section! {
    /// How long answers of one route are kept, as written.
    pub(super) struct CacheRuleKeys in "cache.rule." {
        /// Template of the path, as in logs and metrics; `{id}` stands for any one id, and each query is kept apart.
        path: Option<RouteId> = Optional(Template), "";
        /// How long an answer is served again before the API is asked anew.
        ttl: Option<Duration> = Optional(Lasting(SECOND, HOUR)), "";
    }
}

section! {
    /// One named tenant, as written.
    pub(super) struct TenantKeys in "tenant." {
        /// What logs and metrics call the tenant.
        name: Option<String> = Optional(Alias), "";
        /// Files that hold one token each.
        token_files: Vec<PathBuf> = List(FilePath), "";
        /// SHA-256 of tokens, as `tollgate hash-token` prints them.
        token_sha256: Vec<TokenHash> = List(Sha256), "";
        /// Turns per round: a tenant of weight 3 gets three where others get one.
        weight: u32 = Number(1, 1_000), "1";
        /// Fixed ceiling of this tenant, requests per second. "": none.
        rate: Option<f64> = Optional(Rate(0.001, 1e6)), "";
        /// Requests that the ceiling lets go at once.
        burst: u32 = Number(1, 1_000_000), "10";
        /// Longest time in line for this tenant; "": `gate.max_wait`.
        max_wait: Option<Duration> = Optional(Lasting(Duration::ZERO, HOUR)), "";
        /// Whether its requests pass the line by.
        bypass: bool = Switch, "false";
    }
}

pub(super) fn row<S: Shape>(path: &'static str, default: &str, about: &str, shape: &S) -> Key {
    let mut faults = vec![];
    let mut tell = Tell { key: path, faults: &mut faults };
    let value = shape.read(&Written::bare(default, Place::Default), &mut tell);
    Key {
        path,
        accepts: shape.accepts(),
        default: value.map(|value| shape.show(&value)).unwrap_or_default(),
        about: about.to_owned(),
    }
}

const MILLI: Duration = Duration::from_millis(1);
const TENTH: Duration = Duration::from_millis(100);
const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(86_400);
