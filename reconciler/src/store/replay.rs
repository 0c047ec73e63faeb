//! `pay.replay_position`: a replay's own place, moved in the transaction of the batch that reaches it,
//! with the counts so far. So a replay that was stopped or killed goes on where it was, no record is
//! counted twice, and the roles' positions stay where they are.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sqlx::types::Json;
use sqlx::{PgConnection, PgPool, Row as _};

use super::{Applied, Batch, Item, Purpose, Store, column};
use crate::breaker::Breaker;
use crate::database::{self, settle, within};
use crate::fault::Fault;
use crate::source::Range;

/// What a replay has come to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Counts {
    /// Records that were looked at.
    pub(crate) read: u64,
    /// Records that were not chosen.
    pub(crate) skipped: u64,
    /// Records that were erased from the archive: nothing is left of them to apply.
    pub(crate) erased: u64,
    /// Records of which something became, by what: `applied`, `duplicate`, …
    pub(crate) verdicts: BTreeMap<String, u64>,
    /// Records that went to quarantine, by reason.
    pub(crate) quarantined: BTreeMap<String, u64>,
    /// Rows that are not what they were.
    pub(crate) rows_changed: u64,
    /// Facts that are new or better proved.
    pub(crate) facts_new: u64,
    /// Domain events that were queued: one for each sink.
    pub(crate) domain_events_queued: u64,
}

impl Counts {
    /// Adds what a batch came to.
    pub(crate) fn add(&mut self, applied: &Applied) {
        for (verdict, count) in &applied.verdicts {
            *self.verdicts.entry(verdict.as_str().to_owned()).or_default() += count;
        }
        for (reason, count) in &applied.quarantined {
            *self.quarantined.entry((*reason).to_owned()).or_default() += count;
        }
        self.rows_changed += applied.rows;
        self.facts_new += applied.facts;
        self.domain_events_queued += applied.published;
    }

    /// Adds those of another partition.
    pub(crate) fn merge(&mut self, other: &Self) {
        self.read += other.read;
        self.skipped += other.skipped;
        self.erased += other.erased;
        for (verdict, count) in &other.verdicts {
            *self.verdicts.entry(verdict.clone()).or_default() += count;
        }
        for (reason, count) in &other.quarantined {
            *self.quarantined.entry(reason.clone()).or_default() += count;
        }
        self.rows_changed += other.rows_changed;
        self.facts_new += other.facts_new;
        self.domain_events_queued += other.domain_events_queued;
    }
}

/// A replay's place in one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mark {
    /// What is left of it.
    pub(crate) range: Range,
    /// What came of what is done.
    pub(crate) counts: Counts,
}

/// Where a batch brings a replay.
#[derive(Debug, Clone)]
pub(crate) struct Reach {
    /// The replay's operation.
    pub(crate) operation: i64,
    pub(crate) partition: i32,
    /// Where the batch takes over.
    pub(crate) from: i64,
    /// The offset behind it.
    pub(crate) to: i64,
    /// Before the batch; what it comes to is added.
    pub(crate) counts: Counts,
}

/// Moves a replay's place. Says whether it was where the batch takes over: a database that was
/// restored to an older state has lost what came between.
pub(super) async fn reach(
    tx: &mut PgConnection,
    reach: &Reach,
    applied: &Applied,
) -> sqlx::Result<bool> {
    let mut counts = reach.counts.clone();
    counts.add(applied);
    let moved = sqlx::query(
        "update pay.replay_position set next_offset = $4, counts = $5
         where operation_id = $1 and partition = $2 and next_offset = $3",
    )
    .bind(reach.operation)
    .bind(reach.partition)
    .bind(reach.from)
    .bind(reach.to)
    .bind(Json(counts))
    .execute(tx)
    .await?;
    Ok(moved.rows_affected() == 1)
}

/// Notes what a replay is about, before it begins.
pub(crate) async fn begin(pool: &PgPool, operation: i64, ranges: &[Range]) -> Result<(), Fault> {
    let mut connection = database::acquire(pool).await?;
    let begun = sqlx::query(
        "insert into pay.replay_position (operation_id, partition, next_offset, end_offset)
         select $1, partition, next_offset, end_offset
         from unnest($2::int[], $3::bigint[], $4::bigint[])
           as n(partition, next_offset, end_offset)
         order by partition",
    )
    .bind(operation)
    .bind(column(ranges, |range| range.partition))
    .bind(column(ranges, |range| range.from))
    .bind(column(ranges, |range| range.to))
    .execute(&mut *connection);
    let begun = within(begun).await;
    settle(connection, "noting what a replay is about", begun).await.map(drop)
}

/// Where a replay is, in each partition.
pub(crate) async fn load(pool: &PgPool, operation: i64) -> Result<Vec<Mark>, Fault> {
    let mut connection = database::acquire(pool).await?;
    let rows = sqlx::query(
        "select partition, next_offset, end_offset, counts from pay.replay_position
         where operation_id = $1 order by partition",
    )
    .bind(operation)
    .fetch_all(&mut *connection);
    let rows = within(rows).await.and_then(|rows| {
        let mark = |row: &sqlx::postgres::PgRow| {
            let Json(counts) = row.try_get("counts")?;
            let range = Range {
                partition: row.try_get("partition")?,
                from: row.try_get("next_offset")?,
                to: row.try_get("end_offset")?,
            };
            Ok(Mark { range, counts })
        };
        rows.iter().map(mark).collect()
    });
    settle(connection, "reading where a replay is", rows).await
}

/// Whether the role project of this topic has been at work within the last minute.
pub(crate) async fn is_beside_live(
    pool: &PgPool,
    (cluster, topic_id): (&str, &str),
) -> Result<bool, Fault> {
    let mut connection = database::acquire(pool).await?;
    let is_live = sqlx::query_scalar(
        "select exists (select from pay.position
           where role = 'project' and cluster = $1 and topic_id = $2
             and updated_at > clock_timestamp() - interval '1 minute')",
    )
    .bind(cluster)
    .bind(topic_id)
    .fetch_one(&mut *connection);
    let is_live = within(is_live).await;
    settle(connection, "looking for live traffic", is_live).await
}

impl Store {
    /// Applies records of the past: all of it or none. No role's position moves; the replay's own
    /// does, if it is given. A batch that trips the breaker is rolled back and the fault halts, but
    /// those who follow the topic are not paused.
    pub(crate) async fn replay(
        &self,
        items: &[Item],
        breaker: &mut Breaker,
        reach: Option<&Reach>,
    ) -> Result<Applied, Fault> {
        let batch = Batch { items, positions: BTreeMap::new() };
        self.transact(&batch, Purpose::Replay(breaker, reach), &()).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Verdict;

    #[test]
    fn counts_of_batches_and_partitions_add_up() {
        let applied = Applied {
            verdicts: [(Verdict::Applied, 2), (Verdict::Duplicate, 3)].into(),
            quarantined: [("not_json", 1)].into(),
            rows: 4,
            facts: 5,
            published: 6,
            ..Applied::default()
        };
        let mut one = Counts { read: 7, skipped: 1, ..Counts::default() };
        one.add(&applied);
        let mut both = one.clone();
        both.merge(&one);
        let mut twice = Counts { read: 14, skipped: 2, ..Counts::default() };
        twice.add(&applied);
        twice.add(&applied);
        assert_eq!(both, twice);
        assert_eq!(both.verdicts["duplicate"], 6);
    }
}
