//! Checkout Sessions: <https://docs.stripe.com/api/checkout/sessions/object>.
//!
//! A session names the payment that it led to, and often says more of its quote and order than the
//! payment itself.

use super::{Context, Kind, Reading, ids, nested};
use crate::json::{Doc, Malformed};
use crate::order::Standing;

pub(super) const KIND: Kind = Kind { name: NAME, read };

/// The name of this kind.
pub const NAME: &str = "checkout.session";

/// What begins our quotes' ids: it tells a quote from an order in `client_reference_id`.
const QUOTE_PREFIX: &str = "qte_";

/// What a row needs from a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CheckoutSession<'a> {
    /// The payment it led to.
    pub payment_intent: Option<&'a str>,
    /// What whoever made the session called it; ours to choose.
    pub reference: Option<&'a str>,
}

impl<'a> CheckoutSession<'a> {
    /// Reads a snapshot.
    pub fn read(doc: Doc<'a>) -> Self {
        Self {
            payment_intent: doc.id_of("payment_intent"),
            reference: doc.label("client_reference_id"),
        }
    }

    /// The quote that the reference names.
    pub fn quote(&self) -> Option<&'a str> {
        self.reference.filter(|reference| reference.starts_with(QUOTE_PREFIX))
    }

    /// The order that the reference names.
    pub fn order(&self) -> Option<&'a str> {
        self.reference.filter(|reference| !reference.starts_with(QUOTE_PREFIX))
    }
}

fn read(doc: Doc<'_>, _: &Context<'_>) -> Result<Reading, Malformed> {
    doc.need_id()?;
    // Before 2019 there was no status.
    let status = doc.text("status").unwrap_or_default();
    let is_paid = doc.text("payment_status").is_some_and(|status| status != "unpaid");
    Ok(Reading {
        standing: Standing {
            final_rank: u8::from(matches!(status, "complete" | "expired")),
            counters: [i64::from(is_paid), 0],
            status_rank: u8::from(status != "open"),
            status: status.to_owned(),
        },
        links: ids(doc, &["payment_intent"]),
        nested: nested(doc, &[], &["payment_intent"]),
        ..Reading::default()
    })
}
