//! What a redrive came to, for people and programs.

use std::collections::BTreeMap;
use std::io::Write;

use serde_json::{Value, json};
use service::exit::Outcome;
use service::stdout;

use crate::commands::changes::Changes;
use crate::store::{Applied, Item, Totals};

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

    /// Prints what would be done, behind the changes.
    pub(super) fn print_forecast(
        mut self,
        changes: Changes,
        totals: &Totals,
    ) -> anyhow::Result<Outcome> {
        self.queued = totals.domain_events;
        let mut document = self.summary();
        document["failures"] = self.failures.clone().into();
        changes.end(document, |out| {
            self.tell(out, ["would be redriven", "would be queued", "would stay"])
        })?;
        Ok(self.outcome())
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
