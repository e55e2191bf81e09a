//! Decides how the configuration becomes rooms: each mapping in one place, each fault with its cause.

use std::io;
use std::num::NonZeroU32;
use std::path::Path;
use std::sync::Arc;

use aws_lc_rs::digest;
use http::uri::Authority;
use tokio::time::Instant;

use crate::admit::{Doorman, NamedTenant};
use crate::cache::{self, Cache, CacheSettings, Disk, DiskSettings, Writer};
use crate::clock::Clock;
use crate::config::{self, Config};
use crate::gate::{
    Ceiling, ClaimSettings, CoreSettings, Gate, GateSettings, Mode, PROBATION, Passage, Rate, TenantRule,
};
use crate::machine::Shares;
use crate::machine::file::read_text;
use crate::metrics::Metrics;
use crate::proxy::Proxy;
use crate::rewrite::{RewriteSettings, Rewriter};
use crate::route::{Hosts, Kind, Router, RouterSettings};
use crate::server::ServerSettings;
use crate::upstream::{
    Client, Codings, ExtraCa, ProxyChoice, ReplaySettings, Replayer, Resolve, Spool, SpoolRoom,
    SpoolSettings, UpstreamSettings,
};

use super::share::Keys;
use super::{Fault, machine};

/// Bodies up to this wait in memory (GATE 8).
const SMALL_BODY_BYTES: usize = 64 * 1024;
/// The largest JSON page that is decoded for rewriting, and the most it may grow: a page of 1,000 messages is
/// about 1 MB and packs ten to one.
const MAX_DECODED_BYTES: u64 = 256 * 1024 * 1024;
const MAX_RATIO: u32 = 200;
/// Unused connections to the API: more than any pool of bots keeps busy at Webex's rates.
const POOL_MAX_IDLE: usize = 64;
/// Far more than any token has.
const MAX_TOKEN_BYTES: usize = 64 * 1024;

/// Every room of the path, as the configuration wants it. `own` are the listeners' addresses, `keys` turn
/// credentials into ids.
pub(super) fn proxy(
    config: &Config,
    keys: &Keys,
    extra_ca: Option<ExtraCa>,
    own: Vec<Authority>,
    metrics: Arc<Metrics>,
    disk: Option<Disk>,
) -> Result<Proxy<Client>, Fault> {
    let clock = Clock::system();
    let via: Arc<str> =
        format!("tollgate-{}", uuid::Uuid::new_v4().as_simple()).chars().take(17).collect::<String>().into();
    let doorman = Doorman::new(&keys.tenants, &tenants(config)?, config.gate.admit);
    let guard = machine::guard(config);
    Ok(Proxy {
        router: Router::new(router(config, own, Arc::clone(&via))),
        cache: match &keys.marks {
            Some(marks) => Cache::agreeing(cache(config), disk, clock.clone(), marks),
            None => Cache::new(cache(config), disk, clock.clone()),
        },
        gate: Gate::new(gate(config, &doorman)?),
        doorman,
        rewriter: Rewriter::new(rewrite(config, via)),
        spool: Spool::new(spool(config), guard.clone()),
        guard,
        replayer: Replayer::new(replay(config), Instant::now()),
        transport: Client::new(&upstream(config, extra_ca), clock.clone()).map_err(Fault::Upstream)?,
        metrics,
        clock,
    })
}

/// The limits of the traffic listeners.
pub(super) fn server(limits: &config::Limits, shares: Shares) -> ServerSettings {
    ServerSettings {
        max_connections: shares.connections,
        handshake_timeout: limits.handshake_timeout,
        header_timeout: limits.header_timeout,
        idle_timeout: limits.idle_timeout,
        body_idle_timeout: limits.body_idle_timeout,
        write_stall_timeout: limits.write_stall_timeout,
        min_rate: limits.min_rate.and_then(NonZeroU32::new),
        max_header_bytes: usize::try_from(limits.header_bytes).unwrap_or(usize::MAX),
        max_fields: count(limits.fields),
        h2_max_header_list_bytes: u32::try_from(limits.h2_header_bytes).unwrap_or(u32::MAX),
        h2_max_streams: limits.streams,
        max_drain_bytes: limits.drain_bytes,
        ..ServerSettings::recommended()
    }
}

