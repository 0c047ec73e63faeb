//! The floor of the projection: the same final rows, written by somebody who knows them already.
//!
//! Rows are read from a database that the projector has filled. They are in memory, cut into
//! transactions of as many events as the projector's, before time is taken; then each transaction is
//! an INSERT with UNNEST for each table. Nothing is decoded, looked up, locked or updated.

use anyhow::Context as _;
use futures::future::try_join_all;
use sqlx::postgres::{PgArguments, PgRow};
use sqlx::query::Query;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, PgPool, Postgres, Row as _};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use time::OffsetDateTime;

/// The tables, parents before children, each with the column by which rows go into the same
/// transaction as those that refer to them.
const TABLES: [(&str, &str); 13] = [
    ("pay.event", "event_id"),
    ("pay.stripe_object", "object_id"),
    ("pay.txn", "txn_id"),
    ("pay.refund", "txn_id"),
    ("pay.dispute", "txn_id"),
    ("pay.payout", "payout_id"),
    ("pay.invoice", "invoice_id"),
    ("pay.invoice_payment", "invoice_id"),
    ("pay.ledger_entry", "entry_id"),
    ("pay.ledger_posting", "entry_id"),
    ("pay.discrepancy", "object_id"),
    ("pay.fact", "fact_id"),
    ("pay.outbox", "fact_id"),
];

/// Rows as they are to be written: transactions, and of each the tables that it writes to.
pub(crate) struct Rows {
    transactions: Vec<Vec<Insert>>,
    months: Vec<time::Date>,
    count: usize,
}

struct Insert {
    sql: String,
    columns: Vec<Column>,
}

/// One column of many rows, as it is sent. What has no type here is sent as text and cast.
#[derive(Debug, Clone)]
enum Column {
    Text(Vec<Option<String>>),
    Bytes(Vec<Option<Vec<u8>>>),
    Bigint(Vec<Option<i64>>),
    Int(Vec<Option<i32>>),
    Boolean(Vec<Option<bool>>),
    Time(Vec<Option<OffsetDateTime>>),
}

impl Column {
    fn of_type(udt: &str) -> Self {
        match udt {
            "bytea" => Self::Bytes(Vec::new()),
            "int8" => Self::Bigint(Vec::new()),
            "int4" => Self::Int(Vec::new()),
            "bool" => Self::Boolean(Vec::new()),
            "timestamptz" => Self::Time(Vec::new()),
            _ => Self::Text(Vec::new()),
        }
    }

    /// The type of its elements on the wire.
    const fn sent_as(&self) -> &'static str {
        match self {
            Self::Text(_) => "text",
            Self::Bytes(_) => "bytea",
            Self::Bigint(_) => "bigint",
            Self::Int(_) => "int",
            Self::Boolean(_) => "boolean",
            Self::Time(_) => "timestamptz",
        }
    }

    fn push(&mut self, row: &PgRow, index: usize) -> sqlx::Result<()> {
        match self {
            Self::Text(values) => values.push(row.try_get(index)?),
            Self::Bytes(values) => values.push(row.try_get(index)?),
            Self::Bigint(values) => values.push(row.try_get(index)?),
            Self::Int(values) => values.push(row.try_get(index)?),
            Self::Boolean(values) => values.push(row.try_get(index)?),
            Self::Time(values) => values.push(row.try_get(index)?),
        }
        Ok(())
    }

    fn bind<'q>(
        &'q self,
        query: Query<'q, Postgres, PgArguments>,
    ) -> Query<'q, Postgres, PgArguments> {
        match self {
            Self::Text(values) => query.bind(values),
            Self::Bytes(values) => query.bind(values),
            Self::Bigint(values) => query.bind(values),
            Self::Int(values) => query.bind(values),
            Self::Boolean(values) => query.bind(values),
            Self::Time(values) => query.bind(values),
        }
    }
}

