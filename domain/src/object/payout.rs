//! Payouts: <https://docs.stripe.com/api/payouts/object>.

use super::{Context, Data, Kind, Reading, Shows};
use crate::fact::FactType;
use crate::id;
use crate::json::{Doc, Malformed};
use crate::order::Standing;

pub(super) const KIND: Kind = Kind { name: "payout", read };

/// What a row needs from a payout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Payout<'a> {
    /// `po_…`.
    pub id: &'a str,
    /// Minor units; negative when Stripe draws from the bank account.
    pub amount: i64,
    /// Upper case.
    pub currency: String,
    /// Stripe's own status; an unknown one needs a person, not a quarantine.
    pub stripe_status: &'a str,
    /// Expected arrival, Unix seconds.
    pub arrival: i64,
    /// Stripe's time of creation, Unix seconds.
    pub created: i64,
}

impl<'a> Payout<'a> {
    /// Reads a snapshot.
    pub fn read(doc: Doc<'a>) -> Result<Self, Malformed> {
        let created = doc.time("created")?.unwrap_or(0);
        Ok(Self {
            id: doc.need_id()?,
            amount: doc.need_integer("amount")?,
            currency: doc.need_currency()?,
            stripe_status: doc.need_text("status")?,
            arrival: doc.time("arrival_date")?.or(doc.time("date")?).unwrap_or(created),
            created,
        })
    }
}

fn read(doc: Doc<'_>, context: &Context<'_>) -> Result<Reading, Malformed> {
    let payout = Payout::read(doc)?;
    let (final_rank, status_rank) = match payout.stripe_status {
        "in_transit" => (0, 1),
        "paid" => (1, 0),
        // Paid can still fail; neither of these ends comes back.
        "canceled" => (2, 0),
        "failed" => (2, 1),
        _ => (0, 0),
    };
    let tells = |kind| {
        Data::default()
            .with("payout_id", Some(id::payout_id(context.account, payout.id)))
            .with("payout", Some(payout.id))
            .with("stripe_account", context.connected.then_some(context.account))
            .with("amount_cents", Some(payout.amount))
            .with("currency", Some(payout.currency.as_str()))
            .with("failure_code", doc.text("failure_code"))
            .proves(kind, payout.id)
    };
    let mut proofs = Vec::new();
    if payout.stripe_status == "paid" && context.connected {
        proofs.push(tells(FactType::PayoutReleased));
    }
    if payout.stripe_status == "failed" {
        proofs.push(tells(FactType::PayoutFailed));
    }
    Ok(Reading {
        standing: Standing {
            final_rank,
            counters: [0, 0],
            status_rank,
            status: payout.stripe_status.to_owned(),
        },
        shows: Shows {
            failed: matches!(payout.stripe_status, "failed" | "canceled"),
            ..Shows::default()
        },
        proofs,
        ..Reading::default()
    })
}
