//! The command line: arguments become a configuration, the configuration becomes a process.

mod cli;

use std::process::ExitCode;

/// What a request allocates, some sixty pieces, costs less there than at the platform's (decision 0023).
#[global_allocator]
static MEMORY: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    cli::run()
}
