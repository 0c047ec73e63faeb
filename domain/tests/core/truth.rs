//! What a book must come to, by the word of the model of Stripe.

use crate::book::Book;
use domain::ledger::Line;
use domain::quote::UNQUOTED;
use domain::row::{self, Rows};
use lifecycles::{Balance, Truth, TxnRow};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// A payment, field by field, so that a failure shows which one differs.
fn txn(row: &row::Txn) -> Value {
    let radar = |list: &str, field: &str| {
        let objects = row.meta[list].as_array().cloned().unwrap_or_default();
        let mut found: Vec<Value> =
            objects.iter().map(|object| json!([object["id"], object[field]])).collect();
        found.sort_by_key(Value::to_string);
        found
    };
    json!({
        "ids": [row.stripe_pi, row.stripe_ch], "account": row.is_direct.then_some(&row.account),
        "status": row.status, "currency": row.currency,
        "amounts": [row.amount_cents, row.captured_cents, row.refunded_cents],
        "quote": (row.quote_id != UNQUOTED).then_some(&row.quote_id), "order": row.order_id,
        "fee and tax": [row.fee_cents, row.tax_cents], "provider": row.provider_id,
        "destination": row.destination_account, "reviews": radar("reviews", "open"),
        "warnings": radar("early_fraud_warnings", "actionable"),
    })
}

fn true_txn(row: &TxnRow) -> Value {
    let mut reviews: Vec<Value> = row.reviews.iter().map(|it| json!([it.id, it.open])).collect();
    let mut warnings: Vec<Value> =
        row.fraud_warnings.iter().map(|it| json!([it.id, it.actionable])).collect();
    reviews.sort_by_key(Value::to_string);
    warnings.sort_by_key(Value::to_string);
    json!({
        "ids": [row.stripe_pi, row.stripe_ch], "account": row.account, "status": row.status,
        "currency": row.currency, "amounts": [row.amount, row.captured, row.refunded],
        "quote": row.quote_id, "order": row.order_id, "fee and tax": [row.fee, row.tax],
        "provider": row.provider_id, "destination": row.destination_account, "reviews": reviews,
        "warnings": warnings,
    })
}

/// The ledger's balances by subject, as the model of Stripe names them.
fn balances(rows: &Rows) -> BTreeMap<String, i64> {
    let lines = rows.targets.iter().flat_map(|target| {
        target.balances.iter().map(move |(line, sum)| {
            let kind = target.subject.kind.as_str();
            let Line { currency, account, party } = line;
            (format!("{kind} {} {currency} {account} {party}", target.subject.id), *sum)
        })
    });
    lines.collect()
}

/// Holds the book against the truth; the message names what differs.
pub(crate) fn check(book: &Book, truth: &Truth, what: &str) {
    let rows = book.rows();
    check_payments(&rows, truth, what);
    check_books(&rows, truth, what);
    check_connect(&rows, truth, what);
    check_facts(book, truth, what);
    let deleted: BTreeSet<_> = book
        .states()
        .values()
        .filter(|state| state.newest.as_ref().is_some_and(|newest| newest.value.deleted))
        .map(|state| state.key.id.clone())
        .collect();
    assert_eq!(deleted, truth.deleted, "deleted objects of {what}");
}

/// Payments with their refunds and disputes.
fn check_payments(rows: &Rows, truth: &Truth, what: &str) {
    let by_name = |rows: Vec<Value>| -> BTreeMap<String, Value> {
        rows.into_iter().map(|row| (row["ids"].to_string(), row)).collect()
    };
    let found = by_name(rows.txns.iter().map(txn).collect());
    assert_eq!(found, by_name(truth.txns.iter().map(true_txn).collect()), "txns of {what}");

    let refunds: BTreeSet<_> = rows
        .refunds
        .iter()
        .map(|row| (row.stripe_ref.as_str(), row.status, row.amount_cents))
        .collect();
    let expected =
        truth.refunds.iter().map(|row| (row.stripe_ref.as_str(), row.status, row.amount)).collect();
    assert_eq!(refunds, expected, "refunds of {what}");

    let disputes: BTreeSet<_> = rows
        .disputes
        .iter()
        .map(|row| (row.stripe_dispute.as_str(), row.status, row.amount_cents))
        .collect();
    let expected = truth
        .disputes
        .iter()
        .map(|row| (row.stripe_dispute.as_str(), row.status, row.amount))
        .collect();
    assert_eq!(disputes, expected, "disputes of {what}");
}

