//! The arguments of the command line. A flag that is a setting becomes a layer of the configuration; the others belong
//! to the command. The operators' commands are in `cli/`.

mod dlq;
mod replay;
mod schemas;
mod seed;
mod shell;

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use interlock_gateway::json_log::From;
use interlock_loadgen::{CANONICAL_PROFILE, CANONICAL_REQUESTS, Profile};

use crate::config::{self, Flag, Sources};

pub(crate) use dlq::{Dlq, DlqAction, DlqList, DlqReplay, DlqShow};
pub(crate) use replay::Replay;
pub(crate) use schemas::{Schemas, SchemasAction};
pub(crate) use seed::Seed;
pub(crate) use shell::{Completions, Man};

/// Sells train seats from Kafka, exactly once.
#[derive(Debug, Parser)]
#[command(name = "interlock", version, max_term_width = 80, after_help = AFTER_HELP)]
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

    /// Command to run
    #[command(subcommand)]
    pub(crate) command: Command,
}

const AFTER_HELP: &str = "\
Flags take precedence over INTERLOCK_* variables, variables over interlock.toml,
and the file over defaults. `interlock config` prints each setting's source.

Exit status: 0 on success, 1 if something failed or does not hold, 2 if the
command line or the configuration is wrong.

Examples:
  interlock dev               run everything in one process, with a simulation
  interlock seed --demo       put a timetable on sale
  interlock run               sell it: a worker
  interlock loadgen           send many requests and measure the latency
  interlock gateway           serve HTTP and a live page
  interlock config            print the settings and their sources";

/// The subcommands; each is a file in `commands/`.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Dev(Dev),
    #[cfg(feature = "servers")]
    #[command(flatten)]
    Servers(Servers),
    Topology(Topology),
    Config(Config),
    Completions(Completions),
    Man(Man),
}

/// The subcommands that talk to servers.
#[cfg(feature = "servers")]
#[derive(Debug, Subcommand)]
pub(crate) enum Servers {
    Run(Run),
    Seed(Seed),
    /// Create the window tables, or bring them up to date
    #[command(after_help = MIGRATE_HELP)]
    Migrate,
    Gateway(Gateway),
    Produce(Produce),
    Consume(Consume),
    Loadgen(Loadgen),
    Audit(Audit),
    Replay(Replay),
    Dlq(Dlq),
    Schemas(Schemas),
}

const MIGRATE_HELP: &str = "\
`interlock run` does this itself unless database.migrate is false. Migrations
only add, so workers of an older version can continue beside it.

Examples:
  interlock migrate
  INTERLOCK_DATABASE_URL_FILE=owner.url interlock migrate";

/// Run everything in one process and simulate the opening of a sale
#[derive(Debug, Args)]
#[command(after_help = "\
Runtime, topologies, load and audit are those of production. The log, the
ledgers, the schema registry and the window tables are parts of this process.
It needs no configuration.

With --exit, the status is 0 if every request was answered and all invariants
hold.

Examples:
  interlock dev                        100,000 requests at full speed
  interlock dev --rate 2000 --requests 20000
  interlock dev --data-dir demo        keep everything on disk, resume after a
                                       restart, even after SIGKILL
  interlock dev --exit --json > dev.json")]
pub(crate) struct Dev {
    /// Number of requests [default: 100000]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) requests: Option<u64>,
    /// Average requests per second [default: as fast as they are decided]
    #[arg(long, value_name = "R", value_parser = rate)]
    pub(crate) rate: Option<f64>,
    /// Kind of load [default: tatkal]
    #[arg(long, value_parser = clap::builder::PossibleValuesParser::new(Profile::names()))]
    pub(crate) profile: Option<String>,
    /// Seed that determines the load [default: random]
    #[arg(long)]
    pub(crate) seed: Option<u64>,
    /// Stream threads that decide [default: one less than the cores]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=64))]
    pub(crate) threads: Option<u64>,
    /// Folder to keep everything in and to resume from [default: memory only]
    #[arg(long, value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,
    /// Address for HTTP and the live page; port 0 takes a free one
    #[arg(
        long,
        value_name = "ADDRESS:PORT",
        default_value = "127.0.0.1:8080",
        conflicts_with = "exit"
    )]
    pub(crate) listen: SocketAddr,
    /// Exit after the simulation and serve nothing
    #[arg(long)]
    pub(crate) exit: bool,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Run a worker: sell seats and keep the window tables
