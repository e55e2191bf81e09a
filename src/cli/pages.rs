//! Completions for shells and manual pages, made from the declaration of the commands.

use clap::{Args, Command, CommandFactory};
use clap_complete::Shell;
use clap_mangen::Man;

use super::{Cli, Ended, failed, say_bytes};

/// Which shell.
#[derive(Debug, Args)]
pub(super) struct CompletionArgs {
    /// The shell that will read it
    shell: Shell,
}

/// Which page.
#[derive(Debug, Args)]
pub(super) struct ManArgs {
    /// A command with a page of its own; without it the page of tollgate itself
    command: Option<String>,
}

/// Prints what a shell reads to complete the commands.
pub(super) fn completions(args: &CompletionArgs) -> Ended {
    let mut text = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), NAME, &mut text);
    say_bytes(&text);
    Ok(())
}

/// Prints a manual page in roff.
pub(super) fn man(args: &ManArgs) -> Ended {
    let mut all = Cli::command();
    all.build();
    let page = match &args.command {
        None => all,
        Some(name) => page_of(&all, name).ok_or_else(|| failed(format!("no command is called {name:?}")))?,
    };
    let mut text = Vec::new();
    Man::new(page).render(&mut text).map_err(failed)?;
    say_bytes(&text);
    Ok(())
}

fn page_of(all: &Command, name: &str) -> Option<Command> {
    all.find_subcommand(name).cloned()
}

const NAME: &str = "tollgate";
