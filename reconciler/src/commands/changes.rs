//! What a dry run would change, printed change by change: there may be more of them than memory
//! takes.

use std::collections::BTreeMap;
use std::io::{self, Write};

use serde_json::{Value, json};
use service::stdout;

use crate::mask;
use crate::store::Change;

/// The tables of changes that are not of rows that other systems read.
const BESIDE: [&str; 2] = ["pay.ledger_posting", "pay.discrepancy"];

/// Changes that are being printed.
#[derive(Debug)]
pub(crate) struct Changes {
    json: bool,
    count: u64,
    rows: u64,
}

impl Changes {
    /// Begins to print.
    pub(crate) fn begin(json: bool) -> io::Result<Self> {
        if json {
            stdout::print(|out| write!(out, "{{\"changes\":["))?;
        }
        Ok(Self { json, count: 0, rows: 0 })
    }

    /// Prints one. Personal data in it is masked.
    pub(crate) fn tell(&mut self, change: &Change) -> io::Result<()> {
        stdout::print(|out| {
            if !self.json {
                return tell_change(out, change);
            }
            let comma = if self.count > 0 { "," } else { "" };
            write!(out, "{comma}{}", change_json(change))
        })?;
        self.count += 1;
        self.rows += u64::from(!BESIDE.contains(&change.table.as_str()));
        Ok(())
    }

    /// How many rows were told of; balances and discrepancies do not count.
    pub(crate) fn rows(&self) -> u64 {
        self.rows
    }

    /// Prints what else there is to say: the members of an object, or text before the last line.
    pub(crate) fn end(
        self,
        mut document: Value,
        text: impl FnOnce(&mut io::StdoutLock<'_>) -> io::Result<()>,
    ) -> io::Result<()> {
        stdout::print(|out| {
            if self.json {
                document["dry_run"] = true.into();
                // The document is an object and has members: its brace gives way to the changes.
                let document = document.to_string();
                return writeln!(out, "],{}", document.trim_start_matches('{'));
            }
            text(out)?;
            let count = self.count;
            writeln!(out, "rows and balances that would change: {count}; nothing was changed")
        })
    }
}

/// A change with personal data masked, as in the key's own document.
fn masked(change: &Change) -> BTreeMap<&str, [Value; 2]> {
    let hide = |name: &str, value: &Value| mask::document(&json!({ name: value }))[name].clone();
    let columns = change.columns.iter();
    columns
        .map(|(name, [before, after])| (name.as_str(), [hide(name, before), hide(name, after)]))
        .collect()
}

/// A change as JSON.
pub(crate) fn change_json(change: &Change) -> Value {
    let Change { table, id, kind, .. } = change;
    json!({"table": table, "id": id, "change": kind, "columns": masked(change)})
}

/// A change as text.
pub(crate) fn tell_change(out: &mut impl Write, change: &Change) -> io::Result<()> {
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
