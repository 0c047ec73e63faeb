//! Ranges of the raw topic, read without a consumer group: nothing is joined, nothing committed, and
//! the live roles do not notice.
//!
//! The ends are fixed when the ranges are made, so reading ends though the topic grows. Each
//! partition is read by a thread of its own into a bounded queue; what is full is not filled further.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use domain::record::RawRecord;
use kafka::Quiet;
use kafka::topic::{self, Topic};
use rdkafka::consumer::base_consumer::PartitionQueue;
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::{ClientContext, Offset, TopicPartitionList};
use tokio::sync::mpsc;

use super::filter::Moment;
use super::{Chunk, Chunks, Range, ReadError, SKEW_MS};
use crate::fault::{Fault, insist};
use crate::feed::{copy, log_ends};

/// The name in logs and metrics.
const ROLE: &str = "topic-reader";
/// librdkafka wants a name of a group to be assigned partitions at all. It is never joined.
const GROUP: &str = "reconciler.source";
/// Time for one question to the brokers.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// How often the brokers are asked something: for about half a minute.
const MAX_ATTEMPTS: u32 = 6;
/// Records, and bytes, of one chunk.
const CHUNK_RECORDS: usize = 500;
const CHUNK_BYTES: usize = 1024 * 1024;
/// KiB that librdkafka fetches ahead per partition.
const PREFETCH_KIB: &str = "4096";
/// Longest wait for a record before it is seen whether anybody still waits for it.
const POLL: Duration = Duration::from_millis(250);
/// Silence after which reading is given up.
const SILENCE: Duration = Duration::from_mins(2);

/// A part of a partition, as a person names it: `P`, `P:FROM..TO`, `P:FROM..`, `P:..TO`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) partition: i32,
    pub(crate) from: Option<i64>,
    pub(crate) to: Option<i64>,
}

impl Part {
    /// All of a partition.
    pub(crate) fn whole(partition: i32) -> Self {
        Self { partition, from: None, to: None }
    }

    pub(crate) fn partition(&self) -> i32 {
        self.partition
    }
}

impl FromStr for Part {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const SHAPE: &str =
            "is not PARTITION:FROM..TO; FROM and TO may be left out, TO is not read";
        let (partition, offsets) = text.split_once(':').unwrap_or((text, ".."));
        let (from, to) = offsets.split_once("..").ok_or(SHAPE)?;
        let offset = |text: &str| match text {
            "" => Ok(None),
            text => text.parse().map(Some).map_err(|_| SHAPE),
        };
        let part = Self {
            partition: partition.parse().map_err(|_| SHAPE)?,
            from: offset(from)?,
            to: offset(to)?,
        };
        let is_negative = |offset: Option<i64>| offset.is_some_and(i64::is_negative);
        if part.partition < 0 || is_negative(part.from) || is_negative(part.to) {
            return Err(SHAPE);
        }
        Ok(part)
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |offset: Option<i64>| offset.map_or_else(String::new, |it| it.to_string());
        write!(f, "{}:{}..{}", self.partition, text(self.from), text(self.to))
    }
}

/// A range that the log does not hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum OutOfLog {
    /// The topic has fewer partitions.
    #[error("partition {partition} is not one of the topic's {has}")]
    NoPartition { partition: i32, has: i32 },
    /// Retention has deleted the first records of it.
    #[error(
        "partition {partition}: the range begins at offset {from}, but the log begins at {low}: \
         retention has deleted what is before. The archive has it: `reconciler replay archive`"
    )]
    Deleted { partition: i32, from: i64, low: i64 },
    /// Retention has deleted records that may be of the time that was asked for.
    #[error(
        "partition {partition}: retention has deleted every record before offset {low}, and the \
         first that is left came after {from}. The archive has what was between: `reconciler \
         replay archive`"
    )]
    DeletedSince { partition: i32, from: Moment, low: i64 },
    /// The range ends behind the log.
    #[error("partition {partition}: the range ends at offset {to}, but the log ends at {high}")]
    Beyond { partition: i32, to: i64, high: i64 },
    /// It ends before it begins.
    #[error("partition {partition}: the range ends at {to}, before it begins at {from}")]
    Backwards { partition: i32, from: i64, to: i64 },
}

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

