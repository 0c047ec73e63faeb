//! `reconciler rebuild`: the state once more, from the log alone, beside the live one.

use std::io::{self, Write};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::{Args, ValueEnum};
use domain::set_hash::SetHash;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Map, Value, json};
use service::exit::{ConfigError, Outcome};
use service::secret::{self, SecretString};
use service::{signals, stdout, units};

use super::changes::{change_json, tell_change};
use super::migrate;
use crate::cli::Read;
use crate::config::{Livemode, Project};
use crate::database;
use crate::operation::{self, Operator, Stopped};
use crate::rebuild::{Rebuild, Rebuilt, Records, Settings, Target};
use crate::s3::Bucket;
use crate::source::archive::Ahead;
use crate::source::topic::Log;

/// Segments of one partition that are fetched at the same time.
const SEGMENTS_AHEAD: usize = 2;
/// How often progress is logged where no bar is shown.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// Shown below `--help`.
pub(crate) const EXAMPLES: &str = "\
Nothing is published, and the live database is only read; its pay.operation notes who did it.

Examples:
  reconciler rebuild                              is what we have what the log says?
  reconciler rebuild --json | jq .differing
  reconciler rebuild --from topic --keep          from the topic alone; look at it afterwards
  reconciler rebuild --into postgres://…/next     a database that can take over

Use the settings of `reconciler run`: they decide what a record means. With --into, an interrupted
rebuild goes on where it was, and a finished one is topped up. docs/RUNBOOK.md tells how such a
database takes over.

Exit codes: 0 both are equal; 1 failed or interrupted; 3 they differ.";

// The archive alone may have all that is wanted.
#[derive(Debug, Args)]
#[command(mut_arg("kafka_brokers", |brokers| brokers.required(false)))]
pub(crate) struct Arguments {
    /// An empty database to rebuild in: postgres://USER:PASSWORD@HOST:PORT/DATABASE. Without it, one is made beside
    /// the live one and dropped at the end
    #[arg(long, env = "REBUILD_DATABASE_URL", value_name = "URL", hide_env_values = true)]
    into: Option<SecretString>,
    /// File that holds the URL of --into
    #[arg(long, env = "REBUILD_DATABASE_URL_FILE", value_name = "FILE")]
    into_file: Option<PathBuf>,
    /// Where records come from
    #[arg(long, value_enum, default_value = "archive")]
    from: Origin,
    /// Keep the database that was made
    #[arg(long)]
    keep: bool,
    /// Pass over records that neither archive nor topic has any more, and tell which
    #[arg(long)]
    allow_gaps: bool,
    /// Most rows whose differences are told
    #[arg(long, env = "REBUILD_MAX_DIFFERENCES", value_name = "ROWS", default_value_t = 50)]
    max_differences: usize,
    /// Transactions at the same time; more than partitions are of no use
    #[arg(long, env = "REBUILD_WORKERS", default_value_t = 4,
        value_parser = clap::value_parser!(u32).range(1..=64))]
    workers: u32,
    /// Bytes of the archive that are read ahead, decompressed
    #[arg(long, env = "REBUILD_READ_AHEAD", default_value = "256MiB", value_parser = units::bytes)]
    read_ahead: usize,
    /// Which events count, as for `reconciler run`
    #[arg(long, env, value_enum)]
    livemode: Livemode,
    /// Bucket of the archive
    #[arg(long, env, help_heading = "Archive")]
    s3_bucket: Option<String>,
    /// Prefix of the archive's keys
    #[arg(long, env, default_value = "", help_heading = "Archive")]
    s3_prefix: String,
    #[command(flatten)]
    by: Operator,
    #[command(flatten)]
    read: Read,
    #[command(flatten)]
    project: Project,
    #[command(flatten)]
    kafka: Option<kafka::Options>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Origin {
    /// The archive, topped up from the topic
    Archive,
    /// The topic alone
    Topic,
}

