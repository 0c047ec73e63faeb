//! Which records a replay is about, counted: what the filter takes, up to its limit.

use std::sync::atomic::{AtomicU64, Ordering};

use domain::record::RawRecord;

use crate::source::filter::Filter;
use crate::store::replay::Mark;

/// The filter, and how many more records it takes.
#[derive(Debug)]
pub(super) struct Choice {
    filter: Filter,
    left: AtomicU64,
}

impl Choice {
    /// What is left to choose at these places.
    pub(super) fn new(filter: Filter, marks: &[Mark]) -> Self {
        let chosen: u64 = marks.iter().map(|it| it.counts.read - it.counts.skipped).sum();
        let left = filter.limit.unwrap_or(u64::MAX).saturating_sub(chosen);
        Self { filter, left: AtomicU64::new(left) }
    }

    /// Whether it takes this record; if so, there is one less to take.
    pub(super) fn takes(&self, record: &RawRecord) -> bool {
        let one_less = |left: u64| left.checked_sub(1);
        let order = Ordering::Relaxed;
        self.filter.matches(record) && self.left.fetch_update(order, order, one_less).is_ok()
    }

    /// Whether what is left may hold nothing to take: it came too late, or is too much.
    pub(super) fn may_end_early(&self) -> bool {
        self.filter.to.is_some() || self.is_over()
    }

    /// Whether it takes no more.
    pub(super) fn is_over(&self) -> bool {
        self.left.load(Ordering::Relaxed) == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::Range;
    use crate::store::replay::Counts;

    #[test]
    fn what_was_chosen_before_counts_towards_the_limit() {
        let record = RawRecord {
            partition: 0,
            offset: 0,
            timestamp_ms: 0,
            key: None,
            headers: Vec::new(),
            value: None,
        };
        let mark = Mark {
            range: Range { partition: 0, from: 5, to: 9 },
            counts: Counts { read: 5, skipped: 2, ..Counts::default() },
        };
        let choice = Choice::new(Filter { limit: Some(5), ..Filter::default() }, &[mark]);
        let taken = (0..9).filter(|_| choice.takes(&record)).count();
        assert_eq!((taken, choice.is_over()), (2, true));
        let all = Choice::new(Filter::default(), &[]);
        assert!(all.takes(&record) && !all.is_over());
    }
}
