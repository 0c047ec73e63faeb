//! `pay.stripe_object`: what is locked, and the newest snapshot of every object.

use std::collections::{BTreeMap, BTreeSet};

use domain::aggregate::States;
use domain::derive::depends_on;
use domain::json::Doc;
use domain::object::{Kind, ObjectKey};
use domain::order::{Newest, OrderingKey};
use domain::state::{Milestones, ObjectState, Snapshot};
use futures::{Stream, TryStreamExt as _};
use serde_json::Value;
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Row as _};

use super::column;

/// The ids that these objects are linked with, and the accounts that they depend on.
pub(super) async fn links(
    connection: &mut PgConnection,
    keys: &BTreeSet<ObjectKey>,
) -> sqlx::Result<BTreeSet<ObjectKey>> {
    let rows = sqlx::query(
        "with found as (
           select o.account, o.links, o.depends_on
           from unnest($1::text[], $2::text[]) as n(account, object_id)
           join pay.stripe_object as o using (account, object_id))
         select account, unnest(links) as id from found
         union select depends_on, depends_on from found where depends_on is not null",
    )
    .bind(column(keys, |key| key.account.as_str()))
    .bind(column(keys, |key| key.id.as_str()))
    .fetch_all(connection)
    .await?;
    rows.iter()
        .map(|row| Ok(ObjectKey { account: row.try_get("account")?, id: row.try_get("id")? }))
        .collect()
}

/// The objects whose rows or ledger name the providers of these connected accounts, at most so many.
pub(super) fn dependents<'a>(
    tx: &'a mut PgConnection,
    accounts: &'a [String],
    limit: Option<i64>,
) -> impl Stream<Item = sqlx::Result<ObjectKey>> + Send + 'a {
    let rows = sqlx::query_as::<_, (String, String)>(
        "select account, object_id from pay.stripe_object where depends_on = any($1) limit $2",
    );
    let rows = rows.bind(accounts).bind(limit).fetch(tx);
    rows.map_ok(|(account, id)| ObjectKey::new(account, id))
}

/// Makes a row for every id, so that there is something to lock. Sorted: two transactions that
/// make the same rows wait for each other in one direction only.
pub(super) async fn insert_stubs(
    tx: &mut PgConnection,
    keys: &BTreeSet<ObjectKey>,
) -> sqlx::Result<()> {
    sqlx::query(
        "insert into pay.stripe_object (account, object_id)
         select account, object_id from unnest($1::text[], $2::text[]) as n(account, object_id)
         order by account collate \"C\", object_id collate \"C\"
         on conflict do nothing",
    )
    .bind(column(keys, |key| key.account.as_str()))
    .bind(column(keys, |key| key.id.as_str()))
    .execute(tx)
    .await
    .map(drop)
}

/// Locks the rows, in the same order everywhere.
pub(super) async fn lock(tx: &mut PgConnection, keys: &BTreeSet<ObjectKey>) -> sqlx::Result<()> {
    sqlx::query(
        "select 1 from pay.stripe_object as o
         join unnest($1::text[], $2::text[]) as n(account, object_id) using (account, object_id)
         order by o.account collate \"C\", o.object_id collate \"C\"
         for update of o",
    )
    .bind(column(keys, |key| key.account.as_str()))
    .bind(column(keys, |key| key.id.as_str()))
    .execute(tx)
    .await
    .map(drop)
}

/// Reads the states. The document of a kind that derives no rows stays in the database: only its
/// place in the order is needed.
pub(super) async fn load(
    tx: &mut PgConnection,
    keys: &BTreeSet<ObjectKey>,
) -> sqlx::Result<States> {
    let modelled: Vec<&str> = Kind::names().collect();
    let rows = sqlx::query(
        "select account, object_id, kind, ordering, event_id, api_version, livemode, connected,
           deleted, tied, links,
           extract(epoch from created)::bigint as created,
           extract(epoch from authorized_at)::bigint as authorized_at,
           extract(epoch from captured_at)::bigint as captured_at,
           extract(epoch from failed_at)::bigint as failed_at,
           case when kind = any($3) then snapshot end as snapshot
         from pay.stripe_object
         join unnest($1::text[], $2::text[]) as n(account, object_id) using (account, object_id)",
    )
    .bind(column(keys, |key| key.account.as_str()))
    .bind(column(keys, |key| key.id.as_str()))
    .bind(modelled)
    .fetch_all(tx)
    .await?;
    let states = rows.iter().map(state_of_row).collect::<sqlx::Result<Vec<_>>>()?;
    Ok(states.into_iter().map(|state| (state.key.clone(), state)).collect::<BTreeMap<_, _>>())
}