/// Rebuilds and compares; exit code 3 when they differ.
pub(crate) async fn run(arguments: &Arguments) -> anyhow::Result<Outcome> {
    let url = arguments.read.database.url()?;
    let into = secret::optional(
        "REBUILD_DATABASE_URL",
        arguments.into.as_ref(),
        arguments.into_file.as_deref(),
    )?;
    let into = into.map(|into| database::options(&into, "rebuild")).transpose();
    let into =
        into.map_err(|_| ConfigError::new("REBUILD_DATABASE_URL", "is not a postgres:// URL"))?;
    let settings = arguments.settings()?;
    let records = arguments.records().await?;
    let pool = database::pool(&url, "rebuild", 1)?;
    if let Err(problem) = migrate::check(&pool).await? {
        bail!(problem);
    }
    let live = database::options(&url, "rebuild")?;
    let stop = signals::shutdown_token()?;
    operation::record(&pool, &arguments.by, "rebuild", arguments.asked(), async |operation| {
        let target = match into {
            Some(into) => Target::named(into).await?,
            None => Target::beside(&live).await?,
        };
        let bar = progress()?;
        let run = Rebuild::new(live, &target, records, settings, bar.clone(), stop);
        let telling = tell_progress(&bar);
        let done = tokio::select! {
            done = run.run(&arguments.by) => done,
            never = telling => match never {},
        };
        bar.finish_and_clear();
        if !arguments.keep {
            target.drop().await?;
        }
        let is_kept = arguments.keep || arguments.into.is_some();
        let name = target.name().to_owned();
        let Some(rebuilt) = done? else {
            if !is_kept {
                bail!("interrupted");
            }
            let go_on = format!("reconciler rebuild --into …/{name}");
            return Err(Stopped { go_on, summary: json!({}) }.into());
        };
        arguments.tell(operation, is_kept.then_some(&name), &rebuilt)?;
        let is_equal = rebuilt.comparison.is_equal();
        let summary = json!({"equal": is_equal, "records": rebuilt.records,
            "differing": rebuilt.comparison.differing});
        Ok((if is_equal { Outcome::Done } else { Outcome::Found }, summary))
    })
    .await
}

impl Arguments {
    fn settings(&self) -> Result<Settings, ConfigError> {
        Ok(Settings {
            projection: self.project.settings(self.livemode)?,
            batch: self.project.batch(),
            workers: self.workers,
            differences: self.max_differences,
            allow_gaps: self.allow_gaps,
        })
    }

    async fn records(&self) -> anyhow::Result<Records> {
        let archive = match (self.from, self.s3_bucket.as_deref().map(str::trim)) {
            (Origin::Topic, _) => None,
            (Origin::Archive, None | Some("")) => {
                let problem = "is not set; --from archive needs it";
                return Err(ConfigError::new("S3_BUCKET", problem).into());
            }
            (Origin::Archive, Some(bucket)) => {
                Some((Bucket::open(bucket.to_owned()).await?, self.s3_prefix.clone()))
            }
        };
        let log = match &self.kafka {
            Some(kafka) => {
                kafka.client_config()?;
                Some(Log::open(kafka).await.context("opening the raw topic")?)
            }
            None if self.from == Origin::Topic => {
                let problem = "is not set; --from topic needs it";
                return Err(ConfigError::new("KAFKA_BROKERS", problem).into());
            }
            None => None,
        };
        Ok(Records { archive, log, ahead: Ahead::new(SEGMENTS_AHEAD, self.read_ahead) })
    }

    fn asked(&self) -> Value {
        let from = self.from.to_possible_value().map(|value| value.get_name().to_owned());
        json!({"into": self.into.is_some() || self.into_file.is_some(), "from": from,
            "keep": self.keep, "allow_gaps": self.allow_gaps})
    }

