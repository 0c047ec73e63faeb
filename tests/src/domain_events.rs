//! The domain events of a run, as its sinks have them. Every one is held against its schema.

use crate::system::System;
use anyhow::{Context as _, ensure};
use schemas::Schemas;
use serde_json::Value;
use sqlx::{Connection as _, PgConnection};

/// Most problems that are told.
const MAX_PROBLEMS: usize = 10;

/// A record of the domain topic.
#[derive(Debug, Clone, PartialEq)]
pub struct Message {
    /// Its key.
    pub key: String,
    /// Its partition.
    pub partition: i32,
    /// Names and values of its headers.
    pub headers: Vec<(String, String)>,
    /// The domain event.
    pub event: Value,
}

impl System {
    /// The domain events that Firehose delivered, repetitions included. An error if one is not as
    /// its schema says, or an id carries two contents.
    pub async fn delivered(&self) -> anyhow::Result<Vec<Value>> {
        let events = self.on_firehose().await?;
        check(&events)?;
        Ok(events)
    }

    /// The records of the domain topic, repetitions included, checked as [`delivered`](Self::delivered)
    /// does, in the order of each partition.
    pub async fn on_domain_topic(&self) -> anyhow::Result<Vec<Message>> {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec());
        let mut messages = Vec::new();
        for record in self.domain_topic.records().await? {
            let headers = record.headers.iter();
            messages.push(Message {
                key: text(&record.key.context("a record has no key")?)?,
                partition: record.partition,
                headers: headers
                    .map(|(name, value)| Ok((name.clone(), text(value.as_deref().unwrap_or(b""))?)))
                    .collect::<anyhow::Result<_>>()?,
                event: serde_json::from_slice(&record.value.context("a record has no value")?)?,
            });
        }
        check(messages.iter().map(|message| &message.event))?;
        Ok(messages)
    }

    /// Checks every domain event of this run, whether a test looked at it or not: what waits in the
    /// queue, and what each sink has.
    pub(crate) async fn check_domain_events(&self) -> anyhow::Result<()> {
        let mut events = self.on_firehose().await?;
        events.extend(self.on_domain_topic().await?.into_iter().map(|message| message.event));
        // Not a connection of the pool: that belongs to the test's runtime.
        let mut connection = PgConnection::connect(&self.database_url).await?;
        let waiting: Vec<String> =
            sqlx::query_scalar("select payload from pay.outbox").fetch_all(&mut connection).await?;
        for payload in waiting {
            events.push(serde_json::from_str(&payload)?);
        }
        check(&events)
    }

    async fn on_firehose(&self) -> anyhow::Result<Vec<Value>> {
        let (aws, bucket) = (&self.stack.aws, &self.stack.delivered_bucket);
        let mut events = Vec::new();
        for (key, _) in aws.list(bucket, &format!("{}/", self.id)).await? {
            let body = aws.get(bucket, &key).await?;
            for line in body.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
                events.push(serde_json::from_slice(line).with_context(|| key.clone())?);
            }
        }
        Ok(events)
    }
}

/// An error that tells what is wrong among these events, repetitions among them.
pub fn check<'a>(events: impl IntoIterator<Item = &'a Value>) -> anyhow::Result<()> {
    let mut problems = Schemas::load()?.problems_among(events);
    let count = problems.len();
    problems.truncate(MAX_PROBLEMS);
    ensure!(count == 0, "{count} domain events are wrong: {problems:#?}");
    Ok(())
}
