//! Decides whether a request is within the limits, and how long one that is not must wait.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, SystemTime};

use http::StatusCode;
use http::header::{self, HeaderName, HeaderValue};

use super::reply::{Refusal, Reply, text};
use crate::sim::settings::{Limit, LimitMode, RetryAfterForm, SimSettings, ThrottleBody};

/// Meters kept at most; beyond it all start anew, which only a test of that very bound can notice.
const MAX_METERS: usize = 200_000;

const MESSAGE: &str = "The user has sent too many requests in a given amount of time. Please refer to the \
                       Retry-After response header to wait before making a new request.";

/// The state of every limit.
#[derive(Debug, Default)]
pub(super) struct Limits {
    meters: HashMap<String, Meter>,
}

/// A limit that said no.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Throttled {
    /// The limit's name in the settings.
    pub(super) by: String,
    /// Until a request like this one is allowed again.
    pub(super) wait: Duration,
    burst: u32,
}

#[derive(Debug)]
enum Meter {
    Bucket { tokens: f64, at: Duration },
    Log(VecDeque<Duration>),
    Window { index: u128, used: u32 },
}

impl Limits {
    /// Charges one request to all limits it falls under, or to none if one of them refuses.
    pub(super) fn charge(
        &mut self,
        settings: &SimSettings,
        (user, family, room): (&str, &str, Option<&str>),
        now: Duration,
    ) -> Result<(), Throttled> {
        if self.meters.len() > MAX_METERS {
            self.meters.clear();
        }
        let named = |name: &str| settings.limits.get(name).copied().filter(Limit::is_limiting);
        let limits = [
            named("egress").map(|limit| ("egress", "egress".to_owned(), limit)),
            settings.family_limit(family).map(|limit| (family, format!("{family} {user}"), limit)),
            room.zip(named("room")).map(|(room, limit)| ("room", format!("room {user} {room}"), limit)),
        ];
        let longest = limits.iter().flatten().filter_map(|(name, key, limit)| {
            let meter = self
                .meters
                .entry(key.clone())
                .or_insert_with(|| Meter::new(settings.limit_mode, *limit, now));
            let wait = meter.wait(*limit, now)?;
            Some(Throttled { by: (*name).to_owned(), wait, burst: limit.burst })
        });
        if let Some(throttled) = longest.max_by(|one, other| one.wait.cmp(&other.wait)) {
            return Err(throttled);
        }
        for (_, key, limit) in limits.iter().flatten() {
            if let Some(meter) = self.meters.get_mut(key) {
                meter.charge(*limit, now);
            }
        }
        Ok(())
    }

    /// Forgets all that was counted.
    pub(super) fn clear(&mut self) {
        self.meters.clear();
    }
}

impl Meter {
    fn new(mode: LimitMode, limit: Limit, now: Duration) -> Self {
        match mode {
            LimitMode::FixedWindow => Self::Window { index: 0, used: 0 },
            LimitMode::SlidingLog => Self::Log(VecDeque::new()),
            LimitMode::TokenBucket => Self::Bucket { tokens: f64::from(limit.burst), at: now },
        }
    }

    /// How long until one more request is allowed; `None` if it is now.
    fn wait(&mut self, limit: Limit, now: Duration) -> Option<Duration> {
        let window = limit.window();
        match self {
            Self::Bucket { tokens, at } => {
                let refilled = *tokens + now.saturating_sub(*at).as_secs_f64() * limit.per_minute / 60.0;
                (*tokens, *at) = (refilled.min(f64::from(limit.burst)), now);
                // Nine digits of grace: a client that waited exactly as long as it was told must be let in.
                let missing = 1.0 - *tokens;
                (missing > 1e-9).then(|| Duration::from_secs_f64(missing * 60.0 / limit.per_minute))
            }
            Self::Log(times) => {
                while times.front().is_some_and(|time| *time + window <= now) {
                    times.pop_front();
                }
                let burst = usize::try_from(limit.burst).unwrap_or(usize::MAX);
                let oldest = times.front().filter(|_| times.len() >= burst)?;
                Some((*oldest + window).saturating_sub(now))
            }
            Self::Window { index, used } => {
                let length = window.as_nanos().max(1);
                let current = now.as_nanos() / length;
                if current != *index {
                    (*index, *used) = (current, 0);
                }
                let left = (current + 1) * length - now.as_nanos();
                (*used >= limit.burst).then(|| Duration::from_nanos(u64::try_from(left).unwrap_or(u64::MAX)))
            }
        }
    }

    fn charge(&mut self, _limit: Limit, now: Duration) {
        match self {
            Self::Bucket { tokens, .. } => *tokens = (*tokens - 1.0).max(0.0),
            Self::Log(times) => times.push_back(now),
            Self::Window { used, .. } => *used += 1,
        }
    }
}

impl Throttled {
    /// The 429 in the form that the settings ask for.
    pub(super) fn reply(&self, settings: &SimSettings, now: SystemTime, tracking_id: &str) -> Reply {
        let reply = match settings.throttle_body {
            ThrottleBody::Html => Reply::html(StatusCode::TOO_MANY_REQUESTS),
            ThrottleBody::Json => {
                Refusal::new(StatusCode::TOO_MANY_REQUESTS, MESSAGE).into_reply(tracking_id)
            }
        };
        let reply = match self.retry_after(settings.retry_after, now) {
            Some(value) => reply.with(header::RETRY_AFTER, value),
            None => reply,
        };
        match self.by.as_str() {
            "room" => reply.with(HeaderName::from_static("x-ratelimit-limit"), HeaderValue::from(self.burst)),
            _ => reply,
        }
    }

    fn retry_after(&self, form: RetryAfterForm, now: SystemTime) -> Option<HeaderValue> {
        let whole = self.wait.as_secs() + u64::from(self.wait.subsec_nanos() > 0);
        let whole = whole.max(1);
        match form {
            // A date has whole seconds only: one more, or the date would lie before the end of the wait.
            RetryAfterForm::Date => {
                Some(text(&httpdate::fmt_http_date(now + Duration::from_secs(whole + 1))))
            }
            RetryAfterForm::Decimal => Some(text(&format!("{:.1}", self.wait.as_secs_f64() + 0.05))),
            RetryAfterForm::Fixed(seconds) => Some(HeaderValue::from(seconds)),
            RetryAfterForm::Garbage => Some(HeaderValue::from_static("rand(30),add(30)")),
            RetryAfterForm::Int => Some(HeaderValue::from(whole)),
            RetryAfterForm::Missing => None,
            RetryAfterForm::Zero => Some(HeaderValue::from_static("0")),
        }
    }
}
