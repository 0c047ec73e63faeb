//! Building the state again, from the log alone, in a database beside the live one, and comparing.
//!
//! State is a function of the log and of a few inputs, so both must come to the same. First the bulk
//! is applied, pass by pass, while the live database goes on. When little is left, one snapshot of
//! the live database is taken: its positions, its inputs and its hash are of one moment, and exactly
//! the records below those positions are applied before the two are compared. So a snapshot is open
//! for the last stretch only, and row by row differences are of that same moment.

mod apply;
mod compare;
mod inputs;
mod picture;
mod plan;
mod route;
mod target;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use indicatif::ProgressBar;
use serde_json::json;
use sqlx::postgres::PgConnectOptions;
use sqlx::{Connection as _, PgConnection, PgPool, Postgres, Transaction};
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use self::apply::{Applier, Found, Sources, Way};
pub(crate) use self::compare::Comparison;
use self::picture::{LogId, Picture};
pub(crate) use self::target::Target;
use crate::fault::insist;
use crate::feed::BatchLimit;
use crate::operation::{self, Operator};
use crate::s3::Bucket;
use crate::source::archive::{Ahead, Archive};
use crate::source::topic::Log;
use crate::store::Store;

/// The name in logs and metrics.
const ROLE: &str = "rebuild";
/// A snapshot of the live database is kept open for the last stretch only, of at most so many records.
const LAST_STRETCH: u64 = 20_000;
/// After so many passes the snapshot is taken however much is left: the live database is faster.
const MAX_PASSES: u32 = 20;
/// How long the live database is waited for to take its inputs into account.
const MAX_WAIT: Duration = Duration::from_mins(1);
/// How often it is looked at meanwhile.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// How often deriving again is tried that meets a fault which may pass.
const MAX_ATTEMPTS: u32 = 15;

/// Where the records are.
pub(crate) struct Records {
    /// The archive, and the prefix of its keys.
    pub(crate) archive: Option<(Bucket, String)>,
    pub(crate) log: Option<Log>,
    pub(crate) ahead: Ahead,
}

/// How it is done.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) projection: domain::settings::Settings,
    pub(crate) batch: BatchLimit,
    /// Transactions at the same time.
    pub(crate) workers: u32,
    /// Most rows whose differences are told.
    pub(crate) differences: usize,
    /// Whether records that nobody has any more are passed over.
    pub(crate) allow_gaps: bool,
}

/// A rebuild under way.
pub(crate) struct Rebuild<'a> {
    live: PgConnectOptions,
    target: &'a Target,
    sources: Sources,
    settings: Settings,
    pool: PgPool,
    progress: ProgressBar,
    found: Arc<Found>,
    stop: CancellationToken,
}

/// What it came to.
#[derive(Debug)]
pub(crate) struct Rebuilt {
    pub(crate) comparison: Comparison,
    /// Records that this run applied.
    pub(crate) records: u64,
    /// Records that were erased from the archive: what they said is missing.
    pub(crate) erased: u64,
    pub(crate) took: Duration,
    /// What was passed over.
    pub(crate) gaps: Vec<String>,
    /// In the live database: open records in quarantine, records given up, and inputs that PostgreSQL
    /// has refused, which may explain a difference.
    pub(crate) open: i64,
    pub(crate) given_up: usize,
    pub(crate) refused: i64,
}

impl<'a> Rebuild<'a> {
    pub(crate) fn new(
        live: PgConnectOptions,
        target: &'a Target,
        records: Records,
        settings: Settings,
        progress: ProgressBar,
        stop: CancellationToken,
    ) -> Self {
        let (bucket, prefix) = records.archive.unzip();
        let prefix = prefix.unwrap_or_default();
        let archive = bucket.map(|bucket| Arc::new(Archive::new(bucket, &prefix)));
        let sources = Sources {
            archive,
            prefix: prefix.trim_matches('/').to_owned(),
            log: records.log.map(Arc::new),
            ahead: records.ahead,
        };
        // One beside the workers', for deriving again.
        let pool = target.pool(settings.workers + 1);
        let found = Arc::default();
        Self { live, target, sources, settings, pool, progress, found, stop }
    }

    /// Rebuilds and compares. Nothing if it was stopped; then it can go on where it was.
    pub(crate) async fn run(&self, by: &Operator) -> anyhow::Result<Option<Rebuilt>> {
        let started = Instant::now();
        self.target.migrate().await?;
        let mut target = self.target.connect().await?;
        let operation = operation::begin(&mut target, by, target::COMMAND, json!({})).await?;
        let done = self.passes(&mut target, operation).await;
        self.pool.close().await;
        let outcome = match &done {
            Ok(Some(rebuilt)) if rebuilt.comparison.is_equal() => "done",
            Ok(Some(_)) => "found",
            Ok(None) | Err(_) => "failed",
        };
        let summary = json!({"records": self.found.records()});
        operation::end(&mut target, operation, outcome, summary).await?;
        target.close().await?;
        Ok(done?.map(|rebuilt| Rebuilt { took: started.elapsed(), ..rebuilt }))
    }

