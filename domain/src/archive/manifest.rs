//! A segment's manifest: its records' hashes, chained to the manifest before it.

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::{Segment, Sha256Hash};

/// Version of the manifest's format.
pub const MANIFEST_VERSION: u32 = 1;

/// One record in a manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listed {
    /// Kafka offset.
    pub offset: i64,
    /// SHA-256 of the record's line, without its newline.
    pub sha256: Sha256Hash,
}

/// What is written beside a segment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// [`MANIFEST_VERSION`] of its writer.
    pub version: u32,
    /// Key of the segment, in the same bucket.
    pub segment: String,
    /// Topic's name.
    pub topic: String,
    /// Partition of the topic.
    pub partition: i32,
    /// Offset of the first record.
    pub first_offset: i64,
    /// Offset of the last record.
    pub last_offset: i64,
    /// Number of records.
    pub count: usize,
    /// Bytes of the lines, newlines included, before compression.
    pub bytes: usize,
    /// List hash of the partition's manifest before this one; absent in the first.
    pub previous: Option<Sha256Hash>,
    /// Hash of `previous` and of the list: what the next manifest carries on.
    pub list_hash: Sha256Hash,
    /// Every record, in order.
    pub records: Vec<Listed>,
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
            segment: key,
            topic: topic.to_owned(),
            partition,
            first_offset: segment.first_offset()?,
            last_offset: segment.last_offset()?,
            count: segment.listed().len(),
            bytes: segment.bytes(),
            previous,
            list_hash: list_hash(previous, segment.listed()),
            records: segment.listed().to_vec(),
        })
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

    /// Reads a stored manifest and checks that its hash is its list's.
    pub fn from_json(json: &[u8]) -> Result<Self, ManifestError> {
        let manifest: Self = serde_json::from_slice(json)?;
        if manifest.version > MANIFEST_VERSION {
            return Err(ManifestError::Newer(manifest.version));
        }
        if list_hash(manifest.previous, &manifest.records) != manifest.list_hash {
            return Err(ManifestError::ListHash);
        }
        Ok(manifest)
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

    #[test]
    fn it_comes_back_as_it_was_written() {
        let first = manifest(0, None);
        let second = manifest(1, Some(first.list_hash));
        for manifest in [first, second] {
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
        let newer = Manifest { version: 2, ..manifest(0, None) };
        assert!(matches!(Manifest::from_json(&newer.to_json()), Err(ManifestError::Newer(2))));
    }

    #[test]
    fn an_empty_segment_has_none() {
        assert!(Manifest::of(&Segment::default(), "key".into(), "t", 0, None).is_none());
    }
}
