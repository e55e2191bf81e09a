//! Decides what a log line looks like: JSON for machines, text for a person at a terminal.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

use crate::config::{Log, LogFormat, LogLevel};

/// Sends every event to the standard output. A second call changes nothing.
pub fn start(log: &Log) {
    let level = match log.level {
        LogLevel::Error => "error",
        LogLevel::Warn => "warn",
        LogLevel::Info => "info",
        LogLevel::Debug => "debug",
        LogLevel::Trace => "trace",
    };
    // Libraries may speak of headers at their lower levels; what they have to say to operators is a warning.
    let filter = EnvFilter::new(format!("warn,tollgate={level}"));
    let is_text = match log.format {
        LogFormat::Auto => std::io::stdout().is_terminal(),
        LogFormat::Json => false,
        LogFormat::Text => true,
    };
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_target(false);
    // Fails only if a subscriber is there already, and then that one is meant to stay.
    drop(if is_text { lines.compact().try_init() } else { lines.json().flatten_event(true).try_init() });
}
