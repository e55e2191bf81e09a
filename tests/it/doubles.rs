//! Nothing that changes something is done twice, whatever breaks and however large it is (GATE 9.8).

use std::time::Duration;

use serde_json::json;
use tollgate::body::Body;

use crate::world::world;

/// Injected faults; `FAULTS=100000 cargo test --test it doubles` at compile time for the figure of GATE 9.
const FAULTS: Option<&str> = option_env!("FAULTS");
/// A world keeps a log of what it saw: a new one now and then keeps that short.
const PER_WORLD: usize = 250;

const METHODS: &[&str] = &["POST", "PUT", "PATCH", "DELETE", "GET", "HEAD"];
/// In memory, at its border, and too large for it: these stream once, for this world has no spool.
const BODY_BYTES: &[usize] = &[0, 200, 65_536, 65_537, 200_000];

fn faults() -> Vec<serde_json::Value> {
    let mut faults: Vec<_> = ["before", "reset", "stream"].map(|how| json!({ "close": how })).into();
    faults.extend([502, 503, 504, 500, 409].map(|status| json!({ "status": status })));
    faults.push(json!({"status": 503, "headers": {"retry-after": "1"}}));
    faults.push(json!({"status": 429, "headers": {"retry-after": "1"}}));
    faults.push(json!({"status": 429, "n": 3}));
    faults.push(json!({"truncate": 3}));
    faults
}

#[tokio::test(start_paused = true)]
async fn no_fault_makes_a_change_happen_twice() {
    let total = FAULTS.and_then(|count| count.parse().ok()).unwrap_or(3_000);
    let faults = faults();
    for first in (0..total).step_by(PER_WORLD) {
        let world = world().max_wait(Duration::from_secs(3600)).start();
        let bot = world.bot("writer").with("content-type", "application/octet-stream");
        for number in first..total.min(first + PER_WORLD) {
            let method = METHODS[number % METHODS.len()];
            let bytes = BODY_BYTES[number / METHODS.len() % BODY_BYTES.len()];
            let fault = &faults[number / (METHODS.len() * BODY_BYTES.len()) % faults.len()];
            world.force(fault.clone());
            let body = if matches!(method, "GET" | "HEAD") { 0 } else { bytes };
            let path = format!("/v1/rooms?n={number}");
            bot.send(method, &path, Body::whole(vec![b'x'; body])).await;
            let wanted = format!("n={number}");
            let seen = world.seen().into_iter().filter(|seen| seen.query() == wanted);
            // A 429 says that nothing was done; everything else may have had its effect.
            let effects = seen.filter(|seen| seen.status != 429).count();
            let is_safe = matches!(method, "GET" | "HEAD");
            world.control("reset", json!({"only": "counters"}));
            assert!(is_safe || effects <= 1, "{method} of {body} bytes had {effects} effects after {fault}");
        }
    }
}
