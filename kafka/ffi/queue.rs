//! The event queue of a consumer.

use std::ffi::CStr;
use std::marker::PhantomData;
use std::ptr::{self, NonNull};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rdkafka::bindings as sys;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::types::RDKafkaRespErr;

use super::{bytes, elements, milliseconds, to_string};
use crate::context::Context;

/// Another handle of a consumer's event queue.
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

/// Ends the running or the next [`EventQueue::poll`] early, from any thread. Does nothing once the queue is gone.
#[derive(Clone)]
pub(crate) struct Waker(Arc<Mutex<Option<Queue>>>);

impl Waker {
    pub(crate) fn none() -> Self {
        Self(Arc::new(Mutex::new(None)))
    }

    pub(crate) fn wake(&self) {
        if let Some(queue) = &*self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            unsafe { sys::rd_kafka_queue_yield(queue.0.as_ptr()) }
        }
    }
}

/// The queue on which a consumer's records, rebalances and errors arrive, in order.
pub(crate) struct EventQueue<'a> {
    queue: Queue,
    waker: Waker,
    consumer: PhantomData<&'a BaseConsumer<Context>>,
}

impl<'a> EventQueue<'a> {
    /// Returns the queue of this consumer; `waker` wakes it as long as it exists.
    pub(crate) fn new(consumer: &'a BaseConsumer<Context>, waker: Waker) -> Option<Self> {
        let queue = Queue::of(consumer)?;
        *waker.0.lock().unwrap_or_else(PoisonError::into_inner) = Queue::of(consumer);
        Some(Self {
            queue,
            waker,
            consumer: PhantomData,
        })
    }

    /// Returns the next event, unless the time-out or the waker comes first.
    pub(crate) fn poll(&self, timeout: Duration) -> Option<Event> {
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

/// An event of a consumer.
pub(crate) enum Event {
    Message(Message),
    Assigned(Vec<(String, i32)>),
    Revoked(Vec<(String, i32)>),
    /// The end of the partition: everything up to this offset was read, including transaction markers and aborted
    /// records.
    PartitionEnd {
        topic: String,
        partition: i32,
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
    /// An event of no interest.
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
            let end = unsafe { &*partition };
            let event = Event::PartitionEnd {
                topic: unsafe { to_string(end.topic) },
                partition: end.partition,
                offset: end.offset,
            };
            unsafe { sys::rd_kafka_topic_partition_destroy(partition) };
            return event;
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
pub(crate) struct Message {
    message: NonNull<sys::rd_kafka_message_t>,
    _event: OwnedEvent,
}

impl Message {
    fn raw(&self) -> &sys::rd_kafka_message_t {
        // SAFETY: the event, which we own, owns the message.
        unsafe { self.message.as_ref() }
    }

    pub(crate) fn topic(&self) -> &[u8] {
        unsafe { CStr::from_ptr(sys::rd_kafka_topic_name(self.raw().rkt)) }.to_bytes()
    }

    pub(crate) fn partition(&self) -> i32 {
        self.raw().partition
    }

    pub(crate) fn offset(&self) -> i64 {
        self.raw().offset
    }

    /// Returns milliseconds since the Unix epoch; −1 if the record has no timestamp.
    pub(crate) fn timestamp(&self) -> i64 {
        unsafe { sys::rd_kafka_message_timestamp(self.message.as_ptr(), ptr::null_mut()) }
    }

    pub(crate) fn key(&self) -> Option<&[u8]> {
        unsafe { bytes(self.raw().key, self.raw().key_len) }
    }

    pub(crate) fn value(&self) -> Option<&[u8]> {
        unsafe { bytes(self.raw().payload, self.raw().len) }
    }

    /// Calls `f` with each header's name and value, in order; the value may be null.
    pub(crate) fn for_each_header(&self, mut f: impl FnMut(&[u8], Option<&[u8]>)) {
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
            f(name, unsafe { bytes(value, len) });
        }
    }
}
