//! Holds the shell in paused time: waiting, leaving, observing, and what requests may claim.

use super::*;

use std::collections::HashMap;

use http::Request;

use crate::route::{Hosts, Kind, Router, RouterSettings};
use crate::words::{Base, Scheme};

use super::core::{Class, Order, Size};

const SECOND: Duration = Duration::from_secs(1);

fn settings(rate: f64, mode: Mode) -> GateSettings {
    let rate = Rate::new(rate).unwrap();
    GateSettings {
        mode,
        core: CoreSettings {
            scope: Scope::Fixed(Level::Egress),
            start_rate: rate,
            pin: rate,
            burst: 1,
            ceiling: None,
            tenant_ceilings: Vec::new(),
            max_in_flight: 1000,
            max_waiting: 1000,
            max_waiting_bytes: 1 << 30,
            max_tenant_waiting: 1000,
            max_tenant_bytes: 1 << 30,
            max_gates: 100,
            max_gate: SECOND * 3600,
        },
        claims: ClaimSettings {
            max_wait: SECOND * 25,
            max_prefer_wait: SECOND * 60,
            tenants: HashMap::new(),
        },
        max_tenants: 100,
    }
}

fn gate(rate: f64) -> Gate {
    let gate = Gate::new(settings(rate, Mode::Enforce));
    let dispatcher = gate.clone();
    tokio::spawn(async move { dispatcher.run().await });
    gate
}

fn ticket(gate: &Gate) -> Ticket {
    ticket_for(gate, "GET", "/v1/people/me", &[])
}

fn ticket_for(gate: &Gate, method: &str, path: &str, fields: &[(&str, &str)]) -> Ticket {
    let mut request = Request::builder().method(method).uri(path).header("host", "localhost");
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    let head = request.body(()).unwrap().into_parts().0;
    let router = Router::new(RouterSettings {
        upstream: Base { scheme: Scheme::Https, authority: "webexapis.com".parse().unwrap() },
        aliases: Vec::new(),
        kind: Kind::Webex,
        hosts: Hosts::Any,
        public_base: None,
        via: "tollgate-1".into(),
        max_uri_bytes: 8192,
        max_fields: 64,
    });
    let route = router.find(Scheme::Https, &head).unwrap();
    gate.ticket(&Slot::for_tests(1), &route, &head, Load { length: Some(0), bytes: Some(&[]) })
}

#[tokio::test(start_paused = true)]
async fn eighty_waiters_stay_silent_for_the_stated_time_then_one_goes() {
    let gate = gate(1000.0);
    let permit = gate.acquire(&mut ticket(&gate)).await.unwrap();
    gate.learn(permit.spend(), Signal::throttled(Wait::Stated(SECOND * 3)));
    let start = Instant::now();
    let (went, mut arrivals) = tokio::sync::mpsc::channel(100);
    for _ in 0..80 {
        let (gate, went) = (gate.clone(), went.clone());
        tokio::spawn(async move {
            let permit = gate.acquire(&mut ticket(&gate)).await.unwrap();
            went.send((start.elapsed(), permit.spend())).await.unwrap();
        });
    }
    let (waited, probe) = arrivals.recv().await.unwrap();
    assert!(waited >= SECOND * 3 && waited <= SECOND * 33 / 10 + Duration::from_millis(2), "{waited:?}");
    assert!(
        tokio::time::timeout(SECOND * 5, arrivals.recv()).await.is_err(),
        "a second request passed a half-open gate"
    );
    gate.learn(probe, Signal::accepted());
    drop(went);
    for _ in 0..79 {
        let (_, receipt) = arrivals.recv().await.unwrap();
        gate.learn(receipt, Signal::accepted());
    }
}

#[tokio::test(start_paused = true)]
async fn a_waiter_that_goes_away_leaves_the_line_and_costs_no_token() {
    let gate = gate(1.0);
    gate.acquire(&mut ticket(&gate)).await.unwrap().spend();
    let mut place = ticket(&gate);
    assert!(tokio::time::timeout(SECOND / 2, gate.acquire(&mut place)).await.is_err());
    assert_eq!(gate.glance().waiting, 0);
    let start = Instant::now();
    gate.acquire(&mut ticket(&gate)).await.unwrap().spend();
    assert_eq!(start.elapsed().as_millis(), 500);
}

