//! Decides what a request is: which upstream target, which route template, which family, which rules.

use std::sync::Arc;

use http::request::Parts;
use http::uri::{Authority, PathAndQuery};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Version, header};

use crate::words::{Base, Scheme};

mod masked;
mod overrides;
mod table;

pub use masked::masked;
pub use overrides::OVERRIDES;
pub use table::{CacheRule, RouteId};

/// What kind of API stands upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Any origin: every method but CONNECT and TRACE, every path; nothing is rewritten.
    Generic,
    /// The Webex REST API: `/v1` alias, contents rule, rewriting.
    Webex,
}

/// Which authorities are answered; all others get 421.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hosts {
    /// `hosts = ["*"]`.
    Any,
    /// Loopback names, the API's names, and these hosts (with a port: that port alone).
    Listed(Vec<Authority>),
}

/// What the router must know.
#[derive(Debug, Clone)]
pub struct RouterSettings {
    /// Where every request goes.
    pub upstream: Base,
    /// Other names of the same API, folded into `upstream`.
    pub aliases: Vec<Base>,
    /// Which rules hold.
    pub kind: Kind,
    /// Which authorities are answered.
    pub hosts: Hosts,
    /// What URLs are rewritten to when an ingress hides the client's scheme; none: what the client used.
    pub public_base: Option<Base>,
    /// This process in `Via`, to detect loops.
    pub via: Arc<str>,
    /// The longest path and query, in bytes.
    pub max_uri_bytes: usize,
    /// The most header fields, cookie crumbs counted one by one.
    pub max_fields: usize,
}

/// Where a request goes and which rules it follows. Made only by [`Router::find`].
#[derive(Clone)]
pub struct Route {
    id: RouteId,
    family: Family,
    rule: CacheRule,
    kind: Kind,
    client: Base,
    upstream: Arc<Base>,
    target: PathAndQuery,
    is_native: bool,
}

impl Route {
    /// The template, from a fixed table: a safe metric label.
    pub fn id(&self) -> RouteId {
        self.id
    }

    /// What shares a rate limit upstream.
    pub fn family(&self) -> Family {
        self.family
    }

    /// What the cache may do with an answer.
    pub fn rule(&self) -> CacheRule {
        self.rule
    }

    /// Which API's rules hold.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Scheme and authority that the client used: what URLs in answers must point at.
    pub fn client(&self) -> &Base {
        &self.client
    }

    /// Scheme and authority of the API.
    pub fn upstream(&self) -> &Base {
        &self.upstream
    }

    /// Canonical path and verbatim query, as they go upstream.
    pub fn target(&self) -> &PathAndQuery {
        &self.target
    }

    /// The client called the API by its own name: no URL needs rewriting.
    pub fn is_native(&self) -> bool {
        self.is_native
    }
}

/// Without the query and with the path masked: both may carry credentials.
impl std::fmt::Debug for Route {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Route({} for {})", masked(self.target.path()), self.client)
    }
}

/// First path segment, reads and writes apart: what the API limits together (GATE 3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Family {
    /// A word of the fixed table, or `other`.
    pub segment: &'static str,
    /// Whether the request changes something.
    pub access: Access,
}

impl Family {
    /// The family of that name; none if the table has no such segment.
    pub fn named(segment: &str, access: Access) -> Option<Self> {
        let known = table::known_segment(segment);
        (known == segment).then_some(Self { segment: known, access })
    }
}

impl Access {
    /// The word for log, metric and state.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
        }
    }

    /// Reads what [`Access::as_str`] wrote.
    pub fn named(word: &str) -> Option<Self> {
        [Self::Read, Self::Write].into_iter().find(|access| access.as_str() == word)
    }
}

/// Reads and writes have limits of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Access {
    /// GET, HEAD, OPTIONS.
    Read,
    /// Everything else.
    Write,
}

