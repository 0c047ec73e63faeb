//! The published schemas of docs/events against the domain events that lifecycles prove.

use crate::book::Book;
use domain::fact::FactType;
use lifecycles::{Scenario, Shape, Stripe};
use schemas::Schemas;
use serde_json::Value;
use std::collections::BTreeSet;

const START: i64 = 1_760_000_000;

pub(crate) fn types() -> BTreeSet<String> {
    FactType::ALL.iter().map(|kind| kind.as_str().to_owned()).collect()
}

/// Every domain event of every scenario in both shapes. Facts are told as they are proved, so a
/// fact's content may be that of any of its proofs: each event is a book of its own too.
pub(crate) fn told() -> Vec<Value> {
    let mut stripe = Stripe::new(11, START);
    let mut told = Vec::new();
    for scenario in Scenario::ALL {
        for shape in Shape::ALL {
            let mut book = Book::new(false);
            for event in stripe.lifecycle_in(*scenario, shape).events {
                let decoded = book.take(event.to_body()).unwrap();
                told.extend(decoded.facts.iter().map(|fact| fact.to_domain_event().payload));
            }
            told.extend(book.facts().iter().map(|fact| fact.to_domain_event().payload));
        }
    }
    told.iter().map(|payload| serde_json::from_str(payload).unwrap()).collect()
}

#[test]
fn every_type_has_a_schema_and_every_schema_a_type() {
    let schemas = Schemas::load().unwrap();
    let kinds: BTreeSet<String> = schemas.iter().map(|(kind, _)| kind.to_owned()).collect();
    assert_eq!(kinds, types());
    for (kind, schema) in schemas.iter() {
        assert_eq!(schema["properties"]["type"]["const"], *kind);
    }
}

#[test]
fn every_domain_event_is_as_its_schema_says() {
    let schemas = Schemas::load().unwrap();
    let mut seen = BTreeSet::new();
    let told = told();
    assert_eq!(schemas.problems_among(&told), Vec::<String>::new());
    for event in &told {
        seen.insert(event["type"].as_str().unwrap().to_owned());
    }
    assert_eq!(seen, types(), "types that no scenario tells, or that are not in FactType::ALL");
}

#[test]
fn a_schema_refuses_what_is_not_its_event() {
    let schemas = Schemas::load().unwrap();
    let event = told().into_iter().find(|event| event["type"] == "payment.captured").unwrap();
    let breaks: [fn(&mut Value); 6] = [
        |event| event["data"]["amount_cents"] = Value::from("100"),
        |event| event["data"]["currency"] = Value::from("usd"),
        |event| event["time"] = Value::from("yesterday"),
        |event| event["id"] = Value::from("fct_1"),
        |event| drop(event["data"].as_object_mut().unwrap().remove("txn_id")),
        |event| drop(event.as_object_mut().unwrap().remove("factid")),
    ];
    for (index, change) in breaks.iter().enumerate() {
        let mut broken = event.clone();
        change(&mut broken);
        assert!(!schemas.problems(&broken).is_empty(), "change {index} passes");
    }
    let mut grown = event;
    grown["newattribute"] = Value::from("may come");
    assert_eq!(schemas.problems(&grown), Vec::<String>::new(), "events may grow");
}

#[test]
fn an_id_with_two_contents_is_seen() {
    let schemas = Schemas::load().unwrap();
    let event = told().remove(0);
    let mut other = event.clone();
    other["data"]["order_id"] = Value::from("another");
    assert!(schemas.problems_among([&event, &event]).is_empty(), "at least once");
    assert_eq!(schemas.problems_among([&event, &other]).len(), 1);
}
