//! Transactional calls, with the flags of their errors.

use std::time::Duration;

use rdkafka::bindings as sys;
use rdkafka::client::{Client, ClientContext};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::topic_partition_list::TopicPartitionList;

use super::{Membership, milliseconds, to_string};

/// The error of a transactional call, with the flags by which librdkafka sorts it.
#[derive(Debug)]
pub(crate) struct TransactionError {
    pub(crate) code: RDKafkaErrorCode,
    pub(crate) text: String,
    pub(crate) fatal: bool,
    pub(crate) retriable: bool,
    pub(crate) abortable: bool,
}

/// The group metadata is of another log than Kafka.
pub(crate) fn not_a_membership() -> TransactionError {
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
/// `error` is null or an error that the caller owns.
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

pub(crate) fn init_transactions<C: ClientContext>(client: &Client<C>, timeout: Duration) -> Transactional {
    unsafe {
        take(sys::rd_kafka_init_transactions(
            client.native_ptr(),
            milliseconds(timeout),
        ))
    }
}

pub(crate) fn begin_transaction<C: ClientContext>(client: &Client<C>) -> Transactional {
    unsafe { take(sys::rd_kafka_begin_transaction(client.native_ptr())) }
}

pub(crate) fn send_offsets<C: ClientContext>(
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

pub(crate) fn commit_transaction<C: ClientContext>(client: &Client<C>, timeout: Duration) -> Transactional {
    unsafe {
        take(sys::rd_kafka_commit_transaction(
            client.native_ptr(),
            milliseconds(timeout),
        ))
    }
}

pub(crate) fn abort_transaction<C: ClientContext>(client: &Client<C>, timeout: Duration) -> Transactional {
    unsafe {
        take(sys::rd_kafka_abort_transaction(
            client.native_ptr(),
            milliseconds(timeout),
        ))
    }
}
