//! What the made-up Webex is like: its limits, its dirt and its address, as told by flags or at run time.

mod parse;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use parse::{misfit, number, quirks, seconds, switch};

/// A setting that means nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SettingFault {
    /// No setting has this name.
    #[error("there is no setting {0:?}")]
    Unknown(String),
    /// The value does not fit the setting.
    #[error("{value:?} is no {expected}")]
    Value {
        /// What was written.
        value: String,
        /// What could have been written.
        expected: &'static str,
    },
}

/// How requests are counted against a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LimitMode {
    /// `burst` requests in each window; windows are aligned with the wall clock.
    FixedWindow,
    /// At most `burst` requests in any span of one window.
    SlidingLog,
    /// A bucket of `burst` that refills at the rate.
    TokenBucket,
}

/// The form of `Retry-After` on a 429.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RetryAfterForm {
    /// An HTTP-date.
    Date,
    /// Seconds with a fraction.
    Decimal,
    /// Always this number of seconds, whatever is true.
    Fixed(u64),
    /// The template seen in production: `rand(30),add(30)`.
    Garbage,
    /// Whole seconds, rounded up.
    Int,
    /// No header at all.
    Missing,
    /// `0`.
    Zero,
}

/// The body of a 429.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ThrottleBody {
    /// The gateway's page.
    Html,
    /// The API's error shape.
    Json,
}

/// When a request over the limit is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ThrottleAt {
    /// After its body was read.
    End,
    /// Before its body, as a gateway does.
    Head,
}

/// A known oddity of Webex's paging.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum PagingQuirk {
    /// The next link forgets `mentionedPeople`.
    DropFilters,
    /// The last items are followed by an empty page.
    EmptyTailPage,
    /// `first` and `prev` stand beside `next`.
    FirstPrev,
    /// The next link of a later page leads to that page again.
    Loop,
    /// The next link says `max=null`.
    MaxNull,
    /// `<URL> rel="next"`, as the documentation prints it.
    NoSemicolon,
}

/// Which certificate a TLS client is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Certificate {
    /// The good one for the API's names, the trap for any other.
    ByName,
    /// A good one in name, signed by a CA that nobody knows.
    Stranger,
    /// `*.wbx2.com` for everyone.
    Trap,
}

/// One limit. The window is the time in which `per_minute` allows `burst` requests.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limit {
    /// The long-term rate; above zero.
    pub per_minute: f64,
    /// Requests of one window, or the bucket's size; at least one.
    pub burst: u32,
}

/// Everything that can be set. Build it with [`SimSettings::plain`] or [`SimSettings::unlimited`].
#[derive(Debug, Clone, PartialEq)]
pub struct SimSettings {
    /// Scheme, authority and `/v1` of every URL in `Link` and `files`.
    pub public_base: String,
    /// Decides ids, contents and tracking ids.
    pub seed: u64,
    /// Limits by name: a family (`people`), `default` for the other families, `room` for reads of one room's
    /// messages by one user, `egress` for all users together. Absent: no limit.
    pub limits: BTreeMap<String, Limit>,
    /// How limits count.
    pub limit_mode: LimitMode,
    /// The form of `Retry-After` on a 429.
    pub retry_after: RetryAfterForm,
    /// The body of a 429.
    pub throttle_body: ThrottleBody,
    /// When a 429 comes.
    pub throttle_at: ThrottleAt,
    /// `Retry-After` of a 423, whole seconds.
    pub scan_retry_after: u64,
    /// Whether JSON is packed for clients that accept it.
    pub gzip: bool,
    /// Whether contents answer `Range` with 206.
    pub ranges: bool,
    /// Whether contents carry `ETag` and `Last-Modified` and answer `If-None-Match` with 304.
    pub validators: bool,
    /// Whether `Content-Disposition` carries `filename*` too.
    pub filename_star: bool,
    /// The oddities of paging.
    pub paging: BTreeSet<PagingQuirk>,
    /// Which certificate is shown.
    pub certificate: Certificate,
    /// Whether a TLS client without SNI is shown the trap.
    pub require_sni: bool,
    /// ALPN protocols offered, best first.
    pub alpn: Vec<String>,
    /// A connection without a request is closed after this time.
    pub idle_timeout: Duration,
}

