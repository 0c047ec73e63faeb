//! `reconciler replay`: applies records of the past once more, by the code and under the locks of
//! live traffic, which has the right of way. See docs/adr/0021-replay.md.

mod arguments;
mod choice;
mod lane;
mod pace;
mod plan;
mod progress;
mod rehearse;
mod report;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use anyhow::bail;
use clap::Subcommand;
use serde_json::json;
use service::exit::{ConfigError, Outcome};
use service::signals;
use sqlx::PgPool;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use self::arguments::{ArchiveArguments, Common, TopicArguments};
use self::choice::Choice;
use self::lane::{Lane, Work};
use self::pace::Pace;
pub(crate) use self::plan::place;
use self::plan::{Plan, Source};
use self::progress::Progress;
use super::ask::{self, Unasked};
use crate::aws;
use crate::fault::{Backoff, Decision, Fault, note};
use crate::operation::{self, Stopped};
use crate::s3::Bucket;
use crate::source::archive::{Ahead, Archive};
use crate::source::filter::Moment;
use crate::source::topic::{Log, Part};
use crate::store::Store;
use crate::store::replay::{self as position, Counts};

/// Records in a transaction while live ones may wait for it.
const BATCH_BESIDE_LIVE: usize = 200;
/// How often reading starts over from the stored place after a connection to Postgres broke.
const MAX_STARTS: u32 = 20;

/// What `reconciler replay --help` ends with.
pub(crate) const EXAMPLES: &str = "\
Replaying what is there changes nothing and publishes nothing: the state is a function of the set of
records. A record that the role project has not reached yet may be replayed too; it will be a
duplicate when its turn comes. Into an empty database the archive alone brings back the whole state;
the domain events of all facts are then queued once more, with the ids that they had.

Examples:
  reconciler replay topic --from 2026-01-31T08:00:00Z            what came since
  reconciler replay topic --offset 3:1200..1300 --dry-run        what it would change
  reconciler replay archive --date 2026-01-31 --yes              one day, without a question
  reconciler replay archive --object pi_3NyUrVdctm0TMZizpqhU5zy8 one payment
  reconciler replay archive --yes                                all: restores an empty database
  reconciler replay archive --resume 7                           goes on with operation 7

Positions of the roles never move. Exit code 0 when all was applied, 3 when something went to
quarantine, 1 when it was stopped or failed: the message has the command that goes on, and
`reconciler operations` lists what was begun.";

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// From the raw topic, as far back as its log reaches
    ///
    /// Without a range: all of it. The end is fixed at the start. Reads without a consumer group.
    Topic(TopicArguments),
    /// From the archive in S3
    ///
    /// Every record is held against its manifest, and every manifest against the one before it,
    /// before anything of the segment is applied. What is damaged ends the replay and is named.
    Archive(ArchiveArguments),
}

/// Carries out the command.
pub(crate) async fn run(command: Command) -> anyhow::Result<Outcome> {
    match command {
        Command::Topic(arguments) => Box::pin(topic(arguments)).await,
        Command::Archive(arguments) => Box::pin(archive(arguments)).await,
    }
}

async fn topic(arguments: TopicArguments) -> anyhow::Result<Outcome> {
    let TopicArguments { offsets, partitions, common, kafka } = arguments;
    common.check()?;
    let mut parts = offsets;
    parts.extend(partitions.into_iter().map(|number| Part::whole(number.into())));
    let mut known = std::collections::BTreeSet::new();
    if let Some(twice) = parts.iter().find(|part| !known.insert(part.partition())) {
        let problem = format!("names partition {} twice", twice.partition());
        return Err(ConfigError::new("--offset", problem).into());
    }
    common.check_resumed(!parts.is_empty())?;
    kafka.client_config()?;
    let pool = common.pool()?;
    let log = Arc::new(Log::open(&kafka).await?);
    let plan = match common.resumed(&pool, "replay topic").await? {
        Some(asked) => {
            let source = Source::Topic(log.clone());
            if source.log() != (&asked.cluster, &asked.topic_id) {
                bail!("that operation replays another topic: its id is {}", asked.topic_id);
            }
            Plan { source, asked, ranges: Vec::new() }
        }
        None => Plan::of_topic(log.clone(), &parts, common.filter.clone()).await?,
    };
    Replay { common, plan, pool, log: Some(log) }.run().await
}

