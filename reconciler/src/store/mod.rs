//! The projection in Postgres: one batch, one transaction.
//!
//! Dedup, lock, read, join, derive, write, move the position: all of it commits or none. Two
//! processes may do this at the same moment with records of one payment, so every Stripe id that a
//! batch names is locked before anything about it is read (docs/adr/0003-locking.md).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

use domain::aggregate::{self, States};
use domain::derive::{Unreadable, depends_on};
use domain::event::{Decoded, Disposition, Rejected};
use domain::fact::Fact;
use domain::id::txn_id;
use domain::json::Doc;
use domain::object::ObjectKey;
use domain::record::RawRecord;
use domain::settings::{Profile, Settings};
use domain::settlement;
use kafka::topic::Topic;
use sqlx::{Connection as _, PgConnection, PgPool};

use self::derived::Derived;
use self::replay::Reach;
use crate::breaker::{Breaker, Trip};
use crate::database::{self, settle, within};
use crate::fault::{Cause, Decision, Fault};
use crate::metrics;
use crate::sink::Sink;

mod breaker;
mod change;
mod derived;
mod discrepancy;
mod event;
mod fact;
mod forecast;
mod invoice;
mod ledger;
mod object;
mod pace;
mod payout;
mod position;
mod quarantine;
mod quote;
mod rederive;
mod redrive;
pub(crate) mod replay;
mod row;

pub use change::Change;
pub use event::{EventKey, Verdict};
pub(crate) use fact::fact_of_row;
pub use forecast::{Forecast, Limits, Totals};
use pace::Steps;
pub use pace::{Pace, Step};
pub use position::Advance;

/// How often a batch may find that an aggregate reaches further than it had locked. Each round
/// follows the links once more; links only grow, and aggregates are small.
const MAX_LOCK_ROUNDS: u32 = 16;
/// Most members that one batch may lock: a bound on memory against an aggregate without end.
const MAX_LOCKED_OBJECTS: usize = 100_000;

/// A record and what it turned out to be.
#[derive(Debug, Clone)]
pub struct Item {
    /// The record.
    pub record: RawRecord,
    /// What it says, or why it cannot be applied.
    pub outcome: Result<Decoded, Rejected>,
}

/// Records to apply together, and the positions that are reached when they are.
#[derive(Debug)]
pub struct Batch<'a> {
    /// In the order of their offsets within each partition.
    pub items: &'a [Item],
    /// How far it reaches, by partition. Empty where something else must be applied first.
    pub positions: BTreeMap<i32, Advance>,
}

/// What a batch came to.
#[derive(Debug, Default, Clone)]
pub struct Applied {
    /// How many events got which verdict; duplicates included.
    pub verdicts: BTreeMap<Verdict, u64>,
    /// How many events were new, by Stripe's type where it is modelled.
    pub types: BTreeMap<Option<&'static str>, u64>,
    /// How many records went to quarantine, by reason.
    pub quarantined: BTreeMap<&'static str, u64>,
    /// Receipt of each newly applied event, Unix milliseconds.
    pub received_at_ms: Vec<i64>,
    /// Greatest Stripe time among the newly applied events, Unix seconds.
    pub newest_created: Option<i64>,
    /// Rows of payments, refunds, disputes, payouts, providers and invoices that are new, gone or not
    /// what they were; only what was really written counts.
    pub rows: u64,
    /// Facts that are new or better proved.
    pub facts: u64,
    /// Domain events of facts that are new, better proved, or newly borne out: one for each sink.
    pub published: u64,
}

/// Why an attempt at a transaction was rolled back, other than by an error of Postgres'.
enum Setback {
    /// The aggregates reach further than what was locked.
    Incomplete(BTreeSet<ObjectKey>),
    /// A stored snapshot cannot be read.
    Unreadable(Unreadable),
    /// The database has not applied what came before this batch.
    Behind,
    /// Too much of the batch would go to quarantine.
    Tripped(Trip),
    /// The projection of this topic is paused.
    Paused,
}

impl Setback {
    /// What to lock in the next attempt, if another one can help.
    fn missing(self) -> Result<BTreeSet<ObjectKey>, Fault> {
        match self {
            Self::Incomplete(missing) => Ok(missing),
            Self::Unreadable(error) => Err(Fault::halt("deriving rows", error)),
            Self::Behind => Err(Fault::new(
                Decision::Reconnect,
                "moving positions",
                "the database has lost what was applied before this batch",
            )
            .because(Cause::Behind)),
            Self::Tripped(_) | Self::Paused => Err(breaker::paused()),
        }
    }
}

