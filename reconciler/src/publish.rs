//! The role publish: domain events from the queue `pay.outbox` to a sink.
//!
//! Each sink has a publisher, rows and lag of its own, so none waits for another.
//! Rows are claimed in a statement of their own, which leases them for longer than any call may
//! take, sent outside any transaction, and deleted once they are acknowledged. A publisher that
//! dies leaves a lease that ends. So each event is sent at least once, and several publishers
//! share the queue without waiting for each other.

mod outbox;
mod send;

use std::collections::BTreeSet;
use std::time::Duration;

use sqlx::PgPool;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

pub(crate) use self::outbox::Outbox;
use self::outbox::Row;
use self::send::wait;
pub(crate) use self::send::{
    BATCH_BYTES, BATCH_RECORDS, CALL_TIMEOUT, Event, EventStream, RECORD_BYTES, Refusal, batches,
    call,
};
use crate::fault::{Backoff, Fault, note, persist};
use crate::metrics::{self, number};
use crate::sink::Sink;

/// The role's name.
const ROLE: &str = "publish";
/// Time to forget what was sent, once shutdown was asked for.
const GRACE: Duration = Duration::from_secs(5);
/// How often the queue is measured.
const MEASURE_INTERVAL: Duration = Duration::from_secs(10);

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
            rows.into_iter().partition(|row| !row.event().is_too_large());
        self.park(too_large).await?;
        let mut batches = batches(&rows, BATCH_RECORDS, Row::event).into_iter();
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
        let events: Vec<Event<'_>> = batch.iter().map(Row::event).collect();
        let sink = self.outbox.sink.as_str();
        let again = batch.iter().filter(|row| row.attempts > 1).count();
        metrics::PUBLISH_RETRIED.with([sink]).increment(again as u64);
        let answers = call(&self.stream, self.outbox.sink, &events).await?;
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
        if !refused.is_empty() {
            self.outbox.defer(&refused).await?;
        }
        Ok(())
    }

    /// Sets aside what a sink can never take, so that it blocks nothing and is not lost.
    async fn park(&self, rows: Vec<Row>) -> Result<(), Fault> {
        let sink = self.outbox.sink.as_str();
        for row in &rows {
            let (id, bytes) = (row.id, row.payload.len());
            tracing::error!(
                role = ROLE,
                sink,
                outbox_id = id,
                event_id = row.event_id,
                bytes,
                limit = RECORD_BYTES,
                "domain event is too large; set aside in pay.outbox"
            );
        }
        send::count(sink, "parked", rows.len());
        let ids: Vec<i64> = rows.iter().map(|row| row.id).collect();
        self.outbox.park(&ids).await
    }
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
