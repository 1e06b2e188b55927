//! The metadata of a committed offset: one read returns the committed state and its committer.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use super::layout::Layouts;
use crate::ledger::Token;
use crate::log::{CommittedOffset, Log, LogError};
use crate::record::TopicPartition;

/// Metadata of a ledger's committed offset. Written as `il1 <sequence> <token> <layouts> <transactional.id>`, with `-`
/// for a token or layouts that are not there yet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OffsetMetadata {
    /// Sequence of the last event of the records below the offset; 0 before the first.
    pub sequence: i64,
    /// Token of the acquisition that decided that event; empty before the first.
    pub token: Token,
    /// `transactional.id` that committed the offset.
    pub transactional_id: String,
    /// The layouts of the keys; none before the first commit.
    pub layouts: Option<Arc<Layouts>>,
}

impl OffsetMetadata {
    /// Returns the layouts that the first partition with a committed offset names; none where nothing was ever
    /// committed.
    pub async fn layouts_of(
        log: &dyn Log,
        group: &str,
        topic: &str,
        partitions: i32,
    ) -> Result<Option<Arc<Layouts>>, LogError> {
        let all = Self::layouts_of_partitions(log, group, topic, partitions).await?;
        Ok(all.into_iter().flatten().next())
    }

    /// Returns the layouts that each of a topic's partitions has seen, as far as its committed offset names them.
    pub(crate) async fn layouts_of_partitions(
        log: &dyn Log,
        group: &str,
        topic: &str,
        partitions: i32,
    ) -> Result<Vec<Option<Arc<Layouts>>>, LogError> {
        let sources = TopicPartition::all(topic, partitions);
        let committed = log.committed_unstable(group, &sources).await?;
        let layouts = |committed: Option<CommittedOffset>| {
            let metadata: Self = committed?.metadata.parse().ok()?;
            metadata.layouts
        };
        Ok(committed.into_iter().map(layouts).collect())
    }
}

const VERSION: &str = "il1";
/// Stands for a field that has no value yet.
const NONE: &str = "-";

impl fmt::Display for OffsetMetadata {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let token = if self.token.0.is_empty() { NONE } else { &self.token.0 };
        write!(f, "{VERSION} {} {token} ", self.sequence)?;
        match &self.layouts {
            Some(layouts) => write!(f, "{layouts}")?,
            None => f.write_str(NONE)?,
        }
        write!(f, " {}", self.transactional_id)
    }
}

/// The metadata of an offset that another program committed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("offset metadata {0:?} is not of the form `{VERSION} sequence token layouts transactional.id`")]
pub struct ForeignMetadata(pub String);

impl FromStr for OffsetMetadata {
    type Err = ForeignMetadata;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        read(text).ok_or_else(|| ForeignMetadata(text.to_owned()))
    }
}

fn read(text: &str) -> Option<OffsetMetadata> {
    // A control character is no part of any `transactional.id`, and librdkafka can't take a NUL.
    if text.contains(char::is_control) {
        return None;
    }
    let fields: Vec<&str> = text.splitn(5, ' ').collect();
    let &[VERSION, sequence, token, layouts, transactional_id] = fields.as_slice() else {
        return None;
    };
    let layouts = match layouts {
        NONE => None,
        layouts => Some(Arc::new(Layouts::parse(layouts)?)),
    };
    Some(OffsetMetadata {
        sequence: sequence.parse().ok().filter(|sequence| *sequence >= 0)?,
        token: Token(if token == NONE { String::new() } else { token.to_owned() }),
        transactional_id: transactional_id.to_owned(),
        layouts,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_is_read_back_as_it_was_written() {
        for metadata in [
            OffsetMetadata::default(),
            OffsetMetadata {
                sequence: 42,
                token: Token("t0".into()),
                transactional_id: "app booking 1".into(),
                layouts: None,
            },
            OffsetMetadata {
                sequence: 42,
                token: Token::default(),
                transactional_id: "app booking 1".into(),
                layouts: Layouts::parse("4:7:9,8@3").map(Arc::new),
            },
        ] {
            assert_eq!(metadata.to_string().parse(), Ok(metadata));
        }
    }

    #[test]
    fn metadata_of_another_program_is_refused() {
        for text in [
            "",
            "il1",
            "il1 x t 4@0 id",
            "il1 -1 t 4@0 id",
            "il1 1 t id",
            "il1 1 t 4:7,8 id",
            "il2 1 t 4@0 id",
            "something else",
            "il1 1 t 4@0 id\0",
            "il1 1 t 4@0 id\n",
            "\0",
        ] {
            assert!(text.parse::<OffsetMetadata>().is_err(), "{text:?}");
        }
    }
}
