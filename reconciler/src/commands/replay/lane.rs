//! One partition of a replay: chosen, decoded and applied in the order of its offsets, beside others.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use domain::event::decode;
use domain::record::RawRecord;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::choice::Choice;
use super::pace::Pace;
use super::progress::Progress;
use crate::breaker::{self, Breaker};
use crate::fault::{Backoff, Decision, Fault, note};
use crate::isolate::{Search, set_aside};
use crate::source::{Chunk, Chunks, Range};
use crate::store::replay::{Counts, Mark, Reach};
use crate::store::{Applied, Item, Store};

/// How often a transaction is tried that meets a fault which may pass: for some minutes.
const MAX_ATTEMPTS: u32 = 20;
/// How often a batch is looked through for what Postgres refuses: the records, then their envelopes.
const MAX_SEARCHES: u32 = 3;
/// How often the place is stored while nothing is chosen.
const STORE_EVERY: Duration = Duration::from_secs(1);

/// What the lanes of a replay share.
pub(super) struct Work {
    pub(super) store: Store,
    pub(super) operation: i64,
    pub(super) choice: Choice,
    /// Most records, and bytes, of a transaction.
    pub(super) batch: (usize, usize),
    pub(super) breaker: breaker::Limits,
    /// How many lanes decode and apply at the same time.
    pub(super) workers: Semaphore,
    pub(super) pace: Arc<Pace>,
    pub(super) progress: Arc<Progress>,
    /// Whether Postgres has accepted anything yet: before that, what it refuses may be its fault.
    pub(super) proved: AtomicBool,
    /// Ends every lane between two batches.
    pub(super) stop: CancellationToken,
}

/// One partition.
pub(super) struct Lane {
    work: Arc<Work>,
    range: Range,
    /// The place that is stored.
    stored: i64,
    stored_at: Instant,
    /// Where reading is.
    read_to: i64,
    counts: Counts,
    breaker: Breaker,
}

/// How applying ended.
enum Ended {
    Applied(Applied),
    /// Postgres refuses the data.
    Refused(Fault),
    /// It was told to stop while a fault was waited out: nothing moved.
    Stopped,
}

impl Lane {
    pub(super) fn new(work: Arc<Work>, mark: Mark) -> Self {
        let (stored, stored_at) = (mark.range.from, Instant::now());
        let breaker = Breaker::new(work.breaker);
        let (range, counts) = (mark.range, mark.counts);
        Self { range, counts, work, stored, stored_at, read_to: stored, breaker }
    }

    /// Reads to the end of the range, or until it is told to stop, and notes how far it came.
    pub(super) async fn run(mut self, mut chunks: Chunks) -> Result<(), Fault> {
        loop {
            let chunk = tokio::select! {
                chunk = chunks.recv() => chunk,
                () = self.work.stop.cancelled() => return Ok(()),
            };
            let Some(chunk) = chunk else { break };
            if !self.chunk(chunk?).await? {
                return Ok(());
            }
            if self.stored >= self.range.to {
                return Ok(());
            }
            if self.work.choice.is_over() {
                break;
            }
        }
        let (next, to) = (self.read_to, self.range.to);
        if next < to && !self.work.choice.may_end_early() {
            let said = format!(
                "partition {}: it ended at offset {next}, before {to}",
                self.range.partition
            );
            return Err(Fault::halt("reading what is to be replayed", said));
        }
        // What is left holds nothing that was asked for.
        self.apply(Vec::new(), self.range.to).await.map(drop)
    }

    /// Applies what is chosen of a chunk, batch by batch. Says whether to go on.
    async fn chunk(&mut self, chunk: Chunk) -> Result<bool, Fault> {
        let Chunk { records, erased, next_offset, room: _room } = chunk;
        let end = next_offset.min(self.range.to);
        self.read_to = end;
        let within = self.range.from..self.range.to;
        let (mut chosen, mut bytes) = (Vec::new(), 0);
        for record in records.into_iter().filter(|record| within.contains(&record.offset)) {
            self.counts.read += 1;
            let next = record.offset + 1;
            if self.work.choice.takes(&record) {
                bytes += record.size();
                chosen.push(record);
            } else {
                self.counts.skipped += 1;
            }
            let (most_records, most_bytes) = self.work.batch;
            if chosen.len() >= most_records || bytes >= most_bytes {
                bytes = 0;
                if !self.apply(std::mem::take(&mut chosen), next).await? {
                    return Ok(false);
                }
            }
        }
        self.counts.erased += erased as u64;
        let is_due = end >= self.range.to || self.stored_at.elapsed() >= STORE_EVERY;
        if (!chosen.is_empty() || is_due) && end > self.stored {
            return self.apply(chosen, end).await;
        }
        self.work.progress.reached(self.range.partition, end, &self.counts);
        Ok(!self.work.stop.is_cancelled())
    }

