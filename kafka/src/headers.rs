//! The headers of a message, whatever their names are. rdkafka reads a name as UTF-8 and panics on
//! one that is not. Anybody who may write to a topic can write such a name: it must neither end a
//! process nor be lost.
#![allow(unsafe_code)]

use std::ffi::CStr;
use std::{ptr, slice};

use rdkafka::bindings as sys;
use rdkafka::message::BorrowedMessage;

/// Name and value of each header, in their order, as the producer wrote them; a name ends before
/// its first NUL, where librdkafka ends it. `None` is Kafka's null.
pub fn headers<'a>(message: &'a BorrowedMessage<'_>) -> Vec<(&'a [u8], Option<&'a [u8]>)> {
    let no_error = sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR;
    let mut found = Vec::new();
    // SAFETY: the message is valid as long as `message` is borrowed, and owns its headers and all
    // that they lend: NUL-ended names, and values with their lengths. librdkafka parses the headers
    // at the first call and keeps them; only one thread can hold a borrowed message.
    unsafe {
        let mut headers = ptr::null_mut();
        if sys::rd_kafka_message_headers(message.ptr(), &raw mut headers) != no_error {
            return found;
        }
        for index in 0..sys::rd_kafka_header_cnt(headers) {
            let (mut name, mut value, mut size) = (ptr::null(), ptr::null(), 0);
            let got = sys::rd_kafka_header_get_all(
                headers,
                index,
                &raw mut name,
                &raw mut value,
                &raw mut size,
            );
            if got != no_error {
                break;
            }
            let bytes = (!value.is_null()).then(|| slice::from_raw_parts(value.cast(), size));
            found.push((CStr::from_ptr(name).to_bytes(), bytes));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use std::ffi::c_int;
    use std::time::Duration;

    use rdkafka::consumer::{BaseConsumer, Consumer as _};
    use rdkafka::mocking::MockCluster;
    use rdkafka::producer::{BaseProducer, Producer as _};
    use rdkafka::{ClientConfig, Offset, TopicPartitionList};

    use super::*;

    /// Produces one record with headers of these names, each with the value `value`; the last one
    /// has none. rdkafka takes UTF-8 only.
    fn produce(producer: &BaseProducer, topic: &CStr, names: [&CStr; 3]) {
        let vtype = |kind: sys::rd_kafka_vtype_t| kind as c_int;
        let header = vtype(sys::rd_kafka_vtype_t::RD_KAFKA_VTYPE_HEADER);
        let [first, second, third] = names.map(CStr::as_ptr);
        let value = b"value";
        // SAFETY: each kind is followed by arguments of its own types, and the end is marked.
        // librdkafka copies headers and topic at once.
        let code = unsafe {
            sys::rd_kafka_producev(
                producer.client().native_ptr(),
                vtype(sys::rd_kafka_vtype_t::RD_KAFKA_VTYPE_TOPIC),
                topic.as_ptr(),
                header,
                first,
                value.as_ptr(),
                value.len(),
                header,
                second,
                value.as_ptr(),
                value.len(),
                header,
                third,
                ptr::null::<u8>(),
                0_usize,
                vtype(sys::rd_kafka_vtype_t::RD_KAFKA_VTYPE_END),
            )
        };
        assert_eq!(code, sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR);
        producer.flush(Duration::from_secs(20)).unwrap();
    }

    #[test]
    fn a_name_that_is_not_utf8_comes_as_it_is_and_so_does_its_value() {
        let cluster = MockCluster::new(1).unwrap();
        cluster.create_topic("t", 1, 1).unwrap();
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", cluster.bootstrap_servers()).set("group.id", "g");
        produce(&config.create().unwrap(), c"t", [c"plain", c"\xff\xfe", c"no value"]);

        let consumer: BaseConsumer = config.create().unwrap();
        let mut from = TopicPartitionList::new();
        from.add_partition_offset("t", 0, Offset::Beginning).unwrap();
        consumer.assign(&from).unwrap();
        let message = consumer.poll(Duration::from_secs(20)).unwrap().unwrap();
        let value = Some(b"value".as_slice());
        let expected: [(&[u8], _); 3] =
            [(b"plain", value), (b"\xff\xfe", value), (b"no value", None)];
        assert_eq!(headers(&message), expected);
    }
}
