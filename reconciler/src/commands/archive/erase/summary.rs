//! What was erased, and what still speaks of it.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;

use domain::archive::Finding;
use indicatif::ProgressBar;
use serde_json::{Value, json};
use service::exit::Outcome;
use service::stdout;
use sqlx::PgPool;

use super::postgres::{self, Spoken};
use super::segment::Segment;

/// Places, keys and ids that are kept to be told; all are counted.
const TOLD: usize = 1000;

pub(super) struct Summary {
    url: String,
    /// None of a dry run.
    operation: Option<i64>,
    segments: usize,
    records: usize,
    rewritten: usize,
    erased: usize,
    erased_before: usize,
    places: Vec<String>,
    events: BTreeSet<String>,
    objects: BTreeSet<String>,
    versions_deleted: usize,
    /// Segments whose older versions may still be there, and why.
    versions_kept: Vec<(String, String)>,
    damage: Option<String>,
    /// First offset of each partition that has no manifest yet.
    reached: BTreeMap<i32, i64>,
    elsewhere: Vec<Spoken>,
    progress: ProgressBar,
}

impl Summary {
    pub(super) fn new(url: &str, operation: Option<i64>) -> Self {
        Self {
            url: url.to_owned(),
            operation,
            segments: 0,
            records: 0,
            rewritten: 0,
            erased: 0,
            erased_before: 0,
            places: Vec::new(),
            events: BTreeSet::new(),
            objects: BTreeSet::new(),
            versions_deleted: 0,
            versions_kept: Vec::new(),
            damage: None,
            reached: BTreeMap::new(),
            elsewhere: Vec::new(),
            progress: ProgressBar::new_spinner(),
        }
    }

    pub(super) fn add(&mut self, segment: Segment) {
        self.segments += 1;
        self.records += segment.records;
        if let Some(damage) = segment.damage {
            self.damage(&damage);
            return;
        }
        self.rewritten += usize::from(!segment.erased.is_empty());
        self.erased += segment.erased.len();
        self.erased_before += segment.tombstones;
        let room = TOLD.saturating_sub(self.places.len());
        let partition = segment.partition;
        self.places.extend(segment.erased.iter().take(room).map(|it| format!("{partition}:{it}")));
        for (kept, new) in
            [(&mut self.events, segment.events), (&mut self.objects, segment.objects)]
        {
            kept.extend(new.into_iter().take(TOLD.saturating_sub(kept.len())));
        }
        self.versions_deleted += segment.forgotten.deleted;
        if let Some(why) = segment.forgotten.refused {
            self.versions_kept.push((segment.key, why));
        }
        self.progress.set_message(format!(
            "{} segments, {} records read; {} erased",
            self.segments, self.records, self.erased
        ));
        self.progress.tick();
    }

    pub(super) fn damage(&mut self, damage: &Finding) {
        self.damage.get_or_insert_with(|| damage.to_string());
    }

    pub(super) fn reach(&mut self, partition: i32, next_offset: i64) {
        self.reached.insert(partition, next_offset);
    }

    pub(super) fn damaged(&self) -> Option<&str> {
        self.damage.as_deref()
    }

    /// Looks where Postgres speaks of the same events and objects.
    pub(super) async fn find_elsewhere(
        &mut self,
        pool: &PgPool,
        events: &[String],
        objects: &[String],
    ) -> sqlx::Result<()> {
        let all = |found: &BTreeSet<String>, asked: &[String]| -> Vec<String> {
            found.iter().chain(asked).cloned().collect()
        };
        let (events, objects) = (all(&self.events, events), all(&self.objects, objects));
        let mut connection = pool.acquire().await?;
        self.elsewhere = postgres::rows(&mut connection, &events, &objects).await?;
        Ok(())
    }

    pub(super) fn document(&self) -> Value {
        let elsewhere = |it: &Spoken| json!({"table": it.table, "rows": it.rows, "ids": it.ids});
        let kept = |(key, why): &(String, String)| json!({"key": key, "why": why});
        json!({
            "archive": self.url,
            "operation": self.operation,
            "dry_run": self.operation.is_none(),
            "segments": self.segments,
            "records": self.records,
            "segments_rewritten": self.rewritten,
            "erased": self.erased,
            "erased_before": self.erased_before,
            "positions": self.places,
            "versions_deleted": self.versions_deleted,
            "versions_kept": self.versions_kept.iter().map(kept).collect::<Vec<_>>(),
            "looked_before": self.reached,
            "damage": self.damage,
            "elsewhere": self.elsewhere.iter().map(elsewhere).collect::<Vec<_>>(),
        })
    }

    pub(super) fn print(&self, json: bool) -> std::io::Result<Outcome> {
        self.progress.finish_and_clear();
        stdout::print(|out| {
            if json {
                return writeln!(out, "{}", self.document());
            }
            let are = if self.operation.is_some() { "are" } else { "would be" };
            let Self { url, segments, records, erased, rewritten, erased_before, .. } = self;
            writeln!(
                out,
                "{url}\n{segments} segments with {records} records were read; {erased} records {are} \
                 erased in {rewritten} of them, {erased_before} were before"
            )?;
            for place in &self.places {
                writeln!(out, "erase {place}")?;
            }
            if self.erased > self.places.len() {
                writeln!(out, "and {} more", self.erased - self.places.len())?;
            }
            if self.operation.is_some() {
                writeln!(out, "{} older versions of segments deleted", self.versions_deleted)?;
            }
            for (key, why) in &self.versions_kept {
                writeln!(out, "older versions may still be there: {key}: {why}")?;
            }
            for (partition, next) in &self.reached {
                writeln!(out, "partition {partition}: looked at what is before offset {next}")?;
            }
            for Spoken { table, rows, ids } in &self.elsewhere {
                writeln!(out, "still in Postgres: {table}, {rows} rows: {}", ids.join(", "))?;
            }
            writeln!(out, "the topic keeps its records until its retention ends")?;
            match self.operation {
                Some(operation) => writeln!(out, "operation {operation}"),
                None => writeln!(out, "nothing was changed"),
            }
        })?;
        Ok(if self.versions_kept.is_empty() { Outcome::Done } else { Outcome::Found })
    }
}