    fn tell(&self, operation: i64, kept: Option<&str>, rebuilt: &Rebuilt) -> io::Result<()> {
        stdout::print(|out| {
            if self.read.json {
                return writeln!(out, "{}", document(operation, kept, rebuilt));
            }
            let Rebuilt { comparison, records, took, .. } = rebuilt;
            let seconds = took.as_secs_f64();
            #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
            let rate = *records as f64 / seconds.max(0.001);
            writeln!(out, "{records} records in {seconds:.0} s, {rate:.0} a second")?;
            if rebuilt.erased > 0 {
                writeln!(out, "{} records are erased: what they said is missing", rebuilt.erased)?;
            }
            for gap in &rebuilt.gaps {
                writeln!(out, "passed over: {gap}")?;
            }
            if comparison.is_equal() {
                for (part, hash) in &comparison.live {
                    writeln!(out, "{part:<8}{hash}")?;
                }
                writeln!(out, "equal")?;
            } else {
                tell_differences(out, rebuilt)?;
            }
            if let Some(name) = kept {
                writeln!(out, "the database {name} is kept")?;
            }
            writeln!(out, "operation {operation}")
        })
    }
}

fn tell_differences(out: &mut impl Write, rebuilt: &Rebuilt) -> io::Result<()> {
    let comparison = &rebuilt.comparison;
    for change in &comparison.changes {
        tell_change(out, change)?;
    }
    for (table, rows) in &comparison.differing {
        writeln!(out, "{rows} rows of {table} differ")?;
    }
    let (told, all) = (comparison.changes.len() as u64, comparison.differing.values().sum());
    if told < all {
        writeln!(out, "{told} of {all} are told (--max-differences)")?;
    }
    if rebuilt.open > 0 {
        writeln!(
            out,
            "{} open records in quarantine: what this program understands of them is applied in \
             the rebuilt database only (`reconciler quarantine redrive`)",
            rebuilt.open
        )?;
    }
    if rebuilt.refused > 0 {
        writeln!(
            out,
            "{} inputs are refused by PostgreSQL (pay.rederive.refused)",
            rebuilt.refused
        )?;
    }
    writeln!(out, "they differ: live → rebuilt")
}

fn document(operation: i64, kept: Option<&str>, rebuilt: &Rebuilt) -> Value {
    let comparison = &rebuilt.comparison;
    let hash = |parts: &[(&'static str, SetHash)]| -> Map<String, Value> {
        parts.iter().map(|(name, hash)| ((*name).to_owned(), hash.to_string().into())).collect()
    };
    json!({
        "operation": operation,
        "equal": comparison.is_equal(),
        "database": kept,
        "records": rebuilt.records,
        "milliseconds": u64::try_from(rebuilt.took.as_millis()).unwrap_or(u64::MAX),
        "live": hash(&comparison.live),
        "rebuilt": hash(&comparison.rebuilt),
        "differing": comparison.differing,
        "changes": comparison.changes.iter().map(change_json).collect::<Vec<_>>(),
        "erased": rebuilt.erased,
        "gaps": rebuilt.gaps,
        "quarantine": {"open": rebuilt.open, "discarded": rebuilt.given_up},
        "refused_inputs": rebuilt.refused,
    })
}

fn progress() -> anyhow::Result<ProgressBar> {
    let template = "{bar:40} {pos}/{len} records, {per_sec}, {eta} left";
    Ok(ProgressBar::new(0).with_style(ProgressStyle::with_template(template)?))
}

/// Says how far it is, now and then, where the bar is not seen.
async fn tell_progress(bar: &ProgressBar) -> std::convert::Infallible {
    let mut tick = tokio::time::interval(TELL_EVERY);
    tick.tick().await;
    loop {
        tick.tick().await;
        if bar.is_hidden() {
            let (records, all) = (bar.position(), bar.length().unwrap_or_default());
            let (rate, left) = (bar.per_sec().round(), bar.eta().as_secs());
            tracing::info!(records, all, rate, left_seconds = left, "rebuilding");
        }
    }
}