/// Why a request is refused before anything else looks at it: always the client's fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// A path that two parsers could read differently.
    #[error(
        "the target is no absolute path, or contains a dot segment, a backslash, an encoded separator or a byte that is not ASCII"
    )]
    AmbiguousPath,
    /// No Host, or two that differ.
    #[error("the request must name exactly one host")]
    BadHost,
    /// The request already passed this process.
    #[error("the request has already passed this Tollgate: its upstream leads back to it")]
    Loop,
    /// A method longer than any that is known.
    #[error("the method is longer than {MAX_METHOD_BYTES} bytes")]
    LongMethod,
    /// CONNECT and TRACE never pass.
    #[error("method {0} is not proxied")]
    Method(Method),
    /// A value that the next parser would read without its white space; only HTTP/2 can carry one.
    #[error("field {0} begins or ends with white space")]
    PaddedField(HeaderName),
    /// More header fields than allowed.
    #[error("the request has more than {0} header fields")]
    TooManyFields(usize),
    /// An authority that is not ours to answer.
    #[error("host {0} is not served here: add it to listen.hosts if it should be")]
    UnknownHost(Authority),
    /// Path and query are longer than allowed.
    #[error("the request target is longer than {0} bytes")]
    UriTooLong(usize),
}

/// Finds the route of a request. Pure: the same head gives the same route.
#[derive(Debug, Clone)]
pub struct Router {
    settings: RouterSettings,
    upstream: Arc<Base>,
    api: Vec<Name>,
}

/// One of the API's names, taken apart once and not for every request.
#[derive(Debug, Clone)]
struct Name {
    scheme: Scheme,
    host: Box<str>,
    port: u16,
}

impl Router {
    /// A router for one upstream.
    pub fn new(settings: RouterSettings) -> Self {
        let api = std::iter::once(&settings.upstream).chain(&settings.aliases).map(Name::of).collect();
        Self { upstream: Arc::new(settings.upstream.clone()), settings, api }
    }

    /// Decides where the request goes. Looks at the head only.
    ///
    /// # Errors
    /// One [`Denied`] per fault; nothing has left for the upstream.
    pub fn find(&self, scheme: Scheme, head: &Parts) -> Result<Route, Denied> {
        self.check_size(head)?;
        let is_stream = head.version == Version::HTTP_2;
        if let Some((name, _)) = head.headers.iter().find(|(_, value)| is_stream && is_padded(value)) {
            return Err(Denied::PaddedField(name.clone()));
        }
        let (authority, port) = authority(head)?;
        let asked = (authority.host(), port);
        let is_native = self.api.iter().any(|name| name.is(scheme, asked));
        if !is_native && !self.answers(asked) {
            return Err(Denied::UnknownHost(authority));
        }
        if matches!(head.method, Method::CONNECT | Method::TRACE) {
            return Err(Denied::Method(head.method.clone()));
        }
        if has_passed(&head.headers, &self.settings.via) {
            return Err(Denied::Loop);
        }
        let target = self.target(head)?;
        let (id, segment, rule) = match self.settings.kind {
            Kind::Generic => (RouteId::GENERIC, "other", CacheRule::Standard),
            Kind::Webex => table::classify(&target),
        };
        Ok(Route {
            id,
            family: Family { segment, access: access(&head.method) },
            rule,
            kind: self.settings.kind,
            client: self.settings.public_base.clone().unwrap_or(Base { scheme, authority }),
            upstream: Arc::clone(&self.upstream),
            target,
            is_native,
        })
    }

    fn check_size(&self, head: &Parts) -> Result<(), Denied> {
        let uri_bytes = head.uri.path_and_query().map_or(0, |target| target.as_str().len());
        if uri_bytes > self.settings.max_uri_bytes {
            return Err(Denied::UriTooLong(self.settings.max_uri_bytes));
        }
        if head.method.as_str().len() > MAX_METHOD_BYTES {
            return Err(Denied::LongMethod);
        }
        if head.headers.len() > self.settings.max_fields {
            return Err(Denied::TooManyFields(self.settings.max_fields));
        }
        Ok(())
    }

    fn answers(&self, (host, port): (&str, Option<u16>)) -> bool {
        let Hosts::Listed(listed) = &self.settings.hosts else { return true };
        is_loopback(host)
            || self.api.iter().any(|name| name.host.eq_ignore_ascii_case(host))
            || listed.iter().any(|own| {
                own.host().eq_ignore_ascii_case(host) && (own.port().is_none() || own.port_u16() == port)
            })
    }

