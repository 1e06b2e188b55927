//! Reads the files of a GTFS feed that matter here, and says of a bad one what, where and what to do.
//!
//! The reader keeps the result of each file apart, so what is optional and of no use here (fares, shapes, translations,
//! …) may be as broken as it likes.

use std::panic::catch_unwind;
use std::path::Path;

use gtfs_structures::{Agency, Calendar, CalendarDate, Error, GtfsReader, RawFrequency, RawGtfs, RawStopTime, RawTrip};
use gtfs_structures::{Route, Stop};

use super::SeedError;

/// The reader refuses files that are shorter than a byte order mark; such a file is empty but for a line end.
const EMPTY_BYTES_MAX: u64 = 2;
/// A bad row is quoted up to here, in characters.
const ROW_CHARS_MAX: usize = 120;

/// The relevant parts of a feed.
#[derive(Debug)]
pub(crate) struct Feed {
    pub(crate) agencies: Vec<Agency>,
    pub(crate) stops: Vec<Stop>,
    pub(crate) routes: Vec<Route>,
    pub(crate) trips: Vec<RawTrip>,
    pub(crate) stop_times: Vec<RawStopTime>,
    pub(crate) calendar: Vec<Calendar>,
    pub(crate) calendar_dates: Vec<CalendarDate>,
    pub(crate) frequencies: Vec<RawFrequency>,
}

/// Reads a folder or a zip file.
pub(crate) fn read(path: &Path) -> Result<Feed, SeedError> {
    let reader = GtfsReader::default()
        .read_shapes(false)
        .unkown_enum_as_default(true)
        .raw();
    // The library panics where a number overflows (Cargo.toml keeps it so in release builds, rather than to read
    // another time).
    let raw: RawGtfs = catch_unwind(|| reader.read_from_path(path))
        .map_err(|_| SeedError::Unreadable {
            file: path.display().to_string(),
            problem: "a number in it is far out of range, such as a time of thousands of hours; correct it".to_owned(),
        })?
        .map_err(|error| explain(path, "the feed", error))?;
    Ok(Feed {
        agencies: required(path, "agency.txt", raw.agencies)?,
        stops: required(path, "stops.txt", raw.stops)?,
        routes: required(path, "routes.txt", raw.routes)?,
        trips: required(path, "trips.txt", raw.trips)?,
        stop_times: required(path, "stop_times.txt", raw.stop_times)?,
        calendar: optional(path, "calendar.txt", raw.calendar)?,
        calendar_dates: optional(path, "calendar_dates.txt", raw.calendar_dates)?,
        frequencies: optional(path, "frequencies.txt", raw.frequencies)?,
    })
}

fn required<T>(path: &Path, file: &str, read: Result<Vec<T>, Error>) -> Result<Vec<T>, SeedError> {
    read.map_err(|error| explain(path, file, error))
}

/// A file that isn't there, or is empty, says nothing; but one that says when trains run must not be misread.
fn optional<T>(path: &Path, file: &str, read: Option<Result<Vec<T>, Error>>) -> Result<Vec<T>, SeedError> {
    let bytes = path.join(file).metadata().map_or(0, |found| found.len());
    match read {
        None | Some(Err(Error::NamedFileIO { .. })) if bytes <= EMPTY_BYTES_MAX => Ok(vec![]),
        None => Err(SeedError::Unreadable {
            file: format!("{file} of {}", path.display()),
            problem: "it can't be opened".into(),
        }),
        Some(read) => required(path, file, read),
    }
}

fn explain(path: &Path, file: &str, error: Error) -> SeedError {
    let unreadable = |problem: String| SeedError::Unreadable {
        file: format!("{file} of {}", path.display()),
        problem,
    };
    match error {
        Error::NotFileNorDirectory(_) => SeedError::NotFound { path: path.to_owned() },
        Error::MissingFile(file) => SeedError::MissingFile {
            path: path.to_owned(),
            file,
        },
        Error::NamedFileIO { source, .. } => unreadable(source.to_string()),
        Error::CSVError {
            source, line_in_error, ..
        } => {
            let text = source.to_string();
            let (headers, values) = line_in_error.map(|row| (row.headers, row.values)).unwrap_or_default();
            let line = source.position().map(|position| format!("line {}", position.line()));
            let column = number_after(&text, "field ")
                .and_then(|field| headers.get(field))
                .map(|name| format!("column {name}"));
            let place: Vec<String> = line.into_iter().chain(column).collect();
            SeedError::Row {
                file: file.to_owned(),
                place: if place.is_empty() {
                    "somewhere".to_owned()
                } else {
                    place.join(", ")
                },
                problem: text.rsplit("): ").next().unwrap_or(&text).to_owned(),
                row: values.join(",").chars().take(ROW_CHARS_MAX).collect(),
            }
        }
        other => unreadable(other.to_string()),
    }
}

/// The number behind a word in a message of the CSV reader, which has no other way to say it.
fn number_after(text: &str, word: &str) -> Option<usize> {
    let rest = &text[text.rfind(word)? + word.len()..];
    let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    rest[..digits].parse().ok()
}
