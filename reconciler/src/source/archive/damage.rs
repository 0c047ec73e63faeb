//! What can be wrong with an archive.

use domain::archive::{LineError, ManifestError, Sha256Hash};

use crate::fault::Fault;

/// An object of the archive that does not hold, by its key.
#[derive(Debug, thiserror::Error)]
#[error("{key}: {problem}")]
pub(crate) struct Damage {
    pub(crate) key: String,
    #[source]
    pub(crate) problem: Problem,
}

/// What is wrong with an object of the archive. Never quotes a record.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Problem {
    /// It was deleted.
    #[error("it is not there")]
    Absent,
    /// A manifest that does not hold in itself.
    #[error("{0}")]
    Manifest(#[from] ManifestError),
    /// A manifest whose head contradicts its key or its list, neither of which its hash covers.
    #[error("its {0} contradicts its key or its list")]
    Head(&'static str),
    /// A manifest that does not carry on the one before it: one is missing or altered.
    #[error(
        "it carries on the list hash {}, but the manifest before it has {expected}: one of them was \
         altered, or one between them is missing",
        hash(*.found)
    )]
    Chain { expected: Sha256Hash, found: Option<Sha256Hash> },
    /// A manifest that begins before the one before it ends.
    #[error("it begins at offset {first}, but the manifest before it ends at {last}")]
    Overlap { first: i64, last: i64 },
    /// A segment that zstd cannot read.
    #[error("zstd cannot read it: {0}")]
    Compression(String),
    /// A segment with more or fewer lines than its manifest lists.
    #[error("it holds {than} records than the {listed} that its manifest lists")]
    Count { than: &'static str, listed: usize },
    /// A record whose line has not the listed hash.
    #[error("the record at offset {offset} was altered: its SHA-256 is {found}, not {listed}")]
    Altered { offset: i64, listed: Sha256Hash, found: Sha256Hash },
    /// A line that is no record, though it is the listed one.
    #[error("offset {offset}: {error}")]
    Line { offset: i64, error: LineError },
    /// A record of another partition or offset than listed.
    #[error("the record listed at offset {0} is another one")]
    Misplaced(i64),
}

fn hash(hash: Option<Sha256Hash>) -> String {
    hash.map_or_else(|| "of none".to_owned(), |hash| hash.to_string())
}

/// Why something of the archive was not read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadError {
    /// It is damaged.
    #[error(transparent)]
    Damage(#[from] Damage),
    /// S3 does not answer, or refuses.
    #[error(transparent)]
    Fault(#[from] Fault),
}