/// Why a batch is applied, and so what has the last word before its commit.
enum Purpose<'a> {
    /// To know what it comes to.
    Apply,
    /// To follow the topic: the breaker judges it, and pauses all who follow.
    Follow(&'a mut Breaker),
    /// To apply what the log had before: the breaker judges it, and stops this alone. The replay's
    /// own place moves.
    Replay(&'a mut Breaker, Option<&'a Reach>),
    /// To try again what is in quarantine, by this operation.
    Redrive(i64),
}

/// What one attempt at a transaction came to.
type Attempt<T> = sqlx::Result<Result<T, Setback>>;

/// The projection's adapter to Postgres.
#[derive(Debug)]
pub struct Store {
    pool: PgPool,
    settings: Settings,
    /// Where domain events are queued for.
    sinks: BTreeSet<Sink>,
    cluster: String,
    topic_id: String,
    steps: Steps,
    /// Months of `pay.event` that are known to have their partition.
    months: Mutex<BTreeSet<(i32, u8)>>,
}

impl Store {
    /// The projection of this topic into this database, and on to these sinks.
    pub fn new(pool: PgPool, settings: Settings, sinks: BTreeSet<Sink>, topic: &Topic) -> Self {
        let (cluster, topic_id) = (topic.cluster_id.clone(), topic.topic_id.clone());
        let (steps, months) = (Steps::new(), Mutex::default());
        Self { pool, settings, sinks, cluster, topic_id, steps, months }
    }

    /// Settings of decoding and deriving.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Takes note of where the reading of these partitions begins, where nobody has read before.
    pub async fn begin(&self, positions: &BTreeMap<i32, i64>) -> Result<(), Fault> {
        let mut connection = database::acquire(&self.pool).await?;
        let (cluster, topic_id) = (&self.cluster, &self.topic_id);
        let begun = within(position::begin(&mut connection, cluster, topic_id, positions)).await;
        settle(connection, "storing first positions", begun).await
    }

    /// Applies a batch: all of it or, on a fault, none of it.
    pub async fn apply(&self, batch: &Batch<'_>) -> Result<Applied, Fault> {
        self.apply_paced(batch, &()).await
    }

    /// [`apply`](Self::apply), with `pace` asked before every statement of the transaction.
    pub async fn apply_paced(&self, batch: &Batch<'_>, pace: &impl Pace) -> Result<Applied, Fault> {
        self.transact(batch, Purpose::Apply, pace).await
    }

    /// [`apply`](Self::apply), judged by the breaker before the commit. A batch that trips it is
    /// rolled back and pauses the projection of the topic: the fault says so.
    pub(crate) async fn follow(
        &self,
        batch: &Batch<'_>,
        breaker: &mut Breaker,
    ) -> Result<Applied, Fault> {
        self.transact(batch, Purpose::Follow(breaker), &self.steps.stopwatch()).await
    }

    async fn transact(
        &self,
        batch: &Batch<'_>,
        mut purpose: Purpose<'_>,
        pace: &impl Pace,
    ) -> Result<Applied, Fault> {
        event::ensure_months(&self.pool, &self.months, batch).await?;
        let decoded = batch.items.iter().filter_map(|item| item.outcome.as_ref().ok());
        let mut related = self.related(named(decoded, &self.settings)).await?;
        for _ in 0..MAX_LOCK_ROUNDS {
            let mut connection = database::acquire(&self.pool).await?;
            let attempt = self.attempt(&mut connection, batch, &related, &mut purpose, pace);
            let attempt = within(attempt).await;
            match settle(connection, "applying a batch", attempt).await? {
                Ok(applied) => return Ok(applied),
                Err(Setback::Tripped(trip)) if matches!(purpose, Purpose::Replay(..)) => {
                    return Err(Fault::halt("judging a batch", trip.to_string()));
                }
                Err(Setback::Tripped(trip)) => return Err(self.pause(&trip, batch).await?),
                // What these lead to in turn would be the next attempt's setback.
                Err(setback) => {
                    related.extend(self.related(setback.missing()?).await?);
                    metrics::TRANSACTION_RETRIES.with([Cause::Links.as_str()]).increment(1);
                }
            }
        }
        Err(Fault::retry("locking aggregates", "their links kept growing").because(Cause::Links))
    }

