//! Schemas only grow. What was released is kept in tests/schemas/released, a file a type, and is
//! held against the schemas of now. `FREEZE=1` makes the file of a type that has none.

use crate::schema::{told, types};
use schemas::{Schemas, released};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;

/// One event for each set of fields that the type's events were seen with.
fn one_of_each_shape(events: &[Value], kind: &str) -> Vec<Value> {
    let mut shapes = BTreeMap::new();
    for event in events.iter().filter(|event| event["type"] == kind) {
        let fields: Vec<String> = event["data"].as_object().unwrap().keys().cloned().collect();
        shapes.entry(fields).or_insert_with(|| event.clone());
    }
    shapes.into_values().collect()
}

fn freeze_what_is_new(schemas: &Schemas) {
    let told = told();
    for (kind, schema) in schemas.iter() {
        let path = released::folder().join(format!("{kind}.json"));
        if !path.exists() {
            let events = one_of_each_shape(&told, kind);
            let frozen = json!({"schema": released::promise(schema), "events": events});
            fs::write(path, format!("{frozen:#}\n")).unwrap();
        }
    }
}

#[test]
fn schemas_keep_what_was_released() {
    let schemas = Schemas::load().unwrap();
    if std::env::var_os("FREEZE").is_some() {
        freeze_what_is_new(&schemas);
    }
    let frozen = schemas::read_all(&released::folder()).unwrap();
    let kinds: BTreeSet<String> = frozen.keys().cloned().collect();
    assert_eq!(kinds, types(), "FREEZE=1 cargo test -p domain --test core released");
    for (kind, frozen) in &frozen {
        let taken_back = released::problems(&frozen["schema"], schemas.get(kind));
        assert_eq!(taken_back, Vec::<String>::new(), "{kind}");
        let events = frozen["events"].as_array().unwrap();
        assert!(!events.is_empty(), "{kind} has no released event");
        assert_eq!(schemas.problems_among(events), Vec::<String>::new(), "{kind}");
    }
}

/// A change to a schema of data.
type Change = fn(&mut Value);

#[test]
fn each_way_to_take_something_back_is_seen() {
    let schemas = Schemas::load().unwrap();
    let captured = schemas.get("payment.captured");
    let opened = schemas.get("dispute.opened");
    let breaks: [(&Value, Change); 9] = [
        (captured, |data| drop(data["properties"].as_object_mut().unwrap().remove("order_id"))),
        (captured, |data| data["properties"]["amount_cents"]["type"] = "string".into()),
        (captured, |data| data["properties"]["amount_cents"]["minimum"] = 100.into()),
        (captured, |data| data["properties"]["order_id"]["pattern"] = "^ord_".into()),
        (captured, |data| data["required"].as_array_mut().unwrap().push("order_id".into())),
        (captured, |data| drop(data["required"].as_array_mut().unwrap().pop())),
        (captured, |data| data["additionalProperties"] = false.into()),
        (opened, |data| drop(data["properties"]["status"]["enum"].as_array_mut().unwrap().pop())),
        (opened, |data| drop(data["properties"]["status"].as_object_mut().unwrap().remove("enum"))),
    ];
    for (index, (schema, change)) in breaks.iter().enumerate() {
        let mut changed = (*schema).clone();
        change(&mut changed["properties"]["data"]);
        let problems = released::problems(&released::promise(schema), &changed);
        assert_eq!(problems.len(), 1, "change {index}: {problems:?}");
    }
}

#[test]
fn growing_takes_nothing_back() {
    let schemas = Schemas::load().unwrap();
    let opened = schemas.get("dispute.opened");
    let mut grown = opened.clone();
    let data = &mut grown["properties"]["data"];
    data["properties"]["network"] = json!({"type": "string", "description": "New."});
    data["properties"]["status"]["enum"].as_array_mut().unwrap().push("appealed".into());
    data["properties"]["reason"]["description"] = "Said better.".into();
    assert_eq!(released::problems(&released::promise(opened), &grown), Vec::<String>::new());
}
