//! A topic as Kafka has it.

use crate::stack::Stack;
use anyhow::{Context as _, bail};
use domain::record::RawRecord;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::{Headers as _, Message as _, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord};
use rdkafka::{Offset, TopicPartitionList};
use std::time::{Duration, Instant};
use tokio::task::spawn_blocking;

/// Time for one question.
const TIMEOUT: Duration = Duration::from_secs(20);

/// A topic of a run of its own.
#[derive(Debug, Clone)]
pub struct Topic {
    /// Its name.
    pub name: String,
    brokers: String,
    partitions: i32,
}

impl Topic {
    /// A topic that is yet to be made.
    pub fn new(stack: &Stack, name: &str, partitions: i32) -> Self {
        Self { name: name.to_owned(), brokers: stack.brokers.clone(), partitions }
    }

    /// Makes it like the stack's own.
    pub async fn create(&self) -> anyhow::Result<()> {
        let wanted = NewTopic::new(&self.name, self.partitions, TopicReplication::Fixed(1))
            .set("cleanup.policy", "delete")
            .set("retention.ms", "2592000000")
            .set("max.message.bytes", "4194304");
        let made = self.admin()?.create_topics(&[wanted], &options()).await?;
        if let Some(Err((_, code))) = made.into_iter().next() {
            bail!("making the topic {}: {code}", self.name);
        }
        Ok(())
    }

    /// Deletes it.
    pub async fn delete(&self) -> anyhow::Result<()> {
        self.admin()?.delete_topics(&[&self.name], &options()).await?;
        Ok(())
    }

    /// Deletes a partition's records before an offset, as retention does in time.
    pub async fn delete_before(&self, partition: i32, offset: i64) -> anyhow::Result<()> {
        let mut before = TopicPartitionList::new();
        before.add_partition_offset(&self.name, partition, Offset::Offset(offset))?;
        let deleted = self.admin()?.delete_records(&before, &options()).await?;
        for element in deleted.elements() {
            element.error().with_context(|| format!("deleting records of {}", self.name))?;
        }
        Ok(())
    }

    /// The offset after the last record, for each partition.
    pub async fn ends(&self) -> anyhow::Result<Vec<i64>> {
        let topic = self.clone();
        spawn_blocking(move || topic.ends_now(&topic.consumer()?)).await?
    }

    /// Every record, by partition and offset.
    pub async fn records(&self) -> anyhow::Result<Vec<RawRecord>> {
        let topic = self.clone();
        spawn_blocking(move || topic.records_now()).await?
    }

    /// Writes records as they are; returns each one's partition and offset.
    pub async fn write(
        &self,
        records: impl IntoIterator<Item = (i32, OwnedHeaders, Option<Vec<u8>>)>,
    ) -> anyhow::Result<Vec<(i32, i64)>> {
        let mut config = self.config();
        let config = config.set("message.max.bytes", "20000000").set("linger.ms", "5");
        let producer: FutureProducer = config.create()?;
        let mut written = Vec::new();
        for (partition, headers, value) in records {
            let mut record =
                FutureRecord::<(), Vec<u8>>::to(&self.name).partition(partition).headers(headers);
            record.payload = value.as_ref();
            let sent = producer.send_result(record);
            written.push(sent.map_err(|(error, _)| error)?);
        }
        let mut places = Vec::new();
        for delivery in written {
            let delivered = tokio::time::timeout(TIMEOUT, delivery).await??;
            let delivered = delivered.map_err(|(error, _)| error)?;
            places.push((delivered.partition, delivered.offset));
        }
        Ok(places)
    }

    fn ends_now(&self, consumer: &BaseConsumer) -> anyhow::Result<Vec<i64>> {
        let end = |partition| Ok(consumer.fetch_watermarks(&self.name, partition, TIMEOUT)?.1);
        (0..self.partitions).map(end).collect()
    }

    fn records_now(&self) -> anyhow::Result<Vec<RawRecord>> {
        let consumer = self.consumer()?;
        let ends = self.ends_now(&consumer)?;
        let mut from = TopicPartitionList::new();
        for partition in 0..self.partitions {
            from.add_partition_offset(&self.name, partition, Offset::Beginning)?;
        }
        consumer.assign(&from)?;
        let total: i64 = ends.iter().sum();
        let total = usize::try_from(total)?;
        let mut records = Vec::with_capacity(total);
        let end = Instant::now() + TIMEOUT;
        while records.len() < total {
            if Instant::now() > end {
                bail!("read {} of {total} records of {}", records.len(), self.name);
            }
            let Some(message) = consumer.poll(Duration::from_millis(200)) else { continue };
            records.push(record(&message.context("reading the topic")?));
        }
        records.sort_by_key(|record| (record.partition, record.offset));
        Ok(records)
    }

    fn consumer(&self) -> anyhow::Result<BaseConsumer> {
        let mut config = self.config();
        config.set("group.id", "harness").set("enable.auto.commit", "false");
        Ok(config.create()?)
    }

    fn admin(&self) -> anyhow::Result<AdminClient<DefaultClientContext>> {
        Ok(self.config().create()?)
    }

    fn config(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.brokers);
        config
    }
}

fn options() -> AdminOptions {
    AdminOptions::new().operation_timeout(Some(TIMEOUT)).request_timeout(Some(TIMEOUT))
}

fn record(message: &rdkafka::message::BorrowedMessage<'_>) -> RawRecord {
    let bytes = |value: &[u8]| value.to_vec().into();
    let headers = message.headers().map(|headers| {
        let all = headers.iter();
        all.map(|header| (header.key.to_owned(), header.value.map(bytes))).collect()
    });
    RawRecord {
        partition: message.partition(),
        offset: message.offset(),
        timestamp_ms: message.timestamp().to_millis().unwrap_or(-1),
        key: message.key().map(bytes),
        headers: headers.unwrap_or_default(),
        value: message.payload().map(bytes),
    }
}
