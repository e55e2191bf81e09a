//! Decides whether the operator's fixed ceilings leave room: governor is asked, never waited for (decision 0003).

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use governor::clock::Clock;
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};
use tokio::time::Instant;

use crate::words::TenantId;

/// A fixed ceiling, as an operator writes it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ceiling {
    /// Requests per second; at least one in eleven days, or it is no rate.
    pub rate: f64,
    /// Requests that may go at once.
    pub burst: NonZeroU32,
}

/// All ceilings of one gate.
#[derive(Debug)]
pub(super) struct Ceilings {
    time: Steps,
    origin: Instant,
    egress: Option<Kept>,
    tenants: HashMap<TenantId, Kept>,
}

/// A limiter, and the ceiling that it was made for.
#[derive(Debug)]
struct Kept {
    ceiling: Ceiling,
    limiter: Limiter,
}

type Limiter = RateLimiter<NotKeyed, InMemoryState, Steps, NoOpMiddleware<Nanos>>;

/// governor's clock: it stands where the scheduler last said it is.
#[derive(Debug, Clone, Default)]
struct Steps(Arc<AtomicU64>);

impl Clock for Steps {
    type Instant = Nanos;

    fn now(&self) -> Nanos {
        Nanos::new(self.0.load(Ordering::Relaxed))
    }
}

impl Ceilings {
    pub(super) fn new(origin: Instant, egress: Option<Ceiling>, tenants: &[(TenantId, Ceiling)]) -> Self {
        let mut made = Self { time: Steps::default(), origin, egress: None, tenants: HashMap::new() };
        made.set(egress, tenants);
        made
    }

    /// Takes new ceilings. One that is as before keeps its count: nobody gets a second burst from it.
    pub(super) fn set(&mut self, egress: Option<Ceiling>, tenants: &[(TenantId, Ceiling)]) {
        let time = self.time.clone();
        let keep = |ceiling: Ceiling, known: Option<Kept>| match known {
            Some(known) if known.ceiling == ceiling => Some(known),
            _ => Some(Kept { ceiling, limiter: limiter(ceiling, &time)? }),
        };
        let known = self.egress.take();
        self.egress = egress.and_then(|ceiling| keep(ceiling, known));
        let mut known = std::mem::take(&mut self.tenants);
        let tenants = tenants.iter();
        self.tenants = tenants
            .filter_map(|(tenant, ceiling)| Some((*tenant, keep(*ceiling, known.remove(tenant))?)))
            .collect();
    }

    /// Whether there is a ceiling above this tenant.
    pub(super) fn bind(&self, tenant: TenantId) -> bool {
        self.egress.is_some() || self.tenants.contains_key(&tenant)
    }

    /// Takes a place under the whole egress' ceiling.
    ///
    /// # Errors
    /// When the next one is free.
    pub(super) fn egress(&self, now: Instant) -> Result<(), Instant> {
        self.ask(now, self.egress.as_ref())
    }

    /// Takes a place under a tenant's ceiling, if it has one.
    ///
    /// # Errors
    /// When the next one is free.
    pub(super) fn tenant(&self, now: Instant, tenant: TenantId) -> Result<(), Instant> {
        self.ask(now, self.tenants.get(&tenant))
    }

    fn ask(&self, now: Instant, kept: Option<&Kept>) -> Result<(), Instant> {
        let Some(Kept { limiter, .. }) = kept else { return Ok(()) };
        let elapsed = now.saturating_duration_since(self.origin);
        self.time.0.store(u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
        limiter.check().map_err(|not_until| {
            now + not_until.wait_time_from(self.time.now()).max(Duration::from_micros(1))
        })
    }
}

/// None if the rate is none.
fn limiter(ceiling: Ceiling, time: &Steps) -> Option<Limiter> {
    let quota = Quota::with_period(Duration::try_from_secs_f64(1.0 / ceiling.rate).ok()?)?;
    Some(RateLimiter::direct_with_clock(quota.allow_burst(ceiling.burst), time.clone()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ceiling_lets_its_burst_go_and_then_its_rate() {
        let start = Instant::now();
        let two = Ceiling { rate: 2.0, burst: NonZeroU32::new(3).unwrap() };
        let tenant = TenantId::new([1; 16]);
        let ceilings = Ceilings::new(start, None, &[(tenant, two)]);
        let went = (0..10_000)
            .filter(|ms| ceilings.tenant(start + Duration::from_millis(*ms), tenant).is_ok())
            .count();
        assert_eq!(went, 3 + 19);
        assert!(ceilings.egress(start).is_ok());
        assert!(ceilings.tenant(start, TenantId::new([2; 16])).is_ok());
    }

    #[test]
    fn a_ceiling_set_again_gives_no_second_burst_and_a_new_one_begins_anew() {
        let start = Instant::now();
        let one = Ceiling { rate: 1.0, burst: NonZeroU32::MIN };
        let tenant = TenantId::new([1; 16]);
        let mut ceilings = Ceilings::new(start, Some(one), &[(tenant, one)]);
        assert!(ceilings.egress(start).is_ok() && ceilings.tenant(start, tenant).is_ok());
        ceilings.set(Some(one), &[(tenant, one)]);
        assert!(ceilings.egress(start).is_err() && ceilings.tenant(start, tenant).is_err());
        ceilings.set(Some(Ceiling { rate: 2.0, ..one }), &[]);
        assert!(ceilings.egress(start).is_ok() && ceilings.tenant(start, tenant).is_ok());
    }

    #[test]
    fn a_refusal_says_when_the_next_place_is_free() {
        let start = Instant::now();
        let one = Ceiling { rate: 1.0, burst: NonZeroU32::MIN };
        let ceilings = Ceilings::new(start, Some(one), &[]);
        assert_eq!(ceilings.egress(start), Ok(()));
        assert_eq!(ceilings.egress(start + Duration::from_millis(400)), Err(start + Duration::from_secs(1)));
        assert_eq!(ceilings.egress(start + Duration::from_secs(1)), Ok(()));
    }
}