fn router(config: &Config, own: Vec<Authority>, via: Arc<str>) -> RouterSettings {
    RouterSettings {
        upstream: config.upstream.url.clone(),
        aliases: config.upstream.aliases.clone(),
        kind: config.upstream.kind,
        hosts: match &config.listen.hosts {
            Hosts::Any => Hosts::Any,
            Hosts::Listed(listed) => Hosts::Listed(listed.iter().cloned().chain(own).collect()),
        },
        public_base: config.listen.public_base.clone(),
        via,
        max_uri_bytes: usize::try_from(config.limits.uri_bytes).unwrap_or(usize::MAX),
        max_fields: count(config.limits.fields),
    }
}

/// The named tenants; reads the files of their tokens.
pub(super) fn tenants(config: &Config) -> Result<Vec<NamedTenant>, Fault> {
    let named = |tenant: &config::Tenant| {
        let mut hashes: Vec<[u8; 32]> = tenant.token_sha256.iter().map(|hash| *hash.as_bytes()).collect();
        for file in &tenant.token_files {
            hashes.push(token_hash(file)?);
        }
        Ok(NamedTenant { name: tenant.name.as_str().into(), token_sha256: hashes })
    };
    config.tenants.iter().map(named).collect()
}

fn token_hash(file: &Path) -> Result<[u8; 32], Fault> {
    let fault = |source| Fault::File { file: file.into(), source };
    let text = read_text(file, MAX_TOKEN_BYTES).map_err(fault)?;
    if text.trim().is_empty() {
        // Its hash would be that of no credential at all.
        return Err(fault(io::Error::new(io::ErrorKind::InvalidData, "holds no token")));
    }
    let mut hash = [0; 32];
    let digest = digest::digest(&digest::SHA256, text.trim().as_bytes());
    hash.iter_mut().zip(digest.as_ref()).for_each(|(to, from)| *to = *from);
    Ok(hash)
}

fn cache(config: &Config) -> CacheSettings {
    let from = &config.cache;
    CacheSettings {
        mode: if from.enabled { cache::Mode::On } else { cache::Mode::Off },
        memory: from.memory,
        max_entry: from.max_entry,
        fill: fill(from),
        finish_percent: from.finish_percent.into(),
        proof_ttl: from.proof_ttl,
        rules: config.cache_rules.iter().map(|rule| (rule.route, rule.ttl)).collect(),
        disk_from: config.cache_disk.threshold,
    }
}

/// As much as the largest answer may have, and as much again.
fn fill(cache: &config::Cache) -> u64 {
    cache.fill.unwrap_or(cache.memory / 2)
}

/// The disk tier, if there is one: finds again what an earlier process kept.
pub(super) fn disk(config: &Config, clock: Clock) -> Result<Option<(Disk, Writer)>, Fault> {
    let from = &config.cache_disk;
    let Some(dir) = from.path.clone().filter(|_| config.cache.enabled) else { return Ok(None) };
    let settings = DiskSettings {
        dir,
        max_bytes: from.size,
        max_entries: DISK_FILES,
        max_queued_bytes: fill(&config.cache),
    };
    Ok(Some(Disk::open(settings, clock)?))
}

/// `doorman` knows the ids of named tenants.
pub(super) fn gate(config: &Config, doorman: &Doorman) -> Result<GateSettings, Fault> {
    let (from, limits) = (&config.gate, &config.limits);
    let rate = |per_second| Rate::new(per_second).ok_or(Fault::Rate(per_second));
    let pin = from.rate.map(rate).transpose()?;
    let probation = (PROBATION, ceiling(from.probation_rate, from.probation_burst));
    let named = config.tenants.iter().filter_map(|tenant| {
        let (rate, burst) = tenant.ceiling?;
        Some((doorman.tenant(&tenant.name), ceiling(rate, burst)))
    });
    Ok(GateSettings {
        mode: match (from.enabled, from.mode) {
            (false, _) => Mode::Off,
            (true, config::GateMode::Enforce) => Mode::Enforce,
            (true, config::GateMode::Observe) => Mode::Observe,
        },
        core: CoreSettings {
            scope: from.retry_after_scope,
            // A pinned rate is where it starts: learning only lowers it.
            start_rate: pin.map_or_else(|| rate(from.start_rate), Ok)?,
            pin: pin.unwrap_or(Rate::MAX),
            burst: from.burst,
            ceiling: from.ceiling.map(|rate| ceiling(rate, from.ceiling_burst)),
            tenant_ceilings: named.chain([probation]).collect(),
            // Who finds no connection waits better in line than at the way out.
            max_in_flight: count(from.max_in_flight).min(machine::shares(config).upstream),
            max_waiting: count(from.max_waiting),
            max_waiting_bytes: from.max_waiting_bytes,
            max_tenant_waiting: from.max_tenant_waiting,
            max_tenant_bytes: from.max_tenant_bytes,
            max_gates: count(limits.tenants),
            max_gate: from.max_gate,
        },
        claims: ClaimSettings {
            max_wait: from.max_wait,
            max_prefer_wait: from.max_prefer_wait,
            tenants: config
                .tenants
                .iter()
                .map(|tenant| (doorman.tenant(&tenant.name), tenant_rule(tenant)))
                .collect(),
        },
        max_tenants: count(limits.tenants),
    })
}

