//! The words a key may choose from, as the program knows them.

/// Whether waiting is real.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GateMode {
    /// Requests wait.
    Enforce,
    /// Requests pass; what they would have waited is recorded.
    Observe,
}

/// Who resolves the API's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ResolveBy {
    /// The DNS servers.
    Dns,
    /// The machine's own resolver.
    System,
}

/// The least that is worth a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogLevel {
    /// A person must act.
    Error,
    /// The proxy coped and someone should know.
    Warn,
    /// One line per request.
    Info,
    /// Per step.
    Debug,
    /// Everything.
    Trace,
}

impl LogLevel {
    /// All, the fewest lines first.
    pub const ALL: [Self; 5] = [Self::Error, Self::Warn, Self::Info, Self::Debug, Self::Trace];

    /// The word as it stands in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}

/// How a line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// Text on a terminal, JSON elsewhere.
    Auto,
    /// One JSON object per line.
    Json,
    /// For people.
    Text,
}
