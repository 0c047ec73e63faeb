//! The role publish: domain events from the queue `pay.outbox` to a sink.
//!
//! Each sink has a publisher, rows and lag of its own, so none waits for another.
//! Rows are claimed in a statement of their own, which leases them for longer than any call may
//! take, sent outside any transaction, and deleted once they are acknowledged. A publisher that
//! dies leaves a lease that ends. So each event is sent at least once, and several publishers
//! share the queue without waiting for each other.

mod outbox;

use std::collections::BTreeSet;
use std::future::Future;
use std::time::Duration;

use sqlx::PgPool;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

pub(crate) use self::outbox::Outbox;
use self::outbox::Row;
use crate::fault::{Backoff, Fault, note, persist};
use crate::metrics::{self, number};
use crate::sink::Sink;

/// The role's name.
const ROLE: &str = "publish";
/// Time for one call to a sink. The lease on what is being sent must be longer.
pub(crate) const CALL_TIMEOUT: Duration = Duration::from_secs(15);
/// Most records of one call: Firehose's limit.
pub(crate) const BATCH_RECORDS: usize = 500;
/// Most bytes of one call: Firehose's limit.
pub(crate) const BATCH_BYTES: usize = 4 * 1024 * 1024;
/// Most bytes of one record, its newline included: Firehose's limit. It holds for every sink, so
/// that all get the same events.
pub(crate) const RECORD_BYTES: usize = 1000 * 1024;
/// Time to forget what was sent, once shutdown was asked for.
const GRACE: Duration = Duration::from_secs(5);
/// How often the queue is measured.
const MEASURE_INTERVAL: Duration = Duration::from_secs(10);

/// A domain event on its way.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Event<'a> {
    /// What it is about; the key where the sink has keys.
    pub(crate) subject: &'a str,
    /// One JSON object without a newline.
    pub(crate) payload: &'a str,
}

/// What a sink says of one record: nothing, or the code of its error.
pub(crate) type Refusal = Option<String>;

/// A sink.
pub(crate) trait EventStream: Send + Sync + 'static {
    /// Sends a batch within the limits above. The answer has an entry for each.
    fn put(&self, events: &[Event<'_>])
    -> impl Future<Output = Result<Vec<Refusal>, Fault>> + Send;
}

/// How the queue is worked.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Settings {
    /// How long a claim holds.
    pub(crate) lease: Duration,
    /// How often an empty queue is looked at.
    pub(crate) poll: Duration,
}

/// Runs until shutdown or a fault that halts.
pub(crate) async fn run<E: EventStream>(
    outbox: Outbox,
    stream: E,
    settings: Settings,
    shutdown: CancellationToken,
) -> Result<(), Fault> {
    let measuring = shutdown.clone().run_until_cancelled_owned(measure(outbox.clone()));
    let publisher = Publisher { outbox, stream, settings, shutdown };
    let publishing = publisher.follow();
    tokio::pin!(publishing);
    tokio::select! {
        ended = &mut publishing => return ended,
        _ = measuring => {}
    }
    publishing.await
}

/// Warns of domain events that wait for a sink which is not one of these: another process sends
/// them, or nobody does.
pub(crate) async fn warn_of_others(pool: PgPool, sinks: &BTreeSet<Sink>) {
    match outbox::waiting_for_others(&pool, sinks).await {
        Ok(others) => {
            for (sink, rows) in others {
                tracing::warn!(role = ROLE, sink, rows, "not sent from here (DOMAIN_SINKS)");
            }
        }
        Err(fault) => tracing::warn!(role = ROLE, %fault, "cannot tell whether other sinks wait"),
    }
    pool.close().await;
}

struct Publisher<E> {
    outbox: Outbox,
    stream: E,
    settings: Settings,
    shutdown: CancellationToken,
}