#[derive(Debug, Args)]
#[command(after_help = "\
A worker waits for services that are down. SIGINT and SIGTERM stop it
gracefully; a second signal stops it at once. It serves /metrics, /healthz and
/readyz at metrics.listen.

Examples:
  interlock run                                    all topologies
  interlock run --topology booking --threads 4
  interlock run --metrics-listen 127.0.0.1:0       use and print any free port")]
pub(crate) struct Run {
    /// Topologies to run, separated by commas [setting: run.topologies]
    #[arg(long, value_name = "NAMES")]
    pub(crate) topology: Option<String>,
    /// Stream threads of each topology [setting: run.threads]
    #[arg(long, value_name = "N")]
    pub(crate) threads: Option<String>,
    /// Address for metrics and health; port 0 takes a free one [setting: metrics.listen]
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub(crate) metrics_listen: Option<String>,
    /// Format of log lines [setting: log.format]
    #[arg(long, value_parser = ["text", "json"])]
    pub(crate) log_format: Option<String>,
}

/// Serve topics, trains and bookings over HTTP, with a live page
#[derive(Debug, Args)]
#[command(after_help = "\
The gateway waits for services that are down. It does not authenticate clients:
let it listen on 127.0.0.1 only, or put an authenticating proxy in front.
docs/http-api.md lists the routes; / is the live page. It also serves /metrics,
/healthz and /readyz.

Examples:
  interlock gateway                            serve http://127.0.0.1:8080/
  interlock gateway --listen 127.0.0.1:0       use and print any free port")]
pub(crate) struct Gateway {
    /// Address to serve; port 0 takes a free one [setting: gateway.listen]
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub(crate) listen: Option<String>,
}

/// Append JSON records to a topic, encoded as Avro
#[derive(Debug, Args)]
#[command(after_help = "\
Records are JSON objects: arguments, or one on each line of standard input. The
command prints the partition and offset of each record. If one does not fit the
topic's schemas, the command names its number and the reason and exits with 1.

Examples:
  interlock produce --topic booking-requests < requests.jsonl
  interlock produce --topic train-services '{...}'
  interlock produce --topic booking-requests \\
      --url http://127.0.0.1:8080 < requests.jsonl")]
pub(crate) struct Produce {
    /// Topic to append to
    #[arg(long, value_name = "TOPIC")]
    pub(crate) topic: String,
    /// Key of all records [default: derived from each by the topic's contract]
    #[arg(long)]
    pub(crate) key: Option<String>,
    /// Address of a gateway or `interlock dev` [default: Kafka itself]
    #[arg(long, value_name = "URL")]
    pub(crate) url: Option<String>,
    /// Records [default: the lines of standard input]
    #[arg(value_name = "JSON")]
    pub(crate) records: Vec<String>,
}

/// Print the Avro records of a topic as JSON
#[derive(Debug, Args)]
#[command(after_help = "\
The command prints one JSON object for each committed record: partition, offset,
timestamp, key, type and value. Records that exist at the start are printed in
the order of their timestamps.

Examples:
  interlock consume --topic confirmed --limit 10
  interlock consume --topic confirmed --from latest --follow
  interlock consume --topic confirmed --url http://127.0.0.1:8080")]
pub(crate) struct Consume {
    /// Topic to read
    #[arg(long, value_name = "TOPIC")]
    pub(crate) topic: String,
    /// Start: beginning, latest, or an offset in each partition
    #[arg(long, default_value = "beginning")]
    pub(crate) from: From,
    /// Read only this partition
    #[arg(long, value_name = "N")]
    pub(crate) partition: Option<i32>,
    /// Stop after N records
    #[arg(long, value_name = "N")]
    pub(crate) limit: Option<usize>,
    /// Continue at the end of the topic and wait for new records
    #[arg(long)]
    pub(crate) follow: bool,
    /// Address of a gateway or `interlock dev` [default: Kafka itself]
    #[arg(long, value_name = "URL")]
    pub(crate) url: Option<String>,
}

/// Send requests as travellers do and measure the latency of outcomes
#[derive(Debug, Args)]
#[command(after_help = "\
Latency is the time from the planned sending of a request to the reading of its
committed outcome. The exit status is 1 if requests stay unanswered. Each load
is different unless --seed is given; a seed used before repeats its requests.

