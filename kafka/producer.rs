//! A transactional producer: the asynchronous side.
//!
//! librdkafka's transactional calls block, and `send_offsets_to_transaction` even ignores its time-out
//! (librdkafka#5456,
//! #5511). A thread therefore owns the producer (`transaction_thread.rs`) and executes operations in order. A call
//! without an answer by its deadline returns [`LogError::Fenced`], and abandons thread and producer.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use futures::FutureExt;
use futures::future::BoxFuture;
use interlock_streams::log::{GroupMetadata, LogError, OffsetCommit, Producer};
use interlock_streams::record::OutputRecord;
use tokio::sync::oneshot;

use crate::config::KafkaConfig;
use crate::errors::{fatal, fenced, retriable};
use crate::transaction_thread;

/// Extra time for the thread, which has the same deadline, to report the call that it was waiting for.
const ANSWER_GRACE: Duration = Duration::from_secs(1);

/// An operation of the transaction thread.
pub(crate) enum Operation {
    Send(Vec<OutputRecord>),
    Commit {
        offsets: Vec<OffsetCommit>,
        group: GroupMetadata,
        until: Instant,
        reply: Reply,
    },
    Abort {
        until: Instant,
        reply: Reply,
    },
}

pub(crate) type Reply = oneshot::Sender<Result<(), LogError>>;

/// A transactional producer.
pub(crate) struct KafkaProducer {
    name: String,
    deadline: Duration,
    operations: mpsc::Sender<Operation>,
    /// Set when a call has exceeded its deadline; the producer is then unusable.
    overrun: Arc<AtomicBool>,
}

impl KafkaProducer {
    /// Creates the producer, and ends transactions that an earlier one with the same id left open.
    pub(crate) async fn init(config: &KafkaConfig, transactional_id: &str) -> Result<Self, LogError> {
        let name = format!("\"{transactional_id}\" at {}", config.place());
        let (operations, received) = mpsc::channel();
        let (ready, initialised) = oneshot::channel();
        let deadline = config.call_deadline;
        let overrun = Arc::new(AtomicBool::new(false));
        let start = transaction_thread::Start {
            name: name.clone(),
            client: config.producer(transactional_id),
            until: Instant::now() + deadline,
            transaction_timeout: config.transaction_timeout,
            overrun: overrun.clone(),
        };
        thread::Builder::new()
            .name(format!("commit {transactional_id}"))
            .spawn(move || transaction_thread::run(start, &received, ready))
            .map_err(|error| fatal(format!("start a thread for producer {name}"), error))?;
        let action = || format!("initialise producer {name}");
        match tokio::time::timeout(deadline + ANSWER_GRACE, initialised).await {
            Ok(Ok(result)) => result?,
            Ok(Err(_)) => return Err(fatal(action(), "its thread ended")),
            Err(_) => return Err(retriable(action(), format!("no answer within {deadline:?}"))),
        }
        Ok(Self {
            name,
            deadline,
            operations,
            overrun,
        })
    }

    fn ask(
        &self,
        what: &str,
        operation: impl FnOnce(Instant, Reply) -> Operation,
    ) -> BoxFuture<'static, Result<(), LogError>> {
        let action = format!("{what} the transaction of {}", self.name);
        if self.overrun.load(Ordering::Acquire) {
            let error = fenced(action, "an earlier call overran its deadline, its result is not known");
            return futures::future::ready(Err(error)).boxed();
        }
        let (reply, answer) = oneshot::channel();
        let until = Instant::now() + self.deadline;
        let sent = self.operations.send(operation(until, reply)).is_ok();
        let (deadline, overrun) = (self.deadline, self.overrun.clone());
        async move {
            if !sent {
                return Err(fenced(action, "its thread ended"));
            }
            match tokio::time::timeout_at((until + ANSWER_GRACE).into(), answer).await {
                Ok(Ok(result)) => result,
                Ok(Err(_)) => Err(fenced(action, "its thread ended")),
                Err(_) => {
                    overrun.store(true, Ordering::Release);
                    Err(fenced(
                        action,
                        format!("no answer within {deadline:?}, the result is not known"),
                    ))
                }
            }
        }
        .boxed()
    }
}

impl Producer for KafkaProducer {
    fn send(&mut self, records: Vec<OutputRecord>) {
        // If the thread has ended, the commit reports it.
        let _ = self.operations.send(Operation::Send(records));
    }

    fn commit(&mut self, offsets: Vec<OffsetCommit>, group: GroupMetadata) -> BoxFuture<'static, Result<(), LogError>> {
        self.ask("commit", |until, reply| Operation::Commit {
            offsets,
            group,
            until,
            reply,
        })
    }

    fn abort(&mut self) -> BoxFuture<'static, Result<(), LogError>> {
        self.ask("abort", |until, reply| Operation::Abort { until, reply })
    }
}
