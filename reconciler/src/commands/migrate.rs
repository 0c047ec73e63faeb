//! `reconciler migrate`, and the check that it was run.

use std::collections::BTreeSet;
use std::io::Write as _;

use anyhow::{Context as _, bail};
use serde_json::json;
use service::exit::Outcome;
use service::stdout;
use sqlx::migrate::{MigrateError, Migrator};
use sqlx::{Connection as _, PgConnection, PgPool};

use crate::config::Database;
use crate::database;
use crate::fault::Fault;
use crate::operation::{self, Operator};

static MIGRATIONS: Migrator = sqlx::migrate!("../migrations");

/// Applies what is missing, and notes that in `pay.operation`. A database that a newer program has
/// migrated is refused.
pub(crate) async fn run(by: &Operator, settings: &Database) -> anyhow::Result<Outcome> {
    let options = database::options(&settings.url()?, "migrate")?;
    // No statement time-out: building an index on a large table may take long.
    let mut connection =
        PgConnection::connect_with(&options).await.context("connecting to Postgres")?;
    let added = apply(&mut connection).await?;
    if !added.is_empty() {
        let arguments = json!({"migrations": added});
        let id = operation::begin(&mut connection, by, "migrate", arguments).await?;
        operation::end(&mut connection, id, "done", json!({})).await?;
    }
    let newest = MIGRATIONS.iter().map(|migration| migration.version).max().unwrap_or_default();
    stdout::print(|out| writeln!(out, "database is at migration {newest}"))?;
    Ok(Outcome::Done)
}

/// Applies what is missing, and returns what that was.
pub(crate) async fn apply(connection: &mut PgConnection) -> anyhow::Result<Vec<i64>> {
    let before = applied(connection).await.context("reading migrations")?;
    match MIGRATIONS.run(&mut *connection).await {
        Ok(()) => {}
        Err(MigrateError::VersionMissing(version)) => bail!("{}", newer(version)),
        Err(error) => return Err(error).context("migrating"),
    }
    let after = applied(connection).await.context("reading migrations")?;
    Ok(after.difference(&before).copied().collect())
}

/// Whether the database has this program's schema. The inner error is the line for the operator.
pub(crate) async fn check(pool: &PgPool) -> Result<Result<(), String>, Fault> {
    let mut connection = database::acquire(pool).await?;
    let applied = database::within(applied(&mut connection)).await;
    let applied = database::settle(connection, "reading migrations", applied).await?;
    let ours = MIGRATIONS.iter().map(|migration| migration.version).collect();
    Ok(compare(&ours, &applied))
}

async fn applied(connection: &mut PgConnection) -> sqlx::Result<BTreeSet<i64>> {
    let present: bool = sqlx::query_scalar("select to_regclass('_sqlx_migrations') is not null")
        .fetch_one(&mut *connection)
        .await?;
    if !present {
        return Ok(BTreeSet::new());
    }
    let applied = sqlx::query_scalar("select version from _sqlx_migrations where success")
        .fetch_all(connection)
        .await?;
    Ok(applied.into_iter().collect())
}

fn compare(ours: &BTreeSet<i64>, applied: &BTreeSet<i64>) -> Result<(), String> {
    if let Some(version) = applied.difference(ours).last() {
        return Err(newer(*version));
    }
    match ours.difference(applied).next() {
        Some(version) => {
            Err(format!("the database lacks migration {version}; run `reconciler migrate` first"))
        }
        None => Ok(()),
    }
}

fn newer(version: i64) -> String {
    format!("the database has migration {version}, which this program does not know: it is newer")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_migrations_will_do() {
        let check = |applied: &[i64]| {
            compare(&BTreeSet::from([20, 21]), &applied.iter().copied().collect())
        };
        assert_eq!(check(&[21, 20]), Ok(()));
        assert!(check(&[20]).unwrap_err().contains("lacks migration 21"));
        assert!(check(&[]).unwrap_err().contains("reconciler migrate"));
        assert!(check(&[20, 21, 22]).unwrap_err().contains("it is newer"));
    }
}
