//! What a topic is like, and whether it will do.

use std::fmt;
use std::time::Duration;

use rdkafka::admin::{AdminClient, AdminOptions, ConfigResource, ResourceSpecifier};
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaErrorCode;
use service::exit::ConfigError;

use crate::describe_topics;
use crate::{Options, refused};

/// Retention below which a stopped reconciler might lose events: 14 days, in milliseconds.
pub const RETENTION_MIN_MS: i64 = 14 * 24 * 60 * 60 * 1000;

/// A topic as its cluster describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topic {
    /// The topic's name.
    pub name: String,
    /// The cluster's id.
    pub cluster_id: String,
    /// The topic's id, base64url as Kafka's tools print it: a topic that was deleted and created
    /// again has another one.
    pub topic_id: String,
    /// How many partitions it has.
    pub partitions: i32,
    /// The smallest replica count among the partitions.
    pub replicas: i32,
    /// `cleanup.policy`: `delete`, `compact` or both.
    pub cleanup_policy: String,
    /// `max.message.bytes`: the largest record batch, compressed.
    pub max_message_bytes: u64,
    /// `retention.ms`; -1 keeps for ever.
    pub retention_ms: i64,
    /// `min.insync.replicas`.
    pub min_insync_replicas: i32,
}

/// Why a topic cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TopicError {
    /// A wrong setting.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// No broker answered in time.
    #[error("Kafka at {brokers} is out of reach: {reason}")]
    Unreachable {
        /// `KAFKA_BROKERS`.
        brokers: String,
        /// What librdkafka says.
        reason: String,
    },
    /// Kafka answered, with an error that asking again does not cure.
    #[error("Kafka refuses to describe the topic {topic}: {reason}")]
    Refused {
        /// The topic's name.
        topic: String,
        /// What the broker says.
        reason: String,
    },
    /// There is no such topic.
    #[error(
        "topic {0} does not exist and this program never makes one: kafka-topics.sh --create \
         --topic {0} --partitions 12 --config cleanup.policy=delete --config \
         retention.ms=2592000000 --config max.message.bytes=4194304 --bootstrap-server \
         $KAFKA_BROKERS"
    )]
    Absent(String),
    /// Compaction would delete events.
    #[error("topic {0} has cleanup.policy={1}: compaction deletes events; set it to delete")]
    Compacted(String, String),
    /// The largest record would not fit.
    #[error(
        "topic {topic} has max.message.bytes={has}: {need} are needed for the largest record, its \
         headers included"
    )]
    TooSmall {
        /// The topic's name.
        topic: String,
        /// Its limit in bytes.
        has: u64,
        /// What is needed, in bytes.
        need: u64,
    },
}

impl TopicError {
    /// Whether asking again later can succeed without anybody changing anything.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Unreachable { .. })
    }
}

/// What is dangerous about a topic but no reason to refuse it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Warning {
    /// Records are deleted sooner than a long outage may last.
    ShortRetention {
        /// `retention.ms`.
        ms: i64,
    },
    /// A record counts as written when one of several replicas has it.
    OneInsyncReplica {
        /// How many replicas there are.
        replicas: i32,
    },
}

impl Warning {
    /// Every stable name.
    pub const CODES: [&'static str; 2] = ["short_retention", "one_insync_replica"];

    /// A stable name, of use as a metric's label.
    pub fn code(self) -> &'static str {
        match self {
            Self::ShortRetention { .. } => "short_retention",
            Self::OneInsyncReplica { .. } => "one_insync_replica",
        }
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ShortRetention { ms } => {
                write!(f, "retention.ms={ms} is less than 14 days ({RETENTION_MIN_MS})")
            }
            Self::OneInsyncReplica { replicas } => {
                write!(
                    f,
                    "min.insync.replicas=1 with {replicas} replicas: one lost disk loses events"
                )
            }
        }
    }
}

