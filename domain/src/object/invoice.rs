//! Invoices (<https://docs.stripe.com/api/invoices/object>) and their payments
//! (<https://docs.stripe.com/api/invoice-payment/object>).
//!
//! Until 2025-03-31 an invoice named its one payment; since then payments are objects that name
//! their invoice, and there may be several.

use super::{Context, Kind, Reading, ids, nested};
use crate::json::{Doc, Malformed};
use crate::order::Standing;

pub(super) const KIND: Kind = Kind { name: NAME, read };
pub(super) const PAYMENT_KIND: Kind = Kind { name: PAYMENT, read: read_payment };

/// The name of invoices.
pub const NAME: &str = "invoice";
/// The name of an invoice's payments.
pub const PAYMENT: &str = "invoice_payment";

/// What a row needs from an invoice. Amounts in minor units.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invoice<'a> {
    /// `in_…`.
    pub id: &'a str,
    /// draft, open, paid, uncollectible, void; `needs_review` for a status that we do not know.
    pub status: &'static str,
    /// Stripe's own word for it; absent in old versions.
    pub stripe_status: Option<&'a str>,
    /// Number on the invoice.
    pub number: Option<&'a str>,
    /// `cus_…`.
    pub customer: Option<&'a str>,
    /// Upper case.
    pub currency: String,
    /// Asked for.
    pub due: i64,
    /// Paid so far.
    pub paid: i64,
    /// Still open.
    pub remaining: i64,
    /// Sum of its lines, taxes and discounts.
    pub total: i64,
    /// When it is to be paid, Unix seconds.
    pub due_at: Option<i64>,
    /// The one payment that it names, in versions before 2025-03-31: an intent, else a charge.
    pub payment: Option<&'a str>,
    /// Stripe's time of creation, Unix seconds.
    pub created: i64,
}

impl<'a> Invoice<'a> {
    /// Reads a snapshot; `None` for one without an amount or a currency. Its payments speak for
    /// themselves, so it is kept all the same.
    pub fn read(doc: Doc<'a>) -> Result<Option<Self>, Malformed> {
        let Some(due) = doc.integer("amount_due") else { return Ok(None) };
        if doc.get("currency").is_none() {
            return Ok(None);
        }
        let (status, stripe_status) = status(doc);
        let paid = doc.integer("amount_paid").unwrap_or(if status == "paid" { due } else { 0 });
        // Until 2018 the time was called date.
        let created = doc.time("created")?.or(doc.time("date")?).unwrap_or(0);
        Ok(Some(Self {
            id: doc.need_id()?,
            status,
            stripe_status,
            number: doc.label("number"),
            customer: doc.id_of("customer"),
            currency: doc.need_currency()?,
            due,
            paid,
            remaining: doc.integer("amount_remaining").unwrap_or(due.saturating_sub(paid)),
            total: doc.integer("total").unwrap_or(due),
            due_at: doc.time("due_date")?,
            // Paid by other means, its intent was canceled.
            payment: doc
                .id_of("payment_intent")
                .or_else(|| doc.id_of("charge"))
                .filter(|_| !doc.flag("paid_out_of_band")),
            created,
        }))
    }
}

/// Ours and Stripe's; before 2018-11-08 there were only flags.
fn status(doc: Doc<'_>) -> (&'static str, Option<&str>) {
    let text = doc.text("status");
    let status = match text {
        Some("draft") => "draft",
        Some("open") => "open",
        Some("paid") => "paid",
        Some("uncollectible") => "uncollectible",
        Some("void" | "deleted") => "void",
        Some(_) => "needs_review",
        None if doc.flag("paid") => "paid",
        None if doc.flag("forgiven") => "uncollectible",
        None if doc.flag("closed") => "void",
        None => "open",
    };
    (status, text)
}

fn read(doc: Doc<'_>, _: &Context<'_>) -> Result<Reading, Malformed> {
    doc.need_id()?;
    let (status, _) = status(doc);
    let paid = Invoice::read(doc)?.map_or(0, |invoice| invoice.paid);
    let payments = nested(doc, &["payments"], &["payment_intent", "charge"]);
    let listed = payments.iter().filter(|object| Doc(object).text("object") == Some(PAYMENT));
    let links = listed.filter_map(|payment| Doc(payment).need_id().ok()).map(str::to_owned);
    Ok(Reading {
        standing: Standing {
            // What is uncollectible can still be paid or voided.
            final_rank: u8::from(matches!(status, "paid" | "void")),
            counters: [paid, 0],
            status_rank: match status {
                "draft" => 0,
                "open" => 1,
                "uncollectible" => 2,
                "void" => 3,
                "paid" => 4,
                _ => 5,
            },
            status: status.to_owned(),
        },
        links: links.collect(),
        nested: payments,
        ..Reading::default()
    })
}

/// What a row needs from an invoice's payment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvoicePayment<'a> {
    /// `in_…`.
    pub invoice: Option<&'a str>,
    /// The payment: an intent, else a charge.
    pub payment: Option<&'a str>,
    /// Paid by it, minor units; 0 until it was.
    pub amount: i64,
    /// open, paid or canceled.
    pub status: &'a str,
}

impl<'a> InvoicePayment<'a> {
    /// Reads a snapshot.
    pub fn read(doc: Doc<'a>) -> Result<Self, Malformed> {
        let payment = doc.child("payment");
        let named = |field| payment.and_then(|payment| payment.id_of(field));
        Ok(Self {
            invoice: doc.id_of("invoice"),
            payment: named("payment_intent").or_else(|| named("charge")),
            amount: doc.integer("amount_paid").unwrap_or(0),
            status: doc.need_text("status")?,
        })
    }
}

fn read_payment(doc: Doc<'_>, _: &Context<'_>) -> Result<Reading, Malformed> {
    doc.need_id()?;
    let payment = InvoicePayment::read(doc)?;
    Ok(Reading {
        standing: Standing {
            final_rank: u8::from(payment.status != "open"),
            counters: [payment.amount, 0],
            status_rank: u8::from(payment.status == "paid"),
            status: payment.status.to_owned(),
        },
        links: ids(doc, &["invoice"]),
        nested: nested(doc, &[], &["invoice"]),
        ..Reading::default()
    })
}
