//! Invoices and the payments that they ask for.

use crate::Scenario;
use crate::invoice::Invoice;
use crate::payment::{Payment, usual_amount};
use crate::quote::Links;
use crate::script::Script;

pub(super) fn play(scenario: Scenario, script: &mut Script<'_>) {
    let currency = super::usual_currency(script);
    let total = usual_amount(script, currency);
    let mut invoice = Invoice::draft(script, currency, total);
    let status = match scenario {
        Scenario::InvoiceDraft => "draft",
        Scenario::InvoicePaidInParts => {
            in_parts(script, currency, &mut invoice, total);
            "paid"
        }
        _ => {
            let payment = &mut Payment::of(script, currency, total, Links::default());
            billed(scenario, payment, &mut invoice)
        }
    };
    invoice.is(script, status);
}

fn billed(
    scenario: Scenario,
    payment: &mut Payment<'_, '_>,
    invoice: &mut Invoice,
) -> &'static str {
    let total = payment.amount;
    match scenario {
        Scenario::InvoiceVoided => {
            invoice.finalize(payment, false);
            invoice.void(payment);
            payment.is("canceled", 0, 0);
            "void"
        }
        Scenario::InvoiceUncollectible => {
            invoice.finalize(payment, false);
            payment.decline();
            invoice.give_up(payment.script);
            payment.is("failed", 0, 0);
            "uncollectible"
        }
        _ => {
            // Before there were intents an invoice had a charge only.
            let charged = payment.script.shape.nests() && payment.script.rng().coin();
            invoice.finalize(payment, charged);
            payment.pay();
            invoice.takes(payment);
            payment.is("captured", total, 0);
            "paid"
        }
    }
}

/// Two intents, each for a part: possible since basil.
fn in_parts(script: &mut Script<'_>, currency: &'static str, invoice: &mut Invoice, total: i64) {
    let part = script.rng().between(1, total - 1);
    for (amount, is_first) in [(part, true), (total - part, false)] {
        let payment = &mut Payment::of(script, currency, amount, Links::default());
        if is_first {
            invoice.finalize(payment, false);
        } else {
            payment.script.request_after((60, 90_000));
            payment.open(false);
        }
        payment.pay();
        invoice.takes(payment);
        payment.is("captured", amount, 0);
    }
}
