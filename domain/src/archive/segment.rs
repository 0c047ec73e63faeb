//! A segment while it is in memory: its lines, and where each record's line ends.

use sha2::{Digest as _, Sha256};

use super::Sha256Hash;
use super::line::{Entry, LineError, Tombstone, decode, encode, encode_tombstone};
use super::manifest::Listed;
use crate::record::RawRecord;

/// Consecutive records of one partition as lines. Records come in the order of their offsets.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Segment {
    lines: Vec<u8>,
    ends: Vec<usize>,
    listed: Vec<Listed>,
    first_timestamp_ms: i64,
}

/// How two segments that start at the same offset disagree.
#[derive(Debug, thiserror::Error)]
pub enum Difference {
    /// The other one starts somewhere else, so its key is wrong.
    #[error("the stored segment starts at offset {0:?}")]
    Start(Option<i64>),
    /// Both should hold this offset, but only one does.
    #[error("offset {0} is in only one of the two")]
    Missing(i64),
    /// The two records of this offset are not the same.
    #[error("the records at offset {0} differ")]
    Record(i64),
}

impl Segment {
    /// Adds a record at the end.
    pub fn push(&mut self, topic: &str, record: &RawRecord) {
        if self.listed.is_empty() {
            self.first_timestamp_ms = record.timestamp_ms;
        }
        let start = self.lines.len();
        encode(topic, record, &mut self.lines);
        let end = self.lines.len();
        self.list(start, end, record.offset);
    }

    /// Reads a segment's (decompressed) lines. Offsets must grow. A tombstone is listed with the hash
    /// of the line that it stands for.
    pub fn parse(lines: Vec<u8>) -> Result<Self, LineError> {
        let mut segment = Self { lines, ..Self::default() };
        let mut start = 0;
        while start < segment.lines.len() {
            let rest = &segment.lines[start..];
            let length =
                rest.iter().position(|&byte| byte == b'\n').map_or(rest.len(), |at| at + 1);
            let entry = decode(&rest[..length])?.entry;
            if segment.listed.is_empty() {
                segment.first_timestamp_ms = entry.timestamp_ms();
            }
            match entry {
                Entry::Record(record) => segment.list(start, start + length, record.offset),
                Entry::Erased(tombstone) => segment.list_erased(start + length, tombstone),
            }
            start += length;
        }
        Ok(segment)
    }

    /// All lines, newline-ended.
    pub fn lines(&self) -> &[u8] {
        &self.lines
    }

    /// The lines, without a copy.
    pub fn into_lines(self) -> Vec<u8> {
        self.lines
    }

    /// Offset and hash of each record.
    pub fn listed(&self) -> &[Listed] {
        &self.listed
    }

    /// Bytes of the lines, before compression.
    pub fn bytes(&self) -> usize {
        self.lines.len()
    }

    /// Whether it holds no record.
    pub fn is_empty(&self) -> bool {
        self.listed.is_empty()
    }

    /// Offset of the first record.
    pub fn first_offset(&self) -> Option<i64> {
        self.listed.first().map(|listed| listed.offset)
    }

    /// Offset of the last record.
    pub fn last_offset(&self) -> Option<i64> {
        self.listed.last().map(|listed| listed.offset)
    }

    /// Kafka timestamp of the first record, Unix milliseconds.
    pub fn first_timestamp_ms(&self) -> i64 {
        self.first_timestamp_ms
    }

    /// Checks that every record that both hold is the same. Lines may differ where the format has
    /// grown; their records may not. Of a record that one of them has erased, place, time and hash
    /// are what is left to compare.
    pub fn agrees_with(&self, stored: &Self) -> Result<(), Difference> {
        if self.first_offset() != stored.first_offset() {
            return Err(Difference::Start(stored.first_offset()));
        }
        let end = self.last_offset().min(stored.last_offset());
        let within = |listed: &&Listed| Some(listed.offset) <= end;
        let mut theirs = stored.listed.iter().take_while(within).enumerate();
        for (at, ours) in self.listed.iter().take_while(within).enumerate() {
            match theirs.next() {
                Some((index, other)) if other.offset == ours.offset => {
                    if ours.sha256 != other.sha256 && !same(self.line(at), stored.line(index)) {
                        return Err(Difference::Record(ours.offset));
                    }
                }
                other => {
                    let other = other.map_or(ours.offset, |(_, listed)| listed.offset);
                    return Err(Difference::Missing(ours.offset.min(other)));
                }
            }
        }
        theirs.next().map_or(Ok(()), |(_, listed)| Err(Difference::Missing(listed.offset)))
    }

