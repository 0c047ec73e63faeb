//! `pay.quarantine`: records that cannot be applied, whole.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use domain::event::Rejected;
use serde_json::{Value, json};
use sqlx::PgConnection;

use super::{Item, column};

/// The last millisecond of the year 9999.
const MAX_TIMESTAMP_MS: i64 = 253_402_300_799_999;

/// Keeps the records with their reasons. Reading the same record again changes nothing.
pub(super) async fn insert<'a>(
    tx: &mut PgConnection,
    cluster: &str,
    topic_id: &str,
    records: impl Iterator<Item = (&'a Item, &'a Rejected)>,
) -> sqlx::Result<()> {
    let mut records: Vec<(&Item, &Rejected)> = records.collect();
    if records.is_empty() {
        return Ok(());
    }
    records.sort_by_key(|(item, _)| (item.record.partition, item.record.offset));
    sqlx::query(
        "insert into pay.quarantine (cluster, topic_id, partition, kafka_offset, reason, detail,
           event_id, kafka_timestamp, key, headers, body)
         select $1, $2, partition, kafka_offset, reason, detail, event_id,
           to_timestamp(kafka_timestamp::double precision / 1000), key, headers, body
         from unnest($3::int[], $4::bigint[], $5::text[], $6::text[], $7::text[], $8::bigint[],
           $9::bytea[], $10::jsonb[], $11::bytea[])
           as n(partition, kafka_offset, reason, detail, event_id, kafka_timestamp, key, headers,
           body)
         on conflict do nothing",
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
