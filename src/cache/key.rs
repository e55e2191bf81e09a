//! Decides what makes two requests the same: the only file in which a cache key is built (decision 0006).

use crate::admit::Pass;
use crate::route::Route;
use crate::words::CredentialId;

/// One tenant's view of one resource. A typed tuple, never a joined string.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Key {
    credential: CredentialId,
    target: Box<str>,
}

impl Key {
    /// Method-independent; canonical path and verbatim query; private to the credential.
    pub(super) fn new(route: &Route, pass: &Pass) -> Self {
        Self { credential: pass.credential(), target: route.target().as_str().into() }
    }

    /// Whether the entry belongs to `credential`.
    pub(super) fn is_of(&self, credential: CredentialId) -> bool {
        self.credential == credential
    }

    /// Bytes held by the key itself.
    pub(super) fn bytes(&self) -> usize {
        size_of::<Self>() + self.target.len()
    }
}
