//! What a redrive came to, for people and programs.

use std::collections::BTreeMap;
use std::io::Write;

use serde_json::{Value, json};
use service::exit::Outcome;
use service::stdout;

use crate::commands::change;
use crate::store::{Applied, Change, Item, Totals};

/// Most records that are told of one by one.
const MAX_FAILURES: usize = 100;

/// Counts of a redrive.
#[derive(Debug, Default)]
pub(super) struct Report {
    redriven: usize,
    verdicts: BTreeMap<&'static str, u64>,
    queued: u64,
    /// What stays, by reason.
    stays: BTreeMap<&'static str, u64>,
    failures: Vec<Value>,
}

impl Report {
    /// So many records were applied.
    pub(super) fn applied(&mut self, records: usize, applied: &Applied) {
        self.redriven += records;
        self.queued += applied.published;
        for (verdict, count) in &applied.verdicts {
            *self.verdicts.entry(verdict.as_str()).or_default() += count;
        }
    }

    /// These stay where they are.
    pub(super) fn rejected(&mut self, items: &[Item]) {
        for item in items {
            let Err(rejected) = &item.outcome else { continue };
            let reason = rejected.reason.as_str();
            *self.stays.entry(reason).or_default() += 1;
            if self.failures.len() < MAX_FAILURES {
                let position = format!("{}:{}", item.record.partition, item.record.offset);
                let detail = &rejected.detail;
                self.failures
                    .push(json!({"position": position, "reason": reason, "detail": detail}));
            }
        }
    }

    /// What is kept in `pay.operation`.
    pub(super) fn summary(&self) -> Value {
        json!({
            "redriven": self.redriven,
            "verdicts": self.verdicts,
            "domain_events_queued": self.queued,
            "stays": self.stays,
        })
    }

    fn outcome(&self) -> Outcome {
        if self.stays.is_empty() { Outcome::Done } else { Outcome::Found }
    }

    /// Prints what was done.
    pub(super) fn print(&self, operation: Option<i64>, json: bool) -> anyhow::Result<Outcome> {
        stdout::print(|out| {
            if json {
                let mut document = self.summary();
                document["operation"] = operation.into();
                document["failures"] = self.failures.clone().into();
                return writeln!(out, "{document}");
            }
            let Some(operation) = operation else { return writeln!(out, "nothing is open") };
            self.tell(out, ["redriven", "queued", "stay"])?;
            writeln!(out, "operation {operation}")
        })?;
        Ok(self.outcome())
    }

    /// Begins to print what would be done.
    pub(super) fn telling(self, json: bool) -> anyhow::Result<Telling> {
        if json {
            stdout::print(|out| write!(out, "{{\"changes\":["))?;
        }
        Ok(Telling { report: self, json, changes: 0 })
    }

    fn tell(
        &self,
        out: &mut impl Write,
        [redriven, queued, stays]: [&str; 3],
    ) -> std::io::Result<()> {
        let verdicts = self.verdicts.iter().map(|(verdict, count)| format!(", {count} {verdict}"));
        let verdicts: String = verdicts.collect();
        writeln!(out, "{} {redriven}{verdicts}", self.redriven)?;
        if self.queued > 0 {
            writeln!(out, "{} domain events {queued}", self.queued)?;
        }
        for (reason, count) in &self.stays {
            writeln!(out, "{count} {stays}: {reason}")?;
        }
        for failure in &self.failures {
            let say = |name: &str| failure[name].as_str().unwrap_or_default();
            writeln!(out, "  {}  {}  {}", say("position"), say("reason"), say("detail"))?;
        }
        let all: u64 = self.stays.values().sum();
        match all - self.failures.len() as u64 {
            0 => Ok(()),
            more => writeln!(out, "  and {more} more"),
        }
    }
}

/// What would be done, printed change by change: there may be more of them than memory takes.
pub(super) struct Telling {
    report: Report,
    json: bool,
    changes: u64,
}

impl Telling {
    /// Prints one change. Personal data in it is masked.
    pub(super) fn change(&mut self, change: &Change) -> anyhow::Result<()> {
        stdout::print(|out| {
            if !self.json {
                return change::tell(out, change);
            }
            let comma = if self.changes > 0 { "," } else { "" };
            write!(out, "{comma}{}", change::json(change))
        })?;
        self.changes += 1;
        Ok(())
    }

    /// Prints what it comes to.
    pub(super) fn end(mut self, totals: &Totals) -> anyhow::Result<Outcome> {
        self.report.queued = totals.domain_events;
        stdout::print(|out| {
            if self.json {
                let mut document = self.report.summary();
                document["dry_run"] = true.into();
                document["failures"] = self.report.failures.clone().into();
                document["refused"] = totals.refused.into();
                // The document is an object and has members: its brace gives way to the changes.
                let document = document.to_string();
                return writeln!(out, "],{}", document.trim_start_matches('{'));
            }
            self.report.tell(out, ["would be redriven", "would be queued", "would stay"])?;
            if totals.refused > 0 {
                let refused = totals.refused;
                writeln!(out, "{refused} payments or other objects would be refused; see the log")?;
            }
            let changes = self.changes;
            writeln!(out, "rows and balances that would change: {changes}; nothing was changed")
        })?;
        Ok(self.report.outcome())
    }
}
