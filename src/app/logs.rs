//! Decides what a log line looks like: JSON for machines, text for a person at a terminal; and what a panic leaves.

use std::any::Any;
use std::io::IsTerminal;
use std::sync::{Arc, Mutex, PoisonError};

use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry, reload};

use super::lines::Lines;
use crate::config::{Log, LogFormat, LogLevel};

/// The log, once it is started: how much is said can be changed while the process runs. Cloning shares it.
#[derive(Debug, Clone)]
pub struct Logs {
    handle: reload::Handle<Targets, Registry>,
    level: Arc<Mutex<LogLevel>>,
}

impl Logs {
    /// Sends every event to the standard output; a panic becomes one, too. A second call changes nothing.
    pub fn start(log: &Log) -> Self {
        let (filter, handle) = reload::Layer::new(filter(log.level));
        let is_terminal = std::io::stdout().is_terminal();
        let is_text = match log.format {
            LogFormat::Auto => is_terminal,
            LogFormat::Json => false,
            LogFormat::Text => true,
        };
        let lines = tracing_subscriber::fmt::layer().with_target(false);
        // Left alone on a terminal, where NO_COLOR decides.
        let lines = if is_terminal { lines } else { lines.with_ansi(false) };
        let lines =
            if is_text { lines.compact().boxed() } else { lines.json().event_format(Lines::new()).boxed() };
        // Fails only if a subscriber is there already, and then that one is meant to stay.
        if tracing_subscriber::registry().with(filter).with(lines).try_init().is_ok() {
            std::panic::set_hook(Box::new(|panic| {
                let at = panic.location().map(ToString::to_string);
                tracing::error!(at, error = said(panic.payload()), "panic");
            }));
        }
        Self { handle, level: Arc::new(Mutex::new(log.level)) }
    }

    /// Turns to `level`. Returns the level before; none if somebody else's log is in place, which stays as it is.
    pub fn turn(&self, level: LogLevel) -> Option<LogLevel> {
        let mut known = self.level.lock().unwrap_or_else(PoisonError::into_inner);
        self.handle.reload(filter(level)).ok()?;
        Some(std::mem::replace(&mut known, level))
    }
}

/// Libraries speak of header fields at their lower levels; what they have to say to operators is a warning. No
/// setting lets them say more.
fn filter(level: LogLevel) -> Targets {
    let level = match level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    };
    Targets::new().with_default(level.min(LevelFilter::WARN)).with_target("tollgate", level)
}

/// What may be said of a panic: a text of the program itself. One that was put together may quote a request.
fn said(payload: &(dyn Any + Send)) -> &'static str {
    payload.downcast_ref::<&'static str>().copied().unwrap_or("a message that may quote a request")
}

#[cfg(test)]
mod tests {
    use super::*;

    use tracing::Level;

    #[test]
    fn no_level_lets_another_crate_speak_of_what_it_does() {
        let levels = [LogLevel::Error, LogLevel::Warn, LogLevel::Info, LogLevel::Debug, LogLevel::Trace];
        for level in levels {
            let filter = filter(level);
            for target in ["h2::codec::framed_read", "hyper::proto", "hyper_util", "rustls", "hickory_proto"]
            {
                for spoken in [Level::INFO, Level::DEBUG, Level::TRACE] {
                    assert!(!filter.would_enable(target, &spoken), "{level:?} {target} {spoken}");
                }
            }
            assert_eq!(filter.would_enable("h2", &Level::WARN), level != LogLevel::Error);
            assert!(filter.would_enable("h2", &Level::ERROR));
            assert!(filter.would_enable("tollgate::trail", &Level::ERROR));
        }
        assert!(filter(LogLevel::Trace).would_enable("tollgate::trail", &Level::TRACE));
        assert!(!filter(LogLevel::Info).would_enable("tollgate::trail", &Level::DEBUG));
    }

    #[test]
    fn a_panic_says_what_the_program_wrote_and_nothing_that_it_read() {
        let literal: Box<dyn Any + Send> = Box::new("the line is torn");
        let formatted: Box<dyn Any + Send> = Box::new("Bearer canary".to_owned());
        assert_eq!(said(literal.as_ref()), "the line is torn");
        assert!(!said(formatted.as_ref()).contains("canary"));
    }
}
