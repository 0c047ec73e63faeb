//! What applying records would change, and nothing changed: from one read-only snapshot of the
//! database and an overlay of what the records say.
//!
//! State is a function of the set of records, so nothing has to be written to know what it would
//! become: what is new is joined into the snapshot's states, and what was touched is derived by the
//! code that live records go through. No lock is taken and live records do not wait. An open
//! snapshot does keep vacuum from what was deleted since, so it has a time limit
//! (docs/adr/0022-forecast.md).

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use domain::aggregate::{self, States};
use domain::event::{Decoded, Disposition};
use domain::fact::Fact;
use domain::object::ObjectKey;
use domain::settings::Settings;
use futures::TryStreamExt as _;
use sqlx::{Postgres, Transaction};
use tokio::time::Instant;

use self::overlay::{Overlay, Said};
use self::page::Page;
use self::view::View;
use super::change::Change;
use super::derived::{self, Derived};
use super::event::{Verdict, Work};
use super::{Applied, Attempt, Batch, Item, MAX_LOCKED_OBJECTS, Setback, Store, fact, object};
use crate::database::within;
use crate::fault::Fault;
use crate::sink::Sink;

mod overlay;
mod page;
mod view;

/// Facts, dependents and changes that are looked at together.
const CHUNK: usize = 1000;

/// What a forecast may take.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Memory for what it knows, bytes; beyond that it goes to a file.
    pub memory_bytes: usize,
    /// Most bytes of that file.
    pub disk_bytes: u64,
    /// Where that file is; it has no name there.
    pub directory: PathBuf,
    /// Objects that are derived together; what belongs to them comes on top.
    pub page_objects: usize,
    /// How long the snapshot may stay open: it holds back vacuum.
    pub time: Duration,
}

/// What a forecast comes to, beside the changes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// Facts that would be new.
    pub new_facts: u64,
    /// Known facts that would be better proved.
    pub corrected_facts: u64,
    /// Domain events that would be queued if all of it came in one batch: one for each sink.
    pub domain_events: u64,
    /// Size of the file that the forecast needed, bytes.
    pub file_bytes: u64,
}

/// A forecast under way. It holds one connection.
#[derive(Debug)]
pub struct Forecast {
    snapshot: Transaction<'static, Postgres>,
    overlay: Overlay,
    settings: Settings,
    sinks: BTreeSet<Sink>,
    limits: Limits,
    deadline: Instant,
}

impl Forecast {
    /// Begins on one read-only snapshot of the database.
    pub async fn begin(store: &Store, limits: Limits) -> Result<Self, Fault> {
        let doing = "beginning a forecast";
        let overlay = Overlay::new(&limits.directory, limits.memory_bytes);
        let overlay = overlay.map_err(|error| {
            let directory = limits.directory.display();
            Fault::halt(doing, format!("FORECAST_DIRECTORY {directory}: {error}"))
        })?;
        let begun = async {
            let sql = "begin isolation level repeatable read read only";
            let mut snapshot = store.pool.begin_with(sql).await?;
            // The first statement takes the snapshot. Between batches the log is read, which may
            // take longer than a transaction of the pool may idle.
            sqlx::query("select set_config('idle_in_transaction_session_timeout', $1, true)")
                .bind(limits.time.as_millis().to_string())
                .execute(&mut *snapshot)
                .await?;
            Ok(snapshot)
        };
        let snapshot = within(begun).await.map_err(|error| Fault::postgres(doing, error))?;
        let (settings, sinks) = (store.settings.clone(), store.sinks.clone());
        let deadline = Instant::now() + limits.time;
        Ok(Self { snapshot, overlay, settings, sinks, limits, deadline })
    }

    /// Takes a batch into the overlay. Returns what applying it would come to, but for the domain
    /// events: [`Totals`] has those. After a fault the forecast is over.
    pub async fn add(&mut self, items: &[Item]) -> Result<Applied, Fault> {
        self.check()?;
        let added = within(self.try_add(items)).await;
        added.map_err(|error| Fault::postgres("forecasting a batch", error))
    }