    /// The ids that these lead to, read without locks: a guess that saves most rounds of locking.
    async fn related(&self, ids: BTreeSet<ObjectKey>) -> Result<BTreeSet<ObjectKey>, Fault> {
        let mut connection = database::acquire(&self.pool).await?;
        let reached = within(self.reach(&mut connection, ids)).await;
        settle(connection, "following links", reached).await
    }

    /// These ids, all that their links lead to, and the quotes and orders of their payments.
    async fn reach(
        &self,
        connection: &mut PgConnection,
        mut ids: BTreeSet<ObjectKey>,
    ) -> sqlx::Result<BTreeSet<ObjectKey>> {
        let mut frontier = ids.clone();
        while !frontier.is_empty() && ids.len() < MAX_LOCKED_OBJECTS {
            let links = object::links(connection, &frontier).await?;
            frontier = links.into_iter().filter(|key| !ids.contains(key)).collect();
            ids.extend(frontier.iter().cloned());
        }
        if self.settings.profile == Profile::Marketplace {
            let inputs = self.inputs(connection, &ids).await?;
            ids.extend(inputs);
        }
        Ok(ids)
    }

    /// The quotes and orders of these objects' payments: what their rows name, what a checkout
    /// session names whose payment has no row yet, and what is agreed for an order.
    async fn inputs(
        &self,
        connection: &mut PgConnection,
        ids: &BTreeSet<ObjectKey>,
    ) -> sqlx::Result<BTreeSet<ObjectKey>> {
        let mut inputs = BTreeSet::new();
        let txns: Vec<String> = ids.iter().map(|key| txn_id(&key.account, &key.id)).collect();
        for (quote, order) in quote::hints(connection, &txns).await? {
            inputs.insert(settlement::quote_key(&quote));
            inputs.extend(order.map(|order| settlement::order_key(&order)));
        }
        for session in object::sessions(connection, ids).await? {
            inputs.extend(settlement::hints_of(Doc(&session), &self.settings));
        }
        let orders: Vec<&str> =
            ids.iter().chain(&inputs).filter_map(settlement::order_of).collect();
        let quotes = quote::of_orders(connection, &orders).await?;
        inputs.extend(quotes.iter().map(|quote| settlement::quote_key(quote)));
        Ok(inputs)
    }

