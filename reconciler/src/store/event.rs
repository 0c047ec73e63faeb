//! `pay.event`: every event once, and what became of it.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Mutex;

use domain::aggregate::States;
use domain::event::{Decoded, Disposition, Event, Rejected};
use domain::object::ObjectKey;
use domain::state::ObjectState;
use sqlx::{PgConnection, PgPool, Row as _};
use time::OffsetDateTime;

use super::{Applied, Batch, Item, column};
use crate::breaker::Seen;
use crate::database::{self, settle, within};
use crate::fault::Fault;

/// What became of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verdict {
    /// It gave its object's newest snapshot.
    Applied,
    /// Its id was known with other data; it entered the order like any record.
    Variant,
    /// Its object was known in a newer state.
    Stale,
    /// Its object is not modelled; the snapshot is kept.
    Unhandled,
    /// The other mode's: recorded only.
    WrongLivemode,
    /// It cannot be applied.
    Quarantined,
    /// Seen before; nothing is stored.
    Duplicate,
}

impl Verdict {
    /// The value in `pay.event.verdict` and in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Applied => "applied",
            Self::Variant => "variant",
            Self::Stale => "stale",
            Self::Unhandled => "unhandled",
            Self::WrongLivemode => "wrong_livemode",
            Self::Quarantined => "quarantined",
            Self::Duplicate => "duplicate",
        }
    }
}

/// Identity of an event: two records with the same key are the same event.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventKey {
    pub(super) id: String,
    pub(super) account: String,
    pub(super) data_hash: Vec<u8>,
    pub(super) created: i64,
}

impl EventKey {
    pub(super) fn of(event: &Event) -> Self {
        Self {
            id: event.id.clone(),
            account: event.account.clone(),
            data_hash: event.data_hash.to_vec(),
            created: event.created,
        }
    }
}

/// The envelope, also of a record that cannot be applied.
pub(super) fn envelope(item: &Item) -> Option<&Event> {
    match &item.outcome {
        Ok(decoded) => Some(&decoded.event),
        Err(rejected) => rejected.event.as_deref(),
    }
}

/// What the event would be if it changed its object.
fn first_verdict(outcome: &Result<Decoded, Rejected>) -> Verdict {
    match outcome {
        Err(_) => Verdict::Quarantined,
        Ok(decoded) => match decoded.disposition {
            Disposition::Project => Verdict::Applied,
            Disposition::Unhandled => Verdict::Unhandled,
            Disposition::WrongLivemode => Verdict::WrongLivemode,
        },
    }
}

/// A batch's fresh events and what becomes of each.
pub(super) struct Work<'a> {
    batch: &'a Batch<'a>,
    fresh: Vec<(&'a Item, EventKey, Verdict)>,
}

impl<'a> Work<'a> {
    /// The batch, less what was seen before. An event that a batch holds twice counts once, and as
    /// understood if it is understood once.
    pub(super) fn new(batch: &'a Batch<'a>, fresh: &HashSet<EventKey>) -> Self {
        let decoded = batch.items.iter().filter_map(|item| item.outcome.as_ref().ok());
        let understood: HashSet<EventKey> =
            decoded.map(|decoded| EventKey::of(&decoded.event)).collect();
        let mut taken = HashSet::new();
        let fresh = batch
            .items
            .iter()
            .filter_map(|item| {
                let key = EventKey::of(envelope(item)?);
                let is_best = item.outcome.is_ok() || !understood.contains(&key);
                let is_fresh = is_best && fresh.contains(&key) && taken.insert(key.clone());
                is_fresh.then(|| (item, key, first_verdict(&item.outcome)))
            })
            .collect();
        Self { batch, fresh }
    }

    /// The fresh events and what becomes of each, in their order.
    pub(super) fn verdicts(&self) -> impl Iterator<Item = (&EventKey, Verdict)> {
        self.fresh.iter().map(|(_, key, verdict)| (key, *verdict))
    }

    /// Marks the fresh events whose id is known with other data. `known` are the events with their
    /// ids, themselves included.
    pub(super) fn mark_variants(&mut self, known: &[EventKey]) {
        let fresh: HashSet<EventKey> = self.fresh.iter().map(|(_, key, _)| key.clone()).collect();
        for (_, key, verdict) in &mut self.fresh {
            // Of two that come together, the one with the smaller hash is taken for the first.
            let has_elder = known.iter().any(|other| {
                (&other.id, &other.account, other.created) == (&key.id, &key.account, key.created)
                    && other.data_hash != key.data_hash
                    && (!fresh.contains(other) || other.data_hash < key.data_hash)
            });
            if has_elder && *verdict == Verdict::Applied {
                *verdict = Verdict::Variant;
            }
        }
    }

