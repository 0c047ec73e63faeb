//! A call into librdkafka that rdkafka has no safe function for: `DescribeTopics`, the only way to
//! learn a topic's id.
#![allow(unsafe_code)]

use std::ffi::{CStr, CString, c_int};
use std::ptr;
use std::time::Duration;

use rdkafka::admin::AdminClient;
use rdkafka::bindings as sys;
use rdkafka::types::RDKafkaErrorCode;

use crate::topic::Quiet;

/// What a broker says of a topic.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Description {
    /// Base64url without padding, as Kafka's own tools print it.
    pub(crate) topic_id: String,
    pub(crate) partitions: usize,
    /// The smallest replica count among the partitions.
    pub(crate) replicas: usize,
}

/// Frees a librdkafka object when it goes out of scope.
struct Owned<T>(*mut T, unsafe extern "C" fn(*mut T));

impl<T> Drop for Owned<T> {
    fn drop(&mut self) {
        // SAFETY: the pointer came from the constructor that belongs to this destructor, is not
        // null (checked by `owned`) and is freed here only.
        unsafe { (self.1)(self.0) }
    }
}

fn owned<T>(
    pointer: *mut T,
    destroy: unsafe extern "C" fn(*mut T),
) -> Result<Owned<T>, RDKafkaErrorCode> {
    if pointer.is_null() { Err(RDKafkaErrorCode::Fail) } else { Ok(Owned(pointer, destroy)) }
}

/// Asks for `topic`; blocks up to `timeout`.
pub(crate) fn describe(
    client: &AdminClient<Quiet>,
    topic: &str,
    timeout: Duration,
) -> Result<Description, RDKafkaErrorCode> {
    let name = CString::new(topic).map_err(|_| RDKafkaErrorCode::InvalidTopic)?;
    let timeout_ms = c_int::try_from(timeout.as_millis()).unwrap_or(c_int::MAX);
    let handle = client.inner().native_ptr();
    // SAFETY: `handle` lives as long as `client`, which outlives this function, and so longer than
    // everything made from it below. `name` outlives the collection, which copies it anyway. The
    // result and all it lends (descriptions, ids, partitions) belong to `event` and are read, and
    // copied out, before `event` is dropped. librdkafka gives each array with its length.
    unsafe {
        let mut names = [name.as_ptr()];
        let topics = owned(
            sys::rd_kafka_TopicCollection_of_topic_names(names.as_mut_ptr(), names.len()),
            sys::rd_kafka_TopicCollection_destroy,
        )?;
        let options = owned(
            sys::rd_kafka_AdminOptions_new(
                handle,
                sys::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS,
            ),
            sys::rd_kafka_AdminOptions_destroy,
        )?;
        sys::rd_kafka_AdminOptions_set_request_timeout(options.0, timeout_ms, ptr::null_mut(), 0);
        let queue = owned(sys::rd_kafka_queue_new(handle), sys::rd_kafka_queue_destroy)?;
        sys::rd_kafka_DescribeTopics(handle, topics.0, options.0, queue.0);

        // The request's own timeout answers first; the extra second is for the reply's way here.
        let event = sys::rd_kafka_queue_poll(queue.0, timeout_ms.saturating_add(1000));
        if event.is_null() {
            return Err(RDKafkaErrorCode::OperationTimedOut);
        }
        let event = owned(event, sys::rd_kafka_event_destroy)?;
        ok(sys::rd_kafka_event_error(event.0))?;
        let result = sys::rd_kafka_event_DescribeTopics_result(event.0);
        if result.is_null() {
            return Err(RDKafkaErrorCode::Fail);
        }
        let mut count = 0;
        let descriptions = sys::rd_kafka_DescribeTopics_result_topics(result, &raw mut count);
        if descriptions.is_null() || count != 1 {
            return Err(RDKafkaErrorCode::Fail);
        }
        read(*descriptions)
    }
}

/// # Safety
/// `description` must be valid for the duration of the call.
unsafe fn read(
    description: *const sys::rd_kafka_TopicDescription_t,
) -> Result<Description, RDKafkaErrorCode> {
    // SAFETY: accessors of a valid description; what they lend lives as long as it does, and each
    // array comes with its length.
    unsafe {
        let error = sys::rd_kafka_TopicDescription_error(description);
        if !error.is_null() {
            ok(sys::rd_kafka_error_code(error))?;
        }
        let id = sys::rd_kafka_Uuid_base64str(sys::rd_kafka_TopicDescription_topic_id(description));
        if id.is_null() {
            return Err(RDKafkaErrorCode::Fail);
        }
        let topic_id = base64url(&CStr::from_ptr(id).to_string_lossy());
        let mut count = 0;
        let first = sys::rd_kafka_TopicDescription_partitions(description, &raw mut count);
        let replicas = (0..count).map(|index| {
            let mut replicas = 0;
            sys::rd_kafka_TopicPartitionInfo_replicas(*first.add(index), &raw mut replicas);
            replicas
        });
        Ok(Description { topic_id, partitions: count, replicas: replicas.min().unwrap_or(0) })
    }
}

fn ok(code: sys::rd_kafka_resp_err_t) -> Result<(), RDKafkaErrorCode> {
    if code == sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
        Ok(())
    } else {
        Err(code.into())
    }
}

/// librdkafka writes ids in the standard alphabet, Kafka's tools in the URL-safe one.
fn base64url(standard: &str) -> String {
    standard.trim_end_matches('=').replace('+', "-").replace('/', "_")
}

#[cfg(test)]
mod tests {
    #[test]
    fn ids_are_written_as_kafka_writes_them() {
        assert_eq!(super::base64url("a+b/cQ=="), "a-b_cQ");
    }
}
