//! Which records of a partition come from where: the archive first, the topic for the rest. What
//! neither has is a gap.

use std::fmt;

/// Consecutive offsets, `from` included and `to` not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) from: i64,
    pub(crate) to: i64,
}

impl Span {
    /// How many offsets.
    pub(super) fn count(self) -> u64 {
        (self.to - self.from).max(0).unsigned_abs()
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "offsets {} to {}", self.from, self.to - 1)
    }
}

/// Where consecutive records are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Leg {
    Archive(Span),
    Topic(Span),
    /// Neither has them.
    Gap(Span),
}

impl Leg {
    pub(super) fn span(self) -> Span {
        match self {
            Self::Archive(span) | Self::Topic(span) | Self::Gap(span) => span,
        }
    }
}

/// What is known of one partition.
#[derive(Debug, Clone, Copy)]
pub(super) struct Known {
    /// Where the rebuilt database stands; none if it has not begun.
    pub(super) reached: Option<i64>,
    /// Where the live one stands: the offset after the last record that it has applied.
    pub(super) to: i64,
    /// The first record that the live one still knows to have applied.
    pub(super) seen: Option<i64>,
    /// What the archive holds.
    pub(super) archive: Option<Span>,
    /// What the topic's log holds.
    pub(super) topic: Option<Span>,
}

impl Known {
    /// Where reading begins: where the rebuilt database stands, else as far back as anything
    /// reaches. What comes before that was never there, or nobody can tell.
    pub(super) fn start(&self) -> i64 {
        let held = self.archive.into_iter().chain(self.topic);
        let first = held.filter(|held| held.from < held.to).map(|held| held.from).min();
        let first = self.seen.into_iter().chain(first).min();
        self.reached.unwrap_or_else(|| first.unwrap_or(self.to)).min(self.to)
    }

    /// The way from the start to where the live database stands.
    pub(super) fn legs(&self) -> Vec<Leg> {
        let mut legs = Vec::new();
        let mut next = self.start();
        let holds = |held: Option<Span>, offset: i64| {
            held.filter(|held| (held.from..held.to).contains(&offset))
        };
        let begins_after = |held: Option<Span>, offset: i64| {
            held.filter(|held| held.from > offset && held.from < held.to).map(|held| held.from)
        };
        while next < self.to {
            let archive_begins = begins_after(self.archive, next);
            let leg = if let Some(held) = holds(self.archive, next) {
                Leg::Archive(Span { from: next, to: held.to.min(self.to) })
            } else if let Some(held) = holds(self.topic, next) {
                let end = archive_begins.map_or(held.to, |begins| begins.min(held.to));
                Leg::Topic(Span { from: next, to: end.min(self.to) })
            } else {
                let begins = archive_begins.into_iter().chain(begins_after(self.topic, next)).min();
                Leg::Gap(Span { from: next, to: begins.unwrap_or(self.to).min(self.to) })
            };
            next = leg.span().to;
            legs.push(leg);
        }
        legs
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(from: i64, to: i64) -> Span {
        Span { from, to }
    }

    fn legs(
        (reached, to): (Option<i64>, i64),
        archive: Option<Span>,
        topic: Option<Span>,
    ) -> Vec<Leg> {
        Known { reached, to, seen: None, archive, topic }.legs()
    }

    #[test]
    fn the_archive_comes_first_and_the_topic_tops_it_up() {
        let (archive, topic) = (Some(span(0, 60)), Some(span(40, 100)));
        let both = [Leg::Archive(span(0, 60)), Leg::Topic(span(60, 90))];
        assert_eq!(legs((None, 90), archive, topic), both);
        assert_eq!(legs((None, 50), archive, topic), [Leg::Archive(span(0, 50))]);
        assert_eq!(legs((Some(70), 90), archive, topic), [Leg::Topic(span(70, 90))]);
        assert_eq!(legs((Some(90), 90), archive, topic), []);
        assert_eq!(legs((None, 90), None, Some(span(0, 100))), [Leg::Topic(span(0, 90))]);
        let late = [Leg::Topic(span(0, 20)), Leg::Archive(span(20, 60)), Leg::Topic(span(60, 90))];
        assert_eq!(legs((None, 90), Some(span(20, 60)), Some(span(0, 100))), late);
    }

    #[test]
    fn what_neither_has_is_a_gap() {
        let (archive, topic) = (Some(span(0, 60)), Some(span(80, 100)));
        let gap = [Leg::Archive(span(0, 60)), Leg::Gap(span(60, 80)), Leg::Topic(span(80, 90))];
        assert_eq!(legs((None, 90), archive, topic), gap);
        let end = [Leg::Archive(span(0, 60)), Leg::Gap(span(60, 70))];
        assert_eq!(legs((None, 70), archive, topic), end);
        assert_eq!(legs((Some(5), 9), None, None), [Leg::Gap(span(5, 9))]);
        let short = [Leg::Topic(span(0, 5)), Leg::Gap(span(5, 9))];
        assert_eq!(legs((None, 9), None, Some(span(0, 5))), short);
    }

    #[test]
    fn what_the_live_database_has_seen_must_be_there() {
        let topic = Some(span(40, 100));
        let known = Known { reached: None, to: 90, seen: Some(7), archive: None, topic };
        assert_eq!(known.legs(), [Leg::Gap(span(7, 40)), Leg::Topic(span(40, 90))]);
        let known = Known { seen: Some(40), ..known };
        assert_eq!(known.legs(), [Leg::Topic(span(40, 90))]);
        assert_eq!(Known { topic: Some(span(7, 7)), ..known }.start(), 40);
    }

    #[test]
    fn a_partition_without_records_begins_where_the_live_one_stands() {
        let known =
            Known { reached: None, to: 12, seen: None, archive: None, topic: Some(span(12, 12)) };
        assert_eq!((known.start(), known.legs()), (12, vec![]));
    }

    #[test]
    fn a_gap_is_told_by_its_first_and_last_offset() {
        assert_eq!(span(60, 80).to_string(), "offsets 60 to 79");
    }
}
