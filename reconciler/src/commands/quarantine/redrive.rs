//! `reconciler quarantine redrive`: puts records through the current decoding and applying.

use std::collections::BTreeSet;

use anyhow::{Context as _, bail};
use clap::builder::PossibleValuesParser;
use clap::{ArgGroup, Args};
use domain::event::{Reason, Rejected, decode};
use domain::settings::Settings;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;
use service::exit::{ConfigError, Outcome};
use sqlx::PgPool;

use super::kept::{self, Key};
use super::place::Place;
use crate::cli::Read;
use crate::config::{Livemode, Project, Sinks};
use crate::database;
use crate::fault::{Backoff, Decision, Fault, note};
use crate::feed::BatchLimit;
use crate::operation::{self, Operator};
use crate::sink::Sink;
use crate::store::{Applied, Change, Item, Rehearsal, Store};

mod report;

use report::Report;

/// Most records of one dry run: until its end it holds its locks, and live records wait for them.
const MAX_REHEARSED: usize = 1000;
/// How often a transaction is tried that meets a fault which may pass.
const MAX_ATTEMPTS: u32 = 6;
/// Connections: one at work, one to read beside it.
const CONNECTIONS: u32 = 2;

#[derive(Debug, Args)]
#[command(group(ArgGroup::new("which").required(true).args(["positions", "all", "reason"])))]
pub(crate) struct Arguments {
    /// The records: PARTITION:OFFSET, or ids of events; a discarded one too
    #[arg(value_name = "POSITION")]
    positions: Vec<Place>,
    /// Every open record
    #[arg(long)]
    all: bool,
    /// Every open record with this reason
    #[arg(long, value_parser = PossibleValuesParser::new(Reason::ALL.map(Reason::as_str)))]
    reason: Option<String>,
    /// Change nothing; say which rows would change and how. At most 1000 records
    #[arg(long)]
    dry_run: bool,
    /// Which events count, as for `reconciler run`
    #[arg(long, env, value_enum)]
    livemode: Livemode,
    #[command(flatten)]
    by: Operator,
    #[command(flatten)]
    read: Read,
    #[command(flatten)]
    project: Project,
    #[command(flatten)]
    sinks: Sinks,
}

/// Redrives; exit code 3 when something stays.
pub(crate) async fn run(arguments: &Arguments) -> anyhow::Result<Outcome> {
    let pool = database::pool(&arguments.read.database.url()?, "quarantine", CONNECTIONS)?;
    let mut keys = arguments.keys(&pool).await?;
    if arguments.dry_run {
        let left = keys.len().saturating_sub(MAX_REHEARSED);
        keys.truncate(MAX_REHEARSED);
        let way = Way::Rehearse(Rehearsal::begin(&pool).await?);
        let mut run = Redrive::new(arguments, &pool, way)?;
        run.all(&keys).await?;
        let (report, changes) = run.end().await?;
        return report.print_rehearsal(&changes, left, arguments.read.json);
    }
    if keys.is_empty() {
        return Report::default().print(None, arguments.read.json);
    }
    let asked = arguments.asked();
    operation::record(&pool, &arguments.by, "quarantine redrive", asked, async |operation| {
        let mut run = Redrive::new(arguments, &pool, Way::Redrive(operation))?;
        run.all(&keys).await?;
        let (report, _) = run.end().await?;
        let outcome = report.print(Some(operation), arguments.read.json)?;
        Ok((outcome, report.summary()))
    })
    .await
}

impl Arguments {
    async fn keys(&self, pool: &PgPool) -> anyhow::Result<Vec<Key>> {
        let mut connection = database::acquire(pool).await?;
        if self.positions.is_empty() {
            return Ok(kept::open(&mut connection, self.reason.as_deref()).await?);
        }
        let keys = kept::find(&mut connection, &self.positions).await?;
        match keys.iter().find(|key| key.state == "redriven") {
            Some(key) => bail!("{} is redriven already; nothing was done", key.position()),
            None => Ok(keys),
        }
    }

    fn asked(&self) -> serde_json::Value {
        let positions: Vec<String> = self.positions.iter().map(ToString::to_string).collect();
        json!({"positions": positions, "all": self.all, "reason": self.reason})
    }
}

/// For good, by this operation, or to see what it would change.
enum Way {
    Redrive(i64),
    Rehearse(Rehearsal),
}

/// A redrive under way.
struct Redrive<'a> {
    pool: &'a PgPool,
    settings: Settings,
    sinks: BTreeSet<Sink>,
    limit: BatchLimit,
    way: Way,
    report: Report,
}

impl<'a> Redrive<'a> {
    fn new(arguments: &Arguments, pool: &'a PgPool, way: Way) -> Result<Self, ConfigError> {
        Ok(Self {
            pool,
            settings: arguments.project.settings(arguments.livemode)?,
            sinks: arguments.sinks.chosen(),
            limit: arguments.project.batch(),
            way,
            report: Report::default(),
        })
    }

    async fn all(&mut self, keys: &[Key]) -> anyhow::Result<()> {
        let style = ProgressStyle::with_template("{bar:40} {pos}/{len} records, {eta} left")?;
        let progress = ProgressBar::new(keys.len() as u64).with_style(style);
        for page in pages(keys, self.limit.records, self.limit.bytes) {
            self.page(page).await?;
            progress.inc(page.len() as u64);
        }
        progress.finish_and_clear();
        Ok(())
    }

