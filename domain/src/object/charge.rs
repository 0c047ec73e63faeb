//! Charges: <https://docs.stripe.com/api/charges/object>.

use super::{Context, Data, Kind, Reading, Shows, destination, ids, nested};
use crate::fact::FactType;
use crate::id;
use crate::json::{Doc, Malformed, Problem, malformed};
use crate::order::Standing;

pub(super) const KIND: Kind = Kind { name: "charge", read };

/// Where a charge stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Status {
    /// The bank decides.
    Pending,
    /// No money.
    Failed,
    /// Authorised, and captured if the charge says so.
    Succeeded,
}

/// What a row needs from a charge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Charge<'a> {
    /// `ch_…` or `py_…`.
    pub id: &'a str,
    /// The intent, unless the charge was made without one.
    pub payment_intent: Option<&'a str>,
    /// Minor units.
    pub amount: i64,
    /// What was captured, minor units: 0 until the charge succeeded, whatever it says before (a
    /// pending ACH charge already claims its whole amount).
    pub captured: i64,
    /// What Stripe says went back, pending refunds included, minor units.
    pub amount_refunded: i64,
    /// Upper case.
    pub currency: String,
    /// Where it stands.
    pub status: Status,
    /// Stripe's own word for it.
    pub stripe_status: &'a str,
    /// Whether an authorisation that was never captured was released.
    pub released: bool,
    /// Whether it is the far side of a transfer, on the connected account.
    pub is_far_side: bool,
    /// The connected account that gets the money of a destination charge.
    pub destination: Option<&'a str>,
    /// How much of it, minor units, where that was said; else all but the application fee.
    pub transfer_amount: Option<i64>,
    /// What the platform keeps, minor units, where that was said.
    pub application_fee_amount: Option<i64>,
    /// Stripe's type of the payment method; a wallet stands for the card in it.
    pub method: Option<&'a str>,
    /// Stripe's time of creation, Unix seconds.
    pub created: i64,
}

impl<'a> Charge<'a> {
    /// Reads a snapshot.
    pub fn read(doc: Doc<'a>) -> Result<Self, Malformed> {
        let (status, stripe_status) = status(doc)?;
        let amount = doc.need_integer("amount")?;
        let says_captured = doc.get("captured").map_or(doc.flag("paid"), |_| doc.flag("captured"));
        let captured = match status {
            Status::Succeeded => doc
                .integer("amount_captured")
                .unwrap_or(if says_captured {
                    amount.saturating_sub(released_rest(doc))
                } else {
                    0
                })
                .max(0),
            Status::Pending | Status::Failed => 0,
        };
        Ok(Self {
            id: doc.need_id()?,
            payment_intent: doc.id_of("payment_intent"),
            amount,
            captured,
            amount_refunded: doc.integer("amount_refunded").unwrap_or(0).max(0),
            currency: doc.need_currency()?,
            status,
            stripe_status,
            released: status == Status::Succeeded && captured == 0 && doc.flag("refunded"),
            is_far_side: doc.get("source_transfer").is_some(),
            destination: destination(doc),
            transfer_amount: doc
                .child("transfer_data")
                .and_then(|transfer| transfer.integer("amount")),
            application_fee_amount: doc.integer("application_fee_amount"),
            method: method(doc),
            created: doc.time("created")?.unwrap_or(0),
        })
    }

    /// Whether all of it was captured, so that `amount_refunded` speaks of captured money alone.
    pub fn is_fully_captured(&self) -> bool {
        self.captured > 0 && self.captured >= self.amount
    }
}

/// The status; before 2015-02-18 a good charge said `paid`, or only had a flag.
fn status(doc: Doc<'_>) -> Result<(Status, &str), Malformed> {
    match doc.text("status") {
        Some(text @ ("succeeded" | "paid")) => Ok((Status::Succeeded, text)),
        Some(text @ "pending") => Ok((Status::Pending, text)),
        Some(text @ "failed") => Ok((Status::Failed, text)),
        Some(_) => Err(malformed("status", Problem::UnknownStatus)),
        None if doc.flag("paid") => Ok((Status::Succeeded, "succeeded")),
        None if doc.get("paid").is_some() => Ok((Status::Failed, "failed")),
        None => Err(malformed("status", Problem::Missing)),
    }
}

/// The rest of a partial capture, as old versions show it: refunds that moved no money.
fn released_rest(doc: Doc<'_>) -> i64 {
    doc.list("refunds")
        .iter()
        .map(Doc)
        .filter(|refund| refund.get("balance_transaction").is_none())
        .filter(|refund| refund.text("status") == Some("succeeded"))
        .filter_map(|refund| refund.integer("amount"))
        .fold(0_i64, |sum, amount| sum.saturating_add(amount.max(0)))
}

/// `card.wallet.type` for a wallet, else the payment method's type, else what older versions say.
fn method(doc: Doc<'_>) -> Option<&str> {
    if let Some(details) = doc.child("payment_method_details") {
        let wallet = details.child("card").and_then(|card| card.child("wallet"));
        return wallet.and_then(|wallet| wallet.text("type")).or_else(|| details.text("type"));
    }
    let source = doc.child("source").or_else(|| doc.child("card"))?;
    source.text("type").or_else(|| source.text("object"))
}

fn read(doc: Doc<'_>, context: &Context<'_>) -> Result<Reading, Malformed> {
    let charge = Charge::read(doc)?;
    let authorized = charge.status == Status::Succeeded && charge.captured == 0;
    let captured = charge.captured > 0;

    let mut proofs = Vec::new();
    if !charge.is_far_side {
        let txn = id::txn_id(context.account, charge.payment_intent.unwrap_or(charge.id));
        let data = |amount: i64| {
            Data::of_payment(doc, context)
                .with("txn_id", Some(txn.as_str()))
                .with("payment_intent", charge.payment_intent)
                .with("charge", Some(charge.id))
                .with("currency", Some(charge.currency.as_str()))
                .with("amount_cents", Some(amount))
        };
        if authorized {
            proofs.push(data(charge.amount).proves(FactType::PaymentAuthorized, charge.id));
        }
        if captured {
            let subject = format!("{}:{}", charge.id, charge.captured);
            proofs.push(data(charge.captured).proves(FactType::PaymentCaptured, subject));
        }
        if charge.status == Status::Failed {
            proofs.push(
                data(charge.amount)
                    .with("failure_code", doc.text("failure_code"))
                    .proves(FactType::PaymentFailed, charge.id),
            );
        }
    }

    let nested = nested(doc, &["refunds"], &["payment_intent", "dispute"]);
    let mut links = ids(doc, &["payment_intent", "dispute"]);
    links.extend(nested.iter().filter_map(|refund| Doc(refund).need_id().ok()).map(str::to_owned));
    Ok(Reading {
        standing: Standing {
            final_rank: u8::from(charge.status != Status::Pending),
            counters: [charge.captured, 0],
            status_rank: charge.status as u8,
            status: charge.stripe_status.to_owned(),
        },
        links,
        nested,
        shows: Shows { authorized, captured, failed: charge.status == Status::Failed },
        proofs,
    })
}
