//! Decides whom a limit binds, where the answer itself says so.

use http::HeaderMap;

use super::field::members;

/// Whom a limit binds, in the API's own words. Wider scopes are greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum NamedScope {
    /// One room of one tenant.
    Room,
    /// One family of routes of one tenant.
    Route,
    /// One tenant, whatever he asks for.
    Tenant,
    /// Everyone behind this address, application or organization.
    Egress,
}

impl NamedScope {
    /// Reads `X-RateLimit-Scope` and its spellings. Of several known words the widest counts; unknown ones are none.
    pub(super) fn read(headers: &HeaderMap) -> Option<Self> {
        NAMES.into_iter().flat_map(|name| members(headers, name)).filter_map(Self::parse).max()
    }

    fn parse(word: &str) -> Option<Self> {
        match word.trim_matches('"').to_ascii_lowercase().as_str() {
            "application" | "egress" | "global" | "ip" | "organization" => Some(Self::Egress),
            "tenant" | "token" | "user" => Some(Self::Tenant),
            "endpoint" | "resource" | "route" | "shared" => Some(Self::Route),
            "room" => Some(Self::Room),
            _ => None,
        }
    }
}

const NAMES: [&str; 3] = ["x-ratelimit-scope", "x-rate-limit-scope", "ratelimit-scope"];
