//! The role `project`: keeps money state in Postgres.
//!
//! One batch at a time: decode, apply, go on. A fault that passes is waited out with the batch in
//! hand, while the feed keeps the membership. A batch that Postgres refuses for its data is halved
//! until the one record stands alone; it goes to quarantine once a neighbour has been accepted, so
//! that a broken database does not drain the topic.
//!
//! A batch that trips the breaker is dropped and the role pauses: it keeps its membership and
//! commits nothing until a person resumes the topic. Then reading starts over from the positions.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use domain::event::decode;
use domain::record::RawRecord;
use service::admin::Readiness;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use crate::breaker::{Breaker, Limits};
use crate::fault::{Backoff, Decision, Fault, note};
use crate::feed::{BatchLimit, Delivery, Feed};
use crate::isolate::{Search, set_aside};
use crate::position::Position;
use crate::store::{Advance, Applied, Batch, Item, Store, Verdict};

/// The role's name in logs and metrics.
const ROLE: &str = "project";
/// How often the queue of accounts to derive again is looked at, and whether the topic is paused.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// How much longer than it takes to gather them records are waited for while inputs wait too.
const TURN: Duration = Duration::from_millis(5);
/// What `/readyz` says while the topic is paused.
const PAUSED: &str = "role project is paused by the breaker; see `reconciler quarantine list`";

/// Runs until shutdown, which it meets between two batches, or a fault that halts.
pub(crate) async fn run(
    mut feed: Feed,
    store: Store,
    limit: BatchLimit,
    breaker: Limits,
    readiness: Readiness,
    shutdown: CancellationToken,
) -> Result<(), Fault> {
    describe_metrics();
    metrics::gauge!("reconciler_paused", "role" => ROLE).set(0.0);
    let mut projector = Projector {
        store,
        shutdown,
        backoff: Backoff::default(),
        next: BTreeMap::new(),
        proved: false,
        breaker: Breaker::new(breaker),
        readiness,
        paused: false,
        has_inputs: false,
    };
    let ended = projector.follow(&mut feed, limit).await;
    feed.close().await;
    ended
}

struct Projector {
    store: Store,
    shutdown: CancellationToken,
    backoff: Backoff,
    /// Where each partition's next batch takes over.
    next: BTreeMap<i32, i64>,
    /// Whether Postgres has accepted anything yet: before that, what it refuses may be its fault.
    proved: bool,
    breaker: Breaker,
    readiness: Readiness,
    /// Whether the topic is paused, as of the last look.
    paused: bool,
    /// Whether more inputs may wait to be taken into account.
    has_inputs: bool,
}

/// How applying ended.
enum Ended {
    Applied,
    /// Postgres refuses the data.
    Refused(Fault),
    /// The connection led to a server that is gone. The one that answers next may have lost what
    /// was applied, so reading starts over from its positions.
    StartOver,
    /// The topic is paused: nothing moved, and reading starts over when it is resumed.
    Paused,
    /// Shutdown was asked for while a fault was waited out: nothing is lost, nothing moved.
    ShutDown,
}

