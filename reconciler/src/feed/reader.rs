//! The thread that owns the consumer.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use kafka::metrics::Meter;
use kafka::topic::Topic;
use rdkafka::ClientConfig;
use rdkafka::consumer::base_consumer::PartitionQueue;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::BorrowedMessage;
use rdkafka::{Offset, TopicPartitionList};
use service::exit::ConfigError;
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::buffers::Shared;
use super::context::{Context, Silent, copy};
use super::lag::Lag;
use super::start::{Origin, Start, Started};
use super::{FeedLimits, FeedOptions};
use crate::fault::{Fault, persist};
use crate::metrics;
use crate::position::Positions;

/// Longest time between two polls.
const POLL_INTERVAL: Duration = Duration::from_millis(250);
/// Polls of the main queue in a row; it holds events, never many.
const EVENTS_AT_ONCE: usize = 16;
/// How often Kafka is told how far the role is.
const COMMIT_INTERVAL: Duration = Duration::from_secs(1);
/// Wait before positions are loaded again after Kafka refused one.
const RELOAD_DELAY: Duration = Duration::from_secs(1);

pub(super) enum Command {
    /// Poll now: a queue is no longer empty, or a buffer no longer full.
    Wake,
    Assigned(Vec<i32>),
    Revoked,
    /// The positions of this epoch are loaded.
    Loaded {
        epoch: u64,
        started: Result<Started, Fault>,
    },
    Reload,
    Done(BTreeMap<i32, i64>),
    LogEnds(BTreeMap<i32, i64>),
    Stop,
}

/// Where to send commands to the thread. One that is gone needs none.
#[derive(Clone)]
pub(super) struct Commands(Sender<Command>);

impl Commands {
    /// A way to send commands, and its other end.
    pub(super) fn channel() -> (Self, Receiver<Command>) {
        let (sender, receiver) = channel();
        (Self(sender), receiver)
    }

    pub(super) fn send(&self, command: Command) {
        let _ = self.0.send(command);
    }
}

impl fmt::Debug for Commands {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Commands")
    }
}

struct Reader {
    role: &'static str,
    consumer: Arc<BaseConsumer<Context>>,
    queues: Vec<(i32, PartitionQueue<Context>)>,
    commands: Commands,
    shared: Arc<Shared>,
    runtime: Handle,
    start: Arc<Start>,
    epoch: u64,
    /// Partitions of this epoch, loaded or not.
    assigned: Vec<i32>,
    /// Ends the loading of the epoch's positions when dropped.
    loading: Option<DropGuard>,
    lag: Lag,
    /// When what is done is to be committed; `None` while nothing is new.
    commit_due: Option<Instant>,
}

/// Makes the consumer, subscribes it and starts its thread. The receiver hears, by its sender being
/// dropped, when the thread has left the group and ended.
pub(super) fn spawn(
    options: FeedOptions,
    topic: Topic,
    positions: Positions,
    origin: Option<Arc<dyn Origin>>,
    shared: Arc<Shared>,
) -> Result<(Commands, oneshot::Receiver<()>), ConfigError> {
    let (commands, receiver) = Commands::channel();
    let context = Context {
        role: options.role,
        topic: topic.name.clone(),
        commands: commands.clone(),
        meter: Meter::new(options.role),
    };
    let mut consumer: BaseConsumer<Context> =
        client_config(&options)?.create_with_context(context).map_err(|e| kafka::refused(&e))?;
    let wake = commands.clone();
    consumer.set_nonempty_callback(move || wake.send(Command::Wake));
    consumer.subscribe(&[&topic.name]).map_err(|error| kafka::refused(&error))?;

    let mut reader = Reader {
        role: options.role,
        consumer: Arc::new(consumer),
        queues: Vec::new(),
        commands: commands.clone(),
        shared,
        runtime: Handle::current(),
        start: Arc::new(Start {
            role: options.role,
            kafka: options.kafka,
            topic,
            positions,
            origin,
        }),
        epoch: 0,
        assigned: Vec::new(),
        loading: None,
        lag: Lag::new(options.role),
        commit_due: None,
    };
    let (ended, closed) = oneshot::channel();
    std::thread::Builder::new()
        .name(format!("feed-{}", options.role))
        .spawn(move || {
            reader.run(&receiver);
            drop(reader);
            drop(ended);
        })
        .map_err(|error| ConfigError::new("feed", format!("no thread for it: {error}")))?;
    Ok((commands, closed))
}

