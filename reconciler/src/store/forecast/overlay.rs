//! What a forecast knows beyond its snapshot of the database: in memory up to a bound, beyond it in
//! a file without a name, which is gone with the process however that ends.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use domain::fact::Fact;
use domain::ledger::{Subject, SubjectKind};
use domain::object::ObjectKey;
use domain::settlement::Sibling;
use domain::state::ObjectState;
use redb::backends::FileBackend;
use redb::{
    Builder, Database, Durability, ReadableDatabase as _, ReadableTable as _, TableDefinition,
    WriteTransaction,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::super::event::EventKey;
use super::page::{self, Page};

/// What happens to a row: before and after.
pub(super) type Images = [Option<Map<String, Value>>; 2];
pub(super) type Result<T> = std::result::Result<T, redb::Error>;

/// One write in so many waits for the disk.
const SYNC_EVERY: u64 = 64;

/// States that differ from the snapshot's.
const OBJECTS: TableDefinition<(&str, &str), &[u8]> = TableDefinition::new("objects");
/// Objects whose aggregates are still to be derived.
const DUE: TableDefinition<(&str, &str), ()> = TableDefinition::new("due");
/// Events that are new: id, account, time, hash; and whether they are quarantined.
const EVENTS: TableDefinition<(&str, &str, i64, &[u8]), bool> = TableDefinition::new("events");
/// Accounts whose metadata name another provider.
const RENAMED: TableDefinition<&str, ()> = TableDefinition::new("renamed");
/// Facts that are new or better proved, by id.
const FACTS: TableDefinition<&str, &[u8]> = TableDefinition::new("facts");
/// Objects with conditional facts: whether those are held.
const HELD: TableDefinition<(&str, &str), bool> = TableDefinition::new("held");
/// Rows that change, by table and key.
const CHANGES: TableDefinition<(&str, &str), &[u8]> = TableDefinition::new("changes");
/// Payments as derived, by id; null where one goes.
const PAYMENTS: TableDefinition<&str, &[u8]> = TableDefinition::new("payments");
/// Quote and payment, of every payment that was derived with this quote.
const QUOTES: TableDefinition<(&str, &str), ()> = TableDefinition::new("quotes");
/// Account, id and kind of the ledger's subjects that were given a target.
const SUBJECTS: TableDefinition<(&str, &str, &str), ()> = TableDefinition::new("subjects");

/// A fact that is new, or better proved than in the snapshot.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Proved {
    /// With `held` as it was when it became known.
    pub(super) fact: Fact,
    /// Whether the snapshot has it, worse proved.
    pub(super) is_known: bool,
}

/// What a batch of records adds.
pub(super) struct Said<'a> {
    pub(super) events: Vec<(&'a EventKey, bool)>,
    pub(super) objects: Vec<&'a ObjectState>,
    pub(super) renamed: Vec<String>,
    pub(super) facts: Vec<Proved>,
}

#[derive(Debug)]
pub(super) struct Overlay {
    database: Database,
    /// The same file, to ask for its size.
    file: File,
    writes: AtomicU64,
}

impl Overlay {
    /// An empty one with a file in this directory and this many bytes of cache.
    pub(super) fn new(directory: &Path, cache_bytes: usize) -> Result<Self> {
        let file = tempfile::tempfile_in(directory)?;
        let backend = FileBackend::new(file.try_clone()?)?;
        let database = Builder::new().set_cache_size(cache_bytes).create_with_backend(backend)?;
        let overlay = Self { database, file, writes: AtomicU64::new(0) };
        overlay.write(|tx| {
            tx.open_table(OBJECTS)?;
            tx.open_table(DUE)?;
            tx.open_table(EVENTS)?;
            tx.open_table(RENAMED)?;
            tx.open_table(FACTS)?;
            tx.open_table(HELD)?;
            tx.open_table(CHANGES)?;
            tx.open_table(PAYMENTS)?;
            tx.open_table(QUOTES)?;
            tx.open_table(SUBJECTS)?;
            Ok(())
        })?;
        Ok(overlay)
    }

    /// Size of the file.
    pub(super) fn bytes(&self) -> Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    /// All of it or nothing. Nobody reads the file after a crash, so few writes wait for the disk:
    /// those keep short what redb notes in memory of pages that are not on it.
    fn write<T>(&self, work: impl FnOnce(&WriteTransaction) -> Result<T>) -> Result<T> {
        let mut tx = self.database.begin_write()?;
        if !self.writes.fetch_add(1, Ordering::Relaxed).is_multiple_of(SYNC_EVERY) {
            tx.set_durability(Durability::None)?;
        }
        let done = work(&tx)?;
        tx.commit()?;
        Ok(done)
    }