impl Projector {
    async fn follow(&mut self, feed: &mut Feed, limit: BatchLimit) -> Result<(), Fault> {
        let mut look = tokio::time::interval(LOOK_EVERY);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            // Inputs and records take turns, however many of either there are.
            if self.has_inputs {
                self.rederive().await?;
            }
            let delivery = tokio::select! {
                delivery = feed.next(limit), if !self.paused => delivery?,
                () = self.shutdown.cancelled(), if self.paused => return Ok(()),
                () = tokio::time::sleep(limit.linger + TURN), if self.has_inputs => continue,
                _ = look.tick() => {
                    self.has_inputs = true;
                    let was_paused = self.paused;
                    self.look().await?;
                    if was_paused && !self.paused {
                        feed.reload();
                    }
                    continue;
                }
            };
            let ended = match delivery {
                None => return Ok(()),
                Some(Delivery::Revoked) => continue,
                Some(Delivery::Assigned { positions, .. }) => self.begin(positions).await?,
                Some(Delivery::Records(batch)) => {
                    let items = self.decode(batch.records);
                    self.apply(feed, limit, items).await?
                }
            };
            match ended {
                Ended::ShutDown => return Ok(()),
                Ended::StartOver => feed.reload(),
                Ended::Applied | Ended::Refused(_) | Ended::Paused => {}
            }
        }
    }

    /// Notes where the partitions begin, here and in Postgres.
    async fn begin(&mut self, positions: BTreeMap<i32, Position>) -> Result<Ended, Fault> {
        self.next = positions.iter().map(|(partition, at)| (*partition, at.next_offset)).collect();
        loop {
            let Err(fault) = self.store.begin(&self.next).await else {
                return Ok(Ended::Applied);
            };
            if let Some(ended) = self.wait_out(fault).await? {
                return Ok(ended);
            }
        }
    }

    fn decode(&self, records: Vec<RawRecord>) -> Vec<Item> {
        let settings = self.store.settings();
        records
            .into_iter()
            .map(|record| Item { outcome: decode(&record, settings), record })
            .collect()
    }

    /// Applies the items and moves the positions, whatever it takes.
    async fn apply(
        &mut self,
        feed: &mut Feed,
        limit: BatchLimit,
        mut items: Vec<Item>,
    ) -> Result<Ended, Fault> {
        loop {
            let positions = self.advances(&items);
            match self.attempt(&items, &positions).await? {
                Ended::Applied => {
                    self.next.extend(positions.iter().map(|(number, at)| (*number, at.to)));
                    feed.done(positions.into_iter().map(|(number, at)| (number, at.to)).collect());
                    return Ok(Ended::Applied);
                }
                Ended::Refused(_) => {}
                ended => return Ok(ended),
            }
            match self.isolate(&mut items).await? {
                Ended::Applied => {}
                Ended::Refused(fault) => {
                    // Nothing was accepted yet: wait for a neighbour that shows whose fault it is.
                    let delay = self.backoff.delay();
                    note(ROLE, &fault, delay);
                    match tokio::time::timeout(delay, feed.next(limit)).await {
                        Err(_) => {}
                        Ok(delivery) => match delivery? {
                            Some(Delivery::Records(more)) => {
                                items.extend(self.decode(more.records));
                            }
                            // These records are another's to apply now, or will be read again.
                            Some(Delivery::Revoked) => return Ok(Ended::Applied),
                            Some(Delivery::Assigned { positions, .. }) => {
                                return self.begin(positions).await;
                            }
                            None => return Ok(Ended::ShutDown),
                        },
                    }
                }
                ended => return Ok(ended),
            }
        }
    }

    /// How far these items reach in each partition.
    fn advances(&self, items: &[Item]) -> BTreeMap<i32, Advance> {
        let mut advances = BTreeMap::new();
        for record in items.iter().map(|item| &item.record) {
            let from = self.next.get(&record.partition).copied().unwrap_or(record.offset);
            advances.entry(record.partition).or_insert(Advance { from, to: 0 }).to =
                record.offset + 1;
        }
        advances
    }

    /// Applies once, waiting out what passes.
    async fn attempt(
        &mut self,
        items: &[Item],
        positions: &BTreeMap<i32, Advance>,
    ) -> Result<Ended, Fault> {
        loop {
            let started = Instant::now();
            let batch = Batch { items, positions: positions.clone() };
            match self.store.follow(&batch, &mut self.breaker).await {
                Ok(applied) => {
                    self.backoff.reset();
                    self.proved |= applied.verdicts.keys().any(|it| *it != Verdict::Duplicate);
                    measure(items.len(), &applied, started.elapsed());
                    return Ok(Ended::Applied);
                }
                Err(fault) if fault.decision == Decision::Isolate => {
                    return Ok(Ended::Refused(fault));
                }
                Err(fault) if fault.decision == Decision::Pause => {
                    self.pause(Some(&fault));
                    return Ok(Ended::Paused);
                }
                Err(fault) => {
                    if let Some(ended) = self.wait_out(fault).await? {
                        return Ok(ended);
                    }
                }
            }
        }
    }

    /// Waits before the same is tried again. Says how it ended where it is not.
    async fn wait_out(&mut self, fault: Fault) -> Result<Option<Ended>, Fault> {
        if !fault.decision.is_transient() {
            return Err(fault);
        }
        let delay = self.backoff.delay();
        note(ROLE, &fault, delay);
        tokio::select! {
            () = tokio::time::sleep(delay) => {}
            () = self.shutdown.cancelled() => return Ok(Some(Ended::ShutDown)),
        }
        Ok((fault.decision == Decision::Reconnect).then_some(Ended::StartOver))
    }

    /// Finds the records that Postgres refuses, applies the others without moving a position, and
    /// marks the refused ones for quarantine. Refused again while nothing at all was accepted.
    async fn isolate(&mut self, items: &mut [Item]) -> Result<Ended, Fault> {
        let nowhere = BTreeMap::new();
        let mut search = Search::of(items.len());
        while let Some(part) = search.next() {
            match self.attempt(&items[part.clone()], &nowhere).await? {
                Ended::Applied => {}
                Ended::Refused(fault) => search.refused(part, fault),
                ended => return Ok(ended),
            }
        }
        let mut refused = search.found();
        if !self.proved
            && let Some((_, fault)) = refused.pop()
        {
            return Ok(Ended::Refused(fault));
        }
        for (index, fault) in refused {
            set_aside(&mut items[index], &fault);
        }
        Ok(Ended::Applied)
    }

    /// Looks whether the topic is paused: another process may have paused it, or a person may have
    /// resumed it.
    async fn look(&mut self) -> Result<(), Fault> {
        match self.store.is_paused().await {
            Ok(true) => self.pause(None),
            Ok(false) => self.go_on(),
            // The next tick looks again.
            Err(fault) if fault.decision.is_transient() => note(ROLE, &fault, LOOK_EVERY),
            Err(fault) => return Err(fault),
        }
        Ok(())
    }

    fn pause(&mut self, fault: Option<&Fault>) {
        if std::mem::replace(&mut self.paused, true) {
            return;
        }
        let cause = fault.map_or_else(|| "the topic is paused".to_owned(), ToString::to_string);
        let remedy = "see `reconciler quarantine list`, then `reconciler quarantine resume`";
        tracing::error!(role = ROLE, cause, remedy, "paused by the breaker; other roles go on");
        metrics::gauge!("reconciler_paused", "role" => ROLE).set(1.0);
        self.readiness.hold(PAUSED);
    }

    fn go_on(&mut self) {
        if !std::mem::replace(&mut self.paused, false) {
            return;
        }
        tracing::info!(role = ROLE, "resumed; reading starts over from the positions");
        metrics::gauge!("reconciler_paused", "role" => ROLE).set(0.0);
        self.breaker.forget();
        self.readiness.release(PAUSED);
    }

    /// Derives again some of what hangs on inputs that changed; notes whether there may be more.
    async fn rederive(&mut self) -> Result<(), Fault> {
        self.has_inputs = match self.store.rederive().await {
            Ok(inputs) => inputs > 0,
            // The next look tries again.
            Err(fault) if fault.decision.is_transient() => {
                note(ROLE, &fault, LOOK_EVERY);
                false
            }
            Err(fault) => return Err(fault),
        };
        Ok(())
    }
}

