//! Applying the records of each partition in their order, partitions side by side, and moving the
//! positions with them: whoever is interrupted goes on where he was.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, bail};
use domain::archive::Place;
use domain::event::decode;
use domain::record::RawRecord;
use indicatif::ProgressBar;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::picture::{GivenUp, LogId};
use super::route::{Leg, Span};
use crate::fault::{Decision, Fault, insist};
use crate::feed::BatchLimit;
use crate::isolate::{self, Search};
use crate::s3::Bucket;
use crate::source::archive::{Ahead, Archive, Start};
use crate::source::topic::Log;
use crate::source::{Chunk, Chunks, Range};
use crate::store::{Advance, Batch, Item, Store};

/// The name in logs and metrics.
const ROLE: &str = "rebuild";
/// How often a transaction is tried that meets a fault which may pass: for some two minutes.
const MAX_ATTEMPTS: u32 = 15;
/// How often a batch is looked through for what Postgres refuses: the records, then their envelopes.
const MAX_SEARCHES: u32 = 3;

/// Where records come from.
#[derive(Clone)]
pub(super) struct Sources {
    pub(super) archive: Option<Arc<Archive<Bucket>>>,
    pub(super) prefix: String,
    pub(super) log: Option<Arc<Log>>,
    pub(super) ahead: Ahead,
}

/// What is to be applied of one partition.
#[derive(Debug)]
pub(super) struct Way {
    pub(super) log: LogId,
    pub(super) partition: i32,
    /// Where a database that has not begun begins.
    pub(super) start: i64,
    pub(super) legs: Vec<Leg>,
}

/// What was met on the way.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Records that were applied.
    pub(super) records: AtomicU64,
    /// Records of which the archive has nothing any more but that they were.
    pub(super) erased: AtomicU64,
    gaps: Mutex<Vec<String>>,
}

impl Found {
    /// Offsets that were passed over.
    pub(super) fn gap(&self, gap: String) {
        self.gaps.lock().unwrap_or_else(PoisonError::into_inner).push(gap);
    }

    pub(super) fn gaps(&self) -> Vec<String> {
        self.gaps.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn records(&self) -> u64 {
        self.records.load(Ordering::Relaxed)
    }

    pub(super) fn erased(&self) -> u64 {
        self.erased.load(Ordering::Relaxed)
    }
}

/// How it is applied.
#[derive(Clone)]
pub(super) struct Applier {
    pub(super) stores: BTreeMap<LogId, Arc<Store>>,
    pub(super) sources: Sources,
    pub(super) given_up: Arc<GivenUp>,
    pub(super) limit: BatchLimit,
    /// Transactions at the same time.
    pub(super) workers: Arc<Semaphore>,
    pub(super) progress: ProgressBar,
    pub(super) found: Arc<Found>,
    pub(super) allow_gaps: bool,
    pub(super) stop: CancellationToken,
}

impl Applier {
    /// Applies all of it, or as much as was applied when it was stopped. The first error stops the
    /// others.
    pub(super) async fn all(&self, ways: Vec<Way>) -> anyhow::Result<()> {
        let stop = self.stop.child_token();
        let mut tasks = JoinSet::new();
        for way in ways {
            let applier = Self { stop: stop.clone(), ..self.clone() };
            let mut archived = None;
            for leg in &way.legs {
                if let Leg::Archive(span) = leg {
                    archived = Some(self.archived(&way.log, way.partition, *span).await?);
                }
            }
            tasks.spawn(async move {
                let (partition, topic_id) = (way.partition, way.log.1.clone());
                let done = applier.partition(way, archived).await;
                done.with_context(|| format!("partition {partition} of the topic {topic_id}"))
            });
        }
        let mut failed = Ok(());
        while let Some(done) = tasks.join_next().await {
            let done = done.context("a task of the rebuild").flatten();
            if done.is_err() && failed.is_ok() {
                stop.cancel();
                failed = done;
            }
        }
        failed
    }

    /// `archived` is the leg in the archive, of which there is one at most.
    async fn partition(&self, way: Way, mut archived: Option<Chunks>) -> anyhow::Result<()> {
        let store = self.stores.get(&way.log).context("a topic without a store")?.clone();
        for leg in way.legs {
            let span = leg.span();
            let mut next = span.from;
            let mut chunks = match leg {
                Leg::Gap(_) => {
                    // What is missing was accepted: the position passes over it.
                    self.batch(&store, &[], (way.partition, next, span.to)).await?;
                    continue;
                }
                Leg::Archive(_) => archived.take().context("the archive is read once")?,
                Leg::Topic(_) => self.in_topic(way.partition, span)?,
            };
            while next < span.to {
                let chunk = self.stop.run_until_cancelled(chunks.recv()).await;
                let Some(chunk) = chunk else { return Ok(()) };
                let Some(chunk) = chunk else {
                    bail!("what holds {span} ended at {next}");
                };
                let Chunk { records, erased, next_offset, room } = chunk?;
                let wanted = |record: &RawRecord| (next..span.to).contains(&record.offset);
                let records: Vec<RawRecord> = records.into_iter().filter(wanted).collect();
                let end = next_offset.clamp(next, span.to);
                let first = records.first().map_or(end, |record| record.offset);
                // What was erased has no offset here, so nothing is said of what lies beside it.
                if matches!(leg, Leg::Archive(_)) && erased == 0 && first > next {
                    self.missing(way.partition, Span { from: next, to: first })?;
                }
                self.found.erased.fetch_add(erased as u64, Ordering::Relaxed);
                let place = (way.partition, next, end);
                let Some(reached) = self.chunk(&store, &way.log, records, place).await? else {
                    return Ok(());
                };
                next = reached;
                drop(room);
            }
        }
        Ok(())
    }

