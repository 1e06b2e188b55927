//! Checks that topics, positions and ledgers belong together. A worker does not start otherwise, because seats would be
//! sold twice and nobody would notice before it is too late.
//!
//! | found | cause and consequence |
//! | --- | --- |
//! | another number of partitions than of ledgers | the number of partitions was changed by hand after the first booking: requests would go to ledgers that don't know their train-dates |
//! | events, and no committed offset | another application decided them, or the group's offsets were lost: all requests would be decided again |
//! | a ledger of another application | two applications share a namespace |
//! | a ledger beyond the last partition | the topics were created again, with fewer partitions |
//!
//! A worker's protocol refuses most of this as well, ledger by ledger; these checks report it before the worker joins
//! its group.

use interlock_schemas::topics::{BOOKING_REQUESTS, EVENTS};
use interlock_streams::ledger::{Contents, LedgerStore};
use interlock_streams::log::Log;
use interlock_streams::record::TopicPartition;
use interlock_streams::runtime::OffsetMetadata;

use crate::{Result, ensure, refused};

/// Refuses topics whose number of partitions was changed by hand after the first booking.
pub async fn check_layout(log: &dyn Log, group: &str, partitions: i32) -> Result<()> {
    let Some(layouts) = OffsetMetadata::layouts_of(log, group, BOOKING_REQUESTS, partitions).await? else {
        return Ok(());
    };
    ensure!(
        layouts.ledgers == partitions,
        "the number of partitions was changed after the first booking: ledgers are laid out for {}, and the topics have \
         {partitions}. Seats would be sold twice. `interlock replay --repartition {partitions}` lays the ledgers out anew; see \"The \
         number of partitions\" in docs/operating.md",
        layouts.ledgers
    );
    Ok(())
}

/// Refuses events without a position of the group that must have decided them.
pub async fn check_positions(log: &dyn Log, group: &str, partitions: i32) -> Result<()> {
    let sources = TopicPartition::all(BOOKING_REQUESTS, partitions);
    let committed = log.committed_unstable(group, &sources).await?;
    for (source, committed) in sources.iter().zip(committed) {
        if committed.is_some() {
            continue;
        }
        for topic in EVENTS {
            let events = TopicPartition::new(topic, source.partition);
            let (_, high) = log.watermarks(&events).await?;
            ensure!(
                high == 0,
                "{events} has events, but group {group} has no committed offset for {source}: either another application \
                 decided them (is application.id right?), or the group's offsets were lost: `interlock replay --offsets` restores \
                 them. Without them, all requests would be decided once more"
            );
        }
    }
    Ok(())
}

/// Refuses ledgers of another application, and more ledgers than there are partitions.
pub async fn check_ledgers(store: &dyn LedgerStore, partitions: i32) -> Result<()> {
    for ledger in 0..partitions {
        store.view(ledger, &[], Contents::Head, &[]).await?;
    }
    let beyond = store.view(partitions, &[], Contents::Head, &[]).await?;
    if beyond.state.epoch > 0 {
        return Err(refused(format!(
            "redis.namespace: there is a ledger {partitions}, but the topics have {partitions} partitions, from 0: they were \
             made anew with fewer, or these ledgers are another installation's; choose another redis.namespace, or remove \
             these ledgers if nobody needs them"
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use bytes::Bytes;
    use interlock_streams::ledger::Token;
    use interlock_streams::ledger::memory::MemoryLedgerStore;
    use interlock_streams::log::memory::MemoryLog;
    use interlock_streams::log::{CommittedOffset, ConsumerConfig, OffsetCommit, Polled, TopicSpec};
    use interlock_streams::record::OutputRecord;

    use super::*;

    const GROUP: &str = "app-booking";
    const POLL_WAIT: Duration = Duration::from_secs(2);

    async fn log(partitions: i32) -> MemoryLog {
        let log = MemoryLog::new();
        let names = EVENTS.into_iter().chain([BOOKING_REQUESTS]);
        let specs: Vec<TopicSpec> = names.map(|name| TopicSpec::new(name, partitions)).collect();
        log.create_topics(&specs).await.unwrap();
        log
    }

    fn put(log: &MemoryLog, topic: &str, partition: i32, key: &str) {
        let record = OutputRecord {
            topic: Arc::from(topic),
            partition: Some(partition),
            timestamp: None,
            key: Some(Bytes::from(key.to_owned())),
            value: None,
            headers: Vec::new(),
        };
        log.append(vec![record]).unwrap();
    }

    async fn commit_position(log: &MemoryLog, metadata: &str) {
        let member = ConsumerConfig {
            group: GROUP.to_owned(),
            topics: vec![BOOKING_REQUESTS.to_owned()],
            client_id: "worker".to_owned(),
            instance_id: None,
        };
        let mut consumer = log.consumer(&member).await.unwrap();
        while !matches!(consumer.poll(1, POLL_WAIT).await.unwrap(), Polled::Assigned(_)) {}
        let commit = OffsetCommit {
            source: TopicPartition::new(BOOKING_REQUESTS, 1),
            committed: CommittedOffset {
                offset: 0,
                metadata: metadata.to_owned(),
            },
        };
        let group = consumer.group_metadata().await.unwrap();
        let mut producer = log.producer("p").await.unwrap();
        producer.commit(vec![commit], group).await.unwrap();
    }

    #[tokio::test]
    async fn events_that_another_group_decided_are_noticed() {
        let log = log(2).await;
        check_positions(&log, GROUP, 2).await.unwrap();
        put(&log, EVENTS[3], 1, "k");
        let error = check_positions(&log, GROUP, 2).await.unwrap_err().to_string();
        assert!(
            error.contains("rejected[1]") && error.contains("application.id"),
            "{error}"
        );

        commit_position(&log, "").await;
        check_positions(&log, GROUP, 2).await.unwrap();
    }

    #[tokio::test]
    async fn a_changed_number_of_partitions_is_noticed_by_the_committed_layout() {
        let log = log(4).await;
        commit_position(&log, "il1 0 - 4@0 worker").await;
        check_layout(&log, GROUP, 4).await.unwrap();
        let error = check_layout(&log, GROUP, 6).await.unwrap_err().to_string();
        assert!(error.contains("interlock replay --repartition 6"), "{error}");
    }

    #[tokio::test]
    async fn ledgers_beyond_the_last_partition_are_noticed() {
        let store = MemoryLedgerStore::default();
        store.acquire(3, "w", &Token("t".to_owned())).await.unwrap();
        check_ledgers(&store, 4).await.unwrap();
        let error = check_ledgers(&store, 3).await.unwrap_err().to_string();
        assert!(error.contains("there is a ledger 3"), "{error}");
    }
}
