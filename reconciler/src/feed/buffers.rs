//! What lies between the reader's thread and the role: one bounded queue per partition.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use domain::record::RawRecord;
use tokio::sync::Notify;

use super::{Batch, BatchLimit, FeedLimits};
use crate::fault::Fault;
use crate::position::Position;

/// What the role must know before it gets more records.
#[derive(Debug)]
pub(super) enum Event {
    Assigned { epoch: u64, positions: BTreeMap<i32, Position> },
    Revoked,
    Failed(Fault),
}

#[derive(Debug)]
pub(super) struct Shared {
    state: Mutex<State>,
    limits: FeedLimits,
    /// Something came: an event or a record.
    pub(super) arrived: Notify,
}

#[derive(Debug, Default)]
struct State {
    epoch: u64,
    /// Whether the epoch lasts.
    assigned: bool,
    events: VecDeque<Event>,
    partitions: BTreeMap<i32, Buffer>,
    /// Partition that the next batch starts with, so that none starves.
    turn: i32,
}

#[derive(Debug, Default)]
struct Buffer {
    records: VecDeque<RawRecord>,
    bytes: usize,
    /// First offset that did not come yet.
    next_offset: i64,
}

impl Shared {
    pub(super) fn new(limits: FeedLimits) -> Self {
        Self { state: Mutex::default(), limits, arrived: Notify::new() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins an epoch: empty buffers that expect these offsets.
    pub(super) fn assign(&self, epoch: u64, positions: BTreeMap<i32, Position>) {
        let mut state = self.state();
        state.epoch = epoch;
        state.assigned = true;
        state.partitions = positions
            .iter()
            .map(|(&partition, position)| {
                (partition, Buffer { next_offset: position.next_offset, ..Buffer::default() })
            })
            .collect();
        state.events.push_back(Event::Assigned { epoch, positions });
        drop(state);
        self.arrived.notify_one();
    }

    /// Ends the epoch, if one lasts: what the role did not take is dropped.
    pub(super) fn revoke(&self) {
        let mut state = self.state();
        if !std::mem::take(&mut state.assigned) {
            return;
        }
        state.partitions.clear();
        // An assignment that the role has not seen did not happen.
        if matches!(state.events.back(), Some(Event::Assigned { .. })) {
            state.events.pop_back();
        } else {
            state.events.push_back(Event::Revoked);
        }
        drop(state);
        self.arrived.notify_one();
    }

    /// The feed cannot go on.
    pub(super) fn fail(&self, fault: Fault) {
        let mut state = self.state();
        state.partitions.clear();
        state.events.push_back(Event::Failed(fault));
        drop(state);
        self.arrived.notify_one();
    }

    /// Whether this partition's buffer takes another record.
    pub(super) fn has_room(&self, partition: i32) -> bool {
        self.state().partitions.get(&partition).is_some_and(|buffer| buffer.has_room(self.limits))
    }

    /// Buffers a record. One of a partition that is not assigned, or that came before, is dropped.
    pub(super) fn push(&self, record: RawRecord) {
        let mut state = self.state();
        let Some(buffer) = state.partitions.get_mut(&record.partition) else { return };
        if record.offset < buffer.next_offset {
            return;
        }
        buffer.next_offset = record.offset + 1;
        buffer.bytes += record.size();
        buffer.records.push_back(record);
        drop(state);
        self.arrived.notify_one();
    }

    pub(super) fn next_event(&self) -> Option<Event> {
        self.state().events.pop_front()
    }

    /// Records that wait for the role.
    pub(super) fn waiting(&self) -> usize {
        self.state().partitions.values().map(|buffer| buffer.records.len()).sum()
    }

    /// Takes a batch within `limit`; none while an event waits. The flag says that a buffer that
    /// was full has room again.
    pub(super) fn take(&self, limit: BatchLimit) -> Option<(Batch, bool)> {
        let mut state = self.state();
        if !state.events.is_empty() {
            return None;
        }
        let (mut records, mut bytes, mut made_room) = (Vec::new(), 0, false);
        let turn = state.turn;
        let order: Vec<i32> = state
            .partitions
            .range(turn..)
            .chain(state.partitions.range(..turn))
            .map(|(&partition, _)| partition)
            .collect();
        for partition in order {
            let Some(buffer) = state.partitions.get_mut(&partition) else { continue };
            let was_full = !buffer.has_room(self.limits);
            while let Some(record) = buffer.records.front() {
                let size = record.size();
                let fits = records.len() < limit.records && bytes + size <= limit.bytes;
                if !fits && !records.is_empty() {
                    break;
                }
                bytes += size;
                buffer.bytes -= size;
                records.extend(buffer.records.pop_front());
            }
            made_room |= was_full && buffer.has_room(self.limits);
            if !buffer.records.is_empty() {
                // The batch is full; others go first next time.
                state.turn = partition.saturating_add(1);
                break;
            }
        }
        let batch = Batch { epoch: state.epoch, records };
        (!batch.records.is_empty()).then_some((batch, made_room))
    }
}

impl Buffer {
    fn has_room(&self, limits: FeedLimits) -> bool {
        self.records.len() < limits.records && self.bytes < limits.bytes
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;

    use super::*;

    const LIMITS: FeedLimits = FeedLimits {
        records: 3,
        bytes: 100,
        prefetch_kib: 1,
        session_timeout: Duration::from_secs(6),
    };

    fn limit(records: usize) -> BatchLimit {
        BatchLimit { records, bytes: 1000, linger: Duration::ZERO }
    }

    fn record(partition: i32, offset: i64, size: usize) -> RawRecord {
        RawRecord {
            partition,
            offset,
            timestamp_ms: 0,
            key: None,
            headers: Vec::new(),
            value: Some(Bytes::from(vec![0; size])),
        }
    }

    fn assigned(partitions: &[i32]) -> Shared {
        let shared = Shared::new(LIMITS);
        let position = Position { next_offset: 0, chain: None };
        shared.assign(1, partitions.iter().map(|&partition| (partition, position)).collect());
        assert!(matches!(shared.next_event(), Some(Event::Assigned { epoch: 1, .. })));
        shared
    }

    fn offsets(batch: &Batch) -> Vec<(i32, i64)> {
        batch.records.iter().map(|record| (record.partition, record.offset)).collect()
    }

    #[test]
    fn a_full_buffer_says_so_and_says_when_it_has_room_again() {
        let shared = assigned(&[0]);
        for offset in 0..3 {
            assert!(shared.has_room(0));
            shared.push(record(0, offset, 1));
        }
        assert!(!shared.has_room(0));
        let (batch, made_room) = shared.take(limit(2)).unwrap();
        assert_eq!(offsets(&batch), [(0, 0), (0, 1)]);
        assert!(made_room && shared.has_room(0));
        let (_, made_room) = shared.take(limit(2)).unwrap();
        assert!(!made_room, "it had room before");
    }

    #[test]
    fn bytes_bound_the_buffer_and_the_batch_but_one_record_always_fits() {
        let shared = assigned(&[0]);
        shared.push(record(0, 0, 5000));
        assert!(!shared.has_room(0));
        shared.push(record(0, 1, 5000));
        assert_eq!(offsets(&shared.take(limit(9)).unwrap().0), [(0, 0)]);
        assert_eq!(offsets(&shared.take(limit(9)).unwrap().0), [(0, 1)]);
        assert!(shared.take(limit(9)).is_none());
    }

    #[test]
    fn what_came_before_or_is_not_assigned_is_dropped() {
        let shared = assigned(&[0]);
        for offset in [5, 5, 4, 7] {
            shared.push(record(0, offset, 1));
        }
        shared.push(record(1, 0, 1));
        assert_eq!(offsets(&shared.take(limit(9)).unwrap().0), [(0, 5), (0, 7)]);
    }

    #[test]
    fn partitions_take_turns() {
        let shared = assigned(&[0, 1]);
        for offset in 0..3 {
            shared.push(record(0, offset, 1));
            shared.push(record(1, offset, 1));
        }
        assert_eq!(offsets(&shared.take(limit(2)).unwrap().0), [(0, 0), (0, 1)]);
        assert_eq!(offsets(&shared.take(limit(2)).unwrap().0), [(1, 0), (1, 1)]);
        assert_eq!(offsets(&shared.take(limit(2)).unwrap().0), [(0, 2), (1, 2)]);
    }

    #[test]
    fn a_revocation_drops_what_waits_and_comes_before_new_records() {
        let shared = assigned(&[0]);
        shared.push(record(0, 0, 1));
        shared.revoke();
        assert_eq!(shared.waiting(), 0);
        shared.assign(2, BTreeMap::from([(0, Position { next_offset: 0, chain: None })]));
        shared.push(record(0, 0, 1));
        assert!(shared.take(limit(9)).is_none(), "events first");
        assert!(matches!(shared.next_event(), Some(Event::Revoked)));
        assert!(matches!(shared.next_event(), Some(Event::Assigned { epoch: 2, .. })));
        assert_eq!(shared.take(limit(9)).unwrap().0.epoch, 2);
    }

    #[test]
    fn an_assignment_that_was_never_seen_is_taken_back() {
        let shared = Shared::new(LIMITS);
        shared.assign(1, BTreeMap::new());
        shared.revoke();
        shared.revoke();
        assert!(shared.next_event().is_none());
    }
}
