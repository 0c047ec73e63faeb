//! `reconciler quarantine redrive`: puts records through the current decoding and applying.

use anyhow::{Context as _, bail};
use clap::builder::PossibleValuesParser;
use clap::{ArgGroup, Args};
use domain::event::{Reason, decode};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;
use service::exit::{ConfigError, Outcome};
use sqlx::PgPool;

use super::kept::{self, Key};
use super::place::Place;
use crate::cli::Read;
use crate::commands::changes::Changes;
use crate::config::{self, Livemode, Project, Sinks};
use crate::database;
use crate::fault::{Backoff, Decision, Fault, note};
use crate::isolate::{Search, set_aside};
use crate::operation::{self, Operator};
use crate::store::{Applied, Forecast, Item, Store, Totals};

mod report;

use report::Report;

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
    /// Change nothing; say which rows and balances would change and how
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
    #[command(flatten)]
    forecast: config::Forecast,
}

/// Redrives; exit code 3 when something stays.
pub(crate) async fn run(arguments: &Arguments) -> anyhow::Result<Outcome> {
    let pool = database::pool(&arguments.read.database.url()?, "quarantine", CONNECTIONS)?;
    let keys = arguments.keys(&pool).await?;
    if arguments.dry_run {
        let store = arguments.store(&pool, keys.first().map_or(("", ""), Key::log))?;
        let forecast = Forecast::begin(&store, arguments.forecast.limits()).await?;
        let way = Way::Forecast(Box::new(forecast));
        let mut run = Redrive { arguments, pool: &pool, way, report: Report::default() };
        run.all(&keys).await?;
        return run.tell().await;
    }
    if keys.is_empty() {
        return Report::default().print(None, arguments.read.json);
    }
    let asked = arguments.asked();
    operation::record(&pool, &arguments.by, "quarantine redrive", asked, async |operation| {
        let (way, report) = (Way::Redrive(operation), Report::default());
        let mut run = Redrive { arguments, pool: &pool, way, report };
        run.all(&keys).await?;
        let outcome = run.report.print(Some(operation), arguments.read.json)?;
        Ok((outcome, run.report.summary()))
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

    /// The projection of this topic, by the given settings.
    fn store(&self, pool: &PgPool, log: (&str, &str)) -> Result<Store, ConfigError> {
        let settings = self.project.settings(self.livemode)?;
        Ok(Store::of_log(pool.clone(), settings, self.sinks.chosen(), log))
    }

    fn asked(&self) -> serde_json::Value {
        let positions: Vec<String> = self.positions.iter().map(ToString::to_string).collect();
        json!({"positions": positions, "all": self.all, "reason": self.reason})
    }
}

/// For good, by this operation, or to see what it would change.
enum Way {
    Redrive(i64),
    Forecast(Box<Forecast>),
}

/// A redrive under way.
struct Redrive<'a> {
    arguments: &'a Arguments,
    pool: &'a PgPool,
    way: Way,
    report: Report,
}

impl Redrive<'_> {
    async fn all(&mut self, keys: &[Key]) -> anyhow::Result<()> {
        let style = ProgressStyle::with_template("{bar:40} {pos}/{len} records, {eta} left")?;
        let progress = ProgressBar::new(keys.len() as u64).with_style(style);
        let limit = self.arguments.project.batch();
        for page in pages(keys, limit.records, limit.bytes) {
            self.page(page).await?;
            progress.inc(page.len() as u64);
        }
        progress.finish_and_clear();
        Ok(())
    }

    async fn page(&mut self, keys: &[Key]) -> anyhow::Result<()> {
        let Some(first) = keys.first() else { return Ok(()) };
        let store = self.arguments.store(self.pool, first.log())?;
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

    /// Applies what was understood. Returns what Postgres refuses.
    async fn apply(&mut self, store: &Store, mut items: Vec<Item>) -> anyhow::Result<Vec<Item>> {
        let mut search = Search::of(items.len());
        while let Some(part) = search.next() {
            match self.patiently(store, &items[part.clone()]).await {
                Ok(applied) => self.report.applied(part.len(), &applied),
                Err(fault) if fault.decision == Decision::Isolate => search.refused(part, fault),
                Err(fault) => return Err(fault).context("redriving"),
            }
        }
        let refused = search.found().into_iter().map(|(index, fault)| {
            set_aside(&mut items[index], &fault);
            items[index].clone()
        });
        Ok(refused.collect())
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

    /// Whether the same again can help. A forecast that has lost its snapshot is over.
    fn may_pass(&self, fault: &Fault) -> bool {
        matches!(self.way, Way::Redrive(_)) && fault.decision.is_transient()
    }

    async fn once(&mut self, store: &Store, items: &[Item]) -> Result<Applied, Fault> {
        match &mut self.way {
            Way::Redrive(operation) => store.redrive(items, *operation).await,
            Way::Forecast(forecast) => forecast.add(items).await,
        }
    }

    /// Tells what a forecast came to.
    async fn tell(self) -> anyhow::Result<Outcome> {
        let mut changes = Changes::begin(self.arguments.read.json)?;
        let totals = match self.way {
            Way::Redrive(_) => Totals::default(),
            Way::Forecast(forecast) => {
                forecast.end(|change| Ok::<_, anyhow::Error>(changes.tell(&change)?)).await?
            }
        };
        self.report.print_forecast(changes, &totals)
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
