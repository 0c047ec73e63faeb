//! How a change is told, with personal data masked.

use std::collections::BTreeMap;
use std::io::{self, Write};

use serde_json::{Value, json};

use crate::mask;
use crate::store::Change;

/// As JSON.
pub(crate) fn json(change: &Change) -> Value {
    let Change { table, id, kind, .. } = change;
    json!({"table": table, "id": id, "change": kind, "columns": masked(change)})
}

/// As text.
pub(crate) fn tell(out: &mut impl Write, change: &Change) -> io::Result<()> {
    let show = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    writeln!(out, "{} {} {}", change.kind, change.table, change.id)?;
    for (name, [before, after]) in masked(change) {
        let said = match change.kind {
            "new" => show(&after),
            "gone" => show(&before),
            _ => format!("{} → {}", show(&before), show(&after)),
        };
        writeln!(out, "  {name:<16} {said}")?;
    }
    Ok(())
}

/// The columns with personal data masked, as in the key's own document.
fn masked(change: &Change) -> BTreeMap<&str, [Value; 2]> {
    let hide = |name: &str, value: &Value| mask::document(&json!({ name: value }))[name].clone();
    let columns = change.columns.iter();
    columns
        .map(|(name, [before, after])| (name.as_str(), [hide(name, before), hide(name, after)]))
        .collect()
}
