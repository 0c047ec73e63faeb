//! The role archive: every record of the raw topic, byte for byte, into segments in S3.
//!
//! Each assigned partition has one open segment. It closes by size, by number or by age, or when
//! all open segments together are too large and it is the largest, and is then written by a task
//! of its own ([`upload`]) while the partition's next one fills. A partition writes one segment at
//! a time, for each manifest names the one before.

mod resume;
mod skip;
mod upload;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use domain::archive::Segment;
use tokio::task::{JoinError, JoinSet};
use tokio::time::Instant;

use self::upload::Uploaded;
use crate::fault::Fault;
use crate::feed::{Batch, BatchLimit, Delivery, Feed};
use crate::position::Position;
use crate::s3::ObjectStore;

pub(crate) use self::upload::{Destination, Writer, compress};

/// The role's name.
const ROLE: &str = "archive";
/// What is taken from the feed at once.
const BATCH: BatchLimit =
    BatchLimit { records: 1000, bytes: 4 * 1024 * 1024, linger: Duration::from_millis(5) };

/// When segments close.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Bytes of a segment's lines.
    pub(crate) segment_bytes: usize,
    /// Records of a segment.
    pub(crate) segment_records: usize,
    /// Time since a segment's first record came.
    pub(crate) segment_age: Duration,
    /// Bytes of all lines that are not written yet.
    pub(crate) open_bytes: usize,
    /// Segments that are written at the same time.
    pub(crate) uploads: usize,
    /// Time to write what is open when the process ends.
    pub(crate) drain: Duration,
}

/// Runs until shutdown, which it meets by writing its open segments, or a fault that halts.
pub(crate) async fn run<S: ObjectStore>(
    mut feed: Feed,
    writer: Arc<Writer<S>>,
    limits: Limits,
) -> Result<(), Fault> {
    describe_metrics();
    let mut archiver =
        Archiver { writer, limits, epoch: 0, partitions: BTreeMap::new(), uploads: JoinSet::new() };
    let ended = archiver.follow(&mut feed).await;
    if ended.is_ok() {
        archiver.drain(&feed).await?;
    }
    feed.close().await;
    ended
}

struct Archiver<S> {
    writer: Arc<Writer<S>>,
    limits: Limits,
    epoch: u64,
    partitions: BTreeMap<i32, Partition>,
    uploads: JoinSet<(u64, i32, Result<Uploaded, Fault>)>,
}

/// One assigned partition.
struct Partition {
    /// What is written, and the chain so far.
    written: Position,
    open: Segment,
    opened: Instant,
    /// Bytes of the segment that is being written.
    uploading: Option<usize>,
}

impl Partition {
    fn at(written: Position) -> Self {
        Self { written, open: Segment::default(), opened: Instant::now(), uploading: None }
    }

    fn bytes(&self) -> usize {
        self.open.bytes() + self.uploading.unwrap_or_default()
    }

    fn can_close(&self) -> bool {
        self.uploading.is_none() && !self.open.is_empty()
    }
}

impl<S: ObjectStore> Archiver<S> {
    async fn follow(&mut self, feed: &mut Feed) -> Result<(), Fault> {
        loop {
            let due = self.partitions.values().filter(|partition| partition.can_close());
            let due = due.map(|partition| partition.opened + self.limits.segment_age).min();
            let idle = self.uploads.len() < self.limits.uploads;
            let full = self.bytes() >= self.limits.open_bytes;
            tokio::select! {
                delivery = async {
                    // However long S3 is away, what ends the epoch or the process is heard.
                    if full { feed.next_event().await } else { feed.next(BATCH).await }
                } => {
                    match delivery? {
                        None => return Ok(()),
                        Some(Delivery::Assigned { epoch, positions }) => self.assign(epoch, positions),
                        Some(Delivery::Revoked) => self.revoke(),
                        Some(Delivery::Records(batch)) => self.take(batch),
                    }
                }
                Some(uploaded) = self.uploads.join_next() => self.finish(uploaded, feed)?,
                () = sleep_until(due), if due.is_some() && idle => {}
            }
            self.close_due();
            self.measure();
        }
    }

    fn bytes(&self) -> usize {
        self.partitions.values().map(Partition::bytes).sum()
    }

    fn assign(&mut self, epoch: u64, positions: BTreeMap<i32, Position>) {
        self.epoch = epoch;
        self.partitions =
            positions.into_iter().map(|(number, at)| (number, Partition::at(at))).collect();
    }

    /// What is half written will be found by whoever owns the partition next.
    fn revoke(&mut self) {
        self.uploads.abort_all();
        self.partitions.clear();
    }

