//! docs/EVENTS.md says what the schemas say. `UPDATE_DOCS=1` writes it anew.

use domain::fact::FactType;
use schemas::{Schemas, document};
use std::fs;

#[test]
fn the_document_says_what_the_schemas_say() {
    let path = schemas::docs().join("EVENTS.md");
    let text = fs::read_to_string(&path).unwrap();
    let kinds = FactType::ALL.map(FactType::as_str);
    let made = document::update(&text, &Schemas::load().unwrap(), &kinds);
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&path, made).unwrap();
        return;
    }
    let remedy = "UPDATE_DOCS=1 cargo test -p domain --test core document";
    assert!(text == made, "docs/EVENTS.md is not what the schemas say; make it anew: {remedy}");
}

#[test]
fn every_type_shows_an_example_that_is_its_event_and_describes_every_field() {
    let schemas = Schemas::load().unwrap();
    for (kind, schema) in schemas.iter() {
        let examples = schema["examples"].as_array().unwrap();
        assert!(!examples.is_empty(), "{kind} has no example");
        for example in examples {
            assert_eq!(example["type"], *kind);
            assert_eq!(schemas.problems(example), Vec::<String>::new(), "example of {kind}");
        }
        let described = |field: &serde_json::Value| field["description"].is_string();
        assert!(described(schema), "{kind} is not described");
        for (name, field) in schema["properties"]["data"]["properties"].as_object().unwrap() {
            assert!(described(field), "{kind}: data.{name} is not described");
        }
    }
}

/// The envelope is described by hand, for it is the same in every type.
#[test]
fn the_envelope_of_the_document_is_that_of_every_schema() {
    let text = fs::read_to_string(schemas::docs().join("EVENTS.md")).unwrap();
    let (_, envelope) = text.split_once("## The envelope\n").unwrap();
    let (envelope, _) = envelope.split_once("\n## ").unwrap();
    let rows = envelope.lines().filter_map(|line| line.strip_prefix("| `")?.split_once('`'));
    let shown: Vec<&str> = rows.map(|(name, _)| name).collect();
    for (kind, schema) in Schemas::load().unwrap().iter() {
        let mut shown = shown.clone();
        shown.sort_unstable();
        let described = schema["properties"].as_object().unwrap();
        assert_eq!(shown, described.keys().collect::<Vec<_>>(), "{kind}");
    }
}
