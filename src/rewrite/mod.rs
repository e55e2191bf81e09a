//! Decides what a request looks like to the API, and what its answer looks like to the client.

use http::Request;

use crate::body::Body;

/// A request as the API will see it: absolute URI at the upstream, no hop-by-hop field. Made only here.
#[derive(Debug)]
pub struct Outbound(Request<Body>);

impl Outbound {
    /// The request itself, for the one room that sends it.
    pub(crate) fn into_request(self) -> Request<Body> {
        self.0
    }

    /// A ready-made request, for unit tests of the room that sends it.
    #[cfg(test)]
    pub(crate) fn for_tests(request: Request<Body>) -> Self {
        Self(request)
    }
}
