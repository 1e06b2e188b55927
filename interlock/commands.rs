//! One file for each subcommand, one line for each here.

mod audit;
mod completions;
mod config;
mod consume;
mod dev;
mod dlq;
mod gateway;
mod loadgen;
mod migrate;
pub(crate) mod print;
mod produce;
mod replay;
pub(crate) mod run;
mod schemas;
mod seed;
mod topology;

pub(crate) use completions::{completions, man};

use crate::Status;
use crate::cli::Command;
use crate::config::Loaded;

/// Carries out a command.
pub(crate) fn call(command: Command, loaded: &Loaded) -> anyhow::Result<Status> {
    match command {
        Command::Dev(arguments) => dev::call(&arguments),
        Command::Run(_) => run::call(&loaded.config),
        Command::Seed(arguments) => seed::call(&arguments, &loaded.config),
        Command::Migrate => migrate::call(&loaded.config),
        Command::Gateway(_) => gateway::call(&loaded.config),
        Command::Produce(arguments) => produce::call(&arguments, &loaded.config),
        Command::Consume(arguments) => consume::call(&arguments, &loaded.config),
        Command::Loadgen(arguments) => loadgen::call(&arguments, &loaded.config),
        Command::Audit(arguments) => audit::call(&arguments, &loaded.config),
        Command::Replay(arguments) => replay::call(&arguments, &loaded.config),
        Command::Dlq(arguments) => dlq::call(&arguments, &loaded.config),
        Command::Topology(arguments) => topology::call(&arguments),
        Command::Schemas(arguments) => schemas::call(&arguments, &loaded.config),
        Command::Config(arguments) => config::call(&arguments, loaded),
        Command::Completions(arguments) => completions(&arguments),
        Command::Man(arguments) => man(&arguments),
    }
}