impl<E: EventStream> Publisher<E> {
    /// Claims and sends while there is something, and looks again after a while when not. What
    /// is claimed when shutdown comes is sent first.
    async fn follow(&self) -> Result<(), Fault> {
        let mut backoff = Backoff::default();
        while !self.shutdown.is_cancelled() {
            let pause = match self.round().await {
                Ok(0) => self.settings.poll,
                Ok(_) => {
                    backoff.reset();
                    continue;
                }
                Err(fault) if fault.decision.is_transient() => {
                    let delay = backoff.delay();
                    note(ROLE, &fault, delay);
                    delay
                }
                Err(fault) => return Err(fault),
            };
            self.shutdown.run_until_cancelled(tokio::time::sleep(pause)).await;
        }
        Ok(())
    }

    /// Claims rows and sends them; how many were claimed.
    async fn round(&self) -> Result<usize, Fault> {
        let claimed_at = Instant::now();
        let rows = self.outbox.claim(BATCH_RECORDS, self.settings.lease).await?;
        let claimed = rows.len();
        let (rows, too_large): (Vec<Row>, Vec<Row>) =
            rows.into_iter().partition(|row| row.payload.len() < RECORD_BYTES);
        self.park(too_large).await?;
        let mut batches = batches(&rows).into_iter();
        while let Some(batch) = batches.next() {
            // A lease that could end during the call is no lease.
            let spent = claimed_at.elapsed() + CALL_TIMEOUT >= self.settings.lease;
            let result = if spent { Ok(()) } else { self.send(batch, claimed_at).await };
            if spent || result.is_err() {
                let unsent: Vec<i64> =
                    batch.iter().chain(batches.flatten()).map(|r| r.id).collect();
                // If this fails as well, the leases end by themselves.
                let released = self.outbox.release(&unsent).await;
                return result.and(released).map(|()| claimed);
            }
        }
        Ok(claimed)
    }

    /// Sends one batch. What is acknowledged is deleted; what is refused waits a while.
    async fn send(&self, batch: &[Row], claimed_at: Instant) -> Result<(), Fault> {
        let events: Vec<Event<'_>> = batch
            .iter()
            .map(|row| Event { subject: &row.subject, payload: &row.payload })
            .collect();
        let (sink, started) = (self.sink(), Instant::now());
        let again = batch.iter().filter(|row| row.attempts > 1).count();
        metrics::PUBLISH_RETRIED.with([sink]).increment(again as u64);
        let answers = self.stream.put(&events).await.inspect_err(|_| self.called("failed"))?;
        let all = answers.iter().all(Option::is_none);
        self.called(if all { "ok" } else { "partial" });
        metrics::PUBLISH_SECONDS.with([sink]).record(started.elapsed());
        let answered = || batch.iter().zip(&answers);
        let (delay, since_claim) = (metrics::PUBLISH_DELAY.with([sink]), claimed_at.elapsed());
        for (row, _) in answered().filter(|(_, refusal)| refusal.is_none()) {
            delay.record((row.waited + since_claim).as_secs_f64());
        }
        let sent: Vec<i64> =
            answered().filter(|(_, refusal)| refusal.is_none()).map(|(row, _)| row.id).collect();
        let refused: Vec<(i64, Duration)> = answered()
            .filter(|(_, refusal)| refusal.is_some())
            .map(|(row, _)| (row.id, wait(row.attempts)))
            .collect();
        // They are out: forgetting that would send them twice. Tries until the database answers.
        let grace = async {
            self.shutdown.cancelled().await;
            tokio::time::sleep(GRACE).await;
        };
        tokio::select! {
            deleted = persist(ROLE, || self.outbox.delete(&sent)) => deleted?,
            // What stays in the queue is sent again by whoever comes next.
            () = grace => return Ok(()),
        }
        self.count("sent", sent.len());
        if let Some(code) = answers.iter().flatten().next() {
            self.count("refused", refused.len());
            tracing::warn!(role = ROLE, sink, refused = refused.len(), code, "records refused");
            self.outbox.defer(&refused).await?;
        }
        Ok(())
    }

