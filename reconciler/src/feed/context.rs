//! The consumer's callbacks, and the copy of a message into our own record.

use std::panic::{AssertUnwindSafe, catch_unwind};

use bytes::Bytes;
use domain::record::RawRecord;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Headers as _, Message as _};
use rdkafka::statistics::Statistics;
use rdkafka::topic_partition_list::TopicPartitionListElem;
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{ClientContext, TopicPartitionList};

use super::reader::{Command, Commands};

/// Name of a header whose name cannot be read.
const UNREADABLE_HEADER: &str = "unreadable-header-name";

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

/// Copies a message out of librdkafka's memory.
pub(super) fn copy(message: &BorrowedMessage<'_>) -> RawRecord {
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
    let Some(headers) = message.headers() else { return Vec::new() };
    (0..headers.count())
        .map(|index| {
            // rdkafka panics on a name that is not UTF-8. Anybody who may write to the topic can
            // write such a name, and must not be able to end this process with it.
            catch_unwind(AssertUnwindSafe(|| {
                let header = headers.get(index);
                (header.key.to_owned(), header.value.map(Bytes::copy_from_slice))
            }))
            .unwrap_or_else(|_| (UNREADABLE_HEADER.to_owned(), None))
        })
        .collect()
}
