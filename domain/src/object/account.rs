//! Connected accounts: <https://docs.stripe.com/api/accounts/object>.

use super::{Context, Data, Kind, Reading, authorization};
use crate::fact::FactType;
use crate::json::{self, Doc, Malformed};
use crate::order::Standing;
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
        Self::read_with(doc, None)
    }

    /// Reads a snapshot beside what a newer record says of the capability `transfers`.
    pub fn read_with(doc: Doc<'a>, transfers: Option<&str>) -> Result<Self, Malformed> {
        // Before 2019-02-19 this was called verification.
        let requirements = doc.child("requirements").or_else(|| doc.child("verification"));
        let asks = |field| requirements.is_some_and(|doc| !doc.list(field).is_empty());
        let disabled = requirements.and_then(|doc| doc.text("disabled_reason"));
        let transfers = transfers
            .or_else(|| doc.child("capabilities")?.text("transfers"))
            .is_some_and(|status| status == "active");

        // Before 2017-04-06 payouts were called transfers.
        let pays_out = match doc.get("payouts_enabled") {
            Some(_) => doc.flag("payouts_enabled"),
            None => doc.flag("transfers_enabled"),
        };
        let can_act = pays_out && (doc.flag("charges_enabled") || transfers);
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
        let mut kept: Map<String, Value> = REQUIREMENTS
            .iter()
            .filter_map(|field| {
                let value = requirements?.get(field)?;
                Some(((*field).to_owned(), value.clone()))
            })
            .collect();
        if let Some(needed) = requirements.and_then(|doc| doc.get("fields_needed")) {
            kept.entry("currently_due").or_insert_with(|| needed.clone());
        }
        Ok(Self { id: doc.need_id()?, status, requirements: Value::Object(kept) })
    }
}

fn read(doc: Doc<'_>, context: &Context<'_>) -> Result<Reading, Malformed> {
    let account = Account::read(doc)?;
    // The platform speaks of itself too: that is no provider.
    let is_platform = context.platforms.contains(account.id)
        || (!context.connected && context.account == account.id);
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
    Ok(Reading {
        standing: Standing {
            // Of one second, the worse counts until somebody has asked.
            status_rank: match account.status {
                "pending" => 0,
                "active" => 1,
                _ => 2,
            },
            status: account.status.to_owned(),
            ..Standing::default()
        },
        links: vec![authorization::id_of(account.id)],
        proofs,
        ..Reading::default()
    })
}
