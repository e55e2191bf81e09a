//! What is kept of an answer, and how it becomes an answer again.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Response, header};
use tokio::time::Instant;

use crate::body::Body;

/// An answer as the API wrote it, and when the API last said yes to the tenant that asked.
#[derive(Clone)]
pub(super) struct Entry {
    pub(super) headers: HeaderMap,
    pub(super) bytes: Kept,
    pub(super) proved_at: Instant,
}

/// How much of the answer is kept.
#[derive(Debug, Clone)]
pub(super) enum Kept {
    /// The answer to a HEAD: no bytes.
    Head,
    /// All bytes, in shared chunks.
    Whole(Arc<[Bytes]>),
}

impl Entry {
    /// Bytes held: body, fields and fixed cost.
    pub(super) fn bytes(&self) -> usize {
        let fields: usize =
            self.headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 32).sum();
        let body: usize = match &self.bytes {
            Kept::Head => 0,
            Kept::Whole(chunks) => chunks.iter().map(Bytes::len).sum(),
        };
        size_of::<Self>() + fields + body
    }

    /// Whether it can answer `method`.
    pub(super) fn answers(&self, method: &Method) -> bool {
        *method == Method::HEAD || matches!(self.bytes, Kept::Whole(_))
    }

    /// How long ago the API said yes.
    pub(super) fn age(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.proved_at)
    }

    /// The kept answer, with `Age` counted from the tenant's own proof.
    pub(super) fn response(&self, method: &Method, now: Instant) -> Response<Body> {
        let mut response = Response::new(match &self.bytes {
            Kept::Whole(chunks) if *method != Method::HEAD => Body::kept(Arc::clone(chunks)),
            Kept::Head | Kept::Whole(_) => Body::empty(),
        });
        *response.headers_mut() = self.headers.clone();
        response.headers_mut().insert(header::AGE, HeaderValue::from(self.age(now).as_secs()));
        response
    }
}

/// Without fields and bytes: they are the tenant's.
impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Entry({} bytes)", self.bytes())
    }
}