impl SimSettings {
    /// Webex as it presents itself: 300 requests a minute per user and family, 600 for people and messages, and 3
    /// reads of one room's messages that refill every 8 s; integer `Retry-After`, JSON errors, no packing.
    pub fn plain() -> Self {
        let limit = |per_minute, burst| Limit { per_minute, burst };
        Self {
            limits: BTreeMap::from([
                ("default".to_owned(), limit(300.0, 300)),
                ("messages".to_owned(), limit(600.0, 600)),
                ("people".to_owned(), limit(600.0, 600)),
                ("room".to_owned(), limit(7.5, 3)),
            ]),
            ..Self::unlimited()
        }
    }

    /// As [`SimSettings::plain`], but nobody is ever throttled.
    pub fn unlimited() -> Self {
        Self {
            public_base: "https://webexapis.com/v1".to_owned(),
            seed: 1,
            limits: BTreeMap::new(),
            limit_mode: LimitMode::FixedWindow,
            retry_after: RetryAfterForm::Int,
            throttle_body: ThrottleBody::Json,
            throttle_at: ThrottleAt::End,
            scan_retry_after: 1,
            gzip: false,
            ranges: false,
            validators: false,
            filename_star: false,
            paging: BTreeSet::new(),
            certificate: Certificate::ByName,
            require_sni: false,
            alpn: vec!["h2".to_owned(), "http/1.1".to_owned()],
            idle_timeout: Duration::from_secs(60),
        }
    }

    /// The limit of that name, families without their own falling back on `default`.
    pub fn family_limit(&self, family: &str) -> Option<Limit> {
        self.limits.get(family).or_else(|| self.limits.get("default")).copied().filter(Limit::is_limiting)
    }

    /// Changes one setting by its name, as a flag or the control plane writes it.
    ///
    /// `limit` takes `family=rpm[:burst]` or `family=off`, `paging` a comma list of quirks or `none`.
    ///
    /// # Errors
    /// `Unknown` if there is no such setting; `Value` if the value does not fit.
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), SettingFault> {
        match name {
            "alpn" => self.alpn = value.split(',').map(|name| name.trim().to_owned()).collect(),
            "certificate" => self.certificate = value.parse()?,
            "filename_star" => self.filename_star = switch(value)?,
            "gzip" => self.gzip = switch(value)?,
            "idle_timeout" => self.idle_timeout = seconds(value)?,
            "limit" => self.set_limit(value)?,
            "limit_mode" => self.limit_mode = value.parse()?,
            "paging" => self.paging = quirks(value)?,
            "public_base" => self.public_base = value.trim_end_matches('/').to_owned(),
            "ranges" => self.ranges = switch(value)?,
            "require_sni" => self.require_sni = switch(value)?,
            "retry_after" => self.retry_after = value.parse()?,
            "scan_retry_after" => self.scan_retry_after = number(value, "number of seconds")?,
            "seed" => self.seed = number(value, "number")?,
            "throttle_at" => self.throttle_at = value.parse()?,
            "throttle_body" => self.throttle_body = value.parse()?,
            "validators" => self.validators = switch(value)?,
            _ => return Err(SettingFault::Unknown(name.to_owned())),
        }
        Ok(())
    }

    fn set_limit(&mut self, value: &str) -> Result<(), SettingFault> {
        let Some((name, limit)) = value.split_once('=') else {
            return Err(misfit(value, "limit: family=rpm[:burst] or family=off"));
        };
        let (name, limit) = (name.trim().to_owned(), limit.trim());
        let limit = if limit == "off" { Limit::off() } else { limit.parse()? };
        if name == "all" {
            self.limits = BTreeMap::from([("default".to_owned(), limit)]);
        } else {
            self.limits.insert(name, limit);
        }
        Ok(())
    }
}

impl Limit {
    /// A limit that never refuses: it hides the `default` from one family.
    pub fn off() -> Self {
        Self { per_minute: f64::INFINITY, burst: u32::MAX }
    }

    /// Whether it can refuse anything.
    pub fn is_limiting(&self) -> bool {
        self.per_minute.is_finite()
    }

    /// The time in which the rate allows `burst` requests.
    pub fn window(&self) -> Duration {
        Duration::from_secs_f64(f64::from(self.burst) * 60.0 / self.per_minute)
    }
}
