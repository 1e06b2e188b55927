//! The demonstrated sale: the parameters that determine its timetable and its requests.

use anyhow::bail;
use chrono::Local;
use interlock_schemas::{Date, TrainService};
use interlock_timetable::{DAYS_DEFAULT, Window, demo};
use serde::{Deserialize, Serialize};

use crate::cli::Dev as Arguments;

const REQUESTS_DEFAULT: u64 = 100_000;
const PROFILE_DEFAULT: &str = "tatkal";

/// The parameters of an opening.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Opening {
    pub(crate) profile: String,
    pub(crate) requests: u64,
    /// Requests per second, on average; `None`: as fast as they are decided.
    pub(crate) rate: Option<f64>,
    pub(crate) seed: u64,
    /// First day on which trains run.
    pub(crate) from: Date,
}

impl Opening {
    /// Creates an opening from the arguments, with defaults for the rest and a random seed.
    pub(crate) fn new(arguments: &Arguments) -> Opening {
        Opening {
            profile: arguments.profile.clone().unwrap_or_else(|| PROFILE_DEFAULT.to_owned()),
            requests: arguments.requests.unwrap_or(REQUESTS_DEFAULT),
            rate: arguments.rate,
            seed: arguments.seed.unwrap_or_else(|| u64::from(rand::random::<u32>())),
            from: Local::now().date_naive().to_epoch_days(),
        }
    }

    /// Refuses arguments that differ from this opening, which was begun before.
    pub(super) fn check(&self, arguments: &Arguments) -> anyhow::Result<()> {
        let differs = [
            (
                "--profile",
                arguments
                    .profile
                    .as_ref()
                    .is_some_and(|profile| *profile != self.profile),
            ),
            (
                "--requests",
                arguments.requests.is_some_and(|requests| requests != self.requests),
            ),
            ("--rate", arguments.rate.is_some() && arguments.rate != self.rate),
            ("--seed", arguments.seed.is_some_and(|seed| seed != self.seed)),
        ];
        match differs.iter().find(|(_, differs)| *differs) {
            Some((flag, _)) => bail!(
                "{flag} differs from the opening that was begun in this folder ({} requests, profile {}, seed {}): leave \
                 {flag} out to go on with it, or give another folder to --data-dir",
                self.requests,
                self.profile,
                self.seed
            ),
            None => Ok(()),
        }
    }

    /// Returns the trains of the demonstration.
    pub(crate) fn trains(&self) -> anyhow::Result<Vec<TrainService>> {
        let window = Window {
            from: self.from,
            days: DAYS_DEFAULT,
        };
        Ok(demo(window)?.trains)
    }

    /// Returns the mark of the opening's requests.
    pub(super) fn name(&self) -> String {
        format!("{}-{}", self.profile, self.seed)
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::cli::{Cli, Command};

    fn arguments(line: &str) -> Arguments {
        let cli = Cli::try_parse_from(format!("interlock dev {line}").split_whitespace());
        match cli.unwrap().command {
            Command::Dev(arguments) => arguments,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn an_opening_goes_on_unless_another_is_asked_for() {
        let begun = Opening::new(&arguments("--requests 7 --rate 2.5"));
        assert_eq!(
            (begun.requests, begun.rate, begun.profile.as_str()),
            (7, Some(2.5), "tatkal")
        );
        for same in ["", "--requests 7", "--rate 2.5 --profile tatkal"] {
            begun.check(&arguments(same)).unwrap();
        }
        for other in ["--requests 8", "--rate 3", "--profile burst", "--seed 4294967296"] {
            let refused = begun.check(&arguments(other)).unwrap_err().to_string();
            assert!(refused.starts_with(other.split(' ').next().unwrap()), "{refused}");
        }
    }
}
