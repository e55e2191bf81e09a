//! Reads the settings as people write them.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use super::{
    Certificate, Limit, LimitMode, PagingQuirk, RetryAfterForm, SettingFault, ThrottleAt, ThrottleBody,
};

impl FromStr for Limit {
    type Err = SettingFault;

    fn from_str(text: &str) -> Result<Self, SettingFault> {
        let fault = || misfit(text, "limit: rpm[:burst]");
        let (rate, burst) = match text.split_once(':') {
            Some((rate, burst)) => (rate, Some(burst)),
            None => (text, None),
        };
        let per_minute: f64 = rate.trim().parse().map_err(|_| fault())?;
        if !per_minute.is_finite() || !(0.001..=1e9).contains(&per_minute) {
            return Err(fault());
        }
        let burst = match burst {
            Some(burst) => burst.trim().parse().map_err(|_| fault())?,
            None => per_minute.ceil().to_string().parse().map_err(|_| fault())?,
        };
        if burst == 0 { Err(fault()) } else { Ok(Self { per_minute, burst }) }
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_limiting() { write!(f, "{}:{}", self.per_minute, self.burst) } else { f.write_str("off") }
    }
}

impl FromStr for LimitMode {
    type Err = SettingFault;

    fn from_str(text: &str) -> Result<Self, SettingFault> {
        match text {
            "fixed-window" => Ok(Self::FixedWindow),
            "sliding-log" => Ok(Self::SlidingLog),
            "token-bucket" => Ok(Self::TokenBucket),
            _ => Err(misfit(text, "limit mode: fixed-window, sliding-log or token-bucket")),
        }
    }
}

impl FromStr for RetryAfterForm {
    type Err = SettingFault;

    fn from_str(text: &str) -> Result<Self, SettingFault> {
        match text {
            "int" => Ok(Self::Int),
            "missing" => Ok(Self::Missing),
            "garbage" => Ok(Self::Garbage),
            "http-date" => Ok(Self::Date),
            "zero" => Ok(Self::Zero),
            "decimal" => Ok(Self::Decimal),
            _ => number(text, "form: int, missing, garbage, http-date, zero, decimal or a number")
                .map(Self::Fixed),
        }
    }
}

impl FromStr for ThrottleAt {
    type Err = SettingFault;

    fn from_str(text: &str) -> Result<Self, SettingFault> {
        match text {
            "end" => Ok(Self::End),
            "head" => Ok(Self::Head),
            _ => Err(misfit(text, "point of a 429: head or end")),
        }
    }
}

impl FromStr for ThrottleBody {
    type Err = SettingFault;

    fn from_str(text: &str) -> Result<Self, SettingFault> {
        match text {
            "html" => Ok(Self::Html),
            "json" => Ok(Self::Json),
            _ => Err(misfit(text, "429 body: json or html")),
        }
    }
}

impl FromStr for Certificate {
    type Err = SettingFault;

    fn from_str(text: &str) -> Result<Self, SettingFault> {
        match text {
            "by-name" => Ok(Self::ByName),
            "stranger" => Ok(Self::Stranger),
            "trap" => Ok(Self::Trap),
            _ => Err(misfit(text, "certificate: by-name, stranger or trap")),
        }
    }
}

impl FromStr for PagingQuirk {
    type Err = SettingFault;

    fn from_str(text: &str) -> Result<Self, SettingFault> {
        match text {
            "drop-filters" => Ok(Self::DropFilters),
            "empty-tail-page" => Ok(Self::EmptyTailPage),
            "first-prev" => Ok(Self::FirstPrev),
            "loop" => Ok(Self::Loop),
            "max-null" => Ok(Self::MaxNull),
            "no-semicolon" => Ok(Self::NoSemicolon),
            _ => Err(misfit(text, "paging quirk")),
        }
    }
}

/// Reads a duration of whole or fractional seconds, with or without the unit: `5s`, `300ms`, `0.5`.
pub(in crate::sim) fn seconds(text: &str) -> Result<Duration, SettingFault> {
    let fault = || misfit(text, "duration such as 5s");
    let (digits, scale) = match text.strip_suffix("ms") {
        Some(digits) => (digits, 0.001),
        None => (text.strip_suffix('s').unwrap_or(text), 1.0),
    };
    let value: f64 = digits.trim().parse().map_err(|_| fault())?;
    Duration::try_from_secs_f64(value * scale).map_err(|_| fault())
}

pub(super) fn quirks(value: &str) -> Result<BTreeSet<PagingQuirk>, SettingFault> {
    value.split(',').map(str::trim).filter(|name| !matches!(*name, "" | "none")).map(str::parse).collect()
}

pub(super) fn switch(value: &str) -> Result<bool, SettingFault> {
    match value {
        "true" | "on" => Ok(true),
        "false" | "off" => Ok(false),
        _ => Err(misfit(value, "switch: on or off")),
    }
}

pub(super) fn number(value: &str, expected: &'static str) -> Result<u64, SettingFault> {
    value.parse().map_err(|_| misfit(value, expected))
}

pub(super) fn misfit(value: &str, expected: &'static str) -> SettingFault {
    SettingFault::Value { value: value.to_owned(), expected }
}
