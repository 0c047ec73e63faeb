//! Application fees: <https://docs.stripe.com/api/application_fees/object>.
//!
//! A fee is the platform's, and so is its event. The payment it was taken from is the platform's own
//! for a destination charge (`originating_transaction`) and the connected account's for a direct
//! one. There, beside the payment, the core keeps what the fee says as an object of its own, the
//! [`SHARE`], so that an aggregate need not reach over two accounts.

use super::{Context, Kind, ObjectKey, Reading, nested};
use crate::json::{Doc, Malformed, Problem, malformed};
use crate::order::Standing;
use serde_json::{Map, Value};

pub(super) const KIND: Kind = Kind { name: NAME, read };
pub(super) const SHARE_KIND: Kind = Kind { name: SHARE, read };
pub(super) const REFUND_KIND: Kind = Kind { name: "fee_refund", read: read_refund };

/// The name of this kind.
pub const NAME: &str = "application_fee";
/// The name of what is kept beside a direct charge.
pub const SHARE: &str = "application_fee_share";

/// What rows and ledger need from a fee.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApplicationFee<'a> {
    /// `fee_…`.
    pub id: &'a str,
    /// The connected account that paid it.
    pub payer: Option<&'a str>,
    /// The platform's own charge, for a destination charge.
    pub originating: Option<&'a str>,
    /// The charge it was taken from, on the connected account.
    pub charge: Option<&'a str>,
    /// Minor units.
    pub amount: i64,
    /// Less what was given back, minor units; never below 0.
    pub net: i64,
    /// Given back, minor units.
    pub refunded: i64,
    /// Upper case.
    pub currency: String,
    /// Stripe's time of creation, Unix seconds.
    pub created: i64,
}

impl<'a> ApplicationFee<'a> {
    /// Reads a snapshot.
    pub fn read(doc: Doc<'a>) -> Result<Self, Malformed> {
        let amount = doc.need_integer("amount")?;
        let refunded = doc.integer("amount_refunded").unwrap_or(0).max(0);
        Ok(Self {
            id: doc.need_id()?,
            payer: doc.id_of("account").or_else(|| doc.id_of("user")),
            originating: doc.id_of("originating_transaction"),
            charge: doc.id_of("charge"),
            amount,
            net: amount.saturating_sub(refunded).max(0),
            refunded,
            currency: doc.need_currency()?,
            created: doc.time("created")?.unwrap_or(0),
        })
    }
}

/// What a fee of a direct charge says, as an object of the connected account.
pub fn share_of(object: &Value) -> Option<Value> {
    const FIELDS: [&str; 6] = ["id", "charge", "amount", "amount_refunded", "currency", "created"];
    let doc = Doc(object);
    if doc.text("object") != Some(NAME) || doc.get("originating_transaction").is_some() {
        return None;
    }
    let payer = doc.id_of("account").or_else(|| doc.id_of("user"))?;
    let kept =
        FIELDS.iter().filter_map(|field| Some(((*field).to_owned(), doc.get(field)?.clone())));
    let mut share: Map<String, Value> = kept.collect();
    share.insert("object".to_owned(), SHARE.into());
    share.insert("account".to_owned(), payer.into());
    Some(Value::Object(share))
}

/// The key of a share: it lies in the account that paid.
pub fn share_key(doc: Doc<'_>) -> Result<ObjectKey, Malformed> {
    let payer = doc.id_of("account").ok_or_else(|| malformed("account", Problem::Missing))?;
    Ok(ObjectKey::new(payer, doc.need_id()?))
}

fn read(doc: Doc<'_>, _: &Context<'_>) -> Result<Reading, Malformed> {
    let fee = ApplicationFee::read(doc)?;
    let is_share = doc.text("object") == Some(SHARE);
    // The charge of a destination charge's fee is the far side, on the connected account.
    let payment = if is_share { fee.charge } else { fee.originating };
    let refunds = nested(doc, &["refunds"], &[]);
    let mut links: Vec<String> = payment.into_iter().map(str::to_owned).collect();
    links.extend(refunds.iter().filter_map(|refund| Doc(refund).need_id().ok()).map(str::to_owned));
    Ok(Reading {
        standing: Standing { counters: [fee.refunded, 0], ..Standing::default() },
        links,
        nested: refunds,
        ..Reading::default()
    })
}

/// A fee's refund; what it amounts to is in the fee's `amount_refunded`.
/// <https://docs.stripe.com/api/fee_refunds/object>
fn read_refund(doc: Doc<'_>, _: &Context<'_>) -> Result<Reading, Malformed> {
    doc.need_id()?;
    Ok(Reading { links: super::ids(doc, &["fee"]), ..Reading::default() })
}
