//! Registers the schemas at the start: makes every subject strict, checks its schema, then registers it.

use super::{Registry, RegistryError};
use crate::record_type::RecordType;
use crate::topics::subject;

/// The schema ids of the record types.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ids([Option<u32>; RecordType::ALL.len()]);

impl Ids {
    /// Returns the schema id of a record type, if it was registered.
    pub fn get(&self, record: RecordType) -> Option<u32> {
        self.0[record as usize]
    }

    /// Sets the schema id of a record type.
    pub fn set(&mut self, record: RecordType, id: u32) {
        self.0[record as usize] = Some(id);
    }
}

/// Registers record types for topics, such as [`topics::contract`](crate::topics::contract) lists them, under
/// `TopicRecordNameStrategy`. Calling it again changes nothing. It ends with the first schema that a subject rejects.
pub async fn register_all(registry: &dyn Registry, entries: &[(&str, RecordType)]) -> Result<Ids, RegistryError> {
    let mut ids = Ids::default();
    for (topic, record) in entries {
        let subject = subject(topic, *record);
        registry.require_full_compatibility(&subject).await?;
        registry.check(&subject, record.schema()).await?;
        ids.set(*record, registry.register(&subject, record.schema()).await?);
    }
    Ok(ids)
}

/// Checks whether every subject would accept its schema, and changes nothing. Returns all rejections, or the first
/// other error.
pub async fn check_all(
    registry: &dyn Registry,
    entries: &[(&str, RecordType)],
) -> Result<Vec<RegistryError>, RegistryError> {
    let mut refused = Vec::new();
    for (topic, record) in entries {
        match registry.check(&subject(topic, *record), record.schema()).await {
            Ok(()) => {}
            Err(error @ RegistryError::Incompatible { .. }) => refused.push(error),
            Err(error) => return Err(error),
        }
    }
    Ok(refused)
}

/// Calls [`register_all`] until the registry answers, because it may start later than this process.
#[cfg(feature = "registry")]
pub async fn register_all_within(
    patience: std::time::Duration,
    registry: &dyn Registry,
    entries: &[(&str, RecordType)],
) -> Result<Ids, RegistryError> {
    use std::time::Duration;
    const PAUSE_MAX: Duration = Duration::from_secs(2);

    let deadline = tokio::time::Instant::now() + patience;
    let mut pause = Duration::from_millis(100);
    loop {
        let error = match register_all(registry, entries).await {
            Err(error) if error.is_transient() && tokio::time::Instant::now() + pause < deadline => error,
            done => return done,
        };
        tracing::warn!(%error, retry_in_ms = pause.as_millis() as u64, "schemas are not registered yet");
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(PAUSE_MAX);
    }
}
