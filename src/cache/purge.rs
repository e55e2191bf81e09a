//! Decides what an operator's purge reaches: what is kept, and what is on its way.

use crate::words::TenantId;

use super::marks::Subject;
use super::{Disk, Shared};

/// What an operator wants gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Purge {
    /// Everything.
    All,
    /// One attachment, by the id in its URL.
    Content(String),
    /// Every path and query that begins so.
    Prefix(String),
    /// Whatever was kept for one tenant.
    Tenant(TenantId),
}

impl Shared {
    pub(super) fn purge(&self, purge: &Purge) -> u64 {
        self.mark_purged(purge);
        if let Some(telling) = self.marks.telling() {
            telling.purge(purge);
        }
        self.remove_purged(purge)
    }

    fn mark_purged(&self, purge: &Purge) {
        // A mark for each path would not reach what is on its way under paths that nobody can list.
        match purge {
            Purge::Content(id) => self.marks.mark(Subject::Target(&format!("{CONTENTS}{id}"))),
            Purge::All | Purge::Prefix(_) | Purge::Tenant(_) => self.marks.mark(Subject::Underway),
        }
    }

    pub(super) fn remove_purged(&self, purge: &Purge) -> u64 {
        let on_disk = |disk: &Disk| match purge {
            Purge::All => disk.clear(),
            Purge::Content(id) => disk.remove_where(|path| is_content(path, id)),
            Purge::Prefix(prefix) => disk.remove_where(|path| path.starts_with(prefix.as_str())),
            Purge::Tenant(_) => 0,
        };
        let removed = self.store.remove_where(|key, tenant| match purge {
            Purge::All => true,
            Purge::Content(id) => is_content(key.target(), id),
            Purge::Prefix(prefix) => key.target().starts_with(prefix.as_str()),
            Purge::Tenant(wanted) => tenant == Some(*wanted),
        });
        removed + self.disk.as_ref().map_or(0, on_disk)
    }
}

fn is_content(path: &str, id: &str) -> bool {
    path.strip_prefix(CONTENTS).is_some_and(|rest| rest.trim_end_matches('/') == id)
}

const CONTENTS: &str = "/v1/contents/";
