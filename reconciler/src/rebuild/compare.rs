//! What of two databases differs: by their hashes, then row by row where those differ.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use futures::{Stream, TryStreamExt as _};
use serde_json::{Map, Value};
use sqlx::{PgConnection, Row as _};

use crate::hash::{self, Parts, Table};
use crate::store::Change;

/// What a comparison came to.
#[derive(Debug)]
pub(crate) struct Comparison {
    pub(crate) live: Parts,
    pub(crate) rebuilt: Parts,
    /// How many rows differ, by table.
    pub(crate) differing: BTreeMap<&'static str, u64>,
    /// The first of them, before (live) and after (rebuilt).
    pub(crate) changes: Vec<Change>,
}

impl Comparison {
    pub(crate) fn is_equal(&self) -> bool {
        self.live == self.rebuilt && self.differing.is_empty()
    }
}

/// Compares what two transactions see, and names at most so many rows.
pub(super) async fn compare(
    live: &mut PgConnection,
    rebuilt: &mut PgConnection,
    most: usize,
) -> anyhow::Result<Comparison> {
    let (one, other) = tokio::try_join!(hash::seen_by(live), hash::seen_by(rebuilt))?;
    let mut found = Comparison {
        differing: BTreeMap::new(),
        changes: Vec::new(),
        live: one.clone(),
        rebuilt: other.clone(),
    };
    let parts = one.iter().zip(&other).filter(|(one, other)| one != other);
    for table in parts.flat_map(|((part, _), _)| hash::tables(part)) {
        let room = most - found.changes.len();
        let (total, keys) = differing(live, rebuilt, table, room).await?;
        if total > 0 {
            *found.differing.entry(table.name).or_default() += total;
            found.changes.extend(changes(live, rebuilt, table, &keys).await?);
        }
    }
    let (total, keys) = nameless(live, rebuilt).await?;
    if total > 0 {
        found.differing.insert("pay.quarantine", total);
        let room = most - found.changes.len();
        found.changes.extend(keys.into_iter().take(room));
    }
    Ok(found)
}

/// How many rows of a table differ, and the keys of the first of them. Both sides are read in the
/// order of their keys, side by side, so memory stays flat.
async fn differing(
    live: &mut PgConnection,
    rebuilt: &mut PgConnection,
    table: &Table,
    most: usize,
) -> sqlx::Result<(u64, Vec<String>)> {
    let (mut ours, mut theirs) = (digests(live, table), digests(rebuilt, table));
    let (mut one, mut other) = tokio::try_join!(ours.try_next(), theirs.try_next())?;
    let (mut total, mut keys) = (0, Vec::new());
    loop {
        let order = match (&one, &other) {
            (None, None) => return Ok((total, keys)),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(one), Some(other)) => one.0.cmp(&other.0),
        };
        let differs = order != Ordering::Equal || one != other;
        let key = if order == Ordering::Greater { &other } else { &one };
        if let (true, Some((key, _))) = (differs, key) {
            total += 1;
            if keys.len() < most {
                keys.push(key.clone());
            }
        }
        if order != Ordering::Greater {
            one = ours.try_next().await?;
        }
        if order != Ordering::Less {
            other = theirs.try_next().await?;
        }
    }
}

/// Key and digest of every row, in order.
fn digests<'a>(
    connection: &'a mut PgConnection,
    table: &Table,
) -> impl Stream<Item = sqlx::Result<(String, Vec<u8>)>> + Unpin + use<'a> {
    let rows = sqlx::query(sqlx::AssertSqlSafe(table.keyed())).fetch(connection);
    Box::pin(rows.and_then(async |row| Ok((row.try_get("key")?, row.try_get("digest")?))))
}

/// What the rows with these keys are on both sides.
async fn changes(
    live: &mut PgConnection,
    rebuilt: &mut PgConnection,
    table: &Table,
    keys: &[String],
) -> sqlx::Result<Vec<Change>> {
    let (mut before, mut after) =
        tokio::try_join!(rows(live, table, keys), rows(rebuilt, table, keys))?;
    let change = |key: &String| {
        let (before, after) = (before.remove(key), after.remove(key));
        let id = before.as_ref().or(after.as_ref()).map(|(id, _)| id.clone())?;
        let row = |side: Option<(String, Map<String, Value>)>| side.map(|(_, row)| row);
        Change::between(table.name.to_owned(), id, row(before), row(after))
    };
    Ok(keys.iter().filter_map(change).collect())
}

type Named = BTreeMap<String, (String, Map<String, Value>)>;

async fn rows(
    connection: &mut PgConnection,
    table: &Table,
    keys: &[String],
) -> sqlx::Result<Named> {
    let rows = sqlx::query(sqlx::AssertSqlSafe(table.rows())).bind(keys);
    let rows = rows.fetch_all(connection).await?;
    rows.iter()
        .map(|row| {
            let columns: Value = row.try_get("row")?;
            let columns = columns.as_object().cloned().unwrap_or_default();
            Ok((row.try_get("key")?, (row.try_get("id")?, columns)))
        })
        .collect()
}

/// Records in quarantine whose event cannot even be told: they have no other trace. Of the others the
/// verdict in `pay.event` tells, and which of an event's records is kept is a matter of arrival.
async fn nameless(
    live: &mut PgConnection,
    rebuilt: &mut PgConnection,
) -> sqlx::Result<(u64, Vec<Change>)> {
    let (one, other) = tokio::try_join!(places(live), places(rebuilt))?;
    let is = |kept: &BTreeSet<String>, place: &String| {
        kept.contains(place).then(|| Map::from_iter([("kept".to_owned(), true.into())]))
    };
    let change = |place: &String| {
        let (before, after) = (is(&one, place), is(&other, place));
        Change::between("pay.quarantine".to_owned(), place.clone(), before, after)
    };
    let changes: Vec<Change> = one.symmetric_difference(&other).filter_map(change).collect();
    Ok((changes.len() as u64, changes))
}

async fn places(connection: &mut PgConnection) -> sqlx::Result<BTreeSet<String>> {
    let places: Vec<String> = sqlx::query_scalar(
        "select topic_id || '/' || partition || ':' || kafka_offset from pay.quarantine
         where event_id is null and state <> 'redriven'",
    )
    .fetch_all(connection)
    .await?;
    Ok(places.into_iter().collect())
}