    /// Applies these records and moves the replay's place to `next`. Says whether to go on; if not,
    /// nothing of it moved.
    async fn apply(&mut self, records: Vec<RawRecord>, next: i64) -> Result<bool, Fault> {
        let (work, stop) = (self.work.clone(), self.work.stop.clone());
        let worker = async {
            work.pace.wait(records.len()).await;
            work.workers.acquire().await
        };
        let Some(worker) = stop.run_until_cancelled(worker).await else { return Ok(false) };
        // Closed it never is.
        let _worker = worker.ok();
        let settings = work.store.settings();
        let mut items: Vec<Item> = records
            .into_iter()
            .map(|record| Item { outcome: decode(&record, settings), record })
            .collect();
        for _ in 0..=MAX_SEARCHES {
            let reach = Reach {
                operation: work.operation,
                partition: self.range.partition,
                from: self.stored,
                to: next,
                counts: self.counts.clone(),
            };
            match self.attempt(&items, Some(&reach)).await? {
                Ended::Applied(applied) => {
                    self.counts.add(&applied);
                    (self.stored, self.stored_at) = (next, Instant::now());
                    work.progress.reached(self.range.partition, next, &self.counts);
                    return Ok(!stop.is_cancelled());
                }
                Ended::Refused(_) => {}
                Ended::Stopped => return Ok(false),
            }
            if !self.isolate(&mut items).await? {
                return Ok(false);
            }
        }
        Err(Fault::halt("replaying", "Postgres refuses to keep what it refused"))
    }

    /// Finds the records that Postgres refuses, applies the others, and marks and keeps the refused
    /// ones. Says whether to go on.
    async fn isolate(&mut self, items: &mut Vec<Item>) -> Result<bool, Fault> {
        let mut search = Search::of(items.len());
        while let Some(part) = search.next() {
            match self.attempt(&items[part.clone()], None).await? {
                Ended::Applied(applied) => self.counts.add(&applied),
                Ended::Refused(fault) => search.refused(part, fault),
                Ended::Stopped => return Ok(false),
            }
        }
        let mut refused = search.found();
        if !self.work.proved.load(Ordering::Relaxed)
            && let Some((_, fault)) = refused.pop()
        {
            // Nothing was accepted yet: it may be the database that is broken.
            return Err(Fault::halt("replaying the first records", fault));
        }
        *items = refused
            .into_iter()
            .map(|(index, fault)| {
                set_aside(&mut items[index], &fault);
                items[index].clone()
            })
            .collect();
        Ok(true)
    }

    /// Applies once, waiting out what passes on this connection.
    async fn attempt(&mut self, items: &[Item], reach: Option<&Reach>) -> Result<Ended, Fault> {
        let mut backoff = Backoff::default();
        for _ in 1..MAX_ATTEMPTS {
            let fault = match self.work.store.replay(items, &mut self.breaker, reach).await {
                Ok(applied) => {
                    let is_new =
                        applied.verdicts.keys().any(|it| *it != crate::store::Verdict::Duplicate);
                    self.work.proved.fetch_or(is_new, Ordering::Relaxed);
                    return Ok(Ended::Applied(applied));
                }
                Err(fault) if fault.decision == Decision::Isolate => {
                    return Ok(Ended::Refused(fault));
                }
                Err(fault) if fault.decision == Decision::Retry => fault,
                Err(fault) => return Err(fault),
            };
            let delay = backoff.delay();
            note("replay", &fault, delay);
            let slept = self.work.stop.run_until_cancelled(tokio::time::sleep(delay)).await;
            if slept.is_none() {
                return Ok(Ended::Stopped);
            }
        }
        match self.work.store.replay(items, &mut self.breaker, reach).await {
            Err(fault) if fault.decision == Decision::Isolate => Ok(Ended::Refused(fault)),
            done => done.map(Ended::Applied),
        }
    }
}