    async fn passes(
        &self,
        target: &mut PgConnection,
        operation: i64,
    ) -> anyhow::Result<Option<Rebuilt>> {
        let mut live = PgConnection::connect_with(&self.live)
            .await
            .context("connecting to the live database")?;
        let (mut passes, mut patience) = (0, None);
        loop {
            let mut snapshot = snapshot(&mut live).await?;
            let picture = Picture::read(&mut snapshot).await?;
            let reached = picture::positions(target).await?;
            plan::check_ahead(&picture.positions, &reached)?;
            let planned = plan::ways(&self.sources, &mut snapshot, &picture, &reached).await?;
            let ways = self.accept(planned)?;
            inputs::copy(&mut snapshot, target).await?;
            let left = ways.iter().flat_map(|way| &way.legs).map(|leg| leg.span().count()).sum();
            passes += 1;
            let is_last = left <= LAST_STRETCH || passes >= MAX_PASSES;
            let compares = is_last && picture.waiting == 0;
            let (waiting, refused, open) = (picture.waiting, picture.refused, picture.open);
            let given_up = picture.given_up.len();
            if !compares {
                snapshot.rollback().await?;
                let applied = self.apply(picture, ways, left).await;
                if self.stop.is_cancelled() {
                    return Ok(None);
                }
                applied?;
                if is_last {
                    let since = *patience.get_or_insert_with(Instant::now);
                    if since.elapsed() > MAX_WAIT {
                        bail!(
                            "{waiting} quotes or providers wait to be taken into account \
                             (pay.rederive), so nothing can be compared; does the role project run?"
                        );
                    }
                    self.stop.run_until_cancelled(tokio::time::sleep(LOOK_EVERY)).await;
                }
                continue;
            }
            let applied = self.apply(picture, ways, left).await;
            if self.stop.is_cancelled() {
                return Ok(None);
            }
            applied?;
            inputs::complete(&mut snapshot, target, operation).await?;
            let comparing = compare::compare(&mut snapshot, target, self.settings.differences);
            let Some(comparison) = self.stop.run_until_cancelled(comparing).await else {
                return Ok(None);
            };
            let comparison = comparison.context("comparing")?;
            snapshot.rollback().await?;
            return Ok(Some(Rebuilt {
                comparison,
                records: self.found.records(),
                erased: self.found.erased(),
                took: Duration::ZERO,
                gaps: self.found.gaps(),
                open,
                given_up,
                refused,
            }));
        }
    }

    /// Applies what is planned, and then what hangs on inputs that changed.
    async fn apply(&self, picture: Picture, ways: Vec<Way>, left: u64) -> anyhow::Result<()> {
        let store = |id: &LogId| {
            let (pool, settings) = (self.pool.clone(), self.settings.projection.clone());
            // Nothing is told to anybody: what the facts say was told by the live database.
            let nobody = BTreeSet::new();
            Arc::new(Store::of_log(pool, settings, nobody, (&id.0, &id.1)))
        };
        let stores: BTreeMap<LogId, Arc<Store>> =
            picture.positions.keys().map(|id| (id.clone(), store(id))).collect();
        for (id, store) in &stores {
            let of_log = ways.iter().filter(|way| way.log == *id);
            store.begin(&of_log.map(|way| (way.partition, way.start)).collect()).await?;
        }
        self.progress.set_length(self.found.records() + left);
        let rederive = stores.values().next().cloned();
        let applier = Applier {
            stores,
            sources: self.sources.clone(),
            given_up: Arc::new(picture.given_up),
            limit: self.settings.batch,
            workers: Arc::new(Semaphore::new(self.settings.workers as usize)),
            progress: self.progress.clone(),
            found: self.found.clone(),
            allow_gaps: self.settings.allow_gaps,
            stop: self.stop.clone(),
        };
        applier.all(ways).await?;
        let Some(store) = rederive else { return Ok(()) };
        while !self.stop.is_cancelled()
            && insist(ROLE, MAX_ATTEMPTS, || store.rederive()).await? > 0
        {}
        Ok(())
    }

    /// Notes what nobody has any more; an error, unless that is accepted.
    fn accept(&self, ways: Vec<Way>) -> anyhow::Result<Vec<Way>> {
        let gaps = plan::gaps(&ways);
        if !gaps.is_empty() && !self.settings.allow_gaps {
            bail!("{} (--allow-gaps passes over it)", plan::complaint(&gaps, &self.sources));
        }
        for gap in gaps {
            self.found.gap(gap);
        }
        Ok(ways)
    }
}

/// One snapshot, in which nothing is written.
async fn snapshot(live: &mut PgConnection) -> anyhow::Result<Transaction<'_, Postgres>> {
    let mut tx = live.begin().await?;
    sqlx::query("set transaction isolation level repeatable read read only")
        .execute(&mut *tx)
        .await?;
    Ok(tx)
}