    /// Derives what was touched, page by page, closes the snapshot, and hands each change to `each`,
    /// in the order of tables and keys.
    pub async fn end<E: From<Fault>>(
        mut self,
        mut each: impl FnMut(Change) -> Result<(), E>,
    ) -> Result<Totals, E> {
        let mut totals = Totals::default();
        self.spread().await?;
        while let Some(due) = self.due()? {
            self.check()?;
            self.derive(&due).await?;
        }
        self.count(&mut totals).await?;
        let Self { snapshot, overlay, .. } = self;
        let closed = within(snapshot.rollback()).await;
        closed.map_err(|error| Fault::postgres("closing a snapshot", error))?;
        let held = |error| Fault::halt("telling changes", kept(error));
        totals.file_bytes = overlay.bytes().map_err(held)?;
        loop {
            let changes = overlay.take_changes(CHUNK).map_err(held)?;
            if changes.is_empty() {
                return Ok(totals);
            }
            for ((table, id), [before, after]) in changes {
                if let Some(change) = Change::between(table, id, before, after) {
                    each(change)?;
                }
            }
        }
    }

    /// Whether it is within its limits.
    fn check(&self) -> Result<(), Fault> {
        let doing = "forecasting";
        if Instant::now() >= self.deadline {
            let said = format!(
                "the snapshot has been open for {:?}; forecast less at once, or raise \
                 FORECAST_TIME, which holds back vacuum for as long",
                self.limits.time
            );
            return Err(Fault::halt(doing, said));
        }
        let bytes = self.overlay.bytes().map_err(|error| Fault::halt(doing, kept(error)))?;
        if bytes > self.limits.disk_bytes {
            let said = format!(
                "what would change takes {bytes} bytes of disk; forecast less at once, or raise \
                 FORECAST_DISK_BYTES"
            );
            return Err(Fault::halt(doing, said));
        }
        Ok(())
    }

    async fn try_add(&mut self, items: &[Item]) -> sqlx::Result<Applied> {
        let mut view = View { tx: &mut self.snapshot, overlay: &self.overlay };
        let batch = Batch { items, positions: BTreeMap::new() };
        let (fresh, same_ids) = view.fresh(items).await?;
        let mut work = Work::new(&batch, &fresh);
        work.mark_variants(&same_ids);
        let projected: Vec<&Decoded> = work
            .decoded()
            .filter(|decoded| decoded.disposition != Disposition::WrongLivemode)
            .collect();
        let said = projected.iter().flat_map(|decoded| &decoded.objects);
        let mut states = view.load(&said.map(|state| state.key.clone()).collect()).await?;
        let named_before = derived::named_providers(&states, &self.settings);
        let changed = work.join_into(&mut states);
        let named_now = derived::named_providers(&states, &self.settings);
        let facts = projected.iter().flat_map(|decoded| &decoded.facts);
        let said = Said {
            events: work.verdicts().map(|(key, it)| (key, it == Verdict::Quarantined)).collect(),
            objects: changed.iter().filter_map(|key| states.get(key)).collect(),
            renamed: derived::renamed(&named_before, named_now),
            facts: view.earliest(facts).await?,
        };
        self.overlay.save(&said).map_err(kept)?;
        Ok(work.applied(0))
    }

    /// What depends on the providers of accounts that were renamed is to be derived too.
    async fn spread(&mut self) -> Result<(), Fault> {
        let (doing, overlay) = ("forecasting dependents", &self.overlay);
        loop {
            self.check()?;
            let accounts = overlay.take_renamed(CHUNK);
            let accounts = accounts.map_err(|error| Fault::halt(doing, kept(error)))?;
            if accounts.is_empty() {
                return Ok(());
            }
            let spread = async {
                let dependents = object::dependents(&mut self.snapshot, &accounts, None);
                let mut dependents = dependents.try_chunks(CHUNK).map_err(|error| error.1);
                while let Some(keys) = dependents.try_next().await? {
                    overlay.add_due(&keys).map_err(kept)?;
                }
                Ok(())
            };
            within(spread).await.map_err(|error| Fault::postgres(doing, error))?;
        }
    }

    /// Some objects that are still to be derived.
    fn due(&self) -> Result<Option<BTreeSet<ObjectKey>>, Fault> {
        let due = self.overlay.due(self.limits.page_objects.max(1));
        let due = due.map_err(|error| Fault::halt("forecasting", kept(error)))?;
        Ok(Some(due).filter(|due| !due.is_empty()))
    }

