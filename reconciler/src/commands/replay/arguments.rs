//! What a replay is told.

use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::Args;
use service::exit::ConfigError;
use service::units;
use sqlx::{PgPool, Row as _};

use super::plan::Asked;
use crate::cli::Read;
use crate::config::{self, Livemode, Project, Sinks};
use crate::database::{self, Timeouts};
use crate::operation::Operator;
use crate::source::filter::{self, Filter, Moment};
use crate::source::topic::Part;

/// Connections beside those of the workers: for the lag, the progress and the end.
const MORE_CONNECTIONS: u32 = 3;

#[derive(Debug, Args)]
pub(crate) struct TopicArguments {
    /// A part of a partition; `..` alone is all of it, TO is not read. Several times for several
    #[arg(long = "offset", value_name = "PARTITION:FROM..TO")]
    pub(super) offsets: Vec<Part>,
    /// A partition, all of it; several times for several
    #[arg(long = "partition", value_name = "PARTITION")]
    pub(super) partitions: Vec<u16>,
    #[command(flatten)]
    pub(super) common: Common,
    #[command(flatten)]
    pub(super) kafka: kafka::Options,
}

#[derive(Debug, Args)]
pub(crate) struct ArchiveArguments {
    /// One day, UTC: short for --from and --to
    #[arg(long, value_name = "DAY", value_parser = filter::date, conflicts_with_all = ["from", "to"])]
    pub(super) date: Option<Moment>,
    /// A partition; several times for several
    #[arg(long = "partition", value_name = "PARTITION")]
    pub(super) partitions: Vec<u16>,
    /// The segment of one manifest, by the manifest's key
    #[arg(long, value_name = "KEY", conflicts_with_all = ["partitions", "topic_id"])]
    pub(super) manifest: Option<String>,
    /// Which topic's archive, where several lie under the prefix
    #[arg(long, value_name = "ID")]
    pub(super) topic_id: Option<String>,
    /// Segments of a partition that are fetched and checked ahead
    #[arg(long, env = "REPLAY_AHEAD_SEGMENTS", value_name = "SEGMENTS", default_value_t = 2)]
    pub(super) ahead_segments: usize,
    /// Bytes of all that is read ahead, before compression; in memory it takes about twice as much
    #[arg(long, env = "REPLAY_AHEAD_BYTES", value_name = "BYTES", default_value = "128MiB",
        value_parser = units::bytes)]
    pub(super) ahead_bytes: usize,
    /// Bucket of the archive
    #[arg(long, env)]
    pub(super) s3_bucket: String,
    /// Prefix of every key
    #[arg(long, env, default_value = "")]
    pub(super) s3_prefix: String,
    #[command(flatten)]
    pub(super) common: Common,
    #[command(flatten)]
    pub(super) kafka: config::Kafka,
}

/// What both have.
#[derive(Debug, Args)]
pub(super) struct Common {
    #[command(flatten)]
    pub(super) filter: Filter,
    /// Go on with a replay that was stopped, failed or killed, with all that was chosen then
    #[arg(long, value_name = "OPERATION")]
    pub(super) resume: Option<i64>,
    /// Change nothing; say which rows and balances would change and how
    #[arg(long, conflicts_with = "resume")]
    pub(super) dry_run: bool,
    /// Do not ask
    #[arg(long)]
    pub(super) yes: bool,
    /// Ask before more records than this; without a terminal, refuse
    #[arg(long, env = "REPLAY_CONFIRM_ABOVE", value_name = "RECORDS", default_value_t = 10_000)]
    pub(super) confirm_above: u64,
    /// Which events count, as for `reconciler run`
    #[arg(long, env, value_enum)]
    pub(super) livemode: Livemode,
    #[command(flatten)]
    pub(super) beside: Beside,
    #[command(flatten)]
    pub(super) by: Operator,
    #[command(flatten)]
    pub(super) read: Read,
    #[command(flatten)]
    pub(super) project: Project,
    #[command(flatten)]
    pub(super) breaker: config::Breaker,
    #[command(flatten)]
    pub(super) sinks: Sinks,
    #[command(flatten)]
    pub(super) forecast: config::Forecast,
}

