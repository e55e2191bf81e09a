//! The command that serves: its signals, and what it says when it is up.

use rustix::process::{Resource, Rlimit, setrlimit};
use tokio::signal::unix::{Signal, SignalKind, signal};

use tollgate::app::logs::Logs;
use tollgate::app::{App, Order, Orders, Source, Supervisor};
use tollgate::config::{self, Config};
use tollgate::server::ca::Origin;

use super::args::RunArgs;
use super::{Ended, complain, failed, on_runtime};

/// Serves until told to stop.
pub(super) fn serve(args: &RunArgs) -> Ended {
    // The memory of this process holds tokens: it must not become a file when it crashes.
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    setrlimit(Resource::Core, none).map_err(failed)?;
    let config = args.load()?;
    let logs = Logs::start(&config.log);
    let again = args.clone();
    let source = Source { file: args.file(), read: Box::new(move || read(&again)), logs: Some(logs) };
    on_runtime(async move {
        // Before anything else: a signal during the start must not end the process half-made.
        let signals = Signals::listen().map_err(|error| error.to_string())?;
        let app = App::start(&config, None, Some(source)).await.map_err(|fault| fault.to_string())?;
        greet(&app, &config);
        app.told_to(supervisor()).run(signals).await;
        Ok::<(), String>(())
    })
}

/// The service manager, if one started the process and wants to hear of it.
fn supervisor() -> Supervisor {
    let address = std::env::var_os("NOTIFY_SOCKET").filter(|address| !address.is_empty());
    let Some(address) = address else { return Supervisor::none() };
    Supervisor::at(&address).unwrap_or_else(|error| {
        tracing::warn!(%error, ?address, "service manager not told");
        Supervisor::none()
    })
}

/// The configuration as it is now, or each of its faults.
fn read(args: &RunArgs) -> Result<Config, Vec<String>> {
    let sources = args.sources().map_err(|(_, fault)| vec![fault])?;
    config::load(&sources).map_err(|faults| faults.iter().map(ToString::to_string).collect())
}

/// SIGTERM, SIGINT and SIGHUP, however often.
struct Signals {
    hangup: Signal,
    terminate: Signal,
    interrupt: Signal,
    /// Caught so that a limit on the size of files is a failed write, not the end of the process.
    _too_large: Signal,
}

impl Signals {
    fn listen() -> std::io::Result<Self> {
        Ok(Self {
            hangup: signal(SignalKind::hangup())?,
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            _too_large: signal(SignalKind::from_raw(rustix::process::Signal::XFSZ.as_raw()))?,
        })
    }
}

impl Orders for Signals {
    async fn next(&mut self) -> Order {
        tokio::select! {
            biased;
            _ = self.terminate.recv() => Order::Stop,
            _ = self.interrupt.recv() => Order::Stop,
            _ = self.hangup.recv() => Order::Reload,
        }
    }
}

/// What a bot needs, on the standard error: the standard output is for the log.
fn greet(app: &App, config: &Config) {
    let bound = app.bound();
    let shown = |address: Option<std::net::SocketAddr>| address.map(|address| address.to_string());
    tracing::info!(https = shown(bound.https), http = shown(bound.http), admin = %bound.admin, upstream = %config.upstream.url, "listening");
    if let Some(Origin::Replaced(reason)) = app.ca_origin() {
        tracing::warn!(reason, "the local CA was replaced: clients must trust the new one");
    }
    let mut text = format!("Tollgate {} -> {}\n", env!("CARGO_PKG_VERSION"), config.upstream.url);
    let port = |address: std::net::SocketAddr| {
        if address.ip().is_loopback() { format!("localhost:{}", address.port()) } else { address.to_string() }
    };
    if let Some(http) = bound.http {
        text.push_str(&format!("  base URL   http://{}/v1/\n", port(http)));
    }
    if let Some(https) = bound.https {
        let base = format!("https://{}/v1/", port(https));
        text.push_str(&format!("  base URL   {base}\n"));
        if let Some(ca) = app.ca_file() {
            let ca = ca.display();
            text.push_str(&format!("  try        curl --cacert {ca} -H \"Authorization: Bearer $WEBEX_ACCESS_TOKEN\" {base}people/me\n"));
            text.push_str(&format!("  trust      REQUESTS_CA_BUNDLE={ca}   (Python)\n"));
            text.push_str(&format!("             NODE_EXTRA_CA_CERTS={ca}  (Node)\n"));
            text.push_str(&format!(
                "             SSL_CERT_FILE={ca}        (Go, curl; --cacert works too)\n"
            ));
        }
    }
    text.push_str(&format!("  operators  http://{}/ /status /metrics\n", bound.admin));
    complain(text.trim_end());
}
