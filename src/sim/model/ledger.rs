//! What the made-up Webex saw: one entry per request and the sums that tests ask for.

use std::collections::{BTreeMap, VecDeque};

use serde::Serialize;
use serde_json::{Value, json};

/// Entries and seconds kept; the oldest go.
const MAX_ENTRIES: usize = 100_000;
const MAX_SECONDS: usize = 7_200;

/// Different keys of one sum; what comes beyond is counted as `other`.
const MAX_KEYS: usize = 20_000;

/// One request as it was seen. Credentials stand in it only as marks.
#[derive(Debug, Clone, Default, Serialize)]
pub(super) struct Entry {
    pub(super) at_ms: u64,
    pub(super) method: String,
    pub(super) path: String,
    pub(super) query: String,
    pub(super) host: String,
    pub(super) version: String,
    pub(super) user: String,
    pub(super) token: String,
    pub(super) family: String,
    pub(super) tracking_id: String,
    pub(super) status: u16,
    /// The limit that refused it.
    pub(super) throttled_by: Option<String>,
    pub(super) retry_after: Option<String>,
    pub(super) is_forced: bool,
    pub(super) headers: BTreeMap<String, String>,
    pub(super) body_bytes: u64,
    pub(super) sha256: Option<String>,
    /// Whether the whole request body came.
    pub(super) complete: bool,
    /// Of a multipart body: whether it ended with the closing boundary.
    pub(super) multipart_closed: Option<bool>,
    pub(super) reply_bytes: u64,
}

#[derive(Debug, Clone, Copy, Default, Serialize)]
struct Tally {
    accepted: u64,
    throttled: u64,
}

/// The record of all requests since the last reset.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    entries: VecDeque<Entry>,
    total: Tally,
    sums: BTreeMap<&'static str, BTreeMap<String, Tally>>,
    limits: BTreeMap<String, u64>,
    seconds: VecDeque<(u64, Tally)>,
    bodies: [u64; 6],
    forced: u64,
}

impl Ledger {
    pub(super) fn add(&mut self, entry: Entry) {
        let is_throttled = entry.status == 429;
        self.total.add(is_throttled);
        let path = format!("{} {}", entry.method, template(&entry.path));
        for (sum, key) in [
            ("by_family", entry.family.clone()),
            ("by_method", entry.method.clone()),
            ("by_path", path),
            ("by_status", entry.status.to_string()),
            ("by_token", entry.token.clone()),
            ("by_user", entry.user.clone()),
        ] {
            let sum = self.sums.entry(sum).or_default();
            let key = if sum.len() >= MAX_KEYS && !sum.contains_key(&key) { "other".to_owned() } else { key };
            sum.entry(key).or_default().add(is_throttled);
        }
        if let Some(limit) = &entry.throttled_by {
            *self.limits.entry(limit.clone()).or_default() += 1;
        }
        let second = entry.at_ms / 1000;
        match self.seconds.back_mut() {
            Some((last, tally)) if *last == second => tally.add(is_throttled),
            _ => {
                let mut tally = Tally::default();
                tally.add(is_throttled);
                self.seconds.push_back((second, tally));
            }
        }
        let [complete, broken, unread, bytes, closed, open] = &mut self.bodies;
        *complete += u64::from(entry.complete && entry.body_bytes > 0);
        // A request whose body broke off never got a status.
        *broken += u64::from(!entry.complete && entry.status == 0);
        *unread += u64::from(!entry.complete && entry.status != 0);
        *bytes += entry.body_bytes;
        *closed += u64::from(entry.multipart_closed == Some(true));
        *open += u64::from(entry.multipart_closed == Some(false));
        self.forced += u64::from(entry.is_forced);
        self.entries.push_back(entry);
        if self.entries.len() > MAX_ENTRIES {
            self.entries.pop_front();
        }
        if self.seconds.len() > MAX_SECONDS {
            self.seconds.pop_front();
        }
    }

    /// The entries that `keeps` accepts, oldest first.
    pub(super) fn entries(&self, keeps: impl Fn(&Entry) -> bool) -> Vec<&Entry> {
        self.entries.iter().filter(|entry| keeps(entry)).collect()
    }

    /// Accepted and throttled requests.
    pub(super) fn totals(&self) -> (u64, u64) {
        (self.total.accepted, self.total.throttled)
    }

    /// All sums as the control plane shows them.
    pub(super) fn stats(&self) -> Value {
        let [complete, broken, unread, bytes, closed, open] = self.bodies;
        let seconds: Vec<Value> = self
            .seconds
            .iter()
            .map(|(second, tally)| json!([second, tally.accepted, tally.throttled]))
            .collect();
        let mut stats = json!({
            "requests": self.total.accepted + self.total.throttled,
            "accepted": self.total.accepted,
            "throttled": self.total.throttled,
            "throttled_by": self.limits,
            "peak_accepted_per_second": self.peak(1),
            "peak_accepted_per_minute": self.peak(60),
            "seconds": seconds,
            "forced": self.forced,
            "bodies": {
                "complete": complete, "broken": broken, "answered_early": unread, "bytes": bytes,
                "multipart_closed": closed, "multipart_open": open,
            },
        });
        for name in ["by_family", "by_method", "by_path", "by_status", "by_token", "by_user"] {
            if let Some(stats) = stats.as_object_mut() {
                stats.insert(name.to_owned(), json!(self.sums.get(name).cloned().unwrap_or_default()));
            }
        }
        stats
    }

    /// The most accepted requests of any `span` seconds in a row.
    fn peak(&self, span: u64) -> u64 {
        let mut window = VecDeque::new();
        let (mut sum, mut peak) = (0, 0);
        for (second, tally) in &self.seconds {
            window.push_back((*second, tally.accepted));
            sum += tally.accepted;
            while let Some((_, accepted)) = window.pop_front_if(|(first, _)| *first + span <= *second) {
                sum -= accepted;
            }
            peak = peak.max(sum);
        }
        peak
    }
}

impl Tally {
    fn add(&mut self, is_throttled: bool) {
        self.accepted += u64::from(!is_throttled);
        self.throttled += u64::from(is_throttled);
    }
}

/// The path with ids replaced: every Webex id begins with the base64 of `cisc`.
fn template(path: &str) -> String {
    let words = path.split('/').map(|word| if word.starts_with("Y2lzY") { "{id}" } else { word });
    words.collect::<Vec<_>>().join("/")
}
