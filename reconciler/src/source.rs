//! Where records of the past come from: the raw topic, as far back as its log reaches, and the
//! archive, which has them all. What is read is the same [`RawRecord`] that the live feed reads.
//!
//! Nothing here joins a consumer group, moves a position or writes anything.

pub(crate) mod archive;
pub(crate) mod filter;
pub(crate) mod topic;

use domain::record::RawRecord;
use tokio::sync::OwnedSemaphorePermit;

/// How far two records of a partition may lie against the order of their times: writers have clocks
/// of their own, and may wait for an acknowledgement. Milliseconds.
const SKEW_MS: i64 = 10 * 60 * 1000;

/// Consecutive records of one partition.
#[derive(Debug)]
pub(crate) struct Chunk {
    /// The partition.
    pub(crate) partition: i32,
    /// In the order of their offsets.
    pub(crate) records: Vec<RawRecord>,
    /// Where reading goes on: every record before it, from the chunk before this one on, is here.
    pub(crate) next_offset: i64,
    /// Room in memory, given back when this is dropped.
    pub(crate) room: Option<OwnedSemaphorePermit>,
}
