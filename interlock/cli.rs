//! The arguments of the command line. A flag that is a setting becomes a layer of the configuration; the others belong
//! to the command. The operators' commands are in `cli/`.

mod dlq;
mod replay;

use std::net::SocketAddr;
use std::path::PathBuf;

use chrono::NaiveDate;
use clap::{Args, Parser, Subcommand};
use interlock_gateway::json_log::From;
use interlock_loadgen::{CANONICAL_PROFILE, CANONICAL_REQUESTS, Profile};

use crate::config::{self, Flag, LogFormat, Sources};

pub(crate) use dlq::{Dlq, DlqAction, DlqList, DlqReplay, DlqShow};
pub(crate) use replay::Replay;

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
  interlock dev                                   all of it in one process, and a demonstration
  interlock seed --demo                           a timetable to sell
  interlock run                                   a worker that sells it
  interlock loadgen                               many travellers, and how long they waited
  interlock gateway                               HTTP and a live page
  interlock config                                what is set, and by what";

/// The subcommands; each is a file in `commands/`.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Dev(Dev),
    Run(Run),
    Seed(Seed),
    /// Make the window tables, or bring them up to date
    #[command(after_help = MIGRATE_HELP)]
    Migrate,
    Gateway(Gateway),
    Produce(Produce),
    Consume(Consume),
    Loadgen(Loadgen),
    Audit(Audit),
    Replay(Replay),
    Dlq(Dlq),
    Topology(Topology),
    Schemas(Schemas),
    Config(Config),
}

const MIGRATE_HELP: &str = "\
`run` does it by itself, unless database.migrate is off because its role may not. Migrations only add: workers of an older
version go on beside it.

Examples:
  interlock migrate
  INTERLOCK_DATABASE_URL_FILE=owner.url interlock migrate     under the role that owns the tables";

/// See it work: everything in one process, nothing to install, and the opening of a sale
#[derive(Debug, Args)]
#[command(after_help = "\
The runtime, the topologies, the load and the audit are those of production; log, ledgers, schema registry and window
tables are parts of this process. Needs no configuration.
Exit status of --exit: 0 if every request has its outcome and all invariants hold.

Examples:
  interlock dev                                   100,000 requests as fast as they are decided, then stays up
  interlock dev --rate 2000 --requests 20000      paced; latency counts from when each was meant to be sent
  interlock dev --data-dir demo                   kept on disk: end it at any time, even by SIGKILL, and start it again
  interlock dev --exit --json > dev.json          for programs")]
pub(crate) struct Dev {
    /// How many requests [default: 100000]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) requests: Option<u64>,
    /// Requests per second, on average [default: as fast as they are decided]
    #[arg(long, value_name = "R")]
    pub(crate) rate: Option<f64>,
    /// Kind of load [default: tatkal]
    #[arg(long, value_parser = clap::builder::PossibleValuesParser::new(Profile::names()))]
    pub(crate) profile: Option<String>,
    /// Seed of the load, to send the same one again [default: at random]
    #[arg(long)]
    pub(crate) seed: Option<u64>,
    /// Stream threads that decide [default: one less than there are cores]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=64))]
    pub(crate) threads: Option<u64>,
    /// Keep everything in this folder; the next time it goes on where it stopped [default: in memory only]
    #[arg(long, value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,
    /// Where to serve HTTP and the live page; port 0 takes a free one
    #[arg(
        long,
        value_name = "ADDRESS:PORT",
        default_value = "127.0.0.1:8080",
        conflicts_with = "exit"
    )]
    pub(crate) listen: SocketAddr,
    /// End after the demonstration, with a status; nothing is served then
    #[arg(long)]
    pub(crate) exit: bool,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Work: sell seats, and keep the window tables
#[derive(Debug, Args)]
#[command(after_help = "\
Waits for services that are down. SIGINT and SIGTERM end it gracefully, a second one at once.
While it runs: /metrics, /healthz and /readyz on metrics.listen.

Examples:
  interlock run                                   all topologies
  interlock run --topology booking --threads 4
  interlock run --metrics-listen 127.0.0.1:0      a second worker on this host: any free port, which it prints")]
pub(crate) struct Run {
    /// Topologies to run, separated by commas [setting: run.topologies]
    #[arg(long, value_name = "NAMES")]
    pub(crate) topology: Option<String>,
    /// Stream threads of each topology [setting: run.threads]
    #[arg(long, value_name = "N")]
    pub(crate) threads: Option<String>,
    /// Where to serve metrics and health; port 0 takes a free one [setting: metrics.listen]
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub(crate) metrics_listen: Option<String>,
    /// How log lines look [setting: log.format]
    #[arg(long, value_enum)]
    pub(crate) log_format: Option<LogFormat>,
}

