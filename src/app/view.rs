//! Decides what operators see of the rooms: their gauges at one moment.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::UNIX_EPOCH;

use crate::admin::{Readiness, View};
use crate::metrics::Gauges;
use crate::proxy::Proxy;
use crate::server::Server;
use crate::server::tls::Certificates;
use crate::share::Share;
use crate::upstream::Client;

use super::App;

impl App {
    /// Reads the rooms' gauges at the moment it is called.
    pub(super) fn look(
        &self,
        is_draining: Arc<AtomicBool>,
    ) -> impl Fn() -> View + Clone + Send + Sync + 'static {
        let (proxy, server) = (Arc::clone(&self.proxy), self.server.clone());
        let certificates = self.shown.as_ref().map(|shown| Arc::clone(&shown.certificates));
        let share = self.share.clone();
        let (upstream, started_at) = (Arc::clone(&self.upstream), self.started_at);
        move || View {
            now: proxy.clock.now(),
            wall: proxy.clock.wall(),
            up_for: started_at.elapsed(),
            upstream: Arc::clone(&upstream),
            recent: proxy.metrics.recent().look(proxy.clock.now()),
            gauges: Gauges {
                share: share.as_ref().map(Share::glance),
                ..gauges(&proxy, &server, certificates.as_deref())
            },
            names: proxy.doorman.names(),
            readiness: if is_draining.load(Ordering::Relaxed) {
                Readiness::Draining
            } else {
                Readiness::Ready
            },
        }
    }
}

#[allow(clippy::as_conversions, reason = "counts shown as gauges: Prometheus knows only floats")]
fn gauges(proxy: &Proxy<Client>, server: &Server, certificates: Option<&Certificates>) -> Gauges {
    let ends = certificates.and_then(|certificates| certificates.not_after().duration_since(UNIX_EPOCH).ok());
    Gauges {
        taken_at: proxy.clock.now(),
        gate: proxy.gate.glance(),
        spool_bytes: proxy.spool.bytes_held() as f64,
        cache: proxy.cache.glance(),
        connections: server.connections() as f64,
        upstream_connections: proxy.transport.connections() as f64,
        tls_handshake_failures: server.handshake_failures(),
        panics: server.panics(),
        machine: proxy.guard.glance(),
        certificate_not_after: ends.map(|ends| ends.as_secs_f64()),
        share: None,
    }
}