    /// The first records, as many as these bounds allow but at least one, and the rest.
    #[must_use]
    pub fn cut(mut self, records: usize, bytes: usize) -> (Self, Self) {
        let fitting = self.ends.partition_point(|&end| end <= bytes);
        let keep = fitting.min(records).max(1);
        if keep >= self.listed.len() {
            return (self, Self::default());
        }
        let rest = self.clone().after(self.listed[keep - 1].offset);
        self.lines.truncate(self.ends[keep - 1]);
        self.ends.truncate(keep);
        self.listed.truncate(keep);
        (self, rest)
    }

    /// Drops every record up to and including `offset`.
    #[must_use]
    pub fn after(self, offset: i64) -> Self {
        let keep = self.listed.partition_point(|listed| listed.offset <= offset);
        if keep == 0 {
            return self;
        }
        let mut rest = Self::default();
        for at in keep..self.listed.len() {
            rest.lines.extend_from_slice(self.line(at));
            rest.ends.push(rest.lines.len());
            rest.listed.push(self.listed[at]);
        }
        rest.first_timestamp_ms = rest
            .listed
            .first()
            .and_then(|_| decode(rest.line(0)).ok())
            .map_or(-1, |line| line.entry.timestamp_ms());
        rest
    }

    /// The same segment with a tombstone for every record that `is_erased` picks, and the offsets of
    /// those; what is listed stays as it was. Other lines stay byte for byte.
    pub fn erase(
        &self,
        mut is_erased: impl FnMut(&RawRecord) -> bool,
    ) -> Result<(Self, Vec<i64>), LineError> {
        let mut lines = Vec::with_capacity(self.lines.len());
        let mut ends = Vec::with_capacity(self.ends.len());
        let mut erased = Vec::new();
        for (at, listed) in self.listed.iter().enumerate() {
            let line = decode(self.line(at))?;
            match line.entry {
                Entry::Record(record) if is_erased(&record) => {
                    let tombstone = Tombstone {
                        partition: record.partition,
                        offset: record.offset,
                        timestamp_ms: record.timestamp_ms,
                        sha256: listed.sha256,
                    };
                    encode_tombstone(&line.topic, &tombstone, &mut lines);
                    erased.push(record.offset);
                }
                _ => lines.extend_from_slice(self.line(at)),
            }
            ends.push(lines.len());
        }
        let (listed, first_timestamp_ms) = (self.listed.clone(), self.first_timestamp_ms);
        Ok((Self { lines, ends, listed, first_timestamp_ms }, erased))
    }

    /// How many of its records are erased.
    pub fn erased(&self) -> usize {
        let is_tombstone =
            |at: &usize| decode(self.line(*at)).is_ok_and(|l| matches!(l.entry, Entry::Erased(_)));
        (0..self.listed.len()).filter(is_tombstone).count()
    }

    /// Adds another segment's records, all of later offsets, at the end.
    pub fn append(&mut self, later: Self) {
        if self.is_empty() {
            *self = later;
            return;
        }
        let shift = self.lines.len();
        self.lines.extend_from_slice(&later.lines);
        self.ends.extend(later.ends.iter().map(|end| end + shift));
        self.listed.extend(later.listed);
    }

    fn line(&self, at: usize) -> &[u8] {
        let start = at.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.lines[start..self.ends[at]]
    }

    /// Lists the line at `start..end`; the newline is not part of the hash.
    fn list(&mut self, start: usize, end: usize, offset: i64) {
        let line = &self.lines[start..end];
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        let sha256 = Sha256Hash(Sha256::digest(line).into());
        self.ends.push(end);
        self.listed.push(Listed { offset, sha256 });
    }

    fn list_erased(&mut self, end: usize, tombstone: Tombstone) {
        self.ends.push(end);
        self.listed.push(Listed { offset: tombstone.offset, sha256: tombstone.sha256 });
    }
}

