//! The few calls of librdkafka for which rust-rdkafka has no wrapper, or one that costs too much:
//!
//! - polling the consumer's queue for *events*, so that rebalances, records and the offsets at a partition's end arrive
//!   in one order on one thread (rust-rdkafka drops the offset of an end-of-partition event and serves rebalances in a
//!   callback), and waking that poll from another thread;
//! - the transactional calls: rust-rdkafka's `commit_transaction` flushes in slices of 100 ms, which made an idle commit
//!   take 100 ms instead of 2; here they also keep the three flags by which an error must be sorted;
//! - the generation inside a group's metadata, and committed metadata that isn't UTF-8 (rust-rdkafka panics).
#![allow(unsafe_code, reason = "the only file that calls C; what it exports is safe")]

use std::ffi::{CStr, c_char, c_void};
use std::marker::PhantomData;
use std::ptr::{self, NonNull};
use std::slice;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rdkafka::bindings as sys;
use rdkafka::client::{Client, ClientContext};
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::topic_partition_list::TopicPartitionList;
use rdkafka::types::RDKafkaRespErr;
use rustc_hash::FxHashMap;

use super::context::Context;
use crate::log::CommittedOffset;
use crate::record::TopicPartition;

fn milliseconds(timeout: Duration) -> i32 {
    i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX)
}

/// # Safety
/// `text` is null or ends with a zero byte, and lives through the call.
unsafe fn to_string(text: *const c_char) -> String {
    if text.is_null() {
        return String::new();
    }
    unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned()
}

/// # Safety
/// `data` is null or points to `len` bytes that outlive `'a`.
unsafe fn bytes<'a>(data: *const c_void, len: usize) -> Option<&'a [u8]> {
    (!data.is_null()).then(|| unsafe { slice::from_raw_parts(data.cast::<u8>(), len) })
}

// ---------------------------------------------------------------------------------------------------------------------
// The consumer's queue
// ---------------------------------------------------------------------------------------------------------------------

/// One more handle of the queue on which a consumer's events arrive.
struct Queue(NonNull<sys::rd_kafka_queue_t>);

// SAFETY: librdkafka's queues may be used from any thread.
unsafe impl Send for Queue {}

impl Queue {
    fn of(consumer: &BaseConsumer<Context>) -> Option<Self> {
        let queue = unsafe { sys::rd_kafka_queue_get_consumer(consumer.client().native_ptr()) };
        NonNull::new(queue).map(Self)
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        unsafe { sys::rd_kafka_queue_destroy(self.0.as_ptr()) }
    }
}

/// Ends a running (or else the next) [`EventQueue::poll`] early, from any thread. Does nothing once the queue is gone.
#[derive(Clone)]
pub(super) struct Waker(Arc<Mutex<Option<Queue>>>);

impl Waker {
    pub(super) fn none() -> Self {
        Self(Arc::new(Mutex::new(None)))
    }

    pub(super) fn wake(&self) {
        if let Some(queue) = &*self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            unsafe { sys::rd_kafka_queue_yield(queue.0.as_ptr()) }
        }
    }
}

/// The queue on which a consumer's records, rebalances and errors arrive, in order.
pub(super) struct EventQueue<'a> {
    queue: Queue,
    waker: Waker,
    consumer: PhantomData<&'a BaseConsumer<Context>>,
}

impl<'a> EventQueue<'a> {
    /// The queue of this consumer; `waker` wakes it as long as it exists.
    pub(super) fn new(consumer: &'a BaseConsumer<Context>, waker: Waker) -> Option<Self> {
        let queue = Queue::of(consumer)?;
        *waker.0.lock().unwrap_or_else(PoisonError::into_inner) = Queue::of(consumer);
        Some(Self {
            queue,
            waker,
            consumer: PhantomData,
        })
    }

    /// The next event, if one comes in time and nobody wakes us.
    pub(super) fn poll(&self, timeout: Duration) -> Option<Event> {
        let event = unsafe { sys::rd_kafka_queue_poll(self.queue.0.as_ptr(), milliseconds(timeout)) };
        let event = OwnedEvent(NonNull::new(event)?);
        Some(event.sort())
    }
}

