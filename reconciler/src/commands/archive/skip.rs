//! `reconciler archive skip`: goes on over records that are lost to the archive.

use std::io::{self, Write as _};
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::Args;
use domain::archive::Hole;
use serde_json::{Value, json};
use service::exit::Outcome;
use service::stdout;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::place::Where;
use crate::archive::{Destination, Writer};
use crate::cli::Read;
use crate::commands::quarantine::said;
use crate::config::Role;
use crate::operation::{self, Operator};
use crate::position::{Position, Positions};
use crate::s3::Bucket;
use crate::source::topic::Log;

/// Time for all of it: S3 and Postgres are asked again and again until then.
const TIMEOUT: Duration = Duration::from_mins(2);

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The partition whose archive has ended before the log begins
    #[arg(long, value_name = "P")]
    partition: i32,
    /// The first offset that is not lost: where the log begins
    #[arg(long, value_name = "OFFSET")]
    to: i64,
    /// Why the records are lost; kept in the archive and in `pay.operation`
    #[arg(long, value_parser = said)]
    reason: String,
    /// Change nothing; say what would be recorded
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    by: Operator,
    #[command(flatten)]
    read: Read,
    #[command(flatten)]
    archive: Where,
    #[command(flatten)]
    kafka: kafka::Options,
}

/// Skips, or says why there is nothing to skip.
pub(crate) async fn run(arguments: &Arguments) -> anyhow::Result<Outcome> {
    tokio::time::timeout(TIMEOUT, skip(arguments))
        .await
        .unwrap_or_else(|_| bail!("S3 or Postgres did not answer in time; run it again"))
}

async fn skip(arguments: &Arguments) -> anyhow::Result<Outcome> {
    let (partition, to) = (arguments.partition, arguments.to);
    let pool = arguments.read.pool("archive")?;
    let log = Log::open(&arguments.kafka).await?;
    let ends = log.ends().await?;
    let (low, _) = ends.get(&partition).with_context(|| {
        format!("partition {partition} is not one of the topic's {}", ends.len())
    })?;
    let bucket = arguments.archive.open().await?;
    let place = arguments.archive.place(&bucket, Some(log.topic())).await?;
    let writer = Writer::new(Destination {
        store: bucket.into_store(),
        place: place.clone(),
        topic: log.topic().name.clone(),
        positions: Positions::at(pool.clone(), Role::Archive.as_str(), &place),
    });
    let end = writer.end(partition, *low).await?;
    let Some(at) = end.at() else {
        bail!("partition {partition} has neither a position nor anything archived to go on from");
    };
    if let Some(key) = end.orphan {
        bail!(
            "{key} holds records that the log has lost, and has no manifest yet: start the role \
             archive once, it writes one and goes on behind it"
        );
    }
    let from = at.next_offset;
    if to > *low {
        bail!("partition {partition}: the log begins at {low}; what it still has is not skipped");
    }
    let is_behind = end.remembered.is_some_and(|it| it.next_offset < from);
    if to <= from && !is_behind {
        bail!(
            "partition {partition}: the archive goes on at offset {from}; nothing is to be skipped"
        );
    }
    let asked = json!({"partition": partition, "to": to, "reason": arguments.reason});
    if arguments.dry_run {
        print(arguments, &told(None, from, to, None))?;
        return Ok(Outcome::Done);
    }
    operation::record(&pool, &arguments.by, "archive skip", asked, async |operation| {
        let key = if to > from {
            Some(arguments.record(&writer, at).await?)
        } else {
            // It was killed between the manifest and the position.
            writer.remember(partition, at).await?;
            None
        };
        let told = told(Some(operation), from, to, key.as_deref());
        print(arguments, &told)?;
        Ok((Outcome::Done, told))
    })
    .await
}

impl Arguments {
    async fn record(&self, writer: &Writer<Bucket>, at: Position) -> anyhow::Result<String> {
        let hole = Hole {
            reason: self.reason.clone(),
            by: self.by.name(),
            at: OffsetDateTime::now_utc().replace_nanosecond(0)?.format(&Rfc3339)?,
        };
        let (key, _) = writer.skip(self.partition, at, self.to, hole).await?;
        Ok(key)
    }
}

fn told(operation: Option<i64>, from: i64, to: i64, manifest: Option<&str>) -> Value {
    json!({"operation": operation, "from": from, "to": to.max(from),
        "records": (to - from).max(0), "manifest": manifest})
}

fn print(arguments: &Arguments, told: &Value) -> io::Result<()> {
    stdout::print(|out| {
        if arguments.read.json {
            return writeln!(out, "{told}");
        }
        let (partition, records) = (arguments.partition, &told["records"]);
        let (from, to) = (&told["from"], &told["to"]);
        match (told["manifest"].as_str(), told["operation"].as_i64()) {
            (_, None) => writeln!(
                out,
                "partition {partition}: offsets {from} to {to}, {records} records, would be recorded \
                 as lost"
            ),
            (Some(key), Some(operation)) => writeln!(
                out,
                "partition {partition}: offsets {from} to {to}, {records} records, are recorded as \
                 lost in {key}; operation {operation}"
            ),
            (None, Some(operation)) => writeln!(
                out,
                "partition {partition}: the position follows what S3 holds, to offset {to}; \
                 operation {operation}"
            ),
        }
    })
}