/// Put a timetable on sale
#[derive(Debug, Args)]
#[command(after_help = "\
Registers the schemas and creates the topics first. Plans that the topic holds already are not written again; changed
ones get the next version, which holds for train-dates that are not open yet.

Examples:
  interlock seed --demo                           trains in India and Poland for the next 30 days
  interlock seed --gtfs feed.zip --from 2026-12-01 --days 60
  interlock seed --gtfs feed/ --template coaches.toml --json")]
pub(crate) struct Seed {
    /// Which timetable
    #[command(flatten)]
    pub(crate) source: SeedSource,
    /// First date on which trains run [default: today]
    #[arg(long, value_name = "DATE")]
    pub(crate) from: Option<NaiveDate>,
    /// Days on which trains run [default: 30]
    #[arg(long, value_name = "N")]
    pub(crate) days: Option<u32>,
    /// Keep the feed's own dates, even if they are past
    #[arg(long, conflicts_with_all = ["demo", "from", "days"])]
    pub(crate) feed_dates: bool,
    /// Coaches, quotas and fares for trains of a GTFS feed [default: built in]
    #[arg(long, value_name = "FILE", conflicts_with = "demo")]
    pub(crate) template: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// One of these.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct SeedSource {
    /// A network of its own, in India and Poland
    #[arg(long)]
    pub(crate) demo: bool,
    /// A GTFS feed: a folder or a zip file
    #[arg(long, value_name = "PATH")]
    pub(crate) gtfs: Option<PathBuf>,
}

/// Serve topics, trains and bookings over HTTP, with a live page
#[derive(Debug, Args)]
#[command(after_help = "\
Waits for services that are down. Nobody is asked who he is: put what authenticates in front, or listen on 127.0.0.1.
docs/http-api.md lists the routes; / is the live page; also /metrics, /healthz and /readyz.

Examples:
  interlock gateway                               on http://127.0.0.1:8080/
  interlock gateway --listen 127.0.0.1:0          on any free port, which it prints")]
pub(crate) struct Gateway {
    /// Where to serve; port 0 takes a free one [setting: gateway.listen]
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub(crate) listen: Option<String>,
}

/// Append records to a topic, JSON in and Avro on the wire
#[derive(Debug, Args)]
#[command(after_help = "\
Records are JSON objects, one on each line of standard input unless given. Prints partition and offset of each.
Exit status 1 if a record doesn't fit the topic's schemas; what is wrong with which line is said.

Examples:
  interlock produce --topic booking-requests < requests.jsonl
  interlock produce --topic train-services '{...}'
  interlock produce --topic booking-requests --url http://127.0.0.1:8080 < requests.jsonl")]
pub(crate) struct Produce {
    /// To which topic
    #[arg(long, value_name = "TOPIC")]
    pub(crate) topic: String,
    /// Key of all records [default: what the topic's contract makes of each]
    #[arg(long)]
    pub(crate) key: Option<String>,
    /// Through this gateway or `interlock dev` [default: directly to Kafka]
    #[arg(long, value_name = "URL")]
    pub(crate) url: Option<String>,
    /// Records [default: the lines of standard input]
    #[arg(value_name = "JSON")]
    pub(crate) records: Vec<String>,
}

/// Read a topic, Avro on the wire and JSON out
#[derive(Debug, Args)]
#[command(after_help = "\
Prints one JSON object for each committed record: partition, offset, timestamp, key, type and value. What was there at
the start comes in the order of its timestamps.

Examples:
  interlock consume --topic confirmed --limit 10
  interlock consume --topic confirmed --from latest --follow
  interlock consume --topic booking-requests.dlq --url http://127.0.0.1:8080")]
pub(crate) struct Consume {
    /// Which topic
    #[arg(long, value_name = "TOPIC")]
    pub(crate) topic: String,
    /// Where to begin: beginning, latest, or an offset of each partition
    #[arg(long, default_value = "beginning")]
    pub(crate) from: From,
    /// Of this partition only
    #[arg(long, value_name = "N")]
    pub(crate) partition: Option<i32>,
    /// End after so many records
    #[arg(long, value_name = "N")]
    pub(crate) limit: Option<usize>,
    /// Don't end where the topic ends at present
    #[arg(long)]
    pub(crate) follow: bool,
    /// Through this gateway or `interlock dev` [default: directly from Kafka]
    #[arg(long, value_name = "URL")]
    pub(crate) url: Option<String>,
}

