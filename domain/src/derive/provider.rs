//! Providers: a connected account and whether it lets the platform act for it.

use super::{Unreadable, of_kind, unreadable};
use crate::json::Doc;
use crate::object::account::Account;
use crate::object::{authorization, capability};
use crate::row;
use crate::settings::Settings;
use crate::state::{ObjectState, Snapshot};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// The provider that an account's own metadata names: it counts where nobody linked the account.
pub fn named_provider(account: &ObjectState, settings: &Settings) -> Option<String> {
    let snapshot = &account.newest.as_ref()?.value;
    let name = Doc(&snapshot.doc).metadata(&settings.keys.provider_id);
    name.filter(|_| snapshot.kind == "account").map(str::to_owned)
}

/// The status of the capability `transfers`, where it speaks for itself and later than the account.
fn transfers_since<'a>(aggregate: &[&'a ObjectState], account: &Snapshot) -> Option<&'a str> {
    let mut capabilities = of_kind(aggregate, capability::NAME);
    let (_, newest) = capabilities.find(|(state, _)| state.key.id == "transfers")?;
    let is_later = (newest.created, &newest.event_id) > (account.created, &account.event_id);
    Doc(&newest.doc).text("status").filter(|_| is_later)
}

pub(super) fn derive(aggregate: &[&ObjectState]) -> Result<Vec<row::Provider>, Unreadable> {
    let mut providers: BTreeMap<String, row::Provider> = BTreeMap::new();
    for (state, snapshot) in of_kind(aggregate, "account") {
        let doc = Doc(&snapshot.doc);
        let transfers = transfers_since(aggregate, snapshot);
        let account = Account::read_with(doc, transfers).map_err(unreadable(state))?;
        let row = row::Provider {
            stripe_acct: account.id.to_owned(),
            status: account.status,
            requirements: account.requirements,
        };
        providers.insert(row.stripe_acct.clone(), row);
    }
    for (_, snapshot) in of_kind(aggregate, authorization::NAME) {
        let doc = Doc(&snapshot.doc);
        let Some(account) = doc.id_of("account") else { continue };
        // The account itself may not have been heard of: then nothing is wrong with it yet.
        let row = providers.entry(account.to_owned()).or_insert_with(|| row::Provider {
            stripe_acct: account.to_owned(),
            status: "pending",
            requirements: Value::Object(Map::new()),
        });
        if !authorization::is_authorized(doc) {
            row.status = "restricted";
        }
    }
    Ok(providers.into_values().collect())
}