async fn archive(arguments: ArchiveArguments) -> anyhow::Result<Outcome> {
    let ArchiveArguments { date, partitions, manifest, topic_id, kafka, mut common, .. } =
        arguments;
    common.check()?;
    let is_named = date.is_some() || manifest.is_some() || !partitions.is_empty();
    common.check_resumed(is_named)?;
    aws::check().await?;
    let pool = common.pool()?;
    if let Some(day) = date {
        common.filter.from = Some(day);
        common.filter.to = Some(Moment(day.0 + 24 * 60 * 60 * 1000));
    }
    let bucket = Bucket::open(arguments.s3_bucket).await?;
    let archive = Arc::new(Archive::new(bucket, &arguments.s3_prefix));
    let ahead = Ahead::new(arguments.ahead_segments, arguments.ahead_bytes);
    let partitions: Vec<i32> = partitions.into_iter().map(i32::from).collect();
    let filter = common.filter.clone();
    let plan = match (common.resumed(&pool, "replay archive").await?, manifest) {
        (Some(asked), _) => {
            let place = plan::place(&archive, Some(&asked.topic_id)).await?;
            Plan { source: Source::Archive { archive, place, ahead }, asked, ranges: Vec::new() }
        }
        (None, Some(key)) => Plan::of_manifest(archive, ahead, &key, filter).await?,
        (None, None) => {
            let place = plan::place(&archive, topic_id.as_deref()).await?;
            Plan::of_archive(archive, place, ahead, &partitions, filter).await?
        }
    };
    let log = match &kafka.options() {
        Some(kafka) => Some(Arc::new(Log::open(kafka).await?)),
        None => None,
    };
    Replay { common, plan, pool, log }.run().await
}

/// A replay that is planned.
struct Replay {
    common: Common,
    plan: Plan,
    pool: PgPool,
    /// The live topic, where it is known.
    log: Option<Arc<Log>>,
}

impl Replay {
    async fn run(self) -> anyhow::Result<Outcome> {
        if self.common.dry_run {
            return self.rehearse().await;
        }
        if self.common.resume.is_none() {
            let at_most = self.plan.at_most();
            let unasked = Unasked {
                yes: self.common.yes,
                above: self.common.confirm_above,
                setting: "REPLAY_CONFIRM_ABOVE",
            };
            ask::whether(&format!("Apply up to {at_most} records"), at_most, unasked)?;
        }
        let stop = signals::shutdown_token()?;
        let command = self.plan.source.command();
        let (pool, by) = (self.pool.clone(), self.common.by.clone());
        if let Some(id) = self.common.resume {
            return operation::resume(&pool, &by, id, async |id| self.work(id, stop).await).await;
        }
        let asked = serde_json::to_value(&self.plan.asked)?;
        operation::record(&pool, &by, command, asked, async |id| {
            position::begin(&self.pool, id, &self.plan.ranges).await?;
            self.work(id, stop).await
        })
        .await
    }

