//! Payments meet their quotes: which quote each belongs to, its part of fee and tax, and whom the
//! captured money is allocated to.
//!
//! A quote reaches over payments, and payments of one quote may be applied by different processes.
//! So this is a step of its own after rows are derived: whoever calls holds the lock of each quote
//! and order that is named, and hands in the quote's other payments as they are stored.

use crate::derive::UNKNOWN;
use crate::json::Doc;
use crate::ledger::{Account, Subject, SubjectKind, Target};
use crate::object::ObjectKey;
use crate::quote::{self, Misfit, Part, Quotes, Share, UNQUOTED};
use crate::row::{Discrepancy, Rows, Txn};
use crate::settings::{Profile, Settings};
use crate::state::ObjectState;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// A stored payment of a quote, as far as its part is concerned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the columns are described in the database")]
pub struct Sibling {
    pub txn_id: String,
    /// The Stripe id that names it.
    pub name: String,
    pub account: String,
    pub quote_id: String,
    pub provider_id: Option<String>,
    pub currency: String,
    pub is_direct: bool,
    pub kept_cents: i64,
    pub application_fee_cents: Option<i64>,
    pub fee_cents: i64,
    pub tax_cents: i64,
    pub created_at: i64,
    /// Whether its quote cannot be allocated to it.
    pub is_misfit: bool,
}

impl Sibling {
    /// The payment as it will be stored.
    pub fn of(txn: &Txn) -> Self {
        Self {
            txn_id: txn.txn_id.clone(),
            name: txn.name.clone(),
            account: txn.account.clone(),
            quote_id: txn.quote_id.clone(),
            provider_id: txn.provider_id.clone(),
            currency: txn.currency.clone(),
            is_direct: txn.is_direct,
            kept_cents: txn.kept_cents,
            application_fee_cents: txn.application_fee_cents,
            fee_cents: txn.fee_cents,
            tax_cents: txn.tax_cents,
            created_at: txn.created_at,
            is_misfit: txn.is_misfit,
        }
    }
}

/// Settles the payments of these rows, and returns the siblings whose fee or tax changed with them,
/// as they are then. Adds what is allocated to the targets, and what does not fit to the
/// discrepancies.
pub fn settle(
    rows: &mut Rows,
    quotes: &Quotes,
    siblings: &[Sibling],
    settings: &Settings,
) -> Vec<Sibling> {
    if settings.profile == Profile::Merchant {
        for txn in &mut rows.txns {
            txn.provider_id = txn.provider_id.take().or_else(|| txn.destination_provider.clone());
            txn.fee_cents = txn.application_fee_cents.unwrap_or_default();
        }
        return Vec::new();
    }
    let ambiguous = quote::resolve(&mut rows.txns, quotes);
    let misfits: BTreeMap<String, Misfit> = rows
        .txns
        .iter()
        .filter_map(|txn| Some((txn.txn_id.clone(), quote::misfit(txn, quotes, &ambiguous)?)))
        .collect();
    let parts = parts(&rows.txns, &misfits, quotes, siblings);
    for txn in &mut rows.txns {
        txn.provider_id = txn.provider_id.take().or_else(|| txn.destination_provider.clone());
        let part = parts.get(&txn.txn_id);
        let allocated = part.copied().unwrap_or_default();
        txn.is_misfit = misfits.contains_key(&txn.txn_id);
        txn.fee_cents = txn.application_fee_cents.unwrap_or(allocated.fee_cents);
        txn.tax_cents = allocated.tax_cents;
        rows.targets.push(allocation(txn, part));
        let misfit = misfits.get(&txn.txn_id);
        rows.discrepancies.extend(misfit.map(|misfit| discrepancy(txn, *misfit, quotes)));
    }
    let newest = rows.txns.iter().map(|txn| txn.as_of).max().unwrap_or_default();
    let mut resettled = Vec::new();
    for sibling in siblings {
        let Some(part) = parts.get(&sibling.txn_id) else { continue };
        let fee_cents = sibling.application_fee_cents.unwrap_or(part.fee_cents);
        if (fee_cents, part.tax_cents) != (sibling.fee_cents, sibling.tax_cents) {
            let tax_cents = part.tax_cents;
            resettled.push(Sibling { fee_cents, tax_cents, ..sibling.clone() });
        }
        let subject = allocation_of(&sibling.account, &sibling.name);
        let provider = sibling.provider_id.as_deref();
        rows.targets.push(of_part(
            subject,
            newest,
            &sibling.currency,
            sibling.is_direct,
            provider,
            *part,
        ));
    }
    resettled
}

