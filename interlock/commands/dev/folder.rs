//! `--data-dir`: the folder that keeps the services, so that the next process continues where this one stopped.
//!
//! | file | holds |
//! | --- | --- |
//! | `opening.json` | the version of this layout, and what is demonstrated |
//! | `log.redb` | the log; ledgers are rebuilt from it |
//! | `windows.sqlite`, `-wal`, `-shm` | the window tables and how far they have counted, never ahead of the log |

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use interlock_sinks::sqlite::SqliteSink;
use interlock_streams::log::disk::{self, DiskError};
use interlock_streams::log::memory::{MemoryLog, MemoryLogConfig};
use serde::{Deserialize, Serialize};

use super::opening::Opening;

/// Version of the layout.
const FORMAT: u32 = 1;
const MARKER: &str = "opening.json";
/// The marker while it is being written.
const DRAFT: &str = "opening.json.new";
const ANOTHER: &str = "give another folder to --data-dir";

/// A data folder.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    /// The opening that was begun here, if any.
    pub(super) opening: Option<Opening>,
}

#[derive(Serialize, Deserialize)]
struct Format {
    format: u32,
}

#[derive(Serialize, Deserialize)]
struct Marker {
    #[serde(flatten)]
    format: Format,
    opening: Opening,
}

impl Folder {
    /// Opens a folder that is missing, empty, or was begun by this version.
    pub(super) fn open(path: &Path) -> anyhow::Result<Folder> {
        let shown = path.display();
        fs::create_dir_all(path).with_context(|| format!("--data-dir {shown} can't be created; {ANOTHER}"))?;
        let marker = path.join(MARKER);
        let opening = match fs::read(&marker) {
            Ok(text) => Some(parse(&text).with_context(|| format!("{}; {ANOTHER}", marker.display()))?),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            Err(error) => return Err(error).with_context(|| format!("{} can't be read", marker.display())),
        };
        if opening.is_none() {
            let entries = fs::read_dir(path).with_context(|| format!("--data-dir {shown} can't be read"))?;
            for entry in entries {
                let name = entry?.file_name();
                if name != DRAFT {
                    bail!("--data-dir {shown} holds {name:?}, which is not ours; {ANOTHER}: an empty or a new one");
                }
            }
        }
        Ok(Folder {
            path: path.to_owned(),
            opening,
        })
    }

    /// Writes down the opening before it begins.
    pub(super) fn begin(&self, opening: &Opening) -> anyhow::Result<()> {
        let marker = Marker {
            format: Format { format: FORMAT },
            opening: opening.clone(),
        };
        let draft = self.path.join(DRAFT);
        let write = || {
            let mut file = File::create(&draft)?;
            file.write_all(&serde_json::to_vec_pretty(&marker)?)?;
            file.sync_all()?;
            fs::rename(&draft, self.path.join(MARKER))?;
            File::open(&self.path)?.sync_all()
        };
        write().with_context(|| format!("--data-dir {} can't be written to; {ANOTHER}", self.path.display()))
    }

    /// Opens the log, which only one process at a time may have open.
    pub(super) fn log(&self, config: MemoryLogConfig) -> anyhow::Result<MemoryLog> {
        disk::open(&self.path.join("log.redb"), config).map_err(|error| match error {
            DiskError::InUse { .. } => anyhow::anyhow!("{error}: end that one, or {ANOTHER}"),
            other => anyhow::anyhow!("{other}; {ANOTHER}"),
        })
    }

    /// Opens the window tables.
    pub(super) async fn windows(&self) -> anyhow::Result<SqliteSink> {
        Ok(SqliteSink::open(&self.path.join("windows.sqlite")).await?)
    }
}

fn parse(text: &[u8]) -> anyhow::Result<Opening> {
    let found: Format = serde_json::from_slice(text).context("is none of ours")?;
    if found.format != FORMAT {
        bail!(
            "has format {}, this version reads {FORMAT}: use the version that wrote it",
            found.format
        );
    }
    let marker: Marker = serde_json::from_slice(text).context("can't be understood")?;
    Ok(marker.opening)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opening() -> Opening {
        Opening {
            profile: "tatkal".into(),
            requests: 7,
            rate: None,
            seed: 5,
            from: 20_788,
        }
    }

    #[test]
    fn what_was_begun_is_found_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/b");
        let fresh = Folder::open(&path).unwrap();
        assert_eq!(fresh.opening, None);
        // Left by a crash while the marker was being written.
        fs::write(path.join(DRAFT), "{\"form").unwrap();
        assert_eq!(Folder::open(&path).unwrap().opening, None);
        fresh.begin(&opening()).unwrap();
        assert_eq!(Folder::open(&path).unwrap().opening, Some(opening()));
    }

    #[test]
    fn what_is_not_ours_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let refused = |path: &Path| format!("{:#}", Folder::open(path).unwrap_err());
        let file = folder.path().join("letter.txt");
        fs::write(&file, "hello").unwrap();
        assert!(refused(folder.path()).contains("letter.txt"));
        assert!(refused(&file).contains("can't be created"));
        assert!(refused(&file.join("below")).contains("can't be created"));
        fs::write(folder.path().join(MARKER), "{}").unwrap();
        assert!(refused(folder.path()).contains("none of ours"));
        fs::write(folder.path().join(MARKER), "{\"format\": 2}").unwrap();
        assert!(refused(folder.path()).contains("format 2, this version reads 1"));
    }
}
