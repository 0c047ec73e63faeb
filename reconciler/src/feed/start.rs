//! Where each assigned partition is to be read from.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use kafka::topic::{self, Topic};
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};

use super::context::Context;
use crate::fault::Fault;
use crate::position::{Position, Positions};

/// Knows where a partition begins that has no position, or one that the log no longer reaches.
pub(crate) trait Origin: Send + Sync {
    /// The place to begin at; `None` if that is the log's first offset, `low`.
    fn find(&self, partition: i32, low: i64) -> BoxFuture<'_, Result<Option<Position>, Fault>>;
}

/// Time for one question to the brokers.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

pub(super) struct Start {
    pub(super) kafka: kafka::Options,
    pub(super) topic: Topic,
    pub(super) positions: Positions,
    /// The archive's own: it is the one that would lose its end with its positions.
    pub(super) origin: Option<Arc<dyn Origin>>,
}

/// What an epoch begins with.
pub(super) struct Started {
    pub(super) positions: BTreeMap<i32, Position>,
    /// The offset after each partition's last record.
    pub(super) log_ends: BTreeMap<i32, i64>,
}

/// A position that the log no longer, or not yet, reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum OutOfLog {
    #[error(
        "partition {partition}: the next offset is {next}, but the topic begins at {low}: \
         retention has deleted what was not read. The archive has it: `reconciler replay archive \
         --partition {partition}`. Then go on behind it: update pay.position set next_offset = \
         {low} where role = 'project' and partition = {partition} and next_offset = {next}"
    )]
    Deleted { partition: i32, next: i64, low: i64 },
    #[error(
        "partition {partition}: the archive ends before offset {next}, but the topic begins at \
         {low}: retention has deleted what was not archived, and what lies between is lost to the \
         archive. To go on, and to have that on record in the archive: `reconciler archive skip \
         --partition {partition} --to {low} --reason TEXT`"
    )]
    Unarchived { partition: i32, next: i64, low: i64 },
    #[error(
        "partition {partition}: the next offset is {next}, but the topic ends at {high}: the \
         topic has lost records that were read, or this database belongs to another topic"
    )]
    Beyond { partition: i32, next: i64, high: i64 },
}

impl Start {
    /// The positions of these partitions, checked against the log.
    pub(super) async fn of(
        &self,
        consumer: &Arc<BaseConsumer<Context>>,
        partitions: &[i32],
    ) -> Result<Started, Fault> {
        let now = topic::describe(&self.kafka, ANSWER_TIMEOUT).await.map_err(Fault::topic)?;
        if (&now.cluster_id, &now.topic_id) != (&self.topic.cluster_id, &self.topic.topic_id) {
            return Err(Fault::halt(
                "checking the raw topic",
                format!(
                    "{} is not the topic that this process started with: it was {}.{} and is \
                     {}.{}. Restart to read it from its beginning",
                    now.name,
                    self.topic.cluster_id,
                    self.topic.topic_id,
                    now.cluster_id,
                    now.topic_id
                ),
            ));
        }
        let mut stored = self.positions.load().await?;
        let ends = log_ends(consumer.clone(), now.name, partitions.to_vec()).await?;
        for (&partition, &(low, _)) in &ends {
            let next = stored.get(&partition).map(|position| position.next_offset);
            // Where the log does not reach back to the position, what is there may reach further.
            if let Some(origin) = &self.origin
                && next.is_none_or(|next| next < low)
                && let Some(position) = origin.find(partition, low).await?
                && next.is_none_or(|next| next < position.next_offset)
            {
                tracing::warn!(partition, ?position, "going on after what is there");
                self.positions.store(partition, position).await?;
                stored.insert(partition, position);
            }
        }
        let positions = ends
            .iter()
            .map(|(&partition, &ends)| {
                let archives = self.origin.is_some();
                let position = start(partition, stored.get(&partition).copied(), ends, archives)
                    .map_err(|error| Fault::halt("finding where to start", error))?;
                Ok((partition, position))
            })
            .collect::<Result<_, Fault>>()?;
        let log_ends = ends.into_iter().map(|(partition, (_, high))| (partition, high)).collect();
        Ok(Started { positions, log_ends })
    }
}

/// First offset and end of each partition's log. The consumer's own call blocks.
pub(crate) async fn log_ends<C: ConsumerContext + 'static>(
    consumer: Arc<BaseConsumer<C>>,
    topic: String,
    partitions: Vec<i32>,
) -> Result<BTreeMap<i32, (i64, i64)>, Fault> {
    let doing = "asking Kafka for the log's ends";
    tokio::task::spawn_blocking(move || {
        partitions
            .into_iter()
            .map(|partition| {
                let ends = consumer.fetch_watermarks(&topic, partition, ANSWER_TIMEOUT)?;
                Ok((partition, ends))
            })
            .collect::<Result<_, _>>()
    })
    .await
    .map_err(|error| Fault::retry(doing, error))?
    .map_err(|error| Fault::kafka(doing, error))
}

/// A partition that was never read starts at its earliest record. What the log has lost is in the
/// archive, except for the one who `archives`.
fn start(
    partition: i32,
    stored: Option<Position>,
    (low, high): (i64, i64),
    archives: bool,
) -> Result<Position, OutOfLog> {
    match stored {
        None => Ok(Position { next_offset: low, chain: None }),
        Some(Position { next_offset: next, .. }) if next < low && archives => {
            Err(OutOfLog::Unarchived { partition, next, low })
        }
        Some(Position { next_offset: next, .. }) if next < low => {
            Err(OutOfLog::Deleted { partition, next, low })
        }
        Some(Position { next_offset: next, .. }) if next > high => {
            Err(OutOfLog::Beyond { partition, next, high })
        }
        Some(position) => Ok(position),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_must_lie_within_the_log() {
        let start = |partition, stored, ends| start(partition, stored, ends, false);
        let at = |next_offset| Some(Position { next_offset, chain: None });
        assert_eq!(start(0, None, (7, 9)).unwrap().next_offset, 7);
        assert_eq!(start(0, at(7), (7, 9)).unwrap().next_offset, 7);
        assert_eq!(start(0, at(9), (7, 9)).unwrap().next_offset, 9);
        let deleted = start(1, at(6), (7, 9)).unwrap_err();
        assert_eq!(deleted, OutOfLog::Deleted { partition: 1, next: 6, low: 7 });
        let remedy = "`reconciler replay archive --partition 1`. Then go on behind it: update \
                      pay.position set next_offset = 7 where role = 'project' and partition = 1 and \
                      next_offset = 6";
        assert!(deleted.to_string().ends_with(remedy), "{deleted}");
        let beyond = start(1, at(10), (7, 9)).unwrap_err();
        assert_eq!(beyond, OutOfLog::Beyond { partition: 1, next: 10, high: 9 });
    }

    #[test]
    fn the_archive_itself_is_told_what_to_do_about_a_gap() {
        let stored = Some(Position { next_offset: 6, chain: None });
        let lost = start(1, stored, (7, 9), true).unwrap_err();
        assert_eq!(lost, OutOfLog::Unarchived { partition: 1, next: 6, low: 7 });
        let remedy = "`reconciler archive skip --partition 1 --to 7 --reason TEXT`";
        assert!(lost.to_string().ends_with(remedy), "{lost}");
    }
}
