//! Decides after each attempt whether the request is sent again (GATE 8): what happened, how often, how soon.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use http::{Method, Response, StatusCode};
use tokio::time::Instant;

use crate::body::Body;
use crate::gate::{Wait, retry_after};
use crate::route::Route;

use super::{Failed, ReplayEvent, RetryBudget, may_replay};

/// What may be sent again at all.
#[derive(Debug, Clone, Copy)]
pub struct ReplaySettings {
    /// 502, 503, 504, resets and timeouts.
    pub faults: bool,
    /// 429.
    pub throttled: bool,
}

/// Shares one retry budget among all requests.
#[derive(Debug)]
pub struct Replayer {
    state: Mutex<(ReplaySettings, RetryBudget)>,
}

/// The attempts of one request.
#[derive(Debug, Default)]
pub struct Attempts {
    made: u32,
    faults: u32,
}

/// What follows from an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Send it again after this pause, which counts as time in line.
    Again(ReplayEvent, Duration),
    /// This is the answer.
    Done,
}

impl Attempts {
    /// Attempts made so far.
    pub fn made(&self) -> u32 {
        self.made
    }
}

impl Replayer {
    /// A full budget.
    pub fn new(settings: ReplaySettings, now: Instant) -> Self {
        Self { state: Mutex::new((settings, RetryBudget::new(now))) }
    }

    /// Takes new settings; the budget stays.
    pub fn reconfigure(&self, settings: ReplaySettings) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).0 = settings;
    }

    /// Judges an attempt. `is_repeatable` says whether the body can be sent again.
    pub fn after(
        &self,
        attempts: &mut Attempts,
        request: (&Method, &Route),
        is_repeatable: bool,
        result: &Result<Response<Body>, Failed>,
        now: (Instant, SystemTime),
    ) -> Next {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let (settings, budget) = &mut *state;
        if attempts.made == 0 {
            budget.deposit(now.0);
        }
        attempts.made += 1;
        let Some((event, pause)) = event(result, now.1) else { return Next::Done };
        let is_wanted = match event {
            ReplayEvent::Fault => settings.faults && attempts.faults < MAX_FAULTS,
            ReplayEvent::Throttled => settings.throttled,
            ReplayEvent::HeadersSent | ReplayEvent::Locked | ReplayEvent::NeverSent => true,
        };
        let costs_budget = matches!(event, ReplayEvent::Fault | ReplayEvent::NeverSent);
        let may = is_wanted
            && is_repeatable
            && attempts.made < MAX_ATTEMPTS
            && may_replay(event, request.0, request.1)
            && (!costs_budget || budget.withdraw(now.0));
        if !may {
            return Next::Done;
        }
        attempts.faults += u32::from(costs_budget);
        Next::Again(event, pause.unwrap_or_else(|| jitter(attempts.faults)))
    }
}

/// What happened, and the pause that the API asks for, if it does; none for a usable answer.
fn event(
    result: &Result<Response<Body>, Failed>,
    wall: SystemTime,
) -> Option<(ReplayEvent, Option<Duration>)> {
    let response = match result {
        Ok(response) => response,
        Err(Failed::Untaken(_)) => return Some((ReplayEvent::NeverSent, Some(Duration::ZERO))),
        Err(
            Failed::Connect { .. }
            | Failed::Handshake { .. }
            | Failed::Resolve { .. }
            | Failed::ProxyBroken { .. },
        ) => {
            return Some((ReplayEvent::NeverSent, None));
        }
        Err(failed @ (Failed::Broken(_) | Failed::TimedOut { .. })) if failed.was_sent() => {
            return Some((ReplayEvent::Fault, None));
        }
        Err(_) => return None,
    };
    match (response.status(), retry_after(response.headers(), wall)) {
        // The gate knows how long to wait.
        (StatusCode::TOO_MANY_REQUESTS, _) => Some((ReplayEvent::Throttled, Some(Duration::ZERO))),
        (StatusCode::LOCKED, Wait::Stated(wait)) => {
            Some((ReplayEvent::Locked, Some(wait.max(SHORTEST_SCAN))))
        }
        (StatusCode::SERVICE_UNAVAILABLE, Wait::Stated(_)) => {
            Some((ReplayEvent::Fault, Some(Duration::ZERO)))
        }
        (StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT, _) => {
            Some((ReplayEvent::Fault, None))
        }
        _ => None,
    }
}

/// Full jitter: anything from nothing to 100 ms, doubled for each fault before.
fn jitter(faults: u32) -> Duration {
    let most = 100_u64 << faults.min(5);
    Duration::from_millis(u64::from(uuid::Uuid::new_v4().as_fields().0) % most)
}

/// GATE 8: more than these only burn tokens.
const MAX_ATTEMPTS: u32 = 8;
/// An API that fails three times in a row needs rest, not requests.
const MAX_FAULTS: u32 = 2;
/// A scan that claims to take no time is asked again after this.
const SHORTEST_SCAN: Duration = Duration::from_millis(500);
