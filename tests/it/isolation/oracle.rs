//! Judges what a tenant was told against what the API told that tenant: nothing else counts.

use std::time::Duration;

use http::HeaderMap;
use tokio::time::Instant;

use super::vault::{self, Entry, QUERIED, Refused, TENANTS};

pub(super) const PROOF_TTL: Duration = Duration::from_secs(60);

/// What was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum What {
    /// A content, plainly.
    Content(usize),
    /// A content with a query.
    Queried(usize),
    /// Something else, which is always the tenant's own.
    Own(&'static str),
}

/// One request.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked {
    pub(super) tenant: usize,
    pub(super) token: u32,
    pub(super) what: What,
    pub(super) began_at: Instant,
}

/// What came of it, as far as the client read.
#[derive(Debug)]
pub(super) struct Told {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) trailers: Option<HeaderMap>,
    pub(super) body: Vec<u8>,
    pub(super) head_at: Instant,
    /// The last byte came.
    pub(super) is_whole: bool,
}

impl Told {
    pub(super) fn field(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }
}

/// SECURITY 1: every byte was received on a request that carried the token, or equals bytes for which the API said yes to it at
/// most [`PROOF_TTL`] before the first one; and no word to one tenant reaches another.
///
/// # Errors
/// What is wrong, in words.
pub(super) fn judge(
    asked: &Asked,
    told: &Told,
    (log, refused): (&[Entry], &[Refused]),
) -> Result<(), String> {
    names_nobody_else(asked, told)?;
    let (content, is_queried) = match asked.what {
        What::Content(content) => (content, false),
        What::Queried(content) => (content, true),
        What::Own(_) => return Ok(()),
    };
    if !matches!(told.status, 200 | 206 | 304) {
        return Ok(());
    }
    // A 401 takes back every earlier yes, from the moment Tollgate knows of it.
    let credential = format!("Bearer {}.{}", vault::name(asked.tenant), asked.token);
    let is_known = |refused: &&Refused| refused.credential == credential && refused.told_at < asked.began_at;
    let refused_at = refused.iter().filter(is_known).map(|refused| refused.at).max();
    let is_granted = |entry: &&Entry| {
        let is_recent = entry.at + PROOF_TTL >= told.head_at;
        // Requests of one token that meet share what the API is telling it.
        let is_meeting = entry.ended_at.is_none_or(|ended_at| ended_at >= asked.began_at);
        (entry.tenant, entry.token, entry.content) == (asked.tenant, asked.token, content)
            && (entry.variant == QUERIED) == is_queried
            && refused_at.is_none_or(|refused_at| entry.at >= refused_at)
            && (is_recent || is_meeting)
    };
    let mut granted = log.iter().filter(is_granted).peekable();
    if granted.peek().is_none() {
        return Err("the API said no yes to this token lately".to_owned());
    }
    if granted.any(|entry| describes(entry, told)) {
        return Ok(());
    }
    Err("the API showed other bytes or fields to this token".to_owned())
}

fn names_nobody_else(asked: &Asked, told: &Told) -> Result<(), String> {
    let fields = told.headers.iter().chain(told.trailers.iter().flatten());
    let mut said: Vec<u8> = fields.flat_map(|(_, value)| [value.as_bytes(), b"\n"].concat()).collect();
    said.extend(&told.body);
    let said = String::from_utf8_lossy(&said);
    match (0..TENANTS).find(|tenant| *tenant != asked.tenant && said.contains(vault::name(*tenant))) {
        Some(other) => Err(format!("it names {}", vault::name(other))),
        None => Ok(()),
    }
}

/// Whether this is what the API spoke of: the fields that are there, and every byte.
fn describes(entry: &Entry, told: &Told) -> bool {
    let whole = vault::bytes(entry.content, entry.variant);
    let fields = vault::shape(entry.content, entry.variant);
    let is_said = |(name, value): &(&str, String)| {
        let is_of_part = told.status != 200 && *name == "content-length";
        is_of_part || !told.headers.contains_key(*name) || told.field(name) == value
    };
    let part = match told.status {
        200 => &whole[..],
        206 => {
            let range =
                told.field("content-range").strip_prefix("bytes ").and_then(|range| range.split_once('/'));
            let Some((range, total)) = range else { return false };
            let Some((first, last)) = range.split_once('-') else { return false };
            let (Ok(first), Ok(last)) = (first.parse::<usize>(), last.parse::<usize>()) else { return false };
            if total != whole.len().to_string() || last >= whole.len() {
                return false;
            }
            &whole[first..=last]
        }
        _ => &[],
    };
    let is_long_enough = !told.is_whole || told.body.is_empty() || told.body.len() == part.len();
    fields.iter().all(is_said) && part.starts_with(&told.body) && is_long_enough
}