impl Drop for EventQueue<'_> {
    fn drop(&mut self) {
        // The waker's handle must not outlive the client.
        *self.waker.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

/// What a consumer's queue brings.
pub(super) enum Event {
    Message(Message),
    Assigned(Vec<(String, i32)>),
    Revoked(Vec<(String, i32)>),
    /// All there is was read up to this offset, transaction markers and aborted records included.
    PartitionEnd {
        offset: i64,
    },
    Error {
        code: RDKafkaErrorCode,
        text: String,
        fatal: bool,
    },
    Log {
        level: RDKafkaLogLevel,
        facility: String,
        text: String,
    },
    /// Nothing that concerns us.
    Other,
}

struct OwnedEvent(NonNull<sys::rd_kafka_event_t>);

impl Drop for OwnedEvent {
    fn drop(&mut self) {
        unsafe { sys::rd_kafka_event_destroy(self.0.as_ptr()) }
    }
}

impl OwnedEvent {
    fn sort(self) -> Event {
        match unsafe { sys::rd_kafka_event_type(self.0.as_ptr()) } {
            sys::RD_KAFKA_EVENT_FETCH => self.message(),
            sys::RD_KAFKA_EVENT_REBALANCE => self.rebalance(),
            sys::RD_KAFKA_EVENT_ERROR => self.error(),
            sys::RD_KAFKA_EVENT_LOG => self.log(),
            _ => Event::Other,
        }
    }

    fn message(self) -> Event {
        // A fetch event carries exactly one message, which the event owns.
        let message = unsafe { sys::rd_kafka_event_message_next(self.0.as_ptr()) };
        match NonNull::new(message.cast_mut()) {
            Some(message) => Event::Message(Message { message, _event: self }),
            None => Event::Other,
        }
    }

    fn rebalance(self) -> Event {
        let event = self.0.as_ptr();
        let list = unsafe { sys::rd_kafka_event_topic_partition_list(event) };
        let partitions = unsafe { elements(list) }
            .iter()
            .map(|element| (unsafe { to_string(element.topic) }, element.partition))
            .collect();
        match unsafe { sys::rd_kafka_event_error(event) } {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS => Event::Assigned(partitions),
            _ => Event::Revoked(partitions),
        }
    }

    fn error(self) -> Event {
        let event = self.0.as_ptr();
        let code = RDKafkaErrorCode::from(unsafe { sys::rd_kafka_event_error(event) });
        if code == RDKafkaErrorCode::PartitionEOF {
            let partition = unsafe { sys::rd_kafka_event_topic_partition(event) };
            if partition.is_null() {
                return Event::Other;
            }
            let offset = unsafe { (*partition).offset };
            unsafe { sys::rd_kafka_topic_partition_destroy(partition) };
            return Event::PartitionEnd { offset };
        }
        Event::Error {
            code,
            text: unsafe { to_string(sys::rd_kafka_event_error_string(event)) },
            fatal: unsafe { sys::rd_kafka_event_error_is_fatal(event) } != 0,
        }
    }

    fn log(self) -> Event {
        let (mut facility, mut text, mut level) = (ptr::null(), ptr::null(), 0);
        let failed = unsafe { sys::rd_kafka_event_log(self.0.as_ptr(), &mut facility, &mut text, &mut level) };
        if failed != 0 {
            return Event::Other;
        }
        Event::Log {
            level: match level {
                ..=2 => RDKafkaLogLevel::Critical,
                3 => RDKafkaLogLevel::Error,
                4 => RDKafkaLogLevel::Warning,
                5 => RDKafkaLogLevel::Notice,
                6 => RDKafkaLogLevel::Info,
                _ => RDKafkaLogLevel::Debug,
            },
            facility: unsafe { to_string(facility) },
            text: unsafe { to_string(text) },
        }
    }
}

/// A record in librdkafka's memory.
pub(super) struct Message {
    message: NonNull<sys::rd_kafka_message_t>,
    _event: OwnedEvent,
}

impl Message {
    fn raw(&self) -> &sys::rd_kafka_message_t {
        // SAFETY: the event, which we own, owns the message.
        unsafe { self.message.as_ref() }
    }

    pub(super) fn topic(&self) -> &[u8] {
        unsafe { CStr::from_ptr(sys::rd_kafka_topic_name(self.raw().rkt)) }.to_bytes()
    }

    pub(super) fn partition(&self) -> i32 {
        self.raw().partition
    }

    pub(super) fn offset(&self) -> i64 {
        self.raw().offset
    }

    /// Milliseconds since the Unix epoch; −1 where the record has none.
    pub(super) fn timestamp(&self) -> i64 {
        unsafe { sys::rd_kafka_message_timestamp(self.message.as_ptr(), ptr::null_mut()) }
    }

    pub(super) fn key(&self) -> Option<&[u8]> {
        unsafe { bytes(self.raw().key, self.raw().key_len) }
    }

    pub(super) fn value(&self) -> Option<&[u8]> {
        unsafe { bytes(self.raw().payload, self.raw().len) }
    }

    /// Calls `f` with each header's name and value, in order.
    pub(super) fn for_each_header(&self, mut f: impl FnMut(&[u8], &[u8])) {
        let mut headers = ptr::null_mut();
        let found = unsafe { sys::rd_kafka_message_headers(self.message.as_ptr(), &mut headers) };
        if found != RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR {
            return;
        }
        for index in 0.. {
            let (mut name, mut value, mut len) = (ptr::null(), ptr::null(), 0);
            let found = unsafe { sys::rd_kafka_header_get_all(headers, index, &mut name, &mut value, &mut len) };
            if found != RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR {
                return;
            }
            let name = unsafe { CStr::from_ptr(name) }.to_bytes();
            f(name, unsafe { bytes(value, len) }.unwrap_or_default());
        }
    }
}

// ---------------------------------------------------------------------------------------------------------------------
// Groups and offsets
// ---------------------------------------------------------------------------------------------------------------------

/// # Safety
/// `list` is null or a valid list that outlives `'a`.
unsafe fn elements<'a>(list: *const sys::rd_kafka_topic_partition_list_t) -> &'a [sys::rd_kafka_topic_partition_t] {
    let Some(list) = (unsafe { list.as_ref() }) else {
        return &[];
    };
    match usize::try_from(list.cnt) {
        Ok(count) if !list.elems.is_null() => unsafe { slice::from_raw_parts(list.elems, count) },
        _ => &[],
    }
}

/// One partition's answer to a question for committed offsets.
pub(super) struct Committed {
    pub(super) partition: TopicPartition,
    pub(super) offset: Option<i64>,
    pub(super) metadata: String,
    pub(super) error: Option<RDKafkaErrorCode>,
}

/// The answers in a list that [`Consumer::committed_offsets`] filled.
pub(super) fn committed(list: &TopicPartitionList) -> Vec<Committed> {
    unsafe { elements(list.ptr()) }
        .iter()
        .map(|element| Committed {
            partition: TopicPartition::new(unsafe { to_string(element.topic) }, element.partition),
            offset: (element.offset >= 0).then_some(element.offset),
            metadata: String::from_utf8_lossy(
                unsafe { bytes(element.metadata, element.metadata_size) }.unwrap_or_default(),
            )
            .into_owned(),
            error: (element.err != RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR)
                .then(|| RDKafkaErrorCode::from(element.err)),
        })
        .collect()
}

/// The answers in the order of the questions.
pub(super) fn in_order(partitions: &[TopicPartition], answers: Vec<Committed>) -> Vec<Option<CommittedOffset>> {
    let committed = |answer: Committed| {
        let metadata = answer.metadata;
        Some((
            answer.partition,
            CommittedOffset {
                offset: answer.offset?,
                metadata,
            },
        ))
    };
    let mut found: FxHashMap<_, _> = answers.into_iter().filter_map(committed).collect();
    partitions.iter().map(|partition| found.remove(partition)).collect()
}

/// Errors of single partitions in a list that librdkafka filled.
pub(super) fn partition_errors(list: &TopicPartitionList) -> Vec<(TopicPartition, RDKafkaErrorCode)> {
    committed(list)
        .into_iter()
        .filter_map(|element| Some((element.partition, element.error?)))
        .collect()
}

/// A consumer's membership in its group at one moment.
pub(super) struct Membership(NonNull<sys::rd_kafka_consumer_group_metadata_t>);

// SAFETY: never changed after its creation.
unsafe impl Send for Membership {}
unsafe impl Sync for Membership {}

impl Membership {
    pub(super) fn of(consumer: &BaseConsumer<Context>) -> Option<Self> {
        let metadata = unsafe { sys::rd_kafka_consumer_group_metadata(consumer.client().native_ptr()) };
        NonNull::new(metadata).map(Self)
    }

    /// The group's generation (KIP-848: the member's epoch); negative outside of the group.
    pub(super) fn generation(&self) -> i32 {
        unsafe { sys::rd_kafka_consumer_group_metadata_generation_id(self.0.as_ptr()) }
    }

    /// Whether this is a member now: librdkafka forgets its member id when its session expires, its generation when it
    /// is told that it is an old one.
    pub(super) fn is_valid(&self) -> bool {
        let member = unsafe { sys::rd_kafka_consumer_group_metadata_member_id(self.0.as_ptr()) };
        self.generation() >= 0 && !unsafe { to_string(member) }.is_empty()
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        unsafe { sys::rd_kafka_consumer_group_metadata_destroy(self.0.as_ptr()) }
    }
}

// ---------------------------------------------------------------------------------------------------------------------
// Transactions
// ---------------------------------------------------------------------------------------------------------------------

/// Why a transactional call failed, with the flags by which librdkafka wants it to be sorted.
#[derive(Debug)]
pub(super) struct TransactionError {
    pub(super) code: RDKafkaErrorCode,
    pub(super) text: String,
    pub(super) fatal: bool,
    pub(super) retriable: bool,
    pub(super) abortable: bool,
}

/// Group metadata of another log than Kafka's.
pub(super) fn not_a_membership() -> TransactionError {
    let text = "this group metadata is not of a Kafka consumer".to_owned();
    TransactionError {
        code: RDKafkaErrorCode::InvalidGroupId,
        text,
        fatal: false,
        retriable: false,
        abortable: false,
    }
}

type Transactional = Result<(), TransactionError>;

/// # Safety
/// `error` is null or an error that nobody else owns.
unsafe fn take(error: *mut sys::rd_kafka_error_t) -> Transactional {
    if error.is_null() {
        return Ok(());
    }
    let taken = unsafe {
        TransactionError {
            code: RDKafkaErrorCode::from(sys::rd_kafka_error_code(error)),
            text: to_string(sys::rd_kafka_error_string(error)),
            fatal: sys::rd_kafka_error_is_fatal(error) != 0,
            retriable: sys::rd_kafka_error_is_retriable(error) != 0,
            abortable: sys::rd_kafka_error_txn_requires_abort(error) != 0,
        }
    };
    unsafe { sys::rd_kafka_error_destroy(error) };
    Err(taken)
}

pub(super) fn init_transactions<C: ClientContext>(client: &Client<C>, timeout: Duration) -> Transactional {
    unsafe {
        take(sys::rd_kafka_init_transactions(
            client.native_ptr(),
            milliseconds(timeout),
        ))
    }
}

pub(super) fn begin_transaction<C: ClientContext>(client: &Client<C>) -> Transactional {
    unsafe { take(sys::rd_kafka_begin_transaction(client.native_ptr())) }
}

pub(super) fn send_offsets<C: ClientContext>(
    client: &Client<C>,
    offsets: &TopicPartitionList,
    membership: &Membership,
    timeout: Duration,
) -> Transactional {
    let (client, group) = (client.native_ptr(), membership.0.as_ptr());
    unsafe {
        take(sys::rd_kafka_send_offsets_to_transaction(
            client,
            offsets.ptr(),
            group,
            milliseconds(timeout),
        ))
    }
}

pub(super) fn commit_transaction<C: ClientContext>(client: &Client<C>, timeout: Duration) -> Transactional {
    unsafe {
        take(sys::rd_kafka_commit_transaction(
            client.native_ptr(),
            milliseconds(timeout),
        ))
    }
}

pub(super) fn abort_transaction<C: ClientContext>(client: &Client<C>, timeout: Duration) -> Transactional {
    unsafe {
        take(sys::rd_kafka_abort_transaction(
            client.native_ptr(),
            milliseconds(timeout),
        ))
    }
}
