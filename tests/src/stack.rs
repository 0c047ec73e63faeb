//! The real servers that a run uses, as `./dev stack env` names them.

use anyhow::Context as _;
use service::exit::ConfigError;
use std::env;
use std::path::PathBuf;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// Addresses and names of the running stack.
#[derive(Debug, Clone)]
pub struct Stack {
    /// Kafka, `host:port`.
    pub brokers: String,
    /// PostgreSQL: a database whose role may make others.
    pub database_url: String,
    /// Bucket of the archive.
    pub archive_bucket: String,
    /// Bucket that Firehose delivers to.
    pub delivered_bucket: String,
    /// A Python with a client of Kafka.
    pub python: PathBuf,
    /// Clients of S3 and Firehose.
    pub aws: Aws,
}

/// Clients of the stand-in for AWS.
#[derive(Debug, Clone)]
pub struct Aws {
    /// Object storage.
    pub s3: aws_sdk_s3::Client,
    /// Delivery streams.
    pub firehose: aws_sdk_firehose::Client,
}

impl Stack {
    /// The stack that the environment names. Never reaches for the real AWS.
    pub async fn from_env() -> Result<Self, ConfigError> {
        need("AWS_ENDPOINT_URL")?;
        let stack = Self {
            brokers: need("KAFKA_BROKERS")?,
            database_url: need("DATABASE_URL")?,
            archive_bucket: need("S3_BUCKET")?,
            delivered_bucket: need("FIREHOSE_BUCKET")?,
            python: need("STACK_PYTHON")?.into(),
            aws: Aws::load().await,
        };
        Ok(stack)
    }
}

fn need(name: &str) -> Result<String, ConfigError> {
    let hint = "is not set; run `./dev test` or `./dev demo`, which start the servers";
    env::var(name).map_err(|_| ConfigError::new(name, hint))
}

impl Aws {
    async fn load() -> Self {
        let config = aws_config::defaults(aws_config::BehaviorVersion::latest()).load().await;
        let s3 = aws_sdk_s3::config::Builder::from(&config).force_path_style(true).build();
        Self {
            s3: aws_sdk_s3::Client::from_conf(s3),
            firehose: aws_sdk_firehose::Client::new(&config),
        }
    }

    /// Keys and sizes of the objects under a prefix.
    pub async fn list(&self, bucket: &str, prefix: &str) -> anyhow::Result<Vec<(String, i64)>> {
        let mut pages =
            self.s3.list_objects_v2().bucket(bucket).prefix(prefix).into_paginator().send();
        let mut objects = Vec::new();
        while let Some(page) = pages.next().await {
            for object in page.with_context(|| format!("listing {bucket}/{prefix}"))?.contents() {
                let key = object.key().unwrap_or_default().to_owned();
                objects.push((key, object.size().unwrap_or(0)));
            }
        }
        Ok(objects)
    }

    /// The bytes of an object.
    pub async fn get(&self, bucket: &str, key: &str) -> anyhow::Result<Vec<u8>> {
        let place = || format!("reading {bucket}/{key}");
        let object =
            self.s3.get_object().bucket(bucket).key(key).send().await.with_context(place)?;
        Ok(object.body.collect().await.with_context(place)?.to_vec())
    }

    /// Deletes every object under a prefix.
    pub async fn delete(&self, bucket: &str, prefix: &str) -> anyhow::Result<()> {
        for (key, _) in self.list(bucket, prefix).await? {
            self.s3.delete_object().bucket(bucket).key(key).send().await?;
        }
        Ok(())
    }
}

/// The directory of the built binaries: this program's own, or above it for a test.
pub fn binaries() -> anyhow::Result<PathBuf> {
    let program = env::current_exe().context("finding this program")?;
    let mut directory = program.parent().context("this program is in no directory")?.to_path_buf();
    if directory.ends_with("deps") {
        directory.pop();
    }
    Ok(directory)
}

/// Waits until the condition holds, asking again and again; fails with its last reason when the
/// deadline passes. `Ok(None)` means holds, `Ok(Some(reason))` not yet.
pub async fn eventually<F>(deadline: Duration, mut condition: F) -> anyhow::Result<()>
where
    F: AsyncFnMut() -> anyhow::Result<Option<String>>,
{
    let end = Instant::now() + deadline;
    let mut pause = Duration::from_millis(20);
    while let Some(reason) = condition().await? {
        if Instant::now() >= end {
            anyhow::bail!("after {} s still: {reason}", deadline.as_secs());
        }
        sleep(pause).await;
        pause = (pause * 3 / 2).min(Duration::from_millis(500));
    }
    Ok(())
}
