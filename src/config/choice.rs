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