impl Rows {
    /// Everything that the projector wrote, cut into this many transactions.
    pub(crate) async fn read(pool: &PgPool, transactions: usize) -> anyhow::Result<Self> {
        let mut rows = Self {
            transactions: (0..transactions).map(|_| Vec::new()).collect(),
            months: sqlx::query_scalar(
                "select distinct date_trunc('month', created)::date from pay.event",
            )
            .fetch_all(pool)
            .await?,
            count: 0,
        };
        for (table, together) in TABLES {
            rows.read_table(pool, table, together).await.with_context(|| table.to_owned())?;
        }
        Ok(rows)
    }

    async fn read_table(
        &mut self,
        pool: &PgPool,
        table: &str,
        together: &str,
    ) -> anyhow::Result<()> {
        // A trigger stamps the ledger's transaction.
        let columns: Vec<(String, String)> = sqlx::query_as(
            "select column_name::text, udt_name::text from information_schema.columns
             where table_schema || '.' || table_name = $1 and column_name <> 'transaction_id'
             order by ordinal_position",
        )
        .bind(table)
        .fetch_all(pool)
        .await?;
        let empty: Vec<Column> = columns.iter().map(|(_, udt)| Column::of_type(udt)).collect();
        let list = |each: &dyn Fn(usize) -> String| -> String {
            (0..columns.len()).map(each).collect::<Vec<_>>().join(", ")
        };
        let names = list(&|at| columns[at].0.clone());
        let is_cast = |at: usize| matches!(empty[at], Column::Text(_)) && columns[at].1 != "text";
        let read =
            list(&|at| format!("{}{}", columns[at].0, if is_cast(at) { "::text" } else { "" }));
        let written = list(&|at| {
            let cast = if is_cast(at) { format!("::{}", columns[at].1) } else { String::new() };
            format!("n.{}{cast}", columns[at].0)
        });
        let sent = list(&|at| format!("${}::{}[]", at + 1, empty[at].sent_as()));
        let sql = format!(
            "insert into {table} ({names}) overriding system value
             select {written} from unnest({sent}) as n({names})"
        );
        let query = format!("select {read}, abs(hashtext({together}::text)) from {table}");
        let stored = sqlx::query(AssertSqlSafe(query)).fetch_all(pool).await?;
        let mut parts = vec![empty; self.transactions.len()];
        for row in &stored {
            let hash: i32 = row.try_get(columns.len())?;
            let number = usize::try_from(hash)? % parts.len();
            for (index, column) in parts[number].iter_mut().enumerate() {
                column.push(row, index)?;
            }
        }
        self.count += stored.len();
        if !stored.is_empty() {
            for (transaction, columns) in self.transactions.iter_mut().zip(parts) {
                transaction.push(Insert { sql: sql.clone(), columns });
            }
        }
        Ok(())
    }

    /// How many rows, of all tables.
    pub(crate) fn count(&self) -> usize {
        self.count
    }

    /// Writes them into an empty database over this many connections. The time from the first
    /// transaction to the last comes back.
    pub(crate) async fn write(&self, url: &str, connections: usize) -> anyhow::Result<Duration> {
        let mut open = Vec::with_capacity(connections);
        for _ in 0..connections {
            open.push(PgConnection::connect(url).await?);
        }
        for month in &self.months {
            let made = sqlx::query("select pay.ensure_event_month($1)").bind(month);
            made.execute(&mut open[0]).await?;
        }
        let (next, begin) = (AtomicUsize::new(0), Instant::now());
        try_join_all(open.into_iter().map(|connection| self.work(connection, &next))).await?;
        Ok(begin.elapsed())
    }

    async fn work(&self, mut connection: PgConnection, next: &AtomicUsize) -> anyhow::Result<()> {
        while let Some(inserts) = self.transactions.get(next.fetch_add(1, Ordering::Relaxed)) {
            let mut tx = connection.begin().await?;
            for Insert { sql, columns } in inserts {
                let query = sqlx::query(AssertSqlSafe(sql.as_str()));
                let query = columns.iter().fold(query, |query, column| column.bind(query));
                query.execute(&mut *tx).await?;
            }
            tx.commit().await?;
        }
        Ok(())
    }
}
