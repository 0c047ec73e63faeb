//! What a producer reports on its own thread: acknowledgements, failures and the lack of both.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use kafka::metrics::Meter;
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Message as _;
use rdkafka::producer::{DeliveryResult, ProducerContext};
use rdkafka::statistics::Statistics;
use tokio::sync::{Notify, oneshot};

use crate::publish::PublishError;

/// Hands each record's verdict to whoever waits for it, and remembers which partitions acknowledge
/// nothing any more.
pub(crate) struct Deliveries {
    /// Told of every error and every stalled partition; whether to act is the listener's business.
    trouble: Arc<Notify>,
    /// How long a partition may go without an acknowledgement before a time-out means a stall.
    patience: Duration,
    progress: Mutex<Progress>,
    /// Whether Kafka was last known to be out of reach, so that an outage is two lines.
    down: AtomicBool,
    meter: Meter,
}

struct Progress {
    since: Instant,
    acknowledged: HashMap<i32, Instant>,
    stalled: BTreeSet<i32>,
}

impl Deliveries {
    pub(crate) fn new(trouble: Arc<Notify>, patience: Duration) -> Self {
        let progress = Progress {
            since: Instant::now(),
            acknowledged: HashMap::new(),
            stalled: BTreeSet::new(),
        };
        Self {
            trouble,
            patience,
            progress: Mutex::new(progress),
            down: AtomicBool::new(false),
            meter: Meter::new("ingest"),
        }
    }

    /// Partitions whose records time out and that acknowledge none.
    pub(crate) fn stalled(&self) -> BTreeSet<i32> {
        self.progress().stalled.clone()
    }

    fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn acknowledged(&self, partition: i32) {
        let mut progress = self.progress();
        progress.acknowledged.insert(partition, Instant::now());
        progress.stalled.remove(&partition);
        drop(progress);
        if self.down.load(Ordering::Relaxed) {
            self.down.store(false, Ordering::Relaxed);
            tracing::info!("Kafka acknowledges again");
        }
    }

    fn timed_out(&self, partition: i32) {
        let mut progress = self.progress();
        let last = *progress.acknowledged.get(&partition).unwrap_or(&progress.since);
        if last.elapsed() >= self.patience {
            progress.stalled.insert(partition);
            self.trouble.notify_one();
        }
    }
}

impl ClientContext for Deliveries {
    fn log(&self, _: RDKafkaLogLevel, facility: &str, message: &str) {
        tracing::debug!(facility, message, "librdkafka");
    }

    fn error(&self, error: KafkaError, reason: &str) {
        // A fatal error comes under its cause's name, so only the producer knows that it is one.
        self.trouble.notify_one();
        self.meter.error();
        if error.rdkafka_error_code() != Some(RDKafkaErrorCode::AllBrokersDown) {
            // librdkafka recovers from these; requests that suffer are logged as such.
            tracing::debug!(%error, reason, "librdkafka");
        } else if !self.down.swap(true, Ordering::Relaxed) {
            tracing::error!(reason, "Kafka is out of reach");
        }
    }

    fn stats(&self, statistics: Statistics) {
        self.meter.observe(&statistics);
    }
}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = Box<oneshot::Sender<Result<(), PublishError>>>;

    fn delivery(&self, result: &DeliveryResult<'_>, sender: Self::DeliveryOpaque) {
        let verdict = match result {
            Ok(message) => {
                self.acknowledged(message.partition());
                Ok(())
            }
            Err((error, message)) => {
                let error = classify(error);
                if error == PublishError::TimedOut {
                    self.timed_out(message.partition());
                }
                Err(error)
            }
        };
        // Whoever waited may have given up; what was not acknowledged in time is sent again.
        let _ = sender.send(verdict);
    }
}

/// What an error of the producer means for a record.
pub(crate) fn classify(error: &KafkaError) -> PublishError {
    match error.rdkafka_error_code() {
        Some(RDKafkaErrorCode::QueueFull) => PublishError::QueueFull,
        Some(RDKafkaErrorCode::MessageSizeTooLarge | RDKafkaErrorCode::InvalidMessageSize) => {
            PublishError::TooLarge
        }
        Some(RDKafkaErrorCode::MessageTimedOut) => PublishError::TimedOut,
        Some(
            RDKafkaErrorCode::Fatal
            | RDKafkaErrorCode::PurgeQueue
            | RDKafkaErrorCode::PurgeInflight,
        ) => PublishError::Fatal,
        _ => PublishError::Rejected(error.to_string()),
    }
}
