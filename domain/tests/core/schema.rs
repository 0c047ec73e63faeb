//! The published schemas of docs/events against the domain events that lifecycles prove.

use crate::book::Book;
use domain::fact::FactType;
use jsonschema::Validator;
use lifecycles::{Scenario, Shape, Stripe};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;

const START: i64 = 1_760_000_000;

fn docs() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs")
}

fn types() -> BTreeSet<String> {
    FactType::ALL.iter().map(|kind| kind.as_str().to_owned()).collect()
}

/// The schemas, by the name of their file.
fn schemas() -> BTreeMap<String, Value> {
    let files = fs::read_dir(docs().join("events")).unwrap();
    files
        .map(|file| {
            let path = file.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            let kind = name.strip_suffix(".json").unwrap_or(name).to_owned();
            (kind, serde_json::from_slice(&fs::read(&path).unwrap()).unwrap())
        })
        .collect()
}

/// Checks events: against their schema, and that each field of their data is described there.
struct Checker {
    schemas: BTreeMap<String, Value>,
    validators: BTreeMap<String, Validator>,
}

impl Checker {
    fn new() -> Self {
        let schemas = schemas();
        let validators = schemas
            .iter()
            .map(|(kind, schema)| {
                let options = jsonschema::draft202012::options().should_validate_formats(true);
                (kind.clone(), options.build(schema).unwrap())
            })
            .collect();
        Self { schemas, validators }
    }

    /// What is wrong with an event.
    fn problems(&self, event: &Value) -> Vec<String> {
        let Some(kind) = event["type"].as_str() else { return vec!["no type".to_owned()] };
        let Some(validator) = self.validators.get(kind) else {
            return vec![format!("{kind} has no schema")];
        };
        let described = &self.schemas[kind]["properties"]["data"]["properties"];
        let fields = event["data"].as_object().into_iter().flatten();
        let undescribed = fields
            .filter(|(field, _)| described.get(field.as_str()).is_none())
            .map(|(field, _)| format!("data.{field} is not described"));
        let wrong =
            validator.iter_errors(event).map(|error| format!("{}: {error}", error.instance_path()));
        wrong.chain(undescribed).collect()
    }
}

/// Every domain event of every scenario in both shapes. Facts are told as they are proved, so a
/// fact's content may be that of any of its proofs: each event is a book of its own too.
fn told() -> Vec<Value> {
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
    let schemas = schemas();
    assert_eq!(schemas.keys().cloned().collect::<BTreeSet<_>>(), types());
    for (kind, schema) in &schemas {
        assert!(jsonschema::meta::is_valid(schema), "{kind} is not a schema");
        assert_eq!(schema["properties"]["type"]["const"], **kind);
    }
}

#[test]
fn every_domain_event_is_as_its_schema_says() {
    let checker = Checker::new();
    let mut seen = BTreeSet::new();
    for event in told() {
        assert_eq!(checker.problems(&event), Vec::<String>::new(), "{event:#}");
        seen.insert(event["type"].as_str().unwrap().to_owned());
    }
    assert_eq!(seen, types(), "types that no scenario tells, or that are not in FactType::ALL");
}

#[test]
fn a_schema_refuses_what_is_not_its_event() {
    let checker = Checker::new();
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
        assert!(!checker.problems(&broken).is_empty(), "change {index} passes");
    }
    let mut grown = event;
    grown["newattribute"] = Value::from("may come");
    assert_eq!(checker.problems(&grown), Vec::<String>::new(), "events may grow");
}

/// The document's examples, one after each heading, are events of that type.
#[test]
fn the_examples_of_the_document_are_events() {
    let text = fs::read_to_string(docs().join("EVENTS.md")).unwrap();
    let checker = Checker::new();
    let mut shown = BTreeSet::new();
    for section in text.split("\n### ").skip(1) {
        let kind = section.lines().next().unwrap().trim_matches('`').to_owned();
        let Some((_, rest)) = section.split_once("```json\n") else { continue };
        let (example, _) = rest.split_once("```").unwrap();
        let event: Value = serde_json::from_str(example).unwrap();
        assert_eq!(event["type"], *kind, "example of {kind}");
        assert_eq!(checker.problems(&event), Vec::<String>::new(), "example of {kind}");
        shown.insert(kind);
    }
    assert_eq!(shown, types(), "types with an example");
}
