//! Ranges of the raw topic, read without a consumer group: nothing is joined, nothing committed, and
//! the live roles do not notice.
//!
//! The ends are fixed when the ranges are made, so reading ends though the topic grows. Each
//! partition is read by a thread of its own into a bounded queue; what is full is not filled further.

mod range;
mod reader;

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use kafka::Quiet;
use kafka::topic::{self, Topic};
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};
use rdkafka::error::KafkaError;
use rdkafka::{ClientContext, Offset, TopicPartitionList};
use tokio::sync::mpsc;

use self::range::range;
pub(crate) use self::range::{OutOfLog, Part};
use self::reader::Reader;
use super::filter::Moment;
use super::{Chunks, Range, SKEW_MS};
use crate::fault::{Fault, insist};
use crate::feed::log_ends;

/// The name in logs and metrics.
const ROLE: &str = "topic-reader";
/// librdkafka wants a name of a group to be assigned partitions at all. It is never joined.
const GROUP: &str = "reconciler.source";
/// Time for one question to the brokers.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// How often the brokers are asked something: for about half a minute.
const MAX_ATTEMPTS: u32 = 6;
/// KiB that librdkafka fetches ahead per partition.
const PREFETCH_KIB: &str = "4096";
/// Longest wait for a record before it is seen whether anybody still waits for it.
const POLL: Duration = Duration::from_millis(250);

