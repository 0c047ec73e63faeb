//! The archive's format: what a segment, a line and a manifest are. No I/O here.
//!
//! A *segment* holds consecutive records of one partition, one JSON object a line. Its *manifest*
//! lists every record's offset and the SHA-256 of its line, and carries the hash of the manifest
//! before it: a chain that shows a missing, cut or altered record. The segment is stored
//! compressed; hashes are of the lines, so they outlive the compression.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod chain;
mod check;
mod finding;
mod line;
mod manifest;
mod pairing;
mod proof;
mod segment;

pub use chain::{Begin, Chain, Tip};
pub use check::{Checked, SegmentCheck};
pub use finding::{Finding, Problem};
pub use line::{Entry, Line, LineError, Tombstone, decode, encode, encode_tombstone};
pub use manifest::{HOLE_VERSION, Hole, Listed, MANIFEST_VERSION, Manifest, ManifestError};
pub use pairing::Pairing;
pub use proof::{Proof, prove};
pub use segment::{Difference, Segment};

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use time::OffsetDateTime;

/// A SHA-256; hexadecimal as text.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Sha256Hash(pub [u8; 32]);

impl fmt::Display for Sha256Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for Sha256Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl Serialize for Sha256Hash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Sha256Hash {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let mut hash = [0; 32];
        hex::decode_to_slice(text, &mut hash).map_err(serde::de::Error::custom)?;
        Ok(Self(hash))
    }
}

/// Where one topic's archive lies in the bucket. The topic's id is part of it, so that a topic
/// that was deleted and made anew starts a new archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Prefix of every key, without slashes at its ends; empty for none.
    pub prefix: String,
    /// Kafka's cluster id.
    pub cluster: String,
    /// Kafka's topic id.
    pub topic_id: String,
}

impl Place {
    /// Key of the segment that starts with this record. `date` is the day, in UTC, of the first
    /// record's Kafka timestamp.
    pub fn segment_key(
        &self,
        partition: i32,
        first_offset: i64,
        first_timestamp_ms: i64,
    ) -> String {
        let date = date(first_timestamp_ms);
        format!("{}date={date}/{first_offset:020}.jsonl.zst", self.segment_prefix(partition))
    }

    /// What the keys of a partition's segments begin with.
    pub fn segment_prefix(&self, partition: i32) -> String {
        format!("{}/partition={partition}/", self.root())
    }

    /// The day and the first offset that this key of a segment names; `None` if it is none of this
    /// partition's.
    pub fn segment_at<'a>(&self, partition: i32, key: &'a str) -> Option<(&'a str, i64)> {
        let rest = key.strip_prefix(&self.segment_prefix(partition))?.strip_prefix("date=")?;
        let (day, name) = rest.split_once('/')?;
        let is_day = day.len() == 10
            && day.bytes().enumerate().all(|(at, byte)| match at {
                4 | 7 => byte == b'-',
                _ => byte.is_ascii_digit(),
            });
        let digits = name.strip_suffix(".jsonl.zst").filter(|digits| digits.len() == 20)?;
        let is_number = digits.bytes().all(|byte| byte.is_ascii_digit());
        Some((day, digits.parse().ok()?)).filter(|_| is_day && is_number)
    }

    /// Key of the manifest of the segment that starts at this offset. It lies outside the
    /// partitions' folders, so that a query engine that reads those never meets a manifest.
    pub fn manifest_key(&self, partition: i32, first_offset: i64) -> String {
        format!("{}{first_offset:020}.json", self.manifest_prefix(partition))
    }

    /// What the keys of a partition's manifests begin with. The rest sorts by first offset.
    pub fn manifest_prefix(&self, partition: i32) -> String {
        format!("{}/manifest/partition={partition}/", self.root())
    }

    /// The place whose [`root`](Self::root) this is, under this prefix; `None` if it is none.
    pub fn of_root(prefix: &str, root: &str) -> Option<Self> {
        let name = root.strip_prefix(prefix)?.trim_matches('/');
        // Kafka's ids are base64url: no dots, no slashes.
        let (cluster, topic_id) = name.split_once('.')?;
        let is_id = |id: &str| !id.is_empty() && !id.contains(['.', '/']);
        (is_id(cluster) && is_id(topic_id)).then(|| Self {
            prefix: prefix.to_owned(),
            cluster: cluster.to_owned(),
            topic_id: topic_id.to_owned(),
        })
    }

    /// What every key of the archive begins with, without a slash at its end.
    pub fn root(&self) -> String {
        let slash = if self.prefix.is_empty() { "" } else { "/" };
        format!("{}{slash}{}.{}", self.prefix, self.cluster, self.topic_id)
    }
}

/// The first offset that the key of a segment or a manifest names.
pub fn first_offset(key: &str) -> Option<i64> {
    key.rsplit('/').next()?.split('.').next()?.parse().ok()
}

/// The day of a Kafka timestamp. One that is absent (-1) or absurd becomes the first day of 1970:
/// the record is archived all the same.
fn date(timestamp_ms: i64) -> time::Date {
    OffsetDateTime::from_unix_timestamp(timestamp_ms.div_euclid(1000))
        .ok()
        .filter(|moment| (1970..=9999).contains(&moment.year()))
        .map_or(OffsetDateTime::UNIX_EPOCH.date(), OffsetDateTime::date)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_sort_by_offset_and_name_the_day_of_the_first_record() {
        let place = Place { prefix: "p".into(), cluster: "Clu-1".into(), topic_id: "To_p".into() };
        assert_eq!(
            place.segment_key(3, 42, 1_700_000_000_000),
            "p/Clu-1.To_p/partition=3/date=2023-11-14/00000000000000000042.jsonl.zst"
        );
        let bare = Place { prefix: String::new(), ..place };
        assert_eq!(
            bare.manifest_key(0, i64::MAX),
            "Clu-1.To_p/manifest/partition=0/09223372036854775807.json"
        );
    }

    #[test]
    fn a_place_and_an_offset_are_read_back_from_keys() {
        for prefix in ["", "p", "p/q"] {
            let place =
                Place { prefix: prefix.into(), cluster: "C-1".into(), topic_id: "T_2".into() };
            assert_eq!(Place::of_root(prefix, &format!("{}/", place.root())), Some(place.clone()));
            assert_eq!(first_offset(&place.segment_key(0, 42, 0)), Some(42));
            assert_eq!(first_offset(&place.manifest_key(0, 42)), Some(42));
        }
        let place = Place { prefix: "p".into(), cluster: "c".into(), topic_id: "t".into() };
        let key = place.segment_key(3, 42, 1_700_000_000_000);
        assert_eq!(place.segment_at(3, &key), Some(("2023-11-14", 42)));
        assert_eq!(place.segment_at(30, &key), None);
        for (from, to) in
            [("date=2023", "date=202x"), ("42.", "4x."), ("zst", "gz"), ("00042", "42")]
        {
            assert_eq!(place.segment_at(3, &key.replace(from, to)), None, "{to}");
        }
        for root in ["p/none/", "p/a.b.c/", "p/.b/", "other/a.b/", "p/a.b/c.d/"] {
            assert_eq!(Place::of_root("p", root), None, "{root}");
        }
        assert_eq!(first_offset("p/partition=0/"), None);
    }

    #[test]
    fn an_absurd_timestamp_still_has_a_day() {
        for timestamp in [-1, i64::MIN, i64::MAX] {
            assert_eq!(date(timestamp).to_string(), "1970-01-01", "{timestamp}");
        }
    }
}