#[tokio::test(start_paused = true)]
async fn a_dropped_permit_gives_its_token_back() {
    let gate = gate(0.1);
    drop(gate.acquire(&mut ticket(&gate)).await.unwrap());
    let start = Instant::now();
    gate.acquire(&mut ticket(&gate)).await.unwrap().spend();
    assert_eq!(start.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn time_in_line_adds_up_over_replays() {
    let gate = gate(0.1);
    gate.acquire(&mut ticket(&gate)).await.unwrap().spend();
    let mut place = ticket(&gate);
    for expected in [10, 20] {
        gate.acquire(&mut place).await.unwrap().spend();
        assert_eq!(place.waited().as_secs(), expected);
    }
    let refused = gate.acquire(&mut place).await.unwrap_err();
    assert_eq!(refused.reason, Reason::Deadline);
}

#[tokio::test(start_paused = true)]
async fn an_hour_is_refused_at_once_with_the_true_time() {
    let gate = gate(10.0);
    let permit = gate.acquire(&mut ticket(&gate)).await.unwrap();
    gate.learn(permit.spend(), Signal::throttled(Wait::Stated(SECOND * 3600)));
    let first = gate.acquire(&mut ticket(&gate)).await.unwrap_err().retry_after;
    tokio::time::advance(SECOND * 600).await;
    let later = gate.acquire(&mut ticket(&gate)).await.unwrap_err().retry_after;
    assert!(first >= SECOND * 3600 && first <= SECOND * 3602, "{first:?}");
    assert_eq!((first - later).as_secs(), 600);
}

#[tokio::test(start_paused = true)]
async fn the_end_refuses_in_time_and_answers_by_its_last_instant() {
    let gate = gate(0.5);
    gate.acquire(&mut ticket(&gate)).await.unwrap().spend();
    let (mut near, mut far) = (ticket(&gate), ticket(&gate));
    let start = Instant::now();
    let ending = Ending { turns_until: start + SECOND * 3, answers_until: start + SECOND * 5 };
    let ends = async {
        tokio::task::yield_now().await;
        gate.end(ending);
    };
    let (went, refused, ()) = tokio::join!(gate.acquire(&mut near), gate.acquire(&mut far), ends);
    assert!(went.is_ok());
    assert_eq!(refused.unwrap_err().reason, Reason::Shutdown);
    assert_eq!(gate.unless_over(async { 7 }).await, Ok(7));
    let over = gate.unless_over(std::future::pending::<()>()).await.unwrap_err();
    assert_eq!((over.reason, start.elapsed()), (Reason::Shutdown, SECOND * 5));
    assert!(over.retry_after >= SECOND);
    assert!(!gate.pause(&mut ticket(&gate), SECOND).await, "nothing is tried again after the end");
}

#[tokio::test(start_paused = true)]
async fn a_gate_that_is_off_holds_nobody() {
    let gate = Gate::new(settings(0.1, Mode::Off));
    for _ in 0..100 {
        gate.acquire(&mut ticket(&gate)).await.unwrap().spend();
    }
}

#[tokio::test(start_paused = true)]
async fn a_gate_that_observes_holds_nobody_and_says_what_it_would_have_done() {
    let gate = Gate::new(settings(0.1, Mode::Observe));
    let mut waits = Vec::new();
    for _ in 0..3 {
        let mut ticket = ticket(&gate);
        gate.acquire(&mut ticket).await.unwrap().spend();
        waits.push(ticket.observed().unwrap().as_secs());
    }
    assert_eq!(waits, [0, 10, 20]);
    assert_eq!(gate.glance().waiting, 0);
}

#[tokio::test(start_paused = true)]
async fn a_client_may_say_how_long_it_waits() {
    let gate = gate(0.1);
    gate.acquire(&mut ticket(&gate)).await.unwrap().spend();
    let now = ticket_for(&gate, "GET", "/v1/rooms", &[("prefer", "respond-async, wait=0")]);
    let longer = ticket_for(&gate, "GET", "/v1/rooms", &[("prefer", "wait=40")]);
    let too_long = ticket_for(&gate, "GET", "/v1/rooms", &[("prefer", "wait=9999")]);
    let odd = ticket_for(&gate, "GET", "/v1/rooms", &[("prefer", "wait=soon")]);
    let waits = [&now, &longer, &too_long, &odd].map(|ticket| ticket.claim.max_wait.as_secs());
    assert_eq!(waits, [0, 40, 60, 25]);
    let mut now = now;
    let refused = gate.acquire(&mut now).await.unwrap_err();
    assert_eq!((refused.reason, refused.retry_after.as_secs()), (Reason::Deadline, 10));
}

#[tokio::test(start_paused = true)]
async fn strangers_share_one_line_until_the_api_has_served_them() {
    let gate = gate(1.0);
    let first = ticket(&gate);
    assert_eq!(first.line, PROBATION);
    gate.welcome(&first);
    assert_eq!(ticket(&gate).line, first.claim.path.tenant);
}

#[test]
fn a_request_claims_what_it_is() {
    let gate = Gate::new(settings(1.0, Mode::Enforce));
    for (method, path, fields, order, size, class, has_room) in [
        ("GET", "/v1/rooms", &[][..], Order::Free, Size::Probe, Class::READ, false),
        ("GET", "/v1/messages?roomId=r&max=1", &[], Order::Free, Size::Probe, Class::READ, true),
        ("GET", "/v1/contents/Y2lz", &[], Order::Free, Size::Small, Class::READ, false),
        ("HEAD", "/v1/contents/Y2lz", &[], Order::Free, Size::Probe, Class::READ, false),
        ("DELETE", "/v1/messages/Y2lz", &[], Order::Free, Size::Small, Class::WRITE, false),
        ("PUT", "/v1/rooms/Y2lz", &[], Order::Strict, Size::Small, Class::WRITE, true),
        (
            "POST",
            "/v1/messages",
            &[("content-type", "multipart/form-data; boundary=x")],
            Order::Strict,
            Size::Small,
            Class::WRITE,
            false,
        ),
        ("GET", "/v1/rooms", &[("priority", "u=7, i")], Order::Free, Size::Probe, Class::BACKGROUND, false),
        ("GET", "/v1/rooms", &[("priority", "u=9")], Order::Free, Size::Probe, Class::READ, false),
    ] {
        let claim = ticket_for(&gate, method, path, fields).claim;
        assert_eq!(
            (claim.order, claim.size, claim.class, claim.path.room.is_some()),
            (order, size, class, has_room),
            "{method} {path}"
        );
    }
}
