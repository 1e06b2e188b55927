//! One file of a feed, row by row. Only the columns that are asked for are read; a bad row is noted and left out.

use std::io::Read;
use std::str::FromStr;

use csv::{ByteRecord, Reader, ReaderBuilder, Trim};

use super::source::Source;
use crate::SeedError;
use crate::notes::{Notes, quote};

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";
/// Seconds in the longest time of day that is read as one: no timetable has a trip of a hundred days.
const TIME_MAX_S: u32 = 100 * 86_400;

/// A file that is being read.
pub(crate) struct Table<'a> {
    file: &'static str,
    reader: Reader<Box<dyn Read + 'a>>,
    header: Vec<String>,
}

/// A column of a table, which the file may lack.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Column {
    name: &'static str,
    at: Option<usize>,
}

/// A row of a table.
pub(crate) struct Row<'a> {
    file: &'static str,
    record: &'a ByteRecord,
    line: u64,
}

/// The reason why a row, or one of its values, can't be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Bad {
    column: &'static str,
    problem: Problem,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Problem {
    /// The row ends before the column.
    Short,
    Empty,
    NotUtf8,
    /// The value isn't what it should be.
    Not {
        kind: &'static str,
        value: String,
    },
    /// The value was there before.
    Repeated {
        value: String,
    },
}

impl<'a> Table<'a> {
    /// Opens a file that the feed may lack. An empty file is as good as none.
    pub(crate) fn open(source: &'a mut Source, file: &'static str) -> Result<Option<Table<'a>>, SeedError> {
        let Some(content) = source.file(file)? else {
            return Ok(None);
        };
        let mut reader = ReaderBuilder::new()
            .has_headers(false)
            .flexible(true)
            .trim(Trim::All)
            .from_reader(content);
        let mut header = ByteRecord::new();
        let is_there = reader.read_byte_record(&mut header).map_err(|error| io(file, &error))?;
        if !is_there {
            return Ok(None);
        }
        let names: Vec<&[u8]> = header
            .iter()
            .enumerate()
            .map(|(at, name)| match at {
                0 => name.strip_prefix(BYTE_ORDER_MARK).unwrap_or(name).trim_ascii(),
                _ => name,
            })
            .collect();
        let first = names.first().copied().unwrap_or_default();
        if first.starts_with(b"\xff\xfe") || first.starts_with(b"\xfe\xff") || first.contains(&0) {
            return Err(SeedError::Encoding {
                file: file.to_owned(),
                place: "line 1".to_owned(),
                guess: "UTF-16",
            });
        }
        if names.len() == 1 {
            for (separator, name) in [(b';', "semicolons"), (b'\t', "tabs"), (b'|', "vertical bars")] {
                if first.contains(&separator) {
                    return Err(SeedError::Separator {
                        file: file.to_owned(),
                        separator: name,
                    });
                }
            }
        }
        let name = |name: &&[u8]| {
            String::from_utf8_lossy(name)
                .trim_matches('"')
                .trim()
                .to_ascii_lowercase()
        };
        let header = names.iter().map(name).collect();
        Ok(Some(Table { file, reader, header }))
    }

    /// Opens a file that GTFS requires.
    pub(crate) fn require(source: &'a mut Source, file: &'static str) -> Result<Table<'a>, SeedError> {
        let path = source.path().to_owned();
        Table::open(source, file)?.ok_or_else(|| SeedError::MissingFile {
            path,
            file: file.to_owned(),
        })
    }

    /// Returns a column that the file may lack.
    pub(crate) fn column(&self, name: &'static str) -> Column {
        Column {
            name,
            at: self.header.iter().position(|column| column == name),
        }
    }

    /// Returns a column without which the file is of no use.
    pub(crate) fn require_column(&self, name: &'static str) -> Result<Column, SeedError> {
        let column = self.column(name);
        match column.at {
            Some(_) => Ok(column),
            None => Err(SeedError::MissingColumn {
                file: self.file.to_owned(),
                column: name,
                header: quote(&self.header.join(",")),
            }),
        }
    }

    /// Hands each row to `take`; notes and leaves out the rows that it finds bad. Returns the number of rows.
    pub(crate) fn each(
        mut self,
        notes: &mut Notes,
        mut take: impl FnMut(&Row<'_>, &mut Notes) -> Result<(), Bad>,
    ) -> Result<usize, SeedError> {
        let (mut record, mut rows) = (ByteRecord::new(), 0);
        let file = self.file;
        while self
            .reader
            .read_byte_record(&mut record)
            .map_err(|error| io(file, &error))?
        {
            // A line of nothing but spaces.
            if record.len() == 1 && record.get(0).is_none_or(<[u8]>::is_empty) {
                continue;
            }
            rows += 1;
            let line = record.position().map_or(0, csv::Position::line);
            let row = Row {
                file,
                record: &record,
                line,
            };
            match take(&row, notes) {
                Ok(()) => {}
                Err(bad) if bad.problem == Problem::NotUtf8 => return Err(row.encoding(bad.column)),
                Err(bad) => bad.note(notes, &row, "left out"),
            }
        }
        Ok(rows)
    }
}

