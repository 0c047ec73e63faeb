//! Lifecycles of a model of Stripe that knows the truth.

use crate::book::Book;
use crate::truth::check;
use domain::row::Rows;
use lifecycles::{Delivery, Event, Lifecycle, Scenario, Shape, Stripe, Truth};
use proptest::prelude::*;
use std::collections::BTreeMap;

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