/// Each payment's part of its quote.
fn parts(
    txns: &[Txn],
    misfits: &BTreeMap<String, Misfit>,
    quotes: &Quotes,
    siblings: &[Sibling],
) -> BTreeMap<String, Part> {
    let mut shares: BTreeMap<&str, Vec<Share>> = BTreeMap::new();
    let fitting = txns.iter().filter(|txn| !misfits.contains_key(&txn.txn_id));
    for txn in fitting.filter(|txn| txn.quote_id != UNQUOTED) {
        shares.entry(&txn.quote_id).or_default().push(Share {
            txn_id: txn.txn_id.clone(),
            created_at: txn.created_at,
            kept_cents: txn.kept_cents,
        });
    }
    // The quote may have changed since the sibling was stored; it is queued then.
    let fits = |sibling: &&Sibling| {
        let quote = quotes.get(&sibling.quote_id);
        let still = quote.is_some_and(|it| it.adds_up() && it.currency == sibling.currency);
        still && !sibling.is_misfit
    };
    for sibling in siblings.iter().filter(fits) {
        shares.entry(&sibling.quote_id).or_default().push(Share {
            txn_id: sibling.txn_id.clone(),
            created_at: sibling.created_at,
            kept_cents: sibling.kept_cents,
        });
    }
    shares
        .into_iter()
        .filter_map(|(quote_id, shares)| Some(quote::allocate(quotes.get(quote_id)?, shares)))
        .flatten()
        .collect()
}

fn allocation_of(account: &str, name: &str) -> Subject {
    Subject::new(SubjectKind::Allocation, account, name)
}

/// By its quote, else by where its charge sends the money; else it stays unallocated.
fn allocation(txn: &Txn, part: Option<&Part>) -> Target {
    let subject = allocation_of(&txn.account, &txn.name);
    let provider = txn.provider_id.as_deref();
    let part = match (part, txn.destination_cents) {
        (Some(part), _) => *part,
        (None, Some(provider_cents)) => Part {
            fee_cents: txn.kept_cents.saturating_sub(provider_cents),
            tax_cents: 0,
            provider_cents,
        },
        (None, None) => Part::default(),
    };
    of_part(subject, txn.as_of, &txn.currency, txn.is_direct, provider, part)
}

fn of_part(
    subject: Subject,
    as_of: i64,
    currency: &str,
    is_direct: bool,
    provider: Option<&str>,
    part: Part,
) -> Target {
    let mut target = Target::nothing(subject, as_of);
    if is_direct {
        return target;
    }
    let Part { fee_cents, tax_cents, provider_cents } = part;
    let party = provider.unwrap_or(UNKNOWN);
    let whole = fee_cents.saturating_add(tax_cents).saturating_add(provider_cents);
    target.posts(currency, Account::Unallocated, "", whole);
    target.posts(currency, Account::PlatformFees, "", fee_cents.saturating_neg());
    target.posts(currency, Account::TaxPayable, "", tax_cents.saturating_neg());
    target.posts(currency, Account::ProviderPayable, party, provider_cents.saturating_neg());
    target
}

/// What of a payment and its quote disagrees.
fn discrepancy(txn: &Txn, misfit: Misfit, quotes: &Quotes) -> Discrepancy {
    let (ours, theirs) = match (misfit, quotes.get(&txn.quote_id)) {
        (Misfit::Currency, Some(quote)) => (txn.currency.clone(), quote.currency.clone()),
        (Misfit::Sums, Some(quote)) => (
            format!("{} + {}", quote.platform_fee_cents, quote.tax_cents),
            quote.total_cents.to_string(),
        ),
        _ => (txn.order_id.clone().unwrap_or_default(), "more than one quote".to_owned()),
    };
    Discrepancy {
        kind: misfit.as_str(),
        account: txn.account.clone(),
        object_id: txn.name.clone(),
        ours,
        theirs,
    }
}

/// What is locked for a quote: no Stripe id begins so.
pub fn quote_key(quote_id: &str) -> ObjectKey {
    ObjectKey::new("", format!("quote:{quote_id}"))
}

/// What is locked for an order.
pub fn order_key(order_id: &str) -> ObjectKey {
    ObjectKey::new("", format!("order:{order_id}"))
}

/// The quotes and orders that a snapshot itself names: a guess at what its payment will.
pub fn hints(state: &ObjectState, settings: &Settings) -> Vec<ObjectKey> {
    let Some(newest) = &state.newest else { return Vec::new() };
    if settings.profile == Profile::Merchant {
        return Vec::new();
    }
    let doc = Doc(&newest.value.doc);
    let quote = doc.metadata(&settings.keys.quote_id).map(quote_key);
    let order = doc.metadata(&settings.keys.order_id).map(order_key);
    quote.into_iter().chain(order).collect()
}

/// The quotes and orders that these payments name: what to lock and to read.
pub fn named(txns: &[Txn]) -> (BTreeSet<String>, BTreeSet<String>) {
    let quotes = txns.iter().map(|txn| &txn.quote_id).filter(|id| *id != UNQUOTED);
    let orders = txns.iter().filter(|txn| txn.quote_id == UNQUOTED);
    (quotes.cloned().collect(), orders.filter_map(|txn| txn.order_id.clone()).collect())
}
