//! Decides what the rate-limit headers of all generations tell: how much is left of which quota, and until when.

use std::cmp::{Ordering, Reverse};
use std::time::{Duration, SystemTime};

use http::HeaderMap;

use super::field::{MAX_VALUE_BYTES, count, lines, members, parameter, seconds, sent_at, split, until};

/// What an answer's headers say about one quota, as far as they say it: of several, the one that binds most.
///
/// Counts above `u32::MAX` are `u32::MAX`. Times are as stated, not clamped.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Hints {
    /// Requests that the quota allows in one window.
    pub limit: Option<u32>,
    /// Requests that are left.
    pub remaining: Option<u32>,
    /// Time from the answer until the quota is whole again; zero if that time has passed.
    pub reset_in: Option<Duration>,
    /// Length of the quota's window; never zero.
    pub window: Option<Duration>,
    /// Stable hash of policy name and partition key (`pk`): equal for answers that count against the same quota.
    pub partition: Option<u64>,
}

impl Hints {
    /// Reads `RateLimit` with `RateLimit-Policy` (draft-ietf-httpapi-ratelimit-headers-07 to -11), `RateLimit-Limit`,
    /// `-Remaining` and `-Reset` (-00 to -06) and their `X-RateLimit-*` and `X-Rate-Limit-*` forebears.
    ///
    /// Times refer to the answer's own `Date`, else to `now`. What cannot be read is taken for absent.
    pub fn read(headers: &HeaderMap, now: SystemTime) -> Self {
        // Webex sends none of these: their names alone say so, at a fraction of looking for each of them.
        if !headers.keys().any(|name| PREFIXES.iter().any(|prefix| name.as_str().starts_with(prefix))) {
            return Self::default();
        }
        let sent_at = sent_at(headers, now);
        let policies: Vec<Policy<'_>> = structured(headers, "ratelimit-policy").map(Policy::parse).collect();
        let limits = structured(headers, "ratelimit").filter(|item| !is_pair(item));
        let limits = limits.filter_map(|item| Self::of_item(item, &policies));
        let pairs = lines(headers, "ratelimit", MAX_VALUE_BYTES).flatten();
        let pairs = pairs.filter_map(|line| Self::of_pairs(line, &policies, sent_at));
        let families = FAMILIES.iter().filter_map(|family| family.read(headers, &policies, sent_at));
        let quotas = limits.chain(pairs).chain(families).min_by(Self::binding);
        quotas.or_else(|| policies.iter().filter_map(Policy::alone).min_by(Self::binding)).unwrap_or_default()
    }

    /// How long nothing is left, if nothing is.
    pub fn exhausted_for(&self) -> Option<Duration> {
        (self.remaining == Some(0)).then_some(self.reset_in).flatten()
    }

    /// `"name";r=50;t=30;pk=:..:`, as drafts -08 and later have it.
    fn of_item(item: &str, policies: &[Policy<'_>]) -> Option<Self> {
        let name = name(item);
        let policy = policies.iter().find(|policy| policy.name == name);
        let remaining = count(parameter(item, "r")?)?;
        // Bytes and connections are no requests; that none are left matters all the same.
        if policy.is_some_and(|policy| !policy.counts_requests) && remaining > 0 {
            return None;
        }
        let key = parameter(item, "pk").or_else(|| policy?.key);
        Some(Self {
            limit: policy.filter(|policy| policy.counts_requests).and_then(|policy| policy.quota),
            remaining: Some(remaining),
            reset_in: parameter(item, "t").and_then(seconds),
            window: policy.and_then(|policy| policy.window),
            partition: key.map(|key| partition(name, key)),
        })
    }

    /// `limit=100, remaining=50, reset=50`, as draft -07 has it.
    fn of_pairs(line: &str, policies: &[Policy<'_>], sent_at: SystemTime) -> Option<Self> {
        let values = |key: &'static str| {
            let pairs = split(line, ',').filter(is_pair).filter_map(|pair| pair.split_once('='));
            pairs.filter(move |(name, _)| name.trim() == key).map(|(_, value)| value.trim())
        };
        let limit = values("limit").filter_map(count).min();
        let remaining = values("remaining").filter_map(count).min();
        let reset_in = values("reset").filter_map(|text| until(text, sent_at)).max();
        Self::of_parts(limit, remaining, reset_in, policies)
    }

    fn of_parts(
        limit: Option<u32>,
        remaining: Option<u32>,
        reset_in: Option<Duration>,
        policies: &[Policy<'_>],
    ) -> Option<Self> {
        let policy = policies.iter().find(|policy| limit.is_some() && policy.quota == limit);
        let window = policy.and_then(|policy| policy.window);
        let hints = Self { limit, remaining, reset_in, window, partition: None };
        (hints != Self::default()).then_some(hints)
    }

    /// Orders by the requests per second that are left, then by the longest time to the reset, then by those allowed.
    fn binding(&self, other: &Self) -> Ordering {
        let per_second = |requests: Option<u32>, time: Option<Duration>| {
            let time = time.unwrap_or(USUAL_WINDOW).max(SHORTEST_WINDOW);
            requests.map_or(f64::INFINITY, |requests| f64::from(requests) / time.as_secs_f64())
        };
        let left = |hints: &Self| per_second(hints.remaining, hints.reset_in.or(hints.window));
        let allowed = |hints: &Self| per_second(hints.limit, hints.window);
        let by_left = left(self).total_cmp(&left(other));
        by_left
            .then_with(|| Reverse(self.reset_in).cmp(&Reverse(other.reset_in)))
            .then_with(|| allowed(self).total_cmp(&allowed(other)))
    }
}

/// One member of `RateLimit-Policy`, or of a `RateLimit-Limit` with parameters.
struct Policy<'a> {
    name: &'a str,
    quota: Option<u32>,
    window: Option<Duration>,
    key: Option<&'a str>,
    counts_requests: bool,
}

impl<'a> Policy<'a> {
    /// `"name";q=100;w=60` (-08 and later) or `100;w=60` (before).
    fn parse(item: &'a str) -> Self {
        let name = name(item);
        Self {
            name,
            quota: parameter(item, "q").or(Some(name)).and_then(count),
            window: parameter(item, "w").and_then(seconds).filter(|window| !window.is_zero()),
            key: parameter(item, "pk"),
            counts_requests: parameter(item, "qu").is_none_or(|unit| unit.trim_matches('"') == "requests"),
        }
    }

