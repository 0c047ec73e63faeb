//! From the newest snapshots of an aggregate to its rows and its ledger's targets: a pure function,
//! so that whatever order the records came in, equal snapshots give equal rows.

use crate::id;
use crate::json::{Doc, Malformed};
use crate::object::application_fee::{self, ApplicationFee};
use crate::object::transfer::Transfer;
use crate::object::{ObjectKey, destination};
use crate::row::{Absent, Rows};
use crate::settings::Settings;
use crate::state::ObjectState;
use std::collections::{BTreeMap, BTreeSet};

mod books;
mod invoice;
mod method;
mod payment;
mod payout;
mod provider;

pub use provider::named_provider;

/// Which provider owns which connected account (`acct_…` → our provider).
pub type Providers = BTreeMap<String, String>;

/// Provider of an account that nobody has named.
pub const UNKNOWN: &str = "unknown";

/// A snapshot that was accepted once cannot be read by this version.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("stored snapshot of {} in account '{}' cannot be read: {error}", key.id, key.account)]
pub struct Unreadable {
    /// Which object.
    pub key: ObjectKey,
    /// What is wrong with it.
    pub error: Malformed,
}

/// The rows of one aggregate, given the state of all its members. What its quotes add comes after:
/// [`crate::settlement`].
pub fn derive(
    aggregate: &[&ObjectState],
    providers: &Providers,
    settings: &Settings,
) -> Result<Rows, Unreadable> {
    let mut rows = payment::derive(aggregate, settings)?;
    for txn in &mut rows.txns {
        let destination = txn.destination_account.as_ref();
        txn.destination_provider = destination.and_then(|account| providers.get(account)).cloned();
    }
    rows.payouts = payout::derive(aggregate, providers)?;
    rows.providers = provider::derive(aggregate)?;
    (rows.invoices, rows.invoice_payments) = invoice::derive(aggregate)?;
    rows.targets.extend(books::derive(aggregate, providers)?);
    rows.absent = absent(aggregate, &rows);
    Ok(rows)
}

/// Every row that some member could have and does not. Which rows there are can change with what is
/// known: a charge finds its intent, a dispute's newest record names another charge.
fn absent(aggregate: &[&ObjectState], rows: &Rows) -> Absent {
    let txns: BTreeSet<&str> = rows.txns.iter().map(|row| row.txn_id.as_str()).collect();
    let refunds: BTreeSet<&str> = rows.refunds.iter().map(|row| row.refund_id.as_str()).collect();
    let disputes: BTreeSet<&str> =
        rows.disputes.iter().map(|row| row.dispute_id.as_str()).collect();
    let payouts: BTreeSet<&str> = rows.payouts.iter().map(|row| row.payout_id.as_str()).collect();
    let invoices: BTreeSet<&str> =
        rows.invoices.iter().map(|row| row.invoice_id.as_str()).collect();
    let of = |id: fn(&str, &str) -> String, present: &BTreeSet<&str>| -> Vec<String> {
        let ids = aggregate.iter().map(|state| id(&state.key.account, &state.key.id));
        ids.filter(|id| !present.contains(id.as_str())).collect()
    };
    Absent {
        txns: of(id::txn_id, &txns),
        refunds: of(id::refund_id, &refunds),
        disputes: of(id::dispute_id, &disputes),
        payouts: of(id::payout_id, &payouts),
        invoices: of(id::invoice_id, &invoices),
    }
}

/// The connected account outside its aggregate on whose provider an object's rows depend.
pub fn depends_on(state: &ObjectState) -> Option<String> {
    let snapshot = &state.newest.as_ref()?.value;
    let doc = Doc(&snapshot.doc);
    let account = match snapshot.kind.as_str() {
        "payout" => (!state.key.account.is_empty()).then_some(state.key.account.as_str()),
        "transfer" => Transfer::read(doc).ok().flatten().map(|transfer| transfer.destination),
        "charge" | "payment_intent" => destination(doc),
        application_fee::NAME => {
            let fee = ApplicationFee::read(doc).ok();
            fee.filter(|fee| fee.originating.is_some()).and_then(|fee| fee.payer)
        }
        _ => None,
    };
    account.map(str::to_owned)
}

/// The members of this kind that have been seen, with their snapshots' documents.
fn of_kind<'a>(
    aggregate: &[&'a ObjectState],
    kind: &'static str,
) -> impl Iterator<Item = (&'a ObjectState, &'a crate::state::Snapshot)> {
    aggregate.iter().filter_map(move |state| {
        let snapshot = &state.newest.as_ref()?.value;
        (snapshot.kind == kind).then_some((*state, snapshot))
    })
}

fn unreadable(state: &ObjectState) -> impl FnOnce(Malformed) -> Unreadable + '_ {
    |error| Unreadable { key: state.key.clone(), error }
}
