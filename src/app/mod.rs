//! The composition root: binds, builds the rooms, serves until told to stop, drains.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::uri::Authority;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::admin::AdminToken;
use crate::cache::{self, Writer};
use crate::clock::Clock;
use crate::config::{Config, Shutdown};
use crate::gate::{Ending, Gate};
use crate::machine::descriptors;
use crate::metrics::{self, Metrics};
use crate::proxy::Proxy;
use crate::server::ca::Origin;
use crate::server::drain::{Drain, DrainTrigger};
use crate::server::{self, Server};
use crate::share::{Check, Share};
use crate::upstream::{self, Client, ExtraCa};

mod build;
mod lines;
mod listeners;
pub mod logs;
mod machine;
mod memory;
mod notify;
mod operators;
mod reload;
mod share;
mod state;
mod tasks;
mod tls;
mod view;

pub use self::listeners::Bound;
pub use self::notify::Supervisor;
pub use self::reload::{Order, Orders, Reloader, Source, Trigger};

use self::listeners::Listeners;
use self::memory::Memory;
use self::notify::Stage;
use self::reload::{Rooms, Seen};
use self::share::Keys;
use self::tasks::keep_alive;
use self::tls::Shown;

/// Why the process cannot start.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// An address is taken or not ours.
    #[error("cannot listen on {address}: {source}")]
    Bind {
        /// As configured.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// The directory of the disk tier.
    #[error(transparent)]
    Disk(#[from] cache::Fault),
    /// A file cannot be read or written.
    #[error("{}: {source}", file.display())]
    File {
        /// Which.
        file: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A series is registered twice.
    #[error(transparent)]
    Metrics(metrics::Fault),
    /// Not a rate.
    #[error("{0} is not a rate")]
    Rate(f64),
    /// Certificates.
    #[error(transparent)]
    Server(#[from] server::Fault),
    /// The way out.
    #[error(transparent)]
    Upstream(upstream::Fault),
}

/// A process that listens. [`App::run`] serves.
///
/// # Drop
/// Closes the listeners.
#[derive(Debug)]
pub struct App {
    bound: Bound,
    ca_file: Option<PathBuf>,
    ca_origin: Option<Origin>,
    proxy: Arc<Proxy<Client>>,
    server: Server,
    shown: Option<Arc<Shown>>,
    listeners: Listeners,
    metrics: Arc<Metrics>,
    memory: Arc<Memory>,
    share: Option<Share>,
    token: AdminToken,
    /// Operators' connections at once.
    places: usize,
    hosts: Vec<Authority>,
    upstream: Arc<str>,
    logs: Option<logs::Logs>,
    started_at: Instant,
    reloader: Reloader,
    disk_writer: Option<Writer>,
    supervisor: Arc<Supervisor>,
}

impl App {
    /// Binds and builds everything; nothing is served yet. `extra_ca` is trusted instead of `upstream.ca_file`.
    /// Without a `source` the configuration stays as it is.
    ///
    /// # Errors
    /// [`Fault`] names the address, the file or the setting.
    pub async fn start(
        config: &Config,
        extra_ca: Option<ExtraCa>,
        source: Option<Source>,
    ) -> Result<Self, Fault> {
        let seen = Seen::of(config);
        machine::tell(config);
        state::make(&config.state_dir)?;
        let listeners = Listeners::bind(config).await?;
        let bound = listeners.bound(config.admin.listen)?;
        let own = [bound.https, bound.http].into_iter().flatten();
        let own = own.filter_map(|address| Authority::try_from(address.to_string()).ok()).collect();
        let metrics = Arc::new(Metrics::new().map_err(Fault::Metrics)?);
        let sharing = share::settings(config)?;
        let keys = Keys::of(config, sharing.as_ref())?;
        let token = state::admin_token(&config.state_dir, config.admin.token_file.as_deref())?;
        let (disk, disk_writer) = build::disk(config, Clock::system())?.unzip();
        let proxy = Arc::new(build::proxy(config, &keys, extra_ca, own, Arc::clone(&metrics), disk)?);
        let memory = Memory::new(config.state_dir.clone(), proxy.gate.clone(), proxy.clock.clone());
        memory.recall();
        let share = sharing.map(|settings| {
            Share::new(settings, proxy.gate.clone(), proxy.cache.clone(), proxy.clock.clone())
        });
        let (shown, ca_origin) = listeners.https.as_ref().map(|_| Shown::new(config)).transpose()?.unzip();
        let (shown, ca_origin) = (shown.map(Arc::new), ca_origin.flatten());
        if let Err(fault) = state::ports(&config.state_dir, &bound) {
            // For scripts alone: a disk that is full at a restart must not keep the process from serving.
            tracing::warn!(error = %fault, "ports not written");
        }
        metrics.reloaded(true, proxy.clock.wall());
        let server = Server::new(build::server(&config.limits, machine::shares(config)));
        let logs = source.as_ref().and_then(|source| source.logs.clone());
        let rooms = Rooms { proxy: Arc::clone(&proxy), server: server.clone(), shown: shown.clone() };
        Ok(Self {
            bound,
            ca_file: ca_origin.is_some().then(|| config.state_dir.join("ca.pem")),
            ca_origin,
            proxy,
            server,
            shown,
            listeners,
            metrics,
            memory: Arc::new(memory),
            share,
            token,
            places: machine::shares(config).operators,
            hosts: config.admin.hosts.clone(),
            upstream: config.upstream.url.to_string().into(),
            logs,
            started_at: Instant::now(),
            reloader: Reloader::new(rooms, source, config, seen),
            disk_writer,
            supervisor: Arc::new(Supervisor::none()),
        })
    }

    /// The same, but `supervisor` is told when it serves, reloads and drains.
    #[must_use]
    pub fn told_to(self, supervisor: Supervisor) -> Self {
        Self { supervisor: Arc::new(supervisor), ..self }
    }

    /// Where it listens.
    pub fn bound(&self) -> Bound {
        self.bound
    }

    /// The local CA's certificate, if the listener's certificate comes from it.
    pub fn ca_file(&self) -> Option<&Path> {
        self.ca_file.as_deref()
    }

    /// Reads the configuration again when asked to.
    pub fn reloader(&self) -> Reloader {
        self.reloader.clone()
    }

    /// Whether the local CA was made or replaced at this start.
    pub fn ca_origin(&self) -> Option<&Origin> {
        self.ca_origin.as_ref()
    }

    /// Serves until told to stop, then drains: readiness off, `shutdown.delay`, no new connections, and
    /// `shutdown.drain` for what is under way. A second order to stop ends it at once.
    pub async fn run(mut self, mut orders: impl Orders) {
        let is_draining = Arc::new(AtomicBool::new(false));
        let (trigger, drain) = Drain::new();
        // Operators can look until the very end: their drain begins when this is dropped.
        let (_operators, operators_drain) = Drain::new();
        // The tasks end with this set, at the latest when this future is dropped.
        let mut tasks = JoinSet::new();
        let (gate, server) = (self.proxy.gate.clone(), self.server.clone());
        let dispatcher = gate.clone();
        tasks.spawn(keep_alive("gate", move || {
            let dispatcher = dispatcher.clone();
            async move { dispatcher.run().await }
        }));
        let memory = Arc::clone(&self.memory);
        let kept = Arc::clone(&memory);
        tasks.spawn(keep_alive("state", move || remember(Arc::clone(&kept))));
        let admin = self.operators(Arc::clone(&is_draining));
        if let Some(share) = self.share.clone() {
            let tell = share::teller(Arc::clone(&self.metrics));
            tasks.spawn(keep_alive("share", move || {
                let (share, tell) = (share.clone(), Arc::clone(&tell));
                async move { share.run(tell).await }
            }));
        }
        let (guard, cache) = (self.proxy.guard.clone(), self.proxy.cache.clone());
        tasks.spawn(keep_alive("memory", move || machine::watch(guard.clone(), cache.clone())));
        operators::serve(&mut tasks, &mut self.listeners, &admin, (&operators_drain, self.places));
        let reloader = self.reloader.clone();
        let disk_writer = self.disk_writer.take();
        let supervisor = Arc::clone(&self.supervisor);
        let (watcher, told) = (reloader.clone(), Arc::clone(&supervisor));
        tasks.spawn(keep_alive("reload", move || watcher.clone().watch(Arc::clone(&told))));
        let traffic = self.serve(drain);
        tokio::pin!(traffic);
        // The listeners were bound at the start: a connection made from now on is answered.
        supervisor.tell(Stage::Ready);
        tokio::select! {
            () = &mut traffic => return memory.keep(),
            () = obey(&mut orders, &reloader) => {}
        }
        is_draining.store(true, Ordering::Relaxed);
        supervisor.tell(Stage::Stopping);
        let (began_at, shutdown) = (Instant::now(), reloader.shutdown());
        tracing::info!(delay_ms = millis(shutdown.delay), drain_ms = millis(shutdown.drain), "draining");
        tokio::select! {
            _ = async { tokio::join!(leave(&gate, &trigger, &shutdown), &mut traffic) } => {}
            () = obey(&mut orders, &reloader) => tracing::warn!(connections = server.connections(), "ending at once"),
        }
        memory.keep();
        if let Some(writer) = disk_writer {
            writer.close(LAST_FILES);
        }
        tracing::info!(took_ms = millis(began_at.elapsed()), "drained");
    }

    async fn serve(self, drain: Drain) {
        let answer = |proxy: &Arc<Proxy<Client>>| {
            let proxy = Arc::clone(proxy);
            move |arrival, request| Arc::clone(&proxy).answer(arrival, request)
        };
        let https = async {
            if let (Some(listener), Some(shown)) = (self.listeners.https, self.shown) {
                self.server.run(listener, Some(shown.tls.clone()), answer(&self.proxy), drain.clone()).await;
            }
        };
        let http = async {
            if let Some(listener) = self.listeners.http {
                self.server.run(listener, None, answer(&self.proxy), drain.clone()).await;
            }
        };
        tokio::join!(https, http);
    }
}

/// The rooms alone, for a diagnosis: nothing listens, nothing is written, and tenants get ids of their own.
pub(crate) fn rooms(config: &Config) -> Result<Proxy<Client>, Fault> {
    let metrics = Arc::new(Metrics::new().map_err(Fault::Metrics)?);
    build::proxy(config, &Keys::passing(), None, Vec::new(), metrics, None)
}

/// What keeps replicas from sharing; nothing if they are not to.
pub(crate) async fn examine_share(config: &Config) -> Result<Vec<Check>, Fault> {
    match share::settings(config)? {
        Some(settings) => Ok(crate::share::examine(&settings).await),
        None => Ok(Vec::new()),
    }
}

/// Whether this process, its limit raised as far as it goes, may open as many descriptors as the configuration would
/// take: what it may, and what it would.
pub(crate) fn descriptors(config: &Config) -> (usize, usize) {
    (descriptors::highest(), machine::wanted(config).limit())
}

/// Whether the state directory, or the one it would be made in, takes files. Leaves nothing behind.
pub(crate) fn can_keep_state(config: &Config) -> Result<(), Fault> {
    state::probe(&config.state_dir)
}

/// Keeps the file of learned limits up to date. Ends only when dropped.
async fn remember(memory: Arc<Memory>) {
    loop {
        tokio::time::sleep(memory::REFRESH_EVERY).await;
        let memory = Arc::clone(&memory);
        // Fails only if the runtime ends, and then the last word is written elsewhere.
        drop(tokio::task::spawn_blocking(move || memory.refresh()).await);
    }
}

/// Follows orders until one says stop.
async fn obey(orders: &mut impl Orders, reloader: &Reloader) {
    while orders.next().await == Order::Reload {
        reloader.order();
    }
}

/// Lets new connections come for `delay`; then none, and what is under way has the time that the drain gives it.
async fn leave(gate: &Gate, trigger: &DrainTrigger, shutdown: &Shutdown) {
    tokio::time::sleep(shutdown.delay).await;
    let in_flight_for = shutdown.drain + shutdown.drain.min(FINISH_WITHIN);
    let now = Instant::now();
    gate.end(Ending { turns_until: now + shutdown.drain, answers_until: now + in_flight_for });
    trigger.begin(in_flight_for + WRITTEN_WITHIN);
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// A request whose turn comes just before the end of the drain still gets its answer; at most as long again as the drain.
const FINISH_WITHIN: Duration = Duration::from_secs(5);
/// For the bytes of the last answers, and of the refusals of those that got none.
const WRITTEN_WITHIN: Duration = Duration::from_secs(1);
/// What is on its way to the disk at the end gets so long: it can be fetched again.
const LAST_FILES: Duration = Duration::from_secs(2);
