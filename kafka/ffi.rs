//! The few calls of librdkafka for which rust-rdkafka has no wrapper, or one that costs too much:
//!
//! - polling the consumer's queue for *events*, so that rebalances, records and the offsets at a partition's end arrive
//!   in one order on one thread (rust-rdkafka drops the offset of an end-of-partition event and serves rebalances in a
//!   callback), and waking that poll from another thread;
//! - the transactional calls: rust-rdkafka's `commit_transaction` flushes in slices of 100 ms, which made an idle
//!   commit take 100 ms instead of 2; here they also keep the three flags by which an error must be sorted;
//! - the generation inside a group's metadata, and committed metadata that isn't UTF-8 (rust-rdkafka panics).
//!
//! And one of the C library: an exit that leaves librdkafka's threads alone.
#![allow(unsafe_code, reason = "the only folder that calls C; what it exports is safe")]

mod exit;
mod queue;
mod transactions;

use std::ffi::{CStr, c_char, c_void};
use std::ptr::NonNull;
use std::slice;
use std::time::Duration;

use interlock_streams::log::CommittedOffset;
use interlock_streams::record::TopicPartition;
use rdkafka::bindings as sys;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::topic_partition_list::TopicPartitionList;
use rdkafka::types::RDKafkaRespErr;
use rustc_hash::FxHashMap;

use crate::context::Context;

pub use self::exit::exit;
pub(crate) use self::queue::{Event, EventQueue, Message, Waker};
pub(crate) use self::transactions::{
    TransactionError, abort_transaction, begin_transaction, commit_transaction, init_transactions, not_a_membership,
    send_offsets,
};

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

/// The committed offset of one partition, as answered.
pub(crate) struct Committed {
    pub(crate) partition: TopicPartition,
    pub(crate) offset: Option<i64>,
    pub(crate) metadata: String,
    pub(crate) error: Option<RDKafkaErrorCode>,
}

/// Returns the answers in a list that [`Consumer::committed_offsets`] filled.
pub(crate) fn committed(list: &TopicPartitionList) -> Vec<Committed> {
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

/// Returns the answers in the order of the requests.
pub(crate) fn in_order(partitions: &[TopicPartition], answers: Vec<Committed>) -> Vec<Option<CommittedOffset>> {
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

/// Returns the errors of single partitions in a list that librdkafka filled.
pub(crate) fn partition_errors(list: &TopicPartitionList) -> Vec<(TopicPartition, RDKafkaErrorCode)> {
    committed(list)
        .into_iter()
        .filter_map(|element| Some((element.partition, element.error?)))
        .collect()
}

/// A consumer's membership in its group at one moment.
pub(crate) struct Membership(NonNull<sys::rd_kafka_consumer_group_metadata_t>);

// SAFETY: it is never changed after its creation.
unsafe impl Send for Membership {}
unsafe impl Sync for Membership {}

impl Membership {
    pub(crate) fn of(consumer: &BaseConsumer<Context>) -> Option<Self> {
        let metadata = unsafe { sys::rd_kafka_consumer_group_metadata(consumer.client().native_ptr()) };
        NonNull::new(metadata).map(Self)
    }

    /// Generation of the group (KIP-848: epoch of the member); negative outside of the group.
    pub(crate) fn generation(&self) -> i32 {
        unsafe { sys::rd_kafka_consumer_group_metadata_generation_id(self.0.as_ptr()) }
    }

    /// Returns whether this is a member now. librdkafka drops the member id when the session expires, and the
    /// generation when the broker rejects it as old.
    pub(crate) fn is_valid(&self) -> bool {
        let member = unsafe { sys::rd_kafka_consumer_group_metadata_member_id(self.0.as_ptr()) };
        self.generation() >= 0 && !unsafe { to_string(member) }.is_empty()
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        unsafe { sys::rd_kafka_consumer_group_metadata_destroy(self.0.as_ptr()) }
    }
}
