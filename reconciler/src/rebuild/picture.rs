//! What the live database is at one moment: how far it is, what people have decided, and what it has
//! yet to take into account.

use std::collections::{BTreeMap, HashMap};

use anyhow::Context as _;
use domain::event::{Event, Reason, Rejected};
use sqlx::{PgConnection, Row as _};

use crate::store::Item;

/// A topic, by Kafka's cluster id and its own.
pub(super) type LogId = (String, String);
/// Where each partition of each topic stands.
pub(super) type Positions = BTreeMap<LogId, BTreeMap<i32, i64>>;

/// A picture of the live database.
#[derive(Debug)]
pub(super) struct Picture {
    /// The offset after the last record that is applied, of every topic and partition.
    pub(super) positions: Positions,
    /// Records that a person has given up.
    pub(super) given_up: GivenUp,
    /// Quotes and providers that came or changed and are yet to be taken into account.
    pub(super) waiting: i64,
    /// Those that PostgreSQL has refused.
    pub(super) refused: i64,
    /// Open records in quarantine.
    pub(super) open: i64,
}

impl Picture {
    /// Reads it, all in the transaction's one snapshot.
    pub(super) async fn read(tx: &mut PgConnection) -> anyhow::Result<Self> {
        let counts = "select count(*) filter (where refused is null),
                        count(*) filter (where refused is not null),
                        (select count(*) from pay.quarantine where state = 'open')
                      from pay.rederive";
        let (waiting, refused, open) =
            sqlx::query_as(counts).fetch_one(&mut *tx).await.context("reading pay.rederive")?;
        Ok(Self {
            positions: positions(tx).await.context("reading positions")?,
            given_up: GivenUp::read(tx).await.context("reading pay.quarantine")?,
            waiting,
            refused,
            open,
        })
    }
}

/// The positions of the projection.
pub(super) async fn positions(connection: &mut PgConnection) -> sqlx::Result<Positions> {
    let rows: Vec<(String, String, i32, i64)> = sqlx::query_as(
        "select cluster, topic_id, partition, next_offset from pay.position where role = 'project'",
    )
    .fetch_all(connection)
    .await?;
    let mut positions = Positions::new();
    for (cluster, topic_id, partition, next) in rows {
        positions.entry((cluster, topic_id)).or_default().insert(partition, next);
    }
    Ok(positions)
}

/// By partition, the first record whose event is still known.
pub(super) async fn first_seen(connection: &mut PgConnection) -> sqlx::Result<BTreeMap<i32, i64>> {
    let first = "select partition, min(kafka_offset) from pay.event group by 1";
    let rows: Vec<(i32, i64)> = sqlx::query_as(first).fetch_all(connection).await?;
    Ok(rows.into_iter().collect())
}

/// Records that were discarded, and the events that are still without effect because of that. Like a
/// quote, it is an input: no record tells it. The same event may have come more than once, so the
/// event is what is given up, unless another record of it was understood.
#[derive(Debug, Default)]
pub(super) struct GivenUp {
    records: HashMap<(LogId, i32, i64), Reasoned>,
    events: HashMap<(String, String, Vec<u8>), Reasoned>,
}

/// Why a record was in quarantine.
#[derive(Debug, Clone)]
struct Reasoned {
    reason: Reason,
    detail: String,
    has_event: bool,
}

impl GivenUp {
    async fn read(tx: &mut PgConnection) -> anyhow::Result<Self> {
        let rows = sqlx::query(
            "select q.cluster, q.topic_id, q.partition, q.kafka_offset, q.reason, q.detail,
               q.event_id, e.account, e.data_hash
             from pay.quarantine as q
             left join pay.event as e on e.event_id = q.event_id and e.verdict = 'quarantined'
             where q.state = 'discarded'",
        )
        .fetch_all(tx)
        .await?;
        let mut given_up = Self::default();
        for row in &rows {
            let name: &str = row.try_get("reason")?;
            let reason = Reason::ALL.into_iter().find(|reason| reason.as_str() == name);
            let event_id: Option<String> = row.try_get("event_id")?;
            let reasoned = Reasoned {
                reason: reason.with_context(|| format!("{name} is no reason"))?,
                detail: row.try_get("detail")?,
                has_event: event_id.is_some(),
            };
            let log = (row.try_get("cluster")?, row.try_get("topic_id")?);
            let place = (log, row.try_get("partition")?, row.try_get("kafka_offset")?);
            given_up.records.insert(place, reasoned.clone());
            let event: (Option<String>, Option<String>, Option<Vec<u8>>) =
                (event_id, row.try_get("account")?, row.try_get("data_hash")?);
            if let (Some(id), Some(account), Some(hash)) = event {
                given_up.events.insert((id, account, hash), reasoned);
            }
        }
        Ok(given_up)
    }

    pub(super) fn len(&self) -> usize {
        self.records.len()
    }

    /// Makes a record that is given up what it was in quarantine, whatever it is understood as now.
    pub(super) fn hold(&self, log: &LogId, item: &mut Item) {
        if self.records.is_empty() {
            return;
        }
        let event = match &item.outcome {
            Ok(decoded) => Some(Box::new(decoded.event.clone())),
            Err(rejected) => rejected.event.clone(),
        };
        let key =
            |event: &Event| (event.id.clone(), event.account.clone(), event.data_hash.to_vec());
        let place = (log.clone(), item.record.partition, item.record.offset);
        let by_event = || self.events.get(&key(event.as_deref()?));
        let Some(held) = self.records.get(&place).or_else(by_event) else { return };
        let event = event.filter(|_| held.has_event);
        let (reason, detail) = (held.reason, held.detail.clone());
        item.outcome = Err(Rejected { reason, detail, event });
    }
}