#[expect(clippy::cast_precision_loss, reason = "metrics are floats")]
fn measure(records: usize, applied: &Applied, took: Duration) {
    metrics::counter!("reconciler_consumed_records_total", "role" => ROLE)
        .increment(records as u64);
    metrics::histogram!("reconciler_batch_records", "role" => ROLE).record(records as f64);
    metrics::histogram!("reconciler_apply_seconds").record(took.as_secs_f64());
    for (verdict, count) in &applied.verdicts {
        metrics::counter!("reconciler_events_total", "verdict" => verdict.as_str())
            .increment(*count);
    }
    for (reason, count) in &applied.quarantined {
        metrics::counter!("reconciler_quarantined_total", "reason" => *reason).increment(*count);
    }
    metrics::counter!("reconciler_domain_events_queued_total").increment(applied.published);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    for received_at_ms in &applied.received_at_ms {
        let latency = now.as_millis() as f64 - *received_at_ms as f64;
        metrics::histogram!("reconciler_webhook_to_row_seconds").record(latency.max(0.0) / 1000.0);
    }
    if let Some(created) = applied.newest_created {
        metrics::gauge!("reconciler_newest_applied_timestamp_seconds").set(created as f64);
    }
}

fn describe_metrics() {
    use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};
    describe_counter!("reconciler_consumed_records_total", "Records read and dealt with, by role");
    describe_counter!("reconciler_events_total", "Events by what became of them");
    describe_counter!("reconciler_quarantined_total", "Records in quarantine, by reason");
    describe_counter!("reconciler_domain_events_queued_total", "Domain events put into the queue");
    describe_histogram!("reconciler_batch_records", "Records per batch, by role");
    describe_histogram!(
        "reconciler_apply_seconds",
        Unit::Seconds,
        "One batch's transaction, rounds of locking included"
    );
    describe_histogram!(
        "reconciler_webhook_to_row_seconds",
        Unit::Seconds,
        "From ingest's receipt to the commit of the rows"
    );
    describe_gauge!("reconciler_paused", "1 while the breaker keeps the role paused");
    describe_counter!("reconciler_breaker_trips_total", "Batches that tripped the breaker");
    describe_gauge!(
        "reconciler_newest_applied_timestamp_seconds",
        Unit::Seconds,
        "Stripe's time of the newest event applied by this process"
    );
}
