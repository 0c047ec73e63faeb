//! Finding the manifest to begin with. S3 lists keys only forwards, so that takes some care.

use domain::archive::{Place, first_offset};

use super::{Archive, Moment, SKEW_MS};
use crate::fault::Fault;
use crate::s3::ObjectStore;

/// How many offsets the first look reaches: as many keys as S3 lists at once, at most.
const REACH: i64 = 1000;
/// How much further each look reaches than the one before.
const GROWTH: i64 = 8;

impl<S: ObjectStore> Archive<S> {
    /// The last manifest that begins at or before an offset.
    pub(crate) async fn manifest_of(
        &self,
        place: &Place,
        partition: i32,
        offset: i64,
    ) -> Result<Option<String>, Fault> {
        let prefix = place.manifest_prefix(partition);
        let list = async |after: &str| self.list(&prefix, after).await;
        last_manifest(place, partition, offset, list).await
    }

    /// The last manifest of all, where there is one that begins at `first`. Looking for it from the
    /// greatest offset there can be would ask far more often.
    pub(super) async fn newest_manifest(
        &self,
        place: &Place,
        partition: i32,
        first: i64,
    ) -> Result<Option<String>, Fault> {
        let prefix = place.manifest_prefix(partition);
        let mut reach = REACH;
        loop {
            let end = first.saturating_add(reach);
            let behind = self.list(&prefix, &place.manifest_key(partition, end)).await?;
            if behind.is_empty() {
                return self.manifest_of(place, partition, end).await;
            }
            reach = reach.saturating_mul(GROWTH);
        }
    }

    /// A manifest with no record of this time or later before it. The first segment of its day or
    /// later tells where; the one before that may reach into it.
    pub(super) async fn manifest_at(
        &self,
        place: &Place,
        partition: i32,
        from: Moment,
    ) -> Result<Option<String>, Fault> {
        let example = place.segment_key(partition, 0, from.0);
        // `…/date=D` comes before all of `…/date=D/…`.
        let day = example.rsplit_once('/').map_or("", |(day, _)| day);
        let keys = self.list(&place.segment_prefix(partition), day).await?;
        let first = keys.first().and_then(|key| first_offset(key));
        let before = first.map_or(i64::MAX, |first| first - 1);
        self.manifest_of(place, partition, before).await
    }

    /// The first offset of the first segment of a day that begins after this time and what may lie
    /// behind it; none if there is no such segment.
    pub(super) async fn segment_behind(
        &self,
        place: &Place,
        partition: i32,
        to: Moment,
    ) -> Result<Option<i64>, Fault> {
        let example = place.segment_key(partition, 0, to.0.saturating_add(SKEW_MS));
        let day = example.rsplit_once('/').map_or("", |(day, _)| day);
        // Behind all of `…/date=D/…`: `0` follows `/`.
        let keys = self.list(&place.segment_prefix(partition), &format!("{day}0")).await?;
        Ok(keys.first().and_then(|key| first_offset(key)))
    }
}

/// The key of the last manifest that begins at or before an offset. Keys can only be listed forwards
/// from some place, so the search begins close below the offset and reaches back further while there
/// is nothing. `list` gives the next keys after one, none when there are no more.
pub(crate) async fn last_manifest(
    place: &Place,
    partition: i32,
    offset: i64,
    mut list: impl AsyncFnMut(&str) -> Result<Vec<String>, Fault>,
) -> Result<Option<String>, Fault> {
    let end = place.manifest_key(partition, offset);
    let mut reach = REACH;
    loop {
        let from = offset.saturating_sub(reach);
        let mut after = if from > 0 {
            place.manifest_key(partition, from - 1)
        } else {
            place.manifest_prefix(partition)
        };
        let mut found = None;
        loop {
            let keys = list(&after).await?;
            found = keys.iter().rev().find(|key| **key <= end).cloned().or(found);
            match keys.last() {
                Some(key) if *key <= end => after.clone_from(key),
                _ => break,
            }
        }
        if found.is_some() || from <= 0 {
            return Ok(found);
        }
        reach = reach.saturating_mul(GROWTH);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::ops::Bound;

    use super::*;

    fn place() -> Place {
        Place { prefix: "p".into(), cluster: "c".into(), topic_id: "t".into() }
    }

    /// The offset that was found, and how often was asked.
    async fn search(starts: &[i64], offset: i64) -> (Option<i64>, usize) {
        let keys: BTreeSet<String> =
            starts.iter().map(|start| place().manifest_key(3, *start)).collect();
        let mut asked = 0;
        let list = async |after: &str| {
            asked += 1;
            let from = (Bound::Excluded(after.to_owned()), Bound::Unbounded);
            Ok(keys.range(from).take(1000).cloned().collect())
        };
        let found = last_manifest(&place(), 3, offset, list).await.unwrap();
        let start = found.map(|key| {
            let name = key.rsplit('/').next().unwrap().trim_end_matches(".json").to_owned();
            name.parse().unwrap()
        });
        (start, asked)
    }

    #[tokio::test]
    async fn the_last_that_begins_at_or_before_the_offset_holds_it() {
        let starts = [0, 10, 20, 5_000_000];
        for (offset, start) in
            [(0, 0), (9, 0), (10, 10), (19, 10), (4_999_999, 20), (5_000_000, 5_000_000)]
        {
            assert_eq!(search(&starts, offset).await.0, Some(start), "{offset}");
        }
        assert_eq!(search(&[], 7).await.0, None);
        assert_eq!(search(&[100], 7).await.0, None);
    }

    #[tokio::test]
    async fn few_questions_are_asked_however_many_segments_there_are() {
        let dense: Vec<i64> = (0..20_000).collect();
        assert_eq!(search(&dense, 19_500).await, (Some(19_500), 2));
        let sparse: Vec<i64> = (0..200).map(|n| n * 50_000).collect();
        let (start, asked) = search(&sparse, 9_999_999).await;
        assert_eq!(start, Some(9_950_000));
        assert!(asked < 6, "{asked}");
    }
}
