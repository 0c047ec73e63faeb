//! Disputes and inquiries: <https://docs.stripe.com/api/disputes/object>.

use super::{Context, Data, Kind, Reading, ids, nested};
use crate::fact::FactType;
use crate::id;
use crate::json::{Doc, Malformed, Problem, malformed};
use crate::order::Standing;
use serde_json::Value;
use std::borrow::Cow;

pub(super) const KIND: Kind = Kind { name: "dispute", read };

/// Where a dispute stands. None is final: inquiries escalate, a lost dispute can become won.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Status {
    /// An inquiry waits for an answer.
    WarningNeedsResponse,
    /// An inquiry is looked at.
    WarningUnderReview,
    /// An inquiry ended without a dispute.
    WarningClosed,
    /// Evidence is due.
    NeedsResponse,
    /// The bank looks at the evidence.
    UnderReview,
    /// Ended before it began.
    Prevented,
    /// The money is gone.
    Lost,
    /// The money came back.
    Won,
}

impl Status {
    /// The value in `pay.dispute.status`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::WarningNeedsResponse => "warning_needs_response",
            Self::WarningUnderReview => "warning_under_review",
            Self::WarningClosed => "warning_closed",
            Self::NeedsResponse => "needs_response",
            Self::UnderReview => "under_review",
            Self::Prevented => "prevented",
            Self::Lost => "lost",
            Self::Won => "won",
        }
    }
}

/// What a row needs from a dispute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dispute<'a> {
    /// `dp_…` or `du_…`.
    pub id: &'a str,
    /// The disputed charge.
    pub charge: Option<&'a str>,
    /// Its intent.
    pub payment_intent: Option<&'a str>,
    /// Minor units.
    pub amount: i64,
    /// Upper case.
    pub currency: String,
    /// Where it stands.
    pub status: Status,
    /// Stripe's own word for it.
    pub stripe_status: &'a str,
    /// Stripe's reason.
    pub reason: Option<&'a str>,
    /// What it moved on the balance.
    pub movements: Vec<Movement<'a>>,
    /// When evidence is due, Unix seconds.
    pub due_by: Option<i64>,
    /// Stripe's time of creation, Unix seconds.
    pub created: i64,
}

impl<'a> Dispute<'a> {
    /// Reads a snapshot.
    pub fn read(doc: Doc<'a>) -> Result<Self, Malformed> {
        let stripe_status = doc.need_text("status")?;
        let status = match stripe_status {
            "warning_needs_response" => Status::WarningNeedsResponse,
            "warning_under_review" => Status::WarningUnderReview,
            // Until 2023 an inquiry whose charge was refunded had a status of its own.
            "warning_closed" | "charge_refunded" => Status::WarningClosed,
            "needs_response" => Status::NeedsResponse,
            "under_review" => Status::UnderReview,
            "prevented" => Status::Prevented,
            "lost" => Status::Lost,
            "won" => Status::Won,
            _ => return Err(malformed("status", Problem::UnknownStatus)),
        };
        let currency = doc.need_currency()?;
        let due_by = match doc.child("evidence_details") {
            Some(details) => details.time("due_by")?,
            None => None,
        };
        Ok(Self {
            id: doc.need_id()?,
            charge: doc.id_of("charge"),
            payment_intent: doc.id_of("payment_intent"),
            amount: doc.need_integer("amount")?,
            status,
            stripe_status,
            reason: doc.text("reason"),
            movements: movements(doc, &currency),
            currency,
            due_by: due_by.or(doc.time("evidence_due_by")?),
            created: doc.time("created")?.unwrap_or(0),
        })
    }
}

/// One of a dispute's balance transactions: the sign tells its direction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Movement<'a> {
    /// `txn_…`.
    pub id: &'a str,
    /// Withdrawn (negative) or reinstated, minor units.
    pub amount: i64,
    /// Stripe's fee for it, minor units.
    pub fee: Option<i64>,
    /// Of the balance, which need not be the dispute's; upper case.
    pub currency: String,
}

/// The movements that are shown whole, each once.
fn movements<'a>(doc: Doc<'a>, currency: &str) -> Vec<Movement<'a>> {
    let mut movements: Vec<Movement<'a>> = Vec::new();
    for movement in doc.list("balance_transactions").iter().map(Doc) {
        let (Some(id), Some(amount)) = (movement.id_of("id"), movement.integer("amount")) else {
            continue;
        };
        if movements.iter().all(|known| known.id != id) {
            movements.push(Movement {
                id,
                amount,
                fee: movement.integer("fee"),
                currency: movement.text("currency").unwrap_or(currency).to_uppercase(),
            });
        }
    }
    movements
}

/// The dispute with an id. Until 2015 a dispute had none of its own and was its charge's only one.
pub fn with_id(object: &Value) -> Cow<'_, Value> {
    let doc = Doc(object);
    match (doc.get("id"), doc.id_of("charge"), object) {
        (None, Some(charge), Value::Object(fields)) => {
            let mut fields = fields.clone();
            fields.insert("id".to_owned(), Value::String(format!("dispute:{charge}")));
            Cow::Owned(Value::Object(fields))
        }
        _ => Cow::Borrowed(object),
    }
}

fn read(doc: Doc<'_>, context: &Context<'_>) -> Result<Reading, Malformed> {
    let dispute = Dispute::read(doc)?;
    let data = || {
        Data::default()
            .with("dispute_id", Some(id::dispute_id(context.account, dispute.id)))
            .with("dispute", Some(dispute.id))
            .with("charge", dispute.charge)
            .with("payment_intent", dispute.payment_intent)
            .with("currency", Some(dispute.currency.as_str()))
            .with("reason", dispute.reason)
    };
    let tells = |kind| {
        data()
            .with("amount_cents", Some(dispute.amount))
            .with("status", Some(dispute.status.as_str()))
            .proves(kind, dispute.id)
    };
    let mut proofs = vec![tells(FactType::DisputeOpened)];
    match dispute.status {
        Status::Won => proofs.extend([tells(FactType::DisputeWon), tells(FactType::DisputeClosed)]),
        Status::Lost => {
            proofs.extend([tells(FactType::DisputeLost), tells(FactType::DisputeClosed)]);
        }
        Status::WarningClosed | Status::Prevented => proofs.push(tells(FactType::DisputeClosed)),
        Status::WarningNeedsResponse
        | Status::WarningUnderReview
        | Status::NeedsResponse
        | Status::UnderReview => {}
    }
    // The sign of the movement tells its direction; the event's name does not (the event of the
    // dispute's creation may already carry the withdrawal).
    for movement in &dispute.movements {
        let kind = match movement.amount {
            ..0 => FactType::DisputeFundsWithdrawn,
            0 => continue,
            1.. => FactType::DisputeFundsReinstated,
        };
        proofs.push(
            data()
                .with("currency", Some(movement.currency.as_str()))
                .with("balance_transaction", Some(movement.id))
                .with("amount_cents", Some(movement.amount))
                .with("fee_cents", movement.fee)
                .proves(kind, movement.id),
        );
    }

    let submissions =
        doc.child("evidence_details").and_then(|details| details.integer("submission_count"));
    Ok(Reading {
        standing: Standing {
            final_rank: 0,
            counters: [
                i64::try_from(doc.list("balance_transactions").len()).unwrap_or(i64::MAX),
                submissions.unwrap_or(0),
            ],
            status_rank: dispute.status as u8,
            status: dispute.stripe_status.to_owned(),
        },
        links: ids(doc, &["charge", "payment_intent"]),
        nested: nested(doc, &[], &["charge", "payment_intent"]),
        proofs,
        ..Reading::default()
    })
}