/// Ledger, invoices, and what needs a person.
fn check_books(rows: &Rows, truth: &Truth, what: &str) {
    let expected: BTreeMap<String, i64> = truth
        .balances
        .iter()
        .map(|(line, sum)| {
            let Balance { kind, subject, currency, account, party } = line;
            (format!("{kind} {subject} {currency} {account} {party}"), *sum)
        })
        .collect();
    assert_eq!(balances(rows), expected, "balances of {what}");

    let invoices: BTreeSet<_> = rows
        .invoices
        .iter()
        .map(|row| {
            let paid: Vec<(String, i64)> = rows
                .invoice_payments
                .iter()
                .filter(|payment| payment.invoice_id == row.invoice_id && payment.amount_cents > 0)
                .map(|payment| (payment.stripe_payment.clone(), payment.amount_cents))
                .collect();
            let amounts = [row.amount_due_cents, row.amount_paid_cents, row.amount_remaining_cents];
            (row.stripe_invoice.as_str(), row.status, row.currency.as_str(), amounts, paid)
        })
        .collect();
    let expected = truth
        .invoices
        .iter()
        .map(|row| {
            let amounts = [row.amount_due, row.amount_paid, row.amount_remaining];
            let id = row.stripe_invoice.as_str();
            (id, row.status, row.currency.as_str(), amounts, row.payments.clone())
        })
        .collect();
    assert_eq!(invoices, expected, "invoices of {what}");

    let discrepancies: BTreeSet<_> =
        rows.discrepancies.iter().map(|row| (row.kind, row.object_id.clone())).collect();
    assert_eq!(discrepancies, truth.discrepancies, "discrepancies of {what}");
}

/// Transfers, payouts and connected accounts.
fn check_connect(rows: &Rows, truth: &Truth, what: &str) {
    let payouts: BTreeSet<_> = rows
        .payouts
        .iter()
        .map(|row| {
            let ids = (row.stripe_transfer.as_deref(), row.stripe_payout.as_deref());
            (ids, row.destination_account.as_deref(), row.status, row.net_cents)
        })
        .collect();
    let expected = truth
        .payouts
        .iter()
        .map(|row| {
            let ids = (row.stripe_transfer.as_deref(), row.stripe_payout.as_deref());
            (ids, row.account.as_deref(), row.status_at_last(), row.net)
        })
        .collect();
    assert_eq!(payouts, expected, "payouts of {what}");

    let providers: BTreeSet<_> =
        rows.providers.iter().map(|row| (row.stripe_acct.as_str(), row.status)).collect();
    let expected =
        truth.accounts.iter().map(|row| (row.stripe_acct.as_str(), row.status)).collect();
    assert_eq!(providers, expected, "providers of {what}");
}

fn check_facts(book: &Book, truth: &Truth, what: &str) {
    let facts = book.facts();
    let (updates, others): (Vec<_>, Vec<_>) =
        facts.iter().partition(|fact| fact.kind == "provider.updated");
    let told: BTreeSet<_> =
        others.iter().map(|fact| (fact.kind.as_str(), fact.subject.as_str())).collect();
    let expected: BTreeSet<_> =
        truth.facts.iter().map(|fact| (fact.kind, fact.subject.as_str())).collect();
    assert_eq!(told, expected, "facts of {what}");
    assert_eq!(updates.len(), truth.provider_updates(), "provider updates of {what}");
}
