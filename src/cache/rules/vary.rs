//! Decides which requests an answer was selected for: Vary and the fields it names (RFC 9111 §4.1).

use std::fmt;
use std::hash::{BuildHasher, RandomState};

use http::{HeaderMap, HeaderName, header};

use super::list;
use crate::route::OVERRIDES;

/// The values of the fields that Vary names, as the request had them.
#[derive(Clone, Default)]
pub(super) struct Selection(Vec<(HeaderName, Chosen)>);

/// One value, in the form in which values are compared.
#[derive(Clone)]
enum Chosen {
    /// The field was absent.
    Absent,
    /// A credential: as a hash under a key of its own, for secrets are not kept.
    Secret(RandomState, u64),
    /// What the field said.
    Value(Vec<u8>),
}

impl Selection {
    /// What an answer was selected by; none if no later request can be known to match (`*`, or no field name).
    pub(super) fn of(request: &HeaderMap, response: &HeaderMap) -> Option<Self> {
        let mut names = Vec::new();
        for line in response.get_all(header::VARY) {
            for member in list::members(line.as_bytes()).all {
                let name = HeaderName::from_bytes(member).ok().filter(|_| member != b"*")?;
                if names.len() == MOST_NAMES {
                    return None;
                }
                if !names.contains(&name) {
                    names.push(name);
                }
            }
        }
        // An origin that goes by one of these may not know that a cache stands before it.
        for name in OVERRIDES.into_iter().filter(|name| request.contains_key(name)) {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        let chosen = |name: HeaderName| {
            let chosen = match normalised(request, &name) {
                None => Chosen::Absent,
                Some(value) if SECRET.contains(&name) => {
                    let key = RandomState::new();
                    let hash = key.hash_one(&value);
                    Chosen::Secret(key, hash)
                }
                Some(value) => Chosen::Value(value),
            };
            (name, chosen)
        };
        Some(Self(names.into_iter().map(chosen).collect()))
    }

    /// Whether the stored answer would also be selected for this request.
    pub(super) fn matches(&self, request: &HeaderMap, stored: &HeaderMap) -> bool {
        let is_new = |name| request.contains_key(name) && !self.0.iter().any(|(known, _)| known == name);
        if OVERRIDES.iter().any(is_new) {
            return false;
        }
        self.0.iter().all(|(name, chosen)| {
            let wanted = normalised(request, name);
            let is_same = match (chosen, &wanted) {
                (Chosen::Absent, None) => true,
                (Chosen::Secret(key, hash), Some(value)) => key.hash_one(value) == *hash,
                (Chosen::Value(known), Some(value)) => known == value,
                _ => false,
            };
            is_same || (*name == header::ACCEPT_LANGUAGE && is_favourite(request, stored))
        })
    }

    /// Bytes held.
    pub(super) fn bytes(&self) -> usize {
        let value = |chosen: &Chosen| match chosen {
            Chosen::Value(value) => value.len(),
            Chosen::Absent | Chosen::Secret(..) => 0,
        };
        self.0.iter().map(|(name, chosen)| name.as_str().len() + value(chosen) + FIXED).sum()
    }
}

/// The names alone: values may be the tenant's.
impl fmt::Debug for Selection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(name, _)| name)).finish()
    }
}

/// The lines of a field as one list, without the space around its commas. Languages of equal rank have no order.
fn normalised(request: &HeaderMap, name: &HeaderName) -> Option<Vec<u8>> {
    if !request.contains_key(name) {
        return None;
    }
    if *name == header::ACCEPT_LANGUAGE
        && let Some(mut languages) = languages(request)
    {
        languages.sort();
        let texts: Vec<_> = languages.iter().map(|(tag, rank)| format!("{tag};{rank}")).collect();
        return Some(texts.join(",").into_bytes());
    }
    Some(list::of(request, name).collect::<Vec<_>>().join(&b","[..]))
}

/// The language ranges and their rank in thousandths, or none if the field cannot be read.
fn languages(request: &HeaderMap) -> Option<Vec<(String, u64)>> {
    let member = |member: &[u8]| {
        let text = str::from_utf8(member).ok()?.to_ascii_lowercase();
        let (tag, rank) = match text.split_once(';') {
            None => (text.as_str(), 1000),
            Some((tag, weight)) => (tag.trim_end(), thousandths(weight.trim_start().strip_prefix("q=")?)?),
        };
        Some((tag.to_owned(), rank))
    };
    list::of(request, &header::ACCEPT_LANGUAGE).map(member).collect()
}

/// A weight of RFC 9110 §12.4.2: at most one, with up to three decimals.
fn thousandths(weight: &str) -> Option<u64> {
    let (whole, decimals) = weight.split_once('.').unwrap_or((weight, ""));
    let padded = format!("{decimals:0<3}");
    let rank =
        list::digits(whole.as_bytes())?.checked_mul(1000)?.checked_add(list::digits(padded.as_bytes())?)?;
    (padded.len() == 3 && rank <= 1000).then_some(rank)
}

/// Whether the stored answer is in the one language that the request likes best: no selection could do better.
fn is_favourite(request: &HeaderMap, stored: &HeaderMap) -> bool {
    let Some(languages) = languages(request) else { return false };
    let Some(best) = languages.iter().map(|(_, rank)| *rank).max().filter(|rank| *rank > 0) else {
        return false;
    };
    let mut favourites = languages.iter().filter(|(_, rank)| *rank == best);
    match (favourites.next(), favourites.next(), list::single(stored, &header::CONTENT_LANGUAGE)) {
        (Some((tag, _)), None, Some(language)) => language.trim_ascii().eq_ignore_ascii_case(tag.as_bytes()),
        _ => false,
    }
}

/// Fields whose values are credentials.
const SECRET: [HeaderName; 3] = [header::AUTHORIZATION, header::COOKIE, header::PROXY_AUTHORIZATION];

/// An answer that depends on more fields than this will hardly be asked for twice.
const MOST_NAMES: usize = 32;

/// Roughly what one remembered field costs besides its bytes.
const FIXED: usize = 64;
