//! One segment on its way: segment, manifest, position, in this order.
//!
//! Whatever dies in between, and whoever else writes the same partition: the first writer of an
//! object wins, everybody else adopts what is there, and so there is one chain.

use std::io::Read as _;
use std::sync::Arc;

use bytes::Bytes;
use domain::archive::{Manifest, Place, Segment, Sha256Hash};
use tokio::time::Instant;

use super::ROLE;
use crate::fault::{Fault, persist};
use crate::position::{Position, Positions};
use crate::s3::{Created, ObjectStore};

/// zstd's own default: a good ratio at some hundred MB a second.
const COMPRESSION_LEVEL: i32 = 3;
/// Most bytes that a stored segment may decompress to: a bound on memory, not on segments.
const STORED_BYTES_MAX: u64 = 2 * 1024 * 1024 * 1024;

/// Where segments go.
#[derive(Debug)]
pub(crate) struct Destination<S> {
    /// The bucket.
    pub(crate) store: S,
    /// The topic's place in it.
    pub(crate) place: Place,
    /// The topic's name.
    pub(crate) topic: String,
    /// The role's positions.
    pub(crate) positions: Positions,
}

/// What is in S3 now.
#[derive(Debug)]
pub(super) struct Uploaded {
    /// Position after the stored segment.
    pub(super) written: Position,
    /// Records that were to be written but are not in the stored segment, which another wrote.
    pub(super) rest: Segment,
}

/// Writes segments to their destination.
#[derive(Debug)]
pub(crate) struct Writer<S> {
    pub(super) to: Destination<S>,
}

impl<S: ObjectStore> Writer<S> {
    pub(crate) fn new(to: Destination<S>) -> Self {
        Self { to }
    }

    pub(super) fn topic(&self) -> &str {
        &self.to.topic
    }

    /// Brings a segment, which must not be empty, to S3. Tries until it succeeds; an error halts.
    pub(super) async fn write(
        &self,
        partition: i32,
        previous: Option<Sha256Hash>,
        segment: Segment,
    ) -> Result<Uploaded, Fault> {
        let started = Instant::now();
        let Some(first) = segment.first_offset() else {
            return Err(Fault::halt("writing a segment", "it is empty"));
        };
        let key = self.to.place.segment_key(partition, first, segment.first_timestamp_ms());
        let (stored, rest) = self.put_segment(&key, segment).await?;
        let manifest = Manifest::of(&stored, key, &self.to.topic, partition, previous)
            .ok_or_else(|| Fault::halt("writing a segment", "the stored one is empty"))?;
        self.put_manifest(&manifest).await?;
        let written = Position::after(&manifest);
        persist(ROLE, || self.to.positions.store(partition, written)).await?;
        metrics::counter!("reconciler_archive_records_total").increment(manifest.count as u64);
        metrics::histogram!("reconciler_archive_upload_seconds").record(started.elapsed());
        Ok(Uploaded { written, rest })
    }

    /// The segment that lies at `key` in the end, and what of ours is beyond it.
    pub(super) async fn put_segment(
        &self,
        key: &str,
        segment: Segment,
    ) -> Result<(Segment, Segment), Fault> {
        let segment = Arc::new(segment);
        let body = compress(segment.clone()).await?;
        let size = body.len() as u64;
        let stored = loop {
            let put = || self.to.store.create(key, "application/zstd", body.clone());
            if persist(ROLE, put).await? == Created::Written {
                metrics::counter!("reconciler_archive_stored_bytes_total").increment(size);
                break None;
            }
            // None is there after all: whoever had it there took it away again.
            if let Some(theirs) = persist(ROLE, || self.to.store.read(key)).await? {
                break Some(theirs);
            }
        };
        let ours = Arc::unwrap_or_clone(segment);
        let how = if stored.is_some() { "adopted" } else { "written" };
        metrics::counter!("reconciler_archive_segments_total", "how" => how).increment(1);
        let Some(theirs) = stored else { return Ok((ours, Segment::default())) };

        let theirs = parse(key, theirs).await?;
        ours.agrees_with(&theirs).map_err(|difference| {
            Fault::halt("adopting a stored segment", format!("{key}: {difference}"))
        })?;
        let last = theirs.last_offset().unwrap_or(-1);
        tracing::info!(role = ROLE, key, last, "adopted a segment that was there before");
        Ok((theirs, ours.after(last)))
    }

    pub(super) async fn put_manifest(&self, manifest: &Manifest) -> Result<(), Fault> {
        let key = self.to.place.manifest_key(manifest.partition, manifest.first_offset);
        let body = Bytes::from(manifest.to_json());
        loop {
            let put = || self.to.store.create(&key, "application/json", body.clone());
            if persist(ROLE, put).await? == Created::Written {
                return Ok(());
            }
            let Some(theirs) = persist(ROLE, || self.to.store.read(&key)).await? else {
                continue;
            };
            let doing = "adopting a stored manifest";
            let theirs = Manifest::from_json(&theirs)
                .map_err(|error| Fault::halt(doing, format!("{key}: {error}")))?;
            if theirs.list_hash != manifest.list_hash {
                let text = format!(
                    "{key}: its list hash is {}, but the stored segment and the chain before it \
                     give {}",
                    theirs.list_hash, manifest.list_hash
                );
                return Err(Fault::halt(doing, text));
            }
            return Ok(());
        }
    }
}

pub(crate) async fn compress(segment: Arc<Segment>) -> Result<Bytes, Fault> {
    let doing = "compressing a segment";
    tokio::task::spawn_blocking(move || {
        let mut encoder = zstd::Encoder::new(Vec::new(), COMPRESSION_LEVEL)?;
        encoder.include_checksum(true)?;
        std::io::Write::write_all(&mut encoder, segment.lines())?;
        encoder.finish().map(Bytes::from)
    })
    .await
    .map_err(|error| Fault::halt(doing, error))?
    .map_err(|error| Fault::halt(doing, error))
}

/// Reads a stored segment.
pub(super) async fn parse(key: &str, stored: Bytes) -> Result<Segment, Fault> {
    let unreadable = |error: Box<dyn std::error::Error + Send + Sync>| {
        Fault::halt("reading a stored segment", format!("{key}: {error}"))
    };
    tokio::task::spawn_blocking(move || {
        let mut lines = Vec::new();
        let decoder = zstd::Decoder::with_buffer(&stored[..])?;
        decoder.take(STORED_BYTES_MAX + 1).read_to_end(&mut lines)?;
        if lines.len() as u64 > STORED_BYTES_MAX {
            return Err("it is larger than any segment".into());
        }
        Ok(Segment::parse(lines)?)
    })
    .await
    .map_err(|error| unreadable(error.into()))?
    .map_err(unreadable)
}

#[cfg(test)]
#[path = "upload_tests.rs"]
pub(super) mod tests;
