//! `pay.fact` and `pay.outbox`: what was proved, permanently, and what of it waits to be told.

use std::collections::{BTreeMap, BTreeSet};

use domain::fact::{DomainEvent, Fact};
use domain::object::ObjectKey;
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Row as _};

use super::column;
use super::pace::{Pace, Step};
use crate::sink::Sink;

/// Keeps the earliest proof of each fact, holds back what the aggregates do not bear out, and
/// queues what is new to tell, once for each sink.
pub(super) async fn write(
    tx: &mut PgConnection,
    facts: &[&Fact],
    held: &[(ObjectKey, bool)],
    sinks: &BTreeSet<Sink>,
    pace: &impl Pace,
) -> sqlx::Result<Written> {
    pace.before(Step::WriteFacts).await;
    let proved = keep_earliest(tx, facts).await?;
    let count = proved.len() as u64;
    pace.before(Step::SetHeld).await;
    let released = set_held(tx, held).await?;
    pace.before(Step::Queue).await;
    // By id, so that a fact that was both better proved and released is told once, as it is now.
    let told: BTreeMap<String, Fact> = proved
        .into_iter()
        .filter(|fact| !fact.held)
        .chain(released)
        .map(|fact| (fact.fact_id.clone(), fact))
        .collect();
    Ok(Written { proved: count, queued: queue(tx, &told, sinks).await? })
}

/// What was written of facts.
pub(super) struct Written {
    /// Facts that are new or better proved.
    pub(super) proved: u64,
    /// Rows in the outbox.
    pub(super) queued: u64,
}

/// The columns of [`fact_of_row`].
macro_rules! columns {
    () => {
        "f.fact_id, f.type, f.account, f.subject, f.object_id,
           extract(epoch from f.created)::bigint as created, f.event_id, f.livemode, f.data, f.held"
    };
}

async fn keep_earliest(tx: &mut PgConnection, facts: &[&Fact]) -> sqlx::Result<Vec<Fact>> {
    let mut earliest: BTreeMap<&str, &Fact> = BTreeMap::new();
    for fact in facts {
        let kept = earliest.entry(&fact.fact_id).or_insert(fact);
        if fact.precedes(kept) {
            *kept = fact;
        }
    }
    if earliest.is_empty() {
        return Ok(Vec::new());
    }
    let facts: Vec<&Fact> = earliest.into_values().collect();
    let rows = sqlx::query(concat!(
        "insert into pay.fact as f (fact_id, type, account, subject, object_id, created, event_id,
           livemode, data, content_hash, held)
         select fact_id, type, account, subject, object_id, to_timestamp(created), event_id,
           livemode, data, content_hash, held
         from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::bigint[],
           $7::text[], $8::boolean[], $9::jsonb[], $10::bytea[], $11::boolean[])
           as n(fact_id, type, account, subject, object_id, created, event_id, livemode, data,
           content_hash, held)
         order by fact_id collate \"C\"
         on conflict (fact_id) do update
         set object_id = excluded.object_id, created = excluded.created,
           event_id = excluded.event_id, livemode = excluded.livemode, data = excluded.data,
           content_hash = excluded.content_hash
         where (excluded.created, excluded.content_hash, excluded.event_id collate \"C\",
             excluded.object_id collate \"C\")
           < (f.created, f.content_hash, f.event_id collate \"C\", f.object_id collate \"C\")",
        " returning ",
        columns!()
    ))
    .bind(column(&facts, |fact| fact.fact_id.as_str()))
    .bind(column(&facts, |fact| fact.kind.as_str()))
    .bind(column(&facts, |fact| fact.account.as_str()))
    .bind(column(&facts, |fact| fact.subject.as_str()))
    .bind(column(&facts, |fact| fact.object_id.as_str()))
    .bind(column(&facts, |fact| fact.created))
    .bind(column(&facts, |fact| fact.event_id.as_str()))
    .bind(column(&facts, |fact| fact.livemode))
    .bind(column(&facts, |fact| fact.data.clone()))
    .bind(column(&facts, |fact| fact.content_hash().to_vec()))
    .bind(column(&facts, |fact| fact.held))
    .fetch_all(tx)
    .await?;
    rows.iter().map(fact_of_row).collect()
}

