//! Reading `pay.quarantine`.

use anyhow::{Context as _, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use domain::record::RawRecord;
use serde_json::Value;
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Row as _};

use super::place::Place;

/// Which record, and what is needed to decide about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Key {
    pub(crate) cluster: String,
    pub(crate) topic_id: String,
    pub(crate) partition: i32,
    pub(crate) offset: i64,
    pub(crate) state: String,
    /// Of the body.
    pub(crate) bytes: usize,
}

impl Key {
    /// The topic it is of.
    pub(crate) fn log(&self) -> (&str, &str) {
        (&self.cluster, &self.topic_id)
    }

    /// The name that is unique while there is one topic.
    pub(crate) fn position(&self) -> String {
        format!("{}:{}", self.partition, self.offset)
    }
}

/// A record in quarantine.
#[derive(Debug)]
pub(crate) struct Kept {
    pub(crate) key: Key,
    pub(crate) record: RawRecord,
    pub(crate) reason: String,
    pub(crate) detail: String,
    pub(crate) event_id: Option<String>,
    pub(crate) quarantined_at: String,
    pub(crate) resolved_at: Option<String>,
    pub(crate) resolved_by: Option<i64>,
    pub(crate) note: Option<String>,
}

const KEY: &str = "select cluster, topic_id, partition, kafka_offset, state,
    coalesce(length(body), 0)::bigint as bytes
  from pay.quarantine where";
const ORDER: &str = "order by cluster, topic_id, partition, kafka_offset";

/// The records at these places, each once. It is an error if one names none, or records of several
/// topics.
pub(crate) async fn find(
    connection: &mut PgConnection,
    places: &[Place],
) -> anyhow::Result<Vec<Key>> {
    let mut found: Vec<Key> = Vec::new();
    for place in places {
        let keys = at(connection, place).await?;
        if keys.is_empty() {
            bail!("{place} is not in quarantine; `reconciler quarantine list` shows what is");
        }
        if let (Place::Offset { .. }, [_, _, ..]) = (place, &*keys) {
            let names: Vec<String> =
                keys.iter().map(|key| format!("{}/{}", key.topic_id, key.position())).collect();
            bail!("{place} is in several topics; name one: {}", names.join(", "));
        }
        for key in keys {
            if !found.contains(&key) {
                found.push(key);
            }
        }
    }
    Ok(found)
}

/// The records at one place, which may be in several topics.
pub(crate) async fn at(connection: &mut PgConnection, place: &Place) -> anyhow::Result<Vec<Key>> {
    let rows = match place {
        Place::Event(id) => {
            let sql = format!("{KEY} event_id = $1 {ORDER}");
            sqlx::query(sqlx::AssertSqlSafe(sql)).bind(id).fetch_all(connection).await?
        }
        Place::Offset { topic_id, partition, offset } => {
            let sql = format!(
                "{KEY} partition = $1 and kafka_offset = $2
                   and ($3::text is null or topic_id = $3) {ORDER}"
            );
            let query = sqlx::query(sqlx::AssertSqlSafe(sql)).bind(partition).bind(offset);
            query.bind(topic_id.as_deref()).fetch_all(connection).await?
        }
    };
    Ok(rows.iter().map(key_of_row).collect::<sqlx::Result<_>>()?)
}

/// The open records, of one reason or of all.
pub(crate) async fn open(
    connection: &mut PgConnection,
    reason: Option<&str>,
) -> sqlx::Result<Vec<Key>> {
    let sql = format!("{KEY} state = 'open' and ($1::text is null or reason = $1) {ORDER}");
    let query = sqlx::query(sqlx::AssertSqlSafe(sql)).bind(reason);
    query.fetch_all(connection).await?.iter().map(key_of_row).collect()
}

/// The whole records, in the order of their places. One that has gone meanwhile is left out.
pub(crate) async fn load(connection: &mut PgConnection, keys: &[Key]) -> anyhow::Result<Vec<Kept>> {
    let rows = sqlx::query(
        "select q.cluster, q.topic_id, q.partition, q.kafka_offset, q.state,
           coalesce(length(q.body), 0)::bigint as bytes, q.reason, q.detail, q.event_id, q.key,
           q.headers, q.body, q.note, q.resolved_by,
           (extract(epoch from q.kafka_timestamp) * 1000)::bigint as timestamp_ms,
           to_char(q.quarantined_at at time zone 'utc', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')
             as quarantined_at,
           to_char(q.resolved_at at time zone 'utc', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')
             as resolved_at
         from pay.quarantine as q
         join unnest($1::text[], $2::text[], $3::int[], $4::bigint[])
           as n(cluster, topic_id, partition, kafka_offset)
           using (cluster, topic_id, partition, kafka_offset)
         order by q.cluster, q.topic_id, q.partition, q.kafka_offset",
    )
    .bind(keys.iter().map(|key| key.cluster.as_str()).collect::<Vec<_>>())
    .bind(keys.iter().map(|key| key.topic_id.as_str()).collect::<Vec<_>>())
    .bind(keys.iter().map(|key| key.partition).collect::<Vec<_>>())
    .bind(keys.iter().map(|key| key.offset).collect::<Vec<_>>())
    .fetch_all(connection)
    .await?;
    rows.iter().map(kept_of_row).collect()
}

fn key_of_row(row: &PgRow) -> sqlx::Result<Key> {
    Ok(Key {
        cluster: row.try_get("cluster")?,
        topic_id: row.try_get("topic_id")?,
        partition: row.try_get("partition")?,
        offset: row.try_get("kafka_offset")?,
        state: row.try_get("state")?,
        bytes: usize::try_from(row.try_get::<i64, _>("bytes")?).unwrap_or(usize::MAX),
    })
}

fn kept_of_row(row: &PgRow) -> anyhow::Result<Kept> {
    let key = key_of_row(row)?;
    let bytes =
        |name| Ok::<_, sqlx::Error>(row.try_get::<Option<Vec<u8>>, _>(name)?.map(Bytes::from));
    let record = RawRecord {
        partition: key.partition,
        offset: key.offset,
        timestamp_ms: row.try_get("timestamp_ms")?,
        key: bytes("key")?,
        headers: headers(&row.try_get("headers")?)
            .with_context(|| format!("pay.quarantine.headers of {}", key.position()))?,
        value: bytes("body")?,
    };
    Ok(Kept {
        key,
        record,
        reason: row.try_get("reason")?,
        detail: row.try_get("detail")?,
        event_id: row.try_get("event_id")?,
        quarantined_at: row.try_get("quarantined_at")?,
        resolved_at: row.try_get("resolved_at")?,
        resolved_by: row.try_get("resolved_by")?,
        note: row.try_get("note")?,
    })
}

/// The headers as they were, from `[name, base64 of value]` pairs.
pub(crate) fn headers(pairs: &Value) -> anyhow::Result<Vec<(String, Option<Bytes>)>> {
    let pairs = pairs.as_array().context("is no array")?;
    let header = |pair: &Value| {
        let name = pair.get(0).and_then(Value::as_str).context("a header has no name")?;
        let value = pair.get(1).and_then(Value::as_str).map(|text| STANDARD.decode(text));
        let value = value.transpose().context("a header is not base64")?;
        Ok((name.to_owned(), value.map(Bytes::from)))
    };
    pairs.iter().map(header).collect()
}
