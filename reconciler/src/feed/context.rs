//! The consumer's callbacks, and the copy of a message into our own record.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use domain::record::RawRecord;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Message as _};
use rdkafka::statistics::Statistics;
use rdkafka::topic_partition_list::TopicPartitionListElem;
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{ClientContext, TopicPartitionList};

use super::reader::{Command, Commands};

/// How the name of a header begins whose own name is not UTF-8; that follows, in base64.
const UNREADABLE_HEADER: &str = "unreadable-header-name:";

pub(super) struct Context {
    pub(super) role: &'static str,
    pub(super) topic: String,
    pub(super) commands: Commands,
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        let role = self.role;
        match level {
            // Commits are for display only.
            _ if facility == "COMMITFAIL" => tracing::debug!(role, facility, "kafka: {message}"),
            RDKafkaLogLevel::Emerg
            | RDKafkaLogLevel::Alert
            | RDKafkaLogLevel::Critical
            | RDKafkaLogLevel::Error
            | RDKafkaLogLevel::Warning => tracing::warn!(role, facility, "kafka: {message}"),
            _ => tracing::debug!(role, facility, "kafka: {message}"),
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        // librdkafka has logged it already.
        tracing::debug!(role = self.role, %error, "kafka: {reason}");
        metrics::counter!("reconciler_kafka_errors_total", "role" => self.role).increment(1);
    }

    fn stats(&self, statistics: Statistics) {
        let Some(topic) = statistics.topics.get(&self.topic) else { return };
        let ends = topic
            .partitions
            .values()
            .filter(|partition| partition.partition >= 0 && partition.hi_offset >= 0)
            .map(|partition| (partition.partition, partition.hi_offset))
            .collect();
        self.commands.send(Command::LogEnds(ends));
    }
}

impl ConsumerContext for Context {
    /// Runs inside `poll`, on the reader's thread. Both answers are given at once; what is to be
    /// read follows when the positions are loaded.
    fn rebalance(
        &self,
        consumer: &BaseConsumer<Self>,
        what: RDKafkaRespErr,
        partitions: &mut TopicPartitionList,
    ) {
        let answer = if what == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS {
            let partitions =
                partitions.elements().iter().map(TopicPartitionListElem::partition).collect();
            self.commands.send(Command::Assigned(partitions));
            consumer.assign(&TopicPartitionList::new())
        } else {
            self.commands.send(Command::Revoked);
            consumer.unassign()
        };
        if let Err(error) = answer {
            tracing::warn!(role = self.role, %error, "answering a rebalance");
        }
    }
}

/// Of a consumer that is only made to see whether it can be made: what it says is of no use.
pub(super) struct Silent;

impl ClientContext for Silent {
    fn log(&self, _: RDKafkaLogLevel, _: &str, _: &str) {}
    fn error(&self, _: KafkaError, _: &str) {}
}

impl ConsumerContext for Silent {}

/// Copies a message out of librdkafka's memory.
pub(crate) fn copy(message: &BorrowedMessage<'_>) -> RawRecord {
    RawRecord {
        partition: message.partition(),
        offset: message.offset(),
        timestamp_ms: message.timestamp().to_millis().unwrap_or(-1),
        key: message.key().map(Bytes::copy_from_slice),
        headers: headers(message),
        value: message.payload().map(Bytes::copy_from_slice),
    }
}

fn headers(message: &BorrowedMessage<'_>) -> Vec<(String, Option<Bytes>)> {
    let headers = kafka::headers(message).into_iter();
    headers.map(|(name, value)| (header_name(name), value.map(Bytes::copy_from_slice))).collect()
}

fn header_name(name: &[u8]) -> String {
    match std::str::from_utf8(name) {
        Ok(name) => name.to_owned(),
        Err(_) => format!("{UNREADABLE_HEADER}{}", STANDARD.encode(name)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_is_not_utf8_is_marked_and_kept() {
        assert_eq!(header_name("größe".as_bytes()), "größe");
        assert_eq!(header_name(b"\xff\xfe"), "unreadable-header-name://4=");
    }
}
