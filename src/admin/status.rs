//! What `/status` says: who waits, which gate is closed and until when, and why. `docs/status.schema.json` describes it.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::gate::{GateView, Glance, LineView, NodeKey, PROBATION, RoomKey};
use crate::metrics::{Pace, RecentView, Refusal};
use crate::share;
use crate::words::TenantId;

use super::{Readiness, View};

/// The whole page; `history` as the feed shows it.
pub(super) fn page(view: &View, history: &Value) -> Value {
    let View { gauges, recent, .. } = view;
    let names = Names(&view.names);
    let at = view.wall.duration_since(UNIX_EPOCH).unwrap_or_default();
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "upstream": &*view.upstream,
        "at": seconds(at),
        "up_seconds": seconds(view.up_for),
        "ready": view.readiness == Readiness::Ready,
        "gate": gate(&gauges.gate, names),
        "cache": {
            "entries": gauges.cache.entries,
            "bytes": gauges.cache.bytes,
            "evictions": gauges.cache.evicted,
            "hit_ratio": hit_ratio(recent),
            "calls_saved": recent.calls_saved,
            "bytes_saved": recent.bytes_saved,
        },
        "requests": { "answered": recent.answered, "refused": recent.refused },
        "refusals": recent.refusals.iter().map(|refusal| refused(refusal, view, names)).collect::<Vec<_>>(),
        "slowest": recent.slowest.iter().map(|pace| slow(pace, names)).collect::<Vec<_>>(),
        "history": history,
        "spool_bytes": gauges.spool_bytes,
        "memory": {
            "used_bytes": gauges.machine.memory.map(|(used, _)| used),
            "limit_bytes": gauges.machine.memory.map(|(_, limit)| limit),
            "refused": gauges.machine.pressure.as_str(),
        },
        "share": gauges.share.as_ref().map(share),
        "connections": { "clients": gauges.connections, "upstream": gauges.upstream_connections },
    })
}

/// Milliseconds are as much as anybody reads.
pub(super) fn rounded(number: f64) -> f64 {
    (number * 1000.0).round() / 1000.0
}

fn seconds(duration: Duration) -> f64 {
    rounded(duration.as_secs_f64())
}

/// A tenant is told by its name, or as in the log by the first digits of its hash.
#[derive(Clone, Copy)]
struct Names<'a>(&'a HashMap<TenantId, Arc<str>>);

impl Names<'_> {
    fn of(self, tenant: TenantId) -> String {
        match self.0.get(&tenant) {
            Some(name) => name.to_string(),
            None if tenant == PROBATION => STRANGERS.to_owned(),
            None => tenant.to_string(),
        }
    }
}

fn gate(gate: &Glance, names: Names<'_>) -> Value {
    let is_shut = |view: &&GateView| view.closed_for.is_some() || view.is_half_open;
    let mut shut: Vec<_> = gate.gates.iter().filter(is_shut).collect();
    let shut_gates = shut.len();
    shut.sort_unstable_by_key(|view| (Reverse(view.closed_for), view.key));
    let mut verdicts = gate.verdicts.clone();
    verdicts.sort_unstable();
    json!({
        "mode": gate.mode.as_str(),
        "scope": gate.scope.as_str(),
        "closed": gate.egress.closed_for.is_some(),
        "half_open": gate.egress.is_half_open,
        "remaining_seconds": remaining(&gate.egress),
        "rate_per_second": rounded(gate.egress.rate.per_second()),
        "ceiling_per_second": gate.ceiling_per_second,
        "waiting": gate.waiting,
        "oldest_waited_seconds": seconds(gate.oldest_waited),
        "lines": gate.lines.iter().take(MAX_LINES).map(|view| line(view, names)).collect::<Vec<_>>(),
        "lines_waiting": gate.lines.len(),
        "in_flight": gate.in_flight,
        "gates": shut.into_iter().take(MAX_GATES).map(|view| narrow(view, names)).collect::<Vec<_>>(),
        "gates_shut": shut_gates,
        "verdicts": verdicts.into_iter().map(|(family, level)| json!({
            "family": family.segment, "access": family.access.as_str(), "level": level.as_str(),
        })).collect::<Vec<_>>(),
    })
}

fn share(share: &share::Glance) -> Value {
    json!({
        "server": share.server,
        "up": share.is_up,
        "members": share.members,
        "part": rounded(share.part),
        "fallback_grants": share.fallback_grants,
        "trouble": share.trouble.as_ref().map(|trouble| json!({
            "kind": trouble.kind.as_str(),
            "text": trouble.text,
        })),
    })
}

fn line(line: &LineView, names: Names<'_>) -> Value {
    json!({
        "tenant": names.of(line.tenant),
        "waiting": line.waiting,
        "oldest_waited_seconds": seconds(line.oldest_waited),
    })
}

fn narrow(view: &GateView, names: Names<'_>) -> Value {
    let family = view.key.family();
    json!({
        "level": view.key.level().as_str(),
        "tenant": view.key.tenant().map(|tenant| names.of(tenant)),
        "family": family.map(|family| family.segment),
        "access": family.map(|family| family.access.as_str()),
        "room": match view.key {
            NodeKey::Room(_, _, RoomKey(room)) => Some(format!("{room:016x}")),
            NodeKey::Egress | NodeKey::Family(..) | NodeKey::Tenant(_) => None,
        },
        "closed": view.closed_for.is_some(),
        "remaining_seconds": remaining(view),
        "rate_per_second": rounded(view.rate.per_second()),
    })
}

fn refused(refusal: &Refusal, view: &View, names: Names<'_>) -> Value {
    json!({
        "seconds_ago": seconds(view.now.saturating_duration_since(refusal.last_at)),
        "tenant": refusal.tenant.map(|tenant| names.of(tenant)),
        "route": refusal.route.as_str(),
        "reason": refusal.reason.as_str(),
        "retry_after_seconds": refusal.retry_after.map(seconds),
        "times": refusal.times,
    })
}

#[allow(clippy::as_conversions, reason = "a mean of counts: a float has room for more than will ever be")]
fn slow(pace: &Pace, names: Names<'_>) -> Value {
    let requests = pace.requests.max(1) as f64;
    json!({
        "tenant": names.of(pace.tenant),
        "requests": pace.requests,
        "mean_wait_seconds": rounded(pace.waited.as_secs_f64() / requests),
        "mean_upstream_seconds": rounded(pace.upstream_for.as_secs_f64() / requests),
        "slowest_seconds": seconds(pace.slowest),
    })
}

/// Calls saved by requests that the cache had a say in; none before there was one.
#[allow(clippy::as_conversions, reason = "a ratio of counts")]
fn hit_ratio(recent: &RecentView) -> Option<f64> {
    (recent.cacheable > 0).then(|| rounded(recent.calls_saved as f64 / recent.cacheable as f64))
}

fn remaining(view: &GateView) -> f64 {
    seconds(view.closed_for.unwrap_or_default())
}

/// More than a person reads; a fleet that is closed one by one may have thousands.
const MAX_GATES: usize = 200;
/// What a person takes in at a glance.
const MAX_LINES: usize = 20;
/// The line of all tokens that the API has not accepted yet.
const STRANGERS: &str = "strangers";