/// Holds and releases the conditional facts of these objects; returns the released ones.
async fn set_held(tx: &mut PgConnection, held: &[(ObjectKey, bool)]) -> sqlx::Result<Vec<Fact>> {
    if held.is_empty() {
        return Ok(Vec::new());
    }
    let rows = sqlx::query(concat!(
        "update pay.fact as f set held = n.held
         from unnest($1::text[], $2::text[], $3::boolean[]) as n(account, object_id, held)
         where f.account = n.account and f.object_id = n.object_id and f.held <> n.held",
        " returning ",
        columns!()
    ))
    .bind(column(held, |(key, _)| key.account.as_str()))
    .bind(column(held, |(key, _)| key.id.as_str()))
    .bind(column(held, |(_, held)| *held))
    .fetch_all(tx)
    .await?;
    let facts: Vec<Fact> = rows.iter().map(fact_of_row).collect::<sqlx::Result<_>>()?;
    Ok(facts.into_iter().filter(|fact| !fact.held).collect())
}

/// Of these facts, those that are known.
pub(super) async fn stored(tx: &mut PgConnection, ids: &[&str]) -> sqlx::Result<Vec<Fact>> {
    let rows =
        sqlx::query(concat!("select ", columns!(), " from pay.fact as f where fact_id = any($1)"))
            .bind(ids)
            .fetch_all(tx)
            .await?;
    rows.iter().map(fact_of_row).collect()
}

/// The facts of these objects that are held.
pub(super) async fn held_of(tx: &mut PgConnection, keys: &[ObjectKey]) -> sqlx::Result<Vec<Fact>> {
    let rows = sqlx::query(concat!(
        "select ",
        columns!(),
        " from pay.fact as f
         join unnest($1::text[], $2::text[]) as n(account, object_id)
           on f.account = n.account and f.object_id = n.object_id
         where f.held"
    ))
    .bind(column(keys, |key| key.account.as_str()))
    .bind(column(keys, |key| key.id.as_str()))
    .fetch_all(tx)
    .await?;
    rows.iter().map(fact_of_row).collect()
}

/// How many of these domain events are not in the queue, summed over the sinks.
pub(super) async fn unqueued(
    tx: &mut PgConnection,
    events: &[String],
    sinks: &BTreeSet<Sink>,
) -> sqlx::Result<u64> {
    let queued: i64 = sqlx::query_scalar(
        "select count(*) from pay.outbox where sink = any($1) and event_id = any($2)",
    )
    .bind(column(sinks, |sink| sink.as_str()))
    .bind(events)
    .fetch_one(tx)
    .await?;
    Ok((events.len() * sinks.len()) as u64 - queued.unsigned_abs())
}

/// Queues the domain events for each sink. Returns how many rows.
async fn queue(
    tx: &mut PgConnection,
    facts: &BTreeMap<String, Fact>,
    sinks: &BTreeSet<Sink>,
) -> sqlx::Result<u64> {
    if facts.is_empty() {
        return Ok(0);
    }
    let events: Vec<(&Fact, DomainEvent)> =
        facts.values().map(|fact| (fact, fact.to_domain_event())).collect();
    let queued = sqlx::query(
        "insert into pay.outbox (sink, event_id, fact_id, type, subject, payload)
         select sink, event_id, fact_id, type, subject, payload
         from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[])
           as n(event_id, fact_id, type, subject, payload)
         cross join unnest($6::text[]) as s(sink)
         order by sink collate \"C\", event_id collate \"C\"
         on conflict (sink, event_id) do nothing",
    )
    .bind(column(&events, |(_, event)| event.id.as_str()))
    .bind(column(&events, |(fact, _)| fact.fact_id.as_str()))
    .bind(column(&events, |(fact, _)| fact.kind.as_str()))
    .bind(column(&events, |(fact, _)| fact.subject.as_str()))
    .bind(column(&events, |(_, event)| event.payload.as_str()))
    .bind(column(sinks, |sink| sink.as_str()))
    .execute(tx)
    .await?;
    Ok(queued.rows_affected())
}

/// A fact from its columns, `created` in Unix seconds.
pub(crate) fn fact_of_row(row: &PgRow) -> sqlx::Result<Fact> {
    Ok(Fact {
        fact_id: row.try_get("fact_id")?,
        kind: row.try_get("type")?,
        account: row.try_get("account")?,
        subject: row.try_get("subject")?,
        object_id: row.try_get("object_id")?,
        created: row.try_get("created")?,
        event_id: row.try_get("event_id")?,
        livemode: row.try_get("livemode")?,
        data: row.try_get("data")?,
        held: row.try_get("held")?,
    })
}
