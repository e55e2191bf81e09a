//! Holds what the gate remembers over a restart, and what it will not believe.

use super::*;

use http::HeaderMap;
use serde_json::{Value, json};

use crate::admit::{Admittance, Doorman};
use crate::gate::{ClaimSettings, CoreSettings, GateSettings, Mode, Scope};

fn gate() -> Gate {
    let rate = Rate::new(5.0).unwrap();
    Gate::new(GateSettings {
        mode: Mode::Enforce,
        core: CoreSettings {
            scope: Scope::Auto,
            start_rate: rate,
            pin: Rate::MAX,
            burst: 5,
            ceiling: None,
            tenant_ceilings: Vec::new(),
            max_in_flight: 10,
            max_waiting: 10,
            max_waiting_bytes: 1000,
            max_tenant_waiting: 10,
            max_tenant_bytes: 1000,
            max_gates: 10,
            max_gate: Duration::from_secs(3600),
        },
        claims: ClaimSettings {
            max_wait: Duration::from_secs(25),
            max_prefer_wait: Duration::from_secs(25),
            tenants: std::collections::HashMap::new(),
        },
        max_tenants: 10,
    })
}

/// A memory in `dir` at so many seconds after a fixed moment.
fn memory(dir: &tempfile::TempDir, seconds: u64) -> Memory {
    let wall = UNIX_EPOCH + Duration::from_secs(1_700_000_000 + seconds);
    Memory::new(dir.path().to_owned(), gate(), Clock::starting_at(wall))
}

fn tenant() -> TenantId {
    let doorman = Doorman::new(b"key", &[], Admittance::Any);
    let mut headers = HeaderMap::new();
    headers.insert("authorization", "Bearer canary-7f3a".parse().unwrap());
    doorman.admit(&headers).unwrap().tenant()
}

fn reads(segment: &str) -> Family {
    Family::named(segment, Access::Read).unwrap()
}

fn view(key: NodeKey, closed_for: u64, rate: Option<f64>) -> GateView {
    GateView {
        key,
        closed_for: Some(Duration::from_secs(closed_for)).filter(|wait| !wait.is_zero()),
        is_half_open: false,
        rate: Rate::new(rate.unwrap_or(5.0)).unwrap(),
        has_met_limit: rate.is_some(),
    }
}

/// Every kind of gate, closed for 30 s or with a rate.
fn everything() -> Vec<Learned> {
    let room = NodeKey::Room(tenant(), reads("messages"), RoomKey(7));
    vec![
        Learned::Gate(view(NodeKey::Egress, 30, Some(2.5))),
        Learned::Gate(view(NodeKey::Tenant(tenant()), 0, Some(1.5))),
        Learned::Gate(view(NodeKey::Family(tenant(), reads("rooms")), 30, None)),
        Learned::Gate(view(room, 30, Some(0.25))),
        Learned::Verdict(reads("messages"), Level::Room),
    ]
}

fn keys(glance: &Glance) -> Vec<NodeKey> {
    let mut keys: Vec<_> = glance.gates.iter().map(|view| view.key).collect();
    keys.sort();
    keys
}

#[tokio::test(start_paused = true)]
async fn the_next_process_knows_what_the_last_one_knew() {
    let dir = tempfile::tempdir().unwrap();
    let last = memory(&dir, 0);
    last.gate.restore(everything());
    last.keep();
    let next = memory(&dir, 10);
    next.recall();
    let (before, after) = (last.gate.glance(), next.gate.glance());
    assert_eq!(after.egress.closed_for, Some(Duration::from_secs(20)));
    assert_eq!(after.egress.rate.per_second(), 2.5);
    assert_eq!((keys(&after), &after.verdicts), (keys(&before), &before.verdicts));
    let rate = |glance: &Glance, key| glance.gates.iter().find(|view| view.key == key).unwrap().rate;
    for key in keys(&before) {
        assert_eq!(rate(&after, key).per_second(), rate(&before, key).per_second());
    }
}

#[tokio::test(start_paused = true)]
async fn a_gate_whose_time_is_over_stays_open_and_an_old_verdict_is_forgotten() {
    let dir = tempfile::tempdir().unwrap();
    let last = memory(&dir, 0);
    last.gate.restore(everything());
    last.keep();
    let next = memory(&dir, 3601);
    next.recall();
    let glance = next.gate.glance();
    assert_eq!(glance.egress.closed_for, None);
    assert_eq!(glance.gates.iter().filter_map(|view| view.closed_for).count(), 0);
    assert_eq!((keys(&glance).len(), glance.verdicts.len()), (2, 0));
}

