//! `reconciler operations`: what was begun, and what came of it.

use std::io::Write as _;

use clap::Args;
use comfy_table::{ContentArrangement, Table};
use serde_json::{Value, json};
use service::exit::Outcome;
use service::stdout;

use crate::cli::Read;

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Only those of this command, `replay archive` or the beginning of it
    #[arg(long, value_name = "COMMAND", default_value = "")]
    command: String,
    /// Only those that have not ended, or were stopped
    #[arg(long)]
    open: bool,
    /// Most that are listed, the newest first
    #[arg(long, default_value_t = 50)]
    limit: u32,
    #[command(flatten)]
    read: Read,
}

/// Lists operations.
pub(crate) async fn run(arguments: &Arguments) -> anyhow::Result<Outcome> {
    let pool = arguments.read.pool("operations")?;
    let operations: Vec<Value> = sqlx::query_scalar(
        "select jsonb_build_object('operation', operation_id, 'command', command,
           'arguments', arguments, 'actor', actor, 'host', host,
           'started_at', to_char(started_at at time zone 'utc', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"'),
           'ended_at', to_char(ended_at at time zone 'utc', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"'),
           'outcome', outcome, 'summary', summary,
           'silent_seconds', case when ended_at is null then
             extract(epoch from clock_timestamp() - coalesce(noted_at, started_at))::bigint end)
         from pay.operation
         where starts_with(command, $1)
           and (not $2 or ended_at is null or outcome = 'stopped')
         order by operation_id desc limit $3",
    )
    .bind(&arguments.command)
    .bind(arguments.open)
    .bind(i64::from(arguments.limit))
    .fetch_all(&pool)
    .await?;
    stdout::print(|out| {
        if arguments.read.json {
            return writeln!(out, "{}", json!({"operations": operations}));
        }
        if operations.is_empty() {
            return writeln!(out, "no operations");
        }
        writeln!(out, "{}", table(&operations))
    })?;
    Ok(Outcome::Done)
}

fn table(operations: &[Value]) -> Table {
    let mut table = Table::new();
    let names = ["operation", "command", "by", "started", "outcome", "summary"];
    table.set_content_arrangement(ContentArrangement::Dynamic).set_header(names);
    for operation in operations {
        let text = |name: &str| operation[name].as_str().unwrap_or_default().to_owned();
        table.add_row([
            operation["operation"].to_string(),
            text("command"),
            format!("{} on {}", text("actor"), text("host")),
            text("started_at"),
            outcome(operation),
            operation["summary"].to_string(),
        ]);
    }
    table
}

/// How it ended, or for how long nothing was heard of it.
fn outcome(operation: &Value) -> String {
    match (operation["outcome"].as_str(), operation["silent_seconds"].as_i64()) {
        (Some(outcome), _) => outcome.to_owned(),
        (None, Some(seconds)) => format!("has not ended; last heard of {seconds} s ago"),
        (None, None) => "has not ended".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_not_ended_says_when_it_was_heard_of() {
        let killed = json!({"outcome": null, "silent_seconds": 90});
        assert_eq!(outcome(&killed), "has not ended; last heard of 90 s ago");
        let done = json!({"outcome": "done", "silent_seconds": null});
        assert_eq!(outcome(&done), "done");
    }
}
