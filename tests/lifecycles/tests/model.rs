//! The model keeps its own promises.
#![allow(clippy::unwrap_used)]

use lifecycles::{Delivery, Event, Lifecycle, Scenario, Shape, Stripe};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

const START: i64 = 1_700_000_000;

fn lifecycles() -> impl Iterator<Item = Lifecycle> {
    (0..6).flat_map(|seed| {
        let mut stripe = Stripe::new(seed, START);
        let all = Shape::ALL
            .into_iter()
            .flat_map(|shape| Scenario::ALL.iter().map(move |scenario| (*scenario, shape)));
        all.map(|(scenario, shape)| stripe.lifecycle_in(scenario, shape)).collect::<Vec<_>>()
    })
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
    for event in lifecycles().flat_map(|story| story.events) {
        assert!(ids.insert(event.id.clone()), "{} twice", event.id);
        let read: Value = serde_json::from_str(&event.to_body()).unwrap();
        assert_eq!(read, event.body);
        assert_eq!(read["id"], event.id.as_str());
        assert_eq!(read["object"], "event");
        assert_eq!(read["type"], event.kind);
        assert_eq!(read["created"], event.created);
        assert_eq!(read["livemode"], false);
        assert_eq!(read.get("account").and_then(Value::as_str), event.account.as_deref());
        assert!(read["data"]["object"].is_object());
        assert!(read["request"].is_object());
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

#[test]
fn each_story_states_what_it_comes_to() {
    for Lifecycle { scenario, truth, .. } in lifecycles() {
        let rows = truth.txns.len() + truth.payouts.len() + truth.accounts.len();
        assert_eq!(rows, usize::from(scenario != Scenario::Unmodelled), "{scenario}");
        let told = truth.facts.len() + truth.provider_updates();
        let silent = matches!(scenario, Scenario::Unmodelled | Scenario::PlatformPayout);
        assert_eq!(told == 0, silent, "{scenario}");
        for txn in &truth.txns {
            assert!(0 <= txn.refunded && txn.refunded <= txn.captured, "{txn:?}");
            assert!(txn.captured <= txn.amount, "{txn:?}");
        }
    }
}

#[test]
fn shapes_differ_where_the_api_versions_do() {
    for story in lifecycles() {
        let nested = story.shape == Shape::Nested;
        for event in story.events.iter().filter(|event| event.account.is_none()) {
            let object = object(event);
            match object["object"].as_str() {
                Some("payment_intent") => {
                    assert_eq!(object.get("charges").is_some(), nested);
                    assert_eq!(object.get("latest_charge").is_none(), nested);
                }
                Some("charge") => assert_eq!(object.get("refunds").is_some(), nested),
                _ => {}
            }
            assert!(!(nested && event.kind.starts_with("refund.")), "{}", event.kind);
        }
    }
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
