//! Decides what is remembered of an answer besides its bytes.

use std::fmt;
use std::time::Duration;

use http::request::Parts;
use http::{HeaderMap, Method, StatusCode, header};
use tokio::time::Instant;

use super::freshness::Terms;
use super::list;
use super::ranges::Part;
use super::vary::Selection;

/// A kept answer without its bytes.
#[derive(Clone)]
pub(in crate::cache) struct Stored {
    /// As the upstream sent it; 206 for a part.
    pub(in crate::cache) status: StatusCode,
    /// As the upstream wrote them, without those of one connection and those that it reserves.
    pub(in crate::cache) headers: HeaderMap,
    /// Which bytes belong to it.
    pub(in crate::cache) extent: Extent,
    /// What it allows over time.
    pub(in crate::cache) terms: Terms,
    /// When its head came, or its last confirmation.
    pub(in crate::cache) received_at: Instant,
    /// How old it was then, in whole seconds.
    pub(in crate::cache) initial_age: Duration,
    pub(super) basis: Basis,
    pub(super) selection: Selection,
}

/// Which bytes are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::cache) enum Extent {
    /// None: the answer to a HEAD.
    Head,
    /// Some of a larger whole.
    Part(Part),
    /// All; how many, once that is known.
    Whole(Option<u64>),
}

/// Whose word its lifetime is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Basis {
    /// The origin's.
    Origin,
    /// The operator's: so long after each receipt.
    Rule(Duration),
}

impl Stored {
    /// How old it is now (RFC 9111 §4.2.3), on the monotonic clock since its receipt.
    pub(in crate::cache) fn age(&self, now: Instant) -> Duration {
        self.initial_age.saturating_add(now.saturating_duration_since(self.received_at))
    }

    /// How long it stays fresh; zero if it is stale. For `Cache-Status`.
    pub(in crate::cache) fn fresh_for(&self, now: Instant) -> Duration {
        self.terms.lifetime.saturating_sub(self.age(now))
    }

    /// Bytes held here: fields, selection and fixed cost; the body is the caller's.
    pub(in crate::cache) fn weight(&self) -> usize {
        let fields: usize =
            self.headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 32).sum();
        size_of::<Self>() + fields + self.selection.bytes()
    }

    /// Settles how many bytes there are, once all have come; none if they are not as many as the head promised.
    pub(in crate::cache) fn finished(mut self, body_bytes: u64) -> Option<Self> {
        let is_as_promised = match self.extent {
            Extent::Head => body_bytes == 0,
            Extent::Part(part) => part.bytes == body_bytes,
            Extent::Whole(promised) => promised.is_none_or(|promised| promised == body_bytes),
        };
        if let Extent::Whole(length) = &mut self.extent {
            *length = Some(body_bytes);
        }
        is_as_promised.then_some(self)
    }

    /// Whether `newer`, fetched for `request`, takes its place.
    pub(in crate::cache) fn is_replaced_by(&self, newer: &Self, request: &Parts) -> bool {
        if !self.is_selected_by(request) {
            return false;
        }
        match (self.extent, newer.extent) {
            (_, Extent::Whole(_)) | (Extent::Head, Extent::Head) => true,
            (Extent::Part(_), Extent::Part(_)) => !newer.outlives(self),
            // Bytes stay unless the newer answer is known to be about others.
            (_, Extent::Part(_) | Extent::Head) => {
                self.etag().is_some() && newer.etag().is_some() && self.etag() != newer.etag()
            }
        }
    }

    /// Whether the older part is still worth its place: one of the same bytes that holds others.
    fn outlives(&self, older: &Self) -> bool {
        let (Extent::Part(newer), Extent::Part(part)) = (self.extent, older.extent) else { return false };
        let is_within = newer.first <= part.first && part.first + part.bytes <= newer.first + newer.bytes;
        self.strong_etag().is_some() && self.strong_etag() == older.strong_etag() && !is_within
    }

    /// Whether the fields that Vary names are those of the request it answered.
    pub(super) fn is_selected_by(&self, request: &Parts) -> bool {
        self.selection.matches(&request.headers, &self.headers)
    }

    /// Whether it has the bytes to answer this method.
    pub(super) fn answers(&self, method: &Method) -> bool {
        match self.extent {
            Extent::Head => *method == Method::HEAD,
            Extent::Part(_) => *method == Method::GET,
            Extent::Whole(_) => *method == Method::GET || *method == Method::HEAD,
        }
    }

    /// Whether the upstream can be asked if it still holds.
    pub(in crate::cache) fn has_validator(&self) -> bool {
        [header::ETAG, header::LAST_MODIFIED].iter().any(|name| self.headers.contains_key(name))
    }

    /// Its entity tag, weak or strong.
    pub(super) fn etag(&self) -> Option<&[u8]> {
        list::single(&self.headers, &header::ETAG).filter(|tag| !tag.is_empty())
    }

    /// Its entity tag, if it vouches for every byte.
    pub(super) fn strong_etag(&self) -> Option<&[u8]> {
        self.etag().filter(|tag| tag.starts_with(b"\""))
    }
}

/// Without fields: they are the tenant's.
impl fmt::Debug for Stored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stored")
            .field("status", &self.status)
            .field("extent", &self.extent)
            .field("terms", &self.terms)
            .finish_non_exhaustive()
    }
}
