//! When the projection must pause: too much of what it reads would go to quarantine.
//!
//! A handful of bad records is quarantined and life goes on. When most records are bad, it is the
//! program or its writer that is wrong, and quarantine would swallow the topic. The judgement is
//! about the newest records that were new to the database; docs/adr/0016-quarantine-and-breaker.md tells more.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;

use domain::event::Reason;

/// How many of the tripping records are shown to a person.
const MAX_EXAMPLES: usize = 5;

/// When the breaker trips.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Limits {
    /// Share of the window that may go to quarantine, up to 1; 1 never trips.
    pub(crate) share: f64,
    /// Records in the window.
    pub(crate) window: u32,
    /// Fewest quarantined records in the window before it may trip.
    pub(crate) min: u32,
}

/// A record that is new to the database.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Seen<'a> {
    pub(crate) partition: i32,
    pub(crate) offset: i64,
    /// Why it would go to quarantine, and where in the record the cause is.
    pub(crate) rejected: Option<(Reason, &'a str)>,
}

/// A record that would have gone to quarantine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Example {
    pub(crate) partition: i32,
    pub(crate) offset: i64,
    pub(crate) reason: Reason,
    pub(crate) detail: String,
}

/// Why it tripped.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Trip {
    /// Records in the window.
    pub(crate) looked_at: u32,
    /// How many of them would have gone to quarantine.
    pub(crate) quarantined: u32,
    /// The share that is allowed.
    pub(crate) share: f64,
    /// The quarantined ones by reason.
    pub(crate) reasons: BTreeMap<&'static str, u32>,
    /// Some of them.
    pub(crate) examples: Vec<Example>,
}

impl fmt::Display for Trip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts: Vec<String> =
            self.reasons.iter().map(|(reason, count)| format!("{reason} {count}")).collect();
        let (bad, all) = (self.quarantined, self.looked_at);
        write!(f, "{bad} of {all} records would go to quarantine: {}", counts.join(", "))
    }
}

/// The newest records: `None` for a good one.
#[derive(Debug, Clone, Default)]
struct Window {
    recent: VecDeque<Option<Reason>>,
    length: u32,
    bad: u32,
}

impl Window {
    fn push(&mut self, outcome: Option<Reason>, limit: u32) {
        if self.length == limit
            && let Some(oldest) = self.recent.pop_front()
        {
            self.bad -= u32::from(oldest.is_some());
            self.length -= 1;
        }
        self.bad += u32::from(outcome.is_some());
        self.length += 1;
        self.recent.push_back(outcome);
    }

    fn is_over(&self, limits: &Limits) -> bool {
        let allowed = limits.share * f64::from(self.length);
        self.bad >= limits.min && f64::from(self.bad) > allowed
    }

    fn reasons(&self) -> BTreeMap<&'static str, u32> {
        let mut reasons = BTreeMap::new();
        for reason in self.recent.iter().flatten() {
            *reasons.entry(reason.as_str()).or_default() += 1;
        }
        reasons
    }
}

/// Judges batches before they are committed.
#[derive(Debug)]
pub(crate) struct Breaker {
    limits: Limits,
    /// What was committed.
    window: Window,
    /// The same with the batch that is being judged.
    next: Window,
}

impl Breaker {
    /// A breaker that has seen nothing yet.
    pub(crate) fn new(limits: Limits) -> Self {
        Self { limits, window: Window::default(), next: Window::default() }
    }

