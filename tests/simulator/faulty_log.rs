//! A log with faults.
//!
//! Brokers and networks may show these faults, so the simulator uses them. Any call takes any time, before and after
//! its effect; by the log's own rules a member that sleeps through its session is expelled, and a transaction that
//! takes too long is aborted. Joining, initialising a producer, and reading fail, also after they had their effect. A
//! commit or abort is refused, or takes effect while its answer is lost; this is reported as [`LogError::Fenced`], as
//! the contract states, and the producer is unusable afterwards. The schedule makes markers, offsets and commits late
//! with the log's own hooks. Never simulated are lost acknowledged records, offsets that go back, and failures of the
//! consumer's local calls (`start`, `stop`, `complete_revocation`, `group_metadata`), which may only take time.

use std::future::ready;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use interlock_streams::log::memory::MemoryLog;
use interlock_streams::log::{
    CommittedOffset, Consumer, ConsumerConfig, GroupMetadata, Log, LogError, OffsetCommit, Polled, Producer, Reader,
    TopicSpec,
};
use interlock_streams::record::{OutputRecord, PartitionRecords, Record, TopicPartition};

use super::site::{Fair, Fate, Passage, Site};

type Answer = std::pin::Pin<Box<dyn Future<Output = Result<(), LogError>> + Send>>;

pub(super) struct FaultyLog {
    pub(super) site: Arc<Site>,
    pub(super) log: MemoryLog,
}

fn retriable(action: &str) -> LogError {
    LogError::Retriable {
        action: action.to_owned(),
        reason: "simulated".to_owned(),
    }
}

/// Makes a call whose fate the seed decides.
async fn call<T>(site: &Site, what: &str, call: impl Future<Output = Result<T, LogError>>) -> Result<T, LogError> {
    let passage = site.enter(what, Fair::Fail).await;
    let result = match passage.fate {
        Fate::Refused => Err(retriable(what)),
        Fate::AnswerLost => {
            let _lost = call.await;
            Err(retriable(what))
        }
        _ => call.await,
    };
    if let Err(error) = &result {
        site.say(format_args!("{what}: {error}"));
    }
    site.leave(&passage).await;
    result
}

#[async_trait]
impl Log for FaultyLog {
    async fn consumer(&self, config: &ConsumerConfig) -> Result<Box<dyn Consumer>, LogError> {
        let inner = call(&self.site, "join", self.log.consumer(config)).await?;
        let site = self.site.clone();
        Ok(Box::new(FaultyConsumer { site, inner }))
    }

    async fn producer(&self, transactional_id: &str) -> Result<Box<dyn Producer>, LogError> {
        let what = self.site.text(format_args!("init {transactional_id}"));
        let inner = call(&self.site, &what, self.log.producer(transactional_id)).await?;
        Ok(Box::new(FaultyProducer {
            site: self.site.clone(),
            inner,
            state: State::Good,
        }))
    }

    async fn append(&self, records: Vec<OutputRecord>) -> Result<Vec<(i32, i64)>, LogError> {
        call(&self.site, "append", Log::append(&self.log, records)).await
    }

    async fn reader(&self, partition: &TopicPartition, from: i64) -> Result<Box<dyn Reader>, LogError> {
        let what = self.site.text(format_args!("reader {partition}@{from}"));
        let inner = call(&self.site, &what, self.log.reader(partition, from)).await?;
        let site = self.site.clone();
        Ok(Box::new(FaultyReader { site, what, inner }))
    }

    async fn partitions(&self, topic: &str) -> Result<Option<i32>, LogError> {
        self.log.partitions(topic).await
    }

    async fn committed_unstable(
        &self,
        group: &str,
        partitions: &[TopicPartition],
    ) -> Result<Vec<Option<CommittedOffset>>, LogError> {
        let what = "committed unstable";
        call(&self.site, what, self.log.committed_unstable(group, partitions)).await
    }

    async fn watermarks(&self, partition: &TopicPartition) -> Result<(i64, i64), LogError> {
        let what = self.site.text(format_args!("watermarks {partition}"));
        call(&self.site, &what, self.log.watermarks(partition)).await
    }

    async fn create_topics(&self, topics: &[TopicSpec]) -> Result<(), LogError> {
        self.log.create_topics(topics).await
    }

    async fn create_partitions(&self, topic: &str, partitions: i32) -> Result<(), LogError> {
        call(
            &self.site,
            "create_partitions",
            self.log.create_partitions(topic, partitions),
        )
        .await
    }
}

struct FaultyConsumer {
    site: Arc<Site>,
    inner: Box<dyn Consumer>,
}

impl FaultyConsumer {
    /// Formats the offsets of records by partition.
    fn spans(&self, batches: &[PartitionRecords]) -> String {
        let span = |batch: &PartitionRecords| {
            let (first, last) = (batch.records.first()?.offset, batch.records.last()?.offset);
            Some(self.site.text(format_args!("{} {first}..={last} ", batch.source)))
        };
        batches.iter().filter_map(span).collect()
    }
}

#[async_trait]
impl Consumer for FaultyConsumer {
    async fn poll(&mut self, max_records: usize, wait: Duration) -> Result<Polled, LogError> {
        // Cancel-safe: nothing is taken from the log before the last wait is over.
        let passage = self.site.enter("poll", Fair::Fail).await;
        if passage.fate == Fate::Refused {
            return Err(retriable("poll"));
        }
        let polled = self.inner.poll(max_records, wait).await?;
        match &polled {
            Polled::Nothing => {}
            Polled::Records(batches) => self.site.say(format_args!("polled {}", self.spans(batches))),
            other => self.site.say(format_args!("polled {other:?}")),
        }
        Ok(polled)
    }