/// Whether a consumer can be made of these settings: librdkafka judges some of them, and reads the
/// files that they name, only then. Without brokers it opens nothing.
pub(crate) fn check(options: &FeedOptions) -> Result<(), ConfigError> {
    let config = kafka::without_brokers(&client_config(options)?);
    let made: Result<BaseConsumer<Silent>, _> = config.create_with_context(Silent);
    made.map(drop).map_err(|error| kafka::refused(&error))
}

fn client_config(options: &FeedOptions) -> Result<ClientConfig, ConfigError> {
    let FeedLimits { prefetch_kib, session_timeout, .. } = options.limits;
    let session_timeout = session_timeout.as_millis();
    let mut config = options.kafka.client_config()?;
    config
        .set("group.id", &options.group)
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        // A position that the log does not hold is for a person to judge.
        .set("auto.offset.reset", "error")
        // An eager assignor: revoke and assign always name everything.
        .set("partition.assignment.strategy", "range")
        .set("session.timeout.ms", session_timeout.to_string())
        .set("heartbeat.interval.ms", (session_timeout / 3).to_string())
        .set("queued.max.messages.kbytes", prefetch_kib.to_string())
        // A queue that was full asks again soon, and does not wait for others' long poll.
        .set("fetch.queue.backoff.ms", "20")
        .set("fetch.wait.max.ms", "100")
        .set("check.crcs", "true")
        // After an outage, find the broker again soon.
        .set("reconnect.backoff.max.ms", "2000")
        .set("statistics.interval.ms", kafka::metrics::STATISTICS_INTERVAL_MS);
    Ok(config)
}

impl Reader {
    fn run(&mut self, commands: &Receiver<Command>) {
        loop {
            match commands.recv_timeout(POLL_INTERVAL) {
                Ok(Command::Stop) | Err(RecvTimeoutError::Disconnected) => break,
                Ok(command) => self.obey(command),
                Err(RecvTimeoutError::Timeout) => {}
            }
            self.poll_events();
            self.fill_buffers();
            if self.commit_due.is_some_and(|due| due <= Instant::now()) {
                self.commit();
            }
        }
        self.commit();
        self.loading = None;
        self.queues.clear();
        // Dropping the last handle of the consumer leaves the group. It must be this one, for it
        // blocks: as long as the broker does not answer, which may be for ever.
        while Arc::strong_count(&self.consumer) > 1 {
            self.poll_events();
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Wake | Command::Stop => {}
            Command::Assigned(partitions) => {
                tracing::info!(role = self.role, ?partitions, "assigned");
                metrics::REBALANCES.with([self.role, "assigned"]).increment(1);
                self.assigned = partitions;
                self.load(Duration::ZERO);
            }
            Command::Revoked => {
                tracing::info!(role = self.role, partitions = ?self.assigned, "revoked");
                metrics::REBALANCES.with([self.role, "revoked"]).increment(1);
                self.assigned.clear();
                self.end_epoch();
            }
            Command::Reload => self.reload(Duration::ZERO),
            Command::Loaded { epoch, .. } if epoch != self.epoch => {}
            Command::Loaded { started: Ok(started), .. } => self.begin_epoch(started),
            Command::Loaded { started: Err(fault), .. } => self.shared.fail(fault),
            Command::Done(next_offsets) => self.note_done(next_offsets),
            Command::LogEnds(ends) => self.lag.ends(&ends),
        }
    }

    /// Loads this epoch's positions on the runtime; they come back as a command.
    fn load(&mut self, delay: Duration) {
        self.epoch += 1;
        let cancel = CancellationToken::new();
        self.loading = Some(cancel.clone().drop_guard());
        let (role, epoch, commands) = (self.role, self.epoch, self.commands.clone());
        let (start, consumer) = (self.start.clone(), self.consumer.clone());
        let partitions = self.assigned.clone();
        self.runtime.spawn(cancel.run_until_cancelled_owned(async move {
            tokio::time::sleep(delay).await;
            let started = persist(role, || start.of(&consumer, &partitions)).await;
            drop(consumer);
            commands.send(Command::Loaded { epoch, started });
        }));
    }

