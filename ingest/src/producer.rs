//! The Kafka producer: every copy acknowledged, bounded memory, bounded time, and a new producer
//! in place of one that failed fatally or is stuck.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use rdkafka::ClientConfig;
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::metadata::{Metadata, MetadataPartition, MetadataTopic};
use rdkafka::producer::{BaseRecord, Producer as _, ThreadedProducer};
use service::admin::Readiness;
use service::exit::ConfigError;
use tokio::sync::{Notify, oneshot};

use crate::config::Settings;
use crate::deliveries::{Deliveries, classify};
use crate::metrics;
use crate::publish::{Acknowledgement, Publish, PublishError, Record};

/// What holds the process back while there is no producer to use.
const NO_PRODUCER: &str = "no working producer";
/// How long a new producer may take to learn who leads the partitions.
const METADATA_TIMEOUT: Duration = Duration::from_secs(3);
/// Pause between attempts to make a new producer.
const PAUSE: Duration = Duration::from_secs(1);
/// librdkafka counts its own structures into a message's size; this much is left for them.
const FRAMING: usize = 512;

type Client = ThreadedProducer<Deliveries>;

/// The producer that is in use, and what it takes to make the next one.
pub(crate) struct KafkaPublisher {
    current: ArcSwap<Client>,
    config: ClientConfig,
    topic: String,
    delivery_timeout: Duration,
    trouble: Arc<Notify>,
}

impl KafkaPublisher {
    /// Makes the first producer; connects in the background.
    pub(crate) fn new(settings: &Settings) -> Result<Self, ConfigError> {
        let config = config(settings)?;
        let trouble = Arc::new(Notify::new());
        let delivery_timeout = settings.kafka_delivery_timeout;
        let first =
            create(&config, &trouble, delivery_timeout).map_err(|error| kafka::refused(&error))?;
        let topic = settings.kafka.kafka_topic.clone();
        let current = ArcSwap::from_pointee(first);
        Ok(Self { current, config, topic, delivery_timeout, trouble })
    }

    /// Whether a producer can be made of these settings: librdkafka judges some of them, and reads
    /// the files that they name, only then. Without brokers it opens nothing.
    pub(crate) fn check(settings: &Settings) -> Result<(), ConfigError> {
        let config = kafka::without_brokers(&config(settings)?);
        create(&config, &Arc::new(Notify::new()), settings.kafka_delivery_timeout)
            .map(drop)
            .map_err(|error| kafka::refused(&error))
    }

    /// Replaces a producer that failed fatally or is stuck; runs as long as the process does.
    pub(crate) async fn keep_working(self: Arc<Self>, readiness: Readiness) {
        loop {
            self.trouble.notified().await;
            let current = self.current.load_full();
            // Most errors are neither, and one may still be heard of a producer that is gone.
            let (next, cause) = if let Some((code, reason)) = current.client().fatal_error() {
                tracing::error!(?code, reason, "the producer failed fatally and is replaced");
                readiness.hold(NO_PRODUCER);
                (self.create().await, "fatal")
            } else if !current.client().context().stalled().is_empty() {
                match self.create_if_stuck(&current).await {
                    Some(next) => (next, "stuck"),
                    None => continue,
                }
            } else {
                continue;
            };
            self.current.store(Arc::new(next));
            metrics::PRODUCER_REPLACEMENTS.with([cause]).increment(1);
            readiness.release(NO_PRODUCER);
            // What it still can deliver it should; then dropping waits for its thread.
            let patience = self.delivery_timeout;
            tokio::task::spawn_blocking(move || current.flush(patience));
        }
    }

