//! Payment intents: <https://docs.stripe.com/api/payment_intents/object>.

use super::{Context, Data, Kind, Reading, Shows, destination, ids, nested};
use crate::fact::FactType;
use crate::id;
use crate::json::{Doc, Malformed, Problem, malformed};
use crate::order::Standing;

pub(super) const KIND: Kind = Kind { name: "payment_intent", read };

/// Where an intent stands, in the names since 2019-02-11.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Status {
    /// Needs a payment method, for the first time or after a failure.
    RequiresPaymentMethod,
    /// Needs to be confirmed.
    RequiresConfirmation,
    /// Needs the customer.
    RequiresAction,
    /// The bank decides.
    Processing,
    /// Authorised, not yet captured.
    RequiresCapture,
    /// Ended without money.
    Canceled,
    /// Money was captured.
    Succeeded,
}

/// What a row needs from an intent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PaymentIntent<'a> {
    /// `pi_…`.
    pub id: &'a str,
    /// Minor units.
    pub amount: i64,
    /// Captured so far, minor units.
    pub amount_received: i64,
    /// Upper case.
    pub currency: String,
    /// Where it stands.
    pub status: Status,
    /// Stripe's own word for it.
    pub stripe_status: &'a str,
    /// The newest attempt, where this version says it.
    pub latest_charge: Option<&'a str>,
    /// The connected account that gets the money of a destination charge.
    pub destination: Option<&'a str>,
    /// How much of it, minor units, where that was said.
    pub transfer_amount: Option<i64>,
    /// What the platform keeps, minor units, where that was said.
    pub application_fee_amount: Option<i64>,
    /// Whether the last attempt failed.
    pub has_failed: bool,
    /// Stripe's time of creation, Unix seconds.
    pub created: Option<i64>,
}

impl<'a> PaymentIntent<'a> {
    /// Reads a snapshot.
    pub fn read(doc: Doc<'a>) -> Result<Self, Malformed> {
        let stripe_status = doc.need_text("status")?;
        let status = match stripe_status {
            // The names before 2019-02-11 said source.
            "requires_payment_method" | "requires_source" => Status::RequiresPaymentMethod,
            "requires_confirmation" => Status::RequiresConfirmation,
            "requires_action" | "requires_source_action" => Status::RequiresAction,
            "processing" => Status::Processing,
            "requires_capture" => Status::RequiresCapture,
            "canceled" => Status::Canceled,
            "succeeded" => Status::Succeeded,
            _ => return Err(malformed("status", Problem::UnknownStatus)),
        };
        Ok(Self {
            id: doc.need_id()?,
            amount: doc.need_integer("amount")?,
            amount_received: doc.integer("amount_received").unwrap_or(0),
            currency: doc.need_currency()?,
            status,
            stripe_status,
            latest_charge: doc.id_of("latest_charge"),
            destination: destination(doc),
            transfer_amount: doc
                .child("transfer_data")
                .and_then(|transfer| transfer.integer("amount")),
            application_fee_amount: doc.integer("application_fee_amount"),
            has_failed: doc.child("last_payment_error").is_some(),
            created: doc.time("created")?,
        })
    }

    /// What was captured, by the intent's own word.
    pub fn captured(&self) -> i64 {
        self.amount_received.max(0)
    }
}

fn read(doc: Doc<'_>, context: &Context<'_>) -> Result<Reading, Malformed> {
    let intent = PaymentIntent::read(doc)?;
    let authorized = intent.status == Status::RequiresCapture;
    let captured = intent.status == Status::Succeeded && intent.captured() > 0;
    let is_final = matches!(intent.status, Status::Succeeded | Status::Canceled);

    let data = || {
        Data::of_payment(doc, context)
            .with("txn_id", Some(id::txn_id(context.account, intent.id)))
            .with("payment_intent", Some(intent.id))
            .with("currency", Some(intent.currency.as_str()))
    };
    let mut proofs = vec![
        data()
            .with("amount_cents", Some(intent.amount))
            .proves(FactType::CheckoutInitiated, intent.id),
    ];
    if let Some(charge) = intent.latest_charge {
        let data = || data().with("charge", Some(charge));
        if authorized {
            proofs.push(
                data()
                    .with("amount_cents", Some(intent.amount))
                    .proves(FactType::PaymentAuthorized, charge),
            );
        }
        if captured {
            let amount = intent.captured();
            proofs.push(
                data()
                    .with("amount_cents", Some(amount))
                    .proves(FactType::PaymentCaptured, format!("{charge}:{amount}")),
            );
        }
    }
    if intent.status == Status::RequiresPaymentMethod
        && let Some(error) = doc.child("last_payment_error")
    {
        let charge = error.id_of("charge");
        let subject =
            charge.map_or_else(|| format!("{}:{}", intent.id, context.event_id), str::to_owned);
        proofs.push(
            data()
                .with("charge", charge)
                .with("amount_cents", Some(intent.amount))
                .with("failure_code", error.text("code"))
                .proves(FactType::PaymentFailed, subject),
        );
    }
    if intent.status == Status::Canceled {
        proofs.push(
            data()
                .with("amount_cents", Some(intent.amount))
                .with("reason", doc.text("cancellation_reason"))
                .proves(FactType::PaymentCanceled, intent.id),
        );
    }

    let nested = nested(doc, &["charges"], &["latest_charge"]);
    let mut links = ids(doc, &["latest_charge"]);
    links.extend(nested.iter().filter_map(|charge| Doc(charge).need_id().ok()).map(str::to_owned));
    Ok(Reading {
        standing: Standing {
            final_rank: u8::from(is_final),
            counters: [intent.amount_received, 0],
            status_rank: intent.status as u8,
            status: intent.stripe_status.to_owned(),
        },
        links,
        nested,
        shows: Shows { authorized, captured, failed: false },
        proofs,
    })
}
