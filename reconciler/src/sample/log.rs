//! How far the stored positions lie behind the log, for every partition, whoever has it: a process
//! measures its own partitions better, but what nobody has only shows here.

use std::collections::HashMap;
use std::sync::Arc;

use kafka::topic::{Quiet, Topic};
use rdkafka::consumer::BaseConsumer;
use service::exit::ConfigError;
use sqlx::PgPool;

use crate::database::{acquire, settle, within};
use crate::fault::Fault;
use crate::feed::log_ends;
use crate::metrics::{self, number};

/// The raw topic's log, looked at from outside of any group.
pub(crate) struct Log {
    consumer: Arc<BaseConsumer<Quiet>>,
    topic: Topic,
}

impl Log {
    /// A client that only asks; it connects when it does.
    pub(crate) fn open(kafka: &kafka::Options, topic: &Topic) -> Result<Self, ConfigError> {
        let consumer = kafka
            .client_config()?
            .create_with_context(Quiet)
            .map_err(|error| kafka::refused(&error))?;
        Ok(Self { consumer: Arc::new(consumer), topic: topic.clone() })
    }

    pub(super) async fn show_lag(&self, pool: &PgPool) -> Result<(), Fault> {
        let Topic { name, cluster_id, topic_id, partitions, .. } = &self.topic;
        let mut connection = acquire(pool).await?;
        let query = sqlx::query_as(
            "select role, partition, next_offset from pay.position
             where cluster = $1 and topic_id = $2",
        );
        let query = query.bind(cluster_id).bind(topic_id);
        let read = within(query.fetch_all(&mut *connection)).await;
        let read: Vec<(String, i32, i64)> = settle(connection, "reading positions", read).await?;
        let ends =
            log_ends(self.consumer.clone(), name.clone(), (0..*partitions).collect()).await?;
        let mut roles: HashMap<&str, HashMap<i32, i64>> = HashMap::new();
        for (role, partition, next) in &read {
            roles.entry(role).or_default().insert(*partition, *next);
        }
        for (role, positions) in roles {
            for (partition, (low, high)) in &ends {
                // What has no position yet is read from the log's begin.
                let next = positions.get(partition).unwrap_or(low).max(low);
                let lag = number((high - next).max(0));
                metrics::POSITION_LAG.with([role, &partition.to_string()]).set(lag);
            }
        }
        Ok(())
    }
}