    fn begin_epoch(&mut self, started: Started) {
        let Started { positions, log_ends } = started;
        self.loading = None;
        let topic = &self.start.topic.name;
        let mut list = TopicPartitionList::new();
        for (&partition, position) in &positions {
            let Some(mut queue) = self.consumer.split_partition_queue(topic, partition) else {
                let fault = Fault::halt("assigning partitions", "librdkafka has no queue for it");
                return self.shared.fail(fault);
            };
            let wake = self.commands.clone();
            queue.set_nonempty_callback(move || wake.send(Command::Wake));
            self.queues.push((partition, queue));
            let offset = Offset::Offset(position.next_offset);
            if let Err(error) = list.add_partition_offset(topic, partition, offset) {
                return self.shared.fail(Fault::kafka("assigning partitions", error));
            }
        }
        let next_offsets = positions.iter().map(|(&p, position)| (p, position.next_offset));
        self.lag.begin(next_offsets, &log_ends);
        // Buffers first: a record may come as soon as the partition is assigned.
        self.shared.assign(self.epoch, positions);
        if let Err(error) = self.consumer.assign(&list) {
            self.shared.fail(Fault::kafka("assigning partitions", error));
        }
    }

    fn end_epoch(&mut self) {
        self.epoch += 1;
        self.loading = None;
        self.queues.clear();
        self.lag.end();
        self.shared.revoke();
    }

    fn reload(&mut self, delay: Duration) {
        if self.assigned.is_empty() {
            return;
        }
        self.end_epoch();
        if let Err(error) = self.consumer.assign(&TopicPartitionList::new()) {
            tracing::warn!(role = self.role, %error, "letting go of partitions");
        }
        self.load(delay);
    }

    /// The main queue has events and errors; records come by the partitions' own queues.
    fn poll_events(&mut self) {
        for _ in 0..EVENTS_AT_ONCE {
            let failed = match self.consumer.poll(Duration::ZERO) {
                Some(Ok(message)) => {
                    take(&message, &mut self.lag, &self.shared);
                    continue;
                }
                Some(Err(error)) => error,
                None => continue,
            };
            self.heed(&failed);
        }
    }

    fn fill_buffers(&mut self) {
        let mut failed = None;
        for (partition, queue) in &self.queues {
            while self.shared.has_room(*partition) {
                match queue.poll(Duration::ZERO) {
                    Some(Ok(message)) => take(&message, &mut self.lag, &self.shared),
                    Some(Err(error)) => failed = Some(error),
                    None => break,
                }
            }
        }
        if let Some(error) = failed {
            self.heed(&error);
        }
    }

    /// A few errors need an answer.
    fn heed(&mut self, error: &KafkaError) {
        match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::AutoOffsetReset | RDKafkaErrorCode::OffsetOutOfRange) => {
                tracing::warn!(role = self.role, %error, "the log does not hold a position");
                self.reload(RELOAD_DELAY);
            }
            Some(RDKafkaErrorCode::Fatal) => {
                self.shared.fail(Fault::halt("consuming", error.to_string()));
            }
            // librdkafka has logged it already, and goes on by itself.
            _ => tracing::debug!(role = self.role, %error, "consuming"),
        }
    }

    fn note_done(&mut self, next_offsets: BTreeMap<i32, i64>) {
        self.lag.done(next_offsets);
        self.commit_due.get_or_insert_with(|| Instant::now() + COMMIT_INTERVAL);
    }

    /// For lag displays only, so whether it arrives does not matter.
    fn commit(&mut self) {
        self.commit_due = None;
        let mut list = TopicPartitionList::new();
        for (partition, done) in self.lag.next_offsets() {
            let topic = &self.start.topic.name;
            let _ = list.add_partition_offset(topic, partition, Offset::Offset(done));
        }
        if list.count() > 0 {
            let _ = self.consumer.commit(&list, CommitMode::Async);
        }
    }
}

fn take(message: &BorrowedMessage<'_>, lag: &mut Lag, shared: &Shared) {
    let record = copy(message);
    lag.arrived(&record);
    shared.push(record);
}
