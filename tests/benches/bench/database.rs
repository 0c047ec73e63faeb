//! What a run leaves in PostgreSQL: how much of it, and where.

use harness::bench::{Table, float};
use sqlx::PgPool;

/// Relations with a smaller share of all bytes are told together.
const WORTH_A_ROW: f64 = 0.01;

/// Bytes of write-ahead log that this server has ever written.
pub(crate) async fn wal_bytes(pool: &PgPool) -> anyhow::Result<f64> {
    let query = "select pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::float8";
    Ok(sqlx::query_scalar(query).fetch_one(pool).await?)
}

/// How many events are recorded.
pub(crate) async fn events(pool: &PgPool) -> anyhow::Result<i64> {
    Ok(sqlx::query_scalar("select count(*) from pay.event").fetch_one(pool).await?)
}

/// Bytes an event, by table and index; the largest first. A table counts with what lies beside it
/// (TOAST), and its partitions together.
#[expect(clippy::cast_precision_loss, reason = "for a table")]
pub(crate) async fn sizes(pool: &PgPool, events: usize) -> anyhow::Result<Table> {
    let rows: Vec<(String, i64, i64, i64)> = sqlx::query_as(
        "select coalesce(root.inhparent, c.oid)::regclass::text as relation,
           sum(case when c.relkind = 'i' then pg_relation_size(c.oid)
             else pg_table_size(c.oid) end)::bigint as bytes,
           coalesce(sum(s.n_tup_upd), 0)::bigint as updated,
           coalesce(sum(s.n_tup_hot_upd), 0)::bigint as hot
         from pg_class as c
         join pg_namespace as n on n.oid = c.relnamespace
         left join pg_inherits as root on root.inhrelid = c.oid
         left join pg_stat_user_tables as s on s.relid = c.oid
         where n.nspname in ('pay', 'acc') and c.relkind in ('r', 'i')
         group by 1 order by 2 desc",
    )
    .fetch_all(pool)
    .await?;
    let events = float(events.max(1));
    let mut table = Table::new(
        "PostgreSQL, bytes an event",
        ["table or index", "bytes an event", "updates an event", "of these in place (HOT)"],
    );
    let all: i64 = rows.iter().map(|(_, bytes, ..)| bytes).sum();
    let is_small = |bytes: i64| (bytes as f64) < all as f64 * WORTH_A_ROW;
    table.row("all", [all as f64 / events]);
    let mut others = 0;
    for (relation, bytes, updated, hot) in rows {
        if is_small(bytes) {
            others += bytes;
            continue;
        }
        let hot = if updated > 0 { hot as f64 / updated as f64 } else { f64::NAN };
        table.row(relation, [bytes as f64 / events, updated as f64 / events, hot]);
    }
    table.row("each of the others less than 1 in 100", [others as f64 / events]);
    Ok(table)
}
