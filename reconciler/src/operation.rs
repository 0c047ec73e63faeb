//! `pay.operation`: who ran which command on what, and what it came to.
//!
//! Every command that changes something runs inside [`record`]: its row is there before it begins,
//! so a command that is killed half-way has left its name.

use std::os::unix::fs::MetadataExt as _;

use anyhow::Context as _;
use clap::Args;
use serde_json::{Value, json};
use service::exit::Outcome;
use sqlx::{PgConnection, PgPool};

/// What is being done when it fails.
const RECORDING: &str = "recording the operation";

/// The end of a command that was told to stop before it was done.
#[derive(Debug, thiserror::Error)]
#[error("stopped before it was done; go on with `{go_on}`")]
pub(crate) struct Stopped {
    /// The command that goes on.
    pub(crate) go_on: String,
    /// What came of it so far.
    pub(crate) summary: Value,
}

/// Who is at work.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Record")]
pub(crate) struct Operator {
    /// Who does this, for `pay.operation`; without it, the user of the operating system
    #[arg(long = "as", env = "OPERATOR", value_name = "NAME")]
    pub(crate) operator: Option<String>,
}

impl Operator {
    pub(crate) fn name(&self) -> String {
        let given = self.operator.as_deref().map(str::trim).filter(|name| !name.is_empty());
        given.map_or_else(user, str::to_owned)
    }
}

/// Carries out a command with its row around it. `work` gets the operation's id, and returns what
/// to exit with and what to keep as the summary: counts and ids, never a secret or a body.
pub(crate) async fn record(
    pool: &PgPool,
    by: &Operator,
    command: &str,
    arguments: Value,
    work: impl AsyncFnOnce(i64) -> anyhow::Result<(Outcome, Value)>,
) -> anyhow::Result<Outcome> {
    let id = begin(&mut *pool.acquire().await?, by, command, arguments).await.context(RECORDING)?;
    conclude(pool, id, work(id).await).await
}

/// Goes on with an operation that was stopped, failed or killed, by whoever `by` is.
pub(crate) async fn resume(
    pool: &PgPool,
    by: &Operator,
    id: i64,
    work: impl AsyncFnOnce(i64) -> anyhow::Result<(Outcome, Value)>,
) -> anyhow::Result<Outcome> {
    sqlx::query(
        "update pay.operation set ended_at = null, outcome = null,
           summary = summary - 'error',
           arguments = jsonb_set(arguments, '{resumed}',
             coalesce(arguments->'resumed', '[]') || jsonb_build_array(jsonb_build_object(
               'actor', $2::text, 'host', $3::text, 'at', clock_timestamp())))
         where operation_id = $1",
    )
    .bind(id)
    .bind(by.name())
    .bind(host())
    .execute(pool)
    .await
    .context(RECORDING)?;
    conclude(pool, id, work(id).await).await
}

/// Notes how an operation ended, and ends as it did.
async fn conclude(
    pool: &PgPool,
    id: i64,
    done: anyhow::Result<(Outcome, Value)>,
) -> anyhow::Result<Outcome> {
    let (outcome, summary) = match &done {
        Ok((Outcome::Done, summary)) => ("done", summary.clone()),
        Ok((Outcome::Found, summary)) => ("found", summary.clone()),
        Err(error) => match error.downcast_ref::<Stopped>() {
            Some(stopped) => ("stopped", stopped.summary.clone()),
            None => ("failed", json!({"error": format!("{error:#}")})),
        },
    };
    let ended = async { end(&mut *pool.acquire().await?, id, outcome, summary).await };
    let ended = ended.await.context(RECORDING);
    // The command's own failure says more.
    let (outcome, _) = done?;
    ended.map(|()| outcome)
}

/// Notes that a command begins. Returns the operation's id.
pub(crate) async fn begin(
    connection: &mut PgConnection,
    by: &Operator,
    command: &str,
    arguments: Value,
) -> sqlx::Result<i64> {
    sqlx::query_scalar(
        "insert into pay.operation (command, arguments, actor, host)
         values ($1, $2, $3, $4) returning operation_id",
    )
    .bind(command)
    .bind(arguments)
    .bind(by.name())
    .bind(host())
    .fetch_one(connection)
    .await
}

/// Notes how far a long command is, and that it lives.
pub(crate) async fn note(
    connection: &mut PgConnection,
    id: i64,
    summary: &Value,
) -> sqlx::Result<()> {
    sqlx::query(
        "update pay.operation set noted_at = clock_timestamp(), summary = summary || $2
         where operation_id = $1",
    )
    .bind(id)
    .bind(summary)
    .execute(connection)
    .await
    .map(drop)
}

/// Notes how it ended: `done`, `found`, `failed` or `stopped`. What was noted before stays.
pub(crate) async fn end(
    connection: &mut PgConnection,
    id: i64,
    outcome: &str,
    summary: Value,
) -> sqlx::Result<()> {
    sqlx::query(
        "update pay.operation set ended_at = clock_timestamp(), outcome = $2, summary = summary || $3
         where operation_id = $1",
    )
    .bind(id)
    .bind(outcome)
    .bind(summary)
    .execute(connection)
    .await
    .map(drop)
}

/// The user that this process runs as: not what a variable claims, where the system can tell.
fn user() -> String {
    let Ok(process) = std::fs::metadata("/proc/self") else {
        return std::env::var("USER").unwrap_or_else(|_| "unknown".to_owned());
    };
    let accounts = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    named(&accounts, process.uid()).unwrap_or_else(|| format!("uid {}", process.uid()))
}

/// The name of a user in the format of passwd(5).
fn named(accounts: &str, uid: u32) -> Option<String> {
    let uid = uid.to_string();
    accounts.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)? == uid && !name.is_empty()).then(|| name.to_owned())
    })
}

fn host() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").ok();
    let name = name.or_else(|| std::env::var("HOSTNAME").ok()).unwrap_or_default();
    if name.trim().is_empty() { "unknown".to_owned() } else { name.trim().to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_has_the_name_of_the_accounts_file() {
        let accounts = "root:x:0:0:root:/root:/bin/sh\nada:x:1000:1000::/home/ada:/bin/sh\nbad\n";
        assert_eq!(named(accounts, 1000).as_deref(), Some("ada"));
        assert_eq!(named(accounts, 7), None);
    }

    #[test]
    fn a_given_name_wins_unless_it_is_blank() {
        let given = |name: &str| Operator { operator: Some(name.to_owned()) }.name();
        assert_eq!(given(" grace "), "grace");
        assert_eq!(given("  "), user());
    }
}
