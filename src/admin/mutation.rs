//! Decides what an operator may change: reads an order strictly, and tells what came of it.

use std::pin::Pin;
use std::sync::Arc;

use http::StatusCode;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::cache::Purge;
use crate::config::LogLevel;

/// What an operator wants changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mutation {
    /// Say more or less from now on.
    LogLevel(LogLevel),
    /// Forget answers.
    Purge(Target),
    /// Read the configuration again.
    Reload,
}

/// Which answers are forgotten, in the operator's words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// What the cache itself understands.
    Cache(Purge),
    /// What is kept for a tenant: its configured name, or its 32 digits.
    Tenant(String),
}

/// What was changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Done {
    /// The level before and after.
    LogLevel(LogLevel, LogLevel),
    /// So many answers are forgotten.
    Purged(u64),
    /// The configuration is in force, but for what needs a restart.
    Reloaded {
        /// Sections in force from now on.
        changed: Vec<&'static str>,
        /// Sections that were not taken over.
        needs_restart: Vec<&'static str>,
    },
}

/// Why nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Undone {
    /// The configuration's faults, one in a line; the old one stays in force.
    Faults(String),
    /// Nothing of that name.
    Unknown(String),
    /// Not now, or not in this process.
    Unable(&'static str),
}

/// Changes something. The future may be dropped: what it began still ends.
pub type Obey =
    Arc<dyn Fn(Mutation) -> Pin<Box<dyn Future<Output = Result<Done, Undone>> + Send>> + Send + Sync>;

/// The paths that change something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    LogLevel,
    Purge,
    Reload,
}

impl Order {
    pub(super) fn find(path: &str) -> Option<Self> {
        match path {
            "/-/log-level" => Some(Self::LogLevel),
            "/-/purge" => Some(Self::Purge),
            "/-/reload" => Some(Self::Reload),
            _ => None,
        }
    }

    /// Reads the body that belongs to it; the fault is in words for the operator.
    pub(super) fn read(self, body: &[u8]) -> Result<Mutation, String> {
        match self {
            Self::LogLevel => {
                let Level { level } = parse(body, r#"{"level": "debug"}"#)?;
                let wanted = LogLevel::ALL.into_iter().find(|known| known.as_str() == level);
                let known = LogLevel::ALL.map(LogLevel::as_str).join(", ");
                wanted.map(Mutation::LogLevel).ok_or_else(|| format!("level is one of {known}"))
            }
            Self::Purge => target(parse(body, PURGES)?).map(Mutation::Purge),
            Self::Reload if body.trim_ascii().is_empty() || body.trim_ascii() == b"{}" => {
                Ok(Mutation::Reload)
            }
            Self::Reload => Err("a reload has no body: the configuration is read from its file".to_owned()),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Level {
    level: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    all: Option<bool>,
    id: Option<String>,
    prefix: Option<String>,
    tenant: Option<String>,
}

fn parse<T: DeserializeOwned>(body: &[u8], example: &str) -> Result<T, String> {
    serde_json::from_slice(body).map_err(|fault| format!("the body is not such as {example}: {fault}"))
}

fn target(wanted: Wanted) -> Result<Target, String> {
    let Wanted { all, id, prefix, tenant } = wanted;
    let filled = |key: &str, text: String| {
        if text.is_empty() { Err(format!("{key} is empty")) } else { Ok(text) }
    };
    match (all, id, prefix, tenant) {
        (Some(true), None, None, None) => Ok(Target::Cache(Purge::All)),
        (Some(false), None, None, None) => Err("all is true, or absent".to_owned()),
        (None, Some(id), None, None) => Ok(Target::Cache(Purge::Content(filled("id", id)?))),
        (None, None, Some(prefix), None) if prefix.starts_with('/') => {
            Ok(Target::Cache(Purge::Prefix(prefix)))
        }
        (None, None, Some(_), None) => Err("prefix begins with a slash, such as /v1/contents/".to_owned()),
        (None, None, None, Some(tenant)) => Ok(Target::Tenant(filled("tenant", tenant)?)),
        _ => Err(format!("name exactly one of all, id, prefix and tenant, such as {PURGES}")),
    }
}

/// The answer to an order.
pub(super) fn told(outcome: Result<Done, Undone>) -> (StatusCode, Value) {
    match outcome {
        Ok(Done::LogLevel(old, new)) => (StatusCode::OK, json!({ "old": old.as_str(), "new": new.as_str() })),
        Ok(Done::Purged(purged)) => (StatusCode::OK, json!({ "purged": purged })),
        Ok(Done::Reloaded { changed, needs_restart }) => {
            (StatusCode::OK, json!({ "changed": changed, "needs_restart": needs_restart }))
        }
        Err(Undone::Faults(text)) => {
            let faults: Vec<_> = text.lines().filter(|line| !line.is_empty()).collect();
            let error = "the configuration was not reloaded: the old one stays in force";
            (StatusCode::UNPROCESSABLE_ENTITY, json!({ "error": error, "faults": faults }))
        }
        Err(Undone::Unknown(what)) => (StatusCode::NOT_FOUND, json!({ "error": what })),
        Err(Undone::Unable(why)) => (StatusCode::SERVICE_UNAVAILABLE, json!({ "error": why })),
    }
}

const PURGES: &str = r#"{"prefix": "/v1/contents/"}"#;
