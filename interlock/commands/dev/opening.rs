//! The sale that is demonstrated: all that is needed to make its timetable and its requests again.

use chrono::Local;
use interlock_schemas::{Date, TrainService};
use serde::{Deserialize, Serialize};

use crate::cli::Dev as Arguments;
use crate::commands::seed::days_since_epoch;
use crate::seed::{self, DAYS_DEFAULT, Window};

const REQUESTS_DEFAULT: u64 = 100_000;
const PROFILE_DEFAULT: &str = "tatkal";

/// An opening.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Opening {
    pub(crate) profile: String,
    pub(crate) requests: u64,
    /// Requests per second, on average; none: as fast as they are decided.
    pub(crate) rate: Option<f64>,
    pub(crate) seed: u64,
    /// First day on which trains run.
    pub(crate) from: Date,
}

impl Opening {
    /// As asked for; what isn't said is by default, the seed at random.
    pub(crate) fn new(arguments: &Arguments) -> Opening {
        Opening {
            profile: arguments.profile.clone().unwrap_or_else(|| PROFILE_DEFAULT.to_owned()),
            requests: arguments.requests.unwrap_or(REQUESTS_DEFAULT),
            rate: arguments.rate,
            seed: arguments.seed.unwrap_or_else(|| u64::from(rand::random::<u32>())),
            from: days_since_epoch(Local::now().date_naive()),
        }
    }

    /// The demonstration's trains.
    pub(crate) fn trains(&self) -> anyhow::Result<Vec<TrainService>> {
        let window = Window {
            from: self.from,
            days: DAYS_DEFAULT,
        };
        Ok(seed::demo(window)?.trains)
    }

    /// What its requests are marked with.
    pub(crate) fn name(&self) -> String {
        format!("{}-{}", self.profile, self.seed)
    }
}
