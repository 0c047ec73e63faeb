//! The queue `pay.outbox`, as a sink's publisher sees it: that sink's rows.
//!
//! `leased_until` in the past or null: free. In the future: held, or waiting after a refusal.
//! Infinite: set aside, for a person to look at.

use std::collections::BTreeSet;
use std::time::Duration;

use sqlx::{PgPool, Row as _};

use super::Event;
use crate::database::{acquire, settle, within};
use crate::fault::Fault;
use crate::sink::Sink;

/// A domain event that waits to be published.
#[derive(Debug, Clone)]
pub(super) struct Row {
    pub(super) id: i64,
    pub(super) event_id: String,
    pub(super) subject: String,
    /// One JSON object without a newline.
    pub(super) payload: String,
    /// How often it was claimed, this time included.
    pub(super) attempts: i32,
    /// How long it had waited when it was claimed.
    pub(super) waited: Duration,
}

impl Row {
    pub(super) fn event(&self) -> Event<'_> {
        Event { subject: &self.subject, payload: &self.payload }
    }
}

/// How much waits.
#[derive(Debug)]
pub(super) struct Depth {
    pub(super) waiting: i64,
    pub(super) parked: i64,
    pub(super) oldest_seconds: f64,
}

/// The queue of one sink.
#[derive(Debug, Clone)]
pub(crate) struct Outbox {
    pool: PgPool,
    pub(super) sink: Sink,
}

impl Outbox {
    pub(crate) fn new(pool: PgPool, sink: Sink) -> Self {
        Self { pool, sink }
    }

    /// Leases the oldest free rows. What another publisher is claiming is skipped, not awaited.
    pub(super) async fn claim(&self, most: usize, lease: Duration) -> Result<Vec<Row>, Fault> {
        let doing = "claiming from the outbox";
        let mut connection = acquire(&self.pool).await?;
        let query = sqlx::query(
            "update pay.outbox as o
                 set leased_until = now() + make_interval(secs => $2), attempts = o.attempts + 1
                 from (select outbox_id from pay.outbox
                       where sink = $3 and (leased_until is null or leased_until < now())
                       order by outbox_id limit $1 for update skip locked) as free
                 where o.outbox_id = free.outbox_id
                 returning o.outbox_id, o.event_id, o.subject, o.payload, o.attempts,
                   extract(epoch from now() - o.created_at)::float8 as waited",
        )
        .bind(i64::try_from(most).unwrap_or(i64::MAX))
        .bind(lease.as_secs_f64())
        .bind(self.sink.as_str());
        let rows = within(query.fetch_all(&mut *connection)).await;
        let rows = settle(connection, doing, rows).await?;
        let mut rows = rows
            .into_iter()
            .map(|row| {
                Ok(Row {
                    id: row.try_get("outbox_id")?,
                    event_id: row.try_get("event_id")?,
                    subject: row.try_get("subject")?,
                    payload: row.try_get("payload")?,
                    attempts: row.try_get("attempts")?,
                    waited: Duration::try_from_secs_f64(row.try_get("waited")?).unwrap_or_default(),
                })
            })
            .collect::<sqlx::Result<Vec<_>>>()
            .map_err(|error| Fault::postgres(doing, error))?;
        rows.sort_by_key(|row| row.id);
        Ok(rows)
    }

    /// Forgets rows that are published.
    pub(super) async fn delete(&self, ids: &[i64]) -> Result<(), Fault> {
        let sql = "delete from pay.outbox where outbox_id = any($1)";
        self.each("deleting from the outbox", sql, ids).await
    }

    /// Gives rows back that were claimed but not sent.
    pub(super) async fn release(&self, ids: &[i64]) -> Result<(), Fault> {
        let sql = "update pay.outbox set leased_until = null where outbox_id = any($1)";
        self.each("releasing rows of the outbox", sql, ids).await
    }

    /// Sets rows aside.
    pub(super) async fn park(&self, ids: &[i64]) -> Result<(), Fault> {
        let sql = "update pay.outbox set leased_until = 'infinity' where outbox_id = any($1)";
        self.each("setting rows of the outbox aside", sql, ids).await
    }

    /// Gives each row back after its time.
    pub(super) async fn defer(&self, rows: &[(i64, Duration)]) -> Result<(), Fault> {
        let ids: Vec<i64> = rows.iter().map(|row| row.0).collect();
        let waits: Vec<f64> = rows.iter().map(|row| row.1.as_secs_f64()).collect();
        let mut connection = acquire(&self.pool).await?;
        let query = sqlx::query(
            "update pay.outbox as o set leased_until = now() + make_interval(secs => r.wait)
                 from unnest($1::bigint[], $2::float8[]) as r (id, wait)
                 where o.outbox_id = r.id",
        )
        .bind(&ids)
        .bind(&waits);
        let done = within(query.execute(&mut *connection)).await.map(drop);
        settle(connection, "deferring rows of the outbox", done).await
    }

    pub(super) async fn depth(&self) -> Result<Depth, Fault> {
        let doing = "measuring the outbox";
        let mut connection = acquire(&self.pool).await?;
        let query = sqlx::query(
            "select count(*) filter (where not parked) as waiting,
                        count(*) filter (where parked) as parked,
                        coalesce(extract(epoch from now() - min(created_at)
                          filter (where not parked)), 0)::float8 as oldest
                 from (select created_at, coalesce(leased_until = 'infinity', false) as parked
                       from pay.outbox where sink = $1) as o",
        )
        .bind(self.sink.as_str());
        let row = within(query.fetch_one(&mut *connection)).await;
        let row = settle(connection, doing, row).await?;
        let depth = || {
            Ok(Depth {
                waiting: row.try_get("waiting")?,
                parked: row.try_get("parked")?,
                oldest_seconds: row.try_get("oldest")?,
            })
        };
        depth().map_err(|error| Fault::postgres(doing, error))
    }

    async fn each(&self, doing: &'static str, sql: &'static str, ids: &[i64]) -> Result<(), Fault> {
        if ids.is_empty() {
            return Ok(());
        }
        let mut connection = acquire(&self.pool).await?;
        let query = sqlx::query(sql).bind(ids);
        let done = within(query.execute(&mut *connection)).await.map(drop);
        settle(connection, doing, done).await
    }
}

/// How many rows wait for each sink that is not one of these.
pub(super) async fn waiting_for_others(
    pool: &PgPool,
    sinks: &BTreeSet<Sink>,
) -> Result<Vec<(String, i64)>, Fault> {
    let sinks: Vec<&str> = sinks.iter().map(|sink| sink.as_str()).collect();
    let mut connection = acquire(pool).await?;
    let query = sqlx::query_as(
        "select sink, count(*) from pay.outbox where sink <> all($1) group by 1 order by 1",
    )
    .bind(&sinks);
    let rows = within(query.fetch_all(&mut *connection)).await;
    settle(connection, "looking for rows of other sinks", rows).await
}
