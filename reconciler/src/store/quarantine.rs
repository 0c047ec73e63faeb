//! `pay.quarantine`: records that cannot be applied, whole, and what becomes of them.

use std::collections::HashSet;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use domain::event::Rejected;
use serde_json::{Value, json};
use sqlx::{PgConnection, Row as _};

use super::{Item, column};

/// The last millisecond of the year 9999.
const MAX_TIMESTAMP_MS: i64 = 253_402_300_799_999;

/// Keeps the records with their reasons. Reading the same record again changes nothing. Returns the
/// partition and offset of those that were not there.
pub(super) async fn insert<'a>(
    tx: &mut PgConnection,
    cluster: &str,
    topic_id: &str,
    records: impl Iterator<Item = (&'a Item, &'a Rejected)>,
) -> sqlx::Result<HashSet<(i32, i64)>> {
    let mut records: Vec<(&Item, &Rejected)> = records.collect();
    if records.is_empty() {
        return Ok(HashSet::new());
    }
    records.sort_by_key(|(item, _)| (item.record.partition, item.record.offset));
    let kept = sqlx::query(
        "insert into pay.quarantine (cluster, topic_id, partition, kafka_offset, reason, detail,
           event_id, kafka_timestamp, key, headers, body)
         select $1, $2, partition, kafka_offset, reason, detail, event_id,
           to_timestamp(kafka_timestamp::double precision / 1000), key, headers, body
         from unnest($3::int[], $4::bigint[], $5::text[], $6::text[], $7::text[], $8::bigint[],
           $9::bytea[], $10::jsonb[], $11::bytea[])
           as n(partition, kafka_offset, reason, detail, event_id, kafka_timestamp, key, headers,
           body)
         on conflict do nothing
         returning partition, kafka_offset",
    )
    .bind(cluster)
    .bind(topic_id)
    .bind(column(&records, |(item, _)| item.record.partition))
    .bind(column(&records, |(item, _)| item.record.offset))
    .bind(column(&records, |(_, rejected)| rejected.reason.as_str()))
    .bind(column(&records, |(_, rejected)| rejected.detail.as_str()))
    .bind(column(&records, |(_, rejected)| rejected.event.as_ref().map(|it| it.id.as_str())))
    // Whoever wrote the record chose its timestamp: it must not keep it out of here.
    .bind(column(&records, |(item, _)| item.record.timestamp_ms.clamp(0, MAX_TIMESTAMP_MS)))
    .bind(column(&records, |(item, _)| item.record.key.as_deref()))
    .bind(column(&records, |(item, _)| headers(item)))
    .bind(column(&records, |(item, _)| item.record.value.as_deref()))
    .fetch_all(tx)
    .await?;
    kept.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).collect()
}

/// Says of records from here what came of trying them again: those that were understood are
/// redriven, those that were not have their new reason. Another redrive may have been faster.
pub(super) async fn resolve(
    tx: &mut PgConnection,
    cluster: &str,
    topic_id: &str,
    items: &[Item],
    operation: i64,
) -> sqlx::Result<()> {
    let mut items: Vec<&Item> = items.iter().collect();
    items.sort_by_key(|item| (item.record.partition, item.record.offset));
    let rejected = |item: &Item| item.outcome.as_ref().err().cloned();
    // Locked in order first: an update alone would lock in whatever order it finds the rows.
    sqlx::query(
        "select 1 from pay.quarantine as q
         join unnest($3::int[], $4::bigint[]) as n(partition, kafka_offset)
           using (partition, kafka_offset)
         where q.cluster = $1 and q.topic_id = $2
         order by q.partition, q.kafka_offset for update of q",
    )
    .bind(cluster)
    .bind(topic_id)
    .bind(column(&items, |item| item.record.partition))
    .bind(column(&items, |item| item.record.offset))
    .execute(&mut *tx)
    .await?;
    sqlx::query(
        "update pay.quarantine as q
         set state = case when n.reason is null then 'redriven' else q.state end,
           resolved_at = case when n.reason is null then now() else q.resolved_at end,
           resolved_by = case when n.reason is null then $8 else q.resolved_by end,
           reason = coalesce(n.reason, q.reason), detail = coalesce(n.detail, q.detail),
           event_id = coalesce(n.event_id, q.event_id)
         from unnest($3::int[], $4::bigint[], $5::text[], $6::text[], $7::text[])
           as n(partition, kafka_offset, reason, detail, event_id)
         where q.cluster = $1 and q.topic_id = $2 and q.partition = n.partition
           and q.kafka_offset = n.kafka_offset and q.state <> 'redriven'",
    )
    .bind(cluster)
    .bind(topic_id)
    .bind(column(&items, |item| item.record.partition))
    .bind(column(&items, |item| item.record.offset))
    .bind(column(&items, |item| rejected(item).map(|it| it.reason.as_str())))
    .bind(column(&items, |item| rejected(item).map(|it| it.detail)))
    .bind(column(&items, |item| match &item.outcome {
        Ok(decoded) => Some(decoded.event.id.clone()),
        Err(rejected) => rejected.event.as_ref().map(|event| event.id.clone()),
    }))
    .bind(operation)
    .execute(tx)
    .await
    .map(drop)
}

/// Header names and values as anybody may have written them: not necessarily text.
fn headers(item: &Item) -> Value {
    let pairs = item.record.headers.iter().map(|(name, value)| {
        json!([name.replace('\0', "\u{fffd}"), value.as_ref().map(|value| STANDARD.encode(value))])
    });
    pairs.collect()
}
