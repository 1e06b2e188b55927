//! The in-process log, kept in a file so that it outlives the process.
//!
//! In memory it is the log of [`super::memory`]. A commit is first written to an embedded database (redb). Only then
//! can readers see it and is it acknowledged. The writer writes all waiting commits together and calls `fsync`, which
//! takes a few milliseconds; commits that arrive meanwhile form the next write. After a crash or a power cut, all
//! records that a reader has seen are there, transactions and their offsets are whole or absent, and open transactions
//! are absent.
//!
//! | table | key | value |
//! | --- | --- | --- |
//! | `about` | `format` | version of this layout |
//! | `topics` | name | partitions, replication, settings (JSON) |
//! | `records` | topic, partition, first and last offset | the records of one change (postcard) |
//! | `offsets` | group, topic, partition | offset, metadata |
//! | `low` | topic, partition | first offset kept |

use std::fs::File;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use redb::{Database, DatabaseError, ReadableDatabase, ReadableTable, StorageError, TableDefinition, WriteTransaction};
use serde::{Deserialize, Serialize};
use serde_bytes::Bytes as Slice;

use super::memory::{Change, Journal, MemoryLog, MemoryLogConfig};
use super::{CommittedOffset, LogError, OffsetCommit, TopicSpec};
use crate::record::{Record, TopicPartition};

/// Version of the layout.
const FORMAT: u64 = 1;
/// Memory that the database may use for its pages; the records themselves are in the log's own.
const CACHE_BYTES: usize = 64 << 20;

const ABOUT: TableDefinition<'_, &str, u64> = TableDefinition::new("about");
const TOPICS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("topics");
const RECORDS: TableDefinition<'_, (&str, i32, i64, i64), &[u8]> = TableDefinition::new("records");
const OFFSETS: TableDefinition<'_, (&str, &str, i32), (i64, &str)> = TableDefinition::new("offsets");
const LOW: TableDefinition<'_, (&str, i32), i64> = TableDefinition::new("low");

/// The reason why a file can't be used as a log.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DiskError {
    /// Another process has it.
    #[error("{} is in use by another process", file.display())]
    #[allow(missing_docs, reason = "plain fields")]
    InUse { file: PathBuf },
    /// It is something else than a log.
    #[error("{} is no log of this program: {reason}", file.display())]
    #[allow(missing_docs, reason = "plain fields")]
    Foreign {
        file: PathBuf,
        /// The kind of file that it seems to be.
        reason: String,
    },
    /// Another version wrote it.
    #[error("{} has format {found}, this program reads {FORMAT}", file.display())]
    #[allow(missing_docs, reason = "plain fields")]
    Version {
        file: PathBuf,
        /// Its format.
        found: u64,
    },
    /// It can't be created, read or written.
    #[error("{} can't be used: {reason}", file.display())]
    #[allow(missing_docs, reason = "plain fields")]
    Unusable {
        file: PathBuf,
        /// The message of the system or the database.
        reason: String,
    },
}

/// Opens a log, or creates it where there is no such file. One process at a time may have it.
///
/// # Errors
/// The file can't be used; each error names the reason.
pub fn open(file: &Path, config: MemoryLogConfig) -> Result<MemoryLog, DiskError> {
    let at = || file.to_owned();
    let unusable = |error: redb::Error| DiskError::Unusable {
        file: at(),
        reason: error.to_string(),
    };
    let is_new = !file.exists();
    let database = Database::builder().set_cache_size(CACHE_BYTES).create(file);
    let database = database.map_err(|error| match error {
        DatabaseError::DatabaseAlreadyOpen => DiskError::InUse { file: at() },
        DatabaseError::UpgradeRequired(found) => DiskError::Foreign {
            file: at(),
            reason: format!("a database of redb's file format {found}"),
        },
        DatabaseError::Storage(StorageError::Io(error)) if error.kind() == std::io::ErrorKind::InvalidData => {
            DiskError::Foreign {
                file: at(),
                reason: error.to_string(),
            }
        }
        DatabaseError::Storage(StorageError::Corrupted(reason)) => DiskError::Foreign { file: at(), reason },
        other => unusable(other.into()),
    })?;
    if is_new {
        create_tables(&database).map_err(unusable)?;
        // The file's name must be as durable as what is in it.
        let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
        let folder = File::open(folder.unwrap_or(Path::new("."))).and_then(|folder| folder.sync_all());
        folder.map_err(|error| unusable(redb::Error::Io(error)))?;
    }
    match format(&database).map_err(unusable)? {
        Some(FORMAT) => {}
        Some(found) => return Err(DiskError::Version { file: at(), found }),
        None => {
            return Err(DiskError::Foreign {
                file: at(),
                reason: "a database without the table `about`".to_owned(),
            });
        }
    }
    let history = read(&database).map_err(|reason| DiskError::Unusable { file: at(), reason })?;
    let journal = Box::new(DiskJournal { database, file: at() });
    MemoryLog::restore(config, history, journal).map_err(|error: LogError| DiskError::Unusable {
        file: at(),
        reason: error.to_string(),
    })
}

