//! What the demo finds in the real parts.

use super::Plan;
use crate::comparison::{self, Lines};
use crate::load::Latency;
use crate::system::System;
use domain::archive;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

/// Read from Kafka's topics, PostgreSQL, S3 and Firehose's bucket.
pub(super) struct Found {
    pub(super) expected: Lines,
    pub(super) lines: Lines,
    /// Balances of the ledger's accounts by currency, minor units; debit is positive.
    pub(super) ledger: BTreeMap<String, BTreeMap<String, i64>>,
    /// Records in the topic.
    pub(super) records: usize,
    /// Distinct events that the database knows, the quarantined ones included.
    pub(super) events: usize,
    /// Of these, the ones without an envelope that can be read.
    pub(super) unreadable: usize,
    pub(super) verdicts: Vec<(String, i64)>,
    pub(super) segments: usize,
    pub(super) manifests: usize,
    pub(super) archive_bytes: i64,
    pub(super) archived: usize,
    pub(super) altered: usize,
    /// Ids of the facts that must be published.
    pub(super) facts: BTreeSet<String>,
    /// What each sink of domain events has.
    pub(super) sinks: [(&'static str, Delivered); 2],
    pub(super) latency: Latency,
}

/// The domain events that a sink has.
#[derive(Default)]
pub(super) struct Delivered {
    /// Distinct `factid`s, by type.
    pub(super) facts: BTreeMap<String, BTreeSet<String>>,
    pub(super) deliveries: usize,
}

impl Delivered {
    fn of<'a>(events: impl IntoIterator<Item = &'a Value>) -> Self {
        let mut delivered = Self::default();
        for event in events {
            let text = |field: &str| event[field].as_str().unwrap_or_default().to_owned();
            delivered.facts.entry(text("type")).or_default().insert(text("factid"));
            delivered.deliveries += 1;
        }
        delivered
    }

    /// Distinct `factid`s of every type.
    pub(super) fn distinct(&self) -> BTreeSet<String> {
        self.facts.values().flatten().cloned().collect()
    }
}

impl Found {
    pub(super) async fn read(system: &System, plan: &Plan) -> anyhow::Result<Self> {
        let pool = &system.pool;
        let count = async |query: &'static str| -> anyhow::Result<usize> {
            let count: i64 = sqlx::query_scalar(query).fetch_one(pool).await?;
            Ok(usize::try_from(count)?)
        };
        let known = count("select count(distinct event_id) from pay.event").await?;
        let unreadable =
            count("select count(distinct body) from pay.quarantine where event_id is null").await?;
        let facts: Vec<String> = sqlx::query_scalar("select fact_id from pay.fact where not held")
            .fetch_all(pool)
            .await?;
        let mut found = Self {
            expected: comparison::expected(&plan.lifecycles),
            lines: comparison::found(pool, &plan.lifecycles).await?,
            ledger: BTreeMap::new(),
            records: 0,
            events: known + unreadable,
            unreadable,
            verdicts: sqlx::query_as(
                "select verdict, count(*) from pay.event group by 1 order by 1",
            )
            .fetch_all(pool)
            .await?,
            segments: 0,
            manifests: 0,
            archive_bytes: 0,
            archived: 0,
            altered: 0,
            facts: facts.into_iter().collect(),
            sinks: [
                ("Firehose", Delivered::of(&system.delivered().await?)),
                ("Kafka", Delivered::of(system.on_domain_topic().await?.iter().map(|m| &m.event))),
            ],
            latency: Latency::default(),
        };
        found.read_ledger(system).await?;
        found.read_archive(system).await?;
        found.read_latency(system).await?;
        Ok(found)
    }

    async fn read_ledger(&mut self, system: &System) -> anyhow::Result<()> {
        let query = "select currency, ledger_account, sum(balance_cents)::bigint
                     from pay.ledger_balance group by 1, 2";
        let balances: Vec<(String, String, i64)> =
            sqlx::query_as(query).fetch_all(&system.pool).await?;
        for (currency, account, balance) in balances {
            self.ledger.entry(currency).or_default().insert(account, balance);
        }
        Ok(())
    }

    async fn read_archive(&mut self, system: &System) -> anyhow::Result<()> {
        let mut topic: HashMap<_, _> = HashMap::new();
        for record in system.topic.records().await? {
            topic.insert((record.partition, record.offset), record);
        }
        self.records = topic.len();
        let (aws, bucket) = (&system.stack.aws, &system.stack.archive_bucket);
        for (key, bytes) in aws.list(bucket, &format!("{}/", system.id)).await? {
            self.archive_bytes += bytes;
            if key.contains("/manifest/") {
                self.manifests += 1;
                continue;
            }
            self.segments += 1;
            let lines = zstd::decode_all(aws.get(bucket, &key).await?.as_slice())?;
            for line in lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
                let entry = archive::decode(line)?.entry;
                self.archived += 1;
                let original = topic.get(&(entry.partition(), entry.offset()));
                self.altered += usize::from(original != entry.record().as_ref());
            }
        }
        Ok(())
    }

    async fn read_latency(&mut self, system: &System) -> anyhow::Result<()> {
        let query = "select (extract(epoch from applied_at - received_at) * 1000000)::bigint
                     from pay.event where received_at is not null";
        let latencies: Vec<i64> = sqlx::query_scalar(query).fetch_all(&system.pool).await?;
        for us in latencies {
            self.latency.record(Duration::from_micros(u64::try_from(us).unwrap_or(0)));
        }
        Ok(())
    }
}