    /// Takes up what a batch says. Its objects are due.
    pub(super) fn save(&self, said: &Said<'_>) -> Result<()> {
        self.write(|tx| {
            let mut events = tx.open_table(EVENTS)?;
            for (key, is_quarantined) in &said.events {
                let place = (&*key.id, &*key.account, key.created, &*key.data_hash);
                events.insert(place, is_quarantined)?;
            }
            let (mut objects, mut due) = (tx.open_table(OBJECTS)?, tx.open_table(DUE)?);
            for state in &said.objects {
                let place = (&*state.key.account, &*state.key.id);
                objects.insert(place, &*bytes(state)?)?;
                due.insert(place, ())?;
            }
            let mut renamed = tx.open_table(RENAMED)?;
            for account in &said.renamed {
                renamed.insert(&**account, ())?;
            }
            let mut facts = tx.open_table(FACTS)?;
            for proved in &said.facts {
                facts.insert(&*proved.fact.fact_id, &*bytes(proved)?)?;
            }
            Ok(())
        })
    }

    /// Takes up what a page of aggregates comes to. Its objects are no longer due.
    pub(super) fn settle(&self, page: &Page) -> Result<()> {
        self.write(|tx| {
            let mut due = tx.open_table(DUE)?;
            for key in &page.members {
                due.remove((&*key.account, &*key.id))?;
            }
            let mut held = tx.open_table(HELD)?;
            for (key, is_held) in &page.held {
                held.insert((&*key.account, &*key.id), is_held)?;
            }
            let mut changes = tx.open_table(CHANGES)?;
            let mut subjects = tx.open_table(SUBJECTS)?;
            for subject in &page.subjects {
                let (account, id) = (&*subject.account, &*subject.id);
                if subjects.insert((account, id, subject.kind.as_str()), ())?.is_some() {
                    // An earlier page gave it another target, perhaps in another currency.
                    let name = page::name_of(subject);
                    let (first, end) = (format!("{name} "), format!("{name}!"));
                    let range = (page::BALANCES, &*first)..(page::BALANCES, &*end);
                    changes.retain_in(range, |_, _| false)?;
                }
            }
            for ((table, key), images) in &page.rows {
                let [before, after] = images;
                if before == after {
                    changes.remove((&**table, &**key))?;
                } else {
                    changes.insert((&**table, &**key), &*bytes(images)?)?;
                }
            }
            let (mut payments, mut quotes) = (tx.open_table(PAYMENTS)?, tx.open_table(QUOTES)?);
            for (txn, payment) in &page.payments {
                payments.insert(&**txn, &*bytes(payment)?)?;
                if let Some(payment) = payment {
                    quotes.insert((&*payment.quote_id, &**txn), ())?;
                }
            }
            Ok(())
        })
    }

    /// These are to be derived too.
    pub(super) fn add_due(&self, keys: &[ObjectKey]) -> Result<()> {
        self.write(|tx| {
            let mut due = tx.open_table(DUE)?;
            for key in keys {
                due.insert((&*key.account, &*key.id), ())?;
            }
            Ok(())
        })
    }

    /// Some objects that are due, in their order.
    pub(super) fn due(&self, limit: usize) -> Result<BTreeSet<ObjectKey>> {
        let due = self.database.begin_read()?.open_table(DUE)?;
        let keys = due.iter()?.take(limit).map(|entry| {
            let (key, _) = entry?;
            let (account, id) = key.value();
            Ok(ObjectKey::new(account, id))
        });
        keys.collect()
    }

    /// Takes out some accounts that were renamed.
    pub(super) fn take_renamed(&self, limit: usize) -> Result<Vec<String>> {
        self.write(|tx| {
            let (mut renamed, mut taken) = (tx.open_table(RENAMED)?, Vec::new());
            while taken.len() < limit
                && let Some((account, _)) = renamed.pop_first()?
            {
                taken.push(account.value().to_owned());
            }
            Ok(taken)
        })
    }

    /// Takes out some objects, with whether their conditional facts are held.
    pub(super) fn take_held(&self, limit: usize) -> Result<Vec<(ObjectKey, bool)>> {
        self.write(|tx| {
            let (mut held, mut taken) = (tx.open_table(HELD)?, Vec::new());
            while taken.len() < limit
                && let Some((key, is_held)) = held.pop_first()?
            {
                let (account, id) = key.value();
                taken.push((ObjectKey::new(account, id), is_held.value()));
            }
            Ok(taken)
        })
    }

    /// Takes out some rows that change, in their order.
    pub(super) fn take_changes(&self, limit: usize) -> Result<Vec<((String, String), Images)>> {
        self.write(|tx| {
            let (mut changes, mut taken) = (tx.open_table(CHANGES)?, Vec::new());
            while taken.len() < limit
                && let Some((place, images)) = changes.pop_first()?
            {
                let (table, key) = place.value();
                taken.push(((table.to_owned(), key.to_owned()), value(images.value())?));
            }
            Ok(taken)
        })
    }

