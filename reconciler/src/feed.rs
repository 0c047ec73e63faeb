//! A role's stream of raw records.
//!
//! A thread of its own owns the Kafka consumer and polls it at least four times a second,
//! whatever the role does, so a slow sink never costs the group membership. Between it and the
//! role lies a bounded buffer per partition. A full buffer is simply not filled further: each
//! partition has a queue of its own inside librdkafka, whose bounds then stop the fetching. So
//! nothing is ever paused or resumed, and nothing that was fetched is thrown away.
//!
//! Where to read from is for Postgres to say, not for Kafka. On an assignment the consumer
//! acknowledges at once with nothing assigned, so that a slow Postgres never holds up the group;
//! the positions are loaded, checked against the log's ends, and only then does the consumer get
//! its partitions, with explicit offsets. Each assignment is an *epoch*; a revocation ends it and
//! drops what was buffered.

mod buffers;
mod context;
mod reader;
mod start;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use domain::record::RawRecord;
use kafka::topic::Topic;
use service::exit::ConfigError;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use self::buffers::{Event, Shared};
pub(crate) use self::context::copy;
pub(crate) use self::reader::check;
use self::reader::{Command, Commands};
pub(crate) use self::start::{Origin, log_ends};
use crate::fault::Fault;
use crate::position::{Position, Positions};

/// Time to leave the consumer group.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(6);

/// What a feed needs to know.
#[derive(Debug, Clone)]
pub(crate) struct FeedOptions {
    /// How to reach Kafka.
    pub kafka: kafka::Options,
    /// The role, for logs and metrics.
    pub role: &'static str,
    /// Consumer group.
    pub group: String,
    /// Bounds of what waits for the role.
    pub limits: FeedLimits,
}

/// Bounds of what waits for a role. One record more than the bound may wait.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FeedLimits {
    /// Records per partition.
    pub records: usize,
    /// Bytes per partition.
    pub bytes: usize,
    /// KiB that librdkafka may fetch ahead per partition.
    pub prefetch_kib: u32,
    /// Silence after which the group gives this member's partitions to others.
    pub session_timeout: Duration,
}

/// Bounds of one batch.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BatchLimit {
    /// Most records.
    pub records: usize,
    /// Most bytes, except that one record always fits.
    pub bytes: usize,
    /// How long to wait for more once the first record is there.
    pub linger: Duration,
}

/// Records of one epoch, of one or more partitions; in order within each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Batch {
    /// The assignment it belongs to.
    pub epoch: u64,
    /// At least one record.
    pub records: Vec<RawRecord>,
}

/// What a role gets from its feed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Delivery {
    /// A new epoch: from now on records of these partitions come, starting at these positions.
    Assigned {
        /// Grows with every assignment.
        epoch: u64,
        /// Every assigned partition.
        positions: BTreeMap<i32, Position>,
    },
    /// The epoch is over; another process may own its partitions already.
    Revoked,
    /// Records of the current epoch.
    Records(Batch),
}

/// The role's end of the feed.
#[derive(Debug)]
pub(crate) struct Feed {
    shared: Arc<Shared>,
    commands: Commands,
    /// Ends when the reader's thread has left the group.
    closed: oneshot::Receiver<()>,
    shutdown: CancellationToken,
}

impl Feed {
    /// Joins the consumer group. A partition without a position begins where `origin` says, else at
    /// its earliest record. `shutdown` ends [`next`](Self::next); the group is left by
    /// [`close`](Self::close), so that a role can finish its work first. Needs a tokio runtime.
    pub(crate) fn start(
        options: FeedOptions,
        topic: &Topic,
        positions: Positions,
        origin: Option<Arc<dyn Origin>>,
        shutdown: CancellationToken,
    ) -> Result<Self, ConfigError> {
        let shared = Arc::new(Shared::new(options.limits));
        let (commands, closed) =
            reader::spawn(options, topic.clone(), positions, origin, shared.clone())?;
        Ok(Self { shared, commands, closed, shutdown })
    }

    /// The next delivery: waits until there is one. `None` once shutdown was asked for.
    pub(crate) async fn next(&mut self, limit: BatchLimit) -> Result<Option<Delivery>, Fault> {
        self.deliver(Some(limit)).await
    }

    /// The next delivery that is not of records: for a role that has no room for any, but must hear
    /// of a revocation, a fault or shutdown all the same. `None` once shutdown was asked for.
    pub(crate) async fn next_event(&mut self) -> Result<Option<Delivery>, Fault> {
        self.deliver(None).await
    }

    async fn deliver(&mut self, limit: Option<BatchLimit>) -> Result<Option<Delivery>, Fault> {
        loop {
            let arrived = self.shared.arrived.notified();
            match self.shared.next_event() {
                Some(Event::Failed(fault)) => return Err(fault),
                Some(Event::Assigned { epoch, positions }) => {
                    return Ok(Some(Delivery::Assigned { epoch, positions }));
                }
                Some(Event::Revoked) => return Ok(Some(Delivery::Revoked)),
                None => {}
            }
            if self.shutdown.is_cancelled() {
                return Ok(None);
            }
            let waiting = self.shared.waiting();
            if let Some(limit) = limit
                && waiting > 0
            {
                if waiting < limit.records && !limit.linger.is_zero() {
                    tokio::time::sleep(limit.linger).await;
                }
                // An event that came while lingering comes first.
                if let Some((batch, made_room)) = self.shared.take(limit) {
                    if made_room {
                        self.commands.send(Command::Wake);
                    }
                    return Ok(Some(Delivery::Records(batch)));
                }
                continue;
            }
            tokio::select! {
                () = arrived => {}
                () = self.shutdown.cancelled() => return Ok(None),
            }
        }
    }

    /// Tells Kafka how far the role is, for lag displays only, and keeps the lag metrics.
    pub(crate) fn done(&self, next_offsets: BTreeMap<i32, i64>) {
        self.commands.send(Command::Done(next_offsets));
    }

    /// Starts a new epoch from the positions in Postgres. For after a failover: a server that was
    /// restored to an older state has lost what this process believes is done. What waits is
    /// dropped at once: the next records are of the new epoch. Drop the batch in hand as well, for
    /// applying it would move the position over what was lost.
    pub(crate) fn reload(&self) {
        self.shared.revoke();
        self.commands.send(Command::Reload);
    }

    /// Leaves the group, so that others get the partitions at once. A broker that does not answer
    /// keeps nobody for longer than [`CLOSE_TIMEOUT`]: positions are in Postgres, and the others
    /// get the partitions when the session times out.
    pub(crate) async fn close(mut self) {
        self.commands.send(Command::Stop);
        if tokio::time::timeout(CLOSE_TIMEOUT, &mut self.closed).await.is_err() {
            tracing::warn!("Kafka does not answer; gone without leaving the consumer group");
        }
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.commands.send(Command::Stop);
    }
}

#[cfg(test)]
#[path = "feed_tests.rs"]
mod tests;
