//! A transactional producer: the thread that owns it.
//!
//! ```text
//!            send, commit              abortable error
//!   Ready ───────────────────> Open ───────────────────> Failed
//!     ^ <── committed, aborted ──┘                          │
//!     └──────────────────── aborted ────────────────────────┘
//!
//!   any ── fenced, fatal, result unknown ──> Dead: only a new producer helps
//! ```

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use interlock_streams::log::{GroupMetadata, LogError, OffsetCommit};
use interlock_streams::record::OutputRecord;
use rdkafka::ClientConfig;
use rdkafka::client::Client;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseRecord, Producer, ThreadedProducer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use tokio::sync::oneshot;

use crate::appender::to_headers;
use crate::context::Context;
use crate::errors::{abortable, fatal, fenced, from_kafka, from_transaction, is_hopeless};
use crate::ffi::{self, Membership, TransactionError};
use crate::producer::Operation;

/// Pause before a retry of a call that may succeed later.
const RETRY_INTERVAL: Duration = Duration::from_millis(20);

/// Time-out of one call of `init_transactions`. While Kafka aborts an earlier owner's transaction, it answers "try
/// again". librdkafka then waits half a second, but a further call asks at once.
const INIT_CALL_TIMEOUT: Duration = Duration::from_millis(50);

/// Pause while librdkafka's queue is full.
const QUEUE_FULL_INTERVAL: Duration = Duration::from_millis(1);

/// Longest attempt of a dropped producer to abort its open transaction, so that readers need not wait for the
/// transaction's time-out.
const ABORT_ON_DROP_TIMEOUT: Duration = Duration::from_secs(2);

/// Parameters of the thread.
pub(crate) struct Start {
    pub(crate) name: String,
    pub(crate) client: ClientConfig,
    /// Deadline of the initialisation.
    pub(crate) until: Instant,
    pub(crate) transaction_timeout: Duration,
    pub(crate) overrun: Arc<AtomicBool>,
}

/// Initialises the producer, reports success or failure, and executes operations until the channel closes.
pub(crate) fn run(start: Start, operations: &Receiver<Operation>, ready: oneshot::Sender<Result<(), LogError>>) {
    let producer = match initialise(&start) {
        Ok(producer) => producer,
        Err(error) => {
            let _ = ready.send(Err(error));
            return;
        }
    };
    if ready.send(Ok(())).is_err() {
        return; // no caller waits any more
    }
    let mut thread = TransactionThread {
        start,
        producer,
        state: State::Ready,
    };
    for operation in operations {
        thread.execute(operation);
        if thread.start.overrun.load(Ordering::Acquire) {
            return;
        }
    }
    if matches!(thread.state, State::Open | State::Failed(_))
        && let Err(error) = thread.abort(Instant::now() + ABORT_ON_DROP_TIMEOUT)
    {
        tracing::debug!(%error, "abort of a dropped producer's transaction");
    }
}

fn initialise(start: &Start) -> Result<ThreadedProducer<Context>, LogError> {
    let action = || format!("initialise producer {}", start.name);
    let producer: ThreadedProducer<Context> = start
        .client
        .create_with_context(Context::new(&*start.name))
        .map_err(|error| from_kafka(action(), &error))?;
    let initialised = persist(start.until, |left| {
        ffi::init_transactions(producer.client(), left.min(INIT_CALL_TIMEOUT))
    });
    match initialised.map_err(|error| from_transaction(action(), &error)) {
        Ok(()) => Ok(producer),
        // This producer has not begun anything, so no result can be unknown.
        Err(LogError::Abortable { action, reason }) => Err(LogError::Retriable { action, reason }),
        Err(error) => Err(error),
    }
}

/// Repeats a call until it succeeds, fails permanently, or the time is up. `call` gets the time left.
fn persist(
    until: Instant,
    mut call: impl FnMut(Duration) -> Result<(), TransactionError>,
) -> Result<(), TransactionError> {
    loop {
        let left = until.saturating_duration_since(Instant::now());
        match call(left.max(RETRY_INTERVAL)) {
            Err(error) if error.retriable && !error.abortable && !error.fatal && !left.is_zero() => {
                std::thread::sleep(RETRY_INTERVAL.min(left));
            }
            result => return result,
        }
    }
}

enum State {
    Ready,
    Open,
    /// The transaction must be aborted; holds the first error.
    Failed(Failure),
    /// A new producer is needed; holds the reason.
    Dead(String),
}

enum Failure {
    /// A new transaction may succeed.
    Abortable(String),
    /// A new transaction would fail in the same way.
    Hopeless(String),
}

struct TransactionThread {
    start: Start,
    producer: ThreadedProducer<Context>,
    state: State,
}

impl TransactionThread {
    fn client(&self) -> &Client<Context> {
        self.producer.client()
    }

    fn execute(&mut self, operation: Operation) {
        match operation {
            Operation::Send(records) => self.send(&records),
            Operation::Commit {
                offsets,
                group,
                until,
                reply,
            } => {
                let _ = reply.send(self.commit(&offsets, &group, until));
            }
            Operation::Abort { until, reply } => {
                let _ = reply.send(self.abort(until));
            }
        }
    }

    /// Begins a transaction if none is open.
    fn begin(&mut self) {
        if !matches!(self.state, State::Ready) {
            return;
        }
        self.client().context().take_undelivered();
        self.state = match ffi::begin_transaction(self.client()) {
            Ok(()) => State::Open,
            Err(error) => State::Dead(format!("begin: {} ({:?})", error.text, error.code)),
        };
    }

