//! `reconciler tail`: one line an event as it is applied.

use std::collections::HashSet;
use std::io::Write as _;
use std::time::Duration;

use serde_json::Value;
use service::exit::Outcome;
use service::signals;
use sqlx::Row as _;
use sqlx::postgres::PgRow;

use crate::cli::Read;

/// How often the database is asked.
const EVERY: Duration = Duration::from_millis(250);
/// How far each look reaches back, seconds: transactions do not commit in the order of their
/// events' times. Longer than a batch's transaction may take.
const OVERLAP_SECONDS: f64 = 45.0;

/// Prints events until it is interrupted or the reader of its output is gone.
pub(crate) async fn run(read: &Read) -> anyhow::Result<Outcome> {
    let pool = read.pool("tail")?;
    let stop = signals::shutdown_token()?;
    // What was applied before the start is not news.
    let mut shown: Option<HashSet<(i32, i64)>> = None;
    let mut ticks = tokio::time::interval(EVERY);
    while stop.run_until_cancelled(ticks.tick()).await.is_some() {
        let rows = sqlx::query(
            "select partition, kafka_offset, event_id, type, account, verdict, object_id,
               to_char(created at time zone 'utc', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"') as created,
               to_char(applied_at at time zone 'utc', 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"')
                 as applied_at,
               (extract(epoch from applied_at - received_at) * 1000)::bigint as latency_ms
             from pay.event
             where applied_at > clock_timestamp() - make_interval(secs => $1)
             order by applied_at, partition, kafka_offset",
        )
        .bind(OVERLAP_SECONDS)
        .fetch_all(&pool)
        .await?;
        let mut seen = HashSet::with_capacity(rows.len());
        let mut out = std::io::stdout().lock();
        for row in &rows {
            let place = (row.try_get("partition")?, row.try_get("kafka_offset")?);
            seen.insert(place);
            if shown.as_ref().is_some_and(|shown| !shown.contains(&place)) {
                let line = if read.json { json_line(row)? } else { text_line(row)? };
                if writeln!(out, "{line}").and_then(|()| out.flush()).is_err() {
                    // Whoever read this has gone, as `head` does.
                    return Ok(Outcome::Done);
                }
            }
        }
        shown = Some(seen);
    }
    Ok(Outcome::Done)
}

fn text(row: &PgRow, name: &str) -> sqlx::Result<String> {
    Ok(row.try_get::<Option<String>, _>(name)?.unwrap_or_default())
}

fn text_line(row: &PgRow) -> sqlx::Result<String> {
    let latency: Option<i64> = row.try_get("latency_ms")?;
    Ok(format!(
        "{}  {:<13} {:<32} {}  {}  {} ms",
        text(row, "applied_at")?,
        text(row, "verdict")?,
        text(row, "type")?,
        text(row, "event_id")?,
        text(row, "object_id")?,
        latency.map_or_else(|| "?".to_owned(), |latency| latency.to_string()),
    ))
}

fn json_line(row: &PgRow) -> sqlx::Result<String> {
    let mut line = serde_json::Map::new();
    for name in ["applied_at", "created", "event_id", "type", "account", "verdict", "object_id"] {
        line.insert(name.to_owned(), text(row, name)?.into());
    }
    let latency: Option<i64> = row.try_get("latency_ms")?;
    line.insert("latency_ms".to_owned(), latency.into());
    Ok(Value::Object(line).to_string())
}
