//! `reconciler archive verify`: whether the archive is whole.
//!
//! What only grows is asked for first, the log's beginning and the role's positions; then the bucket
//! is read, partition by partition. So a running role archive never looks like a loss.

mod keys;
mod partition;
mod report;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use domain::archive::{Place, Tip};
use domain::endpoint::Endpoints;
use service::exit::{ConfigError, Outcome};
use service::secret::{self, ExposeSecret as _, SecretString};
use service::units;

use self::partition::{Scope, Verifier};
use self::report::Report;
use super::place::{At, Where};
use crate::config::{Database, Kafka, Role};
use crate::database;
use crate::fault::insist;
use crate::position::Positions;
use crate::source::filter::{Moment, date};
use crate::source::topic::Log;

/// How often Postgres is asked: for about ten seconds.
const MAX_ATTEMPTS: u32 = 5;

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Only this partition; may be repeated
    #[arg(long = "partition", value_name = "P")]
    partitions: Vec<i32>,
    /// Only what lies in segments of this day (UTC) or later; what was before is not missed
    #[arg(long, value_name = "DATE", value_parser = date)]
    from: Option<Moment>,
    /// Only what lies in segments of this day or earlier
    #[arg(long, value_name = "DATE", value_parser = date)]
    to: Option<Moment>,
    /// Retention has removed what this partition had before this offset; may be repeated
    #[arg(long = "from-offset", value_name = "P:OFFSET", conflicts_with = "from")]
    from_offsets: Vec<At>,
    /// Ask neither Postgres nor Kafka
    #[arg(long)]
    offline: bool,
    /// A webhook whose endpoint has no secret here is a finding
    #[arg(long)]
    require_signatures: bool,
    /// Signing secrets as ingest has them, old ones too
    #[arg(long, env, hide_env_values = true)]
    stripe_webhook_secrets: Option<SecretString>,
    /// File that holds the secrets
    #[arg(long, env)]
    stripe_webhook_secrets_file: Option<PathBuf>,
    /// How far a signature's time may lie from that of the receipt, as for ingest; 0 does not check it
    #[arg(long, env, default_value = "300s", value_parser = units::whole_seconds)]
    stripe_signature_tolerance: Duration,
    /// Segments that are checked at the same time
    #[arg(long, env, default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=256))]
    verify_segments: u16,
    /// Findings that are told; all are counted
    #[arg(long, env, default_value_t = 1000)]
    verify_findings: usize,
    /// How long a segment may be without its manifest: its writer is at work
    #[arg(long, env, default_value = "10m", value_parser = units::duration)]
    verify_grace: Duration,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    archive: Where,
    #[command(flatten)]
    database: Database,
    #[command(flatten)]
    kafka: Kafka,
}

/// Verifies; exit code 3 when something is found.
pub(crate) async fn run(arguments: &Arguments) -> anyhow::Result<Outcome> {
    let endpoints = arguments.endpoints()?;
    let archive = Arc::new(arguments.archive.open().await?);
    let mut report = Report::new(arguments.verify_findings);
    let log = arguments.log(&mut report).await?;
    let place = arguments.archive.place(&archive, log.as_ref().map(Log::topic)).await?;
    let lows: BTreeMap<i32, i64> = match &log {
        Some(log) if log.topic().topic_id != place.topic_id => {
            report.not_checked("the log: it is another topic's");
            BTreeMap::new()
        }
        Some(log) => log.ends().await?.into_iter().map(|(it, (low, _))| (it, low)).collect(),
        None => BTreeMap::new(),
    };
    let positions = arguments.positions(&place, &mut report).await?;
    if endpoints.is_none() {
        report.not_checked("signatures: STRIPE_WEBHOOK_SECRETS is not set");
    }
    arguments.say_scope(&mut report);

    let stored = keys::partitions(&archive, &place, &mut report).await?;
    let all: BTreeSet<i32> = match &arguments.partitions[..] {
        [] => stored
            .into_iter()
            .chain(lows.keys().copied())
            .chain(positions.keys().copied())
            .collect(),
        chosen => chosen.iter().copied().collect(),
    };
    let verifier = Verifier {
        archive,
        place: place.clone(),
        endpoints: Arc::new(endpoints.unwrap_or_default()),
        tolerance_s: arguments.stripe_signature_tolerance.as_secs(),
        are_signatures_required: arguments.require_signatures,
        segments: usize::from(arguments.verify_segments),
        grace: arguments.verify_grace,
    };
    for partition in all {
        let at = arguments.from_offsets.iter().find(|at| at.partition == partition);
        let scope = Scope {
            from: arguments.from,
            to: arguments.to,
            from_offset: at.map(|at| at.offset),
            position: positions.get(&partition).copied().filter(|_| arguments.to.is_none()),
            low: lows.get(&partition).copied().filter(|_| arguments.to.is_none()),
        };
        verifier.verify(partition, scope, &mut report).await?;
    }
    report.print(&arguments.archive.url(&place), arguments.json)?;
    Ok(report.outcome())
}

