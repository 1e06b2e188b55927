//! One file for each subcommand, one line for each here.

#[cfg(feature = "servers")]
mod audit;
mod completions;
mod config;
#[cfg(feature = "servers")]
mod consume;
mod dev;
#[cfg(feature = "servers")]
mod dlq;
#[cfg(feature = "servers")]
mod gateway;
#[cfg(feature = "servers")]
mod loadgen;
#[cfg(feature = "servers")]
mod migrate;
pub(crate) mod print;
#[cfg(feature = "servers")]
mod produce;
#[cfg(feature = "servers")]
mod replay;
#[cfg(feature = "servers")]
mod run;
#[cfg(feature = "servers")]
mod schemas;
#[cfg(feature = "servers")]
mod seed;
mod topology;

pub(crate) use completions::{completions, man};

use crate::Status;
use crate::cli::Command;
#[cfg(feature = "servers")]
use crate::cli::Servers;
use crate::config::Loaded;

/// Carries out a command.
pub(crate) fn call(command: Command, loaded: &Loaded) -> anyhow::Result<Status> {
    match command {
        Command::Dev(arguments) => dev::call(&arguments),
        #[cfg(feature = "servers")]
        Command::Servers(command) => call_with_servers(command, &loaded.config),
        Command::Topology(arguments) => topology::call(&arguments),
        Command::Config(arguments) => config::call(&arguments, loaded),
        Command::Completions(arguments) => completions(&arguments),
        Command::Man(arguments) => man(&arguments),
    }
}

#[cfg(feature = "servers")]
fn call_with_servers(command: Servers, config: &crate::config::Config) -> anyhow::Result<Status> {
    match command {
        Servers::Run(_) => run::call(config),
        Servers::Seed(arguments) => seed::call(&arguments, config),
        Servers::Migrate => migrate::call(config),
        Servers::Gateway(_) => gateway::call(config),
        Servers::Produce(arguments) => produce::call(&arguments, config),
        Servers::Consume(arguments) => consume::call(&arguments, config),
        Servers::Loadgen(arguments) => loadgen::call(&arguments, config),
        Servers::Audit(arguments) => audit::call(&arguments, config),
        Servers::Replay(arguments) => replay::call(&arguments, config),
        Servers::Dlq(arguments) => dlq::call(&arguments, config),
        Servers::Schemas(arguments) => schemas::call(&arguments, config),
    }
}