    /// The fresh events that can be applied, in their order.
    pub(super) fn decoded(&self) -> impl Iterator<Item = &'a Decoded> + use<'a, '_> {
        self.fresh.iter().filter_map(|(item, ..)| item.outcome.as_ref().ok())
    }

    /// What goes to quarantine: fresh events, and records whose event cannot even be told.
    pub(super) fn quarantined(&self) -> impl Iterator<Item = (&'a Item, &'a Rejected)> {
        let fresh = self.fresh.iter().map(|(item, ..)| *item);
        let nameless = self.batch.items.iter().filter(|item| envelope(item).is_none());
        fresh.chain(nameless).filter_map(|item| Some((item, item.outcome.as_ref().err()?)))
    }

    /// What the breaker looks at: the records that are new to the database, in their order. `kept`
    /// are those that are new in quarantine.
    pub(super) fn seen<'b>(
        &self,
        kept: &'b HashSet<(i32, i64)>,
    ) -> impl Iterator<Item = Seen<'a>> + use<'a, 'b> {
        let place = |item: &Item| (item.record.partition, item.record.offset);
        let fresh: HashSet<(i32, i64)> = self.fresh.iter().map(|(item, ..)| place(item)).collect();
        let is_new =
            move |item: &&Item| fresh.contains(&place(item)) || kept.contains(&place(item));
        self.batch.items.iter().filter(is_new).map(|item| Seen {
            partition: item.record.partition,
            offset: item.record.offset,
            rejected: item.outcome.as_ref().err().map(|it| (it.reason, it.detail.as_str())),
        })
    }

    /// Joins what the events say into the states, and returns which states changed.
    pub(super) fn join_into(&mut self, states: &mut States) -> BTreeSet<ObjectKey> {
        let mut before = BTreeMap::new();
        for (item, _, verdict) in &mut self.fresh {
            let Ok(decoded) = &item.outcome else { continue };
            if *verdict == Verdict::WrongLivemode {
                continue;
            }
            for said in &decoded.objects {
                let known = states
                    .remove(&said.key)
                    .unwrap_or_else(|| ObjectState::named(said.key.clone()));
                before.entry(said.key.clone()).or_insert_with(|| known.mark());
                let joined = known.join(said.clone());
                let is_subject = decoded.event.object_id.as_ref() == Some(&said.key.id);
                if let (true, Some(said), Some(newest)) =
                    (is_subject && *verdict == Verdict::Applied, &said.newest, &joined.newest)
                    && newest.key != said.key
                {
                    *verdict = Verdict::Stale;
                }
                states.insert(joined.key.clone(), joined);
            }
        }
        before.retain(|key, mark| states.get(key).is_some_and(|state| state.mark() != *mark));
        before.into_keys().collect()
    }

    /// What the batch came to.
    pub(super) fn applied(&self, published: u64) -> Applied {
        let mut applied = Applied { published, ..Applied::default() };
        for (_, _, verdict) in &self.fresh {
            *applied.verdicts.entry(*verdict).or_default() += 1;
        }
        let known = self.batch.items.iter().filter(|item| envelope(item).is_some()).count();
        let duplicates = known - self.fresh.len();
        if duplicates > 0 {
            *applied.verdicts.entry(Verdict::Duplicate).or_default() += duplicates as u64;
        }
        for (_, rejected) in self.quarantined() {
            *applied.quarantined.entry(rejected.reason.as_str()).or_default() += 1;
        }
        for decoded in self.decoded() {
            applied.received_at_ms.extend(decoded.event.received_at_ms);
            applied.newest_created = applied.newest_created.max(Some(decoded.event.created));
        }
        applied
    }
}

/// Makes the partitions of `pay.event` that a batch needs, each in a transaction of its own: a
/// partition outlives a batch that fails.
pub(super) async fn ensure_months(
    pool: &PgPool,
    known: &Mutex<BTreeSet<(i32, u8)>>,
    batch: &Batch<'_>,
) -> Result<(), Fault> {
    /// Years in which Stripe can have made an event. Others go to the default partition.
    const YEARS: std::ops::Range<i32> = 2010..2100;
    let known_months = || known.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let mut missing: BTreeSet<(i32, u8)> = batch
        .items
        .iter()
        .filter_map(|item| OffsetDateTime::from_unix_timestamp(envelope(item)?.created).ok())
        .map(|created| (created.year(), u8::from(created.month())))
        .filter(|(year, _)| YEARS.contains(year))
        .collect();
    missing.retain(|month| !known_months().contains(month));
    for (year, month) in missing {
        let mut connection = database::acquire(pool).await?;
        let made = sqlx::query("select pay.ensure_event_month(make_date($1, $2, 1))")
            .bind(year)
            .bind(i32::from(month));
        let made = within(made.execute(&mut *connection)).await;
        settle(connection, "making a month's partition", made).await?;
        known_months().insert((year, month));
    }
    Ok(())
}

