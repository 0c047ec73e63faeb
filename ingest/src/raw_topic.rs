//! The raw topic must be sound before anything is accepted for it.

use std::time::Duration;

use kafka::topic::{self, TopicError};

use crate::config::Settings;
use crate::metrics;

/// How long each question to the brokers may take.
const ASK: Duration = Duration::from_secs(5);
/// Pause between attempts while Kafka is out of reach.
const PAUSE: Duration = Duration::from_secs(1);
/// One line in so many attempts.
const LOG_EVERY: u32 = 10;

/// Describes and checks the topic, as often as it takes for Kafka to answer. What the topic must
/// not be is an error; what is merely dangerous is a warning and a metric.
pub(crate) async fn wait_until_sound(settings: &Settings) -> Result<(), TopicError> {
    let mut attempt = 0;
    let topic = loop {
        match topic::describe(&settings.kafka, ASK).await {
            Ok(topic) => break topic,
            Err(error) if error.is_transient() => {
                if attempt % LOG_EVERY == 0 {
                    tracing::warn!(%error, "not ready: every request is answered 503 until then");
                }
                attempt += 1;
                tokio::time::sleep(PAUSE).await;
            }
            Err(error) => return Err(error),
        }
    };
    for warning in topic::check(&topic, settings.record_max_bytes() as u64)? {
        tracing::warn!(topic = topic.name, "{warning}");
        metrics::TOPIC_WARNINGS.with([warning.code()]).set(1);
    }
    tracing::info!(?topic, "the topic is sound");
    Ok(())
}
