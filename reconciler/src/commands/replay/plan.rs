//! What a replay is about: from where, which ranges, which of their records. It is kept in
//! `pay.operation`, so that a replay can go on with what was chosen when it began.

use std::sync::Arc;

use anyhow::{Context as _, bail};
use domain::archive::{Place, first_offset};
use serde::{Deserialize, Serialize};
use service::exit::ConfigError;

use crate::fault::Fault;
use crate::s3::Bucket;
use crate::source::archive::{Ahead, Archive, Start};
use crate::source::filter::Filter;
use crate::source::topic::{Log, Part};
use crate::source::{Chunks, Range};

/// What was asked for: the arguments of the operation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Asked {
    pub(super) cluster: String,
    pub(super) topic_id: String,
    pub(super) filter: Filter,
    /// Parts of the topic, partitions or the manifest that were named; the ranges follow from them.
    pub(super) named: Vec<String>,
}

/// Where records come from.
pub(super) enum Source {
    Topic(Arc<Log>),
    Archive { archive: Arc<Archive<Bucket>>, place: Place, ahead: Ahead },
}

impl Source {
    /// The command that replays from here.
    pub(super) fn command(&self) -> &'static str {
        match self {
            Self::Topic(_) => "replay topic",
            Self::Archive { .. } => "replay archive",
        }
    }

    /// Cluster and topic id of the log that the records are of.
    pub(super) fn log(&self) -> (&str, &str) {
        match self {
            Self::Topic(log) => (&log.topic().cluster_id, &log.topic().topic_id),
            Self::Archive { place, .. } => (&place.cluster, &place.topic_id),
        }
    }

    /// Reads what is left of ranges, each in a queue of its own.
    pub(super) async fn read(
        &self,
        ranges: &[Range],
        filter: &Filter,
    ) -> Result<Vec<Chunks>, Fault> {
        match self {
            Self::Topic(log) => {
                log.read(ranges).map(|queues| queues.into_iter().map(|(_, queue)| queue).collect())
            }
            Self::Archive { archive, place, ahead } => {
                let mut queues = Vec::new();
                for range in ranges {
                    let start = Start::Offset(range.from);
                    let chain = archive.chain(place, range.partition, start, filter.to).await?;
                    queues.push(archive.read(chain, ahead));
                }
                Ok(queues)
            }
        }
    }
}

/// Everything that a replay is about.
pub(super) struct Plan {
    pub(super) source: Source,
    pub(super) asked: Asked,
    /// At most one of a partition; none when a replay goes on, for they are stored.
    pub(super) ranges: Vec<Range>,
}

impl Plan {
    /// Of the topic: these parts, or all.
    pub(super) async fn of_topic(
        log: Arc<Log>,
        parts: &[Part],
        filter: Filter,
    ) -> anyhow::Result<Self> {
        let ranges = log.ranges(parts, filter.from, filter.to).await?;
        let named = parts.iter().map(ToString::to_string).collect();
        Ok(Self::new(Source::Topic(log), filter, named, ranges))
    }

    /// Of an archive: these partitions, or all.
    pub(super) async fn of_archive(
        archive: Arc<Archive<Bucket>>,
        place: Place,
        ahead: Ahead,
        partitions: &[i32],
        filter: Filter,
    ) -> anyhow::Result<Self> {
        let there = archive.partitions(&place).await?;
        if let Some(absent) = partitions.iter().find(|partition| !there.contains(partition)) {
            bail!("{} holds no partition {absent}; it holds {there:?}", place.root());
        }
        let chosen = if partitions.is_empty() { &there[..] } else { partitions };
        let mut ranges = Vec::new();
        for &partition in chosen {
            let range = archive.range(&place, partition, filter.from, filter.to).await?;
            if filter.to.is_none()
                && let Some(range) = range
                && let Some(key) = archive.unlisted(&place, partition, range.to).await?
            {
                tracing::warn!(key, "this segment has no manifest yet and is not read");
            }
            ranges.extend(range);
        }
        let named = partitions.iter().map(ToString::to_string).collect();
        Ok(Self::new(Source::Archive { archive, place, ahead }, filter, named, ranges))
    }

    /// Of an archive: the segment of one manifest.
    pub(super) async fn of_manifest(
        archive: Arc<Archive<Bucket>>,
        ahead: Ahead,
        key: &str,
        filter: Filter,
    ) -> anyhow::Result<Self> {
        let shape = || {
            let shape = "is not PREFIX/CLUSTER.TOPICID/manifest/partition=P/OFFSET.json";
            ConfigError::new("--manifest", shape)
        };
        let (root, rest) = key.split_once("/manifest/partition=").ok_or_else(shape)?;
        let prefix = root.rsplit_once('/').map_or("", |(prefix, _)| prefix);
        let place = Place::of_root(prefix, root).ok_or_else(shape)?;
        let partition = rest.split('/').next().and_then(|it| it.parse().ok()).ok_or_else(shape)?;
        let first = first_offset(key).ok_or_else(shape)?;
        if place.manifest_key(partition, first) != key {
            return Err(shape().into());
        }
        let mut chain = archive.chain(&place, partition, Start::Offset(first), None).await?;
        let manifest = archive.next(&mut chain).await?;
        let manifest = manifest.filter(|manifest| manifest.first_offset == first);
        let manifest = manifest.with_context(|| format!("{key} is not there"))?;
        let range = Range { partition, from: first, to: manifest.next_offset() };
        let source = Source::Archive { archive, place, ahead };
        Ok(Self::new(source, filter, vec![key.to_owned()], vec![range]))
    }

    fn new(source: Source, filter: Filter, named: Vec<String>, ranges: Vec<Range>) -> Self {
        let (cluster, topic_id) = source.log();
        let (cluster, topic_id) = (cluster.to_owned(), topic_id.to_owned());
        Self { asked: Asked { cluster, topic_id, filter, named }, source, ranges }
    }

    /// How many records it may be about: no more than these.
    pub(super) fn at_most(&self) -> u64 {
        let span = |range: &Range| u64::try_from(range.to - range.from).unwrap_or(0);
        let all: u64 = self.ranges.iter().map(span).sum();
        self.asked.filter.limit.map_or(all, |limit| limit.min(all))
    }
}

/// The topic's archive under the prefix: the only one, or the one with this topic id.
pub(crate) async fn place(
    archive: &Archive<Bucket>,
    topic_id: Option<&str>,
) -> anyhow::Result<Place> {
    let mut places = archive.places().await?;
    let names = |places: &[Place]| {
        places.iter().map(|place| place.topic_id.clone()).collect::<Vec<_>>().join(", ")
    };
    if let Some(topic_id) = topic_id {
        let found = places.iter().position(|place| place.topic_id == topic_id);
        let found = found.with_context(|| {
            format!("no topic {topic_id} is archived there; these are: {}", names(&places))
        })?;
        return Ok(places.swap_remove(found));
    }
    match places.len() {
        0 => bail!("nothing is archived under this prefix; see S3_BUCKET and S3_PREFIX"),
        1 => Ok(places.swap_remove(0)),
        _ => {
            let problem =
                format!("several topics are archived there; name one: {}", names(&places));
            Err(ConfigError::new("--topic-id", problem).into())
        }
    }
}
