//! The command line: arguments become a configuration, the configuration becomes a process.

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::run()
}
