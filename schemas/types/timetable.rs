//! The timetables of a train: each is a route for dates of its own.

use serde::{Deserialize, Serialize};

use super::{Date, Stop, TrainService};

/// A route and the dates on which a train runs by it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timetable {
    /// Origin dates, ascending; each is in one timetable of the train only.
    pub running_dates: Vec<Date>,
    /// Ordered stops, 2 to 128.
    pub route: Vec<Stop>,
}

impl TrainService {
    /// Iterates over the timetables: each one's dates and stops.
    pub fn timetables(&self) -> impl Iterator<Item = (&[Date], &[Stop])> {
        let others = self.other_timetables.iter();
        let others = others.map(|other| (&other.running_dates[..], &other.route[..]));
        std::iter::once((&self.running_dates[..], &self.route[..])).chain(others)
    }

    /// Returns the dates of all timetables, ascending.
    pub fn dates(&self) -> Vec<Date> {
        let mut dates: Vec<Date> = self.timetables().flat_map(|(dates, _)| dates).copied().collect();
        dates.sort_unstable();
        dates
    }
}
