//! Invoices and the payments that pay them.

use super::{Unreadable, of_kind, unreadable};
use crate::id;
use crate::json::Doc;
use crate::object::invoice::{self, Invoice, InvoicePayment};
use crate::row;
use crate::state::ObjectState;
use std::collections::BTreeMap;

pub(super) fn derive(
    aggregate: &[&ObjectState],
) -> Result<(Vec<row::Invoice>, Vec<row::InvoicePayment>), Unreadable> {
    let mut invoices = Vec::new();
    let mut payments: BTreeMap<(String, String), row::InvoicePayment> = BTreeMap::new();
    let mut pays =
        |state: &ObjectState, invoice: &str, payment: &str, amount: i64, status: &str| {
            let account = &state.key.account;
            let row = row::InvoicePayment {
                invoice_id: id::invoice_id(account, invoice),
                stripe_payment: payment.to_owned(),
                txn_id: id::txn_id(account, payment),
                amount_cents: amount,
                status: status.to_owned(),
            };
            payments.insert((row.invoice_id.clone(), row.stripe_payment.clone()), row);
        };
    for (state, snapshot) in of_kind(aggregate, invoice::NAME) {
        let invoice = Invoice::read(Doc(&snapshot.doc)).map_err(unreadable(state))?;
        let Some(invoice) = invoice else { continue };
        if let Some(payment) = invoice.payment {
            let status = if invoice.status == "paid" { "paid" } else { "open" };
            pays(state, invoice.id, payment, invoice.paid, status);
        }
        let mut row = invoice_row(&invoice, state, snapshot.livemode);
        if snapshot.deleted {
            row.status = "void";
        }
        invoices.push(row);
    }
    // After the invoices: a payment that speaks for itself knows better.
    for (state, snapshot) in of_kind(aggregate, invoice::PAYMENT) {
        let read = InvoicePayment::read(Doc(&snapshot.doc)).map_err(unreadable(state))?;
        if let (Some(invoice), Some(payment)) = (read.invoice, read.payment) {
            pays(state, invoice, payment, read.amount, read.status);
        }
    }
    // A payment may be known before its invoice; its row waits for it.
    let known =
        |id: &String| invoices.iter().any(|invoice: &row::Invoice| invoice.invoice_id == *id);
    payments.retain(|(invoice_id, _), _| known(invoice_id));
    Ok((invoices, payments.into_values().collect()))
}

fn invoice_row(invoice: &Invoice<'_>, state: &ObjectState, livemode: bool) -> row::Invoice {
    let account = &state.key.account;
    row::Invoice {
        invoice_id: id::invoice_id(account, invoice.id),
        account: account.clone(),
        livemode,
        stripe_invoice: invoice.id.to_owned(),
        number: invoice.number.map(str::to_owned),
        customer: invoice.customer.map(str::to_owned),
        status: invoice.status,
        stripe_status: invoice.stripe_status.map(str::to_owned),
        currency: invoice.currency.clone(),
        amount_due_cents: invoice.due,
        amount_paid_cents: invoice.paid,
        amount_remaining_cents: invoice.remaining,
        total_cents: invoice.total,
        due_at: invoice.due_at,
        created_at: invoice.created,
    }
}
