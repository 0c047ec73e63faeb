//! The bucket's keys under an archive, and those that should not be there.

use std::collections::{BTreeSet, VecDeque};

use domain::archive::{Finding, Place, Problem};

use super::report::Report;
use crate::fault::Fault;
use crate::s3::Bucket;
use crate::source::archive::Archive;

/// The partitions that have segments or manifests. What lies beside them is a finding.
pub(super) async fn partitions(
    archive: &Archive<Bucket>,
    place: &Place,
    report: &mut Report,
) -> Result<BTreeSet<i32>, Fault> {
    let mut partitions = BTreeSet::new();
    let mut foreign = Vec::new();
    let manifests = format!("{}/manifest/", place.root());
    for prefix in [format!("{}/", place.root()), manifests.clone()] {
        let mut after = prefix.clone();
        loop {
            let keys = archive.list(&prefix, &after).await?;
            let Some(key) = keys.first() else { break };
            let rest = &key[prefix.len()..];
            let Some((folder, _)) = rest.split_once('/') else {
                foreign.push(key.clone());
                after.clone_from(key);
                continue;
            };
            let folder_key = format!("{prefix}{folder}/");
            match partition(folder) {
                Some(number) => drop(partitions.insert(number)),
                None if folder_key == manifests => {}
                None => foreign.push(folder_key),
            }
            // Behind all of the folder: `0` follows `/`.
            after = format!("{prefix}{folder}0");
        }
    }
    report.found(foreign.into_iter().map(object));
    Ok(partitions)
}

fn partition(folder: &str) -> Option<i32> {
    let number: i32 = folder.strip_prefix("partition=")?.parse().ok()?;
    (format!("partition={number}") == folder && number >= 0).then_some(number)
}

/// An object that is no part of the archive.
pub(super) fn object(key: String) -> Finding {
    Finding { key, offset: None, problem: Problem::Object }
}

/// Keys under a prefix, page by page.
pub(super) struct Keys {
    prefix: String,
    after: String,
    page: VecDeque<String>,
    is_listed: bool,
}

impl Keys {
    /// Behind the key `after`, which need not be there.
    pub(super) fn new(prefix: String, after: String) -> Self {
        Self { prefix, after, page: VecDeque::new(), is_listed: false }
    }

    pub(super) async fn next(
        &mut self,
        archive: &Archive<Bucket>,
    ) -> Result<Option<String>, Fault> {
        if self.page.is_empty() && !self.is_listed {
            self.page = archive.list(&self.prefix, &self.after).await?.into();
            match self.page.back() {
                Some(last) => last.clone_into(&mut self.after),
                None => self.is_listed = true,
            }
        }
        Ok(self.page.pop_front())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_of_partitions_are_named_in_one_way() {
        assert_eq!(partition("partition=12"), Some(12));
        for folder in ["partition=012", "partition=-1", "partition=", "manifest", "date=2026-01-01"]
        {
            assert_eq!(partition(folder), None, "{folder}");
        }
    }
}
