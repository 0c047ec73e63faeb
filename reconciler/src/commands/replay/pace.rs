//! How a replay gives way to live traffic: it keeps to a rate, and waits while the role project is
//! behind.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sqlx::{PgPool, Row as _};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::database::{self, settle, within};
use crate::fault::{Fault, note};
use crate::source::topic::Log;

/// How often the lag is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// A projector whose positions have not moved for so long is down, or halted: nobody is kept from
/// catching up, and a replay may be what it waits for.
const STANDS_STILL: Duration = Duration::from_secs(10);

/// When the next batch may begin.
#[derive(Debug)]
pub(super) struct Pace {
    rate: Option<Rate>,
    held: watch::Receiver<bool>,
    /// Looks at the lag until this is dropped.
    _watch: JoinSet<()>,
}

impl Pace {
    /// No more than `max_rate` records a second; none while the role project is more than `max_lag`
    /// records behind the end of `log`.
    pub(super) fn new(
        max_rate: Option<u32>,
        max_lag: Option<u64>,
        log: Option<Arc<Log>>,
        pool: PgPool,
    ) -> Self {
        // Nothing is applied before the lag is seen for the first time.
        let (send, held) = watch::channel(log.is_some() && max_lag.is_some());
        let mut watch = JoinSet::new();
        if let (Some(max_lag), Some(log)) = (max_lag, log) {
            watch.spawn(follow(Lag { log, pool }, max_lag, send));
        }
        Self { rate: max_rate.map(Rate::new), held, _watch: watch }
    }

    /// Waits until so many records may be applied. Cancel it by dropping it.
    pub(super) async fn wait(&self, records: usize) {
        let mut held = self.held.clone();
        // Nobody looks any more: then nobody holds.
        let _ = held.wait_for(|held| !held).await;
        if let Some(rate) = &self.rate {
            tokio::time::sleep_until(rate.reserve(Instant::now(), records)).await;
        }
    }

    /// Whether live traffic is being waited for.
    pub(super) fn is_held(&self) -> bool {
        *self.held.borrow()
    }
}

/// A rate, kept by giving each batch the time at which those before it are paid for.
#[derive(Debug)]
struct Rate {
    per_second: f64,
    next: Mutex<Option<Instant>>,
}

impl Rate {
    fn new(per_second: u32) -> Self {
        Self { per_second: f64::from(per_second.max(1)), next: Mutex::new(None) }
    }

    /// When so many records may go. What was not used before is not saved up.
    fn reserve(&self, now: Instant, records: usize) -> Instant {
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        let at = next.map_or(now, |next| next.max(now));
        #[expect(clippy::cast_precision_loss, reason = "a batch is small")]
        let took = records as f64 / self.per_second;
        *next = Some(at + Duration::from_secs_f64(took));
        at
    }
}

/// Says when to hold, until it is dropped.
async fn follow(lag: Lag, max_lag: u64, hold: watch::Sender<bool>) {
    let mut ticks = tokio::time::interval(LOOK_EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut was_held = false;
    loop {
        ticks.tick().await;
        let holds = match lag.look().await {
            Ok(live) => live.holds(max_lag).then_some(live.records),
            // Nobody is held by what cannot be seen.
            Err(fault) => {
                note("replay", &fault, LOOK_EVERY);
                None
            }
        };
        if let Some(lag) = holds
            && !was_held
        {
            tracing::info!(lag, max_lag, "waits for live traffic");
        }
        was_held = holds.is_some();
        hold.send_replace(was_held);
    }
}

/// How far the role project is.
struct Lag {
    log: Arc<Log>,
    pool: PgPool,
}

/// The role project as it was a moment ago.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Live {
    /// Records that it has yet to do.
    records: u64,
    /// Since when no position has moved.
    still: Duration,
}

impl Live {
    fn holds(self, max_lag: u64) -> bool {
        self.records > max_lag && self.still < STANDS_STILL
    }
}

impl Lag {
    async fn look(&self) -> Result<Live, Fault> {
        let mut connection = database::acquire(&self.pool).await?;
        let topic = self.log.topic();
        let rows = sqlx::query(
            "select partition, next_offset,
               extract(epoch from clock_timestamp() - updated_at)::double precision as still
             from pay.position where role = 'project' and cluster = $1 and topic_id = $2",
        )
        .bind(&topic.cluster_id)
        .bind(&topic.topic_id)
        .fetch_all(&mut *connection);
        let rows = within(rows).await.and_then(|rows| {
            let position = |row: &sqlx::postgres::PgRow| {
                Ok((row.try_get(0)?, row.try_get(1)?, row.try_get::<f64, _>(2)?))
            };
            rows.iter().map(position).collect::<sqlx::Result<Vec<(i32, i64, f64)>>>()
        });
        let positions = settle(connection, "reading positions", rows).await?;
        let ends = self.log.ends().await?;
        let behind = |(partition, next, _): &(i32, i64, f64)| {
            let (_, high) = ends.get(partition)?;
            u64::try_from(high - next).ok()
        };
        let still = positions.iter().map(|(_, _, still)| *still).fold(f64::INFINITY, f64::min);
        let still = Duration::try_from_secs_f64(still.max(0.0)).unwrap_or(Duration::MAX);
        Ok(Live { records: positions.iter().filter_map(behind).sum(), still })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_kept_whatever_the_batches() {
        let (rate, begin) = (Rate::new(100), Instant::now());
        let at = |records| (rate.reserve(begin, records) - begin).as_millis();
        assert_eq!([at(50), at(10), at(40), at(1)], [0, 500, 600, 1000]);
        // Time that went unused is not made up for.
        let later = begin + Duration::from_mins(1);
        assert_eq!(rate.reserve(later, 100), later);
        assert_eq!(rate.reserve(later, 1), later + Duration::from_secs(1));
    }

    #[test]
    fn only_a_projector_that_catches_up_is_waited_for() {
        let live = |records, seconds| Live { records, still: Duration::from_secs(seconds) };
        assert!(live(1001, 0).holds(1000) && live(1001, 9).holds(1000));
        assert!(!live(1000, 0).holds(1000));
        assert!(!live(1001, 10).holds(1000), "it may have halted");
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_held_waits_until_it_is_let_go() {
        let (send, held) = watch::channel(true);
        let pace = Pace { rate: None, held, _watch: JoinSet::new() };
        let minute = Duration::from_mins(1);
        assert!(tokio::time::timeout(minute, pace.wait(1)).await.is_err() && pace.is_held());
        send.send(false).unwrap();
        pace.wait(1).await;
        drop(send);
        pace.wait(1).await;
    }
}
