//! The arguments of `interlock schemas`.

use clap::Args;

/// List, check or register the Avro schemas of the contract
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  interlock schemas                    list topics, record types and subjects
  interlock schemas check              exit with 1 if the registry refuses one
  interlock schemas register --json    register them and print their ids")]
pub(crate) struct Schemas {
    /// Action
    #[arg(value_enum, default_value_t = SchemasAction::List)]
    pub(crate) action: SchemasAction,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Action of `interlock schemas`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum SchemasAction {
    /// Register each under its subject, which then accepts only compatible versions
    Register,
    /// Ask the registry whether it accepts each, without a change
    Check,
    /// Print the record types of each topic
    List,
}
