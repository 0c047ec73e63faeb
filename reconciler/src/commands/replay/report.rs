//! What a replay came to, for people and programs.

use std::collections::BTreeMap;
use std::io::Write;

use serde_json::json;
use service::stdout;

use crate::store::replay::Counts;

/// Prints what was done, all runs of the operation together.
pub(super) fn print(
    operation: i64,
    counts: &Counts,
    is_done: bool,
    json: bool,
) -> anyhow::Result<()> {
    stdout::print(|out| {
        if json {
            let mut document = json!(counts);
            document["operation"] = operation.into();
            document["done"] = is_done.into();
            return writeln!(out, "{document}");
        }
        tell(out, counts)?;
        writeln!(out, "operation {operation}")
    })?;
    Ok(())
}

/// Writes what was done, or would be.
pub(super) fn tell(out: &mut impl Write, counts: &Counts) -> std::io::Result<()> {
    writeln!(out, "{} read, {} skipped by the filter", counts.read, counts.skipped)?;
    if counts.erased > 0 {
        writeln!(out, "{} are erased from the archive", counts.erased)?;
    }
    writeln!(out, "{}", listed(&counts.verdicts, "nothing to apply"))?;
    writeln!(out, "rows changed: {}", counts.rows_changed)?;
    let (facts, queued) = (counts.facts_new, counts.domain_events_queued);
    writeln!(out, "facts new: {facts}, domain events queued: {queued}")?;
    if !counts.quarantined.is_empty() {
        writeln!(out, "quarantined: {}", listed(&counts.quarantined, ""))?;
    }
    Ok(())
}

fn listed(counts: &BTreeMap<String, u64>, none: &str) -> String {
    if counts.is_empty() {
        return none.to_owned();
    }
    let each = counts.iter().map(|(name, count)| format!("{count} {name}"));
    each.collect::<Vec<_>>().join(", ")
}
