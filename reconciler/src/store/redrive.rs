//! Trying again what is in quarantine: for good, or to see what it would change. Either way through
//! the transaction that live records go through.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

use domain::settings::Settings;
use sqlx::{PgPool, Postgres, Transaction};

use super::change::{self, Change};
use super::pace::Steps;
use super::{Applied, Batch, Item, MAX_LOCK_ROUNDS, Purpose, Store, named};
use crate::database::{self, settle, within};
use crate::fault::Fault;
use crate::sink::Sink;

impl Store {
    /// The projection of a topic that is known by its ids alone, as quarantine knows it.
    pub(crate) fn of_log(
        pool: PgPool,
        settings: Settings,
        sinks: BTreeSet<Sink>,
        (cluster, topic_id): (&str, &str),
    ) -> Self {
        let (cluster, topic_id) = (cluster.to_owned(), topic_id.to_owned());
        let (steps, months) = (Steps::new(), Mutex::default());
        Self { pool, settings, sinks, cluster, topic_id, steps, months }
    }

    /// Applies records from quarantine and says there what came of each: all of it or none. No
    /// position moves, and the breaker has no say.
    pub(crate) async fn redrive(&self, items: &[Item], operation: i64) -> Result<Applied, Fault> {
        let batch = Batch { items, positions: BTreeMap::new() };
        self.transact(&batch, Purpose::Redrive(operation), &()).await
    }
}

/// A transaction in which records are applied one batch after the other, each seeing what those
/// before it did, and which is rolled back at its end. Until then it holds its locks.
pub(crate) struct Rehearsal {
    pool: PgPool,
    tx: Transaction<'static, Postgres>,
    /// Ids whose rows may have changed.
    touched: BTreeSet<String>,
}

impl Rehearsal {
    /// Begins. The pool must have a second connection.
    pub(crate) async fn begin(pool: &PgPool) -> Result<Self, Fault> {
        let begun = within(pool.begin()).await;
        let tx = begun.map_err(|error| Fault::postgres("beginning a rehearsal", error))?;
        Ok(Self { pool: pool.clone(), tx, touched: BTreeSet::new() })
    }

    /// Applies a batch inside the transaction. After a fault what came before still stands.
    pub(crate) async fn apply(&mut self, store: &Store, items: &[Item]) -> Result<Applied, Fault> {
        let doing = "rehearsing a batch";
        let batch = Batch { items, positions: BTreeMap::new() };
        let decoded = items.iter().filter_map(|item| item.outcome.as_ref().ok());
        let named = named(decoded, &store.settings);
        let related = within(store.reach(&mut self.tx, named.clone())).await;
        let mut related = related.map_err(|error| Fault::postgres(doing, error))?;
        for _ in 0..MAX_LOCK_ROUNDS {
            // Its own transaction is a savepoint here.
            let mut purpose = Purpose::Apply;
            let attempt = store.attempt(&mut self.tx, &batch, &related, &mut purpose, &());
            let attempt = within(attempt).await.map_err(|error| Fault::postgres(doing, error))?;
            match attempt {
                Ok(applied) => {
                    // Once more: what was applied may lead further.
                    let reached = within(store.reach(&mut self.tx, named)).await;
                    let reached = reached.map_err(|error| Fault::postgres(doing, error))?;
                    self.touched.extend(reached.into_iter().map(|key| key.id));
                    return Ok(applied);
                }
                Err(setback) => related.extend(setback.missing()?),
            }
        }
        Err(Fault::retry(doing, "their links kept growing"))
    }

    /// Rolls everything back and returns what it had changed.
    pub(crate) async fn end(mut self) -> Result<Vec<Change>, Fault> {
        let doing = "comparing rows";
        // Another connection sees the rows as they are, and ours still keeps others from them.
        let mut connection = database::acquire(&self.pool).await?;
        let (tx, ids) = (&mut *self.tx, &mut self.touched);
        let rows = async {
            change::spread(tx, ids).await?;
            change::spread(&mut connection, ids).await?;
            Ok((change::rows(&mut connection, ids).await?, change::rows(tx, ids).await?))
        };
        let rows = within(rows).await;
        let (before, after) = settle(connection, doing, rows).await?;
        self.tx.rollback().await.map_err(|error| Fault::postgres("rolling back", error))?;
        Ok(change::between(&before, &after))
    }
}
