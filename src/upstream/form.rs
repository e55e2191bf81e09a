//! Decides in which form a request names its target: HTTP/1.1 wants path and Host, HTTP/2 the whole URI.

use http::header::{Entry, HOST};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderValue, Request, Uri};

use crate::words::{self, Base};

/// How the upstream is named.
#[derive(Debug, Clone)]
pub(super) struct Form {
    scheme: Scheme,
    authority: Authority,
    field: HeaderValue,
}

impl Form {
    pub(super) fn new(base: &Base) -> Self {
        let scheme = match base.scheme {
            words::Scheme::Http => Scheme::HTTP,
            words::Scheme::Https => Scheme::HTTPS,
        };
        let authority = base.authority.clone();
        let host = authority.host();
        let named = match authority.port_u16().filter(|port| *port != base.scheme.default_port()) {
            Some(port) => format!("{host}:{port}"),
            None => host.to_owned(),
        };
        // An authority is made of bytes that a field may have.
        let field = HeaderValue::try_from(named).unwrap_or(HeaderValue::from_static(""));
        Self { scheme, authority, field }
    }

    pub(super) fn host(&self) -> &str {
        self.authority.host()
    }

    /// For a connection that speaks HTTP/1.1 (RFC 9112 §3.2.1).
    pub(super) fn for_one<B>(&self, request: &mut Request<B>) {
        if let Entry::Vacant(place) = request.headers_mut().entry(HOST) {
            place.insert(self.field.clone());
        }
        let mut parts = std::mem::take(request.uri_mut()).into_parts();
        (parts.scheme, parts.authority) = (None, None);
        parts.path_and_query.get_or_insert_with(|| PathAndQuery::from_static("/"));
        // A path alone always makes a URI.
        *request.uri_mut() = Uri::from_parts(parts).unwrap_or_default();
    }

    /// For any connection, as it came.
    pub(super) fn for_any<B>(&self, request: &mut Request<B>) {
        request.headers_mut().remove(HOST);
        let mut parts = std::mem::take(request.uri_mut()).into_parts();
        (parts.scheme, parts.authority) = (Some(self.scheme.clone()), Some(self.authority.clone()));
        *request.uri_mut() = Uri::from_parts(parts).unwrap_or_default();
    }
}
