//! Which archive, and which record of it.

use std::fmt;
use std::str::FromStr;

use clap::Args;
use domain::archive::Place;
use kafka::topic::Topic;
use service::exit::ConfigError;

use crate::commands::replay;
use crate::s3::Bucket;
use crate::source::archive::Archive;

/// Where the archive is.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Archive")]
pub(super) struct Where {
    /// Bucket of the archive
    #[arg(long, env)]
    s3_bucket: String,
    /// Prefix of every key
    #[arg(long, env, default_value = "")]
    s3_prefix: String,
    /// Which topic's archive, where several lie under the prefix
    #[arg(long, value_name = "ID")]
    topic_id: Option<String>,
}

impl Where {
    pub(super) async fn open(&self) -> Result<Archive<Bucket>, ConfigError> {
        let name = self.s3_bucket.trim();
        if name.is_empty() {
            return Err(ConfigError::new("S3_BUCKET", "is empty"));
        }
        Ok(Archive::new(Bucket::open(name.to_owned()).await?, &self.s3_prefix))
    }

    /// The archive that was asked for, else that of the topic, else the only one there is.
    pub(super) async fn place(
        &self,
        archive: &Archive<Bucket>,
        topic: Option<&Topic>,
    ) -> anyhow::Result<Place> {
        match (&self.topic_id, topic) {
            (None, Some(topic)) => Ok(Place {
                prefix: self.s3_prefix.trim_matches('/').to_owned(),
                cluster: topic.cluster_id.clone(),
                topic_id: topic.topic_id.clone(),
            }),
            (topic_id, _) => replay::place(archive, topic_id.as_deref()).await,
        }
    }

    /// As people write it: `s3://BUCKET/…`.
    pub(super) fn url(&self, place: &Place) -> String {
        format!("s3://{}/{}/", self.s3_bucket.trim(), place.root())
    }
}

/// A record, or a place between records: `PARTITION:OFFSET`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct At {
    pub(super) partition: i32,
    pub(super) offset: i64,
}

impl FromStr for At {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let numbers =
            text.split_once(':').map(|(partition, offset)| (partition.parse(), offset.parse()));
        match numbers {
            Some((Ok(partition), Ok(offset))) if partition >= 0 && offset >= 0 => {
                Ok(Self { partition, offset })
            }
            _ => Err("is not PARTITION:OFFSET"),
        }
    }
}

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.partition, self.offset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_named_by_partition_and_offset() {
        assert_eq!("3:1207".parse::<At>().unwrap().to_string(), "3:1207");
        for text in ["", "3", "3:", ":1", "-1:0", "0:-1", "evt_1"] {
            assert!(text.parse::<At>().is_err(), "{text}");
        }
    }
}