    /// The archive never had these: an error, unless that is accepted.
    fn missing(&self, partition: i32, span: Span) -> anyhow::Result<()> {
        if !self.allow_gaps {
            bail!("{span} were never archived (--allow-gaps passes over it)");
        }
        self.found.gap(format!("partition {partition}, {span}"));
        Ok(())
    }

    /// Applies consecutive records, batch by batch. Where it is then; none if it was stopped.
    async fn chunk(
        &self,
        store: &Store,
        log: &LogId,
        records: Vec<RawRecord>,
        (partition, mut next, end): (i32, i64, i64),
    ) -> anyhow::Result<Option<i64>> {
        let mut records = records.into_iter().peekable();
        while next < end {
            if self.stop.is_cancelled() {
                return Ok(None);
            }
            let (mut items, mut bytes) = (Vec::new(), 0);
            while let Some(record) = records.next_if(|record| {
                bytes += record.size();
                items.is_empty() || (items.len() < self.limit.records && bytes <= self.limit.bytes)
            }) {
                let mut item = Item { outcome: decode(&record, store.settings()), record };
                self.given_up.hold(log, &mut item);
                items.push(item);
            }
            // Behind the last record the log may have offsets without one.
            let to = records.peek().map_or(end, |record| record.offset);
            self.apply(store, items, (partition, next, to)).await?;
            next = to;
        }
        Ok(Some(next))
    }

    /// Applies a batch, its refused records in quarantine.
    async fn apply(
        &self,
        store: &Store,
        mut items: Vec<Item>,
        place: (i32, i64, i64),
    ) -> anyhow::Result<()> {
        for _ in 0..=MAX_SEARCHES {
            match self.batch(store, &items, place).await {
                Ok(()) => {
                    self.found.records.fetch_add(items.len() as u64, Ordering::Relaxed);
                    self.progress.inc(items.len() as u64);
                    return Ok(());
                }
                Err(fault) if fault.decision == Decision::Isolate => {}
                Err(fault) => return Err(fault.into()),
            }
            let mut search = Search::of(items.len());
            while let Some(part) = search.next() {
                match self.transaction(store, &items[part.clone()], BTreeMap::new()).await {
                    Ok(()) => {}
                    Err(fault) if fault.decision == Decision::Isolate => {
                        search.refused(part, fault);
                    }
                    Err(fault) => return Err(fault.into()),
                }
            }
            for (index, fault) in search.found() {
                isolate::set_aside(&mut items[index], &fault);
            }
        }
        bail!("Postgres refuses to keep what it refused")
    }

    async fn batch(
        &self,
        store: &Store,
        items: &[Item],
        (partition, from, to): (i32, i64, i64),
    ) -> Result<(), Fault> {
        let positions = BTreeMap::from([(partition, Advance { from, to })]);
        self.transaction(store, items, positions).await
    }

    /// One transaction, tried again while its fault may pass. A stop rolls it back.
    async fn transaction(
        &self,
        store: &Store,
        items: &[Item],
        positions: BTreeMap<i32, Advance>,
    ) -> Result<(), Fault> {
        // The semaphore is never closed.
        let _worker = self.workers.acquire().await;
        let batch = Batch { items, positions };
        let applying = insist(ROLE, MAX_ATTEMPTS, || store.apply(&batch));
        match self.stop.run_until_cancelled(applying).await {
            Some(applied) => applied.map(drop),
            None => Err(Fault::halt("applying a batch", "stopped")),
        }
    }

    async fn archived(
        &self,
        (cluster, topic_id): &LogId,
        partition: i32,
        span: Span,
    ) -> anyhow::Result<Chunks> {
        let archive = self.sources.archive.as_ref().context("no archive is known")?;
        let place = Place {
            prefix: self.sources.prefix.clone(),
            cluster: cluster.clone(),
            topic_id: topic_id.clone(),
        };
        let chain = archive.chain(&place, partition, Start::Offset(span.from), None).await?;
        Ok(archive.read(chain, &self.sources.ahead))
    }

    fn in_topic(&self, partition: i32, Span { from, to }: Span) -> anyhow::Result<Chunks> {
        let log = self.sources.log.as_ref().context("no topic is known")?;
        let mut ranges = log.read(&[Range { partition, from, to }])?;
        let (_, queue) = ranges.pop().context("Kafka has no such partition")?;
        Ok(queue)
    }
}
