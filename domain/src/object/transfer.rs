//! Transfers to connected accounts: <https://docs.stripe.com/api/transfers/object>.

use super::{Context, Data, Kind, Reading};
use crate::fact::FactType;
use crate::id;
use crate::json::{Doc, Malformed};
use crate::order::Standing;

pub(super) const KIND: Kind = Kind { name: "transfer", read };

/// What a row needs from a transfer to a connected account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transfer<'a> {
    /// `tr_…`.
    pub id: &'a str,
    /// The connected account, `acct_…`.
    pub destination: &'a str,
    /// Minor units.
    pub amount: i64,
    /// What came back, minor units.
    pub reversed: i64,
    /// Upper case.
    pub currency: String,
    /// Stripe's time of creation, Unix seconds.
    pub created: i64,
}

impl<'a> Transfer<'a> {
    /// Reads a snapshot; `None` for a transfer of the times before 2017-04-06 to a bank account,
    /// which is a payout of old and only recorded.
    pub fn read(doc: Doc<'a>) -> Result<Option<Self>, Malformed> {
        let Some(destination) = doc.id_of("destination").filter(|id| id.starts_with("acct_"))
        else {
            return Ok(None);
        };
        Ok(Some(Self {
            id: doc.need_id()?,
            destination,
            amount: doc.need_integer("amount")?,
            reversed: doc.integer("amount_reversed").unwrap_or(0).max(0),
            currency: doc.need_currency()?,
            created: doc.time("created")?.unwrap_or(0),
        }))
    }
}

fn read(doc: Doc<'_>, context: &Context<'_>) -> Result<Reading, Malformed> {
    let Some(transfer) = Transfer::read(doc)? else {
        return Ok(Reading::default());
    };
    let tells = |kind, subject: String, amount: i64| {
        Data::of_payment(doc, context)
            .with("payout_id", Some(id::payout_id(context.account, transfer.id)))
            .with("transfer", Some(transfer.id))
            .with("stripe_account", Some(transfer.destination))
            .with("amount_cents", Some(amount))
            .with("currency", Some(transfer.currency.as_str()))
            .with("source_transaction", doc.id_of("source_transaction"))
            .proves(kind, subject)
    };
    let mut proofs =
        vec![tells(FactType::TransferCreated, transfer.id.to_owned(), transfer.amount)];
    if transfer.reversed > 0 {
        let subject = format!("{}:{}", transfer.id, transfer.reversed);
        proofs.push(tells(FactType::TransferReversed, subject, transfer.reversed));
    }
    Ok(Reading {
        standing: Standing { counters: [transfer.reversed, 0], ..Standing::default() },
        proofs,
        ..Reading::default()
    })
}