/// Why a topic's ranges are not known.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RangeError {
    /// The log does not hold one.
    #[error(transparent)]
    OutOfLog(#[from] OutOfLog),
    /// Kafka does not answer, or refuses.
    #[error(transparent)]
    Fault(#[from] Fault),
}

/// The raw topic, to be read.
pub(crate) struct Log {
    kafka: kafka::Options,
    topic: Topic,
    /// For questions.
    consumer: Arc<BaseConsumer<Silent>>,
}

impl Log {
    /// Describes the topic.
    pub(crate) async fn open(kafka: &kafka::Options) -> Result<Self, Fault> {
        let describe =
            || async { topic::describe(kafka, ANSWER_TIMEOUT).await.map_err(Fault::topic) };
        let topic = insist(ROLE, MAX_ATTEMPTS, describe).await?;
        Ok(Self { consumer: Arc::new(consumer(kafka)?), kafka: kafka.clone(), topic })
    }

    pub(crate) fn topic(&self) -> &Topic {
        &self.topic
    }

    /// First offset and end of every partition.
    pub(crate) async fn ends(&self) -> Result<BTreeMap<i32, (i64, i64)>, Fault> {
        let consumer = &self.consumer;
        let partitions: Vec<i32> = (0..self.topic.partitions).collect();
        let ends = || log_ends(consumer.clone(), self.topic.name.clone(), partitions.clone());
        insist(ROLE, MAX_ATTEMPTS, ends).await
    }

    /// What of these parts, all partitions if there are none, came within these times: as it is now.
    /// What comes later is not in it. Without times or offsets: from the log's first record on.
    pub(crate) async fn ranges(
        &self,
        parts: &[Part],
        from: Option<Moment>,
        to: Option<Moment>,
    ) -> Result<Vec<Range>, RangeError> {
        let ends = self.ends().await?;
        let whole = ends.keys().map(|&partition| Part::whole(partition));
        let whole: Vec<Part> = whole.collect();
        let parts = if parts.is_empty() { &whole[..] } else { parts };
        let begun = self.at(from).await?;
        let ended = self.at(to.map(|to| Moment(to.0.saturating_add(SKEW_MS)))).await?;
        let range = |part: &Part| {
            let partition = part.partition;
            let has = self.topic.partitions;
            let &ends = ends.get(&partition).ok_or(OutOfLog::NoPartition { partition, has })?;
            let since = from.map(|from| (from, begun.get(&partition).copied().unwrap_or(ends.1)));
            let until = to.and_then(|_| ended.get(&partition).copied());
            range(part, ends, since, until)
        };
        Ok(parts.iter().map(range).collect::<Result<_, OutOfLog>>()?)
    }

    /// By partition, the first offset of this time or later; absent where there is none.
    async fn at(&self, moment: Option<Moment>) -> Result<BTreeMap<i32, i64>, Fault> {
        let Some(moment) = moment else { return Ok(BTreeMap::new()) };
        let doing = "asking Kafka for offsets by time";
        let ask = || {
            let (consumer, name) = (self.consumer.clone(), self.topic.name.clone());
            let partitions = self.topic.partitions;
            async move {
                let asked = tokio::task::spawn_blocking(move || {
                    let mut times = TopicPartitionList::new();
                    for partition in 0..partitions {
                        let time = Offset::Offset(moment.0.max(0));
                        times.add_partition_offset(&name, partition, time)?;
                    }
                    consumer.offsets_for_times(times, ANSWER_TIMEOUT)
                });
                let found = asked.await.map_err(|error| Fault::retry(doing, error))?;
                found.map_err(|error| Fault::kafka(doing, error))
            }
        };
        let found = insist(ROLE, MAX_ATTEMPTS, ask).await?;
        let mut offsets = BTreeMap::new();
        for element in found.elements() {
            element.error().map_err(|error| Fault::kafka(doing, error))?;
            if let Offset::Offset(offset) = element.offset() {
                offsets.insert(element.partition(), offset);
            }
        }
        Ok(offsets)
    }

    /// Reads ranges, one of a partition at most: a queue of chunks for each. A queue ends after its
    /// range, or after the first fault; dropping it ends the reading.
    pub(crate) fn read(&self, ranges: &[Range]) -> Result<Vec<(Range, Chunks)>, Fault> {
        let doing = "reading ranges of the topic";
        let consumer = Arc::new(consumer(&self.kafka)?);
        let mut list = TopicPartitionList::new();
        let mut readers = Vec::new();
        let mut queues = Vec::new();
        for &range in ranges {
            let queue = consumer.split_partition_queue(&self.topic.name, range.partition);
            let queue =
                queue.ok_or_else(|| Fault::halt(doing, "librdkafka has no queue for it"))?;
            let from = Offset::Offset(range.from);
            list.add_partition_offset(&self.topic.name, range.partition, from)
                .map_err(|error| Fault::kafka(doing, error))?;
            let (send, receive) = mpsc::channel(2);
            readers.push(Reader { range, next: range.from, queue, send });
            queues.push((range, receive));
        }
        consumer.assign(&list).map_err(|error| Fault::kafka(doing, error))?;
        let events = Arc::downgrade(&consumer);
        drop(consumer);
        spawn("source-events".to_owned(), move || serve(&events))?;
        for reader in readers {
            spawn(format!("source-{}", reader.range.partition), move || reader.run())?;
        }
        Ok(queues)
    }
}

fn consumer(kafka: &kafka::Options) -> Result<BaseConsumer<Silent>, Fault> {
    let config = kafka.client_config();
    let mut config = config.map_err(|error| Fault::halt("configuring Kafka", error))?;
    config
        .set("group.id", GROUP)
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("auto.offset.reset", "error")
        // A range may end in offsets that hold no record.
        .set("enable.partition.eof", "true")
        .set("queued.max.messages.kbytes", PREFETCH_KIB)
        .set("fetch.queue.backoff.ms", "20")
        .set("fetch.wait.max.ms", "100")
        .set("check.crcs", "true")
        .set("reconnect.backoff.max.ms", "2000");
    config.create_with_context(Silent).map_err(|error| Fault::kafka("connecting to Kafka", error))
}

/// Answers librdkafka's events as long as there are readers.
fn serve(consumer: &Weak<BaseConsumer<Silent>>) {
    while let Some(consumer) = consumer.upgrade() {
        if let Some(Err(error)) = consumer.poll(POLL) {
            tracing::debug!(role = ROLE, %error, "consuming");
        }
    }
}

fn spawn(name: String, work: impl FnOnce() + Send + 'static) -> Result<(), Fault> {
    let spawned = std::thread::Builder::new().name(name).spawn(work);
    spawned.map(drop).map_err(|error| Fault::halt("starting a thread", error))
}

/// The context of the consumer: whoever reads reports what fails.
struct Silent;

impl ClientContext for Silent {
    fn log(&self, level: rdkafka::config::RDKafkaLogLevel, facility: &str, message: &str) {
        Quiet.log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        Quiet.error(error, reason);
    }
}

impl ConsumerContext for Silent {}
