//! Connected accounts: <https://docs.stripe.com/api/accounts/object>.

use super::{Context, Data, Kind, Reading, authorization};
use crate::fact::FactType;
use crate::json::{self, Doc, Malformed};
use serde_json::{Map, Value, json};

pub(super) const KIND: Kind = Kind { name: "account", read };

/// The fields of Stripe's requirements that are kept.
const REQUIREMENTS: [&str; 6] = [
    "currently_due",
    "eventually_due",
    "past_due",
    "pending_verification",
    "current_deadline",
    "disabled_reason",
];

/// What a row needs from an account.
#[derive(Debug, Clone, PartialEq)]
pub struct Account<'a> {
    /// `acct_…`.
    pub id: &'a str,
    /// `pending`, `restricted` or `active`, as far as the account itself says.
    pub status: &'static str,
    /// What Stripe still asks for.
    pub requirements: Value,
}

impl<'a> Account<'a> {
    /// Reads a snapshot.
    pub fn read(doc: Doc<'a>) -> Result<Self, Malformed> {
        // Before 2019-02-19 this was called verification.
        let requirements = doc.child("requirements").or_else(|| doc.child("verification"));
        let asks = |field| requirements.is_some_and(|doc| !doc.list(field).is_empty());
        let disabled = requirements.and_then(|doc| doc.text("disabled_reason"));
        let transfers =
            doc.child("capabilities").and_then(|doc| doc.text("transfers")) == Some("active");

        let can_act = doc.flag("payouts_enabled") && (doc.flag("charges_enabled") || transfers);
        let is_wrong = disabled.is_some() || asks("past_due");
        let is_rejected = disabled.is_some_and(|reason| reason.starts_with("rejected"));
        let status = if can_act && !is_wrong {
            "active"
        } else if is_rejected || (is_wrong && doc.flag("details_submitted")) {
            "restricted"
        } else {
            // An account that is being set up has its open requirements; it is not yet restricted.
            "pending"
        };
        let kept: Map<String, Value> = REQUIREMENTS
            .iter()
            .filter_map(|field| {
                let value = requirements?.get(field)?;
                Some(((*field).to_owned(), value.clone()))
            })
            .collect();
        Ok(Self { id: doc.need_id()?, status, requirements: Value::Object(kept) })
    }
}

fn read(doc: Doc<'_>, context: &Context<'_>) -> Result<Reading, Malformed> {
    let account = Account::read(doc)?;
    // The platform speaks of itself too: that is no provider.
    let is_platform = !context.connected && context.account == account.id;
    let mut proofs = Vec::new();
    if !is_platform {
        let state = json!({"status": account.status, "requirements": account.requirements});
        let hash = hex::encode(&json::canonical_hash(&state)[..8]);
        proofs.push(
            Data::default()
                .with("stripe_account", Some(account.id))
                .with("provider_id", doc.metadata(&context.keys.provider_id))
                .with("status", Some(account.status))
                .with("requirements", Some(account.requirements.clone()))
                .proves(FactType::ProviderUpdated, format!("{}:{hash}", account.id)),
        );
    }
    Ok(Reading { links: vec![authorization::id_of(account.id)], proofs, ..Reading::default() })
}