Examples:
  interlock loadgen                    200,000 requests in a burst
  interlock loadgen --requests 60000 --profile steady --rate 1000
  interlock loadgen --profile tatkal --json > tatkal.json
  interlock loadgen --no-wait          only send, for a worker to catch up")]
pub(crate) struct Loadgen {
    /// Number of requests
    #[arg(long, value_name = "N", default_value_t = CANONICAL_REQUESTS, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) requests: u64,
    /// Average requests per second [default: the profile's; burst: all at once]
    #[arg(long, value_name = "R", value_parser = rate)]
    pub(crate) rate: Option<f64>,
    /// Kind of load
    #[arg(long, default_value = CANONICAL_PROFILE, value_parser = clap::builder::PossibleValuesParser::new(Profile::names()))]
    pub(crate) profile: String,
    /// Seed that determines the load [default: random]
    #[arg(long)]
    pub(crate) seed: Option<u64>,
    /// Seconds to wait for outcomes after the last request
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    pub(crate) timeout: u64,
    /// Do not wait for outcomes
    #[arg(long)]
    pub(crate) no_wait: bool,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Describe the topologies: sources, steps and sinks
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  interlock topology                       print text
  interlock topology booking --mermaid     print a flow chart for Markdown")]
pub(crate) struct Topology {
    /// Topologies to describe [default: all]
    #[arg(value_name = "NAME")]
    pub(crate) names: Vec<String>,
    /// Print Mermaid flow charts
    #[arg(long, conflicts_with = "json")]
    pub(crate) mermaid: bool,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Check from outside that Kafka, Redis and TimescaleDB agree
#[derive(Debug, Args)]
#[command(after_help = "\
The audit reads committed records and judges them by the invariants I1 to I6,
independently of the workers, which can continue meanwhile.

Exit status: 0 if all invariants hold and nothing was inconclusive, 1 if not, 2
if a service cannot be reached.

Examples:
  interlock audit                          after a load, or at any time
  interlock audit --settled                demand an answer to every request
  interlock audit --skip-windows --json    without TimescaleDB")]
pub(crate) struct Audit {
    /// Seconds to wait for workers that are behind
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    pub(crate) wait: u64,
    /// Count requests without an answer as violations
    #[arg(long)]
    pub(crate) settled: bool,
    /// Skip the window tables (I6)
    #[arg(long)]
    pub(crate) skip_windows: bool,
    /// Violations to print for each invariant; all are counted
    #[arg(long, value_name = "N", default_value_t = 50)]
    pub(crate) max_violations: usize,
    /// Ledgers to audit at once; each needs memory for all its bookings
    #[arg(long, value_name = "N", default_value_t = 4)]
    pub(crate) parallel: usize,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Print the effective configuration and the source of each value
#[derive(Debug, Args)]
#[command(after_help = "\
Secrets, and passwords in addresses, are masked.

Examples:
  interlock config
  INTERLOCK_REDIS_URL=redis://r:6379 interlock config --json
  interlock config --example > interlock.toml")]
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
    /// Returns the sources of the configuration.
    pub(crate) fn sources(&self) -> Sources {
        let flag = |name: &str, key: &str, value: &str| Flag {
            name: name.into(),
            key: key.into(),
            value: value.into(),
        };
        let set = self.set.iter().map(|(key, value)| flag("--set", key, value));
        let given = self.command.settings();
        let given = given.iter().map(|(name, key, value)| flag(name, key, value));
        Sources {
            file: self.config.clone(),
            directory: config::directory(),
            variables: config::environment(),
            flags: set.chain(given).collect(),
        }
    }
}

impl Command {
    /// Returns the given flags that are settings: name, key of the setting, value.
    fn settings(&self) -> Vec<(&'static str, &'static str, String)> {
        let given: Vec<(_, _, Option<String>)> = match self {
            #[cfg(feature = "servers")]
            Self::Servers(Servers::Run(run)) => vec![
                ("--topology", "run.topologies", run.topology.clone()),
                ("--threads", "run.threads", run.threads.clone()),
                ("--metrics-listen", "metrics.listen", run.metrics_listen.clone()),
                ("--log-format", "log.format", run.log_format.clone()),
            ],
            #[cfg(feature = "servers")]
            Self::Servers(Servers::Gateway(gateway)) => vec![("--listen", "gateway.listen", gateway.listen.clone())],
            _ => Vec::new(),
        };
        let given = given.into_iter();
        given
            .filter_map(|(name, key, value)| Some((name, key, value?)))
            .collect()
    }
}

fn rate(text: &str) -> Result<f64, String> {
    let rate = text.parse::<f64>().ok();
    rate.filter(|rate| rate.is_finite() && *rate > 0.0)
        .ok_or_else(|| "expected a number above 0, such as 2000 or 0.5".to_owned())
}

fn key_value(text: &str) -> Result<(String, String), String> {
    let (key, value) = text
        .split_once('=')
        .ok_or("expected KEY=VALUE, such as redis.namespace=test")?;
    Ok((key.trim().to_owned(), value.to_owned()))
}

#[cfg(all(test, feature = "servers"))]
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
    fn help_fits_eighty_columns_and_breaks_no_sentence() {
        fn check(command: &clap::Command) {
            let name = command.get_name();
            for line in command.clone().render_long_help().to_string().lines() {
                assert!(line.chars().count() <= 80, "{name}: {line}");
            }
            // A note that is longer than a line would be wrapped once more, in the middle of its sentence.
            let notes = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            for line in notes.lines() {
                assert!(line.chars().count() <= 80, "{name}: {line}");
            }
            command.get_subcommands().for_each(check);
        }
        let mut cli = Cli::command().term_width(80);
        cli.build();
        check(&cli);
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
    fn flags_of_run_are_settings_that_win_over_set() {
        let cli = parse("interlock run --threads 4 --topology booking,revenue --log-format json --set run.threads=2");
        let flags = cli.unwrap().sources().flags;
        let of = |key: &str| {
            flags
                .iter()
                .rev()
                .find(|flag| flag.key == key)
                .map(|flag| flag.value.as_str())
        };
        assert_eq!(of("run.threads"), Some("4"));
        assert_eq!(of("run.topologies"), Some("booking,revenue"));
        assert_eq!(of("log.format"), Some("json"));
        assert_eq!(of("metrics.listen"), None);
    }

    #[test]
    fn nothing_listens_to_the_network_unless_told() {
        let Command::Dev(dev) = parse("interlock dev").unwrap().command else {
            panic!("another command")
        };
        assert!(dev.listen.ip().is_loopback());
        for setting in config::SETTINGS
            .iter()
            .filter(|setting| setting.key.ends_with(".listen"))
        {
            let address: SocketAddr = setting.default.parse().unwrap();
            assert!(address.ip().is_loopback(), "{}", setting.key);
        }
    }

    #[test]
    fn the_canonical_load_needs_no_flags() {
        let Command::Servers(Servers::Loadgen(load)) = parse("interlock loadgen").unwrap().command else {
            panic!("another command")
        };
        assert_eq!(
            (load.requests, load.profile.as_str(), load.timeout),
            (200_000, "burst", 60)
        );
        assert!(load.rate.is_none() && load.seed.is_none() && !load.no_wait);
    }

    #[test]
    fn contradictions_are_refused() {
        assert!(parse("interlock").is_err());
        assert!(parse("interlock sell").is_err());
        assert!(parse("interlock config --json --example").is_err());
        assert!(parse("interlock schemas drop").is_err());
        assert!(parse("interlock seed").is_err());
        assert!(parse("interlock seed --demo --gtfs feed").is_err());
        assert!(parse("interlock seed --demo --template t.toml").is_err());
        assert!(parse("interlock seed --gtfs feed --feed-dates --days 3").is_err());
        assert!(parse("interlock seed --demo --from tomorrow").is_err());
        assert!(parse("interlock loadgen --profile calm").is_err());
        assert!(parse("interlock loadgen --requests 0").is_err());
        for rate in ["0", "-1", "NaN", "inf", "fast"] {
            assert!(parse(&format!("interlock loadgen --rate={rate}")).is_err(), "{rate}");
            assert!(parse(&format!("interlock dev --rate={rate}")).is_err(), "{rate}");
        }
        assert!(parse("interlock replay").is_err());
        assert!(parse("interlock replay --ledgers --windows").is_err());
        assert!(parse("interlock replay --windows --partitions 3").is_err());
        assert!(parse("interlock replay --ledgers --partitions 3-1").is_err());
        assert!(parse("interlock dlq replay").is_err());
        assert!(parse("interlock dlq replay 3:17 --all").is_err());
        assert!(parse("interlock dlq replay 3:17 --reason undecodable").is_err());
        assert!(parse("interlock dlq show 3-17").is_err());
        assert!(parse("interlock dlq list booking-requests").is_err());
    }
}
