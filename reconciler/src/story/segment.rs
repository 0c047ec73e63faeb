//! Which segment of the archive holds an event's record.
//!
//! Segments of a partition follow each other without a gap, so the one that holds an offset is the
//! last that begins at or before it. Its manifest names it. See docs/ARCHITECTURE.md, The archive.

use std::collections::BTreeMap;

use domain::archive::{Manifest, Place};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use serde_json::json;
use service::exit::ConfigError;

use super::Story;
use crate::fault::Fault;
use crate::s3::{Bucket, ObjectStore as _};

/// The archive, as far as it is configured.
pub(crate) struct Archive {
    prefix: String,
    bucket: Option<(String, Bucket)>,
}

impl Archive {
    /// Without a bucket only the rule of the keys is known.
    pub(crate) async fn open(bucket: Option<&str>, prefix: &str) -> Result<Self, ConfigError> {
        let bucket = match bucket.map(str::trim).filter(|name| !name.is_empty()) {
            Some(name) => Some((name.to_owned(), Bucket::open(name.to_owned()).await?)),
            None => None,
        };
        Ok(Self { prefix: prefix.trim_matches('/').to_owned(), bucket })
    }

    /// Gives each event the keys of the segments that hold its record (one, unless a topic was made
    /// anew), and the story the place that they lie in. What S3 does not answer is a note.
    pub(crate) async fn name_segments(&self, story: &mut Story) {
        let places: Vec<Place> = story
            .topics
            .iter()
            .map(|(cluster, topic_id)| Place {
                prefix: self.prefix.clone(),
                cluster: cluster.clone(),
                topic_id: topic_id.clone(),
            })
            .collect();
        story.archive = self.explain(&places);
        for event in story.events_mut() {
            event["segments"] = json!([]);
        }
        let Some((_, bucket)) = &self.bucket else { return };
        let mut lookup = Lookup { bucket, known: BTreeMap::new() };
        for index in 0..story.rows("events").len() {
            let event = &story.rows("events")[index];
            let (partition, offset) = (event["partition"].as_i64(), event["offset"].as_i64());
            let partition = partition.and_then(|partition| i32::try_from(partition).ok());
            let (Some(partition), Some(offset)) = (partition, offset) else { continue };
            let mut keys = Vec::new();
            for place in &places {
                match lookup.segment(place, partition, offset).await {
                    Ok(key) => keys.extend(key),
                    Err(fault) => {
                        story.archive.push(format!("segments are not named: {fault}"));
                        return;
                    }
                }
            }
            story.events_mut()[index]["segments"] = json!(keys);
        }
    }

    /// Where segments lie.
    fn explain(&self, places: &[Place]) -> Vec<String> {
        let start = match &self.bucket {
            Some((name, _)) => format!("s3://{name}/"),
            None if self.prefix.is_empty() => "s3://S3_BUCKET/[S3_PREFIX/]".to_owned(),
            None => "s3://S3_BUCKET/".to_owned(),
        };
        let mut lines: Vec<String> =
            places.iter().map(|place| format!("{start}{}/", place.root())).collect();
        if self.bucket.is_none() && !places.is_empty() {
            lines.push(
                "partition=P/date=D/FIRSTOFFSET.jsonl.zst: the greatest FIRSTOFFSET that is not \
                 above the event's offset; set S3_BUCKET (and S3_PREFIX) to have it named"
                    .to_owned(),
            );
        }
        lines
    }
}

/// Segments that were found, so that neighbours are not looked up again.
struct Lookup<'a> {
    bucket: &'a Bucket,
    known: BTreeMap<(String, i32), Vec<Manifest>>,
}

impl Lookup<'_> {
    /// The key of the segment that holds this offset, if it is archived yet.
    async fn segment(
        &mut self,
        place: &Place,
        partition: i32,
        offset: i64,
    ) -> Result<Option<String>, Fault> {
        let manifests = self.known.entry((place.root(), partition)).or_default();
        let holds =
            |manifest: &&Manifest| (manifest.first_offset..=manifest.last_offset).contains(&offset);
        if let Some(manifest) = manifests.iter().find(holds) {
            return Ok(Some(manifest.segment.clone()));
        }
        let prefix = place.manifest_prefix(partition);
        let bucket = self.bucket;
        let list = |after: String| {
            let prefix = &prefix;
            async move { bucket.list(prefix, &after).await }.boxed()
        };
        let Some(key) = last_manifest(place, partition, offset, list).await? else {
            return Ok(None);
        };
        let Some(body) = self.bucket.read(&key).await? else { return Ok(None) };
        let manifest =
            Manifest::from_json(&body).map_err(|error| Fault::halt("reading a manifest", error))?;
        let found = Some(&manifest).filter(holds).map(|manifest| manifest.segment.clone());
        manifests.push(manifest);
        Ok(found)
    }
}

/// The key of the last manifest that begins at or before an offset. Keys can only be listed forwards
/// from some place, so the search begins close below the offset and reaches back further while there
/// is nothing. `list` gives the next keys after one, none when there are no more.
async fn last_manifest<'a>(
    place: &Place,
    partition: i32,
    offset: i64,
    mut list: impl FnMut(String) -> BoxFuture<'a, Result<Vec<String>, Fault>>,
) -> Result<Option<String>, Fault> {
    /// How many offsets the first look reaches back: as many keys as S3 lists at once, at most.
    const REACH: i64 = 1000;
    /// How much further each look reaches back than the one before.
    const GROWTH: i64 = 8;
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
            let keys = list(after.clone()).await?;
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
        let list = |after: String| {
            asked += 1;
            let from = (Bound::Excluded(after), Bound::Unbounded);
            let found = keys.range(from).take(1000).cloned().collect();
            async move { Ok(found) }.boxed()
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
