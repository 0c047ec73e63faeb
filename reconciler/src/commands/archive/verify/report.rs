//! What was found, in bounded memory.

use std::collections::BTreeMap;
use std::io::{self, Write};

use domain::archive::{Finding, Hole, Manifest, Proof};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};
use service::exit::Outcome;
use service::stdout;

/// Notes and holes that are told; a chain has few.
const TOLD: usize = 1000;

/// What a partition has.
#[derive(Debug, Default)]
pub(super) struct Partition {
    number: i32,
    pub(super) segments: usize,
    pub(super) records: usize,
    pub(super) erased: usize,
    pub(super) holes: usize,
    pub(super) first_offset: Option<i64>,
    pub(super) next_offset: Option<i64>,
}

impl Partition {
    pub(super) fn new(number: i32) -> Self {
        Self { number, ..Self::default() }
    }
}

/// Webhooks by what their signatures prove.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Signatures {
    genuine: usize,
    refused: usize,
    no_secret: usize,
    unsigned: usize,
}

impl Signatures {
    pub(super) fn count(&mut self, proof: Proof) {
        *match proof {
            Proof::Genuine => &mut self.genuine,
            Proof::Refused(_) => &mut self.refused,
            Proof::NoSecret => &mut self.no_secret,
            Proof::Unsigned => &mut self.unsigned,
        } += 1;
    }

    fn add(&mut self, other: Self) {
        self.genuine += other.genuine;
        self.refused += other.refused;
        self.no_secret += other.no_secret;
        self.unsigned += other.unsigned;
    }
}

/// All that is to be told.
pub(super) struct Report {
    told: usize,
    findings: Vec<Finding>,
    counts: BTreeMap<&'static str, usize>,
    partitions: Vec<Partition>,
    signatures: Signatures,
    holes: Vec<Value>,
    notes: Vec<String>,
    not_checked: Vec<String>,
    progress: ProgressBar,
}

impl Report {
    /// Tells no more findings than this; all are counted.
    pub(super) fn new(told: usize) -> Self {
        let progress = ProgressBar::new_spinner();
        if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} {elapsed}") {
            progress.set_style(style);
        }
        Self {
            told,
            findings: Vec::new(),
            counts: BTreeMap::new(),
            partitions: Vec::new(),
            signatures: Signatures::default(),
            holes: Vec::new(),
            notes: Vec::new(),
            not_checked: Vec::new(),
            progress,
        }
    }

    pub(super) fn found(&mut self, findings: impl IntoIterator<Item = Finding>) {
        for finding in findings {
            *self.counts.entry(finding.problem.code()).or_default() += 1;
            if self.findings.len() < self.told {
                self.findings.push(finding);
            }
        }
    }

    pub(super) fn segment(
        &mut self,
        totals: &Partition,
        signatures: Signatures,
        findings: Vec<Finding>,
    ) {
        self.signatures.add(signatures);
        self.found(findings);
        let Partition { number, segments, records, .. } = totals;
        let found = self.total();
        self.progress.set_message(format!(
            "partition {number}: {segments} segments, {records} records; findings so far: {found}"
        ));
        self.progress.tick();
    }

    pub(super) fn hole(&mut self, manifest: &Manifest, hole: &Hole) {
        if self.holes.len() < TOLD {
            self.holes.push(json!({"partition": manifest.partition, "from": manifest.first_offset,
                "to": manifest.next_offset(), "reason": hole.reason, "by": hole.by, "at": hole.at}));
        }
    }

    pub(super) fn note(&mut self, note: String) {
        if self.notes.len() < TOLD {
            self.notes.push(note);
        }
    }

    pub(super) fn not_checked(&mut self, what: &str) {
        self.not_checked.push(what.to_owned());
    }

    pub(super) fn partition(&mut self, partition: Partition) {
        self.partitions.push(partition);
    }

    fn total(&self) -> usize {
        self.counts.values().sum()
    }

    pub(super) fn outcome(&self) -> Outcome {
        if self.counts.is_empty() { Outcome::Done } else { Outcome::Found }
    }

    pub(super) fn print(&self, url: &str, json: bool) -> io::Result<()> {
        self.progress.finish_and_clear();
        stdout::print(|out| {
            if json { writeln!(out, "{}", self.document(url)) } else { self.text(url, out) }
        })
    }

    fn document(&self, url: &str) -> Value {
        let partition = |it: &Partition| {
            json!({"partition": it.number, "segments": it.segments, "records": it.records,
                "erased": it.erased, "holes": it.holes, "first_offset": it.first_offset,
                "next_offset": it.next_offset})
        };
        let finding = |it: &Finding| {
            json!({"code": it.problem.code(), "key": it.key, "offset": it.offset,
                "problem": it.problem.to_string()})
        };
        let Signatures { genuine, refused, no_secret, unsigned } = self.signatures;
        json!({
            "archive": url,
            "whole": self.counts.is_empty(),
            "partitions": self.partitions.iter().map(partition).collect::<Vec<_>>(),
            "holes": self.holes,
            "signatures": {"genuine": genuine, "refused": refused, "no_secret": no_secret,
                "unsigned": unsigned},
            "findings": self.findings.iter().map(finding).collect::<Vec<_>>(),
            "found": self.counts,
            "notes": self.notes,
            "not_checked": self.not_checked,
        })
    }

    fn text(&self, url: &str, out: &mut impl Write) -> io::Result<()> {
        writeln!(out, "{url}")?;
        let heads = ["partition", "segments", "records", "erased", "holes", "from", "to"];
        writeln!(out, "{}", row(&heads.map(str::to_owned)))?;
        for it in &self.partitions {
            let offset =
                |offset: Option<i64>| offset.map_or_else(|| "-".to_owned(), |it| it.to_string());
            let numbers = [it.segments, it.records, it.erased, it.holes].map(|it| it.to_string());
            let [segments, records, erased, holes] = numbers;
            let ends = [offset(it.first_offset), offset(it.next_offset)];
            let [from, to] = ends;
            let number = it.number.to_string();
            writeln!(out, "{}", row(&[number, segments, records, erased, holes, from, to]))?;
        }
        let Signatures { genuine, refused, no_secret, unsigned } = self.signatures;
        writeln!(
            out,
            "signatures: {genuine} genuine, {refused} not; {no_secret} not checked for want of a \
             secret, {unsigned} unsigned"
        )?;
        for hole in &self.holes {
            let text = |name: &str| hole[name].as_str().unwrap_or_default().to_owned();
            let [partition, from, to] = ["partition", "from", "to"].map(|name| &hole[name]);
            writeln!(
                out,
                "hole: partition {partition}, offsets {from} to {to}: {}; {}, {}",
                text("reason"),
                text("by"),
                text("at")
            )?;
        }
        self.notes.iter().try_for_each(|note| writeln!(out, "note: {note}"))?;
        self.not_checked.iter().try_for_each(|what| writeln!(out, "not checked: {what}"))?;
        for finding in &self.findings {
            writeln!(out, "{} {finding}", finding.problem.code())?;
        }
        let total = self.total();
        match total.saturating_sub(self.findings.len()) {
            0 => {}
            more => writeln!(out, "and {more} more (VERIFY_FINDINGS)")?,
        }
        match total {
            0 => writeln!(out, "whole"),
            1 => writeln!(out, "not whole: 1 finding"),
            _ => writeln!(out, "not whole: {total} findings"),
        }
    }
}

fn row(columns: &[String; 7]) -> String {
    let [partition, segments, records, erased, holes, from, to] = columns;
    format!("{partition:>9}{segments:>10}{records:>11}{erased:>9}{holes:>7}{from:>12}{to:>12}")
}
