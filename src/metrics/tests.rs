//! Holds names, help texts and labels of every series.

use std::time::Duration;

use super::*;
use crate::gate::{GateView, Level, LineView, Mode, NodeKey, PROBATION, Rate, RoomKey, Scope};
use crate::route::{Access, Family};
use crate::words::TenantId;

pub(crate) fn view(key: NodeKey, closed_for: u64) -> GateView {
    GateView {
        key,
        closed_for: Some(Duration::from_secs(closed_for)).filter(|wait| !wait.is_zero()),
        is_half_open: false,
        rate: Rate::new(5.0).unwrap(),
        has_met_limit: true,
    }
}

/// Some of everything.
pub(crate) fn gauges() -> Gauges {
    let rooms = Family::named("rooms", Access::Write).unwrap();
    let [one, two] = [1, 2].map(|id| TenantId::new([id; 16]));
    let gate = Glance {
        mode: Mode::Enforce,
        waiting: 3,
        oldest_waited: Duration::from_millis(1500),
        lines: vec![
            LineView { tenant: one, waiting: 2, oldest_waited: Duration::from_millis(1500) },
            LineView { tenant: PROBATION, waiting: 1, oldest_waited: Duration::from_millis(250) },
        ],
        lines_waiting: 2,
        in_flight: 4,
        scope: Scope::Auto,
        ceiling_per_second: Some(50.0),
        egress: view(NodeKey::Egress, 12),
        egress_closed_for_total: Duration::from_secs(9),
        gates: vec![
            view(NodeKey::Tenant(one), 6),
            view(NodeKey::Tenant(two), 7),
            view(NodeKey::Family(one, rooms), 8),
            view(NodeKey::Room(one, rooms, RoomKey(5)), 0),
        ],
        verdicts: vec![(rooms, Level::Tenant)],
    };
    Gauges {
        gate,
        spool_bytes: 0.0,
        cache_entries: 0.0,
        cache_bytes: 0.0,
        cache_evictions: 7,
        connections: 0.0,
        upstream_connections: 0.0,
        tls_handshake_failures: 0,
        certificate_not_after: None,
    }
}

fn page(metrics: &Metrics, gauges: &Gauges) -> String {
    String::from_utf8(metrics.render(gauges)).unwrap()
}

#[test]
fn every_gate_counts_at_its_own_level() {
    let metrics = Metrics::new().unwrap();
    page(&metrics, &gauges());
    let text = page(&metrics, &gauges());
    for line in [
        "config_last_reload_successful 1",
        "gate_closed{scope=\"egress\"} 1",
        "gate_closed{scope=\"tenant\"} 2",
        "gate_closed{scope=\"route\"} 1",
        "gate_closed{scope=\"room\"} 0",
        "gate_remaining_seconds{scope=\"egress\"} 12",
        "gate_remaining_seconds{scope=\"tenant\"} 7",
        "gate_closed_seconds_total{scope=\"egress\"} 9",
        "gate_verdict{access=\"write\",family=\"rooms\",level=\"tenant\"} 1",
        "rate_limit_ceiling_per_second{scope=\"egress\"} 50",
        "rate_limit_learned_per_second{scope=\"egress\"} 5",
        "requests_in_flight 4",
    ] {
        assert!(text.contains(&format!("\ntollgate_{line}\n")), "{line}: {text}");
    }
}

#[test]
fn what_is_forgotten_leaves_the_page() {
    let metrics = Metrics::new().unwrap();
    page(&metrics, &gauges());
    let mut later = gauges();
    later.gate.verdicts.clear();
    later.gate.ceiling_per_second = None;
    let text = page(&metrics, &later);
    assert!(!text.contains("gate_verdict{") && !text.contains("ceiling_per_second{"), "{text}");
}

#[test]
fn every_series_has_our_prefix_a_help_text_and_a_unit() {
    let metrics = Metrics::new().unwrap();
    page(&metrics, &gauges());
    let text = page(&metrics, &gauges());
    assert!(text.contains("tollgate_cache_evictions_total{reason=\"size\"} 7"), "{text}");
    assert!(text.contains("\nprocess_resident_memory_bytes"), "{text}");
    let names = text.lines().filter_map(|line| line.strip_prefix("# HELP "));
    assert!(names.clone().count() > 20);
    assert!(names.clone().all(|name| name.starts_with("tollgate_") || name.starts_with("process_")));
}
