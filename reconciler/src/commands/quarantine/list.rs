//! `reconciler quarantine list`.

use std::io::Write;

use clap::builder::PossibleValuesParser;
use clap::{Args, ValueEnum};
use comfy_table::{ContentArrangement, Table};
use domain::event::Reason;
use domain::record::header;
use serde_json::{Value, json};
use service::exit::Outcome;
use service::stdout;
use sqlx::{PgConnection, Row as _};

use super::kept;
use crate::cli::Read;

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Only this reason
    #[arg(long, value_parser = PossibleValuesParser::new(Reason::ALL.map(Reason::as_str)))]
    reason: Option<String>,
    /// Only this type of event, such as `charge.succeeded`
    #[arg(long = "type", value_name = "TYPE")]
    kind: Option<String>,
    /// Only this state
    #[arg(long, value_enum, default_value_t = State::Open)]
    state: State,
    /// Most records that are listed
    #[arg(long, default_value_t = 50)]
    limit: u32,
    #[command(flatten)]
    read: Read,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum State {
    /// Not dealt with
    Open,
    /// Applied since
    Redriven,
    /// Given up
    Discarded,
    /// Whatever its state
    Any,
}

/// Lists; exit code 3 when open records are among them, or a topic is paused.
pub(crate) async fn run(arguments: &Arguments) -> anyhow::Result<Outcome> {
    let mut connection = arguments.read.pool("quarantine")?.acquire().await?;
    let (records, total) = records(&mut connection, arguments).await?;
    let paused = paused(&mut connection).await?;
    let has_open = records.iter().any(|record| record["state"] == "open");
    let found = has_open || !paused.is_empty();
    stdout::print(|out| {
        if arguments.read.json {
            let document = json!({"paused": paused, "matching": total, "records": records});
            return writeln!(out, "{document}");
        }
        for topic in &paused {
            tell_paused(out, topic)?;
        }
        if !records.is_empty() {
            writeln!(out, "{}", table(&records))?;
        }
        writeln!(out, "{} of {total} matching records", records.len())
    })?;
    Ok(if found { Outcome::Found } else { Outcome::Done })
}

async fn records(
    connection: &mut PgConnection,
    arguments: &Arguments,
) -> anyhow::Result<(Vec<Value>, i64)> {
    let state = arguments.state.to_possible_value().map(|value| value.get_name().to_owned());
    let rows = sqlx::query(
        "select jsonb_build_object('position', partition || ':' || kafka_offset,
           'cluster', cluster, 'topic_id', topic_id, 'state', state, 'reason', reason,
           'detail', detail, 'event_id', event_id, 'bytes', coalesce(length(body), 0),
           'quarantined_at',
           to_char(quarantined_at at time zone 'utc', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"'),
           'age_seconds', extract(epoch from now() - quarantined_at)::bigint, 'note', note),
           headers,
           (select type from pay.event as e where e.event_id = q.event_id limit 1) as type,
           count(*) over () as total
         from pay.quarantine as q
         where ($1 = 'any' or state = $1) and ($2::text is null or reason = $2)
           and ($3::text is null
             or headers @> jsonb_build_array(jsonb_build_array(
               $4::text, translate(encode(convert_to($3, 'UTF8'), 'base64'), E'\\n', '')))
             or exists (select from pay.event as e where e.event_id = q.event_id and e.type = $3))
         order by quarantined_at, cluster, topic_id, partition, kafka_offset
         limit $5",
    )
    .bind(state)
    .bind(arguments.reason.as_deref())
    .bind(arguments.kind.as_deref())
    .bind(header::EVENT_TYPE)
    .bind(i64::from(arguments.limit))
    .fetch_all(connection)
    .await?;
    let mut records = Vec::with_capacity(rows.len());
    for row in &rows {
        let mut record: Value = row.try_get(0)?;
        let headers = kept::headers(&row.try_get("headers")?)?;
        let said = headers.iter().rev().find(|(name, _)| name == header::EVENT_TYPE);
        let said = said.and_then(|(_, value)| String::from_utf8(value.as_ref()?.to_vec()).ok());
        record["type"] = row.try_get::<Option<String>, _>("type")?.or(said).into();
        records.push(record);
    }
    let total = rows.first().map_or(Ok(0), |row| row.try_get("total"))?;
    Ok((records, total))
}

/// The topics that are paused, and why.
async fn paused(connection: &mut PgConnection) -> sqlx::Result<Vec<Value>> {
    sqlx::query_scalar(
        "select jsonb_build_object('cluster', cluster, 'topic_id', topic_id, 'since',
           to_char(tripped_at at time zone 'utc', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"'),
           'looked_at', looked_at, 'quarantined', quarantined, 'share', share,
           'reasons', reasons, 'examples', examples)
         from pay.breaker where state = 'paused' order by cluster, topic_id",
    )
    .fetch_all(connection)
    .await
}

fn tell_paused(out: &mut impl Write, topic: &Value) -> std::io::Result<()> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let (topic_id, since) = (text(&topic["topic_id"]), text(&topic["since"]));
    let (bad, all) = (&topic["quarantined"], &topic["looked_at"]);
    writeln!(
        out,
        "topic {topic_id} is PAUSED since {since}: {bad} of {all} records would go to quarantine"
    )?;
    for example in topic["examples"].as_array().into_iter().flatten() {
        let position = format!("{}:{}", example["partition"], example["offset"]);
        writeln!(out, "  {position}  {}  {}", text(&example["reason"]), text(&example["detail"]))?;
    }
    writeln!(out, "fix the cause, then `reconciler quarantine resume --reason TEXT`\n")
}

fn table(records: &[Value]) -> Table {
    let mut table = Table::new();
    let names = ["position", "state", "reason", "detail", "event", "type", "age", "note"];
    // Most of the time nobody asks for another state.
    let is_shown = |name: &str| {
        records.iter().any(|record| match name {
            "state" => record["state"] != "open",
            "note" => !record["note"].is_null(),
            _ => true,
        })
    };
    let names: Vec<&str> = names.into_iter().filter(|name| is_shown(name)).collect();
    table.set_content_arrangement(ContentArrangement::Dynamic).set_header(&names);
    for record in records {
        table.add_row(names.iter().map(|name| match *name {
            "age" => age(record["age_seconds"].as_i64().unwrap_or_default()),
            "event" => record["event_id"].as_str().unwrap_or_default().to_owned(),
            name => record[name].as_str().unwrap_or_default().to_owned(),
        }));
    }
    table
}

/// A number of seconds in its largest unit.
fn age(seconds: i64) -> String {
    match seconds {
        ..60 => format!("{seconds} s"),
        60..3600 => format!("{} min", seconds / 60),
        3600..86_400 => format!("{} h", seconds / 3600),
        _ => format!("{} d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_age_is_in_its_largest_unit() {
        let told: Vec<String> = [0, 59, 60, 7199, 86_399, 200_000].map(age).into();
        assert_eq!(told, ["0 s", "59 s", "1 min", "1 h", "23 h", "2 d"]);
    }
}
