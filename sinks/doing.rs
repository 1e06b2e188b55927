//! What a sink was doing, and where: every error says so.

use interlock_streams::sink::{Advance, SinkError, Writer};

/// What stands for a task where none is concerned.
pub(crate) const AT_START: &str = "(at start)";

/// What was being done, and where.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Doing<'a> {
    /// The task, or what stands for it at start.
    pub(crate) task: &'a str,
    /// Such as `merging into occupancy_minute`.
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

    /// The same, of one of the tasks of a write.
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

    /// Refuses a write unless its token is the one that holds the task.
    pub(crate) fn compare_token(&self, held: Option<&str>, ours: &str) -> Result<(), SinkError> {
        match held {
            Some(held) if held == ours => Ok(()),
            Some(held) => Err(self.fenced(format!("held under token {held}, not under ours ({ours})"))),
            None => Err(self.fenced("it was never acquired here".into())),
        }
    }

    /// Refuses a write in which a position would go back.
    pub(crate) fn check_direction(&self, writers: &[Writer<'_>]) -> Result<(), SinkError> {
        let mut advances = writers.iter().flat_map(|writer| writer.advances);
        match advances.find(|advance| advance.to < advance.from) {
            Some(Advance { source, from, to }) => Err(self.fatal(&format!(
                "{source} would go back from {from} to {to}: a position only advances"
            ))),
            None => Ok(()),
        }
    }

    /// Refuses a write of which not all positions were where it begins.
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