    /// Applies all that is left, starting over from the stored place when a connection broke.
    async fn work(
        self,
        operation: i64,
        stop: CancellationToken,
    ) -> anyhow::Result<(Outcome, serde_json::Value)> {
        let json = self.common.read.json;
        let go_on = format!("reconciler {} --resume {operation}", self.plan.source.command());
        let mut backoff = Backoff::default();
        let mut starts = 1;
        loop {
            match self.attempt(operation, &stop).await {
                Err(fault) if fault.decision == Decision::Reconnect && starts < MAX_STARTS => {
                    starts += 1;
                    let delay = backoff.delay();
                    note("replay", &fault, delay);
                    // Told to stop: the next attempt ends at once.
                    stop.run_until_cancelled(tokio::time::sleep(delay)).await;
                }
                Err(fault) => bail!("{fault}; once the cause is gone, go on with `{go_on}`"),
                Ok(()) => break,
            }
        }
        let marks = position::load(&self.pool, operation).await?;
        let mut counts = Counts::default();
        for mark in &marks {
            counts.merge(&mark.counts);
        }
        let is_done = marks.iter().all(|mark| mark.range.from >= mark.range.to);
        report::print(operation, &counts, is_done, json)?;
        let mut summary = json!(counts);
        if !is_done {
            let left: i64 = marks.iter().map(|mark| mark.range.to - mark.range.from).sum();
            summary["left"] = left.into();
            return Err(Stopped { go_on, summary }.into());
        }
        summary["left"] = 0.into();
        let outcome = if counts.quarantined.is_empty() { Outcome::Done } else { Outcome::Found };
        Ok((outcome, summary))
    }

    /// Applies from the stored place on, until all is done or it is told to stop.
    async fn attempt(&self, operation: i64, stop: &CancellationToken) -> Result<(), Fault> {
        let mut marks = position::load(&self.pool, operation).await?;
        let choice = Choice::new(self.plan.asked.filter.clone(), &marks);
        marks.retain(|mark| mark.range.from < mark.range.to);
        let ranges: Vec<_> = marks.iter().map(|mark| mark.range).collect();
        let queues = self.plan.source.read(&ranges, &self.plan.asked.filter).await?;
        let (common, beside) = (&self.common, &self.common.beside);
        let batch_records = match beside.batch_records {
            Some(records) => records,
            None if position::is_beside_live(&self.pool, self.plan.source.log()).await? => {
                BATCH_BESIDE_LIVE
            }
            None => common.project.batch().records,
        };
        let progress = Arc::new(Progress::new(&marks));
        let max_lag = Some(beside.max_live_lag);
        let pace = Pace::new(beside.max_rate, max_lag, self.log.clone(), self.pool.clone());
        let pace = Arc::new(pace);
        let work = Arc::new(Work {
            store: self.store()?,
            operation,
            choice,
            batch: (batch_records, common.project.batch().bytes),
            breaker: common.breaker.limits(),
            workers: Semaphore::new(beside.workers().into()),
            pace: pace.clone(),
            progress: progress.clone(),
            proved: AtomicBool::new(false),
            stop: stop.child_token(),
        });
        let mut telling = JoinSet::new();
        telling.spawn(progress.clone().tell(self.pool.clone(), operation, pace));
        let mut lanes = JoinSet::new();
        for (mark, queue) in marks.into_iter().zip(queues) {
            lanes.spawn(Lane::new(work.clone(), mark).run(queue));
        }
        let mut ended = Ok(());
        while let Some(lane) = lanes.join_next().await {
            let lane = lane.unwrap_or_else(|error| Err(Fault::halt("replaying", error)));
            if ended.is_ok() && lane.is_err() {
                // The others end between two batches, with their places stored.
                work.stop.cancel();
                ended = lane;
            }
        }
        progress.end();
        ended?;
        self.derive_again(&work.store, stop).await
    }

    /// Takes into account what hangs on renamed providers, as the projector does: where none runs,
    /// as in a database that is being restored, nobody else would.
    async fn derive_again(&self, store: &Store, stop: &CancellationToken) -> Result<(), Fault> {
        while !stop.is_cancelled() {
            match store.rederive().await {
                Ok(0) => break,
                Ok(_) => {}
                Err(fault) if fault.decision == Decision::Retry => {
                    note("replay", &fault, Duration::from_secs(1));
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
                Err(fault) => return Err(fault),
            }
        }
        Ok(())
    }

    fn store(&self) -> Result<Store, Fault> {
        let settings = self.common.project.settings(self.common.livemode);
        let settings = settings.map_err(|error| Fault::halt("configuring", error))?;
        let log = self.plan.source.log();
        Ok(Store::of_log(self.pool.clone(), settings, self.common.sinks.chosen(), log))
    }
}
