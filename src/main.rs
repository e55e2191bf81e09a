//! The command line: arguments become a configuration, the configuration becomes a process.

mod cli;

use std::process::ExitCode;

use mimalloc::MiMalloc;

/// A request makes some hundred small allocations, and what a flood took must go back (decision 0020).
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    cli::run()
}
