//! Which segment of the archive holds an event's record.
//!
//! Segments of a partition follow each other without a gap, so the one that holds an offset is the
//! last that begins at or before it. Its manifest names it. See docs/ARCHITECTURE.md, The archive.

use std::collections::BTreeMap;

use domain::archive::{Manifest, Place};
use serde_json::json;
use service::exit::ConfigError;

use super::story::Story;
use crate::fault::Fault;
use crate::s3::{Bucket, ObjectStore as _};
use crate::source::archive::last_manifest;

/// The archive, as far as it is configured.
pub(super) struct Archive {
    prefix: String,
    bucket: Option<(String, Bucket)>,
}

impl Archive {
    /// Without a bucket only the rule of the keys is known.
    pub(super) async fn open(bucket: Option<&str>, prefix: &str) -> Result<Self, ConfigError> {
        let bucket = match bucket.map(str::trim).filter(|name| !name.is_empty()) {
            Some(name) => Some((name.to_owned(), Bucket::open(name.to_owned()).await?)),
            None => None,
        };
        Ok(Self { prefix: prefix.trim_matches('/').to_owned(), bucket })
    }

    /// Gives each event the keys of the segments that hold its record (one, unless a topic was made
    /// anew), and the story the place that they lie in. What S3 does not answer is a note.
    pub(super) async fn name_segments(&self, story: &mut Story) {
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
            return Ok(manifest.segment.clone());
        }
        let prefix = place.manifest_prefix(partition);
        let list = async |after: &str| self.bucket.list(&prefix, after).await;
        let Some(key) = last_manifest(place, partition, offset, list).await? else {
            return Ok(None);
        };
        let Some(body) = self.bucket.read(&key).await? else { return Ok(None) };
        let manifest =
            Manifest::from_json(&body).map_err(|error| Fault::halt("reading a manifest", error))?;
        let found = Some(&manifest).filter(holds).and_then(|manifest| manifest.segment.clone());
        manifests.push(manifest);
        Ok(found)
    }
}