    /// The states of those that it knows.
    pub(super) fn objects(&self, keys: &BTreeSet<ObjectKey>) -> Result<Vec<ObjectState>> {
        let objects = self.database.begin_read()?.open_table(OBJECTS)?;
        let mut found = Vec::new();
        for key in keys {
            if let Some(state) = objects.get((&*key.account, &*key.id))? {
                found.push(value(state.value())?);
            }
        }
        Ok(found)
    }

    /// The new events with the ids of these, and whether each is quarantined.
    pub(super) fn of_same_ids(&self, keys: &[EventKey]) -> Result<Vec<(EventKey, bool)>> {
        let events = self.database.begin_read()?.open_table(EVENTS)?;
        let mut found = Vec::new();
        for key in keys {
            // A hash has 32 bytes.
            let place = |hash| (&*key.id, &*key.account, key.created, hash);
            for entry in events.range(place(&[][..])..=place(&[0xff; 32][..]))? {
                let (place, is_quarantined) = entry?;
                let data_hash = place.value().3.to_vec();
                found.push((EventKey { data_hash, ..key.clone() }, is_quarantined.value()));
            }
        }
        Ok(found)
    }

    /// Of these facts, those that are new or better proved.
    pub(super) fn facts<'a>(
        &self,
        ids: impl IntoIterator<Item = &'a str>,
    ) -> Result<BTreeMap<String, Proved>> {
        let facts = self.database.begin_read()?.open_table(FACTS)?;
        let mut found = BTreeMap::new();
        for id in ids {
            if let Some(proved) = facts.get(id)? {
                found.insert(id.to_owned(), value(proved.value())?);
            }
        }
        Ok(found)
    }

    /// Some facts after this one, with whether what proves them says that they are held.
    pub(super) fn facts_after(
        &self,
        id: &str,
        limit: usize,
    ) -> Result<Vec<(Proved, Option<bool>)>> {
        let tx = self.database.begin_read()?;
        let (facts, held) = (tx.open_table(FACTS)?, tx.open_table(HELD)?);
        let mut found = Vec::new();
        for entry in facts.range(id..)?.filter(|it| !it.as_ref().is_ok_and(|it| it.0.value() == id))
        {
            let proved: Proved = value(entry?.1.value())?;
            let object = held.get((&*proved.fact.account, &*proved.fact.object_id))?;
            found.push((proved, object.map(|is_held| is_held.value())));
            if found.len() == limit {
                break;
            }
        }
        Ok(found)
    }

    /// Of these payments, those that were derived; `None` where one goes.
    pub(super) fn payments<'a>(
        &self,
        txns: impl IntoIterator<Item = &'a str>,
    ) -> Result<BTreeMap<String, Option<Sibling>>> {
        let payments = self.database.begin_read()?.open_table(PAYMENTS)?;
        let mut found = BTreeMap::new();
        for txn in txns {
            if let Some(payment) = payments.get(txn)? {
                found.insert(txn.to_owned(), value(payment.value())?);
            }
        }
        Ok(found)
    }

    /// The derived payments of these quotes.
    pub(super) fn payments_of(&self, quotes: &[&str]) -> Result<Vec<Sibling>> {
        let index = self.database.begin_read()?.open_table(QUOTES)?;
        let mut txns = Vec::new();
        for quote in quotes {
            for entry in index.range((*quote, "")..)? {
                let (place, _) = entry?;
                if place.value().0 != *quote {
                    break;
                }
                txns.push(place.value().1.to_owned());
            }
        }
        let payments = self.payments(txns.iter().map(String::as_str))?.into_values().flatten();
        Ok(payments.filter(|payment| quotes.contains(&&*payment.quote_id)).collect())
    }

    /// The subjects with these accounts and ids that were given a target.
    pub(super) fn subjects(&self, ids: &BTreeSet<(String, String)>) -> Result<Vec<Subject>> {
        let subjects = self.database.begin_read()?.open_table(SUBJECTS)?;
        let mut found = Vec::new();
        for (account, id) in ids {
            for kind in SubjectKind::ALL {
                if subjects.get((&**account, &**id, kind.as_str()))?.is_some() {
                    found.push(Subject::new(kind, account, id));
                }
            }
        }
        Ok(found)
    }

    /// What happens to this row, as far as it is known to change.
    pub(super) fn images(&self, table: &str, key: &str) -> Result<Option<Images>> {
        let changes = self.database.begin_read()?.open_table(CHANGES)?;
        changes.get((table, key))?.map(|images| value(images.value())).transpose()
    }
}

fn bytes(value: &impl Serialize) -> Result<Vec<u8>> {
    serde_json::to_vec(value).map_err(|error| std::io::Error::from(error).into())
}

fn value<T: DeserializeOwned>(bytes: &[u8]) -> Result<T> {
    serde_json::from_slice(bytes).map_err(|error| std::io::Error::from(error).into())
}
