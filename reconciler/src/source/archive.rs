//! The archive, read back: every record is held against its manifest, and every manifest against the
//! one before it, before anything of them is used.
//!
//! The manifests of a partition, in the order of their offsets, are a [`Chain`]. Segments are
//! fetched, decompressed and checked ahead and side by side, within bounds that do not depend on the
//! archive's size, and come out in order.

mod chain;
mod damage;
mod find;
mod segment;

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use domain::archive::{Finding, Manifest, Place, Problem, first_offset};
use domain::record::RawRecord;
use futures::StreamExt as _;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

pub(crate) use self::chain::{Chain, Start};
pub(crate) use self::damage::ReadError;
pub(crate) use self::find::last_manifest;
pub(crate) use self::segment::check as check_segment;
use super::filter::Moment;
use super::{Chunk, Chunks, Range, SKEW_MS};
use crate::fault::{Fault, insist};
use crate::s3::ObjectStore;

/// The name in logs and metrics.
const ROLE: &str = "archive-reader";
/// How often one object is asked for: for about two minutes.
const MAX_ATTEMPTS: u32 = 15;

/// Every topic's archive under one prefix of a bucket.
#[derive(Debug)]
pub(crate) struct Archive<S> {
    store: S,
    prefix: String,
}

impl<S: ObjectStore> Archive<S> {
    pub(crate) fn new(store: S, prefix: &str) -> Self {
        Self { store, prefix: prefix.trim_matches('/').to_owned() }
    }

    /// The bucket.
    pub(crate) fn store(&self) -> &S {
        &self.store
    }

    /// The bucket, for whoever writes.
    pub(crate) fn into_store(self) -> S {
        self.store
    }

    /// The topics that are archived here.
    pub(crate) async fn places(&self) -> Result<Vec<Place>, Fault> {
        let slash = if self.prefix.is_empty() { "" } else { "/" };
        let folders = self.folders(&format!("{}{slash}", self.prefix)).await?;
        Ok(folders.iter().filter_map(|root| Place::of_root(&self.prefix, root)).collect())
    }

    /// The partitions of a topic that have segments or manifests.
    pub(crate) async fn partitions(&self, place: &Place) -> Result<Vec<i32>, Fault> {
        let mut folders = self.folders(&format!("{}/", place.root())).await?;
        folders.extend(self.folders(&format!("{}/manifest/", place.root())).await?);
        let number = |folder: &String| {
            folder.trim_end_matches('/').rsplit_once("/partition=")?.1.parse().ok()
        };
        let partitions: BTreeSet<i32> = folders.iter().filter_map(number).collect();
        Ok(partitions.into_iter().collect())
    }

    /// A partition's manifests from some place on, and not far beyond `to`.
    pub(crate) async fn chain(
        &self,
        place: &Place,
        partition: i32,
        start: Start,
        to: Option<Moment>,
    ) -> Result<Chain, Fault> {
        let first = match start {
            Start::Beginning => None,
            Start::Offset(offset) => self.manifest_of(place, partition, offset).await?,
            Start::Time(from) => self.manifest_at(place, partition, from).await?,
        };
        Ok(Chain::new(place.clone(), partition, first, to))
    }

    /// The next manifest of a chain; none at its end. After damage the chain goes on behind it.
    pub(crate) async fn next(&self, chain: &mut Chain) -> Result<Option<Manifest>, ReadError> {
        if chain.is_read() {
            let (prefix, after) = chain.reads_next();
            chain.list(self.list(&prefix, &after).await?);
        }
        let Some(key) = chain.pop() else { return Ok(None) };
        match self.object(&key).await? {
            Some(stored) => Ok(chain.follow(&key, &stored)?),
            None => Err(damage(key, None, Problem::ManifestGone)),
        }
    }

    /// The first and the last manifest of a partition, which tell how far it reaches.
    pub(crate) async fn ends(
        &self,
        place: &Place,
        partition: i32,
    ) -> Result<Option<(Manifest, Manifest)>, ReadError> {
        let mut chain = self.chain(place, partition, Start::Beginning, None).await?;
        let Some(first) = self.next(&mut chain).await? else { return Ok(None) };
        let newest = self.newest_manifest(place, partition, first.first_offset).await?;
        let mut chain = Chain::new(place.clone(), partition, newest, None);
        let last = self.next(&mut chain).await?.unwrap_or_else(|| first.clone());
        Ok(Some((first, last)))
    }

    /// What a partition has of these times, or a little more; none if it has nothing. Without times,
    /// all that has a manifest now.
    pub(crate) async fn range(
        &self,
        place: &Place,
        partition: i32,
        from: Option<Moment>,
        to: Option<Moment>,
    ) -> Result<Option<Range>, ReadError> {
        let Some((first, last)) = self.ends(place, partition).await? else { return Ok(None) };
        let (mut begin, mut end) = (first.first_offset, last.next_offset());
        if let Some(from) = from {
            let key = self.manifest_at(place, partition, from).await?;
            begin = key.as_deref().and_then(first_offset).unwrap_or(begin);
        }
        if let Some(to) = to {
            let behind = self.segment_behind(place, partition, to).await?;
            end = behind.unwrap_or(end).min(end);
        }
        Ok((begin < end).then_some(Range { partition, from: begin, to: end }))
    }

