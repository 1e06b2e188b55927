//! Turns a timetable into plans that can be put on sale. Pure but for reading files: the caller publishes the result.
//!
//! | source | is |
//! | --- | --- |
//! | [`demo`](demo()) | a network of its own, in India and Poland |
//! | [`gtfs`](gtfs()) | any timetable in GTFS; a template adds coaches and fares |
//!
//! Every plan has passed the domain's own compiler. The notes count and name what was left out.

mod calendar;
mod changes;
mod demo;
#[cfg(test)]
mod fuzz;
mod gtfs;
mod identifiers;
mod read;
mod route;
mod template;

use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;

use interlock_inventory::Plan;
use interlock_schemas::types::civil_from_days;
use interlock_schemas::{Date, TrainService};
use serde::Serialize;

pub use changes::changed;
pub use demo::demo;
pub use gtfs::gtfs;
pub use template::Templates;

/// Days of trains that are seeded unless another number is asked for.
pub const DAYS_DEFAULT: u32 = 30;
/// Most days: a year and its leap day.
pub const DAYS_MAX: u32 = 366;

/// The dates on which trains are to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// First date.
    pub from: Date,
    /// Number of days, including those on which nothing runs.
    pub days: u32,
}

impl Window {
    fn dates(self) -> impl Iterator<Item = Date> {
        (0..self.days.min(DAYS_MAX)).filter_map(move |day| self.from.checked_add_unsigned(day))
    }
}

/// Plans for the sale, and notes about them for the user.
#[derive(Clone, Debug)]
pub struct Seed {
    /// Valid plans with at least one running date each, ordered by train.
    pub trains: Vec<TrainService>,
    /// Notes on trips and dates that were skipped, projected or estimated.
    pub notes: Vec<String>,
}

/// A seed in figures.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// Trains.
    pub trains: usize,
    /// Stations that they call at, told apart by code.
    pub stations: usize,
    /// Runs that can be booked.
    pub train_dates: usize,
    /// Seats of all runs.
    pub seats: usize,
    /// First and last running date.
    pub dates: Option<(String, String)>,
    /// Classes on offer.
    pub classes: BTreeSet<String>,
    /// Currencies of the fares.
    pub currencies: BTreeSet<String>,
    /// The seed's notes.
    pub notes: Vec<String>,
}

/// The reason why there is no seed. Each message names the problem, its place, and the remedy.
#[derive(Debug, thiserror::Error)]
pub enum SeedError {
    /// Nothing is there.
    #[error("there is no timetable at {}; give the folder (or zip file) that holds stops.txt, trips.txt and so on", path.display())]
    NotFound {
        /// The requested path.
        path: PathBuf,
    },
    /// A file that GTFS requires isn't there.
    #[error("{} lacks {file}, which GTFS requires; check that it is a whole feed", path.display())]
    MissingFile {
        /// The feed.
        path: PathBuf,
        /// The file.
        file: String,
    },
    /// A row can't be read.
    #[error("{file}, {place}: {problem}; the row is `{row}`; correct it, or ask the publisher to")]
    Row {
        /// The file.
        file: String,
        /// Line and column, as far as they are known.
        place: String,
        /// The error.
        problem: String,
        /// The row, shortened.
        row: String,
    },
    /// A file can't be read at all.
    #[error("{file} can't be read: {problem}")]
    Unreadable {
        /// The file or feed.
        file: String,
        /// The reason.
        problem: String,
    },
    /// A time zone that isn't one.
    #[error(
        "agency.txt: `{zone}` of agency `{agency}` is no IANA time zone, such as Europe/Warsaw; correct agency_timezone"
    )]
    TimeZone {
        /// The agency's name.
        agency: String,
        /// The stated value.
        zone: String,
    },
    /// The feed names no date at all.
    #[error("the feed has no running dates: neither calendar.txt nor calendar_dates.txt says when a train runs")]
    NoCalendar,
    /// Nothing is left to sell.
    #[error("no train is left to sell: {}", notes.join("; "))]
    NothingToSell {
        /// Reasons for skipped trips.
        notes: Vec<String>,
    },
    /// A template can't be used.
    #[error("the template {file} can't be used: {problem}")]
    Template {
        /// The file.
        file: String,
        /// The error and its place.
        problem: String,
    },
    /// No dates are asked for.
    #[error("{days} days of trains can't be seeded; ask for 1 to {DAYS_MAX}")]
    Days {
        /// The requested number of days.
        days: u32,
    },
}

impl Seed {
    /// Keeps the plans that the domain accepts, in the order of their names.
    fn new(trains: Vec<TrainService>, mut notes: Vec<String>) -> Result<Seed, SeedError> {
        let mut valid = Vec::with_capacity(trains.len());
        for train in trains {
            match Plan::compile(train) {
                Ok(plan) => valid.push(plan.service().clone()),
                Err(error) => notes.push(format!("skipped: {error}")),
            }
        }
        if valid.is_empty() {
            return Err(SeedError::NothingToSell { notes });
        }
        valid.sort_by(|a, b| a.train_id.cmp(&b.train_id));
        Ok(Seed { trains: valid, notes })
    }

    /// The seed in figures.
    pub fn summary(&self) -> Summary {
        let trains = &self.trains;
        let dates = || trains.iter().flat_map(|train| &train.running_dates);
        let first_and_last = dates().min().zip(dates().max());
        Summary {
            trains: trains.len(),
            stations: trains
                .iter()
                .flat_map(|train| &train.route)
                .map(|stop| &stop.code)
                .collect::<BTreeSet<_>>()
                .len(),
            train_dates: dates().count(),
            seats: trains
                .iter()
                .map(|train| train.running_dates.len() * seats(train))
                .sum(),
            dates: first_and_last.map(|(first, last)| (date_text(*first), date_text(*last))),
            classes: trains
                .iter()
                .flat_map(|train| &train.coaches)
                .map(|coach| coach.travel_class.to_string())
                .collect(),
            currencies: trains.iter().map(|train| train.currency.to_string()).collect(),
            notes: self.notes.clone(),
        }
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |set: &BTreeSet<String>| set.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
        writeln!(f, "trains       {} at {} stations", self.trains, self.stations)?;
        write!(f, "train-dates  {}", self.train_dates)?;
        if let Some((first, last)) = &self.dates {
            write!(f, ", {first} to {last}")?;
        }
        writeln!(f, "\nseats        {} over all train-dates", self.seats)?;
        writeln!(f, "classes      {}", list(&self.classes))?;
        writeln!(f, "currencies   {}", list(&self.currencies))?;
        for note in &self.notes {
            writeln!(f, "note         {note}")?;
        }
        Ok(())
    }
}

/// Seats of a train.
fn seats(train: &TrainService) -> usize {
    let layouts = train
        .coaches
        .iter()
        .filter_map(|coach| train.layouts.iter().find(|layout| layout.name == coach.layout));
    layouts.map(|layout| usize::try_from(layout.seats).unwrap_or(0)).sum()
}

/// A date as people and keys write it.
fn date_text(date: Date) -> String {
    let (year, month, day) = civil_from_days(date);
    format!("{year:04}-{month:02}-{day:02}")
}

fn check_days(window: Window) -> Result<(), SeedError> {
    let days = window.days;
    if (1..=DAYS_MAX).contains(&days) {
        Ok(())
    } else {
        Err(SeedError::Days { days })
    }
}

#[cfg(test)]
mod tests;
