//! A segment's lines, held against its manifest one after the other.

use sha2::{Digest as _, Sha256};

use super::line::{Entry, Line, decode, encode_tombstone};
use super::{Finding, Manifest, Place, Problem, Sha256Hash};

/// Takes a segment's lines in order. Its size does not grow with the segment's, except by findings.
#[derive(Debug)]
pub struct SegmentCheck<'a> {
    place: &'a Place,
    manifest: &'a Manifest,
    /// Index of the record that is expected next.
    at: usize,
    /// Whether the last line was taken for a changed record.
    is_shifted: bool,
    first_timestamp_ms: Option<i64>,
    bytes: usize,
    /// What came of it so far.
    checked: Checked,
}

/// What came of a segment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Checked {
    /// Records that are as listed, tombstones included.
    pub records: usize,
    /// Tombstones among them.
    pub erased: usize,
    /// What does not hold.
    pub findings: Vec<Finding>,
}

impl<'a> SegmentCheck<'a> {
    /// For the segment of this manifest, which must be of one.
    pub fn new(place: &'a Place, manifest: &'a Manifest) -> Self {
        Self {
            place,
            manifest,
            at: 0,
            is_shifted: false,
            first_timestamp_ms: None,
            bytes: 0,
            checked: Checked::default(),
        }
    }

    /// The next line, with its newline. Comes back if it is the listed one; `None` if not.
    pub fn line(&mut self, line: &[u8]) -> Option<Entry> {
        self.bytes += line.len();
        let expected = self.expected_offset();
        let Some(text) = line.strip_suffix(b"\n") else {
            self.note(expected, Problem::Cut);
            self.at += 1;
            return None;
        };
        let found = Sha256Hash(Sha256::digest(text).into());
        let line = match decode(text) {
            Ok(line) => line,
            Err(error) => return self.not_listed(expected, Problem::Line(error.to_string())),
        };
        let offset = line.entry.offset();
        let sha256 = match &line.entry {
            Entry::Record(_) => found,
            Entry::Erased(tombstone) => tombstone.sha256,
        };
        let listed = |at: usize| {
            let listed = self.manifest.records.get(at)?;
            (listed.offset == offset && listed.sha256 == sha256).then_some(at)
        };
        // Mostly the first of these. The second after a line that should not be there, the third
        // after lines that should.
        let at = listed(self.at)
            .or_else(|| listed(self.at.checked_sub(1).filter(|_| self.is_shifted)?))
            .or_else(|| {
                let rest = self.manifest.records.get(self.at..)?;
                listed(self.at + rest.binary_search_by_key(&offset, |listed| listed.offset).ok()?)
            });
        let Some(at) = at else { return self.other(offset, found) };
        if at > self.at {
            let last = self.manifest.records[at - 1].offset;
            self.note(expected, Problem::RecordMissing { last });
        }
        self.at = at + 1;
        self.is_shifted = false;
        if at == 0 {
            self.first_timestamp_ms = Some(line.entry.timestamp_ms());
        }
        self.own(text, &line)?;
        Some(line.entry)
    }

    /// A record that is not the expected one, nor any that is yet to come.
    fn other(&mut self, offset: i64, found: Sha256Hash) -> Option<Entry> {
        match self.manifest.records.get(self.at) {
            Some(expected) if offset >= expected.offset => {
                let listed = expected.sha256;
                let problem = Problem::RecordChanged { listed, found };
                self.not_listed(Some(expected.offset), problem)
            }
            _ => {
                self.note(Some(offset), Problem::RecordExtra);
                None
            }
        }
    }

    /// Takes a line for the changed one of the record that is expected.
    fn not_listed(&mut self, offset: Option<i64>, problem: Problem) -> Option<Entry> {
        self.note(offset, problem);
        self.at += 1;
        self.is_shifted = true;
        None
    }

    /// Whether a listed line is this archive's, and what the hash does not cover as it should be.
    fn own(&mut self, text: &[u8], line: &Line) -> Option<()> {
        let offset = Some(line.entry.offset());
        if line.topic != self.manifest.topic {
            return self.foreign(offset, "it names another topic than the manifest");
        }
        if line.entry.partition() != self.manifest.partition {
            return self.foreign(offset, "it names another partition than the manifest");
        }
        if let Entry::Erased(tombstone) = &line.entry {
            let mut written = Vec::with_capacity(text.len());
            encode_tombstone(&line.topic, tombstone, &mut written);
            if written.strip_suffix(b"\n") != Some(text) {
                return self.foreign(offset, "a tombstone that is not written as one");
            }
            self.checked.erased += 1;
        }
        self.checked.records += 1;
        Some(())
    }

    fn foreign(&mut self, offset: Option<i64>, what: &'static str) -> Option<()> {
        self.note(offset, Problem::Foreign(what));
        None
    }

    fn expected_offset(&self) -> Option<i64> {
        self.manifest.records.get(self.at).map(|listed| listed.offset)
    }

    /// After the last line.
    pub fn end(mut self) -> Checked {
        if let Some(first) = self.expected_offset() {
            let last = self.manifest.last_offset;
            self.note(Some(first), Problem::RecordMissing { last });
        }
        // Tombstones have other lengths; every record has its hash all the same.
        if self.checked.findings.is_empty()
            && self.checked.erased == 0
            && self.bytes != self.manifest.bytes
        {
            let (listed, found) = (self.manifest.bytes, self.bytes);
            self.note_manifest(Problem::Bytes { listed, found });
        }
        if let Some(timestamp_ms) = self.first_timestamp_ms {
            let (partition, first) = (self.manifest.partition, self.manifest.first_offset);
            let expected = self.place.segment_key(partition, first, timestamp_ms);
            if self.manifest.segment.as_deref() != Some(&expected) {
                self.note_manifest(Problem::SegmentKey(expected));
            }
        }
        self.checked
    }

    /// After the last line that can be read.
    pub fn broken(mut self, error: String) -> Checked {
        let offset = self.expected_offset();
        self.note(offset, Problem::SegmentBroken(error));
        self.checked
    }

    fn note(&mut self, offset: Option<i64>, problem: Problem) {
        let key = self.manifest.segment.clone().unwrap_or_default();
        self.checked.findings.push(Finding { key, offset, problem });
    }

    fn note_manifest(&mut self, problem: Problem) {
        let first = self.manifest.first_offset;
        let key = self.place.manifest_key(self.manifest.partition, first);
        self.checked.findings.push(Finding { key, offset: Some(first), problem });
    }
}
