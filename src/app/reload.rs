//! Decides what a new configuration changes in a process that runs, and names what only a restart can change.

use std::sync::Arc;

use tokio::sync::mpsc;

use crate::admin::{Done, Undone};
use crate::config::Config;
use crate::proxy::Proxy;
use crate::upstream::Client;

use super::notify::{Stage, Supervisor};
use super::operators::Asked;
use super::{Fault, build};

/// What whoever reads the signals wants of the process.
#[derive(Debug)]
pub enum Order {
    /// Take this configuration, or say that it could not be read.
    Reload(Result<Box<Config>, String>),
    /// End.
    Stop,
}

/// Told by whoever reads the signals.
pub trait Orders {
    /// Resolves with the next order. A second [`Order::Stop`] means at once.
    ///
    /// # Drop
    /// Dropping the future loses no order.
    fn next(&mut self) -> impl Future<Output = Order> + Send;

    /// Reads the configuration again, or says why it could not be read.
    fn read(&mut self) -> Result<Box<Config>, String>;
}

/// The configuration in force, and the rooms that can take a new one.
#[derive(Debug)]
pub(super) struct Reloader {
    proxy: Arc<Proxy<Client>>,
    supervisor: Arc<Supervisor>,
    config: Config,
}

impl Reloader {
    pub(super) fn new(proxy: Arc<Proxy<Client>>, supervisor: Arc<Supervisor>, config: Config) -> Self {
        Self { proxy, supervisor, config }
    }

    /// Follows orders until one says stop; answers whoever asked for a reload.
    pub(super) async fn obey(&mut self, orders: &mut impl Orders, asked: &mut mpsc::Receiver<Asked>) {
        loop {
            tokio::select! {
                order = orders.next() => match order {
                    Order::Reload(read) => drop(self.reload(read)),
                    Order::Stop => return,
                },
                Some(asked) = asked.recv() => {
                    let told = self.reload(orders.read());
                    // Whoever asked may have left.
                    drop(asked.send(told));
                }
            }
        }
    }

    fn reload(&mut self, read: Result<Box<Config>, String>) -> Result<Done, Undone> {
        let before = self.config.clone();
        self.supervisor.tell(Stage::Reloading);
        let applied = read.and_then(|config| self.apply(&config).map_err(|fault| fault.to_string()));
        self.proxy.metrics.reloaded(applied.is_ok(), self.proxy.clock.wall());
        match &applied {
            Ok(left) if left.is_empty() => tracing::info!("configuration reloaded"),
            Ok(left) => {
                tracing::warn!(needs_restart = left.join(", "), "configuration reloaded in part");
            }
            Err(error) => tracing::error!(error, "configuration not reloaded"),
        }
        self.supervisor.tell(Stage::Ready);
        let done = |needs_restart| Done::Reloaded { changed: before.differs_in(&self.config), needs_restart };
        applied.map(done).map_err(Undone::Faults)
    }

    /// Takes over what concerns the gate and the tenants; everyone in line and everything learned stay. Returns the
    /// sections that differ and were not taken over. All or nothing: a fault leaves everything as it was.
    fn apply(&mut self, new: &Config) -> Result<Vec<&'static str>, Fault> {
        let (gate, tenants) = (new.gate.clone(), new.tenants.clone());
        let config = Config { gate, tenants, ..self.config.clone() };
        let tenants = build::tenants(&config)?;
        let gate = build::gate(&config, &self.proxy.doorman)?;
        self.proxy.doorman.relist(&tenants, config.gate.admit);
        self.proxy.gate.reconfigure(gate);
        self.proxy.replayer.reconfigure(build::replay(&config));
        self.config = config;
        Ok(self.config.differs_in(new))
    }
}
