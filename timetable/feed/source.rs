//! The files of a feed, in a folder or in a zip file.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

use zip::ZipArchive;
use zip::result::ZipError;

use crate::SeedError;

/// A file by which the feed's folder within a zip file is recognised.
const LANDMARK: &str = "stops.txt";

/// An opened feed.
pub(crate) struct Source {
    path: PathBuf,
    files: Files,
}

enum Files {
    Folder,
    Zip {
        archive: ZipArchive<BufReader<File>>,
        /// The folder within the zip file that holds the feed, with a slash at its end.
        folder: String,
    },
}

impl Source {
    pub(crate) fn open(path: &Path) -> Result<Source, SeedError> {
        let unreadable = |problem: String| SeedError::Unreadable {
            file: path.display().to_string(),
            problem,
        };
        let kind = match path.metadata() {
            Ok(kind) => kind,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(SeedError::NotFound { path: path.to_owned() });
            }
            Err(error) => return Err(unreadable(error.to_string())),
        };
        let files = if kind.is_dir() {
            Files::Folder
        } else {
            let file = File::open(path).map_err(|error| unreadable(error.to_string()))?;
            let archive = ZipArchive::new(BufReader::new(file)).map_err(|error| {
                unreadable(format!(
                    "it is neither a folder nor a zip file that can be read ({error})"
                ))
            })?;
            let folder = folder_of(&archive);
            Files::Zip { archive, folder }
        };
        Ok(Source {
            path: path.to_owned(),
            files,
        })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Opens one file; none if the feed lacks it.
    pub(crate) fn file(&mut self, name: &str) -> Result<Option<Box<dyn Read + '_>>, SeedError> {
        let unreadable = |problem: String| SeedError::Unreadable {
            file: format!("{name} of {}", self.path.display()),
            problem,
        };
        match &mut self.files {
            Files::Folder => match File::open(self.path.join(name)) {
                Ok(file) => Ok(Some(Box::new(file))),
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
                Err(error) => Err(unreadable(error.to_string())),
            },
            Files::Zip { archive, folder } => match archive.by_name(&format!("{folder}{name}")) {
                Ok(file) => Ok(Some(Box::new(file))),
                Err(ZipError::FileNotFound) => Ok(None),
                Err(error) => Err(unreadable(error.to_string())),
            },
        }
    }
}

/// Some publishers put the feed into a folder of the zip file: returns the one nearest to the top.
fn folder_of(archive: &ZipArchive<BufReader<File>>) -> String {
    let folders = archive.file_names().filter_map(|name| name.strip_suffix(LANDMARK));
    let folders = folders.filter(|folder| folder.is_empty() || folder.ends_with('/'));
    folders
        .min_by_key(|folder| (folder.len(), *folder))
        .unwrap_or("")
        .to_owned()
}
