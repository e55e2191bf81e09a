//! Decides what makes two requests the same: the only file in which a cache key is built (decision 0006).

use crate::admit::Pass;
use crate::route::Route;
use crate::words::{CredentialId, TenantId};

use super::Purge;

/// One tenant's view of one resource. A typed tuple, never a joined string.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Key {
    tenant: TenantId,
    credential: CredentialId,
    target: Box<str>,
}

impl Key {
    /// Method-independent; canonical path and verbatim query; private to the credential.
    pub(super) fn new(route: &Route, pass: &Pass) -> Self {
        Self { tenant: pass.tenant(), credential: pass.credential(), target: route.target().as_str().into() }
    }

    /// Whether the entry belongs to `credential`.
    pub(super) fn is_of(&self, credential: CredentialId) -> bool {
        self.credential == credential
    }

    /// Whether an operator means it.
    pub(super) fn is_named_by(&self, purge: &Purge) -> bool {
        match purge {
            Purge::All => true,
            Purge::Content(id) => {
                let path = self.target.split('?').next().unwrap_or_default();
                path.strip_prefix("/v1/contents/").is_some_and(|content| content == id)
            }
            Purge::Prefix(prefix) => self.target.starts_with(prefix.as_str()),
            Purge::Tenant(tenant) => self.tenant == *tenant,
        }
    }

    /// Bytes held by the key itself.
    pub(super) fn bytes(&self) -> usize {
        size_of::<Self>() + self.target.len()
    }
}
