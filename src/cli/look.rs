//! The commands that ask a running process: how it is, and whether it takes traffic.

use std::io::IsTerminal;
use std::net::SocketAddr;
use std::time::Duration;

use clap::Args;
use http::StatusCode;
use serde_json::Value;

use tollgate::config::{self, Config};
use tollgate::console::{self, Silent};

use super::args::RunArgs;
use super::{Ended, FAILED, Failure, failed, on_runtime, say};

/// What is shown, and how often.
#[derive(Debug, Args)]
pub(super) struct StatusArgs {
    #[command(flatten)]
    run: RunArgs,
    /// Show it again every second, until interrupted; goes on while nobody answers
    #[arg(long)]
    watch: bool,
    /// Print what /status says, as it is
    #[arg(long)]
    json: bool,
}

/// What is asked, and for how long.
#[derive(Debug, Args)]
pub(super) struct HealthArgs {
    #[command(flatten)]
    run: RunArgs,
    /// Ask whether the process lives, not whether it takes traffic: true also while it drains
    #[arg(long)]
    live: bool,
    /// How long the answer may take
    #[arg(long, value_name = "DURATION", default_value = "2s", value_parser = config::duration)]
    timeout: Duration,
}

/// Shows what a running process says of itself.
pub(super) fn status(args: &StatusArgs) -> Ended {
    let address = admin(&args.run.load()?)?;
    on_runtime(async move {
        loop {
            let shown = shown(address, args).await;
            if !args.watch {
                shown.map(|text| say(&text))?;
                return Ok::<(), String>(());
            }
            if std::io::stdout().is_terminal() {
                say(CLEAR);
            }
            say(&shown.unwrap_or_else(|reason| format!("{reason}\n")));
            tokio::time::sleep(EVERY).await;
        }
    })
}

/// Whether the process is well; every doubt is a no.
pub(super) fn healthcheck(args: &HealthArgs) -> Ended {
    let address = args.run.load().and_then(|config| admin(&config));
    // Containers know 0 and 1 alone.
    let address = address.map_err(|(_, reason)| (FAILED, reason))?;
    let path = if args.live { "/livez" } else { "/readyz" };
    on_runtime(async move {
        let (status, body) =
            console::ask(address, path, args.timeout).await.map_err(|silent| silent.to_string())?;
        let body = String::from_utf8_lossy(&body);
        match status {
            StatusCode::OK => {
                say(&format!("{}\n", body.trim()));
                Ok(())
            }
            status => Err(format!("{path} says {}: {}", status.as_u16(), body.trim())),
        }
    })
}

async fn shown(address: SocketAddr, args: &StatusArgs) -> Result<String, String> {
    let advice = |silent: Silent| match silent {
        Silent::Nobody { .. } => {
            format!("{silent}\nis it running? its address is admin.listen, here --admin")
        }
        silent => silent.to_string(),
    };
    let (code, body) = console::ask(address, "/status", WITHIN).await.map_err(advice)?;
    if code != StatusCode::OK {
        return Err(format!(
            "{address} says {} to /status: is it a Tollgate's admin address?",
            code.as_u16()
        ));
    }
    let status: Value = serde_json::from_slice(&body)
        .map_err(|_| format!("{address} gives no JSON at /status: is it a Tollgate's admin address?"))?;
    Ok(if args.json { String::from_utf8_lossy(&body).into_owned() } else { console::table(&status) })
}

/// Where the process is asked: as configured, or, if the system chose the port, as the process wrote down.
fn admin(config: &Config) -> Result<SocketAddr, Failure> {
    let listen = config.admin.listen;
    if listen.port() != 0 {
        return Ok(console::reachable(listen));
    }
    let file = config.state_dir.join("ports.json");
    let text = std::fs::read(&file).map_err(|error| failed(format!("{}: {error}", file.display())))?;
    let ports: Value = serde_json::from_slice(&text).unwrap_or_default();
    let address = ports.get("admin").and_then(Value::as_str).and_then(|address| address.parse().ok());
    address
        .map(console::reachable)
        .ok_or_else(|| failed(format!("{} names no admin address", file.display())))
}

const EVERY: Duration = Duration::from_secs(1);
const WITHIN: Duration = Duration::from_secs(5);
/// To the upper left corner, and everything below it gone.
const CLEAR: &str = "\u{1b}[H\u{1b}[2J";
