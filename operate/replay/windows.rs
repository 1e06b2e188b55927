//! Restarts windows: empties the tables together with the positions, so that their writers count all events again.

use std::collections::BTreeMap;
use std::time::Duration;

use interlock_sinks::timescale::{Restart, TaskPosition, TimescaleSink};
use interlock_streams::ledger::Token;
use interlock_streams::log::Log;
use interlock_streams::record::TopicPartition;
use interlock_streams::sink::SinkError;
use tokio::time::{Instant, sleep};

use super::{Outcome, PROGRESS_INTERVAL};
use crate::{Result, ensure};

/// Windows of an application.
pub struct Windows<'a> {
    /// The log that holds the events.
    pub log: &'a dyn Log,
    /// The sink that keeps the tables.
    pub sink: &'a TimescaleSink,
    /// All groups of the application.
    pub known: Vec<String>,
    /// The groups whose windows restart.
    pub groups: Vec<String>,
    /// The tables to empty.
    pub tables: Vec<String>,
    /// The topics that they are computed from.
    pub topics: Vec<String>,
    /// Longest time without progress.
    pub wait: Duration,
    /// A fresh token, which fences the present writers.
    pub token: Token,
}

impl Windows<'_> {
    /// Empties the tables, and waits until they have caught up. Reports to `tell` how many of all offsets are
    /// counted again, the first time when the tables are empty.
    pub async fn restart(&self, tell: impl FnMut(u64, u64)) -> Result<Outcome> {
        self.check().await?;
        let restart = Restart {
            tables: &self.tables,
            groups: &self.groups,
            known: &self.known,
            token: &self.token,
        };
        let before = self.sink.restart(&restart).await?;
        self.wait_for(&before, tell).await
    }

    /// Checks that the topics still hold all events, because deleted ones cannot be counted again.
    async fn check(&self) -> Result<()> {
        for topic in &self.topics {
            for partition in 0..self.log.partitions(topic).await?.unwrap_or(0) {
                let source = TopicPartition::new(topic.as_str(), partition);
                let (low, _) = self.log.watermarks(&source).await?;
                ensure!(
                    low == 0,
                    "{source} begins at offset {low}: older events are gone, and their windows could not be computed again; \
                     nothing was changed"
                );
            }
        }
        Ok(())
    }

    async fn wait_for(&self, before: &[TaskPosition], mut tell: impl FnMut(u64, u64)) -> Result<Outcome> {
        let total: u64 = before.iter().map(|position| position.next_offset.unsigned_abs()).sum();
        tell(0, total);
        let mut moved = (Instant::now(), 0);
        loop {
            let reached = match self.sink.progress(&self.groups).await {
                Ok(now) => reached(before, &now),
                Err(SinkError::Unavailable { .. }) => moved.1,
                Err(error) => return Err(error.into()),
            };
            tell(reached, total);
            if reached == total {
                return Ok(Outcome::Done);
            }
            if reached > moved.1 {
                moved = (Instant::now(), reached);
            } else if moved.0.elapsed() >= self.wait {
                return Ok(Outcome::Begun(format!(
                    "{reached} of {total} offsets, and none for {:?}; does a worker run?",
                    self.wait
                )));
            }
            sleep(PROGRESS_INTERVAL).await;
        }
    }
}

/// Returns how much of the tasks' earlier positions has been reached again.
fn reached(before: &[TaskPosition], now: &[TaskPosition]) -> u64 {
    let now: BTreeMap<_, _> = now
        .iter()
        .map(|position| ((&position.task, &position.source), position.next_offset))
        .collect();
    let of = |position: &TaskPosition| {
        let at = now.get(&(&position.task, &position.source)).copied().unwrap_or(0);
        at.min(position.next_offset).unsigned_abs()
    };
    before.iter().map(of).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_reached_is_counted_up_to_where_tasks_were() {
        let at = |task: &str, next_offset| TaskPosition {
            task: task.to_owned(),
            source: TopicPartition::new("confirmed", 0),
            next_offset,
        };
        let before = [at("a", 10), at("b", 5)];
        assert_eq!(reached(&before, &[]), 0);
        assert_eq!(reached(&before, &[at("a", 4), at("c", 9)]), 4);
        assert_eq!(reached(&before, &[at("a", 12), at("b", 5)]), 15);
    }
}