    fn take(&mut self, batch: Batch) {
        for record in batch.records {
            let Some(partition) = self.partitions.get_mut(&record.partition) else { continue };
            // Another writer's segment, found and adopted, may already hold it.
            if record.offset < partition.written.next_offset {
                continue;
            }
            if partition.open.is_empty() {
                partition.opened = Instant::now();
            }
            partition.open.push(self.writer.topic(), &record);
        }
    }

    /// Starts to write every segment that is due, as far as uploads are free.
    fn close_due(&mut self) {
        let limits = self.limits;
        let full = |partition: &Partition| {
            partition.open.bytes() >= limits.segment_bytes
                || partition.open.listed().len() >= limits.segment_records
                || partition.opened.elapsed() >= limits.segment_age
        };
        let due: Vec<i32> = self
            .partitions
            .iter()
            .filter(|(_, partition)| partition.can_close() && full(partition))
            .map(|(&number, _)| number)
            .collect();
        for number in due {
            self.close(number);
        }
        if self.bytes() >= limits.open_bytes {
            let largest = self
                .partitions
                .iter()
                .filter(|(_, partition)| partition.can_close())
                .max_by_key(|(_, partition)| partition.open.bytes());
            if let Some((&number, _)) = largest {
                self.close(number);
            }
        }
    }

    fn close(&mut self, number: i32) {
        if self.uploads.len() >= self.limits.uploads {
            return;
        }
        let Some(partition) = self.partitions.get_mut(&number) else { return };
        let (segment, rest) = std::mem::take(&mut partition.open)
            .cut(self.limits.segment_records, self.limits.segment_bytes);
        partition.open = rest;
        partition.uploading = Some(segment.bytes());
        let (writer, epoch, chain) = (self.writer.clone(), self.epoch, partition.written.chain);
        self.uploads
            .spawn(async move { (epoch, number, writer.write(number, chain, segment).await) });
    }

    fn finish(
        &mut self,
        upload: Result<(u64, i32, Result<Uploaded, Fault>), JoinError>,
        feed: &Feed,
    ) -> Result<(), Fault> {
        let (epoch, number, uploaded) = match upload {
            Ok(upload) => upload,
            Err(aborted) if aborted.is_cancelled() => return Ok(()),
            Err(panicked) => return Err(Fault::halt("writing a segment", panicked)),
        };
        let Uploaded { written, rest } = uploaded?;
        feed.done(BTreeMap::from([(number, written.next_offset)]));
        if epoch != self.epoch {
            return Ok(());
        }
        let Some(partition) = self.partitions.get_mut(&number) else { return Ok(()) };
        let newer = std::mem::take(&mut partition.open).after(written.next_offset - 1);
        let opened = if rest.is_empty() { partition.opened } else { Instant::now() };
        let mut open = rest;
        open.append(newer);
        *partition = Partition { written, open, opened, uploading: None };
        Ok(())
    }

    /// Writes everything that is open, as far as the time reaches.
    async fn drain(&mut self, feed: &Feed) -> Result<(), Fault> {
        let deadline = Instant::now() + self.limits.drain;
        loop {
            let open: Vec<i32> = self
                .partitions
                .iter()
                .filter(|(_, partition)| partition.can_close())
                .map(|(&number, _)| number)
                .collect();
            for number in open {
                self.close(number);
            }
            match tokio::time::timeout_at(deadline, self.uploads.join_next()).await {
                Ok(Some(uploaded)) => self.finish(uploaded, feed)?,
                Ok(None) => return Ok(()),
                Err(_) => {
                    let segments = self.partitions.values().filter(|p| p.bytes() > 0).count();
                    tracing::warn!(
                        role = ROLE,
                        segments,
                        "no time left to write open segments; the next start reads them again"
                    );
                    return Ok(());
                }
            }
        }
    }

    fn measure(&self) {
        #[expect(clippy::cast_precision_loss, reason = "gauges")]
        metrics::gauge!("reconciler_archive_open_bytes").set(self.bytes() as f64);
    }
}

async fn sleep_until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}

fn describe_metrics() {
    use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};
    describe_gauge!(
        "reconciler_archive_open_bytes",
        Unit::Bytes,
        "Lines that are not in S3 yet, before compression"
    );
    describe_counter!(
        "reconciler_archive_segments_total",
        "Segments in S3, by how they came there: written, or adopted from another writer"
    );
    describe_counter!("reconciler_archive_records_total", "Records in segments");
    describe_counter!(
        "reconciler_archive_stored_bytes_total",
        Unit::Bytes,
        "Compressed bytes written to S3"
    );
    describe_histogram!(
        "reconciler_archive_upload_seconds",
        Unit::Seconds,
        "From a segment's closing to its position, retries included"
    );
}