    fn send(&mut self, records: &[OutputRecord]) {
        self.begin();
        for record in records {
            if !matches!(self.state, State::Open) {
                return; // the commit reports why
            }
            if let Err(failure) = self.produce(record) {
                self.state = State::Failed(failure);
            }
        }
    }

    /// Hands a record to librdkafka, waiting while its queue is full.
    fn produce(&self, record: &OutputRecord) -> Result<(), Failure> {
        let until = Instant::now() + self.start.transaction_timeout;
        let mut next = to_base_record(record);
        loop {
            let (error, refused) = match self.producer.send(next) {
                Ok(()) => return Ok(()),
                Err(refused) => refused,
            };
            let KafkaError::MessageProduction(code) = error else {
                return Err(Failure::Hopeless(format!("record for {}: {error}", record.topic)));
            };
            match code {
                RDKafkaErrorCode::QueueFull if Instant::now() < until => std::thread::sleep(QUEUE_FULL_INTERVAL),
                // The transaction has failed already, and its commit reports the reason.
                RDKafkaErrorCode::State | RDKafkaErrorCode::Fenced | RDKafkaErrorCode::Fatal => return Ok(()),
                _ if is_hopeless(code) => return Err(Failure::Hopeless(explain(record, &error))),
                _ => return Err(Failure::Abortable(explain(record, &error))),
            }
            next = refused;
        }
    }

    fn commit(&mut self, offsets: &[OffsetCommit], group: &GroupMetadata, until: Instant) -> Result<(), LogError> {
        let action = self.action("commit");
        self.begin();
        match &self.state {
            State::Ready | State::Open => {}
            State::Failed(Failure::Abortable(reason)) => return Err(abortable(action, reason)),
            State::Failed(Failure::Hopeless(reason)) => return Err(fatal(action, reason)),
            State::Dead(reason) => return Err(fenced(action, reason)),
        }
        let list = match to_list(offsets) {
            Ok(list) => list,
            Err(error) => return Err(self.failed(from_kafka(action, &error))),
        };
        let membership = group.0.downcast_ref::<Membership>();
        let committed = persist(until, |left| match (offsets, membership) {
            ([], _) => Ok(()),
            (_, Some(membership)) => ffi::send_offsets(self.client(), &list, membership, left),
            (_, None) => Err(ffi::not_a_membership()),
        })
        .and_then(|()| persist(until, |left| ffi::commit_transaction(self.client(), left)));
        match committed {
            Ok(()) => {
                self.state = State::Ready;
                Ok(())
            }
            Err(error) => Err(self.sorted(action, error)),
        }
    }

    fn abort(&mut self, until: Instant) -> Result<(), LogError> {
        let action = self.action("abort");
        match &self.state {
            State::Ready => return Ok(()),
            State::Dead(reason) => return Err(fenced(action, reason)),
            State::Open | State::Failed(_) => {}
        }
        match persist(until, |left| ffi::abort_transaction(self.client(), left)) {
            Ok(()) => {
                self.state = State::Ready;
                Ok(())
            }
            // The abort itself failed; a new producer settles the transaction.
            Err(error) => {
                let reason = format!("{} ({:?})", error.text, error.code);
                self.state = State::Dead(reason.clone());
                Err(fenced(action, reason))
            }
        }
    }

    /// Sorts the error of a commit. If a retry would be right but the time is up, the result is unknown: only a new
    /// producer, whose initialisation settles the transaction, can tell.
    fn sorted(&mut self, action: String, mut error: TransactionError) -> LogError {
        if let Some(undelivered) = self.client().context().take_undelivered() {
            error.text = format!("{}; first failure: {undelivered}", error.text);
        }
        let error = match from_transaction(action, &error) {
            LogError::Retriable { action, reason } => fenced(action, format!("{reason}; the result is not known")),
            error => error,
        };
        self.failed(error)
    }

    /// Keeps an error until it is handled.
    fn failed(&mut self, error: LogError) -> LogError {
        self.state = match &error {
            LogError::Abortable { reason, .. } | LogError::Retriable { reason, .. } => {
                State::Failed(Failure::Abortable(reason.clone()))
            }
            LogError::Fatal { reason, .. } => State::Failed(Failure::Hopeless(reason.clone())),
            LogError::Fenced { reason, .. } => State::Dead(reason.clone()),
        };
        error
    }

    fn action(&self, what: &str) -> String {
        format!("{what} the transaction of {}", self.start.name)
    }
}

fn explain(record: &OutputRecord, error: &KafkaError) -> String {
    let (key, value) = (
        record.key.as_ref().map_or(0, |key| key.len()),
        record.value.as_ref().map_or(0, |v| v.len()),
    );
    format!(
        "record for {} (key of {key} bytes, value of {value}): {error}",
        record.topic
    )
}

fn to_base_record(record: &OutputRecord) -> BaseRecord<'_, [u8], [u8]> {
    BaseRecord {
        topic: &record.topic,
        partition: record.partition,
        payload: record.value.as_deref(),
        key: record.key.as_deref(),
        timestamp: record.timestamp,
        headers: to_headers(record),
        delivery_opaque: (),
    }
}

fn to_list(offsets: &[OffsetCommit]) -> Result<TopicPartitionList, KafkaError> {
    let mut list = TopicPartitionList::with_capacity(offsets.len());
    for OffsetCommit { source, committed } in offsets {
        let mut element = list.add_partition(&source.topic, source.partition);
        element.set_offset(Offset::Offset(committed.offset))?;
        element.set_metadata(&committed.metadata);
    }
    Ok(list)
}
