//! Refunds: <https://docs.stripe.com/api/refunds/object>.

use super::{Context, Data, Kind, Reading, Shows, ids, nested};
use crate::fact::{FactType, Proof};
use crate::id;
use crate::json::{Doc, Malformed, Problem, malformed};
use crate::order::Standing;

pub(super) const KIND: Kind = Kind { name: "refund", read };

/// Where a refund stands; ours and Stripe's words are the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Status {
    /// On its way.
    Pending,
    /// Needs the customer.
    RequiresAction,
    /// The money went back.
    Succeeded,
    /// Given up before it went.
    Canceled,
    /// The money came back to the platform.
    Failed,
}

impl Status {
    /// The value in `pay.refund.status`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::RequiresAction => "requires_action",
            Self::Succeeded => "succeeded",
            Self::Canceled => "canceled",
            Self::Failed => "failed",
        }
    }
}

/// What a row needs from a refund.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refund<'a> {
    /// `re_…` or `pyr_…`.
    pub id: &'a str,
    /// The charge it gives back.
    pub charge: Option<&'a str>,
    /// The intent it gives back.
    pub payment_intent: Option<&'a str>,
    /// Minor units.
    pub amount: i64,
    /// Upper case.
    pub currency: String,
    /// Where it stands.
    pub status: Status,
    /// Stripe's own word for it; null in some versions.
    pub stripe_status: Option<&'a str>,
    /// Whether it moved money on the balance. A release of an authorisation does not.
    pub has_balance_transaction: bool,
    /// Whether it is the far side of a transfer's reversal, on the connected account.
    pub is_far_side: bool,
    /// Stripe's reason.
    pub reason: Option<&'a str>,
    /// Stripe's time of creation, Unix seconds.
    pub created: i64,
}

impl<'a> Refund<'a> {
    /// Reads a snapshot.
    pub fn read(doc: Doc<'a>) -> Result<Self, Malformed> {
        let stripe_status = doc.text("status");
        let status = match stripe_status {
            None | Some("pending") => Status::Pending,
            Some("requires_action") => Status::RequiresAction,
            Some("succeeded") => Status::Succeeded,
            Some("canceled") => Status::Canceled,
            Some("failed") => Status::Failed,
            Some(_) => return Err(malformed("status", Problem::UnknownStatus)),
        };
        Ok(Self {
            id: doc.need_id()?,
            charge: doc.id_of("charge"),
            payment_intent: doc.id_of("payment_intent"),
            amount: doc.need_integer("amount")?,
            currency: doc.need_currency()?,
            status,
            stripe_status,
            has_balance_transaction: doc.get("balance_transaction").is_some(),
            is_far_side: doc.get("source_transfer_reversal").is_some(),
            reason: doc.text("reason"),
            created: doc.time("created")?.unwrap_or(0),
        })
    }

    /// Whether it failed or was canceled: no money went back in the end.
    pub fn is_void(&self) -> bool {
        matches!(self.status, Status::Failed | Status::Canceled)
    }
}

fn read(doc: Doc<'_>, context: &Context<'_>) -> Result<Reading, Malformed> {
    let refund = Refund::read(doc)?;
    let final_rank = match refund.status {
        Status::Pending | Status::RequiresAction => 0,
        Status::Succeeded => 1,
        // A succeeded refund can still fail; it never comes back from there.
        Status::Failed | Status::Canceled => 2,
    };
    // Whether there was captured money to give back, only the charge can tell.
    let proves = |kind: FactType| Proof {
        conditional: true,
        ..Data::of_payment(doc, context)
            .with("refund_id", Some(id::refund_id(context.account, refund.id)))
            .with("refund", Some(refund.id))
            .with("charge", refund.charge)
            .with("payment_intent", refund.payment_intent)
            .with("amount_cents", Some(refund.amount))
            .with("currency", Some(refund.currency.as_str()))
            .with("reason", refund.reason)
            .proves(kind, refund.id)
    };
    let mut proofs = Vec::new();
    if !refund.is_far_side {
        proofs.push(proves(FactType::RefundIssued));
        if refund.is_void() {
            proofs.push(proves(FactType::RefundFailed));
        }
    }
    Ok(Reading {
        standing: Standing {
            final_rank,
            counters: [0, 0],
            status_rank: refund.status as u8,
            status: refund.status.as_str().to_owned(),
        },
        links: ids(doc, &["charge", "payment_intent"]),
        nested: nested(doc, &[], &["charge", "payment_intent"]),
        shows: Shows { failed: refund.is_void(), ..Shows::default() },
        proofs,
    })
}
