//! How far a role is, and how far behind: in records, and by the age of what it has yet to do.

use std::collections::{BTreeMap, VecDeque};

use domain::record::RawRecord;
use service::metrics::Gauge;

use crate::metrics::{self, number};

/// Ages are told to this many milliseconds, which bounds what is remembered of the records that
/// wait.
const RESOLUTION_MS: i64 = 1000;

/// The partitions of an epoch, and their gauges.
pub(super) struct Lag {
    role: &'static str,
    partitions: BTreeMap<i32, Partition>,
}

struct Partition {
    /// First offset that is not done.
    done: i64,
    /// The log's end.
    end: i64,
    /// Offset and timestamp of some records that came, in order: of the first, and of each that is
    /// later than the one before by the resolution.
    marks: VecDeque<(i64, i64)>,
    records: Gauge,
    seconds: Gauge,
}

impl Lag {
    pub(super) fn new(role: &'static str) -> Self {
        metrics::ASSIGNED.with([role]).set(0);
        Self { role, partitions: BTreeMap::new() }
    }

    /// An epoch begins at these offsets.
    pub(super) fn begin(
        &mut self,
        next_offsets: impl Iterator<Item = (i32, i64)>,
        log_ends: &BTreeMap<i32, i64>,
    ) {
        let partition = |number: i32, done: i64| {
            let labels = [self.role, &number.to_string()];
            Partition {
                done,
                end: log_ends.get(&number).copied().unwrap_or(done),
                marks: VecDeque::new(),
                records: metrics::LAG.with(labels),
                seconds: metrics::LAG_SECONDS.with(labels),
            }
        };
        self.partitions = next_offsets.map(|(n, done)| (n, partition(n, done))).collect();
        self.show_assigned();
        self.measure();
    }

    /// The epoch is over: what is behind now is others' to tell.
    pub(super) fn end(&mut self) {
        for partition in std::mem::take(&mut self.partitions).into_values() {
            partition.records.set(0);
            partition.seconds.set(0);
        }
        self.show_assigned();
    }

    /// A record came, and is to be done.
    pub(super) fn arrived(&mut self, record: &RawRecord) {
        let Some(partition) = self.partitions.get_mut(&record.partition) else { return };
        partition.arrived(record.offset, record.timestamp_ms);
    }

    /// These are done up to here.
    pub(super) fn done(&mut self, next_offsets: BTreeMap<i32, i64>) {
        for (number, next) in next_offsets {
            if let Some(partition) = self.partitions.get_mut(&number) {
                partition.done(next);
            }
        }
        self.measure();
    }

    /// The logs end here.
    pub(super) fn ends(&mut self, ends: &BTreeMap<i32, i64>) {
        for (number, partition) in &mut self.partitions {
            partition.end = ends.get(number).copied().unwrap_or(partition.end);
        }
        self.measure();
    }

    /// First offset of each partition that is not done.
    pub(super) fn next_offsets(&self) -> impl Iterator<Item = (i32, i64)> {
        self.partitions.iter().map(|(&number, partition)| (number, partition.done))
    }

    fn measure(&self) {
        let now_s = metrics::now_s();
        for partition in self.partitions.values() {
            partition.records.set(number(partition.behind()));
            partition.seconds.set(partition.age(now_s));
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "a gauge")]
    fn show_assigned(&self) {
        metrics::ASSIGNED.with([self.role]).set(self.partitions.len() as f64);
    }
}

impl Partition {
    fn behind(&self) -> i64 {
        (self.end - self.done).max(0)
    }

    fn arrived(&mut self, offset: i64, timestamp_ms: i64) {
        self.end = self.end.max(offset + 1);
        if self.marks.back().is_none_or(|&(_, last)| timestamp_ms >= last + RESOLUTION_MS) {
            self.marks.push_back((offset, timestamp_ms));
        }
    }

    /// The last mark that is done stays: what follows it is no older.
    fn done(&mut self, next: i64) {
        self.done = next.max(self.done);
        while self.marks.get(1).is_some_and(|&(offset, _)| offset <= self.done) {
            self.marks.pop_front();
        }
        if self.behind() == 0 {
            self.marks.clear();
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "a gauge")]
    fn age(&self, now_s: f64) -> f64 {
        match self.marks.front() {
            Some(&(_, since_ms)) if self.behind() > 0 => (now_s - since_ms as f64 / 1e3).max(0.0),
            _ => 0.0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn partition(done: i64) -> Partition {
        let (records, seconds) = (Gauge::noop(), Gauge::noop());
        Partition { done, end: done, marks: VecDeque::new(), records, seconds }
    }

    #[test]
    fn the_age_is_that_of_the_oldest_record_that_is_not_done() {
        let mut it = partition(10);
        assert_eq!((it.behind(), it.age(100.0)), (0, 0.0));
        for (offset, at_ms) in [(10, 50_000), (11, 50_400), (12, 60_000), (13, 90_000)] {
            it.arrived(offset, at_ms);
        }
        assert_eq!((it.behind(), it.age(100.0)), (4, 50.0));
        it.done(11);
        assert_eq!((it.behind(), it.age(100.0)), (3, 50.0), "to the second");
        it.done(12);
        assert_eq!((it.behind(), it.age(100.0)), (2, 40.0));
        it.done(14);
        assert_eq!((it.behind(), it.age(100.0)), (0, 0.0));
    }

    #[test]
    fn a_pause_of_the_sender_is_no_lag() {
        let mut it = partition(0);
        it.arrived(0, 1_000);
        it.done(1);
        it.arrived(1, 99_000);
        assert_eq!((it.behind(), it.age(100.0)), (1, 1.0));
    }

    #[test]
    fn what_is_remembered_is_bounded_by_time_not_by_records() {
        let mut it = partition(0);
        (0..100_000).for_each(|offset| it.arrived(offset, offset / 50));
        assert!(it.marks.len() <= 3, "{}", it.marks.len());
    }
}
