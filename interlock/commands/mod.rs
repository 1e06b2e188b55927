//! One file for each subcommand, one line for each here.

mod config;
mod schemas;

use crate::Status;
use crate::cli::Command;
use crate::config::Loaded;

/// Carries out a command.
pub(crate) fn call(command: Command, loaded: &Loaded) -> anyhow::Result<Status> {
    match command {
        Command::Schemas(arguments) => schemas::call(&arguments, &loaded.config),
        Command::Config(arguments) => config::call(&arguments, loaded),
    }
}
