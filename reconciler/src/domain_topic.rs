//! The sink `kafka`: a topic of domain events, keyed by subject.
//!
//! Each record is a CloudEvent in structured mode: the event as JSON is the value, and a header
//! tells its media type (CloudEvents Kafka protocol binding 1.0.2, section 3.3).

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures::future::join_all;
use kafka::metrics::{Metered, STATISTICS_INTERVAL_MS};
use kafka::topic::Topic;
use rdkafka::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord, Producer as _};
use service::exit::ConfigError;

use crate::fault::Fault;
use crate::metrics;
use crate::publish::{BATCH_BYTES, BATCH_RECORDS, Event, EventStream, RECORD_BYTES, Refusal};

/// The media type of a CloudEvent in JSON (CloudEvents JSON format 1.0.2, section 3).
const CONTENT_TYPE: Header<'static, &str> =
    Header { key: "content-type", value: Some("application/cloudevents+json") };
/// Room for key, header and Kafka's own framing beside the largest event. With it a topic's default
/// limit of 1,048,588 bytes will do.
const ENVELOPE_BYTES: usize = 16 * 1024;
/// What the topic's `max.message.bytes` must be at least.
pub(crate) const NEED_BYTES: usize = RECORD_BYTES + ENVELOPE_BYTES;
/// How long a record may wait for its acknowledgement. With the time that a report takes on top it
/// must be less than a call may take.
const DELIVERY_TIMEOUT: Duration = Duration::from_secs(10);

type Client = FutureProducer<Metered>;

/// The topic, and the producer that is in use.
pub(crate) struct DomainTopic {
    name: String,
    config: ClientConfig,
    producer: Mutex<Option<Client>>,
}

impl DomainTopic {
    /// Connects in the background. `topic` has been checked with [`NEED_BYTES`].
    pub(crate) fn open(kafka: &kafka::Options, topic: &Topic) -> Result<Self, ConfigError> {
        let config = config(kafka)?;
        Ok(Self { name: topic.name.clone(), config, producer: Mutex::default() })
    }

    /// The producer in use, else a new one.
    fn producer(&self) -> Result<Client, Fault> {
        let mut current = self.producer.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(producer) = &*current {
            return Ok(producer.clone());
        }
        let made: Client = self
            .config
            .create_with_context(Metered::new("publish"))
            .map_err(|error| Fault::kafka("making a producer of domain events", error))?;
        Ok(current.insert(made).clone())
    }

    /// Lets go of a producer that failed fatally, or that timed out: librdkafka (2.12 and later) may
    /// lose a partition for good when its leader was away for a moment. The next call makes another.
    fn replace(&self) {
        let old = self.producer.lock().unwrap_or_else(PoisonError::into_inner).take();
        metrics::PRODUCER_REPLACEMENTS.only().increment(1);
        // Dropping it waits for its thread.
        tokio::task::spawn_blocking(move || drop(old));
    }
}

impl EventStream for DomainTopic {
    async fn put(&self, events: &[Event<'_>]) -> Result<Vec<Refusal>, Fault> {
        let producer = self.producer()?;
        let sent: Vec<_> = events
            .iter()
            .map(|event| {
                let record = FutureRecord::to(&self.name)
                    .key(event.subject)
                    .payload(event.payload)
                    .headers(OwnedHeaders::new().insert(CONTENT_TYPE));
                producer.send_result(record).map_err(|(error, _)| error)
            })
            .collect();
        let reports = sent.into_iter().map(async |sent| match sent?.await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err((error, _))) => Err(error),
            Err(_) => Err(KafkaError::Canceled),
        });
        let mut refusals: Vec<Option<KafkaError>> =
            join_all(reports).await.into_iter().map(Result::err).collect();
        let failed = refusals.iter().flatten().any(|error| !is_about_the_record(error));
        if failed || producer.client().fatal_error().is_some() {
            self.replace();
        }
        // Nothing went through, and for no reason of the records' own: an outage, not refusals.
        if refusals.iter().all(|refusal| refusal.as_ref().is_some_and(|e| !is_about_the_record(e)))
            && let Some(error) = refusals.pop().flatten()
        {
            return Err(Fault::kafka("sending to the domain topic", error));
        }
        Ok(refusals.into_iter().map(|refusal| refusal.as_ref().map(code)).collect())
    }
}

/// Whether the broker or the client refuses this record and would take another.
fn is_about_the_record(error: &KafkaError) -> bool {
    matches!(
        error.rdkafka_error_code(),
        Some(
            RDKafkaErrorCode::MessageSizeTooLarge
                | RDKafkaErrorCode::InvalidMessageSize
                | RDKafkaErrorCode::InvalidMessage
                | RDKafkaErrorCode::InvalidRecord
        )
    )
}

fn code(error: &KafkaError) -> String {
    error.rdkafka_error_code().map_or_else(|| error.to_string(), |code| format!("{code:?}"))
}

/// Every copy acknowledged, and room for one call.
fn config(kafka: &kafka::Options) -> Result<ClientConfig, ConfigError> {
    let mut config = kafka.producer_config("reconciler", DELIVERY_TIMEOUT)?;
    config
        .set("statistics.interval.ms", STATISTICS_INTERVAL_MS)
        .set("message.max.bytes", NEED_BYTES.to_string())
        // A batch larger than what the topic must take would be refused whole.
        .set("batch.size", (RECORD_BYTES / 2).to_string())
        // One call is in flight at a time, keys and headers on top.
        .set("queue.buffering.max.kbytes", (4 * BATCH_BYTES / 1024).to_string())
        .set("queue.buffering.max.messages", (2 * BATCH_RECORDS).to_string());
    config.create_native_config().map_err(|error| kafka::refused(&error))?;
    Ok(config)
}

#[cfg(test)]
#[path = "domain_topic_tests.rs"]
mod tests;