/// What of a part is there. `since` is the time asked for and the first offset of it or later.
fn range(
    part: &Part,
    (low, high): (i64, i64),
    since: Option<(Moment, i64)>,
    until: Option<i64>,
) -> Result<Range, OutOfLog> {
    let partition = part.partition;
    if let Some(from) = part.from.filter(|from| *from < low) {
        return Err(OutOfLog::Deleted { partition, from, low });
    }
    if let Some(to) = part.to.filter(|to| *to > high) {
        return Err(OutOfLog::Beyond { partition, to, high });
    }
    // What came at that time or later may have begun before the log does.
    if let (None, Some((from, offset))) = (part.from, since)
        && offset <= low
        && low > 0
    {
        return Err(OutOfLog::DeletedSince { partition, from, low });
    }
    let from = part.from.unwrap_or(low);
    let to = part.to.unwrap_or(high);
    if to < from {
        return Err(OutOfLog::Backwards { partition, from, to });
    }
    let from = since.map_or(from, |(_, offset)| offset.max(from)).min(to);
    let to = until.map_or(to, |offset| offset.min(to)).max(from);
    Ok(Range { partition, from, to })
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

/// Reads one range.
struct Reader {
    range: Range,
    next: i64,
    queue: PartitionQueue<Silent>,
    send: mpsc::Sender<Result<Chunk, ReadError>>,
}

/// What polling came to.
enum Polled {
    More,
    Nothing,
    End,
}

impl Reader {
    fn run(mut self) {
        let mut heard = Instant::now();
        loop {
            let mut records = Vec::new();
            let mut bytes = 0;
            let mut polled = Polled::More;
            while records.len() < CHUNK_RECORDS && bytes < CHUNK_BYTES {
                polled = match self.poll(&mut records) {
                    Ok(polled) => polled,
                    Err(fault) => return drop(self.send.blocking_send(Err(fault.into()))),
                };
                match polled {
                    Polled::More => {
                        bytes += records.last().map_or(0, RawRecord::size);
                    }
                    Polled::Nothing | Polled::End => break,
                }
            }
            let is_end = matches!(polled, Polled::End);
            if !records.is_empty() || is_end {
                heard = Instant::now();
                let next_offset = if is_end { self.range.to } else { self.next };
                let chunk = Chunk { records, erased: 0, next_offset, room: None };
                if self.send.blocking_send(Ok(chunk)).is_err() || is_end {
                    return;
                }
            } else if self.send.is_closed() {
                return;
            } else if heard.elapsed() > SILENCE {
                let silence = format!("Kafka has sent nothing for {} s", SILENCE.as_secs());
                let fault = Fault::halt("reading the topic", silence);
                return drop(self.send.blocking_send(Err(fault.into())));
            }
        }
    }

    fn poll(&mut self, records: &mut Vec<RawRecord>) -> Result<Polled, Fault> {
        if self.next >= self.range.to {
            return Ok(Polled::End);
        }
        match self.queue.poll(POLL) {
            None => Ok(Polled::Nothing),
            Some(Ok(message)) if message_offset(&message) >= self.range.to => Ok(Polled::End),
            Some(Ok(message)) => {
                self.next = message_offset(&message) + 1;
                records.push(copy(&message));
                Ok(Polled::More)
            }
            // The ends were fixed before: all that is in the range has come.
            Some(Err(KafkaError::PartitionEOF(_))) => Ok(Polled::End),
            Some(Err(error)) => self.heed(&error).map(|()| Polled::Nothing),
        }
    }

    fn heed(&self, error: &KafkaError) -> Result<(), Fault> {
        match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::AutoOffsetReset | RDKafkaErrorCode::OffsetOutOfRange) => {
                let (partition, from) = (self.range.partition, self.next);
                let said = format!(
                    "partition {partition}: retention has deleted offset {from} while the range was \
                     read. The archive has it: `reconciler replay archive`"
                );
                Err(Fault::halt("reading the topic", said))
            }
            Some(RDKafkaErrorCode::Fatal) => {
                Err(Fault::halt("reading the topic", error.to_string()))
            }
            // librdkafka goes on by itself.
            _ => {
                tracing::debug!(role = ROLE, %error, "consuming");
                Ok(())
            }
        }
    }
}

fn message_offset(message: &rdkafka::message::BorrowedMessage<'_>) -> i64 {
    rdkafka::Message::offset(message)
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

#[cfg(test)]
mod tests {
    use super::*;

    fn part(text: &str) -> Part {
        text.parse().unwrap()
    }

    #[test]
    fn parts_are_read_and_written() {
        assert_eq!(part("3"), Part { partition: 3, from: None, to: None });
        assert_eq!(part("3:5..9"), Part { partition: 3, from: Some(5), to: Some(9) });
        for text in ["0:..", "0:5..", "0:..9", "11:5..9"] {
            assert_eq!(part(text).to_string(), text);
        }
        for text in ["", "x", "0:5", "0:a..", "-1:..", "0:-5..", "0:5..-1", "0:5...9"] {
            assert!(text.parse::<Part>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_range_is_what_the_log_holds_of_it() {
        let of = |text, since, until| {
            let range = range(&part(text), (10, 50), since, until)?;
            Ok::<_, OutOfLog>((range.from, range.to))
        };
        let since = |offset| Some((Moment(7), offset));
        assert_eq!(of("0", None, None), Ok((10, 50)));
        assert_eq!(of("0:20..30", None, None), Ok((20, 30)));
        assert_eq!(of("0:..30", since(20), None), Ok((20, 30)));
        assert_eq!(of("0", since(20), Some(40)), Ok((20, 40)));
        assert_eq!(of("0", since(50), None), Ok((50, 50)), "nothing came since");
        assert_eq!(of("0:20..30", since(40), Some(45)), Ok((30, 30)));
        assert_eq!(of("0:20..", since(10), None), Ok((20, 50)), "the offset says enough");
    }

    #[test]
    fn what_the_log_does_not_hold_is_an_error_that_says_where_it_is() {
        let of = |text, since| range(&part(text), (10, 50), since, None).unwrap_err().to_string();
        assert!(of("0:9..", None).contains("begins at 10"));
        assert!(of("0", Some((Moment(0), 10))).contains("after 1970-01-01T00:00:00Z"));
        for text in [of("0:9..", None), of("0", Some((Moment(0), 10)))] {
            assert!(text.contains("`reconciler replay archive`"), "{text}");
        }
        assert!(of("0:..51", None).contains("the log ends at 50"));
        assert!(of("0:30..20", None).contains("before it begins"));
        let whole = range(&part("0"), (0, 50), Some((Moment(0), 0)), None);
        assert_eq!(whole.unwrap().from, 0, "nothing was deleted yet");
    }
}