    /// A segment's records, each of them the one that the manifest lists, and how many are erased.
    /// A hole has none.
    pub(crate) async fn segment(
        &self,
        place: &Place,
        manifest: Manifest,
    ) -> Result<(Vec<RawRecord>, usize), ReadError> {
        let Some(key) = manifest.segment.clone() else { return Ok((Vec::new(), 0)) };
        let first = Some(manifest.first_offset);
        let stored = self.object(&key).await?;
        let stored = stored.ok_or_else(|| damage(key, first, Problem::SegmentMissing))?;
        let place = place.clone();
        let read =
            tokio::task::spawn_blocking(move || segment::records(&stored, &place, &manifest));
        let (records, checked) =
            read.await.map_err(|error| Fault::halt("reading a segment", error))?;
        match checked.findings.into_iter().next() {
            Some(found) => Err(Box::new(found).into()),
            None => Ok((records, checked.erased)),
        }
    }

    /// The key of the first segment behind the last manifest of a partition, if there is one: its
    /// writer is at work, or died.
    pub(crate) async fn unlisted(
        &self,
        place: &Place,
        partition: i32,
        next_offset: i64,
    ) -> Result<Option<String>, Fault> {
        let prefix = place.segment_prefix(partition);
        let mut after = String::new();
        loop {
            let keys = self.list(&prefix, &after).await?;
            let Some(last) = keys.last() else { return Ok(None) };
            last.clone_into(&mut after);
            let is_behind =
                |key: &&String| first_offset(key).is_some_and(|first| first >= next_offset);
            if let Some(key) = keys.iter().find(is_behind) {
                return Ok(Some(key.clone()));
            }
        }
    }

    /// Reads a chain's segments ahead, side by side, and delivers them in order. Ends after the
    /// first error, or when nobody receives any more.
    pub(crate) fn read(self: &Arc<Self>, chain: Chain, ahead: &Ahead) -> Chunks {
        let (send, receive) = mpsc::channel(1);
        let (archive, room, to) = (self.clone(), ahead.room.clone(), chain.to());
        let place = chain.place().clone();
        let manifests = futures::stream::unfold(Some(chain), move |chain| {
            let (archive, room, place) = (archive.clone(), room.clone(), place.clone());
            async move {
                let mut chain = chain?;
                let manifest = archive.next(&mut chain).await.transpose()?;
                let chunk = match manifest {
                    Ok(manifest) => {
                        let room = room.reserve(manifest.bytes).await;
                        // A task of its own goes on while nobody asks for more.
                        tokio::spawn(async move { archive.chunk(&place, manifest, room).await })
                    }
                    Err(error) => tokio::spawn(async { Err(error) }),
                };
                Some((chunk, Some(chain)))
            }
        });
        let mut chunks = manifests.buffered(ahead.segments.max(1)).boxed();
        tokio::spawn(async move {
            while let Some(chunk) = chunks.next().await {
                let chunk = chunk
                    .unwrap_or_else(|error| Err(Fault::halt("reading a segment", error).into()));
                let first = chunk.as_ref().ok().and_then(|chunk| chunk.records.first());
                let is_past =
                    first.zip(to).is_some_and(|(first, to)| first.timestamp_ms >= to.0 + SKEW_MS);
                let is_damaged = chunk.is_err();
                if is_past || send.send(chunk).await.is_err() || is_damaged {
                    return;
                }
            }
        });
        receive
    }

    async fn chunk(
        &self,
        place: &Place,
        manifest: Manifest,
        room: Option<OwnedSemaphorePermit>,
    ) -> Result<Chunk, ReadError> {
        let next_offset = manifest.next_offset();
        let (records, erased) = self.segment(place, manifest).await?;
        Ok(Chunk { records, erased, next_offset, room })
    }

    /// The next keys that begin with `prefix`, as [`ObjectStore::list`].
    pub(crate) async fn list(&self, prefix: &str, after: &str) -> Result<Vec<String>, Fault> {
        insist(ROLE, MAX_ATTEMPTS, || self.store.list(prefix, after)).await
    }

    /// An object's bytes; `None` if there is none.
    pub(crate) async fn object(&self, key: &str) -> Result<Option<Bytes>, Fault> {
        insist(ROLE, MAX_ATTEMPTS, || self.store.read(key)).await
    }

    async fn folders(&self, prefix: &str) -> Result<Vec<String>, Fault> {
        insist(ROLE, MAX_ATTEMPTS, || self.store.folders(prefix)).await
    }
}

fn damage(key: String, offset: Option<i64>, problem: Problem) -> ReadError {
    Box::new(Finding { key, offset, problem }).into()
}

/// How much may be read ahead.
#[derive(Debug, Clone)]
pub(crate) struct Ahead {
    /// Segments of one partition that are fetched and checked at the same time.
    segments: usize,
    /// Room for lines, decompressed, of all partitions together.
    room: Room,
}

impl Ahead {
    /// So many segments of a partition, so many bytes of all: the bytes are those of lines before
    /// compression, and of what is delivered until its [`Chunk`] is dropped.
    pub(crate) fn new(segments: usize, bytes: usize) -> Self {
        Self { segments, room: Room::new(bytes) }
    }
}

/// Memory that may be taken up.
#[derive(Debug, Clone)]
struct Room {
    /// In KiB, so that the numbers fit.
    free: Arc<Semaphore>,
    all: u32,
}

impl Room {
    fn new(bytes: usize) -> Self {
        let all = u32::try_from(bytes / 1024).unwrap_or(u32::MAX).max(1);
        Self { free: Arc::new(Semaphore::new(all as usize)), all }
    }

    /// Waits for so much room. What is larger than all of it waits for all of it. In turn, so that
    /// nobody waits for ever.
    async fn reserve(self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        let wanted = u32::try_from(bytes / 1024).unwrap_or(self.all).clamp(1, self.all);
        // None once it is closed, which it never is.
        self.free.acquire_many_owned(wanted).await.ok()
    }
}

#[cfg(test)]
#[path = "archive/archive_tests.rs"]
mod tests;
