//! Providers: a connected account and whether it lets the platform act for it.

use super::{Unreadable, of_kind, unreadable};
use crate::json::Doc;
use crate::object::account::Account;
use crate::object::authorization;
use crate::row;
use crate::settings::Settings;
use crate::state::ObjectState;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// The provider that an account's own metadata names: it counts where nobody linked the account.
pub fn named_provider(account: &ObjectState, settings: &Settings) -> Option<String> {
    let snapshot = &account.newest.as_ref()?.value;
    let name = Doc(&snapshot.doc).metadata(&settings.keys.provider_id);
    name.filter(|_| snapshot.kind == "account").map(str::to_owned)
}

pub(super) fn derive(aggregate: &[&ObjectState]) -> Result<Vec<row::Provider>, Unreadable> {
    let mut providers: BTreeMap<String, row::Provider> = BTreeMap::new();
    for (state, snapshot) in of_kind(aggregate, "account") {
        let doc = Doc(&snapshot.doc);
        let account = Account::read(doc).map_err(unreadable(state))?;
        let row = row::Provider {
            stripe_acct: account.id.to_owned(),
            status: account.status,
            requirements: account.requirements,
        };
        providers.insert(row.stripe_acct.clone(), row);
    }
    for (_, snapshot) in of_kind(aggregate, authorization::NAME) {
        let doc = Doc(&snapshot.doc);
        let Some(account) = doc.id_of("account").filter(|_| !authorization::is_authorized(doc))
        else {
            continue;
        };
        // Deauthorized before anything else was heard of it: restricted all the same.
        let row = providers.entry(account.to_owned()).or_insert_with(|| row::Provider {
            stripe_acct: account.to_owned(),
            status: "restricted",
            requirements: Value::Object(Map::new()),
        });
        row.status = "restricted";
    }
    Ok(providers.into_values().collect())
}
