//! What can be typed. A flag that is a setting becomes a layer of the configuration; the others are the command's own.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::config::{self, Flag, Sources};

/// Sells train seats from Kafka, exactly once.
#[derive(Debug, Parser)]
#[command(name = "interlock", version, max_term_width = 120, after_help = AFTER_HELP)]
pub(crate) struct Cli {
    /// Configuration file [default: interlock.toml in the working directory, if there is one]
    #[arg(
        long,
        global = true,
        env = "INTERLOCK_CONFIG",
        hide_env = true,
        value_name = "FILE",
        help_heading = "Configuration"
    )]
    pub(crate) config: Option<PathBuf>,

    /// Set any setting, such as --set redis.namespace=test; `interlock config` lists them
    #[arg(long, global = true, value_name = "KEY=VALUE", value_parser = key_value, help_heading = "Configuration")]
    pub(crate) set: Vec<(String, String)>,

    /// What to do
    #[command(subcommand)]
    pub(crate) command: Command,
}

const AFTER_HELP: &str = "\
Settings: flags win over INTERLOCK_* variables, these over interlock.toml, this over the defaults; `interlock config`
prints them with where each comes from.
Exit status: 0 if all held, 1 if something failed or did not hold, 2 if the command line or the configuration is wrong.

Examples:
  interlock schemas register                      make the contract known to the schema registry
  interlock config                                what is set, and by what";

/// The subcommands; each is a file in `commands/`.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Schemas(Schemas),
    Config(Config),
}

/// Register the contract's Avro schemas, check them, or list them
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  interlock schemas                               list topics, record types and subjects (asks nobody)
  interlock schemas check                         would the registry take our schemas? exit status 1 if not
  interlock schemas register --json               register them, print the ids")]
pub(crate) struct Schemas {
    /// What to do
    #[arg(value_enum, default_value_t = SchemasAction::List)]
    pub(crate) action: SchemasAction,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// What to do with the schemas.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum SchemasAction {
    /// Register each under its subject, which from then on takes only compatible versions
    Register,
    /// Ask whether each would be taken, and change nothing
    Check,
    /// Print which topic carries what
    List,
}

/// Print the effective configuration, and where each value comes from
#[derive(Debug, Args)]
#[command(after_help = "\
Secrets, and passwords in addresses, are not shown.

Examples:
  interlock config                                as the next command would see it
  INTERLOCK_REDIS_URL=redis://r:6379 interlock config --json
  interlock config --example > interlock.toml     every setting with its default")]
pub(crate) struct Config {
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
    /// Print an interlock.toml with every setting at its default
    #[arg(long, conflicts_with_all = ["json", "reference"])]
    pub(crate) example: bool,
    /// Print a reference of all settings in Markdown
    #[arg(long, conflicts_with = "json")]
    pub(crate) reference: bool,
}

impl Cli {
    /// Where the configuration is to be looked for.
    pub(crate) fn sources(&self) -> Sources {
        let flag = |name: &str, key: &str, value: &str| Flag {
            name: name.into(),
            key: key.into(),
            value: value.into(),
        };
        let flags = self.set.iter().map(|(key, value)| flag("--set", key, value)).collect();
        Sources {
            file: self.config.clone(),
            directory: config::directory(),
            variables: config::environment(),
            flags,
        }
    }
}

fn key_value(text: &str) -> Result<(String, String), String> {
    let (key, value) = text
        .split_once('=')
        .ok_or("expected KEY=VALUE, such as redis.namespace=test")?;
    Ok((key.trim().to_owned(), value.to_owned()))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    fn parse(line: &str) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(line.split_whitespace())
    }

    #[test]
    fn the_definition_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_has_examples() {
        for command in Cli::command().get_subcommands() {
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(
                help.contains(&format!("interlock {}", command.get_name())),
                "{}",
                command.get_name()
            );
        }
    }

    #[test]
    fn settings_are_flags() {
        let cli = parse("interlock config --set redis.namespace=a=b --set run.threads=2").unwrap();
        let flags = cli.sources().flags;
        assert_eq!(
            (flags[0].key.as_str(), flags[0].value.as_str()),
            ("redis.namespace", "a=b")
        );
        assert_eq!(
            (flags[1].key.as_str(), flags[1].name.as_str()),
            ("run.threads", "--set")
        );
        assert!(parse("interlock config --set redis.namespace").is_err());
    }

    #[test]
    fn contradictions_are_refused() {
        assert!(parse("interlock").is_err());
        assert!(parse("interlock sell").is_err());
        assert!(parse("interlock config --json --example").is_err());
        assert!(parse("interlock schemas drop").is_err());
    }
}