    fn target(&self, head: &Parts) -> Result<PathAndQuery, Denied> {
        // A byte that is not ASCII is read as UTF-8 here, as Latin-1 there; RFC 3986 allows it nowhere.
        let target =
            path_and_query(head).filter(|target| target.as_str().is_ascii()).ok_or(Denied::AmbiguousPath)?;
        if self.settings.kind == Kind::Generic {
            return Ok(target);
        }
        if table::is_ambiguous(target.path()) {
            return Err(Denied::AmbiguousPath);
        }
        // A base URL without its trailing slash makes the Python SDKs ask for /people instead of /v1/people.
        if table::is_missing_version(target.path()) {
            return PathAndQuery::try_from(format!("/v1{target}")).map_err(|_invalid| Denied::AmbiguousPath);
        }
        Ok(target)
    }
}

impl Name {
    fn of(base: &Base) -> Self {
        let port = base.authority.port_u16().unwrap_or_else(|| base.scheme.default_port());
        Self { scheme: base.scheme, host: base.authority.host().into(), port }
    }

    fn is(&self, scheme: Scheme, (host, port): (&str, Option<u16>)) -> bool {
        self.scheme == scheme
            && self.port == port.unwrap_or_else(|| scheme.default_port())
            && self.host.eq_ignore_ascii_case(host)
    }
}

fn access(method: &Method) -> Access {
    if matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS) { Access::Read } else { Access::Write }
}

/// The target in origin form, and the asterisk for OPTIONS (RFC 9112 §3.2); none for everything else.
fn path_and_query(head: &Parts) -> Option<PathAndQuery> {
    let target = head.uri.path_and_query()?;
    let is_web = head
        .uri
        .scheme()
        .is_none_or(|scheme| [http::uri::Scheme::HTTP, http::uri::Scheme::HTTPS].contains(scheme));
    let is_target = target.as_str().starts_with('/') || (target == "*" && head.method == Method::OPTIONS);
    (is_web && is_target).then(|| target.clone())
}

/// The one authority the request names, and its port: RFC 9112 §3.2 for HTTP/1.1, RFC 9113 §8.3.1 for HTTP/2.
fn authority(head: &Parts) -> Result<(Authority, Option<u16>), Denied> {
    let mut named = head.headers.get_all(header::HOST).iter();
    let host = named.next().map(|value| Authority::try_from(value.as_bytes())).transpose();
    let host = host.map_err(|_invalid| Denied::BadHost)?;
    if named.next().is_some() {
        return Err(Denied::BadHost);
    }
    let authority = match (head.uri.authority(), host) {
        (Some(target), Some(host)) if *target != host => return Err(Denied::BadHost),
        (Some(target), _) => target.clone(),
        (None, Some(host)) => host,
        (None, None) => return Err(Denied::BadHost),
    };
    let port = authority.port_u16();
    let has_odd_port = port.is_none() && !is_bare(&authority);
    if authority.as_str().contains('@') || has_odd_port {
        Err(Denied::BadHost)
    } else {
        Ok((authority, port))
    }
}

/// Nothing follows the host but an empty port.
fn is_bare(authority: &Authority) -> bool {
    authority.as_str().strip_suffix(':').unwrap_or(authority.as_str()) == authority.host()
}

fn is_padded(value: &HeaderValue) -> bool {
    value.as_bytes() != value.as_bytes().trim_ascii()
}

fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost")
        || host.to_ascii_lowercase().ends_with(".localhost")
        || bare.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn has_passed(headers: &HeaderMap, via: &str) -> bool {
    headers
        .get_all(header::VIA)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|line| line.split(','))
        .any(|hop| hop.split_whitespace().nth(1) == Some(via))
}

/// UPDATEREDIRECTREF (RFC 4437), longer than any other in use, has 17.
const MAX_METHOD_BYTES: usize = 32;

#[cfg(test)]
mod tests;
