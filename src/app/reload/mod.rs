//! Decides what a new configuration changes in a process that runs, and names what only a restart can change.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use crate::admit::NamedTenant;
use crate::config::{Config, LogLevel, Report, Shutdown};
use crate::gate::GateSettings;
use crate::proxy::Proxy;
use crate::server::{Server, ServerSettings};
use crate::upstream::Client;

use super::logs::Logs;
use super::notify::{Stage, Supervisor};
use super::tls::{Renewed, Shown};
use super::{Fault, build, machine};

mod files;

pub(super) use files::Seen;

/// What whoever reads the signals wants of the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Read the configuration again.
    Reload,
    /// End.
    Stop,
}

/// Told by whoever reads the signals.
pub trait Orders {
    /// Resolves with the next order. A second [`Order::Stop`] means at once.
    fn next(&mut self) -> impl Future<Output = Order> + Send;
}

/// Where the configuration comes from, each time anew.
pub struct Source {
    /// The file to look at for changes; none if there is no file.
    pub file: Option<PathBuf>,
    /// Reads and checks everything. Blocks.
    pub read: Box<dyn Fn() -> Result<Config, Vec<String>> + Send + Sync>,
    /// The log, whose level can change; none if somebody else's is in place.
    pub logs: Option<Logs>,
}

impl std::fmt::Debug for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Source({:?})", self.file)
    }
}

/// Who wants a reload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trigger {
    /// A file says something else.
    Poll,
    /// An operator's request.
    Request,
    /// SIGHUP.
    Signal,
}

impl Trigger {
    fn as_str(self) -> &'static str {
        match self {
            Self::Poll => "poll",
            Self::Request => "request",
            Self::Signal => "signal",
        }
    }
}

/// The rooms that can take something new while they work.
#[derive(Debug)]
pub(super) struct Rooms {
    pub(super) proxy: Arc<Proxy<Client>>,
    pub(super) server: Server,
    pub(super) shown: Option<Arc<Shown>>,
}

/// Reads the configuration again and takes over what can be. Cloning shares it.
#[derive(Debug, Clone)]
pub struct Reloader {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    rooms: Rooms,
    source: Option<Source>,
    /// As the process was started: what only a restart changes is compared with it.
    started: Config,
    /// Held while a reload goes on: they take turns.
    state: Mutex<State>,
    wanted: Notify,
}

#[derive(Debug)]
struct State {
    config: Config,
    /// The files as they were when the configuration in force was read.
    in_force: Seen,
    /// The files as they were at the last attempt.
    tried: Seen,
    failed: Option<Report>,
}

/// Everything that can fail has not.
struct Ready {
    tenants: Vec<NamedTenant>,
    gate: Option<GateSettings>,
    server: ServerSettings,
    shown: Option<Renewed>,
    level: Option<LogLevel>,
}

impl Reloader {
    /// `in_force` was taken before anything was built from the files.
    pub(super) fn new(rooms: Rooms, source: Option<Source>, config: &Config, in_force: Seen) -> Self {
        let state = State { config: config.clone(), in_force, tried: Seen::default(), failed: None };
        let (state, started, wanted) = (Mutex::new(state), config.clone(), Notify::new());
        Self { shared: Arc::new(Shared { rooms, source, started, state, wanted }) }
    }

    /// Reads everything again, and takes over all that can be taken over, or nothing. Reloads take turns.
    ///
    /// Logs and counts what came of it.
    ///
    /// # Drop
    /// A reload that has begun goes on.
    pub async fn reload(&self, trigger: Trigger) -> Report {
        let shared = Arc::clone(&self.shared);
        let done = tokio::task::spawn_blocking(move || shared.reload(&mut shared.state(), trigger)).await;
        // Fails only if the reload panicked or the runtime ends.
        done.unwrap_or_else(|_| Report::Refused { faults: vec!["the reload broke off".to_owned()] })
    }

    /// Has [`Reloader::watch`] reload soon; orders that come meanwhile are one.
    pub(super) fn order(&self) {
        self.shared.wanted.notify_one();
    }

    /// Reloads when ordered, and whenever a file has changed, if `reload.poll` says so; `supervisor` is told. Ends only
    /// when dropped.
    pub(super) async fn watch(self, supervisor: Arc<Supervisor>) {
        loop {
            let every = self.shared.state().config.reload.poll.filter(|_| self.shared.source.is_some());
            tokio::select! {
                () = self.shared.wanted.notified() => self.told(Trigger::Signal, &supervisor).await,
                () = tokio::time::sleep(every.unwrap_or(NOT_POLLED)) => {
                    if every.is_some() && self.is_due().await {
                        // Whoever writes may not be done yet.
                        tokio::time::sleep(SETTLED_AFTER).await;
                        self.told(Trigger::Poll, &supervisor).await;
                    }
                }
            }
        }
    }

    async fn told(&self, trigger: Trigger, supervisor: &Supervisor) {
        supervisor.tell(Stage::Reloading);
        self.reload(trigger).await;
        supervisor.tell(Stage::Ready);
    }

    /// How the process ends.
    pub(super) fn shutdown(&self) -> Shutdown {
        self.shared.state().config.shutdown.clone()
    }

    async fn is_due(&self) -> bool {
        let shared = Arc::clone(&self.shared);
        tokio::task::spawn_blocking(move || shared.state().is_due()).await.unwrap_or(false)
    }
}

impl State {
    /// What failed is tried again: a certificate may have become valid, a directory readable.
    fn is_due(&self) -> bool {
        self.failed.is_some() || !self.tried.is_current() || self.tried == Seen::default()
    }
}

