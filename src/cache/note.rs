//! What the cache did, in the words of RFC 9211: for log, metric and `Cache-Status`.

use std::time::Duration;

use crate::words::Outcome;

/// Why a request went upstream (RFC 9211 §2.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// The route, the configuration or the request keeps the cache out of it.
    Bypass,
    /// The method is not one that can be answered from a cache.
    Method,
    /// A part of the answer is kept, not what was asked for.
    Partial,
    /// The client asked for an answer from upstream.
    Request,
    /// Something is kept, but it is too old, or the proof that this tenant may have it is.
    Stale,
    /// Nothing is kept under this URI.
    UriMiss,
    /// Something is kept, for requests with other fields.
    VaryMiss,
}

/// What the cache did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Note {
    /// Read along while another request fetched it.
    Collapsed(Why),
    /// Sent upstream.
    Forwarded(Why, Stored),
    /// Answered from what is kept, which is good for this much longer.
    Hit(Duration),
    /// Answered from what is kept after the API confirmed with a HEAD that this tenant may have it.
    Proved,
    /// Answered from what is kept after a 304.
    Revalidated,
    /// Answered from what is kept though it is no longer fresh.
    Stale(Excuse),
}

/// Why something was served that is no longer fresh.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Excuse {
    /// The upstream failed, or could not be reached (RFC 5861 §4, RFC 9111 §4.2.4).
    Failed,
    /// The gate is closed.
    Gate,
    /// It is being validated meanwhile (RFC 5861 §3).
    Revalidating,
}

/// Whether an answer is being kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stored {
    /// It streams past.
    No,
    /// It is kept once its last byte has come.
    Yes,
}

impl Why {
    /// The value of `fwd`; a part that does not suffice is `partial`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Bypass => "bypass",
            Self::Method => "method",
            Self::Partial => "partial",
            Self::Request => "request",
            Self::Stale => "stale",
            Self::UriMiss => "uri-miss",
            Self::VaryMiss => "vary-miss",
        }
    }
}

impl Note {
    /// The word for log and metric.
    pub fn outcome(self) -> Outcome {
        match self {
            Self::Collapsed(_) => Outcome::Coalesced,
            Self::Forwarded(Why::Bypass | Why::Method, _) => Outcome::Bypass,
            Self::Forwarded(..) => Outcome::Miss,
            Self::Hit(_) => Outcome::Hit,
            Self::Proved | Self::Revalidated => Outcome::Revalidated,
            Self::Stale(_) => Outcome::Stale,
        }
    }

    /// The member of `Cache-Status` that says it.
    pub fn cache_status(self) -> String {
        match self {
            Self::Collapsed(why) => format!("Tollgate; fwd={}; collapsed", why.as_str()),
            Self::Forwarded(why, Stored::No) => format!("Tollgate; fwd={}", why.as_str()),
            Self::Forwarded(why, Stored::Yes) => format!("Tollgate; fwd={}; stored", why.as_str()),
            Self::Hit(left) => format!("Tollgate; hit; ttl={}", left.as_secs()),
            Self::Proved => "Tollgate; fwd=stale; fwd-status=200; detail=proved".to_owned(),
            Self::Revalidated => "Tollgate; fwd=stale; fwd-status=304".to_owned(),
            Self::Stale(Excuse::Failed) => "Tollgate; hit; detail=stale-if-error".to_owned(),
            Self::Stale(Excuse::Gate) => "Tollgate; hit; detail=stale-while-gated".to_owned(),
            Self::Stale(Excuse::Revalidating) => "Tollgate; hit; detail=stale-while-revalidate".to_owned(),
        }
    }
}
