//! The manifests of one partition, in order, each held against its key and the one before it.

use std::collections::VecDeque;

use domain::archive::{Manifest, Place, Sha256Hash};

use super::damage::Problem;
use crate::source::SKEW_MS;
use crate::source::filter::{self, Moment};

/// Where reading a partition begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Start {
    /// At the oldest manifest.
    Beginning,
    /// At the manifest that holds this offset, or the next one.
    Offset(i64),
    /// No later than at the first record of this time.
    Time(Moment),
}

/// A partition's manifests, listed page by page: memory does not grow with their number.
#[derive(Debug)]
pub(crate) struct Chain {
    place: Place,
    partition: i32,
    to: Option<Moment>,
    /// Keys that are listed and not read.
    keys: VecDeque<String>,
    /// The last key that was listed.
    after: String,
    is_listed: bool,
    before: Option<Link>,
}

/// What the next manifest is held against.
#[derive(Debug)]
struct Link {
    list_hash: Sha256Hash,
    last_offset: i64,
}

impl Chain {
    /// From the manifest `first` on, or from the oldest.
    pub(super) fn new(
        place: Place,
        partition: i32,
        first: Option<String>,
        to: Option<Moment>,
    ) -> Self {
        let (keys, after) = (first.iter().cloned().collect(), first.unwrap_or_default());
        Self { place, partition, to, keys, after, is_listed: false, before: None }
    }

    pub(crate) fn partition(&self) -> i32 {
        self.partition
    }

    pub(super) fn to(&self) -> Option<Moment> {
        self.to
    }

    /// Whether more must be listed.
    pub(super) fn is_read(&self) -> bool {
        self.keys.is_empty() && !self.is_listed
    }

    /// The prefix to list, and the key to list after.
    pub(super) fn reads_next(&self) -> (String, String) {
        (self.place.manifest_prefix(self.partition), self.after.clone())
    }

    /// Takes a page of keys; an empty one is the end.
    pub(super) fn list(&mut self, page: Vec<String>) {
        match page.last() {
            Some(last) => last.clone_into(&mut self.after),
            None => self.is_listed = true,
        }
        self.keys.extend(page);
    }

    pub(super) fn pop(&mut self) -> Option<String> {
        self.keys.pop_front()
    }

    /// Takes the manifest that lies at `key`, the next one; none if the chain ends before it.
    pub(super) fn follow(
        &mut self,
        key: &str,
        manifest: Manifest,
    ) -> Result<Option<Manifest>, Problem> {
        self.check_head(key, &manifest)?;
        let link = Link { list_hash: manifest.list_hash, last_offset: manifest.last_offset };
        if let Some(before) = self.before.replace(link) {
            let (first, last) = (manifest.first_offset, before.last_offset);
            if manifest.previous != Some(before.list_hash) {
                let (expected, found) = (before.list_hash, manifest.previous);
                return Err(Problem::Chain { expected, found });
            }
            if first <= last {
                return Err(Problem::Overlap { first, last });
            }
        }
        if self.to.is_some_and(|to| day(&manifest.segment).is_some_and(|day| day >= to.0 + SKEW_MS))
        {
            self.keys.clear();
            self.is_listed = true;
            return Ok(None);
        }
        Ok(Some(manifest))
    }

    /// What a manifest says before its list is not in its hash, so it must agree with its key and
    /// the list.
    fn check_head(&self, key: &str, manifest: &Manifest) -> Result<(), Problem> {
        let (first, last) = (manifest.first_offset, manifest.last_offset);
        let listed = &manifest.records;
        let ends = [listed.first(), listed.last()].map(|record| record.map(|it| it.offset));
        let place = &self.place;
        let holds = [
            ("partition", manifest.partition == self.partition),
            ("first_offset", place.manifest_key(self.partition, first) == key),
            ("first_offset", ends[0] == Some(first)),
            ("last_offset", ends[1] == Some(last)),
            ("count", manifest.count == listed.len()),
            ("records", listed.is_sorted_by(|one, next| one.offset < next.offset)),
            ("segment", manifest.segment.starts_with(&place.segment_prefix(self.partition))),
            ("segment", domain::archive::first_offset(&manifest.segment) == Some(first)),
        ];
        match holds.iter().find(|(_, holds)| !holds) {
            Some((field, _)) => Err(Problem::Head(field)),
            None => Ok(()),
        }
    }
}

/// Midnight of the day that a segment's key names, Unix milliseconds.
pub(super) fn day(segment: &str) -> Option<i64> {
    let (_, rest) = segment.rsplit_once("/date=")?;
    Some(filter::date(rest.split('/').next()?).ok()?.0)
}
