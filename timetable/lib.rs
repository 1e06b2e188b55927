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
mod feed;
#[cfg(test)]
mod fuzz;
mod gtfs;
mod identifiers;
mod notes;
mod route;
mod template;

use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;

use interlock_inventory::Plan;
use interlock_schemas::types::civil_from_days;
use interlock_schemas::{Date, TrainService};
use serde::Serialize;
use textwrap::{Options, WordSplitter};

use notes::Notes;

pub use changes::{Changes, OnSale, Renamed};
pub use demo::{DEMONSTRATION, demo};
pub use gtfs::gtfs;
pub use template::Templates;

/// Days for which trains are put on sale by default.
pub const DAYS_DEFAULT: u32 = 30;
/// Characters in a line of a report, at most.
const LINE_CHARS_MAX: usize = 80;
/// Most days that can be put on sale: a year and its leap day.
pub const DAYS_MAX: u32 = 366;

/// The dates on which trains are to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// The first date.
    pub from: Date,
    /// Number of days, also of those on which nothing runs.
    pub days: u32,
}

impl Window {
    fn dates(self) -> impl Iterator<Item = Date> {
        (0..self.days.min(DAYS_MAX)).filter_map(move |day| self.from.checked_add_unsigned(day))
    }
}

/// Plans that can be put on sale.
#[derive(Clone, Debug)]
pub struct Seed {
    /// Name of the feed: its publisher or agency. The next version of the feed is recognised by it.
    pub feed: String,
    /// Valid plans with at least one running date each, ordered by train.
    pub trains: Vec<TrainService>,
    /// Ids of trains that the feed has, but that run on none of the dates or can't be sold.
    pub idle: BTreeSet<String>,
    /// Trains and rows that were left out, projected or estimated, in sentences.
    pub notes: Vec<String>,
}

/// A seed in figures.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[allow(missing_docs, reason = "the names of the fields say it")]
pub struct Summary {
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

/// The reason why there is no seed. Each message states the problem, its place and the remedy.
#[derive(Debug, thiserror::Error)]
pub enum SeedError {
    /// Nothing is there.
    #[error("there is no timetable at {}; give the folder (or zip file) that holds stops.txt, trips.txt and so on", path.display())]
    NotFound {
        /// As asked for.
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
    /// A file lacks a column that is needed.
    #[error("{file} lacks the column {column}; its first line is `{header}`")]
    MissingColumn {
        /// The file.
        file: String,
        /// The column.
        column: &'static str,
        /// The file's first line, shortened.
        header: String,
    },
    /// A file that is needed has no rows.
    #[error("{file} has no rows, so no train is left to sell; check that it is a whole feed")]
    NoRows {
        /// The file.
        file: String,
    },
    /// A file isn't written in UTF-8.
    #[error("{file}, {place}: isn't UTF-8 (it looks like {guess}); convert it")]
    Encoding {
        /// The file.
        file: String,
        /// Line and column, as far as they are known.
        place: String,
        /// The likely encoding.
        guess: &'static str,
    },
    /// A file's columns aren't separated by commas.
    #[error("{file}: its columns are separated by {separator}, not by commas as GTFS requires; convert it")]
    Separator {
        /// The file.
        file: String,
        /// The character that separates them.
        separator: &'static str,
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
        /// Its time zone as written.
        zone: String,
    },
    /// Nothing is left to sell.
    #[error("no train is left to sell:{}", list(notes))]
    NothingToSell {
        /// The trains and rows that were left out, in sentences.
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
    /// The number of days is out of range.
    #[error("{days} days of trains can't be put on sale; ask for 1 to {DAYS_MAX}")]
    Days {
        /// As asked for.
        days: u32,
    },
}

impl Seed {
    /// Keeps the plans that the domain accepts, in the order of their ids.
    fn new(
        feed: String,
        trains: Vec<TrainService>,
        mut idle: BTreeSet<String>,
        mut notes: Notes,
    ) -> Result<Seed, SeedError> {
        let mut valid = Vec::with_capacity(trains.len());
        for train in trains {
            let id = train.train_id.to_string();
            match Plan::compile(train) {
                Ok(plan) => {
                    idle.remove(&id);
                    valid.push(plan.service().clone());
                }
                Err(error) => {
                    notes.count("trains left out: their plan isn't valid", &error.to_string());
                    idle.insert(id);
                }
            }
        }
        let notes: Vec<String> = notes.into_sentences().collect();
        if valid.is_empty() {
            return Err(SeedError::NothingToSell { notes });
        }
        valid.sort_by(|a, b| a.train_id.cmp(&b.train_id));
        Ok(Seed {
            feed,
            trains: valid,
            idle,
            notes,
        })
    }

    /// Returns the seed in figures.
    pub fn summary(&self) -> Summary {
        let trains = &self.trains;
        let timetables = || trains.iter().flat_map(TrainService::timetables);
        let dates = || timetables().flat_map(|(dates, _)| dates);
        let first_and_last = dates().min().zip(dates().max());
        Summary {
            trains: trains.len(),
            stations: timetables()
                .flat_map(|(_, route)| route)
                .map(|stop| &stop.code)
                .collect::<BTreeSet<_>>()
                .len(),
            train_dates: dates().count(),
            seats: trains.iter().map(|train| train.dates().len() * seats(train)).sum(),
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
            writeln!(f, "{}", wrapped("note         ", note))?;
        }
        Ok(())
    }
}

/// Returns a text behind a label, wrapped at 80 columns.
fn wrapped(label: &str, text: &str) -> String {
    let indent = " ".repeat(label.chars().count());
    let options = Options::new(LINE_CHARS_MAX)
        .initial_indent(label)
        .subsequent_indent(&indent)
        .break_words(false)
        .word_splitter(WordSplitter::NoHyphenation);
    textwrap::fill(text, options)
}

fn list(notes: &[String]) -> String {
    notes
        .iter()
        .map(|note| format!("\n{}", wrapped("  - ", note)))
        .collect()
}

/// Returns the number of a train's seats.
fn seats(train: &TrainService) -> usize {
    let layouts = train
        .coaches
        .iter()
        .filter_map(|coach| train.layouts.iter().find(|layout| layout.name == coach.layout));
    layouts.map(|layout| usize::try_from(layout.seats).unwrap_or(0)).sum()
}

/// Returns a date as people and keys write it.
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
