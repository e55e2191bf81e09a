//! Builds the path from explicit settings, around any transport.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use http::uri::Authority;
use tokio::time::Instant;
use tollgate::admit::{Admittance, Doorman};
use tollgate::cache::{self, Cache, CacheSettings, Disk};
use tollgate::clock::Clock;
use tollgate::gate::{ClaimSettings, CoreSettings, Gate, GateSettings, Mode, Rate, Scope};
use tollgate::machine::Guard;
use tollgate::metrics::Metrics;
use tollgate::proxy::Proxy;
use tollgate::rewrite::{RewriteSettings, Rewriter};
use tollgate::route::{Hosts, Kind, RouteId, Router, RouterSettings};
use tollgate::upstream::{ReplaySettings, Replayer, Spool, SpoolRoom, SpoolSettings, Transport};
use tollgate::words::{Base, Scheme};

/// What tests and benchmarks vary; everything else is as the product ships it.
#[derive(Debug, Clone)]
pub(crate) struct Rooms {
    /// Requests per second before anything is learned.
    pub(crate) start_rate: f64,
    /// Requests that may go at once after a quiet time.
    pub(crate) burst: u32,
    /// Longest time in line.
    pub(crate) max_wait: Duration,
    /// Whether anything is kept.
    pub(crate) cache: cache::Mode,
    /// Bytes kept in all.
    pub(crate) memory: u64,
    /// Largest body kept.
    pub(crate) max_entry: u64,
    /// Bytes on their way into the cache, all together.
    pub(crate) fill: u64,
    /// How long the API's yes is good for.
    pub(crate) proof_ttl: Duration,
    /// Whom a refusal stops.
    pub(crate) scope: Scope,
    /// Routes whose answers are kept whatever the API says.
    pub(crate) rules: HashMap<RouteId, Duration>,
}

impl Rooms {
    /// A gate that holds nobody up until the API asks for it.
    pub(crate) fn wide() -> Self {
        Self {
            start_rate: 1_000.0,
            burst: 1_000,
            max_wait: Duration::from_secs(25),
            cache: cache::Mode::On,
            memory: 64 * 1024 * 1024,
            max_entry: 8 * 1024 * 1024,
            fill: 64 * 1024 * 1024,
            proof_ttl: Duration::from_secs(60),
            scope: Scope::Auto,
            rules: HashMap::new(),
        }
    }

    /// Every room of the path. Whoever takes it must let `gate.run()` run beside it.
    pub(crate) fn around<T: Transport>(&self, transport: T, clock: Clock) -> Proxy<T> {
        self.over(transport, clock, None)
    }

    /// The same, above files for attachments of more bytes than the number beside them.
    pub(crate) fn over<T: Transport>(
        &self,
        transport: T,
        clock: Clock,
        disk: Option<(Disk, u64)>,
    ) -> Proxy<T> {
        let (disk, disk_from) = disk.unzip();
        let api = https("webexapis.com");
        let legacy = https("api.ciscospark.com");
        let spool = SpoolSettings {
            dir: None,
            room: SpoolRoom::Off,
            max_files: 1024,
            memory_bytes: 64 * 1024,
            max_body: 110 * 1024 * 1024,
        };
        Proxy {
            router: Router::new(RouterSettings {
                upstream: api.clone(),
                aliases: vec![legacy.clone()],
                kind: Kind::Webex,
                hosts: Hosts::Listed(Vec::new()),
                public_base: None,
                via: VIA.into(),
                max_uri_bytes: 8 * 1024,
                max_fields: 100,
            }),
            doorman: Doorman::new(b"a key for tests", &[], Admittance::Any),
            cache: Cache::new(
                CacheSettings {
                    mode: self.cache,
                    memory: self.memory,
                    max_entry: self.max_entry,
                    fill: self.fill,
                    finish_percent: 50,
                    proof_ttl: self.proof_ttl,
                    rules: self.rules.clone(),
                    disk_from: disk_from.unwrap_or(u64::MAX),
                },
                disk,
                clock.clone(),
            ),
            gate: Gate::new(self.gate()),
            rewriter: Rewriter::new(RewriteSettings {
                enabled: true,
                bases: vec![api, legacy],
                via: VIA.into(),
                max_decoded_bytes: 64 * 1024 * 1024,
                max_ratio: 200,
            }),
            spool: Spool::new(spool, Guard::off()),
            guard: Guard::off(),
            replayer: Replayer::new(ReplaySettings { faults: true, throttled: true }, Instant::now()),
            transport,
            metrics: Arc::new(Metrics::new().unwrap()),
            clock,
        }
    }

    fn gate(&self) -> GateSettings {
        GateSettings {
            mode: Mode::Enforce,
            core: CoreSettings {
                scope: self.scope,
                start_rate: Rate::new(self.start_rate).unwrap(),
                pin: Rate::MAX,
                burst: self.burst,
                ceiling: None,
                tenant_ceilings: Vec::new(),
                max_in_flight: 20_000,
                max_waiting: 20_000,
                max_waiting_bytes: 1 << 30,
                max_tenant_waiting: 20_000,
                max_tenant_bytes: 1 << 30,
                max_gates: 1000,
                max_gate: Duration::from_secs(3600),
            },
            claims: ClaimSettings {
                max_wait: self.max_wait,
                max_prefer_wait: Duration::from_secs(60),
                tenants: HashMap::new(),
            },
            max_tenants: 1000,
        }
    }
}

fn https(authority: &'static str) -> Base {
    Base { scheme: Scheme::Https, authority: Authority::from_static(authority) }
}

/// This process in `Via`.
pub(crate) const VIA: &str = "tollgate-test";
