//! Decides what operators' orders do: forgets answers, turns the log, has the configuration read again.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use tokio::task::JoinSet;

use crate::admin::{Admin, AdminSettings, Beat, Done, Mutation, Obey, Scope, Target, Undone};
use crate::cache::Purge;
use crate::config::Report;
use crate::proxy::Proxy;
use crate::server::drain::Drain;
use crate::server::{Server, ServerSettings};
use crate::upstream::Client;
use crate::words::TenantId;

use super::logs::Logs;
use super::{App, Listeners, Reloader, Trigger};

/// What orders are carried out with.
#[derive(Debug, Clone)]
struct Clerk {
    proxy: Arc<Proxy<Client>>,
    logs: Option<Logs>,
    reloader: Reloader,
}

impl Clerk {
    /// Carries out one order at a time per request.
    fn obey(self) -> Obey {
        Arc::new(move |mutation| {
            let clerk = self.clone();
            Box::pin(async move { clerk.carry_out(mutation).await })
        })
    }

    async fn carry_out(&self, mutation: Mutation) -> Result<Done, Undone> {
        match mutation {
            Mutation::LogLevel(level) => {
                let unable = Undone::Unable("this process does not write the log itself");
                let old = self.logs.as_ref().and_then(|logs| logs.turn(level)).ok_or(unable)?;
                tracing::warn!(old = old.as_str(), new = level.as_str(), "log level set");
                Ok(Done::LogLevel(old, level))
            }
            Mutation::Purge(target) => {
                let purge = self.purge(&target)?;
                let purged = self.proxy.cache.purge(&purge);
                tracing::warn!(target = ?purge, purged, "cache purged");
                Ok(Done::Purged(purged))
            }
            Mutation::Reload => match self.reloader.reload(Trigger::Request).await {
                Report::Applied { changed, needs_restart } => Ok(Done::Reloaded { changed, needs_restart }),
                Report::Refused { faults } => Err(Undone::Faults(faults.join("\n"))),
            },
        }
    }

    fn purge(&self, target: &Target) -> Result<Purge, Undone> {
        match target {
            Target::Cache(purge) => Ok(purge.clone()),
            Target::Tenant(name) => {
                let named = self.proxy.doorman.names().into_iter().find(|(_, known)| **known == **name);
                let tenant = named.map(|(tenant, _)| tenant).or_else(|| TenantId::from_hex(name));
                let unknown =
                    || Undone::Unknown("no tenant of this name is configured; 32 digits name any".to_owned());
                tenant.map(Purge::Tenant).ok_or_else(unknown)
            }
        }
    }
}

impl App {
    /// The operators' side.
    pub(super) fn operators(&self, is_draining: Arc<AtomicBool>) -> Admin {
        let clerk = Clerk {
            proxy: Arc::clone(&self.proxy),
            logs: self.logs.clone(),
            reloader: self.reloader.clone(),
        };
        let proxy = Arc::clone(&self.proxy);
        let settings = AdminSettings {
            metrics: Arc::clone(&self.metrics),
            look: Arc::new(self.look(is_draining)),
            beat: Arc::new(move || beat(&proxy)),
            obey: clerk.obey(),
            token: self.token.clone(),
            hosts: self.hosts.clone(),
        };
        Admin::new(settings)
    }
}

/// What is noted every other second: the same cost however much is known.
fn beat(proxy: &Proxy<Client>) -> Beat {
    let pulse = proxy.gate.pulse();
    let (answered, refused) = proxy.metrics.recent().answered();
    Beat {
        waiting: pulse.waiting,
        rate_per_second: pulse.rate.per_second(),
        is_closed: pulse.is_closed,
        answered,
        refused,
    }
}

/// Serves the operators' listeners, at most `places` connections at once, and feeds their pages. The tasks end with `tasks`, or with the drain.
pub(super) fn serve(
    tasks: &mut JoinSet<()>,
    listeners: &mut Listeners,
    admin: &Admin,
    (drain, places): (&Drain, usize),
) {
    let settings = ServerSettings { max_connections: places, ..ServerSettings::recommended() };
    let server = Server::new(settings);
    let open = [(listeners.admin.take(), Scope::Full), (listeners.metrics.take(), Scope::Metrics)];
    for (listener, scope) in open {
        let Some(listener) = listener else { continue };
        let (server, drain, admin) = (server.clone(), drain.clone(), admin.within(scope));
        let answer = move |_, request| {
            let admin = admin.clone();
            async move { admin.answer(request).await }
        };
        tasks.spawn(async move { server.run(listener, None, answer, drain).await });
    }
    let (admin, drain) = (admin.clone(), drain.clone());
    tasks.spawn(async move {
        tokio::select! {
            () = admin.run() => {}
            _ = drain.begun() => {}
        }
    });
}
