//! The database that is rebuilt: one of its own beside the live one, or an empty one that was named.

use std::time::Duration;

use anyhow::{Context as _, bail};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection, PgPool};
use time::OffsetDateTime;
use time::macros::format_description;

use crate::commands::migrate;
use crate::database::{self, Timeouts};

/// The command that leaves its name in `pay.operation` of a database that is rebuilt, and nowhere
/// else.
pub(super) const COMMAND: &str = "rebuild into";
/// What the name of a database of our own has after the live one's.
const INFIX: &str = "_rebuild_";
/// PostgreSQL's limit on names, in bytes.
const MAX_NAME: usize = 63;
/// How often a database of our own is tried to be dropped: something of the server's may be at work
/// in it.
const MAX_DROPS: u32 = 40;

/// Where it is, and whether it is ours.
#[derive(Debug)]
pub(crate) struct Target {
    options: PgConnectOptions,
    name: String,
    /// How to reach the live database, if this one was made beside it.
    live: Option<PgConnectOptions>,
}

impl Target {
    /// Makes a database beside the live one.
    pub(crate) async fn beside(live: &PgConnectOptions) -> anyhow::Result<Self> {
        let mut connection =
            PgConnection::connect_with(live).await.context("connecting to the live database")?;
        let live_name: String =
            sqlx::query_scalar("select current_database()").fetch_one(&mut connection).await?;
        for left in left_over(&mut connection, &live_name).await? {
            tracing::warn!(database = left, "an earlier rebuild left this; drop it if none runs");
        }
        let name = name(&live_name, OffsetDateTime::now_utc(), std::process::id())?;
        connection
            .execute(AssertSqlSafe(format!("create database {}", quoted(&name))))
            .await
            .context(
                "making a database beside the live one (the role needs CREATEDB; or name an empty \
                 one with --into)",
            )?;
        let options = live.clone().database(&name);
        Ok(Self { options, name, live: Some(live.clone()) })
    }

    /// Takes the named database.
    pub(crate) async fn named(options: PgConnectOptions) -> anyhow::Result<Self> {
        let mut connection =
            PgConnection::connect_with(&options).await.context("connecting to --into")?;
        let name: String =
            sqlx::query_scalar("select current_database()").fetch_one(&mut connection).await?;
        if !is_empty(&mut connection).await? && !is_begun(&mut connection).await? {
            bail!(
                "the database {name} is not empty, nor is it a rebuild that has yet to take over; \
                 --into takes an empty one"
            );
        }
        Ok(Self { options, name, live: None })
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Brings it to this program's schema.
    pub(super) async fn migrate(&self) -> anyhow::Result<()> {
        migrate::apply(&mut self.connect().await?).await.map(drop).context("migrating")
    }

    /// A connection whose statements may take as long as they need.
    pub(super) async fn connect(&self) -> anyhow::Result<PgConnection> {
        let connection = PgConnection::connect_with(&self.options).await;
        connection.with_context(|| format!("connecting to {}", self.name))
    }

    /// Connections for applying.
    pub(super) fn pool(&self, connections: u32) -> PgPool {
        let options = database::limited(self.options.clone(), Timeouts::default());
        PgPoolOptions::new().max_connections(connections).connect_lazy_with(options)
    }

    /// Drops it, if it is ours. Every pool must be closed.
    pub(crate) async fn drop(&self) -> anyhow::Result<()> {
        let Some(live) = &self.live else { return Ok(()) };
        let doing = || format!("dropping the database {}", self.name);
        let sql = format!("drop database if exists {} with (force)", quoted(&self.name));
        let mut attempts = 0;
        loop {
            let dropped = async {
                let mut connection = PgConnection::connect_with(live).await?;
                connection.execute(AssertSqlSafe(sql.clone())).await
            };
            match dropped.await {
                Ok(_) => return Ok(()),
                // A worker of autovacuum's is not ended by the force, but it ends.
                Err(_) if attempts < MAX_DROPS => attempts += 1,
                Err(error) => return Err(error).with_context(doing),
            }
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
    }
}

/// Whether there is nothing in it but what extensions brought.
async fn is_empty(connection: &mut PgConnection) -> sqlx::Result<bool> {
    sqlx::query_scalar(
        "select not exists (select from pg_class as c join pg_namespace as n on n.oid = c.relnamespace
           where n.nspname not in ('pg_catalog', 'information_schema')
             and n.nspname !~ '^pg_(toast|temp_)'
             and not exists (select from pg_depend as d
               where d.classid = 'pg_class'::regclass and d.objid = c.oid and d.deptype = 'e'))
         and to_regnamespace('pay') is null and to_regnamespace('acc') is null",
    )
    .fetch_one(connection)
    .await
}

/// Whether a rebuild has begun in it and nobody has worked on it since.
async fn is_begun(connection: &mut PgConnection) -> sqlx::Result<bool> {
    let ours: bool =
        sqlx::query_scalar("select to_regclass('pay.operation') is not null
               and to_regclass('pay.position') is not null and to_regclass('pay.outbox') is not null")
            .fetch_one(&mut *connection)
            .await?;
    if !ours {
        return Ok(false);
    }
    sqlx::query_scalar(
        "select exists (select from pay.operation where command = $1)
           and not exists (select from pay.position where role <> 'project')
           and not exists (select from pay.outbox)",
    )
    .bind(COMMAND)
    .fetch_one(connection)
    .await
}

/// Databases of earlier rebuilds.
async fn left_over(connection: &mut PgConnection, live: &str) -> sqlx::Result<Vec<String>> {
    let prefix = format!("{live}{INFIX}");
    sqlx::query_scalar("select datname from pg_database where starts_with(datname, $1) order by 1")
        .bind(prefix)
        .fetch_all(connection)
        .await
}

/// The live database's name, that it is a rebuild, and when and by which process.
fn name(live: &str, now: OffsetDateTime, process: u32) -> anyhow::Result<String> {
    let when = now.format(format_description!("[year][month][day]_[hour][minute][second]"))?;
    let rest = format!("{INFIX}{when}_{process}");
    let most = MAX_NAME - rest.len();
    let end = (0..=most.min(live.len())).rev().find(|end| live.is_char_boundary(*end));
    Ok(format!("{}{rest}", &live[..end.unwrap_or_default()]))
}

/// An identifier of SQL.
fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn a_name_says_what_it_is_and_is_never_too_long() {
        let at = datetime!(2026-01-31 12:00:05 UTC);
        assert_eq!(name("stripe", at, 7).unwrap(), "stripe_rebuild_20260131_120005_7");
        let long = name(&"ü".repeat(40), at, u32::MAX).unwrap();
        assert!(long.len() <= MAX_NAME, "{long}");
        assert!(long.ends_with("_rebuild_20260131_120005_4294967295"), "{long}");
        assert_eq!(quoted("a\"b"), "\"a\"\"b\"");
    }
}