fn state_of_row(row: &PgRow) -> sqlx::Result<ObjectState> {
    let kind: Option<String> = row.try_get("kind")?;
    let newest = match kind {
        None => None,
        Some(kind) => {
            let doc: Value = row.try_get::<Option<_>, _>("snapshot")?.unwrap_or_default();
            Some(Newest {
                key: OrderingKey::from_bytes(row.try_get("ordering")?),
                status: Kind::find(&kind).map(|kind| kind.status(Doc(&doc))).unwrap_or_default(),
                tied: row.try_get("tied")?,
                value: Snapshot {
                    kind,
                    doc,
                    created: row.try_get("created")?,
                    event_id: row.try_get("event_id")?,
                    api_version: row.try_get("api_version")?,
                    livemode: row.try_get("livemode")?,
                    deleted: row.try_get("deleted")?,
                },
            })
        }
    };
    Ok(ObjectState {
        key: ObjectKey { account: row.try_get("account")?, id: row.try_get("object_id")? },
        newest,
        links: row.try_get::<Vec<String>, _>("links")?.into_iter().collect(),
        connected: row.try_get("connected")?,
        milestones: Milestones {
            authorized_at: row.try_get("authorized_at")?,
            captured_at: row.try_get("captured_at")?,
            failed_at: row.try_get("failed_at")?,
        },
    })
}

/// Writes states that changed. Their rows are locked.
pub(super) async fn save<'a>(
    tx: &mut PgConnection,
    states: impl Iterator<Item = &'a ObjectState>,
) -> sqlx::Result<()> {
    let states: Vec<&ObjectState> = states.collect();
    if states.is_empty() {
        return Ok(());
    }
    let newest = |state: &&'a ObjectState| state.newest.as_ref();
    let snapshot = |state: &&'a ObjectState| state.newest.as_ref().map(|newest| &newest.value);
    // Ids hold no white space, so a space can part the links: arrays of arrays cannot be unnested
    // to arrays. A document that was not loaded did not change.
    sqlx::query(
        "update pay.stripe_object as o
         set kind = n.kind, ordering = n.ordering, event_id = n.event_id,
           api_version = n.api_version, livemode = n.livemode, connected = n.connected,
           deleted = n.deleted, tied = n.tied, links = string_to_array(n.links, ' '),
           created = to_timestamp(n.created), authorized_at = to_timestamp(n.authorized_at),
           captured_at = to_timestamp(n.captured_at), failed_at = to_timestamp(n.failed_at),
           depends_on = n.depends_on,
           snapshot = case when n.ordering is distinct from o.ordering
             then n.snapshot else o.snapshot end,
           updated_at = now()
         from unnest($1::text[], $2::text[], $3::text[], $4::bytea[], $5::text[], $6::text[],
           $7::boolean[], $8::boolean[], $9::boolean[], $10::boolean[], $11::text[], $12::bigint[],
           $13::bigint[], $14::bigint[], $15::bigint[], $16::jsonb[], $17::text[])
           as n(account, object_id, kind, ordering, event_id, api_version, livemode, connected,
           deleted, tied, links, created, authorized_at, captured_at, failed_at, snapshot,
           depends_on)
         where o.account = n.account and o.object_id = n.object_id",
    )
    .bind(column(&states, |state| state.key.account.as_str()))
    .bind(column(&states, |state| state.key.id.as_str()))
    .bind(column(&states, |state| snapshot(state).map(|snapshot| snapshot.kind.as_str())))
    .bind(column(&states, |state| newest(state).map(|newest| newest.key.as_bytes())))
    .bind(column(&states, |state| snapshot(state).map(|snapshot| snapshot.event_id.as_str())))
    .bind(column(&states, |state| snapshot(state).and_then(|it| it.api_version.as_deref())))
    .bind(column(&states, |state| snapshot(state).map(|snapshot| snapshot.livemode)))
    .bind(column(&states, |state| state.connected))
    .bind(column(&states, |state| snapshot(state).is_some_and(|snapshot| snapshot.deleted)))
    .bind(column(&states, |state| newest(state).is_some_and(|newest| newest.tied)))
    .bind(column(&states, |state| {
        state.links.iter().map(String::as_str).collect::<Vec<_>>().join(" ")
    }))
    .bind(column(&states, |state| snapshot(state).map(|snapshot| snapshot.created)))
    .bind(column(&states, |state| state.milestones.authorized_at))
    .bind(column(&states, |state| state.milestones.captured_at))
    .bind(column(&states, |state| state.milestones.failed_at))
    .bind(column(&states, |state| snapshot(state).map(|snapshot| snapshot.doc.clone())))
    .bind(column(&states, |state| depends_on(state)))
    .execute(tx)
    .await
    .map(drop)
}