/// Inserts the batch's events and returns those that were not there.
pub(super) async fn insert(
    tx: &mut PgConnection,
    batch: &Batch<'_>,
) -> sqlx::Result<HashSet<EventKey>> {
    let mut rows: Vec<(&Item, &Event)> =
        batch.items.iter().filter_map(|item| Some((item, envelope(item)?))).collect();
    if rows.is_empty() {
        return Ok(HashSet::new());
    }
    // Of an event that comes twice, the row is made from the one that is understood.
    rows.sort_by_key(|(item, _)| item.outcome.is_err());
    let inserted = sqlx::query(
        "insert into pay.event (event_id, account, data_hash, created, type, api_version, livemode,
           source, endpoint, object_id, verdict, partition, kafka_offset, traceparent, received_at)
         select event_id, account, data_hash, to_timestamp(created), type, api_version, livemode,
           source, endpoint, object_id, verdict, partition, kafka_offset, traceparent,
           to_timestamp(received_at::double precision / 1000)
         from unnest($1::text[], $2::text[], $3::bytea[], $4::bigint[], $5::text[], $6::text[],
           $7::boolean[], $8::text[], $9::text[], $10::text[], $11::text[], $12::int[],
           $13::bigint[], $14::text[], $15::bigint[])
           with ordinality as n(event_id, account, data_hash, created, type, api_version, livemode,
           source, endpoint, object_id, verdict, partition, kafka_offset, traceparent, received_at,
           place)
         order by event_id collate \"C\", account collate \"C\", data_hash, created, place
         on conflict do nothing
         returning event_id, account, data_hash, extract(epoch from created)::bigint as created",
    )
    .bind(column(&rows, |(_, event)| event.id.as_str()))
    .bind(column(&rows, |(_, event)| event.account.as_str()))
    .bind(column(&rows, |(_, event)| &event.data_hash[..]))
    .bind(column(&rows, |(_, event)| event.created))
    .bind(column(&rows, |(_, event)| event.kind.as_str()))
    .bind(column(&rows, |(_, event)| event.api_version.as_deref()))
    .bind(column(&rows, |(_, event)| event.livemode))
    .bind(column(&rows, |(_, event)| event.source.as_str()))
    .bind(column(&rows, |(_, event)| event.endpoint.as_deref()))
    .bind(column(&rows, |(_, event)| event.object_id.as_deref()))
    .bind(column(&rows, |(item, _)| first_verdict(&item.outcome).as_str()))
    .bind(column(&rows, |(item, _)| item.record.partition))
    .bind(column(&rows, |(item, _)| item.record.offset))
    .bind(column(&rows, |(_, event)| event.traceparent.as_deref()))
    .bind(column(&rows, |(_, event)| event.received_at_ms))
    .fetch_all(tx)
    .await?;
    inserted.iter().map(key_of_row).collect()
}

/// Takes up the events that were known as quarantined only and that this batch understands: their
/// rows are rewritten, and they count as fresh. So an event is applied as soon as one record of it
/// is understood, by whatever version of this program, in whatever order.
pub(super) async fn take_up(
    tx: &mut PgConnection,
    batch: &Batch<'_>,
    fresh: &mut HashSet<EventKey>,
) -> sqlx::Result<()> {
    let mut known: BTreeMap<EventKey, (&Item, &Event)> = BTreeMap::new();
    for item in batch.items {
        let Ok(decoded) = &item.outcome else { continue };
        let key = EventKey::of(&decoded.event);
        if !fresh.contains(&key) {
            known.entry(key).or_insert((item, &decoded.event));
        }
    }
    if known.is_empty() {
        return Ok(());
    }
    let rows = || known.values();
    // Locked in order first; what another transaction takes up meanwhile is a duplicate here.
    let taken = sqlx::query(
        "with n as (
           select * from unnest($1::text[], $2::text[], $3::bytea[], $4::bigint[], $5::text[],
             $6::text[], $7::boolean[], $8::text[], $9::text[], $10::text[], $11::text[],
             $12::int[], $13::bigint[], $14::text[], $15::bigint[])
             as n(event_id, account, data_hash, created, type, api_version, livemode, source,
             endpoint, object_id, verdict, partition, kafka_offset, traceparent, received_at)),
         known as (
           select e.event_id, e.account, e.data_hash, e.created from pay.event as e join n
             on e.event_id = n.event_id and e.account = n.account and e.data_hash = n.data_hash
               and e.created = to_timestamp(n.created)
           where e.verdict = 'quarantined'
           order by e.event_id collate \"C\", e.account collate \"C\", e.data_hash, e.created
           for update of e)
         update pay.event as e
         set type = n.type, api_version = n.api_version, livemode = n.livemode,
           source = n.source, endpoint = n.endpoint, object_id = n.object_id,
           verdict = n.verdict, partition = n.partition, kafka_offset = n.kafka_offset,
           traceparent = n.traceparent,
           received_at = to_timestamp(n.received_at::double precision / 1000),
           applied_at = clock_timestamp()
         from n join known on known.event_id = n.event_id and known.account = n.account
           and known.data_hash = n.data_hash and known.created = to_timestamp(n.created)
         where e.event_id = known.event_id and e.account = known.account
           and e.data_hash = known.data_hash and e.created = known.created
           and e.verdict = 'quarantined'
         returning e.event_id, e.account, e.data_hash,
           extract(epoch from e.created)::bigint as created",
    )
    .bind(column(rows(), |(_, event)| event.id.as_str()))
    .bind(column(rows(), |(_, event)| event.account.as_str()))
    .bind(column(rows(), |(_, event)| &event.data_hash[..]))
    .bind(column(rows(), |(_, event)| event.created))
    .bind(column(rows(), |(_, event)| event.kind.as_str()))
    .bind(column(rows(), |(_, event)| event.api_version.as_deref()))
    .bind(column(rows(), |(_, event)| event.livemode))
    .bind(column(rows(), |(_, event)| event.source.as_str()))
    .bind(column(rows(), |(_, event)| event.endpoint.as_deref()))
    .bind(column(rows(), |(_, event)| event.object_id.as_deref()))
    .bind(column(rows(), |(item, _)| first_verdict(&item.outcome).as_str()))
    .bind(column(rows(), |(item, _)| item.record.partition))
    .bind(column(rows(), |(item, _)| item.record.offset))
    .bind(column(rows(), |(_, event)| event.traceparent.as_deref()))
    .bind(column(rows(), |(_, event)| event.received_at_ms))
    .fetch_all(tx)
    .await?;
    for row in &taken {
        fresh.insert(key_of_row(row)?);
    }
    Ok(())
}