impl Arguments {
    /// The endpoints with a secret; `None` if no secret is given.
    fn endpoints(&self) -> Result<Option<Endpoints>, ConfigError> {
        let name = "STRIPE_WEBHOOK_SECRETS";
        let (value, file) =
            (self.stripe_webhook_secrets.as_ref(), self.stripe_webhook_secrets_file.as_deref());
        let secrets = secret::optional(name, value, file)?
            .filter(|secrets| !secrets.expose_secret().trim().is_empty());
        let Some(secrets) = secrets else {
            if self.require_signatures {
                return Err(ConfigError::new(name, "is not set; --require-signatures needs it"));
            }
            return Ok(None);
        };
        let endpoints = Endpoints::parse(secrets.expose_secret(), "")
            .map_err(|error| ConfigError::new(error.setting, error.problem))?;
        Ok(Some(endpoints))
    }

    async fn log(&self, report: &mut Report) -> anyhow::Result<Option<Log>> {
        let why = match self.kafka.options() {
            _ if self.offline => "--offline",
            Some(options) => return Ok(Some(Log::open(&options).await?)),
            None => "KAFKA_BROKERS is not set",
        };
        report.not_checked(&format!("whether the log goes on where the archive ends: {why}"));
        Ok(None)
    }

    /// What the role archive remembers to have written, by partition.
    async fn positions(
        &self,
        place: &Place,
        report: &mut Report,
    ) -> anyhow::Result<BTreeMap<i32, Tip>> {
        let is_set =
            self.database.database_url.is_some() || self.database.database_url_file.is_some();
        let why = if self.offline { "--offline" } else { "DATABASE_URL is not set" };
        if self.offline || !is_set {
            let what = "whether the archive reaches as far as the role's position";
            report.not_checked(&format!("{what}: {why}"));
            return Ok(BTreeMap::new());
        }
        let pool = database::pool(&self.database.url()?, "archive", 1)?;
        let positions = Positions::at(pool, Role::Archive.as_str(), place);
        let positions = insist("archive", MAX_ATTEMPTS, || positions.load()).await;
        let positions = positions.context("reading the role's positions")?;
        let tip =
            |it: crate::position::Position| Tip { next_offset: it.next_offset, hash: it.chain };
        Ok(positions.into_iter().map(|(partition, position)| (partition, tip(position))).collect())
    }

    fn say_scope(&self, report: &mut Report) {
        if let Some(from) = self.from {
            report.not_checked(&format!("what lies in segments of days before {from}"));
        }
        if let Some(to) = self.to {
            report.not_checked(&format!(
                "what lies in segments of days after {to}, the role's position and the log"
            ));
        }
        if !self.partitions.is_empty() {
            report.not_checked("other partitions");
        }
    }
}
