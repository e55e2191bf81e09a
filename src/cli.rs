//! The commands and their flags, what they print, and the code they end with.

use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use aws_lc_rs::digest;
use clap::{Args, Parser, Subcommand};
use tokio::signal::unix::{Signal, SignalKind, signal};

use tollgate::app::{App, Order, Orders, Supervisor, logs};
use tollgate::config::{self, Config, FileText, Overrides, Sources};
use tollgate::demo::{self, DemoSettings};
use tollgate::doctor::{self, Finding};
use tollgate::server::ca::Origin;
use tollgate::sim;

/// A rate-limit-aware caching reverse proxy for the Webex REST API.
#[derive(Debug, Parser)]
#[command(name = "tollgate", version, about, args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    run: RunArgs,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve (the default)
    Run(RunArgs),
    /// Report every fault of the configuration; ends with 2 if there is one
    Check(RunArgs),
    /// Show the effective configuration and where each value comes from
    Config(RunArgs),
    /// Print the local CA's certificate
    Ca(RunArgs),
    /// Run bots against a made-up Webex, without and with Tollgate, and compare
    Demo(DemoArgs),
    /// Look for what keeps a configuration from working: state, ports, the way to the API, the clock
    Doctor(RunArgs),
    /// Print the SHA-256 of a token read from the standard input, for tenant.token_sha256
    HashToken,
    /// Serve a made-up Webex with limits
    Sim(Box<sim::SimArgs>),
}

/// The common settings as flags; the file knows them all.
#[derive(Debug, Clone, Args)]
struct RunArgs {
    /// Configuration file, TOML; without it the built-in defaults hold
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Address of the TLS listener [listen.https]
    #[arg(long, value_name = "ADDR")]
    listen: Option<String>,
    /// Address of the plain listener [listen.http]
    #[arg(long, value_name = "ADDR")]
    listen_http: Option<String>,
    /// Scheme and host of the API [upstream.url]
    #[arg(long, value_name = "URL")]
    upstream: Option<String>,
    /// PEM file of CAs trusted besides the platform's [upstream.ca_file]
    #[arg(long, value_name = "FILE")]
    upstream_ca: Option<String>,
    /// Address of the operators' listener [admin.listen]
    #[arg(long, value_name = "ADDR")]
    admin: Option<String>,
    /// Directory of what outlives a restart [state_dir]
    #[arg(long, value_name = "DIR")]
    state_dir: Option<String>,
}

/// What the demonstration may be told.
#[derive(Debug, Args)]
struct DemoArgs {
    /// Decides ids, contents and the order of the bots' work
    #[arg(long, value_name = "N", default_value = "1")]
    seed: u64,
    /// How many bots; the limit grows with them
    #[arg(long, value_name = "N", default_value = "25", value_parser = clap::value_parser!(u32).range(1..=i64::from(demo::MAX_BOTS)))]
    bots: u32,
}

/// Far more than any token has.
const MAX_TOKEN_BYTES: u64 = 64 * 1024;
/// Codes: 0 well, 1 failed while running, 2 a fault in the configuration or the arguments.
const FAILED: u8 = 1;
const FAULT: u8 = 2;

/// Runs the command that the arguments name.
pub(crate) fn run() -> ExitCode {
    let cli = Cli::parse();
    let ended = match cli.command.unwrap_or(Command::Run(cli.run)) {
        Command::Run(args) => serve(&args),
        Command::Check(args) => args.load().map(|_| say("configuration ok\n")),
        Command::Config(args) => args
            .sources()
            .and_then(|sources| config::describe(&sources).map_err(fault))
            .map(|text| say(&text)),
        Command::Ca(args) => ca(&args),
        Command::Demo(args) => on_runtime(demo::run(DemoSettings::new(args.seed, args.bots))),
        Command::Doctor(args) => diagnose(&args),
        Command::HashToken => hash_token(),
        Command::Sim(args) => on_runtime(sim::run(*args)),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err((code, message)) => {
            complain(&message);
            ExitCode::from(code)
        }
    }
}

type Ended = Result<(), (u8, String)>;