    async fn start(&mut self, positions: &[(TopicPartition, i64)]) -> Result<(), LogError> {
        let what = self.site.text(format_args!("start {positions:?}"));
        let passage = self.site.enter(&what, Fair::Delay).await;
        let result = self.inner.start(positions).await;
        self.site.leave(&passage).await;
        result
    }

    fn position(&self, partition: &TopicPartition) -> Option<i64> {
        self.inner.position(partition)
    }

    async fn stop(&mut self, partitions: &[TopicPartition]) -> Result<(), LogError> {
        let passage = self.site.enter("stop", Fair::Delay).await;
        let result = self.inner.stop(partitions).await;
        self.site.leave(&passage).await;
        result
    }

    async fn complete_revocation(&mut self) -> Result<(), LogError> {
        let passage = self.site.enter("complete revocation", Fair::Delay).await;
        let result = self.inner.complete_revocation().await;
        self.site.leave(&passage).await;
        result
    }

    async fn group_metadata(&mut self) -> Result<GroupMetadata, LogError> {
        let passage = self.site.enter("group metadata", Fair::Delay).await;
        let result = self.inner.group_metadata().await;
        self.site.leave(&passage).await;
        result
    }

    async fn committed(&mut self, partitions: &[TopicPartition]) -> Result<Vec<Option<CommittedOffset>>, LogError> {
        let committed = call(&self.site, "committed", self.inner.committed(partitions)).await?;
        self.site.say(format_args!("committed: {committed:?}"));
        Ok(committed)
    }

    async fn close(self: Box<Self>) -> Result<(), LogError> {
        let site = self.site.clone();
        call(&site, "leave", self.inner.close()).await
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Good,
    /// The transaction can't be committed any more.
    MustAbort,
    /// The producer has reported [`LogError::Fenced`].
    Useless,
}

struct FaultyProducer {
    site: Arc<Site>,
    inner: Box<dyn Producer>,
    state: State,
}

impl FaultyProducer {
    fn useless(&mut self, action: &str) -> LogError {
        self.state = State::Useless;
        LogError::Fenced {
            action: action.to_owned(),
            reason: "simulated: whether it took effect is not known".to_owned(),
        }
    }

    /// Returns the answer when the seed lets it arrive.
    fn answer(&self, action: String, passage: Passage, answer: Answer) -> Answer {
        let site = self.site.clone();
        Box::pin(async move {
            let result = answer.await;
            site.say(format_args!("{action}: {result:?}"));
            site.leave(&passage).await;
            result
        })
    }
}

impl Producer for FaultyProducer {
    fn send(&mut self, records: Vec<OutputRecord>) {
        if self.state == State::Good {
            self.site.say(format_args!("send {}", records.len()));
            self.inner.send(records);
        }
    }

    fn commit(&mut self, offsets: Vec<OffsetCommit>, group: GroupMetadata) -> Answer {
        let at = |offset: &OffsetCommit| {
            let CommittedOffset { offset: at, metadata } = &offset.committed;
            self.site.text(format_args!(" {}@{at} ({metadata})", offset.source))
        };
        let action = offsets.iter().map(at).collect::<String>();
        let action = self.site.text(format_args!("commit{action}"));
        let passage = self.site.roll(&action, Fair::Fail);
        let error = match (self.state, passage.fate) {
            (State::Useless, _) => self.useless("commit"),
            (State::MustAbort, _) => must_abort(),
            (State::Good, Fate::Refused) if self.site.coin() => {
                self.state = State::MustAbort;
                must_abort()
            }
            (State::Good, Fate::Refused) => self.useless("commit"),
            (State::Good, Fate::AnswerLost) => {
                drop(self.inner.commit(offsets, group));
                self.useless("commit")
            }
            (State::Good, _) => {
                let answer = self.inner.commit(offsets, group);
                return self.answer("commit".to_owned(), passage, answer);
            }
        };
        self.answer("commit".to_owned(), passage, Box::pin(ready(Err(error))))
    }

    fn abort(&mut self) -> Answer {
        let passage = self.site.roll("abort", Fair::Fail);
        let error = match (self.state, passage.fate) {
            (State::Useless, _) | (_, Fate::Refused) => self.useless("abort"),
            (_, Fate::AnswerLost) => {
                drop(self.inner.abort());
                self.useless("abort")
            }
            _ => {
                self.state = State::Good;
                let answer = self.inner.abort();
                return self.answer("abort".to_owned(), passage, answer);
            }
        };
        self.answer("abort".to_owned(), passage, Box::pin(ready(Err(error))))
    }
}

fn must_abort() -> LogError {
    LogError::Abortable {
        action: "commit".to_owned(),
        reason: "simulated".to_owned(),
    }
}

struct FaultyReader {
    site: Arc<Site>,
    what: String,
    inner: Box<dyn Reader>,
}

#[async_trait]
impl Reader for FaultyReader {
    async fn next(&mut self, max_records: usize, wait: Duration) -> Result<Vec<Record>, LogError> {
        let passage = self.site.enter(&self.what, Fair::Fail).await;
        if passage.fate == Fate::Refused {
            return Err(retriable(&self.what));
        }
        self.inner.next(max_records, wait).await
    }

    fn position(&self) -> i64 {
        self.inner.position()
    }
}
