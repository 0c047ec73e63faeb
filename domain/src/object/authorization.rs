//! Whether a connected account lets the platform act for it.
//!
//! Stripe has no object for this: it sends `account.application.authorized` and
//! `account.application.deauthorized` with the application as their object. The core keeps it as
//! an object of its own, so that the newest word counts like for any other.
//! <https://docs.stripe.com/api/events/types#event_types-account.application.deauthorized>

use super::{Context, Kind, Reading};
use crate::json::{Doc, Malformed, Problem, malformed};
use crate::order::Standing;
use serde_json::{Value, json};

pub(super) const KIND: Kind = Kind { name: NAME, read };

/// The name of this kind.
pub const NAME: &str = "account_authorization";

/// Id of an account's authorization.
pub fn id_of(account: &str) -> String {
    format!("authorization:{account}")
}

/// The authorization that this event type speaks of, if it does.
pub fn of_event(event_type: &str, account: &str) -> Option<Value> {
    let status = match event_type {
        "account.application.authorized" => "authorized",
        "account.application.deauthorized" => "deauthorized",
        _ => return None,
    };
    (!account.is_empty()).then(
        || json!({"id": id_of(account), "object": NAME, "account": account, "status": status}),
    )
}

/// Whether a snapshot says that the platform may act.
pub fn is_authorized(doc: Doc<'_>) -> bool {
    doc.text("status") != Some("deauthorized")
}

fn read(doc: Doc<'_>, _: &Context<'_>) -> Result<Reading, Malformed> {
    let status = doc.need_text("status")?;
    let account = doc.id_of("account").ok_or_else(|| malformed("account", Problem::Missing))?;
    Ok(Reading {
        standing: Standing {
            status_rank: u8::from(is_authorized(doc)),
            status: status.to_owned(),
            ..Standing::default()
        },
        links: vec![account.to_owned()],
        ..Reading::default()
    })
}
