use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn gate(rate: f64) -> Gate {
    let rate = Rate::new(rate).unwrap();
    let core = CoreSettings {
        start_rate: rate,
        ceiling: rate,
        burst: 1,
        max_waiting: 1000,
        max_gate: SECOND * 3600,
    };
    let gate = Gate::new(&GateSettings { mode: Mode::Enforce, core, max_wait: SECOND * 25 });
    let dispatcher = gate.clone();
    tokio::spawn(async move { dispatcher.run().await });
    gate
}

fn ticket(gate: &Gate) -> Ticket {
    gate.ticket(&Slot::for_tests(1))
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
async fn a_gate_that_is_off_holds_nobody() {
    let rate = Rate::new(0.1).unwrap();
    let core = CoreSettings { start_rate: rate, ceiling: rate, burst: 1, max_waiting: 1, max_gate: SECOND };
    let gate = Gate::new(&GateSettings { mode: Mode::Off, core, max_wait: SECOND });
    for _ in 0..100 {
        gate.acquire(&mut ticket(&gate)).await.unwrap().spend();
    }
}