    async fn attempt(
        &self,
        connection: &mut PgConnection,
        batch: &Batch<'_>,
        related: &BTreeSet<ObjectKey>,
        purpose: &mut Purpose<'_>,
        pace: &impl Pace,
    ) -> Attempt<Applied> {
        let mut tx = connection.begin().await?;
        pace.before(Step::InsertEvents).await;
        let mut fresh = event::insert(&mut tx, batch).await?;
        pace.before(Step::TakeUpEvents).await;
        event::take_up(&mut tx, batch, &mut fresh).await?;
        let mut work = event::Work::new(batch, &fresh);
        pace.before(Step::FindVariants).await;
        event::find_variants(&mut tx, &mut work).await?;

        let projected: Vec<&Decoded> = work
            .decoded()
            .filter(|decoded| decoded.disposition != Disposition::WrongLivemode)
            .collect();
        let mut locked = named(projected.iter().copied(), &self.settings);
        locked.extend(related.iter().cloned());
        if projected.is_empty() {
            locked.clear();
        }
        let mut states = match lock(&mut tx, &locked, pace).await? {
            Ok(states) => states,
            Err(setback) => return Ok(Err(setback)),
        };
        let named_before = derived::named_providers(&states, &self.settings);
        let changed = work.join_into(&mut states);
        let named_now = derived::named_providers(&states, &self.settings);
        let renamed = derived::renamed(&named_before, named_now);
        let dependents = rederive::at_once_or_later(&mut tx, &renamed).await?;
        let missing: BTreeSet<ObjectKey> =
            dependents.iter().filter(|key| !states.contains_key(key)).cloned().collect();
        if !missing.is_empty() {
            return Ok(Err(Setback::Incomplete(missing)));
        }
        let concerns = |key: &ObjectKey| changed.contains(key) || dependents.contains(key);
        let derived = Derived::of(&mut *tx, &states, concerns, &self.settings, pace).await?;
        let derived = match derived {
            Ok(derived) => derived,
            Err(setback) => return Ok(Err(setback)),
        };

        pace.before(Step::SaveObjects).await;
        object::save(&mut tx, changed.iter().filter_map(|key| states.get(key))).await?;
        let rows = derived.write(&mut tx, pace).await?;
        let facts: Vec<&Fact> = projected.iter().flat_map(|decoded| &decoded.facts).collect();
        let facts = fact::write(&mut tx, &facts, &derived.rows.held, &self.sinks, pace).await?;

        pace.before(Step::SetVerdicts).await;
        event::set_verdicts(&mut tx, &work).await?;
        pace.before(Step::Quarantine).await;
        let (cluster, topic_id) = (&self.cluster, &self.topic_id);
        let kept = quarantine::insert(&mut tx, cluster, topic_id, work.quarantined()).await?;
        pace.before(Step::Judge).await;
        match purpose {
            Purpose::Apply => {}
            Purpose::Follow(breaker) | Purpose::Replay(breaker, _) => {
                let through = match breaker::load(&mut tx, cluster, topic_id).await? {
                    breaker::Stored::Paused => return Ok(Err(Setback::Paused)),
                    breaker::Stored::Open(through) => through,
                };
                if let Some(trip) = breaker.judge(work.seen(&kept), &through) {
                    return Ok(Err(Setback::Tripped(trip)));
                }
            }
            Purpose::Redrive(operation) => {
                quarantine::resolve(&mut tx, cluster, topic_id, batch.items, *operation).await?;
            }
        }
        pace.before(Step::MovePositions).await;
        if !position::advance(&mut tx, cluster, topic_id, &batch.positions).await? {
            return Ok(Err(Setback::Behind));
        }
        let applied = work.applied(facts.queued);
        let applied = Applied { rows, facts: facts.proved, ..applied };
        if let Purpose::Replay(_, Some(reach)) = purpose
            && !replay::reach(&mut tx, reach, &applied).await?
        {
            return Ok(Err(Setback::Behind));
        }
        pace.before(Step::Commit).await;
        tx.commit().await?;
        if let Purpose::Follow(breaker) | Purpose::Replay(breaker, _) = purpose {
            breaker.keep();
        }
        Ok(Ok(applied))
    }
}

/// Every id that these records name, and what they say their rows will depend on.
fn named<'a>(
    decoded: impl Iterator<Item = &'a Decoded>,
    settings: &Settings,
) -> BTreeSet<ObjectKey> {
    decoded
        .flat_map(|decoded| &decoded.objects)
        .flat_map(|state| {
            let account = depends_on(state).map(|account| ObjectKey::of_account(&account));
            let hints = settlement::hints(state, settings);
            std::iter::once(state.key.clone()).chain(account).chain(hints)
        })
        .collect()
}

/// Locks these objects and reads them; or finds that their aggregates reach further.
async fn lock(
    tx: &mut PgConnection,
    keys: &BTreeSet<ObjectKey>,
    pace: &impl Pace,
) -> Attempt<States> {
    if keys.is_empty() {
        return Ok(Ok(States::new()));
    }
    pace.before(Step::InsertStubs).await;
    object::insert_stubs(tx, keys).await?;
    pace.before(Step::LockObjects).await;
    object::lock(tx, keys).await?;
    // A later statement than the lock, so that it sees what the lock waited for.
    pace.before(Step::ReadObjects).await;
    let states = object::load(tx, keys).await?;
    let missing = aggregate::beyond(&states);
    Ok(if missing.is_empty() { Ok(states) } else { Err(Setback::Incomplete(missing)) })
}

/// A query with what it is asked with.
type Bound = sqlx::query::Query<'static, sqlx::Postgres, sqlx::postgres::PgArguments>;

/// The query of table, primary key and columns of the rows that another macro has as a table.
macro_rules! image {
    ($table:literal, $key:literal, $rows:ident) => {
        concat!("select '", $table, "', ", $key, ", to_jsonb(n) from (", $rows!(), ") as n")
    };
}
use image;

/// One column of many rows: what UNNEST takes.
fn column<'a, T: 'a, U>(
    rows: impl IntoIterator<Item = &'a T>,
    value: impl Fn(&'a T) -> U,
) -> Vec<U> {
    rows.into_iter().map(value).collect()
}
