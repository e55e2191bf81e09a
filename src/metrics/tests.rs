//! Holds names, help texts and labels of every series.

use std::time::Duration;

use super::*;
use crate::gate::{GateView, Level, LineView, Mode, NodeKey, PROBATION, Rate, RoomKey, Scope};
use crate::machine::{self, Pressure};
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
    let line =
        |tenant, waiting, seconds| LineView { tenant, waiting, oldest_waited: Duration::from_secs(seconds) };
    let gate = Glance {
        mode: Mode::Enforce,
        waiting: 3,
        oldest_waited: Duration::from_millis(1500),
        lines: vec![line(PROBATION, 5, 2), line(one, 2, 3), line(two, 1, 4)],
        in_flight: 4,
        scope: Scope::Auto,
        ceiling_per_second: Some(50.0),
        egress: view(NodeKey::Egress, 12),
        closed_for_total: Level::ALL
            .map(|level| (level, Duration::from_secs(if level == Level::Egress { 9 } else { 2 }))),
        gates: vec![
            view(NodeKey::Tenant(one), 6),
            view(NodeKey::Tenant(two), 7),
            view(NodeKey::Family(one, rooms), 8),
            GateView { rate: Rate::new(4.0).unwrap(), ..view(NodeKey::Room(one, rooms, RoomKey(5)), 0) },
            GateView {
                rate: Rate::new(1.0).unwrap(),
                has_met_limit: false,
                ..view(NodeKey::Room(two, rooms, RoomKey(5)), 0)
            },
        ],
        verdicts: vec![(rooms, Level::Tenant)],
    };
    Gauges {
        taken_at: Instant::now(),
        gate,
        spool_bytes: 0.0,
        cache: cache::Glance { evicted: 7, ..cache::Glance::default() },
        connections: 0.0,
        upstream_connections: 0.0,
        tls_handshake_failures: HandshakeFailure::ALL.map(|reason| (reason, 3)).to_vec(),
        panics: 1,
        machine: machine::Glance {
            pressure: Pressure::Uploads,
            memory: Some((70, 100)),
            refused_requests: 2,
            refused_uploads: 3,
        },
        certificate_not_after: None,
        share: None,
    }
}

fn page(metrics: &Metrics, gauges: &Gauges) -> String {
    let names = HashMap::from([(TenantId::new([1; 16]), Arc::from("alerts"))]);
    String::from_utf8(metrics.render(gauges, &names)).unwrap()
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
        "gate_closed_seconds_total{scope=\"tenant\"} 2",
        "gate_verdict{access=\"write\",family=\"rooms\",level=\"tenant\"} 1",
        "rate_limit_ceiling_per_second{scope=\"egress\"} 50",
        "rate_limit_learned_per_second{scope=\"egress\"} 5",
        "rate_limit_learned_per_second{scope=\"room\"} 4",
        "requests_in_flight 4",
    ] {
        assert!(text.contains(&format!("\ntollgate_{line}\n")), "{line}: {text}");
    }
}

#[test]
fn lines_are_told_by_name_and_strangers_together() {
    let text = page(&Metrics::new().unwrap(), &gauges());
    for line in [
        "queue_depth{tenant=\"alerts\"} 2",
        "queue_depth{tenant=\"unlisted\"} 6",
        "queue_oldest_age_seconds{tenant=\"alerts\"} 3",
        "queue_oldest_age_seconds{tenant=\"unlisted\"} 4",
    ] {
        assert!(text.contains(&format!("\ntollgate_{line}\n")), "{line}: {text}");
    }
}

#[test]
fn a_reload_shows_whether_and_since_when_it_is_in_force() {
    let metrics = Metrics::new().unwrap();
    let at = |seconds| UNIX_EPOCH + Duration::from_secs(seconds);
    for (is_applied, seconds, shown) in [(true, 100, (1, 100)), (false, 200, (0, 100)), (true, 300, (1, 300))]
    {
        metrics.reloaded(is_applied, at(seconds));
        let text = page(&metrics, &gauges());
        assert!(text.contains(&format!("\ntollgate_config_last_reload_successful {}\n", shown.0)));
        let line = format!("\ntollgate_config_last_reload_success_timestamp_seconds {}\n", shown.1);
        assert!(text.contains(&line), "{text}");
    }
}

#[test]
fn without_a_certificate_none_ends() {
    let metrics = Metrics::new().unwrap();
    let text = page(&metrics, &Gauges { certificate_not_after: Some(7.0), ..gauges() });
    assert!(text.contains("\ntollgate_tls_certificate_not_after_timestamp_seconds 7\n"), "{text}");
    assert!(!page(&metrics, &gauges()).contains("not_after"));
}

#[test]
fn a_share_is_shown_where_there_is_one() {
    let metrics = Metrics::new().unwrap();
    assert!(!page(&metrics, &gauges()).contains("tollgate_share_up"));
    metrics.share_called(crate::share::Answered::Ok, Duration::from_micros(300));
    let glance = crate::share::Glance {
        server: "redis://redis.example:6379".to_owned(),
        is_up: true,
        members: 4,
        part: 0.5,
        fallback_grants: 7,
        trouble: None,
        troubles: vec![(crate::share::TroubleKind::Message, 2)],
    };
    let text = page(&metrics, &Gauges { share: Some(glance), ..gauges() });
    for line in [
        "share_up 1",
        "share_members 4",
        "share_part_ratio 0.5",
        "share_fallback_grants_total 7",
        "share_errors_total{kind=\"message\"} 2",
        "share_errors_total{kind=\"auth\"} 0",
        "share_calls_total{result=\"ok\"} 1",
        "share_call_duration_seconds_bucket{le=\"0.0005\"} 1",
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
