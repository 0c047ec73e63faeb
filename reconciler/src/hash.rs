//! The hash of the whole state, so that two runs can be compared.
//!
//! docs/HASH.md lists every column. Each row's digest is the SHA-256 of a JSON array of its
//! columns; a part is the sum of its rows' digests, so neither order nor physical layout counts.
//! What of two states differs, row by row, is found by the same columns ([`Table::keyed`]).

mod columns;

use anyhow::Context as _;
use domain::set_hash::SetHash;
use futures::TryStreamExt as _;
use sqlx::{Connection as _, PgConnection, Row as _};

use self::columns::PARTS;
pub(crate) use self::columns::Table;

/// The hash of each part, by name, and at last of all of them together.
pub type Parts = Vec<(&'static str, SetHash)>;

/// The hash from one snapshot of the database.
pub async fn of(connection: &mut PgConnection) -> anyhow::Result<Parts> {
    let mut tx = connection.begin().await?;
    sqlx::query("set transaction isolation level repeatable read read only")
        .execute(&mut *tx)
        .await?;
    let parts = seen_by(&mut tx).await?;
    tx.commit().await?;
    Ok(parts)
}

/// The hash of what this transaction sees, which is one snapshot if it is a repeatable read.
pub(crate) async fn seen_by(tx: &mut PgConnection) -> anyhow::Result<Parts> {
    let mut all = SetHash::default();
    let mut parts = Parts::new();
    for (name, tables) in PARTS {
        let mut part = SetHash::default();
        for table in tables {
            let sum = sum_rows(tx, table).await.with_context(|| format!("hashing {name}"))?;
            part.merge(&sum);
        }
        all.merge(&part);
        parts.push((name, part));
    }
    parts.push(("all", all));
    Ok(parts)
}

/// The tables of a part.
pub(crate) fn tables(part: &str) -> &'static [Table] {
    PARTS.iter().find(|(name, _)| *name == part).map_or(&[], |(_, tables)| tables)
}

/// Sums the rows' digests as they stream in: memory stays flat whatever the table's size.
async fn sum_rows(connection: &mut PgConnection, table: &Table) -> anyhow::Result<SetHash> {
    let mut hash = SetHash::default();
    let mut rows = sqlx::query(sqlx::AssertSqlSafe(table.digests())).fetch(connection);
    while let Some(row) = rows.try_next().await? {
        let digest: Vec<u8> = row.try_get(0)?;
        hash.add(digest.as_slice().try_into().context("a digest has 32 bytes")?);
    }
    Ok(hash)
}