    async fn page(&mut self, keys: &[Key]) -> anyhow::Result<()> {
        let Some(first) = keys.first() else { return Ok(()) };
        let (settings, sinks) = (self.settings.clone(), self.sinks.clone());
        let store = Store::of_log(self.pool.clone(), settings, sinks, first.log());
        let records = {
            let mut connection = database::acquire(self.pool).await?;
            kept::load(&mut connection, keys).await?
        };
        let items = records.into_iter().map(|kept| Item {
            outcome: decode(&kept.record, store.settings()),
            record: kept.record,
        });
        let (understood, mut rejected): (Vec<Item>, Vec<Item>) =
            items.partition(|item| item.outcome.is_ok());
        rejected.extend(self.apply(&store, understood).await?);
        self.reject(&store, rejected).await
    }

    /// Applies what was understood. Returns what Postgres refuses, one by one.
    async fn apply(&mut self, store: &Store, items: Vec<Item>) -> anyhow::Result<Vec<Item>> {
        match self.patiently(store, &items).await {
            Ok(applied) => {
                self.report.applied(items.len(), &applied);
                return Ok(Vec::new());
            }
            Err(fault) if fault.decision == Decision::Isolate => {}
            Err(fault) => return Err(fault).context("redriving"),
        }
        let mut refused = Vec::new();
        for item in items {
            match self.patiently(store, std::slice::from_ref(&item)).await {
                Ok(applied) => self.report.applied(1, &applied),
                Err(fault) if fault.decision == Decision::Isolate => {
                    let event = item.outcome.ok().map(|decoded| Box::new(decoded.event));
                    let detail = fault.to_string();
                    let outcome = Err(Rejected { reason: Reason::DatabaseRefused, detail, event });
                    refused.push(Item { outcome, ..item });
                }
                Err(fault) => return Err(fault).context("redriving"),
            }
        }
        Ok(refused)
    }

    /// Notes the new reasons of what was not understood or is refused.
    async fn reject(&mut self, store: &Store, mut items: Vec<Item>) -> anyhow::Result<()> {
        self.report.rejected(&items);
        let mut noted = self.patiently(store, &items).await;
        if noted.as_ref().is_err_and(|fault| fault.decision == Decision::Isolate) {
            // Even an envelope may be what Postgres refuses: then without them.
            for rejected in items.iter_mut().filter_map(|item| item.outcome.as_mut().err()) {
                rejected.event = None;
            }
            noted = self.patiently(store, &items).await;
        }
        noted.map(drop).context("keeping the new reasons")
    }

    /// One transaction, tried again while its fault may pass.
    async fn patiently(&mut self, store: &Store, items: &[Item]) -> Result<Applied, Fault> {
        if items.is_empty() {
            return Ok(Applied::default());
        }
        let mut backoff = Backoff::default();
        for _ in 1..MAX_ATTEMPTS {
            match self.once(store, items).await {
                Err(fault) if self.may_pass(&fault) => {
                    let delay = backoff.delay();
                    note("redrive", &fault, delay);
                    tokio::time::sleep(delay).await;
                }
                done => return done,
            }
        }
        self.once(store, items).await
    }

    /// Whether the same again can help. A rehearsal whose connection is gone has lost its past.
    fn may_pass(&self, fault: &Fault) -> bool {
        match self.way {
            Way::Redrive(_) => fault.decision.is_transient(),
            Way::Rehearse(_) => fault.decision == Decision::Retry,
        }
    }

    async fn once(&mut self, store: &Store, items: &[Item]) -> Result<Applied, Fault> {
        match &mut self.way {
            Way::Redrive(operation) => store.redrive(items, *operation).await,
            Way::Rehearse(rehearsal) => rehearsal.apply(store, items).await,
        }
    }

    async fn end(self) -> Result<(Report, Vec<Change>), Fault> {
        let changes = match self.way {
            Way::Redrive(_) => Vec::new(),
            Way::Rehearse(rehearsal) => rehearsal.end().await?,
        };
        Ok((self.report, changes))
    }
}

/// Neighbours of one topic, within these limits; one record always fits.
fn pages(keys: &[Key], records: usize, bytes: usize) -> impl Iterator<Item = &[Key]> {
    let mut rest = keys;
    std::iter::from_fn(move || {
        let first = rest.first()?;
        let mut size = 0;
        let fits = |(index, key): &(usize, &Key)| {
            size += key.bytes;
            *index == 0 || (*index < records && size <= bytes && key.log() == first.log())
        };
        let count = rest.iter().enumerate().take_while(fits).count();
        let (page, others) = rest.split_at(count);
        rest = others;
        Some(page)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_of_one_topic_and_within_their_limits() {
        let key = |topic: &str, bytes| Key {
            cluster: "c".into(),
            topic_id: topic.into(),
            partition: 0,
            offset: 0,
            state: "open".into(),
            bytes,
        };
        let keys =
            [key("a", 10), key("a", 10), key("a", 10), key("a", 99), key("b", 1), key("b", 1)];
        let sizes: Vec<usize> = pages(&keys, 2, 50).map(<[Key]>::len).collect();
        assert_eq!(sizes, [2, 1, 1, 2]);
        assert_eq!(pages(&[], 2, 50).count(), 0);
    }
}