/// How it goes beside live traffic.
#[derive(Debug, Args)]
#[command(next_help_heading = "Beside live traffic")]
pub(super) struct Beside {
    /// Partitions that are applied at the same time; without it, one for each core
    #[arg(long, env = "REPLAY_WORKERS")]
    pub(super) workers: Option<u16>,
    /// Records in one transaction; without it, 200 beside a role project that is at work, so that it
    /// waits less, else `PROJECT_BATCH_RECORDS`
    #[arg(long, env = "REPLAY_BATCH_RECORDS", value_name = "RECORDS")]
    pub(super) batch_records: Option<usize>,
    /// Most records a second; without it, as fast as it goes
    #[arg(long, env = "REPLAY_MAX_RATE", value_name = "RECORDS")]
    pub(super) max_rate: Option<u32>,
    /// Wait while the role project is further behind than this. Not while it stands still, as when
    /// it is down. Needs Kafka: `replay archive` looks only if `KAFKA_BROKERS` is set
    #[arg(long, env = "REPLAY_MAX_LIVE_LAG", value_name = "RECORDS", default_value_t = 1000)]
    pub(super) max_live_lag: u64,
    /// How long a statement may wait for a lock before its batch gives way and is tried again
    #[arg(long, env = "REPLAY_LOCK_TIMEOUT", default_value = "1s", value_parser = units::duration)]
    pub(super) lock_timeout: Duration,
    /// How long a statement may take
    #[arg(long, env = "REPLAY_STATEMENT_TIMEOUT", default_value = "30s",
        value_parser = units::duration)]
    pub(super) statement_timeout: Duration,
}

impl Beside {
    pub(super) fn workers(&self) -> u16 {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        self.workers.unwrap_or_else(|| u16::try_from(cores).unwrap_or(u16::MAX)).max(1)
    }
}

impl Common {
    /// What clap cannot check. Nothing is opened yet.
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        self.breaker.check()?;
        self.project.settings(self.livemode)?;
        if self.beside.batch_records == Some(0) {
            return Err(ConfigError::new("REPLAY_BATCH_RECORDS", "must not be 0"));
        }
        if self.beside.max_rate == Some(0) {
            return Err(ConfigError::new("REPLAY_MAX_RATE", "must not be 0"));
        }
        if let (Some(from), Some(to)) = (self.filter.from, self.filter.to)
            && to <= from
        {
            return Err(ConfigError::new("--to", "is not after --from"));
        }
        Ok(())
    }

    /// A replay that goes on is about what it was about.
    pub(super) fn check_resumed(&self, is_named: bool) -> Result<(), ConfigError> {
        if self.resume.is_some() && (is_named || self.filter != Filter::default()) {
            let problem = "goes on with what was chosen when that operation began; choose nothing";
            return Err(ConfigError::new("--resume", problem));
        }
        Ok(())
    }

    pub(super) fn pool(&self) -> Result<PgPool, ConfigError> {
        let beside = &self.beside;
        let timeouts = Timeouts { statement: beside.statement_timeout, lock: beside.lock_timeout };
        let connections = u32::from(beside.workers()) + MORE_CONNECTIONS;
        database::pool_with(&self.read.database.url()?, "replay", connections, timeouts)
    }

    /// What the replay that is to go on was asked for; none if none is.
    pub(super) async fn resumed(
        &self,
        pool: &PgPool,
        command: &str,
    ) -> anyhow::Result<Option<Asked>> {
        let Some(id) = self.resume else { return Ok(None) };
        let row = sqlx::query(
            "select command, arguments, outcome from pay.operation where operation_id = $1",
        )
        .bind(id)
        .fetch_optional(pool)
        .await
        .context("reading the operation")?;
        let row = row.with_context(|| {
            format!("there is no operation {id}; `reconciler operations` lists them")
        })?;
        let (was, outcome): (String, Option<String>) =
            (row.try_get("command")?, row.try_get("outcome")?);
        if was != command {
            bail!("operation {id} is a `{was}`, not a `{command}`");
        }
        if let Some(outcome @ ("done" | "found")) = outcome.as_deref() {
            bail!("operation {id} is over: {outcome}");
        }
        let asked = serde_json::from_value(row.try_get("arguments")?);
        Ok(Some(asked.context("the operation's arguments")?))
    }
}
