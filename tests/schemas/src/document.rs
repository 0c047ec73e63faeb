//! The part of docs/EVENTS.md that says what the schemas say.

use crate::Schemas;
use serde_json::Value;
use std::fmt::Write as _;

/// Where the made part begins; what comes before is written by hand.
pub const BEGIN: &str = "<!-- From here on made from docs/events/*.json, by \
                         UPDATE_DOCS=1 cargo test -p domain --test core document -->\n";
/// Most characters of a line of text.
const WIDTH: usize = 110;

/// The document: what is written by hand in `text`, and the rest made anew. `kinds` gives the order.
pub fn update(text: &str, schemas: &Schemas, kinds: &[&str]) -> String {
    let by_hand = text.split_once(BEGIN).map_or(text, |(by_hand, _)| by_hand);
    format!("{by_hand}{BEGIN}\n{}", render(schemas, kinds))
}

fn render(schemas: &Schemas, kinds: &[&str]) -> String {
    let mut out = String::from("## Types and subjects\n\n| type | told when | subject |\n");
    out.push_str("|---|---|---|\n");
    for kind in kinds {
        let schema = schemas.get(kind);
        let told = text(schema).split_once(". ").map_or(text(schema), |(first, _)| first);
        let told = told.trim_end_matches('.');
        let subject = text(&schema["properties"]["subject"]).trim_end_matches('.');
        let anchor = kind.replace('.', "");
        let _ = writeln!(out, "| [`{kind}`](#{anchor}) | {told} | {subject} |");
    }
    out.push_str("\n## Each type\n\n");
    out.push_str(
        "The examples are spread over several lines for reading; on the wire each is one line.\n",
    );
    for kind in kinds {
        section(&mut out, kind, schemas.get(kind));
    }
    out
}

fn section(out: &mut String, kind: &str, schema: &Value) {
    let words = format!("{} [Schema](events/{kind}.json).", text(schema));
    let _ = write!(out, "\n### `{kind}`\n\n{}\n\n", wrapped(&words));
    out.push_str("| field of `data` | type | | |\n|---|---|---|---|\n");
    let data = &schema["properties"]["data"];
    for (name, is_required) in fields(data) {
        let field = &data["properties"][name];
        let present = if is_required { "always" } else { "where there is one" };
        let _ = writeln!(out, "| `{name}` | {} | {present} | {} |", kind_of(field), text(field));
    }
    for example in schema["examples"].as_array().into_iter().flatten() {
        let _ = write!(out, "\n```json\n{example:#}\n```\n");
    }
}

fn text(schema: &Value) -> &str {
    schema["description"].as_str().unwrap_or_default()
}

/// Names of the fields and whether each is required: those first, in the order they are listed.
fn fields(data: &Value) -> Vec<(&str, bool)> {
    let required: Vec<&str> =
        data["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let all = data["properties"].as_object().into_iter().flatten().map(|(name, _)| name.as_str());
    let optional: Vec<_> = all.filter(|name| !required.contains(name)).collect();
    let required = required.into_iter().map(|name| (name, true));
    required.chain(optional.into_iter().map(|name| (name, false))).collect()
}

/// A field's type, or its values where they are listed.
fn kind_of(field: &Value) -> String {
    let values = field["enum"].as_array().map_or(&[][..], Vec::as_slice);
    let values: Vec<String> = values
        .iter()
        .chain(field.get("const"))
        .filter_map(|value| Some(format!("`{}`", value.as_str()?)))
        .collect();
    match values.as_slice() {
        [] => field["type"].as_str().unwrap_or("any").to_owned(),
        some => some.join(", "),
    }
}

fn wrapped(text: &str) -> String {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.is_empty() => line.push_str(word),
            Some(line) if line.chars().count() + 1 + word.chars().count() <= WIDTH => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines.join("\n")
}
