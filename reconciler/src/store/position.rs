//! `pay.position` of the projection, moved in the batch's own transaction.

use std::collections::BTreeMap;

use sqlx::{PgConnection, Row as _};

use super::column;

/// How far a batch reaches in one partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Advance {
    /// Where the batch takes over: everything before it was applied by batches before this one.
    pub from: i64,
    /// The offset after its last record.
    pub to: i64,
}

/// Makes a position for each partition that has none: where its reading begins.
pub(super) async fn begin(
    connection: &mut PgConnection,
    cluster: &str,
    topic_id: &str,
    positions: &BTreeMap<i32, i64>,
) -> sqlx::Result<()> {
    sqlx::query(
        "insert into pay.position (role, cluster, topic_id, partition, next_offset)
         select 'project', $1, $2, partition, next_offset
         from unnest($3::int[], $4::bigint[]) as n(partition, next_offset)
         order by partition
         on conflict do nothing",
    )
    .bind(cluster)
    .bind(topic_id)
    .bind(column(positions.keys(), |partition| *partition))
    .bind(column(positions.values(), |next_offset| *next_offset))
    .execute(connection)
    .await
    .map(drop)
}

/// Moves the positions forward; what another process reached further stays. Says whether the
/// database has applied everything before the batch. One that was restored to an older state has
/// not: then nothing of the batch may be committed.
pub(super) async fn advance(
    tx: &mut PgConnection,
    cluster: &str,
    topic_id: &str,
    positions: &BTreeMap<i32, Advance>,
) -> sqlx::Result<bool> {
    if positions.is_empty() {
        return Ok(true);
    }
    // Locked in order first: an update alone would lock in whatever order it finds the rows.
    let stored = sqlx::query(
        "select partition, next_offset from pay.position
         where role = 'project' and cluster = $1 and topic_id = $2 and partition = any($3)
         order by partition for update",
    )
    .bind(cluster)
    .bind(topic_id)
    .bind(column(positions.keys(), |partition| *partition))
    .fetch_all(&mut *tx)
    .await?;
    let stored: BTreeMap<i32, i64> = stored
        .iter()
        .map(|row| Ok((row.try_get("partition")?, row.try_get("next_offset")?)))
        .collect::<sqlx::Result<_>>()?;
    let is_reached = |(partition, advance): (&i32, &Advance)| {
        stored.get(partition).is_some_and(|next_offset| *next_offset >= advance.from)
    };
    if !positions.iter().all(is_reached) {
        return Ok(false);
    }
    sqlx::query(
        "update pay.position as p set next_offset = n.next_offset, updated_at = now()
         from unnest($3::int[], $4::bigint[]) as n(partition, next_offset)
         where p.role = 'project' and p.cluster = $1 and p.topic_id = $2
           and p.partition = n.partition and p.next_offset < n.next_offset",
    )
    .bind(cluster)
    .bind(topic_id)
    .bind(column(positions.keys(), |partition| *partition))
    .bind(column(positions.values(), |advance| advance.to))
    .execute(tx)
    .await?;
    Ok(true)
}
