//! Decides what makes two requests the same: the only file in which a cache key is built (decision 0006).

use std::sync::Arc;

use crate::admit::Pass;
use crate::route::{Kind, Route};
use crate::words::CredentialId;

/// Canonical path and verbatim query.
pub(super) type Target = Arc<str>;

/// Under what something is kept: method-independent, typed, never a joined string.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Key {
    /// The bytes of an attachment: once for all, and for nobody without a [`Key::Proof`] of his own.
    Content(Target),
    /// What the API said of an attachment to one credential.
    Proof(CredentialId, Target),
    /// Answers to one credential.
    Own(CredentialId, Target),
    /// Answers that HTTP itself gives to everybody (RFC 9111 §3.5); `kind = "generic"` alone has them.
    Public(Target),
}

impl Key {
    /// The bytes behind an attachment's URL.
    pub(super) fn content(route: &Route) -> Self {
        Self::Content(target(route))
    }

    /// This credential's access to them.
    pub(super) fn proof(route: &Route, pass: &Pass) -> Self {
        Self::Proof(pass.credential(), target(route))
    }

    /// What this credential was answered.
    pub(super) fn own(route: &Route, pass: &Pass) -> Self {
        Self::Own(pass.credential(), target(route))
    }

    /// What anybody may be answered; none for Webex, where every answer is somebody's.
    pub(super) fn public(route: &Route) -> Option<Self> {
        (route.kind() == Kind::Generic).then(|| Self::Public(target(route)))
    }

    /// The resource, whoever asked for it.
    pub(super) fn target(&self) -> &str {
        match self {
            Self::Content(target) | Self::Proof(_, target) | Self::Own(_, target) | Self::Public(target) => {
                target
            }
        }
    }

    /// Bytes held by the key itself.
    pub(super) fn bytes(&self) -> usize {
        size_of::<Self>() + self.target().len()
    }
}

fn target(route: &Route) -> Target {
    route.target().as_str().into()
}
