//! One segment: read, written anew if it must be, its older versions deleted.

use std::collections::BTreeSet;
use std::sync::Arc;

use anyhow::bail;
use bytes::Bytes;
use domain::archive::{Entry, Finding, Manifest, Place, Problem};
use domain::peek::peek;
use domain::record::{RawRecord, header};
use serde::Deserialize;

use super::Choice;
use crate::archive::compress;
use crate::fault::{Fault, insist};
use crate::s3::{Bucket, Forgotten, Replaced};
use crate::source::archive::{Archive, check_segment};

/// How often S3 is asked for one object: for about two minutes.
const MAX_ATTEMPTS: u32 = 15;
/// How often a segment is read again that another changed meanwhile.
const MAX_CHANGES: u32 = 5;

/// What each segment is erased with.
#[derive(Clone)]
pub(super) struct Eraser {
    pub(super) archive: Arc<Archive<Bucket>>,
    pub(super) place: Place,
    pub(super) choice: Arc<Choice>,
    pub(super) dry_run: bool,
}

/// What came of a segment.
#[derive(Default)]
pub(super) struct Segment {
    pub(super) partition: i32,
    pub(super) key: String,
    pub(super) records: usize,
    /// Offsets that are erased now, or would be.
    pub(super) erased: BTreeSet<i64>,
    /// Tombstones that were there before.
    pub(super) tombstones: usize,
    /// Ids of the events and of their objects that are erased.
    pub(super) events: BTreeSet<String>,
    pub(super) objects: BTreeSet<String>,
    pub(super) forgotten: Forgotten,
    /// What is wrong with it: then it is left as it is.
    pub(super) damage: Option<Finding>,
}

impl Eraser {
    pub(super) async fn erase(self, manifest: Manifest) -> anyhow::Result<Segment> {
        let Some(key) = manifest.segment.clone() else { return Ok(Segment::default()) };
        let manifest = Arc::new(manifest);
        let mut before = Segment::default();
        for _ in 0..MAX_CHANGES {
            let read = || self.archive.store().read_tagged(&key);
            let Some(stored) = insist("archive-erase", MAX_ATTEMPTS, read).await? else {
                let offset = Some(manifest.first_offset);
                let missing =
                    Finding { key: key.clone(), offset, problem: Problem::SegmentMissing };
                return Ok(Segment { damage: Some(missing), ..Segment::default() });
            };
            let mut found = self.find(stored.body.clone(), manifest.clone()).await?;
            if found.damage.is_some() || self.dry_run {
                return Ok(found);
            }
            if !found.erased.is_empty() {
                let body = rewrite(stored.body, found.erased.clone()).await?;
                let put = || {
                    let (key, body) = (&key, body.clone());
                    self.archive.store().replace(key, "application/zstd", body, &stored.etag)
                };
                if insist("archive-erase", MAX_ATTEMPTS, put).await? == Replaced::Changed {
                    before = found;
                    continue;
                }
            } else if !before.erased.is_empty() {
                // Our own write, whose answer was lost; or another's of the same.
                found = Segment { tombstones: found.tombstones - before.erased.len(), ..before };
            }
            if !found.erased.is_empty() || found.tombstones > 0 {
                let forget = || self.archive.store().forget_versions(&key);
                found.forgotten = insist("archive-erase", MAX_ATTEMPTS, forget).await?;
            }
            return Ok(found);
        }
        bail!("{key}: somebody else changes it over and over; run this again")
    }

    /// What of a segment is to be erased.
    async fn find(&self, stored: Bytes, manifest: Arc<Manifest>) -> Result<Segment, Fault> {
        let (choice, place) = (self.choice.clone(), self.place.clone());
        tokio::task::spawn_blocking(move || {
            let key = manifest.segment.clone().unwrap_or_default();
            let partition = manifest.partition;
            let mut found = Segment { partition, key, ..Segment::default() };
            let checked = check_segment(&stored, &place, &manifest, |_, entry| match entry {
                Entry::Record(record) if choice.matches(&record) => found.add(&record),
                _ => {}
            });
            found.records = checked.records;
            found.tombstones = checked.erased;
            found.damage = checked.findings.into_iter().next();
            found
        })
        .await
        .map_err(|error| Fault::halt("reading a segment", error))
    }
}

impl Segment {
    fn add(&mut self, record: &RawRecord) {
        #[derive(Deserialize)]
        struct Event {
            data: Data,
        }
        #[derive(Deserialize)]
        struct Data {
            object: Object,
        }
        #[derive(Deserialize)]
        struct Object {
            id: String,
        }
        self.erased.insert(record.offset);
        let body = record.value.as_deref().unwrap_or_default();
        let event = record.header(header::EVENT_ID).map(str::to_owned);
        self.events.extend(event.or_else(|| peek(body).id.map(std::borrow::Cow::into_owned)));
        self.objects.extend(serde_json::from_slice::<Event>(body).ok().map(|it| it.data.object.id));
    }
}

/// The segment with tombstones for these records, compressed.
async fn rewrite(stored: Bytes, offsets: BTreeSet<i64>) -> Result<Bytes, Fault> {
    let doing = "erasing records of a segment";
    let erased = tokio::task::spawn_blocking(move || {
        let lines = zstd::decode_all(&stored[..]).map_err(|error| Fault::halt(doing, error))?;
        let segment = domain::archive::Segment::parse(lines);
        let segment = segment.map_err(|error| Fault::halt(doing, error))?;
        let erased = segment.erase(|record| offsets.contains(&record.offset));
        erased.map(|(erased, _)| erased).map_err(|error| Fault::halt(doing, error))
    });
    let erased = erased.await.map_err(|error| Fault::halt(doing, error))??;
    compress(Arc::new(erased)).await
}
