//! `reconciler quarantine discard`.

use std::io::Write as _;

use anyhow::bail;
use clap::Args;
use serde_json::json;
use service::exit::Outcome;
use service::stdout;
use sqlx::{Connection as _, PgConnection};

use super::kept::{self, Key};
use super::place::Place;
use super::said;
use crate::cli::Read;
use crate::operation::{self, Operator};

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The records: PARTITION:OFFSET, or ids of events
    #[arg(required = true, value_name = "POSITION")]
    positions: Vec<Place>,
    /// Why they are given up; kept with them
    #[arg(long, value_parser = said)]
    reason: String,
    #[command(flatten)]
    by: Operator,
    #[command(flatten)]
    read: Read,
}

/// Gives all of them up, or none.
pub(crate) async fn run(arguments: &Arguments) -> anyhow::Result<Outcome> {
    let pool = arguments.read.pool("quarantine")?;
    let keys = {
        let mut connection = pool.acquire().await?;
        kept::find(&mut connection, &arguments.positions).await?
    };
    if let Some(key) = keys.iter().find(|key| key.state != "open") {
        bail!("{} is {} already; nothing was discarded", key.position(), key.state);
    }
    let positions: Vec<String> = arguments.positions.iter().map(ToString::to_string).collect();
    let asked = json!({"positions": positions, "reason": arguments.reason});
    operation::record(&pool, &arguments.by, "quarantine discard", asked, async |operation| {
        let mut connection = pool.acquire().await?;
        discard(&mut connection, &keys, &arguments.reason, operation).await?;
        let result = json!({"operation": operation, "discarded": keys.len()});
        stdout::print(|out| {
            if arguments.read.json {
                writeln!(out, "{result}")
            } else {
                writeln!(out, "{} discarded; operation {operation}", keys.len())
            }
        })?;
        Ok((Outcome::Done, json!({"discarded": keys.len()})))
    })
    .await
}

async fn discard(
    connection: &mut PgConnection,
    keys: &[Key],
    reason: &str,
    operation: i64,
) -> anyhow::Result<()> {
    let mut tx = connection.begin().await?;
    // A redrive may be at work on them: whoever is first has them, and both lock in one order.
    let discarded = sqlx::query(
        "with chosen as (
           select q.cluster, q.topic_id, q.partition, q.kafka_offset from pay.quarantine as q
           join unnest($1::text[], $2::text[], $3::int[], $4::bigint[])
             as n(cluster, topic_id, partition, kafka_offset)
             using (cluster, topic_id, partition, kafka_offset)
           where q.state = 'open'
           order by q.cluster, q.topic_id, q.partition, q.kafka_offset for update of q)
         update pay.quarantine as q
         set state = 'discarded', resolved_at = now(), resolved_by = $5, note = $6
         from chosen as c
         where q.cluster = c.cluster and q.topic_id = c.topic_id and q.partition = c.partition
           and q.kafka_offset = c.kafka_offset and q.state = 'open'",
    )
    .bind(keys.iter().map(|key| key.cluster.as_str()).collect::<Vec<_>>())
    .bind(keys.iter().map(|key| key.topic_id.as_str()).collect::<Vec<_>>())
    .bind(keys.iter().map(|key| key.partition).collect::<Vec<_>>())
    .bind(keys.iter().map(|key| key.offset).collect::<Vec<_>>())
    .bind(operation)
    .bind(reason)
    .execute(&mut *tx)
    .await?;
    if discarded.rows_affected() != keys.len() as u64 {
        bail!("some of them were dealt with meanwhile; nothing was discarded");
    }
    tx.commit().await?;
    Ok(())
}