fn ceiling(rate: f64, burst: u32) -> Ceiling {
    Ceiling { rate, burst: NonZeroU32::new(burst).unwrap_or(NonZeroU32::MIN) }
}

fn tenant_rule(tenant: &config::Tenant) -> TenantRule {
    TenantRule {
        weight: NonZeroU32::new(tenant.weight).unwrap_or(NonZeroU32::MIN),
        max_wait: tenant.max_wait,
        passage: if tenant.bypass { Passage::Free } else { Passage::Line },
    }
}

fn rewrite(config: &Config, via: Arc<str>) -> RewriteSettings {
    RewriteSettings {
        enabled: config.rewrite.enabled && config.upstream.kind == Kind::Webex,
        bases: std::iter::once(&config.upstream.url).chain(&config.upstream.aliases).cloned().collect(),
        via,
        max_decoded_bytes: MAX_DECODED_BYTES,
        max_ratio: MAX_RATIO,
    }
}

fn spool(config: &Config) -> SpoolSettings {
    SpoolSettings {
        dir: config.replay.spool_dir.clone(),
        room: config.replay.spool_size.map_or(SpoolRoom::Off, SpoolRoom::Bytes),
        max_files: machine::shares(config).spooled,
        memory_bytes: SMALL_BODY_BYTES,
        max_body: config.limits.body_bytes,
    }
}

/// What is sent again.
pub(super) fn replay(config: &Config) -> ReplaySettings {
    // Without the gate nobody would wait before sending again.
    ReplaySettings {
        faults: config.replay.faults,
        throttled: config.replay.throttled
            && config.gate.enabled
            && config.gate.mode == config::GateMode::Enforce,
    }
}

fn upstream(config: &Config, extra_ca: Option<ExtraCa>) -> UpstreamSettings {
    let from = &config.upstream;
    let (connect, resolve) = match &from.resolve {
        config::Resolve::Dns => (Vec::new(), Resolve::Dns),
        config::Resolve::Fixed(addresses) => (addresses.clone(), Resolve::System),
        config::Resolve::System => (Vec::new(), Resolve::System),
    };
    UpstreamSettings {
        base: from.url.clone(),
        connect,
        resolve,
        proxy: match &from.proxy {
            config::Proxy::Direct => ProxyChoice::None,
            config::Proxy::Environment(environment) => ProxyChoice::Environment {
                https_proxy: environment
                    .https_proxy
                    .as_ref()
                    .map_or_else(String::new, |url| url.expose().to_owned()),
                no_proxy: environment.no_proxy.clone().unwrap_or_default(),
            },
            config::Proxy::Fixed(url) => ProxyChoice::Url(url.expose().to_owned()),
        },
        extra_ca: extra_ca.or_else(|| from.ca_file.clone().map(ExtraCa::File)),
        connect_timeout: from.connect_timeout,
        handshake_timeout: from.handshake_timeout,
        header_timeout: from.header_timeout,
        write_timeout: from.idle_timeout,
        body_idle_timeout: from.idle_timeout,
        pool_idle_timeout: from.pool_idle_timeout,
        max_connections: machine::shares(config).upstream,
        pool_max_idle: POOL_MAX_IDLE,
        codings: match from.kind {
            Kind::Generic => Codings::Any,
            Kind::Webex => Codings::Chunked,
        },
    }
}

/// Attachments that the index of the disk tier knows, about half a kilobyte of memory each.
const DISK_FILES: usize = 65_536;

fn count(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}
