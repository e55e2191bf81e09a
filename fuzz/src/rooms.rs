//! The path of one request, built around any transport, with nothing kept and nobody held up.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use http::uri::Authority;
use tokio::time::Instant;
use tollgate::admit::{Admittance, Doorman};
use tollgate::cache::{self, Cache, CacheSettings};
use tollgate::clock::Clock;
use tollgate::gate::{ClaimSettings, CoreSettings, Gate, GateSettings, Rate, Scope};
use tollgate::machine::Guard;
use tollgate::metrics::Metrics;
use tollgate::proxy::Proxy;
use tollgate::rewrite::{RewriteSettings, Rewriter};
use tollgate::route::{Hosts, Kind, Router, RouterSettings};
use tollgate::upstream::{ReplaySettings, Replayer, Spool, SpoolRoom, SpoolSettings, Transport};
use tollgate::words::{Base, Scheme};

/// This process in `Via`.
pub(crate) const VIA: &str = "tollgate-fuzz";
/// The name of the API.
pub(crate) const API: &str = "webexapis.com";
/// Its other name.
pub(crate) const LEGACY: &str = "api.ciscospark.com";
/// The longest that a gate stays closed.
pub(crate) const MAX_GATE: Duration = Duration::from_secs(3600);

/// The path. Whoever takes it lets `gate.run()` run beside it.
pub(crate) fn proxy<T: Transport>(kind: Kind, transport: T) -> Proxy<T> {
    let clock = Clock::system();
    let spool = SpoolSettings {
        dir: None,
        room: SpoolRoom::Off,
        max_files: 1,
        memory_bytes: 64 * 1024,
        max_body: 1024 * 1024,
    };
    Proxy {
        router: router(kind),
        doorman: Doorman::new(b"a key for tests", &[], Admittance::Any),
        cache: cache(cache::Mode::Off, clock.clone()),
        gate: gate(),
        rewriter: rewriter(),
        spool: Spool::new(spool, Guard::off()),
        guard: Guard::off(),
        replayer: Replayer::new(ReplaySettings { faults: false, throttled: false }, Instant::now()),
        transport,
        metrics: Arc::clone(&METRICS),
        clock,
    }
}

/// A router for the API under both its names and for `localhost`.
pub(crate) fn router(kind: Kind) -> Router {
    Router::new(RouterSettings {
        upstream: https(API),
        aliases: vec![https(LEGACY)],
        kind,
        hosts: Hosts::Listed(Vec::new()),
        public_base: None,
        via: VIA.into(),
        max_uri_bytes: 8 * 1024,
        max_fields: 64,
    })
}

/// A rewriter for the same API.
pub(crate) fn rewriter() -> Rewriter {
    Rewriter::new(RewriteSettings {
        enabled: true,
        bases: vec![https(API), https(LEGACY)],
        via: VIA.into(),
        max_decoded_bytes: 1024 * 1024,
        max_ratio: 200,
    })
}

/// A cache in memory.
pub(crate) fn cache(mode: cache::Mode, clock: Clock) -> Cache {
    let settings = CacheSettings {
        mode,
        memory: 1024 * 1024,
        max_entry: 64 * 1024,
        fill: 1024 * 1024,
        finish_percent: 50,
        proof_ttl: Duration::from_secs(60),
        rules: HashMap::new(),
        disk_from: u64::MAX,
    };
    Cache::new(settings, None, clock)
}

/// A gate that holds nobody up until the API asks for it.
pub(crate) fn gate() -> Gate {
    Gate::new(GateSettings {
        mode: tollgate::gate::Mode::Enforce,
        core: CoreSettings {
            scope: Scope::Auto,
            start_rate: Rate::MAX,
            pin: Rate::MAX,
            burst: 1000,
            ceiling: None,
            tenant_ceilings: Vec::new(),
            max_in_flight: 1000,
            max_waiting: 1000,
            max_waiting_bytes: 1 << 20,
            max_tenant_waiting: 1000,
            max_tenant_bytes: 1 << 20,
            max_gates: 100,
            max_gate: MAX_GATE,
        },
        claims: ClaimSettings {
            max_wait: Duration::from_secs(25),
            max_prefer_wait: Duration::from_secs(60),
            tenants: HashMap::new(),
        },
        max_tenants: 100,
    })
}

fn https(authority: &'static str) -> Base {
    Base { scheme: Scheme::Https, authority: Authority::from_static(authority) }
}

/// Counts are no part of any property, and a registry is dear.
static METRICS: LazyLock<Arc<Metrics>> = LazyLock::new(|| Arc::new(Metrics::new().unwrap()));
