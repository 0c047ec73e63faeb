//! What applying records would change, and nothing changed: from one read-only snapshot of the
//! database and an overlay of what the records say.
//!
//! State is a function of the set of records, so nothing has to be written to know what it would
//! become: what is new is joined into the snapshot's states, and what was touched is derived by the
//! code that live records go through. No lock is taken and live records do not wait. An open
//! snapshot does keep vacuum from what was deleted since, so it has a time limit
//! (docs/adr/0022-forecast.md).

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::PathBuf;
use std::time::Duration;

use domain::aggregate::{self, States};
use domain::event::{Decoded, Disposition};
use domain::fact::Fact;
use domain::object::ObjectKey;
use domain::quote::UNQUOTED;
use domain::settings::Settings;
use domain::settlement::Sibling;
use domain::state::ObjectState;
use futures::TryStreamExt as _;
use sqlx::{Connection as _, PgConnection, Postgres, Transaction};
use tokio::time::Instant;

use self::overlay::{Overlay, Proved, Said};
use self::page::Page;
use super::change::Change;
use super::derived::{self, Derived, Payments};
use super::event::{self, EventKey, Verdict, Work};
use super::{Applied, Batch, Item, MAX_LOCKED_OBJECTS, Setback, Store, fact, object, quote};
use crate::database::within;
use crate::fault::{Decision, Fault};
use crate::sink::Sink;

mod overlay;
mod page;

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
    /// Aggregates whose rows Postgres would refuse; their changes are not told.
    pub refused: u64,
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
        let overlay = overlay.map_err(|error| Fault::halt(doing, kept(error)))?;
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
    /// events: [`Totals`] has those. After a fault that is to be isolated, the forecast is as it was
    /// before the batch; after any other it is over.
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
            totals.refused += self.derive(&due).await?;
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
        // A savepoint: what Postgres refuses of a batch leaves the snapshot as it was.
        let mut tx = self.snapshot.begin().await?;
        let mut view = View { tx: &mut tx, overlay: &self.overlay };
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
        tx.commit().await?;
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
            let dependents = object::dependents(&mut self.snapshot, &accounts, None);
            let due = dependents.try_chunks(CHUNK).map_err(|error| error.1);
            let due = due.try_for_each(async |keys| overlay.add_due(&keys).map_err(kept));
            within(due).await.map_err(|error| Fault::postgres(doing, error))?;
        }
    }

    /// Some objects that are still to be derived.
    fn due(&self) -> Result<Option<BTreeSet<ObjectKey>>, Fault> {
        let due = self.overlay.due(self.limits.page_objects.max(1));
        let due = due.map_err(|error| Fault::halt("forecasting", kept(error)))?;
        Ok(Some(due).filter(|due| !due.is_empty()))
    }

    /// Derives the aggregates of these objects. What Postgres refuses is derived one by one and
    /// counted.
    async fn derive(&mut self, due: &BTreeSet<ObjectKey>) -> Result<u64, Fault> {
        let fault = match self.derive_page(due).await {
            Err(fault) if fault.decision == Decision::Isolate => fault,
            done => return done.map(|()| 0),
        };
        if due.len() > 1 {
            let mut refused = 0;
            for key in due {
                refused += Box::pin(self.derive(&[key.clone()].into())).await?;
            }
            return Ok(refused);
        }
        for key in due {
            tracing::warn!(account = key.account, id = key.id, %fault, "would be refused");
        }
        let passed = self.overlay.pass_over(due);
        passed.map_err(|error| Fault::halt("forecasting", kept(error)))?;
        Ok(1)
    }

    async fn derive_page(&mut self, due: &BTreeSet<ObjectKey>) -> Result<(), Fault> {
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

    async fn try_derive(&mut self, due: &BTreeSet<ObjectKey>) -> super::Attempt<()> {
        let mut tx = self.snapshot.begin().await?;
        let mut view = View { tx: &mut tx, overlay: &self.overlay };
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
        tx.commit().await?;
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

/// The database as it would be: the snapshot, and what is known beyond it.
struct View<'a> {
    tx: &'a mut PgConnection,
    overlay: &'a Overlay,
}

impl View<'_> {
    /// Which events of these records are new, or known as quarantined only and understood now; and
    /// every event with the ids of these.
    async fn fresh(&mut self, items: &[Item]) -> sqlx::Result<(HashSet<EventKey>, Vec<EventKey>)> {
        let told: Vec<EventKey> =
            items.iter().filter_map(event::envelope).map(EventKey::of).collect();
        let understood: HashSet<EventKey> = items
            .iter()
            .filter_map(|item| Some(EventKey::of(&item.outcome.as_ref().ok()?.event)))
            .collect();
        let stored = event::of_same_ids(self.tx, &told).await?;
        let mut known: BTreeMap<EventKey, bool> = stored
            .into_iter()
            .map(|(key, verdict)| (key, verdict == Verdict::Quarantined.as_str()))
            .collect();
        known.extend(self.overlay.of_same_ids(&told).map_err(kept)?);
        let is_fresh = |key: &&EventKey| match known.get(key) {
            None => true,
            Some(is_quarantined) => *is_quarantined && understood.contains(key),
        };
        let fresh: HashSet<EventKey> = told.iter().filter(is_fresh).cloned().collect();
        let same_ids: BTreeSet<EventKey> = known.into_keys().chain(told).collect();
        Ok((fresh, same_ids.into_iter().collect()))
    }

    /// The states of these objects; of one that nobody has named, its name.
    async fn load(&mut self, keys: &BTreeSet<ObjectKey>) -> sqlx::Result<States> {
        let mut states: States =
            keys.iter().map(|key| (key.clone(), ObjectState::named(key.clone()))).collect();
        let known = self.overlay.objects(keys).map_err(kept)?;
        let mut others = keys.clone();
        for state in &known {
            others.remove(&state.key);
        }
        states.extend(object::load(self.tx, &others).await?);
        states.extend(known.into_iter().map(|state| (state.key.clone(), state)));
        Ok(states)
    }

    /// Of these facts, those that are new or better proved than what is known.
    async fn earliest(
        &mut self,
        facts: impl Iterator<Item = &Fact> + Clone,
    ) -> sqlx::Result<Vec<Proved>> {
        let ids: BTreeSet<&str> = facts.clone().map(|fact| fact.fact_id.as_str()).collect();
        let stored = fact::stored(self.tx, &ids.iter().copied().collect::<Vec<_>>()).await?;
        let mut known: BTreeMap<String, Proved> = stored
            .into_iter()
            .map(|fact| (fact.fact_id.clone(), Proved { fact, is_known: true }))
            .collect();
        known.extend(self.overlay.facts(ids).map_err(kept)?);
        let mut proved: BTreeMap<String, Proved> = BTreeMap::new();
        for fact in facts {
            let best = proved.get(&fact.fact_id).or_else(|| known.get(&fact.fact_id));
            let (is_known, held) = match best {
                Some(best) if !fact.precedes(&best.fact) => continue,
                Some(best) => (best.is_known, best.fact.held),
                None => (false, fact.held),
            };
            let fact = Fact { held, ..fact.clone() };
            proved.insert(fact.fact_id.clone(), Proved { fact, is_known });
        }
        Ok(proved.into_values().collect())
    }
}