/// Send requests as travellers do, and measure how long the outcomes take
#[derive(Debug, Args)]
#[command(after_help = "\
Latency counts from when a request was meant to be sent to when its outcome was read, committed. Exit status 1 if some
requests stay unanswered. Without --seed every load is another one; the same seed again only repeats its requests.

Examples:
  interlock loadgen                               the canonical load: 200,000 requests in a burst
  interlock loadgen --requests 60000 --profile steady --rate 1000
  interlock loadgen --profile tatkal --json > tatkal.json
  interlock loadgen --no-wait                     only send: what a worker started later must catch up with")]
pub(crate) struct Loadgen {
    /// How many requests
    #[arg(long, value_name = "N", default_value_t = CANONICAL_REQUESTS, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) requests: u64,
    /// Requests per second, on average [default: the profile's; burst: all at once]
    #[arg(long, value_name = "R")]
    pub(crate) rate: Option<f64>,
    /// Kind of load
    #[arg(long, default_value = CANONICAL_PROFILE, value_parser = clap::builder::PossibleValuesParser::new(Profile::names()))]
    pub(crate) profile: String,
    /// Seed of the load, to send the same one again [default: at random]
    #[arg(long)]
    pub(crate) seed: Option<u64>,
    /// Seconds to wait for outcomes after the last request
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    pub(crate) timeout: u64,
    /// Send, and don't wait for outcomes
    #[arg(long)]
    pub(crate) no_wait: bool,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Describe the topologies: what they read, do and write
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  interlock topology                              as text
  interlock topology booking --mermaid            as a flow chart for Markdown")]
pub(crate) struct Topology {
    /// Which [default: all]
    #[arg(value_name = "NAME")]
    pub(crate) names: Vec<String>,
    /// Print Mermaid flow charts
    #[arg(long, conflicts_with = "json")]
    pub(crate) mermaid: bool,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Check from the outside that all invariants hold: Kafka, Redis and TimescaleDB agree
#[derive(Debug, Args)]
#[command(after_help = "\
Reads what is committed and judges it by I1 to I6, without the workers' help; they may go on meanwhile.
Exit status: 0 if all invariants hold and nothing was inconclusive, 1 if not, 2 if a service can't be asked.

Examples:
  interlock audit                                 after a load, or at any time
  interlock audit --settled                       every request must have its answer by now
  interlock audit --skip-windows --json           without TimescaleDB; for programs")]
pub(crate) struct Audit {
    /// Seconds to wait for workers that are behind
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    pub(crate) wait: u64,
    /// Requests that are not answered yet are violations, too
    #[arg(long)]
    pub(crate) settled: bool,
    /// Don't look at the window tables (I6)
    #[arg(long)]
    pub(crate) skip_windows: bool,
    /// Violations to print of each invariant; all are counted
    #[arg(long, value_name = "N", default_value_t = 50)]
    pub(crate) max_violations: usize,
    /// Ledgers to audit at the same time; each needs memory for all of its bookings
    #[arg(long, value_name = "N", default_value_t = 4)]
    pub(crate) parallel: usize,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
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
    /// Returns the sources of the configuration.
    pub(crate) fn sources(&self) -> Sources {
        let flag = |name: &str, key: &str, value: &str| Flag {
            name: name.into(),
            key: key.into(),
            value: value.into(),
        };
        let mut flags: Vec<Flag> = self.set.iter().map(|(key, value)| flag("--set", key, value)).collect();
        if let Command::Run(run) = &self.command {
            let format = run.log_format.map(|format| format.to_string());
            let given = [
                ("--topology", "run.topologies", &run.topology),
                ("--threads", "run.threads", &run.threads),
                ("--metrics-listen", "metrics.listen", &run.metrics_listen),
                ("--log-format", "log.format", &format),
            ];
            flags.extend(
                given
                    .into_iter()
                    .filter_map(|(name, key, value)| Some(flag(name, key, value.as_deref()?))),
            );
        }
        if let Command::Gateway(Gateway { listen: Some(listen) }) = &self.command {
            flags.push(flag("--listen", "gateway.listen", listen));
        }
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
        let Command::Loadgen(load) = parse("interlock loadgen").unwrap().command else {
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
