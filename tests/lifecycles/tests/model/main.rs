//! The model keeps its own promises.
#![allow(clippy::unwrap_used)]

mod books;
mod connect;
mod shapes;

use lifecycles::{Delivery, Event, Lifecycle, Scenario, Shape, Stripe};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

const START: i64 = 1_700_000_000;

/// Every scenario in every shape, several times.
fn lifecycles() -> impl Iterator<Item = &'static Lifecycle> {
    static ALL: LazyLock<Vec<Lifecycle>> = LazyLock::new(|| {
        let tell = |seed| {
            let mut stripe = Stripe::new(seed, START);
            let all = Scenario::ALL
                .iter()
                .flat_map(|scenario| scenario.shapes().iter().map(|shape| (*scenario, *shape)));
            all.map(|(scenario, shape)| stripe.lifecycle_in(scenario, shape)).collect::<Vec<_>>()
        };
        (0..6).flat_map(tell).collect()
    });
    ALL.iter()
}

/// The lifecycles of these scenarios, in all their shapes.
fn of(scenarios: &[Scenario]) -> impl Iterator<Item = &'static Lifecycle> {
    lifecycles().filter(|story| scenarios.contains(&story.scenario))
}

/// The objects of events of this type, in their order.
fn told<'a>(story: &'a Lifecycle, kind: &str) -> Vec<&'a Value> {
    story.events.iter().filter(|event| event.kind == kind).map(object).collect()
}

fn object(event: &Event) -> &Value {
    &event.body["data"]["object"]
}

#[test]
fn the_same_seed_tells_the_same_stories() {
    let tell = || Stripe::new(3, START).mixed(80);
    let events = |stories: Vec<Lifecycle>| {
        stories.into_iter().flat_map(|story| story.events).collect::<Vec<_>>()
    };
    assert_eq!(events(tell()), events(tell()));
    assert_ne!(events(tell()), events(Stripe::new(4, START).mixed(80)));
}

#[test]
fn every_event_has_its_own_id_and_an_envelope() {
    let mut ids = BTreeSet::new();
    for event in lifecycles().flat_map(|story| &story.events) {
        assert!(ids.insert(event.id.clone()), "{} twice", event.id);
        let read: Value = serde_json::from_str(&event.to_body()).unwrap();
        assert_eq!(read, event.body);
        assert_eq!(read["id"], event.id.as_str());
        assert_eq!(read["type"], event.kind);
        assert_eq!(read["livemode"], false);
        if event.kind.starts_with("v1.") {
            assert_eq!(read["object"], "v2.core.event");
            assert!(
                read["created"].as_str().unwrap().ends_with(":00.000Z") || event.created % 60 > 0
            );
            assert!(read.get("data").is_none());
            continue;
        }
        assert_eq!(read["object"], "event");
        assert_eq!(read["created"], event.created);
        assert_eq!(read.get("account").and_then(Value::as_str), event.account.as_deref());
        assert!(read["data"]["object"].is_object());
        let is_old = read["api_version"] == "2016-07-06";
        assert!(read["request"].is_object() || is_old && !read["request"].is_array());
    }
}

#[test]
fn time_only_goes_forward_within_a_story() {
    for story in lifecycles() {
        assert!(story.events[0].created >= START);
        assert!(story.events.is_sorted_by_key(|event| event.created), "{}", story.scenario);
    }
}

/// Otherwise no order of the events could say which state came last.
#[test]
fn no_object_shows_two_statuses_in_one_second() {
    for story in lifecycles() {
        let mut shown: BTreeMap<(&str, i64), &Value> = BTreeMap::new();
        for event in &story.events {
            let Some(id) = object(event)["id"].as_str() else { continue };
            let status = &object(event)["status"];
            let first = *shown.entry((id, event.created)).or_insert(status);
            assert_eq!(first, status, "{} of {} at {}", id, story.scenario, event.created);
        }
    }
}

