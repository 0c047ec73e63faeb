//! One partition's manifests, held against each other, the role's position and the log.

use super::{Finding, Manifest, Place, Problem, Sha256Hash, first_offset};

/// A place in a chain: the first offset that it does not reach, and its last list hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tip {
    /// First offset that is not in the archive yet.
    pub next_offset: i64,
    /// List hash of the last manifest; `None` where there is none.
    pub hash: Option<Sha256Hash>,
}

/// What must be there of a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Begin {
    /// The chain from its beginning: its first manifest names none before it.
    First,
    /// Every record from this offset on. What lies before may be gone.
    At(i64),
    /// What follows on from here: what lies before was looked at, or is not asked for.
    After(Tip),
    /// What follows, but what lies just before it could not be read.
    Unknown,
}

/// Takes a partition's manifests in the order of their keys and notes what does not hold. Its size
/// does not grow with the archive's, except by findings, which can be taken out at any time.
#[derive(Debug)]
pub struct Chain {
    place: Place,
    partition: i32,
    position: Option<Tip>,
    /// What the next manifest must be; `None` when the one before could not be read.
    expected: Option<Begin>,
    /// Where the first manifest begins, and whether what it names before it was not looked at.
    head: Option<(i64, bool)>,
    last_key: Option<String>,
    is_position_met: bool,
    findings: Vec<Finding>,
}

impl Chain {
    /// `position` is what the role archive remembers to have written, as it was before the first
    /// manifest was read, if that is to be checked.
    pub fn new(place: Place, partition: i32, begin: Begin, position: Option<Tip>) -> Self {
        let is_position_met = match (begin, position) {
            (Begin::After(tip), Some(position)) => tip == position,
            _ => false,
        };
        Self {
            place,
            partition,
            position,
            expected: Some(begin).filter(|begin| *begin != Begin::Unknown),
            head: None,
            last_key: None,
            is_position_met,
            findings: Vec::new(),
        }
    }

    /// The next manifest, as it is stored. Comes back if it can be held against its segment.
    pub fn link(&mut self, key: &str, stored: &[u8]) -> Option<Manifest> {
        let first = first_offset(key);
        if first.is_none_or(|first| self.place.manifest_key(self.partition, first) != key) {
            self.note(key, None, Problem::Object);
            return None;
        }
        self.last_key = Some(key.to_owned());
        let manifest = match Manifest::from_json(stored) {
            Ok(manifest) => manifest,
            Err(error) => return self.unreadable(key, Problem::ManifestBroken(error.to_string())),
        };
        let belongs = self.place.manifest_key(self.partition, manifest.first_offset);
        if manifest.partition != self.partition || belongs != key {
            return self.unreadable(key, Problem::ManifestKey(belongs));
        }
        if manifest.to_json() != stored {
            self.note(key, Some(manifest.first_offset), Problem::ManifestBytes);
        }
        self.follow(key, &manifest);
        for pair in manifest.records.windows(2) {
            if let [before, after] = pair
                && before.offset + 1 < after.offset
            {
                let hole = Problem::Hole { last: after.offset - 1 };
                self.note(key, Some(before.offset + 1), hole);
            }
        }
        self.expected = Some(Begin::After(Tip {
            next_offset: manifest.next_offset(),
            hash: Some(manifest.list_hash),
        }));
        self.meet(key, &manifest);
        Some(manifest)
    }

    /// What cannot be said about a manifest cannot be said about the next one's beginning either.
    fn unreadable(&mut self, key: &str, problem: Problem) -> Option<Manifest> {
        let first = first_offset(key);
        self.note(key, first, problem);
        self.head.get_or_insert((first.unwrap_or_default(), true));
        self.expected = None;
        None
    }

    /// Holds a manifest against the one before it.
    fn follow(&mut self, key: &str, manifest: &Manifest) {
        let first = manifest.first_offset;
        let mut is_unchecked = false;
        match self.expected {
            None => is_unchecked = true,
            Some(Begin::First) if manifest.previous.is_some() => {
                is_unchecked = true;
                self.note(key, Some(first), Problem::Head);
            }
            Some(Begin::At(from)) => {
                is_unchecked = manifest.previous.is_some();
                if from < first && is_unchecked {
                    let missing = Problem::ManifestMissing { last: first - 1 };
                    let key = self.place.manifest_key(self.partition, from);
                    self.note(&key, Some(from), missing);
                }
            }
            Some(Begin::First | Begin::Unknown) => {}
            Some(Begin::After(Tip { next_offset: next, hash })) => {
                let carries_on = manifest.previous == hash;
                if first > next && carries_on {
                    self.note(key, Some(next), Problem::Hole { last: first - 1 });
                } else if first > next {
                    let missing = self.place.manifest_key(self.partition, next);
                    let problem = Problem::ManifestMissing { last: first - 1 };
                    self.note(&missing, Some(next), problem);
                } else if first < next {
                    self.note(key, Some(first), Problem::ListedTwice { next });
                } else if let (false, Some(expected)) = (carries_on, hash) {
                    let found = manifest.previous;
                    self.note(key, Some(first), Problem::Chain { expected, found });
                }
            }
        }
        self.head.get_or_insert((first, is_unchecked));
    }

    /// Holds the role's position against a manifest.
    fn meet(&mut self, key: &str, manifest: &Manifest) {
        let Some(position) = self.position else { return };
        let next = position.next_offset;
        if next == manifest.next_offset() {
            self.is_position_met = true;
            if position.hash != Some(manifest.list_hash) {
                let (remembered, found) = (position.hash, manifest.list_hash);
                self.note(key, Some(manifest.last_offset), Problem::Position { remembered, found });
            }
        } else if manifest.first_offset < next && next < manifest.next_offset() {
            self.is_position_met = true;
            self.note(key, Some(next), Problem::WithinManifest { position: next });
        }
    }

    /// After the last manifest. `low` is the log's first offset, as it was before the first manifest
    /// was read, if that is to be checked.
    pub fn end(&mut self, low: Option<i64>) {
        let next = match (self.tip(), &self.last_key) {
            (Some(tip), _) => tip.next_offset,
            (None, None) => 0,
            // The last manifest cannot be read, which is said: nobody knows where it ends.
            (None, Some(_)) => return,
        };
        let key = self.place.manifest_key(self.partition, next);
        match self.position.filter(|_| !self.is_position_met) {
            Some(position) if next < position.next_offset => {
                let position = position.next_offset;
                self.note(&key, Some(next), Problem::BehindPosition { position });
            }
            _ => {}
        }
        if let Some(low) = low.filter(|low| next < *low) {
            self.note(&key, Some(next), Problem::Lost { low });
        }
    }

    /// Where the chain is by now; `None` before its first manifest, or behind one that could not be
    /// read.
    pub fn tip(&self) -> Option<Tip> {
        match self.expected {
            Some(Begin::After(tip)) => Some(tip),
            _ => None,
        }
    }

    /// The offset that the first manifest begins with, and whether what it names before it was not
    /// looked at; `None` before the first.
    pub fn head(&self) -> Option<(i64, bool)> {
        self.head
    }

    /// What was found since it was asked last.
    pub fn take_findings(&mut self) -> Vec<Finding> {
        std::mem::take(&mut self.findings)
    }

    fn note(&mut self, key: &str, offset: Option<i64>, problem: Problem) {
        self.findings.push(Finding { key: key.to_owned(), offset, problem });
    }
}
