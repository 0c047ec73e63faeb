//! From locked states to what is written: rows, settled with their quotes, and what of it goes
//! where. What it reads of stored payments is behind [`Payments`], so that a forecast derives with
//! the same code. Everything that it depends on outside the aggregates (providers, quotes, the quotes' other
//! payments) is locked before it is read, or the attempt begins again with the larger set.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;

use domain::aggregate::{self, States};
use domain::derive::{Providers, depends_on, derive, named_provider};
use domain::object::ObjectKey;
use domain::quote::Quotes;
use domain::row::Rows;
use domain::settings::{Profile, Settings};
use domain::settlement::{self, Sibling, order_key, quote_key, settle};
use domain::state::ObjectState;
use sqlx::PgConnection;

use super::pace::{Pace, Step};
use super::{Attempt, Setback, discrepancy, invoice, ledger, payout, quote, row};

/// What some aggregates come to.
pub(super) struct Derived {
    pub(super) rows: Rows,
    /// Stored payments whose fee or tax changes with these.
    pub(super) resettled: Vec<Sibling>,
    /// Every member of the aggregates: what is not derived of them must not stand.
    pub(super) members: Vec<ObjectKey>,
}

/// The payments that are stored: those of a quote part it among them, whoever applied them.
pub(super) trait Payments: Send {
    /// Where providers and quotes are read: others write those.
    fn inputs(&mut self) -> &mut PgConnection;

    /// The quotes that these payments have.
    fn quotes_of(
        &mut self,
        txns: &[&str],
    ) -> impl Future<Output = sqlx::Result<BTreeSet<String>>> + Send;

    /// The payments of these quotes, but for these.
    fn siblings(
        &mut self,
        quotes: &[&str],
        txns: &[&str],
    ) -> impl Future<Output = sqlx::Result<Vec<Sibling>>> + Send;
}

impl Payments for PgConnection {
    fn inputs(&mut self) -> &mut PgConnection {
        self
    }

    async fn quotes_of(&mut self, txns: &[&str]) -> sqlx::Result<BTreeSet<String>> {
        quote::stored(self, txns).await
    }

    async fn siblings(&mut self, quotes: &[&str], txns: &[&str]) -> sqlx::Result<Vec<Sibling>> {
        quote::siblings(self, quotes, txns).await
    }
}

impl Derived {
    /// The rows of every aggregate with a member that `concerns` says so.
    pub(super) async fn of(
        payments: &mut impl Payments,
        states: &States,
        concerns: impl Fn(&ObjectKey) -> bool,
        settings: &Settings,
        pace: &impl Pace,
    ) -> Attempt<Self> {
        let aggregates: Vec<Vec<&ObjectState>> = aggregate::components(states)
            .into_iter()
            .filter(|aggregate| aggregate.iter().any(|state| concerns(&state.key)))
            .collect();
        let members = || aggregates.iter().flatten().copied();
        let accounts: BTreeSet<String> = members().filter_map(depends_on).collect();
        if let Err(setback) = covered(states, accounts.iter().map(|id| ObjectKey::of_account(id))) {
            return Ok(Err(setback));
        }
        pace.before(Step::ReadProviders).await;
        let providers = providers(payments.inputs(), states, accounts, settings).await?;
        let mut rows = Rows::default();
        for aggregate in &aggregates {
            match derive(aggregate, &providers, settings) {
                Ok(derived) => rows.extend(derived),
                Err(error) => return Ok(Err(Setback::Unreadable(error))),
            }
        }
        let (quotes, siblings) = match quotes(payments, states, &rows, settings, pace).await? {
            Ok(found) => found,
            Err(setback) => return Ok(Err(setback)),
        };
        let resettled = settle(&mut rows, &quotes, &siblings, settings);
        let members = aggregates.iter().flatten().map(|state| state.key.clone()).collect();
        Ok(Ok(Self { rows, resettled, members }))
    }