impl Shared {
    /// A panic in the middle of a reload leaves a state that the next reload mends.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn reload(&self, state: &mut State, trigger: Trigger) -> Report {
        let report = match self.attempt(state) {
            Ok(report) => report,
            Err(faults) => Report::Refused { faults },
        };
        self.rooms.proxy.metrics.reloaded(report.is_applied(), self.rooms.proxy.clock.wall());
        let is_news = trigger != Trigger::Poll || state.failed.as_ref() != Some(&report);
        if is_news {
            tell(&report, trigger);
        }
        state.failed = (!report.is_applied()).then(|| report.clone());
        report
    }

    fn attempt(&self, state: &mut State) -> Result<Report, Vec<String>> {
        let source = self.source.as_ref().ok_or_else(|| vec![NO_SOURCE.to_owned()])?;
        // Looked at before it is read: what changes in between is seen as a change later.
        let mut seen = Seen::default();
        source.file.iter().for_each(|file| seen.look(file));
        state.tried = seen.clone();
        let new = (source.read)()?;
        files::named_in(&new).iter().for_each(|(_, file)| seen.look(file));
        state.tried = seen.clone();
        let mut changed = state.config.differs_in(&new);
        let named = files::named_in(&new).into_iter();
        let rewritten = named.filter(|(_, file)| !seen.agrees_on(file, &state.in_force));
        changed.extend(rewritten.map(|(key, _)| key));
        changed.sort_unstable();
        changed.dedup();
        changed.retain(|key| is_live(key));
        let ready = self.build(&new, &changed).map_err(|fault| vec![fault.to_string()])?;
        self.swap(ready, &new);
        let mut needs_restart = self.started.differs_in(&new);
        needs_restart.retain(|key| !is_live(key));
        (state.config, state.in_force) = (new, seen);
        Ok(Report::Applied { changed, needs_restart })
    }

    /// Reads what the configuration names and builds from it; nothing in force changes.
    fn build(&self, new: &Config, changed: &[&str]) -> Result<Ready, Fault> {
        let mut config = new.clone();
        // The roster of tenants keeps its size; the gates remembered go with it.
        config.limits.tenants = self.started.limits.tenants;
        let concerns_gate = changed.iter().any(|key| key.starts_with("gate.") || key.starts_with("tenant"));
        let shown = self.rooms.shown.as_deref();
        Ok(Ready {
            tenants: build::tenants(&config)?,
            gate: concerns_gate.then(|| build::gate(&config, &self.rooms.proxy.doorman)).transpose()?,
            server: build::server(&server_limits(new, &self.started), machine::shares(&self.started)),
            shown: shown.map(|shown| shown.renewed(&config, changed)).transpose()?,
            // Unchanged, it leaves alone what an operator has set meanwhile.
            level: changed.contains(&"log.level").then_some(new.log.level),
        })
    }

    /// Nothing here can fail.
    fn swap(&self, ready: Ready, new: &Config) {
        let proxy = &self.rooms.proxy;
        proxy.doorman.relist(&ready.tenants, new.gate.admit);
        if let Some(gate) = ready.gate {
            proxy.gate.reconfigure(gate);
        }
        proxy.replayer.reconfigure(build::replay(new));
        self.rooms.server.reconfigure(ready.server);
        if let (Some(shown), Some(fresh)) = (&self.rooms.shown, &ready.shown) {
            shown.replace(fresh);
        }
        let logs = self.source.as_ref().and_then(|source| source.logs.as_ref());
        if let (Some(logs), Some(level)) = (logs, ready.level) {
            logs.turn(level);
        }
    }
}

/// The new limits of connections, with those that other rooms hold to as well as they were.
fn server_limits(new: &Config, started: &Config) -> crate::config::Limits {
    crate::config::Limits {
        connections: started.limits.connections,
        fields: started.limits.fields,
        ..new.limits.clone()
    }
}

fn is_live(key: &str) -> bool {
    LIVE.iter().any(|live| match live.strip_suffix('*') {
        Some(section) => key.starts_with(section),
        None => key == *live,
    })
}

fn tell(report: &Report, trigger: Trigger) {
    let trigger = trigger.as_str();
    match report {
        Report::Applied { changed, needs_restart } => {
            let (changed, needs_restart) = (changed.join(", "), needs_restart.join(", "));
            if !needs_restart.is_empty() {
                tracing::warn!(trigger, changed, needs_restart, "configuration reloaded in part");
            } else if trigger == Trigger::Poll.as_str() && changed.is_empty() {
                tracing::debug!(trigger, "configuration reloaded without a change");
            } else {
                tracing::info!(trigger, changed, "configuration reloaded");
            }
        }
        Report::Refused { faults } => {
            let error = faults.join("; ");
            tracing::error!(trigger, error, "configuration not reloaded");
        }
    }
}

/// Keys that change while the process runs; `*` stands for a whole section. All others need a restart.
const LIVE: &[&str] = &[
    "gate.*",
    "limits.body_idle_timeout",
    "limits.drain_bytes",
    "limits.h2_header_bytes",
    "limits.handshake_timeout",
    "limits.header_bytes",
    "limits.header_timeout",
    "limits.idle_timeout",
    "limits.min_rate",
    "limits.streams",
    "limits.write_stall_timeout",
    "listen.tls.cert_file",
    "listen.tls.client_ca_file",
    "listen.tls.key_file",
    "log.level",
    "reload.poll",
    "replay.faults",
    "replay.throttled",
    "shutdown.*",
    "tenant",
    "tenant.token_files",
];
const NO_SOURCE: &str = "this process was not started from a configuration that can be read again";
/// How often it is looked whether polling has been switched on.
const NOT_POLLED: Duration = Duration::from_secs(5);
/// Longer than a writer takes between two parts of a small file or between a certificate and its key.
const SETTLED_AFTER: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests;
