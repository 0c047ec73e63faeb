//! Which offsets of the log a person means.

use std::fmt;
use std::str::FromStr;

use crate::source::Range;
use crate::source::filter::Moment;

/// A part of a partition, as a person names it: `P`, `P:FROM..TO`, `P:FROM..`, `P:..TO`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) partition: i32,
    pub(crate) from: Option<i64>,
    pub(crate) to: Option<i64>,
}

impl Part {
    /// All of a partition.
    pub(crate) fn whole(partition: i32) -> Self {
        Self { partition, from: None, to: None }
    }

    pub(crate) fn partition(&self) -> i32 {
        self.partition
    }
}

impl FromStr for Part {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const SHAPE: &str =
            "is not PARTITION:FROM..TO; FROM and TO may be left out, TO is not read";
        let (partition, offsets) = text.split_once(':').unwrap_or((text, ".."));
        let (from, to) = offsets.split_once("..").ok_or(SHAPE)?;
        let offset = |text: &str| match text {
            "" => Ok(None),
            text => text.parse().map(Some).map_err(|_| SHAPE),
        };
        let part = Self {
            partition: partition.parse().map_err(|_| SHAPE)?,
            from: offset(from)?,
            to: offset(to)?,
        };
        let is_negative = |offset: Option<i64>| offset.is_some_and(i64::is_negative);
        if part.partition < 0 || is_negative(part.from) || is_negative(part.to) {
            return Err(SHAPE);
        }
        Ok(part)
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |offset: Option<i64>| offset.map_or_else(String::new, |it| it.to_string());
        write!(f, "{}:{}..{}", self.partition, text(self.from), text(self.to))
    }
}

/// A range that the log does not hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum OutOfLog {
    /// The topic has fewer partitions.
    #[error("partition {partition} is not one of the topic's {has}")]
    NoPartition { partition: i32, has: i32 },
    /// Retention has deleted the first records of it.
    #[error(
        "partition {partition}: the range begins at offset {from}, but the log begins at {low}: \
         retention has deleted what is before. The archive has it: `reconciler replay archive`"
    )]
    Deleted { partition: i32, from: i64, low: i64 },
    /// Retention has deleted records that may be of the time that was asked for.
    #[error(
        "partition {partition}: retention has deleted every record before offset {low}, and the \
         first that is left came after {from}. The archive has what was between: `reconciler \
         replay archive`"
    )]
    DeletedSince { partition: i32, from: Moment, low: i64 },
    /// The range ends behind the log.
    #[error("partition {partition}: the range ends at offset {to}, but the log ends at {high}")]
    Beyond { partition: i32, to: i64, high: i64 },
    /// It ends before it begins.
    #[error("partition {partition}: the range ends at {to}, before it begins at {from}")]
    Backwards { partition: i32, from: i64, to: i64 },
}

/// What of a part is there. `since` is the time asked for and the first offset of it or later.
pub(super) fn range(
    part: &Part,
    (low, high): (i64, i64),
    since: Option<(Moment, i64)>,
    until: Option<i64>,
) -> Result<Range, OutOfLog> {
    let partition = part.partition;
    if let Some(from) = part.from.filter(|from| *from < low) {
        return Err(OutOfLog::Deleted { partition, from, low });
    }
    if let Some(to) = part.to.filter(|to| *to > high) {
        return Err(OutOfLog::Beyond { partition, to, high });
    }
    // What came at that time or later may have begun before the log does.
    if let (None, Some((from, offset))) = (part.from, since)
        && offset <= low
        && low > 0
    {
        return Err(OutOfLog::DeletedSince { partition, from, low });
    }
    let from = part.from.unwrap_or(low);
    let to = part.to.unwrap_or(high);
    if to < from {
        return Err(OutOfLog::Backwards { partition, from, to });
    }
    let from = since.map_or(from, |(_, offset)| offset.max(from)).min(to);
    let to = until.map_or(to, |offset| offset.min(to)).max(from);
    Ok(Range { partition, from, to })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(text: &str) -> Part {
        text.parse().unwrap()
    }

    #[test]
    fn parts_are_read_and_written() {
        assert_eq!(part("3"), Part { partition: 3, from: None, to: None });
        assert_eq!(part("3:5..9"), Part { partition: 3, from: Some(5), to: Some(9) });
        for text in ["0:..", "0:5..", "0:..9", "11:5..9"] {
            assert_eq!(part(text).to_string(), text);
        }
        for text in ["", "x", "0:5", "0:a..", "-1:..", "0:-5..", "0:5..-1", "0:5...9"] {
            assert!(text.parse::<Part>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_range_is_what_the_log_holds_of_it() {
        let of = |text, since, until| {
            let range = super::range(&part(text), (10, 50), since, until)?;
            Ok::<_, OutOfLog>((range.from, range.to))
        };
        let since = |offset| Some((Moment(7), offset));
        assert_eq!(of("0", None, None), Ok((10, 50)));
        assert_eq!(of("0:20..30", None, None), Ok((20, 30)));
        assert_eq!(of("0:..30", since(20), None), Ok((20, 30)));
        assert_eq!(of("0", since(20), Some(40)), Ok((20, 40)));
        assert_eq!(of("0", since(50), None), Ok((50, 50)), "nothing came since");
        assert_eq!(of("0:20..30", since(40), Some(45)), Ok((30, 30)));
        assert_eq!(of("0:20..", since(10), None), Ok((20, 50)), "the offset says enough");
    }

    #[test]
    fn what_the_log_does_not_hold_is_an_error_that_says_where_it_is() {
        let of =
            |text, since| super::range(&part(text), (10, 50), since, None).unwrap_err().to_string();
        assert!(of("0:9..", None).contains("begins at 10"));
        assert!(of("0", Some((Moment(0), 10))).contains("after 1970-01-01T00:00:00Z"));
        for text in [of("0:9..", None), of("0", Some((Moment(0), 10)))] {
            assert!(text.contains("`reconciler replay archive`"), "{text}");
        }
        assert!(of("0:..51", None).contains("the log ends at 50"));
        assert!(of("0:30..20", None).contains("before it begins"));
        let whole = range(&part("0"), (0, 50), Some((Moment(0), 0)), None);
        assert_eq!(whole.unwrap().from, 0, "nothing was deleted yet");
    }
}
