//! Trying again what is in quarantine, through the transaction that live records go through.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

use domain::settings::Settings;
use sqlx::PgPool;

use super::{Applied, Batch, Item, Purpose, Store};
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
        Self { pool, settings, sinks, cluster, topic_id, months: Mutex::default() }
    }

    /// Applies records from quarantine and says there what came of each: all of it or none. No
    /// position moves, and the breaker has no say.
    pub(crate) async fn redrive(&self, items: &[Item], operation: i64) -> Result<Applied, Fault> {
        let batch = Batch { items, positions: BTreeMap::new() };
        self.transact(&batch, Purpose::Redrive(operation), &()).await
    }
}
