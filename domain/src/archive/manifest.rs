//! A segment's manifest: its records' hashes, chained to the manifest before it. Where records were
//! lost for good, a manifest without a segment says which, and why the chain goes on without them.

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::{Segment, Sha256Hash};

/// Version of the manifest's format where it is of a segment.
pub const MANIFEST_VERSION: u32 = 1;
/// Version of the manifest's format where it is of a hole: whoever knows only segments refuses it.
pub const HOLE_VERSION: u32 = 2;

/// One record in a manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listed {
    /// Kafka offset.
    pub offset: i64,
    /// SHA-256 of the record's line, without its newline.
    pub sha256: Sha256Hash,
}

/// Why records are not in the archive, and who said that it goes on without them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hole {
    /// Why they are lost.
    pub reason: String,
    /// Who decided.
    pub by: String,
    /// When, as RFC 3339 has it.
    pub at: String,
}

/// What is written beside a segment, or in the place of one that there will never be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// [`MANIFEST_VERSION`] of a segment, [`HOLE_VERSION`] of a hole.
    pub version: u32,
    /// Key of the segment, in the same bucket; none of a hole.
    pub segment: Option<String>,
    /// Topic's name.
    pub topic: String,
    /// Partition of the topic.
    pub partition: i32,
    /// Offset of the first record, there or lost.
    pub first_offset: i64,
    /// Offset of the last record, there or lost.
    pub last_offset: i64,
    /// Number of records.
    pub count: usize,
    /// Bytes of the lines, newlines included, before compression.
    pub bytes: usize,
    /// List hash of the partition's manifest before this one; absent in the first.
    pub previous: Option<Sha256Hash>,
    /// Hash of `previous` and of the list: what the next manifest carries on.
    pub list_hash: Sha256Hash,
    /// Every record, in order; none of a hole.
    pub records: Vec<Listed>,
    /// What is said about records that are lost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hole: Option<Hole>,
}

/// Why a manifest does not hold.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// It is not JSON of this shape.
    #[error("not a manifest: {0}")]
    Json(#[from] serde_json::Error),
    /// It was written by a newer program.
    #[error("manifest format {0} is newer than this program's")]
    Newer(u32),
    /// Its hash is not the hash of its list.
    #[error("the list hash is not the hash of the list")]
    ListHash,
    /// What it says of itself contradicts itself.
    #[error("{0}")]
    Contradiction(&'static str),
}

impl Manifest {
    /// The manifest of `segment`, which lies at `key` and holds at least one record; `None` when
    /// it holds none.
    pub fn of(
        segment: &Segment,
        key: String,
        topic: &str,
        partition: i32,
        previous: Option<Sha256Hash>,
    ) -> Option<Self> {
        Some(Self {
            version: MANIFEST_VERSION,
            segment: Some(key),
            topic: topic.to_owned(),
            partition,
            first_offset: segment.first_offset()?,
            last_offset: segment.last_offset()?,
            count: segment.listed().len(),
            bytes: segment.bytes(),
            previous,
            list_hash: list_hash(previous, segment.listed()),
            records: segment.listed().to_vec(),
            hole: None,
        })
    }

    /// The manifest of a hole: the records from `first_offset` to `last_offset` are lost.
    pub fn of_hole(
        (first_offset, last_offset): (i64, i64),
        hole: Hole,
        topic: &str,
        partition: i32,
        previous: Option<Sha256Hash>,
    ) -> Self {
        Self {
            version: HOLE_VERSION,
            segment: None,
            topic: topic.to_owned(),
            partition,
            first_offset,
            last_offset,
            count: 0,
            bytes: 0,
            previous,
            list_hash: hole_hash(previous, (first_offset, last_offset), topic, &hole),
            records: Vec::new(),
            hole: Some(hole),
        }
    }

    /// The first offset after it.
    pub fn next_offset(&self) -> i64 {
        self.last_offset + 1
    }

    /// As it is stored: one JSON object and a newline.
    pub fn to_json(&self) -> Vec<u8> {
        let mut json = Vec::with_capacity(200 + 100 * self.records.len());
        // Strings, numbers and lists into memory: there is nothing in it that can fail.
        let written = serde_json::to_writer(&mut json, self);
        debug_assert!(written.is_ok());
        json.push(b'\n');
        json
    }

    /// Reads a stored manifest and checks that its hash is its list's, and that what it says of its
    /// list is so.
    pub fn from_json(json: &[u8]) -> Result<Self, ManifestError> {
        let manifest: Self = serde_json::from_slice(json)?;
        if manifest.version > HOLE_VERSION {
            return Err(ManifestError::Newer(manifest.version));
        }
        let list_hash = match &manifest.hole {
            None => list_hash(manifest.previous, &manifest.records),
            Some(hole) => {
                let ends = (manifest.first_offset, manifest.last_offset);
                hole_hash(manifest.previous, ends, &manifest.topic, hole)
            }
        };
        if list_hash != manifest.list_hash {
            return Err(ManifestError::ListHash);
        }
        manifest.check().map_err(ManifestError::Contradiction)?;
        Ok(manifest)
    }

    /// What the hash does not cover, or could never be true of a list.
    fn check(&self) -> Result<(), &'static str> {
        if self.first_offset < 0 || self.last_offset == i64::MAX {
            return Err("its offsets are none");
        }
        if self.count != self.records.len() {
            return Err("its count is not the length of its list");
        }
        if self.hole.is_some() {
            let is_hole = self.version == HOLE_VERSION
                && self.segment.is_none()
                && self.records.is_empty()
                && self.bytes == 0
                && self.first_offset <= self.last_offset;
            return if is_hole { Ok(()) } else { Err("a hole has neither segment nor records") };
        }
        if self.version != MANIFEST_VERSION || self.segment.is_none() {
            return Err("it is neither of a segment nor of a hole");
        }
        let ends = [self.records.first(), self.records.last()];
        if ends.map(|end| end.map(|listed| listed.offset))
            != [Some(self.first_offset), Some(self.last_offset)]
        {
            return Err("its first and last offsets are not those of its list");
        }
        if !self.records.is_sorted_by(|before, after| before.offset < after.offset) {
            return Err("its list is not in the order of offsets");
        }
        Ok(())
    }
}

