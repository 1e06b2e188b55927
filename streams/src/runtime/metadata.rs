//! The metadata of a committed offset: one read returns what the log committed and who committed it.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use super::layout::Layouts;
use crate::ledger::Token;
use crate::log::{CommittedOffset, Log, LogError};
use crate::record::TopicPartition;

/// Metadata of a ledger's committed offset. Written as `il2 <sequence> <token> <layouts> <transactional.id>`; a token that is not
/// there yet is written as `-`. Earlier versions wrote `il1 <sequence> <token> <transactional.id>`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OffsetMetadata {
    /// Sequence of the last event of the records below the offset; 0 before the first.
    pub sequence: i64,
    /// Token of the acquisition that decided that event; empty before the first.
    pub token: Token,
    /// `transactional.id` that committed the offset.
    pub transactional_id: String,
    /// How keys are and were laid out; none where that was never written down.
    pub layouts: Option<Arc<Layouts>>,
}

impl OffsetMetadata {
    /// Returns the layouts that the first partition with a committed offset names; none where nothing was ever committed.
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
const VERSION_WITH_LAYOUTS: &str = "il2";

impl fmt::Display for OffsetMetadata {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let token = if self.token.0.is_empty() { "-" } else { &self.token.0 };
        let (sequence, transactional_id) = (self.sequence, &self.transactional_id);
        match &self.layouts {
            None => write!(f, "{VERSION} {sequence} {token} {transactional_id}"),
            Some(layouts) => write!(
                f,
                "{VERSION_WITH_LAYOUTS} {sequence} {token} {layouts} {transactional_id}"
            ),
        }
    }
}

/// The metadata is not ours: some other program committed the offset.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "offset metadata {0:?} is not of the form `{VERSION} sequence token transactional.id` or `{VERSION_WITH_LAYOUTS} sequence token \
     layouts transactional.id`"
)]
pub struct ForeignMetadata(pub String);

impl FromStr for OffsetMetadata {
    type Err = ForeignMetadata;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let foreign = || ForeignMetadata(text.to_owned());
        // A control character is no part of any `transactional.id`, and librdkafka panics at a NUL.
        if text.contains(char::is_control) {
            return Err(foreign());
        }
        let (version, rest) = text.split_once(' ').ok_or_else(foreign)?;
        let has_layouts = match version {
            VERSION => false,
            VERSION_WITH_LAYOUTS => true,
            _ => return Err(foreign()),
        };
        let mut fields = rest.splitn(if has_layouts { 4 } else { 3 }, ' ');
        let mut next = || fields.next().ok_or_else(foreign);
        let sequence = next()?.parse().map_err(|_| foreign())?;
        let token = match next()? {
            "-" => String::new(),
            token => token.to_owned(),
        };
        let layouts = match has_layouts {
            true => Some(Arc::new(next()?.parse().map_err(|_| foreign())?)),
            false => None,
        };
        Ok(Self {
            sequence,
            token: Token(token),
            transactional_id: next()?.to_owned(),
            layouts,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
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
                layouts: Some(Arc::new("4:7:9,8@3".parse().unwrap())),
            },
        ] {
            assert_eq!(metadata.to_string().parse(), Ok(metadata));
        }
    }

    #[test]
    fn foreign_metadata_is_told_apart() {
        for text in [
            "",
            "il1",
            "il1 x t id",
            "il2 1 t id",
            "il2 1 t 4:7,8 id",
            "il3 1 t id",
            "il2 1 t 4@0 id\0",
            "il1 1 t id\n",
            "something else",
        ] {
            assert!(text.parse::<OffsetMetadata>().is_err(), "{text:?}");
        }
    }
}
