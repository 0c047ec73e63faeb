//! The database as it would be, read by the questions that applying a batch asks.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use domain::aggregate::States;
use domain::fact::Fact;
use domain::object::ObjectKey;
use domain::quote::UNQUOTED;
use domain::settlement::Sibling;
use domain::state::ObjectState;
use sqlx::PgConnection;

use super::super::derived::Payments;
use super::super::event::{self, EventKey, Verdict};
use super::super::{Item, fact, object, quote};
use super::kept;
use super::overlay::{Overlay, Proved};

/// The snapshot, and what is known beyond it.
pub(super) struct View<'a> {
    pub(super) tx: &'a mut PgConnection,
    pub(super) overlay: &'a Overlay,
}

impl View<'_> {
    /// Which events of these records are new, or known as quarantined only and understood now; and
    /// every event with the ids of these.
    pub(super) async fn fresh(
        &mut self,
        items: &[Item],
    ) -> sqlx::Result<(HashSet<EventKey>, Vec<EventKey>)> {
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
    pub(super) async fn load(&mut self, keys: &BTreeSet<ObjectKey>) -> sqlx::Result<States> {
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
    pub(super) async fn earliest(
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
