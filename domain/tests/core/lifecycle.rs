//! Lifecycles of a model of Stripe that knows the truth.

use crate::book::Book;
use domain::ledger::Line;
use domain::quote::UNQUOTED;
use domain::row::{self, Rows};
use lifecycles::{Balance, Delivery, Event, Lifecycle, Scenario, Shape, Stripe, Truth, TxnRow};
use proptest::prelude::*;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

const START: i64 = 1_760_000_000;

fn book_of(events: &[Event]) -> Book {
    let mut book = Book::new(false);
    for event in events {
        book.take(event.to_body()).unwrap();
    }
    book
}

/// The book of whole lifecycles, inputs and all.
fn book_of_lives(lives: &[Lifecycle], events: &[Event]) -> Book {
    let mut book = book_of(events);
    book.know(lives);
    book
}

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
fn check(book: &Book, truth: &Truth, what: &str) {
    let rows = book.rows();
    let by_name = |rows: Vec<Value>| -> BTreeMap<String, Value> {
        rows.into_iter().map(|row| (row["ids"].to_string(), row)).collect()
    };
    let found = by_name(rows.txns.iter().map(txn).collect());
    assert_eq!(found, by_name(truth.txns.iter().map(true_txn).collect()), "txns of {what}");

    let expected: BTreeMap<String, i64> = truth
        .balances
        .iter()
        .map(|(line, sum)| {
            let Balance { kind, subject, currency, account, party } = line;
            (format!("{kind} {subject} {currency} {account} {party}"), *sum)
        })
        .collect();
    assert_eq!(balances(&rows), expected, "balances of {what}");

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

    let discrepancies: BTreeSet<_> = rows
        .discrepancies
        .iter()
        .filter(|row| row.disagreement.is_some())
        .map(|row| (row.kind, row.object_id.clone()))
        .collect();
    assert_eq!(discrepancies, truth.discrepancies, "discrepancies of {what}");

    let deleted: BTreeSet<_> = book
        .states()
        .values()
        .filter(|state| state.newest.as_ref().is_some_and(|newest| newest.value.deleted))
        .map(|state| state.key.id.clone())
        .collect();
    assert_eq!(deleted, truth.deleted, "deleted objects of {what}");

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

#[test]
fn every_scenario_comes_to_its_truth_in_every_shape() {
    let mut stripe = Stripe::new(1, START);
    for scenario in Scenario::ALL {
        for shape in Shape::ALL {
            for _ in 0..8 {
                let life = stripe.lifecycle_in(*scenario, shape);
                let what = format!("{scenario} in {shape:?}");
                let lives = std::slice::from_ref(&life);
                check(&book_of_lives(lives, &life.events), &life.truth, &what);
                let backwards: Vec<Event> = life.events.iter().rev().cloned().collect();
                let what = format!("{what}, backwards");
                check(&book_of_lives(lives, &backwards), &life.truth, &what);
            }
        }
    }
}

fn all_events(lives: &[Lifecycle]) -> Vec<Event> {
    lives.iter().flat_map(|life| life.events.iter().cloned()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn order_and_repetition_do_not_matter(seed in any::<u64>(), count in 1..12_usize) {
        let mut stripe = Stripe::new(seed, START);
        let lives = stripe.mixed(count);
        let events = all_events(&lives);
        let in_order = book_of_lives(&lives, &events);
        check(&in_order, &Truth::of(lives.iter().map(|life| &life.truth)), "lives in order");

        let mut delivery = Delivery::new(seed);
        let mut unkind = delivery.duplicated(&events, 0.3);
        delivery.shuffle(&mut unkind);
        let shuffled = book_of_lives(&lives, &unkind);
        prop_assert_eq!(shuffled.states(), in_order.states());
        prop_assert_eq!(shuffled.rows(), in_order.rows());
        prop_assert_eq!(shuffled.facts(), in_order.facts());
    }

    #[test]
    fn a_part_and_then_the_rest_gives_the_whole(seed in any::<u64>(), at in 0.0..1.0_f64) {
        let events = all_events(&Stripe::new(seed, START).mixed(4));
        let mut delivery = Delivery::new(seed);
        let mut shuffled = events.clone();
        delivery.shuffle(&mut shuffled);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
        let part = (shuffled.len() as f64 * at) as usize;
        let mut book = book_of(&shuffled[..part]);
        book.rows();
        for event in &shuffled[part..] {
            book.take(event.to_body()).unwrap();
        }
        prop_assert_eq!(book.rows(), book_of(&events).rows());
    }

    #[test]
    fn whatever_is_known_so_far_the_books_are_sound(seed in any::<u64>(), inputs in any::<bool>()) {
        let lives = Stripe::new(seed, START).mixed(6);
        let mut events = all_events(&lives);
        let mut delivery = Delivery::new(seed);
        delivery.shuffle(&mut events);
        let mut book = Book::new(false);
        if inputs {
            book.know(&lives);
        }
        for batch in delivery.batches(&events, 5) {
            for event in batch {
                book.take(event.to_body()).unwrap();
            }
            sound(&book.rows())?;
        }
    }

    /// Two endpoints of different API versions hear of the same payments: some events come as
    /// variants, some of the same objects come as other events.
    #[test]
    fn two_shapes_of_one_life_come_to_one_state_in_every_order(
        seed in any::<u64>(),
        scenario in 0..Scenario::ALL.len(),
        shapes in (0..Shape::ALL.len(), 0..Shape::ALL.len()),
    ) {
        let life = |shape: usize| {
            Stripe::new(seed, START).lifecycle_in(Scenario::ALL[scenario], Shape::ALL[shape])
        };
        let lives = [life(shapes.0), life(shapes.1)];
        let mut events = all_events(&lives);
        let in_order = book_of_lives(&lives, &events);
        Delivery::new(seed).shuffle(&mut events);
        let shuffled = book_of_lives(&lives, &events);
        // Equal data that came with two versions is one event: which version it kept is no state.
        let states = |book: &Book| {
            let mut states = book.states().clone();
            for newest in states.values_mut().filter_map(|state| state.newest.as_mut()) {
                newest.value.api_version = None;
            }
            states
        };
        prop_assert_eq!(states(&shuffled), states(&in_order));
        prop_assert_eq!(shuffled.rows(), in_order.rows());
        prop_assert_eq!(shuffled.facts(), in_order.facts());
        sound(&in_order.rows())?;
    }
}

/// What holds of any rows, however little is known.
fn sound(rows: &Rows) -> Result<(), TestCaseError> {
    for txn in &rows.txns {
        prop_assert!(0 <= txn.refunded_cents && txn.refunded_cents <= txn.captured_cents);
        prop_assert!(txn.captured_cents <= txn.amount_cents);
        prop_assert!(0 <= txn.kept_cents && txn.kept_cents <= txn.captured_cents);
        prop_assert!(txn.fee_cents >= 0 && txn.tax_cents >= 0);
        // No status without a record that says so.
        match txn.status {
            "authorized" => prop_assert!(txn.authorized_at.is_some()),
            "captured" => prop_assert!(txn.captured_at.is_some() && txn.captured_cents > 0),
            "refunded" => prop_assert_eq!(txn.refunded_cents, txn.captured_cents),
            "canceled" | "failed" | "requires_action" => prop_assert_eq!(txn.captured_cents, 0),
            _ => {}
        }
    }
    for target in &rows.targets {
        let mut sums: BTreeMap<&str, i64> = BTreeMap::new();
        for (line, amount) in &target.balances {
            *sums.entry(&line.currency).or_default() += amount;
        }
        prop_assert!(sums.values().all(|sum| *sum == 0), "{:?}", target);
    }
    Ok(())
}