/// SHA-256 over: 1 and the previous hash, or 0 where there is none; then for each record its
/// offset (8 bytes, big endian) and its hash.
fn list_hash(previous: Option<Sha256Hash>, records: &[Listed]) -> Sha256Hash {
    let mut hasher = Sha256::new();
    match previous {
        None => hasher.update([0]),
        Some(hash) => {
            hasher.update([1]);
            hasher.update(hash.0);
        }
    }
    for record in records {
        hasher.update(record.offset.to_be_bytes());
        hasher.update(record.sha256.0);
    }
    Sha256Hash(hasher.finalize().into())
}

/// SHA-256 over: 3 and the previous hash, or 2 where there is none; first and last offset (8 bytes
/// each, big endian); then the SHA-256 of each of topic, reason, by and at. No line speaks for a hole, so
/// its hash covers what else there is.
fn hole_hash(
    previous: Option<Sha256Hash>,
    (first_offset, last_offset): (i64, i64),
    topic: &str,
    hole: &Hole,
) -> Sha256Hash {
    let mut hasher = Sha256::new();
    match previous {
        None => hasher.update([2]),
        Some(hash) => {
            hasher.update([3]);
            hasher.update(hash.0);
        }
    }
    hasher.update(first_offset.to_be_bytes());
    hasher.update(last_offset.to_be_bytes());
    for text in [topic, &hole.reason, &hole.by, &hole.at] {
        hasher.update(Sha256::digest(text));
    }
    Sha256Hash(hasher.finalize().into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::RawRecord;

    fn manifest(offset: i64, previous: Option<Sha256Hash>) -> Manifest {
        let mut segment = Segment::default();
        let record = RawRecord {
            partition: 2,
            offset,
            timestamp_ms: 0,
            key: None,
            headers: Vec::new(),
            value: None,
        };
        segment.push("t", &record);
        Manifest::of(&segment, "key".into(), "t", 2, previous).unwrap()
    }

    fn hole(previous: Option<Sha256Hash>) -> Manifest {
        let texts = ["retention was too short", "ada", "2026-11-25T09:00:00Z"].map(str::to_owned);
        let [reason, by, at] = texts;
        Manifest::of_hole((2, 9), Hole { reason, by, at }, "t", 2, previous)
    }

    #[test]
    fn it_comes_back_as_it_was_written() {
        let first = manifest(0, None);
        let second = manifest(1, Some(first.list_hash));
        let third = hole(Some(second.list_hash));
        assert_eq!(third.next_offset(), 10);
        for manifest in [first, second, third, hole(None)] {
            assert_eq!(Manifest::from_json(&manifest.to_json()).unwrap(), manifest);
        }
    }

    #[test]
    fn the_chain_depends_on_every_record_and_on_what_came_before() {
        let first = manifest(0, None);
        assert_ne!(first.list_hash, manifest(1, None).list_hash);
        assert_ne!(first.list_hash, manifest(0, Some(first.list_hash)).list_hash);
    }

    #[test]
    fn an_altered_list_is_found() {
        let mut altered = manifest(0, None);
        altered.records[0].offset = 1;
        let error = Manifest::from_json(&altered.to_json()).unwrap_err();
        assert!(matches!(error, ManifestError::ListHash), "{error}");
        let newer = Manifest { version: 3, ..manifest(0, None) };
        assert!(matches!(Manifest::from_json(&newer.to_json()), Err(ManifestError::Newer(3))));
    }

    #[test]
    fn a_hole_carries_its_reason_in_the_chain() {
        let whole = hole(None);
        let mut altered = whole.clone();
        altered.hole.as_mut().unwrap().reason = "a better reason".to_owned();
        let error = Manifest::from_json(&altered.to_json()).unwrap_err();
        assert!(matches!(error, ManifestError::ListHash), "{error}");
        let longer = Manifest { last_offset: 10, ..whole.clone() };
        let foreign = Manifest { topic: "u".to_owned(), ..whole.clone() };
        for altered in [longer, foreign] {
            assert!(matches!(
                Manifest::from_json(&altered.to_json()),
                Err(ManifestError::ListHash)
            ));
        }
        assert_ne!(whole.list_hash, hole(Some(whole.list_hash)).list_hash);
    }

    #[test]
    fn what_it_says_of_its_list_must_be_so() {
        let whole = manifest(0, None);
        for altered in [
            Manifest { version: 2, ..whole.clone() },
            Manifest { segment: None, ..whole.clone() },
            Manifest { first_offset: 1, ..whole.clone() },
            Manifest { last_offset: 1, ..whole.clone() },
            Manifest { count: 2, ..whole.clone() },
            Manifest { version: 1, ..hole(None) },
            Manifest { segment: Some("key".into()), ..hole(None) },
        ] {
            let error = Manifest::from_json(&altered.to_json()).unwrap_err();
            assert!(matches!(error, ManifestError::Contradiction(_)), "{altered:?}: {error}");
        }
    }

    #[test]
    fn an_empty_segment_has_none() {
        assert!(Manifest::of(&Segment::default(), "key".into(), "t", 0, None).is_none());
    }
}