/// Whether two lines of different hashes hold the same record. One that is erased was of another
/// format then, and its hash says nothing about ours.
fn same(ours: &[u8], theirs: &[u8]) -> bool {
    let (Ok(ours), Ok(theirs)) = (decode(ours), decode(theirs)) else { return false };
    match (ours.entry, theirs.entry) {
        (Entry::Record(ours), Entry::Record(theirs)) => ours == theirs,
        (ours, theirs) => {
            (ours.partition(), ours.timestamp_ms()) == (theirs.partition(), theirs.timestamp_ms())
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn record(offset: i64, body: &str) -> RawRecord {
        RawRecord {
            partition: 0,
            offset,
            timestamp_ms: 1000 + offset,
            key: None,
            headers: Vec::new(),
            value: Some(Bytes::copy_from_slice(body.as_bytes())),
        }
    }

    fn segment(offsets: &[i64]) -> Segment {
        let mut segment = Segment::default();
        for &offset in offsets {
            segment.push("t", &record(offset, &format!("body {offset}")));
        }
        segment
    }

    #[test]
    fn a_parsed_segment_is_the_one_that_was_written() {
        let written = segment(&[5, 6, 9]);
        let parsed = Segment::parse(written.lines().to_vec()).unwrap();
        assert_eq!(parsed, written);
        assert_eq!((parsed.first_offset(), parsed.last_offset()), (Some(5), Some(9)));
        assert_eq!(parsed.first_timestamp_ms(), 1005);
    }

    #[test]
    fn a_cut_loses_nothing_and_keeps_to_its_bounds() {
        let whole = segment(&[5, 6, 9, 10]);
        for records in 0..6 {
            let (first, rest) = whole.clone().cut(records, usize::MAX);
            assert_eq!(first.listed().len(), records.clamp(1, 4));
            let mut joined = first;
            joined.append(rest);
            assert_eq!(joined, whole);
        }
        let (first, rest) = whole.clone().cut(usize::MAX, 1);
        assert_eq!((first.last_offset(), rest.first_offset()), (Some(5), Some(6)));
        assert_eq!(rest.first_timestamp_ms(), 1006);
    }

    #[test]
    fn a_longer_and_a_shorter_one_agree_on_what_both_hold() {
        let ours = segment(&[5, 6, 9]);
        for theirs in [segment(&[5]), segment(&[5, 6, 9]), segment(&[5, 6, 9, 10])] {
            ours.agrees_with(&theirs).unwrap();
            theirs.agrees_with(&ours).unwrap();
        }
    }

    #[test]
    fn a_missing_a_foreign_and_an_altered_record_are_found() {
        let ours = segment(&[5, 6, 9]);
        let found = |theirs: &Segment| ours.agrees_with(theirs).unwrap_err().to_string();
        assert_eq!(found(&segment(&[6, 9])), "the stored segment starts at offset Some(6)");
        assert_eq!(found(&segment(&[5, 9])), "offset 6 is in only one of the two");
        assert_eq!(found(&segment(&[5, 6, 8, 9])), "offset 8 is in only one of the two");
        let mut altered = segment(&[5]);
        altered.push("t", &record(6, "other"));
        assert_eq!(found(&altered), "the records at offset 6 differ");
    }

    #[test]
    fn a_line_of_another_format_with_the_same_record_agrees() {
        let ours = segment(&[5]);
        let spaced = String::from_utf8(ours.lines().to_vec()).unwrap().replace(",\"", ", \"");
        let theirs = Segment::parse(spaced.into_bytes()).unwrap();
        assert_ne!(ours.listed(), theirs.listed());
        ours.agrees_with(&theirs).unwrap();
    }

    #[test]
    fn an_erased_record_leaves_its_place_its_time_and_its_hash() {
        let whole = segment(&[5, 6, 9]);
        let (erased, offsets) = whole.erase(|record| record.offset != 6).unwrap();
        assert_eq!(offsets, [5, 9]);
        assert_eq!((erased.listed(), erased.erased()), (whole.listed(), 2));
        let text = std::str::from_utf8(erased.lines()).unwrap();
        assert!(text.contains("body 6") && !text.contains("body 5") && !text.contains("body 9"));
        assert_eq!(Segment::parse(erased.lines().to_vec()).unwrap(), erased);
        // Whoever read the records from the log agrees with it, and goes on after it.
        whole.agrees_with(&erased).unwrap();
        erased.agrees_with(&whole).unwrap();
        assert_eq!(erased.clone().after(6).listed(), &whole.listed()[2..]);
        assert_eq!(erased.clone().after(6).first_timestamp_ms(), 1009);
        // Again: nothing is left to erase.
        assert_eq!(erased.erase(|record| record.offset != 6).unwrap(), (erased, vec![]));
        // A hash that is not that of ours gives a changed record away.
        let (other, _) = segment(&[5]).erase(|_| true).unwrap();
        let mut changed = Segment::default();
        changed.push("t", &RawRecord { timestamp_ms: 1, ..record(5, "other") });
        assert!(matches!(changed.agrees_with(&other), Err(Difference::Record(5))));
    }

    #[test]
    fn what_lies_beyond_an_offset_can_be_kept_and_added_to() {
        let mut rest = segment(&[5, 6, 9]).after(5);
        assert_eq!(rest, segment(&[6, 9]));
        rest.append(segment(&[10]));
        assert_eq!(rest, segment(&[6, 9, 10]));
        assert!(segment(&[5]).after(5).is_empty());
        assert_eq!(segment(&[5]).after(4), segment(&[5]));
    }
}
