//! `interlock completions` and `interlock man`: print shell completions and manual pages.

use anyhow::Context as _;
use clap::CommandFactory as _;

use super::print;
use crate::Status;
use crate::cli::{Cli, Completions, Man};

/// Prints a shell's completions.
pub(crate) fn completions(arguments: &Completions) -> anyhow::Result<Status> {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut Cli::command(), "interlock", &mut script);
    print::text(&script)?;
    Ok(Status::Held)
}

/// Prints a page for `man`.
pub(crate) fn man(arguments: &Man) -> anyhow::Result<Status> {
    let mut cli = Cli::command();
    cli.build();
    let command = match &arguments.command {
        None => &cli,
        Some(name) => cli
            .find_subcommand(name)
            .with_context(|| format!("{name} is not a command; `interlock --help` lists them"))?,
    };
    let mut page = Vec::new();
    clap_mangen::Man::new(command.clone()).render(&mut page)?;
    print::text(&page)?;
    Ok(Status::Held)
}