#[tokio::test(start_paused = true)]
async fn a_gate_that_met_no_limit_starts_anew() {
    let dir = tempfile::tempdir().unwrap();
    let last = memory(&dir, 0);
    last.gate.restore([Learned::Gate(view(NodeKey::Egress, 30, None))]);
    last.keep();
    let text = std::fs::read_to_string(dir.path().join(FILE)).unwrap();
    assert_eq!(serde_json::from_str::<Value>(&text).unwrap()["gates"][0]["rate_per_second"], Value::Null);
    let next = memory(&dir, 1);
    next.recall();
    assert!(!next.gate.glance().egress.has_met_limit);
}

#[tokio::test(start_paused = true)]
async fn the_file_is_written_only_when_something_changed_and_holds_no_credential() {
    let dir = tempfile::tempdir().unwrap();
    let last = memory(&dir, 0);
    last.gate.restore(everything());
    last.refresh();
    let text = std::fs::read_to_string(dir.path().join(FILE)).unwrap();
    assert!(text.contains(&tenant().hex()) && !text.contains("canary"), "{text}");
    std::fs::remove_file(dir.path().join(FILE)).unwrap();
    tokio::time::sleep(REFRESH_EVERY).await;
    last.refresh();
    assert!(!dir.path().join(FILE).exists());
    last.gate.restore([Learned::Gate(view(NodeKey::Egress, 0, Some(1.0)))]);
    last.refresh();
    assert!(dir.path().join(FILE).exists());
}

#[tokio::test(start_paused = true)]
async fn a_file_that_cannot_be_believed_is_as_good_as_none() {
    let dir = tempfile::tempdir().unwrap();
    let file =
        |gates: Value| json!({"version": 1, "saved_at": 1.7e9, "gates": gates, "verdicts": []}).to_string();
    let egress = |until: Value, rate: Value| {
        file(json!([{"level": "egress", "closed_until": until, "rate_per_second": rate}]))
    };
    let tenant_gate = |tenant: &str| {
        file(json!([{"level": "tenant", "tenant": tenant, "closed_until": null, "rate_per_second": 1.0}]))
    };
    let good = egress(json!(1.7e9 + 9.0), json!(1.0));
    for text in [
        String::new(),
        "{".to_owned(),
        "null".to_owned(),
        "[".repeat(100_000),
        good[..good.len() - 2].to_owned(),
        good.replace("\"version\":1", "\"version\":2"),
        good.replace("egress", "galaxy"),
        egress(json!(1.7e9 + 1e6), Value::Null),
        egress(json!(1e300), Value::Null),
        egress(Value::Null, json!(-1)),
        egress(Value::Null, json!(0)),
        egress(json!("soon"), json!(1)),
        tenant_gate("Bearer x"),
        tenant_gate(""),
        format!("{good}{}", " ".repeat(5_000_000)),
    ] {
        std::fs::write(dir.path().join(FILE), &text).unwrap();
        let next = memory(&dir, 0);
        next.recall();
        assert_eq!(next.gate.glance(), gate().glance(), "{}", text.get(..200).unwrap_or(&text));
    }
    std::fs::write(dir.path().join(FILE), good).unwrap();
    let next = memory(&dir, 0);
    next.recall();
    assert_eq!(next.gate.glance().egress.closed_for, Some(Duration::from_secs(9)));
}

#[tokio::test(start_paused = true)]
async fn a_family_that_this_version_cannot_name_is_left_out() {
    let dir = tempfile::tempdir().unwrap();
    let gate = |segment: &str| json!({"level": "route", "tenant": tenant().hex(), "family": [segment, "read"], "closed_until": null, "rate_per_second": 1.0});
    let verdict = |segment: &str| json!({"family": [segment, "write"], "level": "tenant"});
    let text = json!({
        "version": 1, "saved_at": 1.7e9,
        "gates": [gate("holograms"), gate("rooms")],
        "verdicts": [verdict("holograms"), verdict("rooms")],
    });
    std::fs::write(dir.path().join(FILE), text.to_string()).unwrap();
    let next = memory(&dir, 0);
    next.recall();
    let glance = next.gate.glance();
    assert_eq!(keys(&glance), [NodeKey::Family(tenant(), reads("rooms"))]);
    assert_eq!(glance.verdicts.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_directory_that_takes_no_file_stops_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let last = memory(&dir, 0);
    drop(dir);
    last.keep();
    last.refresh();
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_was_set_back_keeps_nothing_closed_for_longer() {
    let dir = tempfile::tempdir().unwrap();
    let last = memory(&dir, 7200);
    last.gate.restore(everything());
    last.keep();
    let next = memory(&dir, 0);
    next.recall();
    let egress = next.gate.glance().egress;
    assert!(egress.closed_for.is_some_and(|wait| wait <= Duration::from_secs(31)), "{egress:?}");
    assert_eq!(egress.rate.per_second(), 2.5);
}