    /// What a policy says where nothing tells how much of it is left.
    fn alone(&self) -> Option<Hints> {
        let limit = self.quota.filter(|_| self.counts_requests)?;
        let partition = self.key.map(|key| partition(self.name, key));
        Some(Hints { limit: Some(limit), window: self.window, partition, ..Hints::default() })
    }
}

/// The headers that name limit, remaining and reset apart, in one spelling.
struct Family {
    limit: &'static str,
    remaining: &'static str,
    reset: &'static str,
    /// Always seconds from now, and often finer than the reset beside it.
    reset_after: &'static str,
}

impl Family {
    fn read(&self, headers: &HeaderMap, policies: &[Policy<'_>], sent_at: SystemTime) -> Option<Hints> {
        // `10, 10;w=1, 50;w=60`: the limit in force, then the policies behind it.
        let (own, bare): (Vec<_>, Vec<_>) = members(headers, self.limit).partition(|item| item.contains(';'));
        let own: Vec<Policy<'_>> = own.into_iter().map(Policy::parse).collect();
        let policies = if own.is_empty() { policies } else { &own };
        let limit = bare.into_iter().filter_map(count).min();
        let tightest = || own.iter().filter_map(Policy::alone).min_by(Hints::binding)?.limit;
        let remaining = members(headers, self.remaining).filter_map(count).min();
        let resets = lines(headers, self.reset, MAX_VALUE_BYTES).flatten();
        let resets = resets.flat_map(|line| std::iter::once(line).chain(split(line, ',')));
        let reset_after = members(headers, self.reset_after).filter_map(seconds).max();
        let reset_in = reset_after.or_else(|| resets.filter_map(|text| until(text, sent_at)).max());
        Hints::of_parts(limit.or_else(tightest), remaining, reset_in, policies)
    }
}

/// The members of a structured list. A list of policies may be long, none of its members is.
fn structured<'a>(headers: &'a HeaderMap, field: &str) -> impl Iterator<Item = &'a str> {
    let members = lines(headers, field, MAX_LIST_BYTES).flatten().flat_map(|line| split(line, ','));
    members.filter(|member| !member.is_empty() && member.len() <= MAX_VALUE_BYTES)
}

/// The item without its parameters, and without the quotes that a string has and a token has not.
fn name(item: &str) -> &str {
    split(item, ';').next().unwrap_or_default().trim_matches('"')
}

/// `limit=100` instead of `"name";r=100`.
fn is_pair(member: &&str) -> bool {
    !member.starts_with('"') && split(member, ';').next().is_some_and(|head| head.contains('='))
}

/// FNV-1a: it stays the same over restarts and releases, and nobody gains by a collision in his own limits.
fn partition(name: &str, key: &str) -> u64 {
    let bytes = name.bytes().chain(std::iter::once(0)).chain(key.bytes());
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// Three policies of one real API with their partition keys take 130 bytes.
const MAX_LIST_BYTES: usize = 512;
/// Taken for the window of a quota that does not tell it, for comparing only: the commonest, and Webex's own.
const USUAL_WINDOW: Duration = Duration::from_secs(60);
/// Keeps a reset that is due from looking like an endless supply.
const SHORTEST_WINDOW: Duration = Duration::from_millis(1);
/// What every name that is looked for begins with.
const PREFIXES: [&str; 2] = ["ratelimit", "x-rate"];
const FAMILIES: [Family; 3] = [
    Family {
        limit: "ratelimit-limit",
        remaining: "ratelimit-remaining",
        reset: "ratelimit-reset",
        reset_after: "ratelimit-reset-after",
    },
    Family {
        limit: "x-ratelimit-limit",
        remaining: "x-ratelimit-remaining",
        reset: "x-ratelimit-reset",
        reset_after: "x-ratelimit-reset-after",
    },
    Family {
        limit: "x-rate-limit-limit",
        remaining: "x-rate-limit-remaining",
        reset: "x-rate-limit-reset",
        reset_after: "x-rate-limit-reset-after",
    },
];
