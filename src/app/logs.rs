//! Decides what a log line looks like: JSON for machines, text for a person at a terminal; and how much is said.

use std::io::IsTerminal;
use std::sync::{Arc, Mutex, PoisonError};

use tracing_subscriber::EnvFilter;

use crate::config::{Log, LogFormat, LogLevel};

/// Sets how much is said while the process runs. Cloning shares it.
#[derive(Clone)]
pub struct Dial(Arc<Mutex<State>>);

struct State {
    level: LogLevel,
    apply: Box<dyn FnMut(EnvFilter) -> bool + Send>,
}

impl std::fmt::Debug for Dial {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Dial")
    }
}

impl Dial {
    /// Turns to `level`. Returns the level before; none if somebody else's log cannot be turned.
    pub fn turn(&self, level: LogLevel) -> Option<LogLevel> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        (state.apply)(filter(level)).then(|| std::mem::replace(&mut state.level, level))
    }
}

/// Sends every event to the standard output. A second call changes nothing.
pub fn start(log: &Log) -> Dial {
    let is_text = match log.format {
        LogFormat::Auto => std::io::stdout().is_terminal(),
        LogFormat::Json => false,
        LogFormat::Text => true,
    };
    let lines = tracing_subscriber::fmt().with_env_filter(filter(log.level)).with_target(false);
    // Starting fails only if a subscriber is there already, and then that one is meant to stay.
    let apply: Box<dyn FnMut(EnvFilter) -> bool + Send> = if is_text {
        let lines = lines.compact().with_filter_reloading();
        let handle = lines.reload_handle();
        drop(lines.try_init());
        Box::new(move |filter| handle.reload(filter).is_ok())
    } else {
        let lines = lines.json().flatten_event(true).with_filter_reloading();
        let handle = lines.reload_handle();
        drop(lines.try_init());
        Box::new(move |filter| handle.reload(filter).is_ok())
    };
    Dial(Arc::new(Mutex::new(State { level: log.level, apply })))
}

/// Libraries may speak of headers at their lower levels; what they have to say to operators is a warning.
fn filter(level: LogLevel) -> EnvFilter {
    EnvFilter::new(format!("warn,tollgate={}", level.as_str()))
}