    /// Whether these records, after those that were committed, are too many bad ones at any point.
    /// A batch is judged record by record, so its size changes nothing. Records before the offset
    /// that `through` has for their partition were let through by a person and do not count.
    pub(crate) fn judge<'a>(
        &mut self,
        records: impl Iterator<Item = Seen<'a>>,
        through: &BTreeMap<i32, i64>,
    ) -> Option<Trip> {
        self.next = self.window.clone();
        let mut examples = Vec::new();
        let counts = |record: &Seen<'_>| {
            through.get(&record.partition).is_none_or(|offset| record.offset >= *offset)
        };
        for record in records.filter(counts) {
            let Seen { partition, offset, rejected } = record;
            self.next.push(rejected.map(|(reason, _)| reason), self.limits.window);
            if let Some((reason, detail)) = rejected
                && examples.len() < MAX_EXAMPLES
            {
                examples.push(Example { partition, offset, reason, detail: detail.to_owned() });
            }
            if self.next.is_over(&self.limits) {
                return Some(Trip {
                    looked_at: self.next.length,
                    quarantined: self.next.bad,
                    share: self.limits.share,
                    reasons: self.next.reasons(),
                    examples,
                });
            }
        }
        None
    }

    /// The batch that was judged last is committed.
    pub(crate) fn keep(&mut self) {
        self.window = std::mem::take(&mut self.next);
    }

    /// Starts over: what came before a pause was looked at by a person.
    pub(crate) fn forget(&mut self) {
        self.window = Window::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { share: 0.5, window: 20, min: 5 };

    /// `x` is a bad record, anything else a good one; offsets count from `first`.
    fn records(first: i64, text: &str) -> impl Iterator<Item = Seen<'static>> {
        text.chars().zip(first..).map(|(letter, offset)| Seen {
            partition: 0,
            offset,
            rejected: (letter == 'x').then_some((Reason::NotJson, "line 1 column 1")),
        })
    }

    fn judge(breaker: &mut Breaker, text: &str) -> Option<Trip> {
        breaker.judge(records(0, text), &BTreeMap::new())
    }

    /// Judges and commits one record at a time: how many it took to trip.
    fn one_by_one(limits: Limits, text: &str) -> Option<usize> {
        let mut breaker = Breaker::new(limits);
        text.char_indices().find_map(|(index, letter)| {
            let trip = judge(&mut breaker, &letter.to_string());
            breaker.keep();
            trip.map(|_| index + 1)
        })
    }

    #[test]
    fn a_few_bad_records_never_trip_it() {
        assert_eq!(judge(&mut Breaker::new(LIMITS), "xxxx"), None, "fewer than the least number");
        assert_eq!(
            judge(&mut Breaker::new(LIMITS), &".....xxxxx".repeat(9)),
            None,
            "half is allowed"
        );
        assert_eq!(judge(&mut Breaker::new(LIMITS), &"..x".repeat(99)), None);
    }

    #[test]
    fn too_many_trip_it_and_it_says_why() {
        let trip = judge(&mut Breaker::new(LIMITS), "..xxxxxxxx").unwrap();
        assert_eq!((trip.looked_at, trip.quarantined), (7, 5));
        assert_eq!(trip.reasons, [("not_json", 5)].into());
        let offsets: Vec<i64> = trip.examples.iter().map(|it| it.offset).collect();
        assert_eq!(offsets, [2, 3, 4, 5, 6]);
    }

    #[test]
    fn old_records_leave_the_window() {
        let good = ".".repeat(500);
        let trip = judge(&mut Breaker::new(LIMITS), &format!("{good}{}", "x".repeat(20))).unwrap();
        assert_eq!(
            (trip.looked_at, trip.quarantined),
            (20, 11),
            "the 500 good ones do not hide them"
        );
    }

    #[test]
    fn the_size_of_batches_changes_nothing() {
        let text = format!("{}{}", ".x.x..".repeat(20), "x".repeat(30));
        let whole = judge(&mut Breaker::new(LIMITS), &text).unwrap();
        let last = whole.examples.len();
        assert_eq!(last, MAX_EXAMPLES);
        let taken = one_by_one(LIMITS, &text).unwrap();
        assert!(judge(&mut Breaker::new(LIMITS), &text[..taken]).is_some());
        assert!(judge(&mut Breaker::new(LIMITS), &text[..taken - 1]).is_none());
    }

    #[test]
    fn what_is_not_committed_does_not_count() {
        let mut breaker = Breaker::new(LIMITS);
        for _ in 0..9 {
            assert_eq!(judge(&mut breaker, "xxxx"), None, "rolled back each time");
        }
        breaker.keep();
        assert!(judge(&mut breaker, "x").is_some());
        breaker.forget();
        assert_eq!(judge(&mut breaker, "xxxx"), None);
    }

    #[test]
    fn what_a_person_let_through_does_not_count() {
        let mut breaker = Breaker::new(LIMITS);
        let through = BTreeMap::from([(0, 100)]);
        assert_eq!(breaker.judge(records(0, &"x".repeat(100)), &through), None);
        breaker.keep();
        assert_eq!(breaker.judge(records(100, "xxxx"), &through), None);
        assert!(breaker.judge(records(100, "xxxxx"), &through).is_some());
        let elsewhere = BTreeMap::from([(1, 1000)]);
        assert!(breaker.judge(records(0, "xxxxx"), &elsewhere).is_some());
    }

    #[test]
    fn a_share_of_one_is_off() {
        let off = Limits { share: 1.0, ..LIMITS };
        assert_eq!(judge(&mut Breaker::new(off), &"x".repeat(1000)), None);
    }
}
