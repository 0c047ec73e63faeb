//! Where records of the past come from: the raw topic, as far back as its log reaches, and the
//! archive, which has them all. What is read is the same [`RawRecord`] that the live feed reads.
//!
//! Nothing here joins a consumer group, moves a position or writes anything.

pub(crate) mod archive;
pub(crate) mod filter;
pub(crate) mod topic;

use domain::record::RawRecord;
use tokio::sync::{OwnedSemaphorePermit, mpsc};

pub(crate) use self::archive::ReadError;

/// How far two records of a partition may lie against the order of their times: writers have clocks
/// of their own, and may wait for an acknowledgement. Milliseconds.
const SKEW_MS: i64 = 10 * 60 * 1000;

/// Records of one partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Range {
    /// The partition.
    pub(crate) partition: i32,
    /// First offset.
    pub(crate) from: i64,
    /// The offset behind the last.
    pub(crate) to: i64,
}

/// A queue of chunks: it ends after the last, or after the first error.
pub(crate) type Chunks = mpsc::Receiver<Result<Chunk, ReadError>>;

/// Consecutive records of one partition.
#[derive(Debug)]
pub(crate) struct Chunk {
    /// In the order of their offsets.
    pub(crate) records: Vec<RawRecord>,
    /// How many more there were, and are erased.
    pub(crate) erased: usize,
    /// Where reading goes on: every record before it, from the chunk before this one on, is here.
    pub(crate) next_offset: i64,
    /// Room in memory, given back when this is dropped.
    pub(crate) room: Option<OwnedSemaphorePermit>,
}