    /// Sets aside what a sink can never take, so that it blocks nothing and is not lost.
    async fn park(&self, rows: Vec<Row>) -> Result<(), Fault> {
        for row in &rows {
            let (id, bytes) = (row.id, row.payload.len());
            tracing::error!(
                role = ROLE,
                sink = self.sink(),
                outbox_id = id,
                event_id = row.event_id,
                bytes,
                limit = RECORD_BYTES,
                "domain event is too large; set aside in pay.outbox"
            );
        }
        self.count("parked", rows.len());
        let ids: Vec<i64> = rows.iter().map(|row| row.id).collect();
        self.outbox.park(&ids).await
    }

    fn sink(&self) -> &'static str {
        self.outbox.sink.as_str()
    }

    fn called(&self, result: &'static str) {
        metrics::PUBLISH_CALLS.with([self.sink(), result]).increment(1);
    }

    fn count(&self, result: &'static str, events: usize) {
        metrics::PUBLISHED.with([self.sink(), result]).increment(events as u64);
    }
}

/// Consecutive rows within the limits of one call.
fn batches(rows: &[Row]) -> Vec<&[Row]> {
    let (mut batches, mut start, mut bytes) = (Vec::new(), 0, 0);
    for (at, row) in rows.iter().enumerate() {
        let size = row.payload.len() + 1;
        if at > start && (at - start == BATCH_RECORDS || bytes + size > BATCH_BYTES) {
            batches.push(&rows[start..at]);
            (start, bytes) = (at, 0);
        }
        bytes += size;
    }
    if start < rows.len() {
        batches.push(&rows[start..]);
    }
    batches
}

/// How long a refused record waits: doubling with its attempts, from a quarter second to a minute.
fn wait(attempts: i32) -> Duration {
    let doublings = u32::try_from(attempts.clamp(1, 9) - 1).unwrap_or_default();
    Duration::from_millis(250 << doublings).min(Duration::from_mins(1))
}

/// Keeps the queue's gauges; ends never. A failure shows as gauges that stand still, and in the
/// faults of the publisher itself.
async fn measure(outbox: Outbox) {
    let sink = outbox.sink.as_str();
    let mut tick = tokio::time::interval(MEASURE_INTERVAL);
    loop {
        tick.tick().await;
        let Ok(depth) = outbox.depth().await else { continue };
        metrics::OUTBOX.with([sink]).set(number(depth.waiting));
        metrics::OUTBOX_PARKED.with([sink]).set(number(depth.parked));
        metrics::OUTBOX_OLDEST.with([sink]).set(depth.oldest_seconds);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(sizes: &[usize]) -> Vec<Row> {
        sizes
            .iter()
            .zip(1..)
            .map(|(&size, id)| Row {
                id,
                event_id: String::new(),
                subject: String::new(),
                payload: "x".repeat(size),
                attempts: 1,
                waited: Duration::ZERO,
            })
            .collect()
    }

    #[test]
    fn batches_keep_both_limits_and_lose_nothing() {
        let many = rows(&vec![10; 1001]);
        let sizes: Vec<usize> = batches(&many).iter().map(|batch| batch.len()).collect();
        assert_eq!(sizes, [500, 500, 1]);
        let large = rows(&[RECORD_BYTES - 1; 9]);
        for batch in batches(&large) {
            assert!(batch.iter().map(|row| row.payload.len() + 1).sum::<usize>() <= BATCH_BYTES);
        }
        assert_eq!(batches(&large).concat().len(), 9);
        assert!(batches(&[]).is_empty());
    }

    #[test]
    fn a_refused_record_waits_longer_each_time() {
        let waits: Vec<u128> = [0, 1, 2, 3, 9, i32::MAX].map(|n| wait(n).as_millis()).to_vec();
        assert_eq!(waits, [250, 250, 500, 1000, 60_000, 60_000]);
    }
}