impl Row<'_> {
    /// Returns a value; none where it is empty, or the row or the header lacks it.
    pub(crate) fn text(&self, column: &Column) -> Result<Option<&str>, Bad> {
        let Some(value) = column.at.and_then(|at| self.record.get(at)) else {
            return Ok(None);
        };
        match std::str::from_utf8(value) {
            Ok("") => Ok(None),
            Ok(text) => Ok(Some(text)),
            Err(_) => Err(Bad {
                column: column.name,
                problem: Problem::NotUtf8,
            }),
        }
    }

    /// Returns a value that the row needs.
    pub(crate) fn require(&self, column: &Column) -> Result<&str, Bad> {
        self.text(column)?.ok_or(Bad {
            column: column.name,
            problem: match column.at {
                Some(at) if at >= self.record.len() => Problem::Short,
                _ => Problem::Empty,
            },
        })
    }

    /// Returns a value, parsed.
    pub(crate) fn parse<T>(
        &self,
        column: &Column,
        kind: &'static str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Result<Option<T>, Bad> {
        let Some(text) = self.text(column)? else {
            return Ok(None);
        };
        let bad = || Bad::not(column, kind, text);
        parse(text).map(Some).ok_or_else(bad)
    }

    /// Returns a value that the row needs, parsed.
    pub(crate) fn require_parsed<T>(
        &self,
        column: &Column,
        kind: &'static str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Result<T, Bad> {
        let text = self.require(column)?;
        parse(text).ok_or_else(|| Bad::not(column, kind, text))
    }

    /// Returns a value that the row can do without: a bad one is noted and taken as none.
    pub(crate) fn optional<T>(
        &self,
        notes: &mut Notes,
        column: &Column,
        kind: &'static str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Result<Option<T>, Bad> {
        match self.parse(column, kind, parse) {
            Err(bad) if bad.problem != Problem::NotUtf8 => {
                bad.note(notes, self, "taken as empty");
                Ok(None)
            }
            value => value,
        }
    }

    fn encoding(&self, column: &str) -> SeedError {
        SeedError::Encoding {
            file: self.file.to_owned(),
            place: format!("line {}, column {column}", self.line),
            guess: match self.record.as_slice().contains(&0) {
                true => "UTF-16",
                false => "Windows-1252",
            },
        }
    }
}

impl Bad {
    /// A value that isn't what it should be; `kind` follows "is not".
    pub(crate) fn not(column: &Column, kind: &'static str, value: &str) -> Bad {
        Bad {
            column: column.name,
            problem: Problem::Not {
                kind,
                value: value.to_owned(),
            },
        }
    }

    /// A value that must not come twice.
    pub(crate) fn repeated(column: &Column, value: &str) -> Bad {
        Bad {
            column: column.name,
            problem: Problem::Repeated {
                value: value.to_owned(),
            },
        }
    }

    fn note(&self, notes: &mut Notes, row: &Row<'_>, consequence: &str) {
        let (file, column, line) = (row.file, self.column, row.line);
        let what = match consequence {
            "left out" => format!("rows of {file} left out"),
            _ => format!("values of {file} {consequence}"),
        };
        let (reason, value) = match &self.problem {
            Problem::Short => (format!("the row ends before {column}"), None),
            Problem::Empty => (format!("{column} is empty"), None),
            Problem::NotUtf8 => (format!("{column} isn't UTF-8"), None),
            Problem::Not { kind, value } => (format!("{column} is not {kind}"), Some(value)),
            Problem::Repeated { value } => (format!("{column} comes again and the first counts"), Some(value)),
        };
        notes.count_many(&format!("{what}, {reason}"), 1, || match value {
            Some(value) => format!("line {line}: `{}`", quote(value)),
            None => format!("line {line}"),
        });
    }
}

/// Reads a number; nothing else may follow it.
pub(crate) fn number<T: FromStr>(text: &str) -> Option<T> {
    text.parse().ok()
}

/// Reads `H:MM:SS` or `HH:MM:SS` (or without seconds) as seconds; hours may exceed 24.
pub(crate) fn time(text: &str) -> Option<u32> {
    let mut parts = text.split(':').map(|part| {
        let is_number = !part.is_empty() && part.len() <= 4 && part.bytes().all(|byte| byte.is_ascii_digit());
        is_number.then(|| part.parse::<u32>().ok()).flatten()
    });
    let (hours, minutes) = (parts.next()??, parts.next()??);
    let seconds = match parts.next() {
        Some(seconds) => seconds?,
        None => 0,
    };
    let is_time = parts.next().is_none() && minutes < 60 && seconds < 60;
    let total = hours * 3_600 + minutes * 60 + seconds;
    (is_time && total <= TIME_MAX_S).then_some(total)
}

fn io(file: &str, error: &csv::Error) -> SeedError {
    SeedError::Unreadable {
        file: file.to_owned(),
        problem: error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_may_pass_midnight_and_nothing_else_is_a_time() {
        assert_eq!(time("8:05:09"), Some(29_109));
        assert_eq!(time("25:30:00"), Some(91_800));
        assert_eq!(time("08:00"), Some(28_800));
        for bad in [
            "",
            "8",
            "08:60:00",
            "08:00:60",
            "8 o'clock",
            "-1:00:00",
            "08:00:00:00",
            "9999999:00:00",
            "+8:00:00",
        ] {
            assert_eq!(time(bad), None, "{bad}");
        }
    }
}
