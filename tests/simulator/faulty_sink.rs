//! A database of windows with faults.
//!
//! Simulated faults: any call takes any time; it fails without effect, or has its effect but no answer; a transaction
//! is committed after its worker gave up or died. A transaction is never committed in part, or twice.

use std::sync::Arc;

use async_trait::async_trait;
use interlock_streams::ledger::Token;
use interlock_streams::record::TopicPartition;
use interlock_streams::sink::{Advance, Partials, Sink, SinkError, Writer};
use interlock_streams::window::MemorySink;
use tokio::time::sleep;

use super::site::{Fair, Fate, Site};

pub(super) struct FaultySink {
    pub(super) site: Arc<Site>,
    pub(super) sink: Arc<MemorySink>,
}

impl FaultySink {
    /// Makes a call whose fate the seed decides.
    async fn call<T, C, F>(&self, task: &str, what: &str, fair: Fair, call: C) -> Result<T, SinkError>
    where
        T: Send + 'static,
        C: FnOnce(Arc<MemorySink>) -> F + Send + 'static,
        F: Future<Output = Result<T, SinkError>> + Send + 'static,
    {
        let (site, sink) = (self.site.clone(), self.sink.clone());
        let unavailable = |reason: &str| SinkError::Unavailable {
            task: task.to_owned(),
            reason: reason.to_owned(),
        };
        let passage = site.enter(what, fair).await;
        let result = match passage.fate {
            Fate::Proceed | Fate::Repeated(_) => call(sink).await,
            Fate::Refused => Err(unavailable("simulated: refused")),
            Fate::AnswerLost => {
                let result = call(sink).await.map(|_| ());
                site.say(format_args!("{what}: {result:?}, lost"));
                Err(unavailable("simulated: the answer was lost"))
            }
            Fate::Late(after) => {
                let (site, what) = (site.clone(), what.to_owned());
                tokio::spawn(async move {
                    sleep(after).await;
                    let result = call(sink).await.map(|_| ());
                    site.say(format_args!("{what} arrives late: {result:?}"));
                });
                Err(unavailable("simulated: no answer in time"))
            }
        };
        if let Err(error) = &result {
            site.say(format_args!("{what}: {error}"));
        }
        site.leave(&passage).await;
        result
    }
}

#[async_trait]
impl Sink for FaultySink {
    async fn acquire(
        &self,
        task: &str,
        token: &Token,
        initial: &[(TopicPartition, i64)],
    ) -> Result<Vec<(TopicPartition, i64)>, SinkError> {
        let what = self.site.text(format_args!("sink acquire {task} {token}"));
        let (name, token, initial) = (task.to_owned(), token.clone(), initial.to_vec());
        let acquire = |sink: Arc<MemorySink>| async move { sink.acquire(&name, &token, &initial).await };
        self.call(task, &what, Fair::Write, acquire).await
    }

    async fn write_together(&self, writers: &[Writer<'_>], partials: &[Partials]) -> Result<(), SinkError> {
        let said: Vec<String> = writers
            .iter()
            .map(|writer| format!("{} {:?} by {}", writer.task, writer.advances, writer.token))
            .collect();
        let what = self.site.text(format_args!("sink write {}", said.join(", ")));
        let task = writers.first().map_or("", |writer| writer.task);
        let writers: Vec<(String, Token, Vec<Advance>)> = writers
            .iter()
            .map(|writer| (writer.task.to_owned(), writer.token.clone(), writer.advances.to_vec()))
            .collect();
        let partials = partials.to_vec();
        let write = |sink: Arc<MemorySink>| async move {
            let writers: Vec<Writer<'_>> = writers
                .iter()
                .map(|(task, token, advances)| Writer { task, token, advances })
                .collect();
            sink.write_together(&writers, &partials).await
        };
        self.call(task, &what, Fair::Write, write).await
    }
}
