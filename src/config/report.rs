//! What came of reading the configuration again, for whoever ordered it.

/// The result of a reload: everything that can be taken over at once, or nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Report {
    /// The new configuration is in force.
    Applied {
        /// Keys that changed, by their values or by the content of the files that they name.
        changed: Vec<&'static str>,
        /// Keys that differ from what the process was started with, and stay as they were until a restart.
        needs_restart: Vec<&'static str>,
    },
    /// Everything stays as it was.
    Refused {
        /// What is wrong, one entry per fault; at least one. Quotes no credential.
        faults: Vec<String>,
    },
}

impl Report {
    /// Whether the new configuration is in force.
    pub fn is_applied(&self) -> bool {
        matches!(self, Self::Applied { .. })
    }
}