    /// Writes everything, parents before children, in the order of the steps. Returns how many rows
    /// are not what they were.
    pub(super) async fn write(&self, tx: &mut PgConnection, pace: &impl Pace) -> sqlx::Result<u64> {
        let mut changed = row::write(tx, &self.rows, pace).await?;
        changed += quote::resettle(tx, &self.resettled).await?;
        pace.before(Step::WriteInvoices).await;
        changed += invoice::write(tx, &self.rows.invoices, &self.rows.invoice_payments).await?;
        pace.before(Step::WriteLedger).await;
        let members: Vec<&ObjectKey> = self.members.iter().collect();
        ledger::write(tx, &self.rows.targets, &members).await?;
        pace.before(Step::WriteDiscrepancies).await;
        discrepancy::write(tx, &self.rows.discrepancies, &members).await?;
        Ok(changed)
    }
}

/// Whether all of these are locked.
fn covered(states: &States, keys: impl Iterator<Item = ObjectKey>) -> Result<(), Setback> {
    let missing: BTreeSet<ObjectKey> = keys.filter(|key| !states.contains_key(key)).collect();
    if missing.is_empty() { Ok(()) } else { Err(Setback::Incomplete(missing)) }
}

/// The accounts that name another provider now than before.
pub(super) fn renamed(
    before: &BTreeMap<String, Option<String>>,
    now: BTreeMap<String, Option<String>>,
) -> Vec<String> {
    let is_other = |(account, name): &(String, Option<String>)| before.get(account) != Some(name);
    now.into_iter().filter(is_other).map(|(account, _)| account).collect()
}

/// The provider that each account's own metadata names, if it names one.
pub(super) fn named_providers(
    states: &States,
    settings: &Settings,
) -> BTreeMap<String, Option<String>> {
    let accounts = states.values().filter(|state| state.key.account == state.key.id);
    accounts.map(|state| (state.key.id.clone(), named_provider(state, settings))).collect()
}

/// The providers of these accounts: as they were linked, else as their metadata says.
async fn providers(
    tx: &mut PgConnection,
    states: &States,
    accounts: BTreeSet<String>,
    settings: &Settings,
) -> sqlx::Result<Providers> {
    let mut providers: Providers = named_providers(states, settings)
        .into_iter()
        .filter_map(|(account, name)| Some((account, name?)))
        .collect();
    providers.extend(payout::providers(tx, &accounts.into_iter().collect::<Vec<_>>()).await?);
    Ok(providers)
}

/// The quotes that these payments name now or named before, and their other payments.
async fn quotes(
    payments: &mut impl Payments,
    states: &States,
    rows: &Rows,
    settings: &Settings,
    pace: &impl Pace,
) -> Attempt<(Quotes, Vec<Sibling>)> {
    if settings.profile == Profile::Merchant
        || (rows.txns.is_empty() && rows.absent.txns.is_empty())
    {
        return Ok(Ok((Quotes::default(), Vec::new())));
    }
    pace.before(Step::ReadQuotes).await;
    let txns = rows.txns.iter().map(|txn| &txn.txn_id).chain(&rows.absent.txns);
    let txns: Vec<&str> = txns.map(String::as_str).collect();
    let (mut ids, orders) = settlement::named(&rows.txns);
    ids.extend(payments.quotes_of(&txns).await?);
    let keys = ids.iter().map(|id| quote_key(id)).chain(orders.iter().map(|id| order_key(id)));
    if let Err(setback) = covered(states, keys) {
        return Ok(Err(setback));
    }
    let quotes = quote::read(payments.inputs(), &ids, &orders).await?;
    let found: Vec<&str> = quotes.ids().collect();
    if let Err(setback) = covered(states, found.iter().map(|id| quote_key(id))) {
        return Ok(Err(setback));
    }
    let siblings = payments.siblings(&found, &txns).await?;
    Ok(Ok((quotes, siblings)))
}
