//! The migrations of both databases, compiled in.
//!
//! `sqlx::migrate!` would read the folders by itself. Its macro crate makes the build compile both database drivers a
//! second time, for the compiler's own use. The files are therefore listed here, and a test compares the lists with the
//! folders.

use sqlx::SqlSafeStr;
use sqlx::migrate::{Migration, MigrationType, Migrator};

/// One file: the part of its name before the first underscore, the rest of it, and the SQL.
type File = (i64, &'static str, &'static str);

/// The files of `sqlite/migrations`.
pub(crate) const SQLITE: &[File] = &[(1, "windows", include_str!("sqlite/migrations/0001_windows.sql"))];

/// The files of `timescale/migrations`.
#[cfg(feature = "timescale")]
pub(crate) const TIMESCALE: &[File] = &[
    (1, "windows", include_str!("timescale/migrations/0001_windows.sql")),
    (2, "views", include_str!("timescale/migrations/0002_views.sql")),
];

/// Returns what brings a database up to date with `files`.
pub(crate) fn migrator(files: &[File]) -> Migrator {
    let migrations = files.iter().map(|(version, description, sql)| {
        let simple = MigrationType::Simple;
        Migration::new(*version, (*description).into(), simple, sql.into_sql_str(), false)
    });
    Migrator::with_migrations(migrations.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(feature = "timescale")]
    #[test]
    fn every_file_of_the_folders_is_listed() {
        for (folder, files) in [("sqlite", SQLITE), ("timescale", TIMESCALE)] {
            let path = format!("{}/{folder}/migrations", env!("CARGO_MANIFEST_DIR"));
            let mut found: Vec<String> = std::fs::read_dir(path)
                .unwrap()
                .map(|entry| entry.unwrap().file_name().into_string().unwrap())
                .collect();
            found.sort();
            let listed = files
                .iter()
                .map(|(version, name, _)| format!("{version:04}_{name}.sql"));
            assert_eq!(found, listed.collect::<Vec<_>>(), "{folder}");
        }
    }
}