impl Payments for View<'_> {
    fn inputs(&mut self) -> &mut PgConnection {
        self.tx
    }

    async fn quotes_of(&mut self, txns: &[&str]) -> sqlx::Result<BTreeSet<String>> {
        let known = self.overlay.payments(txns.iter().copied()).map_err(kept)?;
        let others: Vec<&str> =
            txns.iter().copied().filter(|txn| !known.contains_key(*txn)).collect();
        let mut quotes = quote::stored(self.tx, &others).await?;
        let named = known.into_values().flatten().map(|payment| payment.quote_id);
        quotes.extend(named.filter(|quote| quote != UNQUOTED));
        Ok(quotes)
    }

    async fn siblings(&mut self, quotes: &[&str], txns: &[&str]) -> sqlx::Result<Vec<Sibling>> {
        let mut siblings = quote::siblings(self.tx, quotes, txns).await?;
        let ids = siblings.iter().map(|payment| payment.txn_id.as_str());
        let known = self.overlay.payments(ids).map_err(kept)?;
        siblings.retain(|payment| !known.contains_key(&payment.txn_id));
        let derived = self.overlay.payments_of(quotes).map_err(kept)?;
        siblings.extend(derived.into_iter().filter(|it| !txns.contains(&&*it.txn_id)));
        Ok(siblings)
    }
}

/// The overlay cannot keep or give what it should, where errors are Postgres': one that halts.
fn kept(error: redb::Error) -> sqlx::Error {
    sqlx::Error::Configuration(format!("the file of the forecast: {error}").into())
}
