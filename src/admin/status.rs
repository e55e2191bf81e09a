//! What `/status` says: who waits, which gate is closed and until when, and why.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::Arc;

use serde_json::{Value, json};

use crate::gate::{GateView, Glance, NodeKey, RoomKey};
use crate::words::TenantId;

use super::{Readiness, View};

/// The whole page.
pub(super) fn page(view: &View) -> Value {
    let View { gauges, names, readiness } = view;
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "ready": *readiness == Readiness::Ready,
        "gate": gate(&gauges.gate, names),
        "cache": { "entries": gauges.cache_entries, "bytes": gauges.cache_bytes, "evictions": gauges.cache_evictions },
        "spool_bytes": gauges.spool_bytes,
        "connections": { "clients": gauges.connections, "upstream": gauges.upstream_connections },
    })
}

fn gate(gate: &Glance, names: &HashMap<TenantId, Arc<str>>) -> Value {
    let is_shut = |view: &&GateView| view.closed_for.is_some() || view.is_half_open;
    let mut shut: Vec<_> = gate.gates.iter().filter(is_shut).collect();
    shut.sort_unstable_by_key(|view| (Reverse(view.closed_for), view.key));
    let mut verdicts = gate.verdicts.clone();
    verdicts.sort_unstable();
    json!({
        "scope": gate.scope.as_str(),
        "closed": gate.egress.closed_for.is_some(),
        "half_open": gate.egress.is_half_open,
        "remaining_seconds": remaining(&gate.egress),
        "rate_per_second": gate.egress.rate.per_second(),
        "ceiling_per_second": gate.ceiling_per_second,
        "waiting": gate.waiting,
        "oldest_waited_seconds": gate.oldest_waited.as_secs_f64(),
        "in_flight": gate.in_flight,
        "gates": shut.into_iter().take(MAX_GATES).map(|view| narrow(view, names)).collect::<Vec<_>>(),
        "verdicts": verdicts.into_iter().map(|(family, level)| json!({
            "family": family.segment, "access": family.access.as_str(), "level": level.as_str(),
        })).collect::<Vec<_>>(),
    })
}

/// A tenant is told by its name, or as in the log by the first digits of its hash.
fn narrow(view: &GateView, names: &HashMap<TenantId, Arc<str>>) -> Value {
    let family = view.key.family();
    let name = |tenant: TenantId| names.get(&tenant).map_or_else(|| tenant.to_string(), ToString::to_string);
    json!({
        "level": view.key.level().as_str(),
        "tenant": view.key.tenant().map(name),
        "family": family.map(|family| family.segment),
        "access": family.map(|family| family.access.as_str()),
        "room": match view.key {
            NodeKey::Room(_, _, RoomKey(room)) => Some(format!("{room:016x}")),
            NodeKey::Egress | NodeKey::Family(..) | NodeKey::Tenant(_) => None,
        },
        "closed": view.closed_for.is_some(),
        "remaining_seconds": remaining(view),
        "rate_per_second": view.rate.per_second(),
    })
}

fn remaining(view: &GateView) -> f64 {
    view.closed_for.unwrap_or_default().as_secs_f64()
}

/// More than a person reads; a fleet that is closed one by one may have thousands.
const MAX_GATES: usize = 200;