/// Stories without a row, or in one version without one.
const ROWLESS: &[Scenario] = &[
    Scenario::Unmodelled,
    Scenario::ThinEvent,
    Scenario::CustomerDeleted,
    Scenario::LegacyTransfer,
    Scenario::CheckoutExpired,
];

#[test]
fn each_story_states_what_it_comes_to() {
    for story in lifecycles() {
        let (scenario, truth) = (story.scenario, &story.truth);
        let rows = truth.txns.len() + truth.payouts.len();
        let rows = rows + truth.accounts.len() + truth.invoices.len();
        let is_rowless = ROWLESS.contains(&scenario)
            && (scenario != Scenario::CheckoutExpired || story.shape != Shape::Nested);
        assert_eq!(rows == 0, is_rowless, "{scenario} in {:?}", story.shape);
        assert_eq!(truth.deleted.is_empty(), scenario != Scenario::CustomerDeleted, "{scenario}");
        // Every payment proves something, and so does every account.
        let facts = truth.facts.len() + truth.provider_updates();
        assert!(facts > 0 || truth.txns.is_empty() && truth.accounts.is_empty(), "{scenario}");
        for txn in &truth.txns {
            assert!(0 <= txn.refunded && txn.refunded <= txn.captured, "{txn:?}");
            assert!(txn.captured <= txn.amount, "{txn:?}");
            assert!(0 <= txn.fee && 0 <= txn.tax, "{txn:?}");
            assert!(txn.fee + txn.tax <= txn.captured, "{txn:?}");
        }
    }
}

/// A row's status is what the last snapshot of its object says: nothing is stated without a record.
#[test]
fn the_last_snapshot_says_what_the_row_says() {
    let mut checked = BTreeMap::new();
    for story in lifecycles() {
        let last = |id: &str| {
            let mut objects = story.events.iter().rev().map(object);
            objects.find(|object| object["id"] == id).map(|object| object["status"].clone())
        };
        let truth = &story.truth;
        let disputes = truth.disputes.iter().map(|row| (&row.stripe_dispute, row.status));
        let invoices = truth.invoices.iter().map(|row| (&row.stripe_invoice, row.status));
        let payouts = truth.payouts.iter().filter_map(|row| {
            let status = if row.status == "scheduled" { "pending" } else { row.status };
            Some((row.stripe_payout.as_ref()?, status))
        });
        let intents = truth.txns.iter().filter_map(|row| {
            let status = match row.status {
                "captured" | "refunded" => "succeeded",
                "authorized" => "requires_capture",
                "failed" => "requires_payment_method",
                "requires_action" if story.events.len() == 1 => "requires_payment_method",
                status => status,
            };
            Some((row.stripe_pi.as_ref()?, status))
        });
        let rows = disputes.chain(invoices).chain(payouts).chain(intents);
        for (id, status) in rows {
            assert_eq!(last(id), Some(Value::from(status)), "{id} of {}", story.scenario);
            *checked.entry(id[..2].to_owned()).or_insert(0) += 1;
        }
        if !matches!(story.shape, Shape::Nested) {
            for row in &truth.refunds {
                assert_eq!(last(&row.stripe_ref), Some(Value::from(row.status)), "{row:?}");
            }
        }
    }
    assert_eq!(checked.keys().collect::<Vec<_>>(), ["du", "in", "pi", "po"]);
}

/// `lifecycle_in` never makes up a shape that a scenario does not have.
#[test]
fn a_version_without_the_story_gives_the_first_that_has_it() {
    for scenario in Scenario::ALL {
        for shape in Shape::ALL {
            let story = Stripe::new(2, START).lifecycle_in(*scenario, shape);
            let has_it = scenario.shapes().contains(&shape);
            assert_eq!(story.shape == shape, has_it, "{scenario}");
            assert!(has_it || story.shape == scenario.shapes()[0], "{scenario}");
        }
    }
}

