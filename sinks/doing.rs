//! The action of a sink and its place, which every error names.

use interlock_streams::sink::{Advance, SinkError, Writer};

/// Stands for a task in errors that concern none.
pub(crate) const AT_START: &str = "(at start)";

/// An action of a sink and its place.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Doing<'a> {
    /// The task, or the text that stands for it at the start.
    pub(crate) task: &'a str,
    /// The action, such as `merging into occupancy_minute`.
    pub(crate) what: &'a str,
    /// The database, as its user knows it: host, port, database and role (never the password), or the file.
    pub(crate) place: &'a str,
}

impl Doing<'_> {
    pub(crate) fn unavailable(&self, reason: &str) -> SinkError {
        SinkError::Unavailable {
            task: self.task.to_owned(),
            reason: format!("{}: {reason} ({})", self.what, self.place),
        }
    }

    pub(crate) fn fatal(&self, reason: &str) -> SinkError {
        SinkError::Fatal {
            task: self.task.to_owned(),
            reason: format!("{}: {reason} ({})", self.what, self.place),
        }
    }

    /// Returns the same action for one of the tasks of a write.
    pub(crate) fn of<'b>(&self, writer: &Writer<'b>) -> Doing<'b>
    where
        Self: 'b,
    {
        Doing {
            task: writer.task,
            ..*self
        }
    }

    fn fenced(&self, reason: String) -> SinkError {
        let task = self.task.to_owned();
        SinkError::Fenced { task, reason }
    }

    /// Refuses a write unless its token is that of the task's holder.
    pub(crate) fn compare_token(&self, held: Option<&str>, ours: &str) -> Result<(), SinkError> {
        match held {
            Some(held) if held == ours => Ok(()),
            Some(held) => Err(self.fenced(format!("held under token {held}, not under ours ({ours})"))),
            None => Err(self.fenced("it was never acquired here".into())),
        }
    }

    /// Refuses a write that would move a position back.
    pub(crate) fn check_direction(&self, writers: &[Writer<'_>]) -> Result<(), SinkError> {
        let mut advances = writers.iter().flat_map(|writer| writer.advances);
        match advances.find(|advance| advance.to < advance.from) {
            Some(Advance { source, from, to }) => Err(self.fatal(&format!(
                "{source} would go back from {from} to {to}: a position only advances"
            ))),
            None => Ok(()),
        }
    }

    /// Refuses a write unless all stored positions equal those at which it begins.
    pub(crate) fn check_advanced(&self, writers: &[Writer<'_>], advanced: u64) -> Result<(), SinkError> {
        let advances = || writers.iter().flat_map(|writer| writer.advances);
        if advanced == advances().count() as u64 {
            return Ok(());
        }
        let stated: Vec<_> = advances()
            .map(|advance| format!("{} from {}", advance.source, advance.from))
            .collect();
        let stated = stated.join(", ");
        Err(self.fenced(format!(
            "a stored position is not where the write begins ({stated}): another writer was here"
        )))
    }
}