    async fn create(&self) -> Client {
        loop {
            match create(&self.config, &self.trouble, self.delivery_timeout) {
                Ok(next) => return next,
                Err(error) => tracing::error!(%error, "no new producer yet"),
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// A new producer, if it sees a leader where the current one gets nothing acknowledged.
    /// librdkafka (2.12 and later) may lose a partition for good when its leader was away for
    /// a moment; while Kafka really is away a new producer would be no better.
    async fn create_if_stuck(&self, current: &Arc<Client>) -> Option<Client> {
        let next = Arc::new(self.create().await);
        let (asked, topic) = (Arc::clone(&next), self.topic.clone());
        let metadata = tokio::task::spawn_blocking(move || {
            asked.client().fetch_metadata(Some(&topic), METADATA_TIMEOUT)
        })
        .await
        .ok()?;
        let led: BTreeSet<i32> = metadata
            .iter()
            .flat_map(Metadata::topics)
            .flat_map(MetadataTopic::partitions)
            .filter(|partition| partition.leader() >= 0 && partition.error().is_none())
            .map(MetadataPartition::id)
            .collect();
        // It may have recovered by itself meanwhile.
        let stuck: Vec<i32> =
            current.client().context().stalled().intersection(&led).copied().collect();
        if stuck.is_empty() {
            tokio::task::spawn_blocking(move || drop(next));
            tokio::time::sleep(PAUSE).await;
            if !current.client().context().stalled().is_empty() {
                // Look again without waiting for another request to time out.
                self.trouble.notify_one();
            }
            return None;
        }
        tracing::error!(?stuck, "the producer gets nothing acknowledged and is replaced");
        Arc::into_inner(next)
    }

    /// Connects and learns the topic's partitions, so that the first request need not wait for it.
    pub(crate) async fn warm_up(self: &Arc<Self>, timeout: Duration) {
        let this = Arc::clone(self);
        let warm = move || {
            let client = this.current.load_full();
            client.client().fetch_metadata(Some(&this.topic), timeout).map(drop)
        };
        if let Ok(Err(error)) = tokio::task::spawn_blocking(warm).await {
            tracing::warn!(%error, "the producer has not reached Kafka yet");
        }
    }

    /// Waits until every record is acknowledged or given up.
    pub(crate) async fn flush(self: Arc<Self>, timeout: Duration) -> KafkaResult<()> {
        let flush = move || self.current.load_full().flush(timeout);
        tokio::task::spawn_blocking(flush).await.unwrap_or(Err(KafkaError::Canceled))
    }
}

impl Publish for KafkaPublisher {
    fn publish(&self, record: &Record<'_>) -> Result<Acknowledgement, PublishError> {
        let (sender, receiver) = oneshot::channel();
        let mut headers = OwnedHeaders::new_with_capacity(record.headers.len());
        for &(key, value) in &record.headers {
            headers = headers.insert(Header { key, value: Some(value) });
        }
        let record = BaseRecord::with_opaque_to(&self.topic, Box::new(sender))
            .key(record.key)
            .payload(record.body)
            .headers(headers);
        match self.current.load().send(record) {
            Ok(()) => Ok(receiver),
            Err((error, _)) => Err(classify(&error)),
        }
    }
}

/// Every copy acknowledged, and room for whatever may be in flight at once.
fn config(settings: &Settings) -> Result<ClientConfig, ConfigError> {
    let limits = &settings.limits;
    let record = settings.record_max_bytes() + FRAMING;
    // Each record with its headers.
    let queue_bytes = limits.ingest_max_in_flight_bytes
        + limits.ingest_max_in_flight * (record - limits.ingest_max_body_bytes);
    let mut config = settings.kafka.producer_config("ingest", settings.kafka_delivery_timeout)?;
    config
        .set("statistics.interval.ms", kafka::metrics::STATISTICS_INTERVAL_MS)
        .set("message.max.bytes", record.max(1000).to_string())
        .set("queue.buffering.max.kbytes", (queue_bytes / 1024 + 1).to_string())
        .set("queue.buffering.max.messages", (2 * limits.ingest_max_in_flight).to_string());
    config.create_native_config().map_err(|error| kafka::refused(&error))?;
    Ok(config)
}

fn create(config: &ClientConfig, trouble: &Arc<Notify>, patience: Duration) -> KafkaResult<Client> {
    config.create_with_context(Deliveries::new(Arc::clone(trouble), patience))
}

#[cfg(test)]
#[path = "producer_tests.rs"]
mod tests;