#[test]
fn a_hundred_lifecycles_hold_every_story() {
    let told: BTreeSet<_> =
        Stripe::new(5, START).mixed(100).into_iter().map(|story| story.scenario).collect();
    assert_eq!(told.len(), Scenario::ALL.len());
}

/// Two lifecycles on one database must not contradict each other.
#[test]
fn lifecycles_agree_on_their_inputs() {
    let mut stripe = Stripe::new(8, START);
    let mut quotes = BTreeSet::new();
    let (mut by_user, mut by_account) = (BTreeMap::new(), BTreeMap::new());
    let mut subjects = BTreeSet::new();
    for story in stripe.mixed(400) {
        for quote in story.quotes {
            assert!(quotes.insert(quote.quote_id.clone()), "{} twice", quote.quote_id);
            assert_eq!(quote.subtotal + quote.tax, quote.total);
            assert!(quote.deposit < quote.total && quote.platform_fee + quote.tax <= quote.total);
        }
        for (user, account) in story.providers {
            assert_eq!(by_user.entry(user.clone()).or_insert(account.clone()), &account);
            assert_eq!(by_account.entry(account).or_insert(user.clone()), &user);
        }
        for balance in story.truth.balances.into_keys() {
            assert!(subjects.insert(balance.clone()), "{balance:?} in two lifecycles");
        }
    }
    for (user, account) in stripe.providers() {
        assert_eq!(by_account.get(account), Some(user));
    }
    assert!(by_account.len() > 10 && quotes.len() > 100);
}

#[test]
fn an_authorisation_that_ends_shows_as_refunded_and_never_captured() {
    for shape in Shape::ALL {
        let story = Stripe::new(1, START).lifecycle_in(Scenario::ChargeOnlyExpired, shape);
        let last = object(story.events.last().unwrap());
        assert_eq!(last["refunded"], true);
        assert_eq!(last["captured"], false);
        assert_eq!(last["amount_refunded"], last["amount"]);
    }
}

#[test]
fn a_pending_bank_debit_already_says_captured() {
    let story = Stripe::new(1, START).lifecycle_in(Scenario::BankDebitProcessing, Shape::Flat);
    let pending = story.events.iter().find(|event| event.kind == "charge.pending").unwrap();
    assert_eq!(object(pending)["captured"], true);
    assert_eq!(object(pending)["amount_captured"], object(pending)["amount"]);
    assert_eq!(story.truth.txns[0].captured, 0);
}

#[test]
fn a_refund_that_fails_lowers_what_the_charge_says() {
    let mut lowered = 0;
    for story in lifecycles().filter(|story| story.scenario == Scenario::RefundFailed) {
        let charge =
            story.events.iter().rfind(|event| object(event)["object"] == "charge").unwrap();
        lowered += i32::from(charge.kind == "charge.updated");
        let refunded = &object(charge)["amount_refunded"];
        assert_eq!(refunded == 0, charge.kind == "charge.updated", "{refunded}");
    }
    assert!(lowered > 0);
}

#[test]
fn names_lead_back_to_their_scenarios() {
    for scenario in Scenario::ALL {
        assert_eq!(scenario.name().parse(), Ok(*scenario));
        assert!(scenario.about().ends_with('.'), "{}", scenario.about());
    }
    assert!("nothing".parse::<Scenario>().is_err());
}

#[test]
fn delivery_loses_and_invents_nothing() {
    let items: Vec<u32> = (0..500).collect();
    let mut delivery = Delivery::new(9);
    let mut delivered = delivery.duplicated(&items, 0.3);
    assert!((550..750).contains(&delivered.len()), "{}", delivered.len());
    delivery.shuffle(&mut delivered);
    assert!(!delivered.is_sorted());
    let batches = delivery.batches(&delivered, 7);
    assert!(batches.iter().all(|batch| (1..=7).contains(&batch.len())));
    assert_eq!(batches.concat(), delivered);
    delivered.sort_unstable();
    delivered.dedup();
    assert_eq!(delivered, items);
}