fn create_tables(database: &Database) -> Result<(), redb::Error> {
    let transaction = database.begin_write()?;
    transaction.open_table(ABOUT)?.insert("format", FORMAT)?;
    transaction.open_table(TOPICS)?;
    transaction.open_table(RECORDS)?;
    transaction.open_table(OFFSETS)?;
    transaction.open_table(LOW)?;
    Ok(transaction.commit()?)
}

fn format(database: &Database) -> Result<Option<u64>, redb::Error> {
    let transaction = database.begin_read()?;
    let about = match transaction.open_table(ABOUT) {
        Ok(about) => about,
        Err(redb::TableError::TableDoesNotExist(_)) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    Ok(about.get("format")?.map(|format| format.value()))
}

/// The whole contents of the file.
fn read(database: &Database) -> Result<Change, String> {
    let said = |error: &dyn std::fmt::Display| error.to_string();
    let storage = |error: StorageError| said(&error);
    let table = |error: redb::TableError| said(&error);
    let transaction = database.begin_read().map_err(|error| said(&error))?;
    let mut history = Change::default();
    for entry in transaction.open_table(TOPICS).map_err(table)?.iter().map_err(storage)? {
        let (_, topic) = entry.map_err(storage)?;
        let topic: StoredTopic = serde_json::from_slice(topic.value()).map_err(|error| said(&error))?;
        history.topics.push(topic.into());
    }
    for entry in transaction
        .open_table(RECORDS)
        .map_err(table)?
        .iter()
        .map_err(storage)?
    {
        let (key, records) = entry.map_err(storage)?;
        let (topic, partition, ..) = key.value();
        let records: Vec<StoredRecord<'_>> = postcard::from_bytes(records.value()).map_err(|error| said(&error))?;
        let records = records.into_iter().map(Record::from).collect();
        let source = TopicPartition::new(topic, partition);
        match history.records.last_mut() {
            Some((last, all)) if *last == source => all.extend::<Vec<Record>>(records),
            _ => history.records.push((source, records)),
        }
    }
    for (_, records) in &mut history.records {
        // Of transactions that were open at the same time, the records lie between each other.
        records.sort_by_key(|record| record.offset);
    }
    for entry in transaction
        .open_table(OFFSETS)
        .map_err(table)?
        .iter()
        .map_err(storage)?
    {
        let (key, value) = entry.map_err(storage)?;
        let ((group, topic, partition), (offset, metadata)) = (key.value(), value.value());
        let commit = OffsetCommit {
            source: TopicPartition::new(topic, partition),
            committed: CommittedOffset {
                offset,
                metadata: metadata.to_owned(),
            },
        };
        history.offsets.push((group.to_owned(), vec![commit]));
    }
    for entry in transaction.open_table(LOW).map_err(table)?.iter().map_err(storage)? {
        let (key, low) = entry.map_err(storage)?;
        let (topic, partition) = key.value();
        history.low.push((TopicPartition::new(topic, partition), low.value()));
    }
    Ok(history)
}

struct DiskJournal {
    database: Database,
    file: PathBuf,
}

impl Journal for DiskJournal {
    fn write(&mut self, changes: &[Change]) -> Result<(), String> {
        let write = || {
            // Durable when the commit returns, which is the database's default.
            let transaction = self.database.begin_write()?;
            for change in changes {
                apply(&transaction, change)?;
            }
            Ok(transaction.commit()?)
        };
        write().map_err(|error: redb::Error| {
            format!(
                "{} can't be written: {error}; make room or see to the disk, then start again",
                self.file.display()
            )
        })
    }
}

fn apply(transaction: &WriteTransaction, change: &Change) -> Result<(), redb::Error> {
    let mut topics = transaction.open_table(TOPICS)?;
    for topic in &change.topics {
        let stored = serde_json::to_vec(&StoredTopic::from(topic)).map_err(invalid)?;
        topics.insert(topic.name.as_str(), stored.as_slice())?;
    }
    let mut table = transaction.open_table(RECORDS)?;
    for (source, records) in &change.records {
        let (Some(first), Some(last)) = (records.first(), records.last()) else {
            continue;
        };
        let stored: Vec<StoredRecord<'_>> = records.iter().map(StoredRecord::from).collect();
        let stored = postcard::to_stdvec(&stored).map_err(invalid)?;
        let key = (&*source.topic, source.partition, first.offset, last.offset);
        table.insert(key, stored.as_slice())?;
    }
    let mut lows = transaction.open_table(LOW)?;
    for (source, low) in &change.low {
        let (topic, partition) = (&*source.topic, source.partition);
        let before = lows.insert((topic, partition), low)?.map_or(0, |before| before.value());
        if before < *low {
            let kept = (topic, partition, *low, i64::MIN);
            table.retain_in((topic, partition, i64::MIN, i64::MIN)..kept, |(.., last), _| {
                last >= *low
            })?;
        }
    }
    let mut offsets = transaction.open_table(OFFSETS)?;
    for (group, commits) in &change.offsets {
        for OffsetCommit { source, committed } in commits {
            let key = (group.as_str(), &*source.topic, source.partition);
            offsets.insert(key, (committed.offset, committed.metadata.as_str()))?;
        }
    }
    Ok(())
}

/// An encoding that fails.
fn invalid(error: impl std::error::Error + Send + Sync + 'static) -> redb::Error {
    redb::Error::Io(std::io::Error::new(std::io::ErrorKind::InvalidData, error))
}

#[derive(Serialize, Deserialize)]
struct StoredTopic {
    name: String,
    partitions: i32,
    replication: i32,
    settings: Vec<(String, String)>,
}

impl From<&TopicSpec> for StoredTopic {
    fn from(topic: &TopicSpec) -> Self {
        let TopicSpec {
            name,
            partitions,
            replication,
            settings,
        } = topic.clone();
        Self {
            name,
            partitions,
            replication,
            settings,
        }
    }
}

impl From<StoredTopic> for TopicSpec {
    fn from(topic: StoredTopic) -> Self {
        Self {
            name: topic.name,
            partitions: topic.partitions,
            replication: topic.replication,
            settings: topic.settings,
        }
    }
}

/// Offset, timestamp, key, value, headers.
#[derive(Serialize, Deserialize)]
struct StoredRecord<'a>(
    i64,
    i64,
    #[serde(borrow)] Option<&'a Slice>,
    #[serde(borrow)] Option<&'a Slice>,
    #[serde(borrow)] Vec<(&'a str, Option<&'a Slice>)>,
);

impl<'a> From<&'a Record> for StoredRecord<'a> {
    fn from(record: &'a Record) -> Self {
        let headers = record.headers.iter();
        let headers = headers.map(|(name, value)| (&**name, value.as_deref().map(Slice::new)));
        Self(
            record.offset,
            record.timestamp,
            record.key.as_deref().map(Slice::new),
            record.value.as_deref().map(Slice::new),
            headers.collect(),
        )
    }
}

impl From<StoredRecord<'_>> for Record {
    fn from(StoredRecord(offset, timestamp, key, value, headers): StoredRecord<'_>) -> Self {
        let owned = |slice: &Slice| Bytes::copy_from_slice(slice);
        Self {
            offset,
            timestamp,
            key: key.map(owned),
            value: value.map(owned),
            headers: headers
                .into_iter()
                .map(|(name, value)| (name.into(), value.map(owned)))
                .collect(),
        }
    }
}
