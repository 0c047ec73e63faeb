//! `pay.breaker`: whether the projection of this topic is paused, for all its processes.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use sqlx::types::Json;
use sqlx::{PgConnection, Row as _};

use super::{Batch, Store};
use crate::breaker::Trip;
use crate::database::{self, settle, within};
use crate::fault::{Decision, Fault};

/// What the database says before a batch is judged.
pub(super) enum Stored {
    Paused,
    /// By partition, the offset before which records are not judged.
    Open(BTreeMap<i32, i64>),
}

pub(super) async fn load(
    connection: &mut PgConnection,
    cluster: &str,
    topic_id: &str,
) -> sqlx::Result<Stored> {
    let row =
        sqlx::query("select state, through from pay.breaker where cluster = $1 and topic_id = $2")
            .bind(cluster)
            .bind(topic_id)
            .fetch_optional(connection)
            .await?;
    let Some(row) = row else { return Ok(Stored::Open(BTreeMap::new())) };
    if row.try_get::<&str, _>("state")? == "paused" {
        return Ok(Stored::Paused);
    }
    let Json(through) = row.try_get("through")?;
    Ok(Stored::Open(through))
}

impl Store {
    /// Whether the projection of this topic is paused.
    pub(crate) async fn is_paused(&self) -> Result<bool, Fault> {
        let mut connection = database::acquire(&self.pool).await?;
        let stored = within(load(&mut connection, &self.cluster, &self.topic_id)).await;
        let stored = settle(connection, "reading the breaker", stored).await?;
        Ok(matches!(stored, Stored::Paused))
    }

    /// Pauses the projection of this topic; the batch that tripped was rolled back. The first
    /// trip is kept. The fault is what the projector then stops with.
    pub(super) async fn pause(&self, trip: &Trip, batch: &Batch<'_>) -> Result<Fault, Fault> {
        let mut connection = database::acquire(&self.pool).await?;
        let paused = within(self.store_trip(&mut connection, trip, batch)).await;
        settle(connection, "pausing the projection", paused).await?;
        metrics::counter!("reconciler_breaker_trips_total").increment(1);
        Ok(Fault::new(Decision::Pause, "judging a batch", trip.to_string()))
    }

    async fn store_trip(
        &self,
        connection: &mut PgConnection,
        trip: &Trip,
        batch: &Batch<'_>,
    ) -> sqlx::Result<()> {
        let mut through: BTreeMap<i32, i64> = BTreeMap::new();
        for record in batch.items.iter().map(|item| &item.record) {
            let end = through.entry(record.partition).or_default();
            *end = (*end).max(record.offset + 1);
        }
        // Each process that trips adds the partitions that it holds.
        let added = sqlx::query(
            "update pay.breaker set through = through || $3
             where cluster = $1 and topic_id = $2 and state = 'paused'",
        )
        .bind(&self.cluster)
        .bind(&self.topic_id)
        .bind(Json(&through))
        .execute(&mut *connection)
        .await?;
        if added.rows_affected() > 0 {
            return Ok(());
        }
        let examples = trip.examples.iter().map(|it| {
            json!({"partition": it.partition, "offset": it.offset, "reason": it.reason.as_str(),
                "detail": it.detail})
        });
        sqlx::query(
            "insert into pay.breaker as b (cluster, topic_id, state, looked_at, quarantined, share,
               reasons, examples, through)
             values ($1, $2, 'paused', $3, $4, $5, $6, $7, $8)
             on conflict (cluster, topic_id) do update
             set state = 'paused', looked_at = excluded.looked_at,
               quarantined = excluded.quarantined, share = excluded.share,
               reasons = excluded.reasons, examples = excluded.examples,
               through = excluded.through, tripped_at = excluded.tripped_at,
               resumed_at = null, resumed_by = null, note = null
             where b.state <> 'paused'",
        )
        .bind(&self.cluster)
        .bind(&self.topic_id)
        .bind(i32::try_from(trip.looked_at).unwrap_or(i32::MAX))
        .bind(i32::try_from(trip.quarantined).unwrap_or(i32::MAX))
        .bind(trip.share)
        .bind(Json(&trip.reasons))
        .bind(examples.collect::<Value>())
        .bind(Json(&through))
        .execute(connection)
        .await
        .map(drop)
    }
}

/// The fault of a batch that met a pause which another process, or another life of this one, began.
pub(super) fn paused() -> Fault {
    Fault::new(Decision::Pause, "judging a batch", "the projection of this topic is paused")
}