/// Asks the cluster for the topic of `options`. `timeout` is for each of the three questions.
pub async fn describe(options: &Options, timeout: Duration) -> Result<Topic, TopicError> {
    let name = options.kafka_topic.clone();
    let brokers = options.kafka_brokers.clone();
    let client: AdminClient<Quiet> =
        options.client_config()?.create_with_context(Quiet).map_err(|error| refused(&error))?;

    let (asked, topic) = (name.clone(), name.clone());
    let answers = tokio::task::spawn_blocking(move || {
        let description = describe_topics::describe(&client, &asked, timeout);
        let cluster = client.inner().fetch_cluster_id(timeout);
        (client, description, cluster)
    });
    let unreachable = |reason: String| TopicError::Unreachable { brokers: brokers.clone(), reason };
    let (client, description, cluster_id) =
        answers.await.map_err(|error| unreachable(error.to_string()))?;
    let classify = |code: RDKafkaErrorCode| match code {
        RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic => {
            TopicError::Absent(topic.clone())
        }
        RDKafkaErrorCode::TopicAuthorizationFailed
        | RDKafkaErrorCode::ClusterAuthorizationFailed
        | RDKafkaErrorCode::InvalidTopic
        | RDKafkaErrorCode::UnsupportedFeature => {
            TopicError::Refused { topic: topic.clone(), reason: code.to_string() }
        }
        other => unreachable(other.to_string()),
    };
    let description = description.map_err(classify)?;
    let cluster_id = cluster_id.ok_or_else(|| unreachable("no cluster id".to_owned()))?;

    let configs = client
        .describe_configs(
            &[ResourceSpecifier::Topic(&name)],
            &AdminOptions::new().request_timeout(Some(timeout)),
        )
        .await
        .map_err(|error| unreachable(error.to_string()))?;
    let config = match configs.into_iter().next() {
        Some(Ok(config)) => config,
        Some(Err(code)) => return Err(classify(code)),
        None => return Err(classify(RDKafkaErrorCode::Fail)),
    };
    // Dropping an admin client joins its thread, which may take a moment.
    tokio::task::spawn_blocking(move || drop(client));

    Ok(Topic {
        partitions: i32::try_from(description.partitions).unwrap_or(i32::MAX),
        replicas: i32::try_from(description.replicas).unwrap_or(i32::MAX),
        topic_id: description.topic_id,
        cluster_id,
        cleanup_policy: entry(&config, &name, "cleanup.policy")?,
        max_message_bytes: entry(&config, &name, "max.message.bytes")?,
        retention_ms: entry(&config, &name, "retention.ms")?,
        min_insync_replicas: entry(&config, &name, "min.insync.replicas")?,
        name,
    })
}

/// The context of a client whose user reports what failed: librdkafka's own lines are for debugging
/// only.
#[derive(Debug, Clone, Copy)]
pub struct Quiet;

impl ClientContext for Quiet {
    fn log(&self, _: RDKafkaLogLevel, facility: &str, message: &str) {
        tracing::debug!(facility, message, "librdkafka");
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(%error, reason, "librdkafka");
    }
}

impl ConsumerContext for Quiet {}

fn entry<T: std::str::FromStr>(
    config: &ConfigResource,
    topic: &str,
    key: &str,
) -> Result<T, TopicError> {
    config.get(key).and_then(|entry| entry.value.as_deref()?.parse().ok()).ok_or_else(|| {
        TopicError::Refused { topic: topic.to_owned(), reason: format!("it does not tell {key}") }
    })
}

/// Whether the topic can hold records of `need_bytes` and keep them; what is dangerous but no
/// reason to refuse comes back as warnings.
pub fn check(topic: &Topic, need_bytes: u64) -> Result<Vec<Warning>, TopicError> {
    if topic.cleanup_policy.split(',').any(|policy| policy.trim() == "compact") {
        return Err(TopicError::Compacted(topic.name.clone(), topic.cleanup_policy.clone()));
    }
    if topic.max_message_bytes < need_bytes {
        return Err(TopicError::TooSmall {
            topic: topic.name.clone(),
            has: topic.max_message_bytes,
            need: need_bytes,
        });
    }
    let mut warnings = Vec::new();
    if (0..RETENTION_MIN_MS).contains(&topic.retention_ms) {
        warnings.push(Warning::ShortRetention { ms: topic.retention_ms });
    }
    if topic.replicas > 1 && topic.min_insync_replicas <= 1 {
        warnings.push(Warning::OneInsyncReplica { replicas: topic.replicas });
    }
    Ok(warnings)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topic() -> Topic {
        Topic {
            name: "t".to_owned(),
            cluster_id: "c".to_owned(),
            topic_id: "i".to_owned(),
            partitions: 12,
            replicas: 3,
            cleanup_policy: "delete".to_owned(),
            max_message_bytes: 2_000_000,
            retention_ms: -1,
            min_insync_replicas: 2,
        }
    }

    #[test]
    fn a_sound_topic_passes_without_a_word() {
        assert_eq!(check(&topic(), 1_500_000), Ok(vec![]));
    }

    #[test]
    fn compaction_and_a_small_limit_are_refused() {
        let compacted = Topic { cleanup_policy: "delete, compact".to_owned(), ..topic() };
        assert!(matches!(check(&compacted, 0), Err(TopicError::Compacted(..))));
        let error = check(&topic(), 2_000_001).unwrap_err();
        assert!(matches!(error, TopicError::TooSmall { has: 2_000_000, need: 2_000_001, .. }));
        assert!(!error.is_transient());
    }

    #[test]
    fn short_retention_and_one_replica_are_warned_of() {
        let short = Topic { retention_ms: RETENTION_MIN_MS - 1, ..topic() };
        assert_eq!(check(&short, 0).unwrap()[0].code(), "short_retention");
        let one = Topic { min_insync_replicas: 1, ..topic() };
        assert_eq!(check(&one, 0), Ok(vec![Warning::OneInsyncReplica { replicas: 3 }]));
        let single = Topic { min_insync_replicas: 1, replicas: 1, ..topic() };
        assert_eq!(check(&single, 0), Ok(vec![]));
    }
}
