//! The commands and their flags, what they print, and the code they end with.

use std::io::{Read, Write};
use std::process::ExitCode;
use std::time::Duration;

use aws_lc_rs::digest;
use clap::{Args, Parser, Subcommand};

use tokio::runtime::Builder;
use tollgate::config;
use tollgate::demo::{self, DemoSettings};
use tollgate::doctor::{self, Finding};
use tollgate::machine::descriptors;
use tollgate::sim;
use tollgate::upstream;

use args::{RunArgs, fault};
use look::{HealthArgs, StatusArgs};
use pages::{CompletionArgs, ManArgs};

mod args;
mod look;
mod pages;
mod serve;

/// A rate-limit-aware caching reverse proxy for the Webex REST API.
#[derive(Debug, Parser)]
#[command(name = "tollgate", version, about, args_conflicts_with_subcommands = true, after_help = CODES)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    run: RunArgs,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve (the default)
    #[command(after_help = RUN_CODES)]
    Run(RunArgs),
    /// Report every fault of the configuration at once; starts nothing
    #[command(after_help = CHECK_CODES)]
    Check(RunArgs),
    /// Show the effective configuration and where each value comes from
    #[command(after_help = CHECK_CODES)]
    Config(RunArgs),
    /// Show how a running process is: who waits, which gate is closed and until when
    #[command(after_help = STATUS_CODES)]
    Status(StatusArgs),
    /// Ask a running process whether it takes traffic; for images without curl
    #[command(after_help = HEALTH_CODES)]
    Healthcheck(HealthArgs),
    /// Look for what keeps a configuration from working: state, ports, the way to the API, the clock
    #[command(after_help = DOCTOR_CODES)]
    Doctor(RunArgs),
    /// Print the local CA's certificate
    #[command(after_help = CODES)]
    Ca(CaArgs),
    /// Print the SHA-256 of a token read from the standard input, for tenant.token_sha256
    #[command(after_help = CODES)]
    HashToken,
    /// Run bots against a made-up Webex, without and with Tollgate, and compare
    #[command(after_help = CODES)]
    Demo(DemoArgs),
    /// Serve a made-up Webex with limits
    #[command(after_help = CODES)]
    Sim(Box<sim::SimArgs>),
    /// Print what a shell reads to complete these commands
    #[command(after_help = CODES)]
    Completions(CompletionArgs),
    /// Print a manual page, for man -l -
    #[command(after_help = CODES)]
    Man(ManArgs),
}

/// What is printed of the local CA.
#[derive(Debug, Args)]
struct CaArgs {
    #[command(flatten)]
    run: RunArgs,
    /// After the certificates that this machine trusts, for clients whose one CA file replaces all of them
    #[arg(long)]
    bundle: bool,
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

/// What a command that went wrong ends with, and what it says.
type Failure = (u8, String);
type Ended = Result<(), Failure>;

/// Runs the command that the arguments name.
pub(crate) fn run() -> ExitCode {
    let cli = Cli::parse();
    let ended = match cli.command.unwrap_or(Command::Run(cli.run)) {
        Command::Run(args) => serve::serve(&args),
        Command::Check(args) => args.load().map(|_| say("configuration ok\n")),
        Command::Config(args) => args
            .sources()
            .and_then(|sources| config::describe(&sources).map_err(fault))
            .map(|text| say(&text)),
        Command::Status(args) => look::status(&args),
        Command::Healthcheck(args) => look::healthcheck(&args),
        Command::Doctor(args) => diagnose(&args),
        Command::Ca(args) => ca(&args),
        Command::HashToken => hash_token(),
        Command::Demo(args) => on_runtime(demo::run(DemoSettings::new(args.seed, args.bots))),
        Command::Sim(args) => on_runtime(sim::run(*args)),
        Command::Completions(args) => pages::completions(&args),
        Command::Man(args) => pages::man(&args),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err((code, message)) => {
            complain(&message);
            ExitCode::from(code)
        }
    }
}

fn failed(error: impl std::fmt::Display) -> Failure {
    (FAILED, error.to_string())
}

fn ca(args: &CaArgs) -> Ended {
    let file = args.run.load()?.state_dir.join("ca.pem");
    let pem =
        std::fs::read_to_string(&file).map_err(|error| failed(format!("{}: {error}", file.display())))?;
    if args.bundle {
        say(&upstream::platform_roots().map_err(failed)?);
    }
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
    descriptors::raise();
    // Where there is one processor, nobody could take work off its thread.
    let is_alone = std::thread::available_parallelism().is_ok_and(|threads| threads.get() == 1);
    let mut runtime = if is_alone { Builder::new_current_thread() } else { Builder::new_multi_thread() };
    let runtime = runtime.enable_all().build().map_err(failed)?;
    let done = runtime.block_on(work).map_err(failed);
    // A read that hangs, on a dead network file system say, must not keep the process from ending.
    runtime.shutdown_timeout(LEFT_BEHIND_FOR);
    done
}

fn say(text: &str) {
    say_bytes(text.as_bytes());
}

fn say_bytes(text: &[u8]) {
    // A reader that went away is no reason to fail.
    drop(std::io::stdout().lock().write_all(text));
}

fn complain(text: &str) {
    drop(writeln!(std::io::stderr().lock(), "{text}"));
}

/// Far more than any token has.
const MAX_TOKEN_BYTES: u64 = 64 * 1024;
const LEFT_BEHIND_FOR: Duration = Duration::from_secs(1);
/// Codes: 0 well, 1 failed while running, 2 a fault in the configuration or the arguments.
const FAILED: u8 = 1;
const FAULT: u8 = 2;
const CODES: &str = "Exit codes: 0 well; 1 it failed; 2 a fault in the configuration or the arguments.";
const RUN_CODES: &str = "\
Signals: SIGTERM or SIGINT drains and ends, a second one ends at once; SIGHUP reads the configuration again.
Exit codes: 0 ended by a signal; 1 it could not start, a certificate or an address for example; 2 a fault in the \
configuration or the arguments.";
const CHECK_CODES: &str =
    "Exit codes: 0 no fault; 2 faults, one per line: place, key, what is wrong, what was meant.";
const STATUS_CODES: &str = "\
Exit codes: 0 shown; 1 nobody answers, or not a Tollgate; 2 a fault in the configuration or the arguments.";
const HEALTH_CODES: &str = "Exit codes: 0 yes; 1 no, for whatever reason; 2 a fault in the arguments.";
const DOCTOR_CODES: &str =
    "Exit codes: 0 nothing found; 1 something keeps it from working; 2 a fault in the arguments.";