fn fault(fault: impl std::fmt::Display) -> (u8, String) {
    (FAULT, fault.to_string())
}

fn failed(error: impl std::fmt::Display) -> (u8, String) {
    (FAILED, error.to_string())
}

impl RunArgs {
    fn sources(&self) -> Result<Sources, (u8, String)> {
        let env: Vec<_> = std::env::vars_os().collect();
        let path = self.config.clone().or_else(|| config::config_path(&env));
        let file = path.map(|path| FileText::read(&path)).transpose().map_err(fault)?;
        let flags = Overrides {
            listen: self.listen.clone(),
            listen_http: self.listen_http.clone(),
            upstream: self.upstream.clone(),
            upstream_ca: self.upstream_ca.clone(),
            admin: self.admin.clone(),
            state_dir: self.state_dir.clone(),
        };
        Ok(Sources { file, env, flags })
    }

    fn load(&self) -> Result<Config, (u8, String)> {
        config::load(&self.sources()?).map_err(fault)
    }
}

fn serve(args: &RunArgs) -> Ended {
    let config = args.load()?;
    let args = args.clone();
    let dial = logs::start(&config.log);
    on_runtime(async move {
        let app = App::start(&config, None).await.map_err(|fault| fault.to_string())?.with_log(dial);
        let signals = Signals::listen(args).map_err(|error| error.to_string())?;
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

fn ca(args: &RunArgs) -> Ended {
    let file = args.load()?.state_dir.join("ca.pem");
    let pem =
        std::fs::read_to_string(&file).map_err(|error| failed(format!("{}: {error}", file.display())))?;
    say(&pem);
    Ok(())
}

fn diagnose(args: &RunArgs) -> Ended {
    let loaded = args.sources().and_then(|sources| {
        let config = config::load(&sources).map_err(fault)?;
        Ok((config, sources.file.map_or_else(|| "the defaults".to_owned(), |file| file.name)))
    });
    let (config, source) = loaded.map_err(|(_code, faults)| {
        say(&format!("{}\n", Finding::fault("configuration", "told below", "correct it and try again")));
        (FAILED, faults)
    })?;
    say(&format!("{}\n", Finding::well("configuration", source)));
    on_runtime(async move {
        let faults = doctor::examine(&config, |finding| say(&format!("{finding}\n"))).await;
        match faults {
            0 => Ok(()),
            1 => Err("1 fault found".to_owned()),
            faults => Err(format!("{faults} faults found")),
        }
    })
}

/// From the standard input, so that no token stands in a shell's history or in the list of processes.
fn hash_token() -> Ended {
    let mut token = String::new();
    std::io::stdin().lock().take(MAX_TOKEN_BYTES).read_to_string(&mut token).map_err(failed)?;
    let digest = digest::digest(&digest::SHA256, token.trim().as_bytes());
    let hash: String = digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    say(&format!("{hash}\n"));
    Ok(())
}

fn on_runtime<E: std::fmt::Display>(work: impl Future<Output = Result<(), E>>) -> Ended {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(failed)?;
    runtime.block_on(work).map_err(failed)
}

/// SIGTERM, SIGINT and SIGHUP, however often.
struct Signals {
    args: RunArgs,
    hangup: Signal,
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn listen(args: RunArgs) -> std::io::Result<Self> {
        Ok(Self {
            args,
            hangup: signal(SignalKind::hangup())?,
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }
}

impl Orders for Signals {
    async fn next(&mut self) -> Order {
        tokio::select! {
            _ = self.terminate.recv() => Order::Stop,
            _ = self.interrupt.recv() => Order::Stop,
            _ = self.hangup.recv() => Order::Reload(self.read()),
        }
    }

    fn read(&mut self) -> Result<Box<Config>, String> {
        self.args.load().map(Box::new).map_err(|(_, faults)| faults)
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

fn say(text: &str) {
    // A reader that went away is no reason to fail.
    drop(std::io::stdout().lock().write_all(text.as_bytes()));
}

fn complain(text: &str) {
    drop(writeln!(std::io::stderr().lock(), "{text}"));
}