/// Marks the fresh events whose id is known with other data.
pub(super) async fn find_variants(tx: &mut PgConnection, work: &mut Work<'_>) -> sqlx::Result<()> {
    if work.fresh.is_empty() {
        return Ok(());
    }
    let keys: Vec<EventKey> = work.fresh.iter().map(|(_, key, _)| key.clone()).collect();
    let known = of_same_ids(tx, &keys).await?;
    work.mark_variants(&known.into_iter().map(|(key, _)| key).collect::<Vec<_>>());
    Ok(())
}

/// The stored events with the ids of these, whatever their data, and the verdict of each.
pub(super) async fn of_same_ids(
    tx: &mut PgConnection,
    keys: &[EventKey],
) -> sqlx::Result<Vec<(EventKey, String)>> {
    let rows = sqlx::query(
        "select e.event_id, e.account, e.data_hash,
           extract(epoch from e.created)::bigint as created, e.verdict
         from (select distinct * from unnest($1::text[], $2::text[], $3::bigint[])
           as k(event_id, account, created)) as n
         join pay.event as e on e.event_id = n.event_id and e.account = n.account
           and e.created = to_timestamp(n.created)",
    )
    .bind(column(keys, |key| key.id.as_str()))
    .bind(column(keys, |key| key.account.as_str()))
    .bind(column(keys, |key| key.created))
    .fetch_all(tx)
    .await?;
    rows.iter().map(|row| Ok((key_of_row(row)?, row.try_get("verdict")?))).collect()
}

/// Writes the verdicts that differ from what the events were inserted with.
pub(super) async fn set_verdicts(tx: &mut PgConnection, work: &Work<'_>) -> sqlx::Result<()> {
    let differing: Vec<(&EventKey, Verdict)> = work
        .fresh
        .iter()
        .filter(|(item, _, verdict)| first_verdict(&item.outcome) != *verdict)
        .map(|(_, key, verdict)| (key, *verdict))
        .collect();
    if differing.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "update pay.event as e set verdict = n.verdict
         from unnest($1::text[], $2::text[], $3::bytea[], $4::bigint[], $5::text[])
           as n(event_id, account, data_hash, created, verdict)
         where e.event_id = n.event_id and e.account = n.account and e.data_hash = n.data_hash
           and e.created = to_timestamp(n.created)",
    )
    .bind(column(&differing, |(key, _)| key.id.as_str()))
    .bind(column(&differing, |(key, _)| key.account.as_str()))
    .bind(column(&differing, |(key, _)| &key.data_hash[..]))
    .bind(column(&differing, |(key, _)| key.created))
    .bind(column(&differing, |(_, verdict)| verdict.as_str()))
    .execute(tx)
    .await
    .map(drop)
}

fn key_of_row(row: &sqlx::postgres::PgRow) -> sqlx::Result<EventKey> {
    Ok(EventKey {
        id: row.try_get("event_id")?,
        account: row.try_get("account")?,
        data_hash: row.try_get("data_hash")?,
        created: row.try_get("created")?,
    })
}
