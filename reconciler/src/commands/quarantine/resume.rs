//! `reconciler quarantine resume`.

use std::collections::BTreeMap;
use std::io::Write as _;

use clap::Args;
use serde_json::{Value, json};
use service::exit::Outcome;
use service::stdout;
use sqlx::types::Json;
use sqlx::{Connection as _, PgConnection, Row as _};

use super::said;
use crate::cli::Read;
use crate::operation::{self, Operator};

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Why it may go on; kept with the breaker and in `pay.operation`
    #[arg(long, value_parser = said)]
    reason: String,
    /// Let this many more records of each partition through, for a topic that holds many bad ones
    #[arg(long, value_name = "RECORDS", default_value_t = 0)]
    allow: u32,
    #[command(flatten)]
    by: Operator,
    #[command(flatten)]
    read: Read,
}

/// Lets every paused topic go on. Nothing paused: says so and changes nothing.
pub(crate) async fn run(arguments: &Arguments) -> anyhow::Result<Outcome> {
    let pool = arguments.read.pool("quarantine")?;
    let paused: bool =
        sqlx::query_scalar("select exists (select from pay.breaker where state = 'paused')")
            .fetch_one(&pool)
            .await?;
    if !paused {
        return print(arguments, &json!({"operation": null, "resumed": []}));
    }
    let asked = json!({"reason": arguments.reason, "allow": arguments.allow});
    operation::record(&pool, &arguments.by, "quarantine resume", asked, async |operation| {
        let mut connection = pool.acquire().await?;
        let resumed = resume(&mut connection, arguments, operation).await?;
        let outcome = print(arguments, &json!({"operation": operation, "resumed": &resumed}))?;
        Ok((outcome, json!({"resumed": resumed})))
    })
    .await
}

/// Resumes, and returns what had tripped.
async fn resume(
    connection: &mut PgConnection,
    arguments: &Arguments,
    operation: i64,
) -> sqlx::Result<Vec<Value>> {
    let mut tx = connection.begin().await?;
    let rows = sqlx::query(
        "select cluster, topic_id, through, looked_at, quarantined, reasons,
           coalesce((select jsonb_object_agg(partition, next_offset) from pay.position as p
             where p.role = 'project' and p.cluster = b.cluster and p.topic_id = b.topic_id), '{}')
             as positions
         from pay.breaker as b where state = 'paused'
         order by cluster, topic_id for update of b",
    )
    .fetch_all(&mut *tx)
    .await?;
    let mut resumed = Vec::new();
    for row in &rows {
        let (Json(mut through), Json(positions)): (Json<Offsets>, Json<Offsets>) =
            (row.try_get("through")?, row.try_get("positions")?);
        let (cluster, topic_id): (&str, &str) = (row.try_get("cluster")?, row.try_get("topic_id")?);
        let looked_at: i32 = row.try_get("looked_at")?;
        let quarantined: i32 = row.try_get("quarantined")?;
        let reasons: Value = row.try_get("reasons")?;
        let_through(&mut through, &positions, arguments.allow);
        resumed.push(json!({"cluster": cluster, "topic_id": topic_id, "looked_at": looked_at,
            "quarantined": quarantined, "reasons": reasons, "through": through}));
        sqlx::query(
            "update pay.breaker set state = 'resumed', resumed_at = clock_timestamp(),
               resumed_by = $3, note = $4, through = $5
             where cluster = $1 and topic_id = $2",
        )
        .bind(cluster)
        .bind(topic_id)
        .bind(operation)
        .bind(&arguments.reason)
        .bind(Json(&through))
        .execute(&mut *tx)
        .await?;
    }
    tx.commit().await?;
    Ok(resumed)
}

type Offsets = BTreeMap<i32, i64>;

/// Moves the places up to which nothing is judged by `more` records, in every partition.
fn let_through(through: &mut Offsets, positions: &Offsets, more: u32) {
    for (partition, next_offset) in positions {
        let end = through.entry(*partition).or_insert(*next_offset);
        *end = (*end).max(*next_offset);
    }
    for end in through.values_mut() {
        *end = end.saturating_add(i64::from(more));
    }
}

fn print(arguments: &Arguments, result: &Value) -> anyhow::Result<Outcome> {
    stdout::print(|out| {
        if arguments.read.json {
            return writeln!(out, "{result}");
        }
        let resumed = result["resumed"].as_array().map_or(&[][..], Vec::as_slice);
        if resumed.is_empty() {
            writeln!(out, "nothing is paused")?;
        }
        for topic in resumed {
            let topic_id = topic["topic_id"].as_str().unwrap_or_default();
            let operation = &result["operation"];
            writeln!(out, "topic {topic_id} goes on; operation {operation}")?;
        }
        Ok(())
    })?;
    Ok(Outcome::Done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_tripped_and_as_many_more_are_let_through_everywhere() {
        let mut through = Offsets::from([(0, 500)]);
        let positions = Offsets::from([(0, 300), (1, 40)]);
        let_through(&mut through, &positions, 10);
        assert_eq!(through, [(0, 510), (1, 50)].into());
        let mut through = Offsets::from([(0, 500)]);
        let_through(&mut through, &positions, 0);
        assert_eq!(through, [(0, 500), (1, 40)].into());
    }
}
