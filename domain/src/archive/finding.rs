//! What can be wrong with an archive.

use super::Sha256Hash;
use crate::signature::Refusal;

/// Something in an archive that does not hold, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{key}{}: {problem}", at(*.offset))]
pub struct Finding {
    /// Key of the object that it is about, or where that object should be.
    pub key: String,
    /// The first record that it is about, where it is about records.
    pub offset: Option<i64>,
    /// What is wrong.
    pub problem: Problem,
}

/// What does not hold. Never quotes a record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// A manifest that cannot be read, or whose hash is not its list's.
    #[error("the manifest does not hold: {0}")]
    ManifestBroken(String),
    /// A manifest that was listed, and is not there any more.
    #[error("the manifest was deleted a moment ago")]
    ManifestGone,
    /// A manifest that lies at the key of another.
    #[error("the manifest is another segment's: it belongs at {0}")]
    ManifestKey(String),
    /// A manifest that reads as it should, but whose bytes are not those that were written.
    #[error("the manifest's bytes are not as they were written")]
    ManifestBytes,
    /// A manifest whose segment is not the one that it should name.
    #[error("the manifest names another segment than its own, {0}")]
    SegmentKey(String),
    /// A manifest whose number of bytes is not its segment's.
    #[error("the manifest says that the segment has {listed} bytes; it has {found}")]
    Bytes {
        /// By the manifest.
        listed: usize,
        /// In the segment.
        found: usize,
    },
    /// The first manifest that is there names one before it.
    #[error("the archive's beginning is missing: the first manifest names one before it")]
    Head,
    /// A manifest does not carry on the hash of the one before it.
    #[error("the chain is broken: the manifest names {} as the hash before it, not {expected}",
        hash(*.found))]
    Chain {
        /// List hash of the manifest before.
        expected: Sha256Hash,
        /// What is named in its place.
        found: Option<Sha256Hash>,
    },
    /// A manifest, and what it lists, is not there.
    #[error(
        "nothing lists the records up to offset {last}: a manifest is missing, or the one before it \
         was cut"
    )]
    ManifestMissing {
        /// Offset of the last record that is not listed.
        last: i64,
    },
    /// The chain goes on over records that it has not, and does not say why.
    #[error("the records up to offset {last} were never archived, and no reason is recorded")]
    Hole {
        /// Offset of the last of them.
        last: i64,
    },
    /// A manifest lists what one before it has listed.
    #[error("the records before offset {next} are listed a second time")]
    ListedTwice {
        /// Where the manifest should begin.
        next: i64,
    },
    /// A manifest's segment is not there.
    #[error("the segment is missing")]
    SegmentMissing,
    /// A segment cannot be decompressed to its end.
    #[error("the segment cannot be read on: {0}")]
    SegmentBroken(String),
    /// A segment ends within a line.
    #[error("the segment is cut within this record's line")]
    Cut,
    /// A segment lacks records that its manifest lists.
    #[error("the records up to offset {last} are missing in the segment")]
    RecordMissing {
        /// Offset of the last of them.
        last: i64,
    },
    /// A record's line is not the listed one.
    #[error("the record was changed: its SHA-256 is {found}, not {listed}")]
    RecordChanged {
        /// By the manifest.
        listed: Sha256Hash,
        /// Of what is there; of a tombstone, the hash that it keeps.
        found: Sha256Hash,
    },
    /// A line is no record.
    #[error("the line is {0}")]
    Line(String),
    /// A record of another topic or partition, or a tombstone that no erasure wrote.
    #[error("the line is not this archive's: {0}")]
    Foreign(&'static str),
    /// A segment holds a record that its manifest does not list, or one more than once.
    #[error("the segment holds a record that its manifest does not list there")]
    RecordExtra,
    /// A segment that no manifest names.
    #[error("no manifest names this segment")]
    Unlisted,
    /// A segment that lies at another key too.
    #[error("the segment is there twice: the manifest names {0}")]
    Doubled(String),
    /// An object that is no part of an archive.
    #[error("this is no part of the archive")]
    Object,
    /// The archive ends before the role's position: what it had written is gone.
    #[error(
        "the archive ends here, but the role archive has written everything before offset \
         {position}: its newest manifests are missing"
    )]
    BehindPosition {
        /// The role's next offset.
        position: i64,
    },
    /// The role's position is not at the end of a manifest.
    #[error("the role's position, {position}, is not where a manifest ends")]
    WithinManifest {
        /// The role's next offset.
        position: i64,
    },
    /// The role remembers another hash than the manifest has.
    #[error("the manifest's list hash is {found}, but the role's position remembers {}",
        hash(*.remembered))]
    Position {
        /// In `pay.position`.
        remembered: Option<Sha256Hash>,
        /// In the manifest.
        found: Sha256Hash,
    },
    /// The log begins after the archive's end: what lies between is in neither.
    #[error("the topic begins at offset {low}: what lies between is neither here nor there")]
    Lost {
        /// First offset of the log.
        low: i64,
    },
    /// A record's signature is not genuine.
    #[error("the signature: {0}")]
    Signature(Refusal),
    /// A record's signature was to be checked, and there is no secret to do so.
    #[error("the signature cannot be checked: no secret of its endpoint is given")]
    NoSecret,
}

impl Problem {
    /// A stable name.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::ManifestBroken(_) => "manifest_broken",
            Self::ManifestGone => "manifest_gone",
            Self::ManifestKey(_) => "manifest_key",
            Self::ManifestBytes => "manifest_bytes",
            Self::SegmentKey(_) => "segment_key",
            Self::Bytes { .. } => "segment_bytes",
            Self::Head => "head_missing",
            Self::Chain { .. } => "chain_broken",
            Self::ManifestMissing { .. } => "manifest_missing",
            Self::Hole { .. } => "hole",
            Self::ListedTwice { .. } => "listed_twice",
            Self::SegmentMissing => "segment_missing",
            Self::SegmentBroken(_) => "segment_broken",
            Self::Cut => "segment_cut",
            Self::RecordMissing { .. } => "record_missing",
            Self::RecordChanged { .. } => "record_changed",
            Self::Line(_) => "line_broken",
            Self::Foreign(_) => "line_foreign",
            Self::RecordExtra => "record_extra",
            Self::Unlisted => "segment_unlisted",
            Self::Doubled(_) => "segment_doubled",
            Self::Object => "foreign_object",
            Self::BehindPosition { .. } => "behind_position",
            Self::WithinManifest { .. } => "within_manifest",
            Self::Position { .. } => "position_hash",
            Self::Lost { .. } => "lost",
            Self::Signature(_) => "signature",
            Self::NoSecret => "no_secret",
        }
    }
}

fn at(offset: Option<i64>) -> String {
    offset.map_or_else(String::new, |offset| format!(", offset {offset}"))
}

fn hash(hash: Option<Sha256Hash>) -> String {
    hash.map_or_else(|| "none".to_owned(), |hash| hash.to_string())
}
