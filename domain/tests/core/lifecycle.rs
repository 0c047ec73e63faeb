//! Lifecycles of a model of Stripe that knows the truth.

use crate::book::Book;
use domain::row::Rows;
use lifecycles::{Delivery, Event, Lifecycle, Scenario, Shape, Stripe, Truth};
use proptest::prelude::*;
use std::collections::BTreeSet;

const START: i64 = 1_760_000_000;

fn book_of(events: &[Event]) -> Book {
    let mut book = Book::new(false);
    for event in events {
        book.take(event.to_body()).unwrap();
    }
    book
}

/// Intent and charge, status, (amount, captured, refunded), currency, quote.
type Txn<'a> =
    ((Option<&'a str>, Option<&'a str>), &'a str, (i64, i64, i64), &'a str, Option<&'a str>);

fn txns(rows: &Rows) -> BTreeSet<Txn<'_>> {
    let txns = rows.txns.iter().map(|row| {
        let quote = (row.quote_id != "unquoted").then_some(row.quote_id.as_str());
        let amounts = (row.amount_cents, row.captured_cents, row.refunded_cents);
        let ids = (row.stripe_pi.as_deref(), row.stripe_ch.as_deref());
        (ids, row.status, amounts, row.currency.as_str(), quote)
    });
    txns.collect()
}

/// Holds the book against the truth; the message names what differs.
fn check(book: &Book, truth: &Truth, what: &str) {
    let rows = book.rows();
    let expected = truth.txns.iter().map(|row| {
        let ids = (row.stripe_pi.as_deref(), row.stripe_ch.as_deref());
        let amounts = (row.amount, row.captured, row.refunded);
        (ids, row.status, amounts, row.currency.as_str(), row.quote_id.as_deref())
    });
    assert_eq!(txns(&rows), expected.collect(), "txns of {what}");

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
            (ids, row.account.as_deref(), row.status_when(false), row.net)
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
                check(&book_of(&life.events), &life.truth, &what);
                let backwards: Vec<Event> = life.events.iter().rev().cloned().collect();
                check(&book_of(&backwards), &life.truth, &format!("{what}, backwards"));
            }
        }
    }
}

fn all_events(lives: &[Lifecycle]) -> Vec<Event> {
    lives.iter().flat_map(|life| life.events.iter().cloned()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn order_and_repetition_do_not_matter(seed in any::<u64>(), count in 1..12_usize) {
        let mut stripe = Stripe::new(seed, START);
        let lives = stripe.mixed(count);
        let events = all_events(&lives);
        let in_order = book_of(&events);
        check(&in_order, &Truth::of(lives.iter().map(|life| &life.truth)), "lives in order");

        let mut delivery = Delivery::new(seed);
        let mut unkind = delivery.duplicated(&events, 0.3);
        delivery.shuffle(&mut unkind);
        let shuffled = book_of(&unkind);
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
    fn money_stays_within_its_bounds(seed in any::<u64>()) {
        let mut events = all_events(&Stripe::new(seed, START).mixed(6));
        Delivery::new(seed).shuffle(&mut events);
        let mut book = Book::new(false);
        for event in &events {
            book.take(event.to_body()).unwrap();
            for txn in book.rows().txns {
                prop_assert!(txn.refunded_cents >= 0 && txn.refunded_cents <= txn.captured_cents);
                prop_assert!(txn.captured_cents <= txn.amount_cents);
            }
        }
    }
}
