//! The manifests of one partition, in order, each held against its key and the one before it.

use std::collections::VecDeque;

use domain::archive::{Begin, Finding, Manifest, Place, Problem};

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
    links: domain::archive::Chain,
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
        let links = domain::archive::Chain::new(place.clone(), partition, Begin::Unknown, None);
        Self { place, partition, to, keys, after, is_listed: false, links }
    }

    pub(super) fn place(&self) -> &Place {
        &self.place
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

    /// Takes the manifest that is stored at `key`, the next one; none if the chain ends before it. What
    /// was never archived is for `archive verify` to say: here counts that what is there holds.
    pub(super) fn follow(
        &mut self,
        key: &str,
        stored: &[u8],
    ) -> Result<Option<Manifest>, Box<Finding>> {
        let manifest = self.links.link(key, stored);
        let is_damage = |finding: &Finding| !matches!(finding.problem, Problem::Hole { .. });
        if let Some(damage) = self.links.take_findings().into_iter().find(is_damage) {
            return Err(Box::new(damage));
        }
        let is_behind = |segment: &String| {
            let day = day(segment);
            self.to.is_some_and(|to| day.is_some_and(|day| day >= to.0 + SKEW_MS))
        };
        if manifest.as_ref().and_then(|it| it.segment.as_ref()).is_some_and(is_behind) {
            self.keys.clear();
            self.is_listed = true;
            return Ok(None);
        }
        Ok(manifest)
    }
}

/// Midnight of the day that a segment's key names, Unix milliseconds.
pub(super) fn day(segment: &str) -> Option<i64> {
    let (_, rest) = segment.rsplit_once("/date=")?;
    Some(filter::date(rest.split('/').next()?).ok()?.0)
}
