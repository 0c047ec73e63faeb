//! From the newest snapshots of an aggregate to its rows: a pure function, so that whatever order
//! the records came in, equal snapshots give equal rows.

use crate::json::Malformed;
use crate::object::ObjectKey;
use crate::row::Rows;
use crate::settings::Settings;
use crate::state::ObjectState;
use std::collections::BTreeMap;

mod method;
mod payment;
mod payout;
mod provider;

pub use provider::named_provider;

/// Which provider owns which connected account (`acct_…` → our provider).
pub type Providers = BTreeMap<String, String>;

/// A snapshot that was accepted once cannot be read by this version.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("stored snapshot of {} in account '{}' cannot be read: {error}", key.id, key.account)]
pub struct Unreadable {
    /// Which object.
    pub key: ObjectKey,
    /// What is wrong with it.
    pub error: Malformed,
}

/// The rows of one aggregate, given the state of all its members.
pub fn derive(
    aggregate: &[&ObjectState],
    providers: &Providers,
    settings: &Settings,
) -> Result<Rows, Unreadable> {
    let mut rows = payment::derive(aggregate, settings)?;
    rows.payouts = payout::derive(aggregate, providers)?;
    rows.providers = provider::derive(aggregate)?;
    Ok(rows)
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