    /// Derives the aggregates of these objects.
    async fn derive(&mut self, due: &BTreeSet<ObjectKey>) -> Result<(), Fault> {
        let derived = within(self.try_derive(due)).await;
        match derived.map_err(|error| Fault::postgres("forecasting rows", error))? {
            Ok(()) => Ok(()),
            Err(Setback::Incomplete(missing)) => {
                let said = format!("an aggregate has more than {} objects", missing.len());
                Err(Fault::halt("forecasting rows", said))
            }
            Err(setback) => setback.missing().map(drop),
        }
    }

    async fn try_derive(&mut self, due: &BTreeSet<ObjectKey>) -> Attempt<()> {
        let mut view = View { tx: &mut self.snapshot, overlay: &self.overlay };
        let (mut states, mut missing) = (States::new(), due.clone());
        let derived = loop {
            states.extend(view.load(&missing).await?);
            if states.len() > MAX_LOCKED_OBJECTS {
                return Ok(Err(Setback::Incomplete(states.into_keys().collect())));
            }
            missing = aggregate::beyond(&states);
            if !missing.is_empty() {
                continue;
            }
            let concerns = |key: &ObjectKey| due.contains(key);
            match Derived::of(&mut view, &states, concerns, &self.settings, &()).await? {
                Ok(derived) => break derived,
                Err(Setback::Incomplete(more)) => missing = more,
                Err(setback) => return Ok(Err(setback)),
            }
        };
        let page = Page::of(&mut view, &derived).await?;
        self.overlay.settle(&page).map_err(kept)?;
        Ok(Ok(()))
    }

    /// Counts facts, and the domain events that would be queued.
    async fn count(&mut self, totals: &mut Totals) -> Result<(), Fault> {
        let doing = "forecasting facts";
        let mut last = Some(String::new());
        while let Some(after) = last {
            self.check()?;
            let counted = within(self.count_proved(&after, totals)).await;
            last = counted.map_err(|error| Fault::postgres(doing, error))?;
        }
        let mut is_done = false;
        while !is_done {
            self.check()?;
            let counted = within(self.count_released(totals)).await;
            is_done = counted.map_err(|error| Fault::postgres(doing, error))?;
        }
        Ok(())
    }

    /// Counts some facts that are new or better proved, after this one. Returns the last.
    async fn count_proved(
        &mut self,
        after: &str,
        totals: &mut Totals,
    ) -> sqlx::Result<Option<String>> {
        let facts = self.overlay.facts_after(after, CHUNK).map_err(kept)?;
        let known = facts.iter().filter(|(proved, _)| proved.is_known).count() as u64;
        totals.corrected_facts += known;
        totals.new_facts += facts.len() as u64 - known;
        let told = facts.iter().filter(|(proved, held)| !proved.fact.held || *held == Some(false));
        totals.domain_events += self.unqueued(told.map(|(proved, _)| &proved.fact)).await?;
        Ok(facts.last().map(|(proved, _)| proved.fact.fact_id.clone()))
    }

    /// Counts some stored facts that are held and would be released. Says whether that is all.
    async fn count_released(&mut self, totals: &mut Totals) -> sqlx::Result<bool> {
        let objects = self.overlay.take_held(CHUNK).map_err(kept)?;
        let is_done = objects.is_empty();
        let released: Vec<ObjectKey> =
            objects.into_iter().filter(|(_, is_held)| !is_held).map(|(key, _)| key).collect();
        let facts = fact::held_of(&mut self.snapshot, &released).await?;
        // What is better proved besides is counted already.
        let proved = self.overlay.facts(facts.iter().map(|fact| &*fact.fact_id)).map_err(kept)?;
        let told = facts.iter().filter(|fact| !proved.contains_key(&fact.fact_id));
        totals.domain_events += self.unqueued(told).await?;
        Ok(is_done)
    }

    /// How many rows the domain events of these facts would add to the queue.
    async fn unqueued(&mut self, facts: impl Iterator<Item = &Fact>) -> sqlx::Result<u64> {
        let ids: Vec<String> = facts.map(|fact| fact.to_domain_event().id).collect();
        fact::unqueued(&mut self.snapshot, &ids, &self.sinks).await
    }
}

/// The overlay cannot keep or give what it should, where errors are Postgres': one that halts.
#[expect(clippy::needless_pass_by_value, reason = "what map_err hands over")]
fn kept(error: redb::Error) -> sqlx::Error {
    sqlx::Error::InvalidArgument(format!("the file of the forecast: {error}"))
}
