//! What was released stays promised: a schema may grow, and take nothing back.
//!
//! `released/TYPE.json` holds a type's schema and events as they were when it was released. These
//! files are never changed.

use serde_json::{Map, Value};
use std::collections::BTreeSet;
use std::path::PathBuf;

/// Where the released schemas and events are.
pub fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("released")
}

/// Keywords that promise nothing.
const WORDS: [&str; 4] = ["$schema", "title", "description", "examples"];
/// Keywords that limit a value. One may be dropped, but neither changed nor added: events from
/// before must stay valid, and a consumer must know what it reads.
const LIMITS: [&str; 8] = [
    "pattern",
    "format",
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "minLength",
    "maxLength",
];

/// What a schema promises, without its words.
pub fn promise(schema: &Value) -> Value {
    match schema {
        Value::Object(fields) => {
            let kept = fields.iter().filter(|(name, value)| {
                // A property may be called like a keyword; then it is an object.
                value.is_object() || !WORDS.contains(&name.as_str())
            });
            Value::Object(kept.map(|(name, value)| (name.clone(), promise(value))).collect())
        }
        other => other.clone(),
    }
}

/// What a schema has taken back since it was released.
pub fn problems(released: &Value, now: &Value) -> Vec<String> {
    let mut problems = Vec::new();
    compare("", released, now, &mut problems);
    problems
}

fn compare(place: &str, released: &Value, now: &Value, problems: &mut Vec<String>) {
    let mut problem = |what: String| problems.push(format!("{place}: {what}"));
    if now["type"] != released["type"] {
        problem(format!("its type was {}, is {}", released["type"], now["type"]));
    }
    // Neither may shrink: consumers rely on what is always there. Nor may it grow: events from
    // before lack what is new.
    let (required, required_now) = (names(&released["required"]), names(&now["required"]));
    for name in required.symmetric_difference(&required_now) {
        problem(format!("`{name}` is required in one of both only"));
    }
    match (values(released), values(now)) {
        (None, None) => {}
        (Some(values), Some(values_now)) => {
            for value in values.difference(&values_now) {
                problem(format!("the value {value} is gone"));
            }
        }
        _ => problem("its values are listed in one of both only".to_owned()),
    }
    for limit in LIMITS {
        if let Some(limited) = now.get(limit).filter(|now| released.get(limit) != Some(*now)) {
            problem(format!("{limit} is {limited}, was {}", released[limit]));
        }
    }
    if now["additionalProperties"] == false && released["additionalProperties"] != false {
        problem("it may no longer grow".to_owned());
    }
    let none = Map::new();
    for (name, property) in released["properties"].as_object().unwrap_or(&none) {
        let place = format!("{place}/{name}");
        match now["properties"].get(name) {
            Some(now) => compare(&place, property, now, problems),
            None => problems.push(format!("{place}: it is gone")),
        }
    }
}

fn names(list: &Value) -> BTreeSet<&str> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

/// The values that are listed, as JSON, if any are.
fn values(schema: &Value) -> Option<BTreeSet<String>> {
    let listed = schema["enum"].as_array().map(Vec::as_slice);
    let one = schema.get("const").map(std::slice::from_ref);
    listed.or(one).map(|values| values.iter().map(Value::to_string).collect())
}
