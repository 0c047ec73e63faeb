//! Every setting, with its flag, variable and default, grouped by what it is for.
#![expect(
    clippy::struct_field_names,
    reason = "the field names are the names of flags and variables"
)]

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use service::exit::ConfigError;
use service::secret::{self, SecretString};
use service::units;

use domain::settings::{MetadataKeys, Settings};

use crate::breaker::Limits;
use crate::console;
use crate::database;
use crate::feed::{self, BatchLimit, FeedLimits, FeedOptions};
use crate::publish::CALL_TIMEOUT;
use crate::sample::Intervals;
use crate::sink::Sink;
use crate::store;

/// The settings of `reconciler run`.
#[derive(Debug, Clone, Args)]
pub(crate) struct Run {
    /// What this process does, comma separated
    #[arg(
        long,
        env = "RECONCILER_ROLES",
        value_enum,
        value_delimiter = ',',
        default_value = "project,archive,publish"
    )]
    pub(crate) roles: Vec<Role>,
    /// Which events count, `live` or `test`; the other kind is recorded, never projected
    #[arg(long, env, value_enum)]
    pub(crate) livemode: Livemode,
    /// Where `/livez`, `/readyz` and `/metrics` are
    #[arg(long, env, default_value = "127.0.0.1:9465")]
    pub(crate) reconciler_admin_listen: SocketAddr,
    #[command(flatten)]
    pub(crate) kafka: kafka::Options,
    #[command(flatten)]
    pub(crate) feed: Feed,
    #[command(flatten)]
    pub(crate) database: Database,
    #[command(flatten)]
    pub(crate) project: Project,
    #[command(flatten)]
    pub(crate) breaker: Breaker,
    #[command(flatten)]
    pub(crate) archive: Archive,
    #[command(flatten)]
    pub(crate) sinks: Sinks,
    #[command(flatten)]
    pub(crate) publish: Publish,
    #[command(flatten)]
    pub(crate) sample: Sample,
    #[command(flatten)]
    pub(crate) traces: service::traces::Options,
    /// Serve the console's pages here too; without it they are not served
    #[arg(long, env, help_heading = "Console")]
    pub(crate) console_listen: Option<SocketAddr>,
    #[command(flatten)]
    pub(crate) console: console::Settings,
}

/// A part of the work with its own position and lag.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Role {
    /// Keeps money state in Postgres
    Project,
    /// Writes every record to S3
    Archive,
    /// Sends domain events to their sinks
    Publish,
}

impl Role {
    /// Every role.
    pub(crate) const ALL: [Self; 3] = [Self::Project, Self::Archive, Self::Publish];

    /// Whether it has a consumer of the raw topic.
    fn reads_topic(self) -> bool {
        matches!(self, Self::Project | Self::Archive)
    }

    /// Its name in settings, logs, metrics and consumer groups.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Project => "project",
            Self::Archive => "archive",
            Self::Publish => "publish",
        }
    }
}

/// Stripe's two kinds of events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Livemode {
    /// Real money
    Live,
    /// Stripe's test mode
    Test,
}

/// Whose money comes in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Profile {
    /// A marketplace: payments have quotes, most of the money is for providers
    Marketplace,
    /// A merchant without quotes and providers: what comes in is revenue
    Merchant,
}

/// How roles read the topic.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Reading")]
pub(crate) struct Feed {
    /// Consumer groups are named PREFIX.ROLE
    #[arg(long, env, default_value = "reconciler")]
    pub(crate) kafka_group_prefix: String,
    /// Silence after which Kafka gives a process's partitions to others; at most 5m
    #[arg(long, env, default_value = "6s", value_parser = units::duration)]
    pub(crate) kafka_session_timeout: Duration,
    /// Records that may wait for a role, per partition
    #[arg(long, env, default_value_t = 2000)]
    pub(crate) feed_max_records: usize,
    /// Bytes that may wait for a role, per partition
    #[arg(long, env, default_value = "4MiB", value_parser = units::bytes)]
    pub(crate) feed_max_bytes: usize,
    /// Bytes that the Kafka client fetches ahead, per partition
    #[arg(long, env, default_value = "4MiB", value_parser = units::bytes)]
    pub(crate) feed_prefetch_bytes: usize,
}

impl Feed {
    /// The consumer group of a role.
    pub(crate) fn group(&self, role: Role) -> String {
        format!("{}.{}", self.kafka_group_prefix, role.as_str())
    }

    pub(crate) fn limits(&self) -> FeedLimits {
        FeedLimits {
            records: self.feed_max_records,
            bytes: self.feed_max_bytes,
            prefetch_kib: u32::try_from(self.feed_prefetch_bytes / 1024).unwrap_or(u32::MAX),
            session_timeout: self.kafka_session_timeout,
        }
    }
}

/// How to reach Kafka, if at all: every one of its variables may be set without the brokers.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Kafka")]
pub(crate) struct Kafka {
    /// Brokers to begin with, `host:port`, comma separated
    #[arg(long, env)]
    kafka_brokers: Option<String>,
    /// Topic of the raw events
    #[arg(long, env, default_value = "stripe.raw.v1")]
    kafka_topic: String,
    /// librdkafka properties such as TLS and SASL: `key=value`, comma separated or one a line
    #[arg(long, env, hide_env_values = true)]
    kafka_config: Option<SecretString>,
    /// File that holds what `KAFKA_CONFIG` would
    #[arg(long, env)]
    kafka_config_file: Option<PathBuf>,
}

impl Kafka {
    /// None without brokers.
    pub(crate) fn options(&self) -> Option<kafka::Options> {
        let brokers = self.kafka_brokers.clone().filter(|brokers| !brokers.trim().is_empty())?;
        Some(kafka::Options {
            kafka_brokers: brokers,
            kafka_topic: self.kafka_topic.clone(),
            kafka_config: self.kafka_config.clone(),
            kafka_config_file: self.kafka_config_file.clone(),
        })
    }
}

/// How to reach Postgres.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Postgres")]
pub(crate) struct Database {
    /// postgres://USER:PASSWORD@HOST:PORT/DATABASE
    #[arg(long, env, hide_env_values = true)]
    pub(crate) database_url: Option<SecretString>,
    /// File that holds the URL
    #[arg(long, env)]
    pub(crate) database_url_file: Option<PathBuf>,
}

impl Database {
    pub(crate) fn url(&self) -> Result<SecretString, ConfigError> {
        let file = self.database_url_file.as_deref();
        secret::required("DATABASE_URL", self.database_url.as_ref(), file)
    }
}

/// How much is applied together, and what our keys in Stripe's metadata are called.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Project")]
pub(crate) struct Project {
    /// Records in one transaction
    #[arg(long, env, default_value_t = 500)]
    pub(crate) project_batch_records: usize,
    /// Bytes in one transaction
    #[arg(long, env, default_value = "8MiB", value_parser = units::bytes)]
    pub(crate) project_batch_bytes: usize,
    /// How long a batch waits for more records
    #[arg(long, env, default_value = "5ms", value_parser = units::duration)]
    pub(crate) project_linger: Duration,
    /// A larger record is quarantined
    #[arg(long, env, default_value = "4MiB", value_parser = units::bytes)]
    pub(crate) project_max_record_bytes: usize,
    /// Whose money comes in: `marketplace` (quotes and providers) or `merchant` (revenue)
    #[arg(long, env, default_value = "marketplace")]
    pub(crate) project_profile: Profile,
    /// The platform's own Stripe accounts, as for ingest: `acct_…` or `NAME:acct_…`, comma separated
    #[arg(long, env, default_value = "")]
    pub(crate) stripe_accounts: String,
    /// Metadata key of our quote
    #[arg(long, env, default_value = "quote_id")]
    pub(crate) metadata_quote_id: String,
    /// Metadata key of our order
    #[arg(long, env, default_value = "order_id")]
    pub(crate) metadata_order_id: String,
    /// Metadata key of our provider
    #[arg(long, env, default_value = "provider_id")]
    pub(crate) metadata_provider_id: String,
    /// Metadata key that says who asked for a refund
    #[arg(long, env, default_value = "created_by")]
    pub(crate) metadata_created_by: String,
}

impl Project {
    /// The accounts of [`stripe_accounts`](Self::stripe_accounts), whatever endpoint they are of.
    fn platforms(&self) -> Result<BTreeSet<String>, ConfigError> {
        let entries = self.stripe_accounts.split([',', '\n']).map(str::trim);
        entries
            .filter(|entry| !entry.is_empty() && !entry.starts_with('#'))
            .enumerate()
            .map(|(index, entry)| {
                let account = entry.rsplit(':').next().unwrap_or(entry).trim();
                if account.starts_with("acct_") {
                    Ok(account.to_owned())
                } else {
                    // Not quoted: it may be a secret in the wrong place.
                    let problem = format!("entry {} is not acct_…", index + 1);
                    Err(ConfigError::new("STRIPE_ACCOUNTS", problem))
                }
            })
            .collect()
    }

    pub(crate) fn batch(&self) -> BatchLimit {
        BatchLimit {
            records: self.project_batch_records.max(1),
            bytes: self.project_batch_bytes,
            linger: self.project_linger,
        }
    }

    /// What the core is told about its surroundings.
    pub(crate) fn settings(&self, livemode: Livemode) -> Result<Settings, ConfigError> {
        Ok(Settings {
            livemode: livemode == Livemode::Live,
            profile: match self.project_profile {
                Profile::Marketplace => domain::settings::Profile::Marketplace,
                Profile::Merchant => domain::settings::Profile::Merchant,
            },
            platforms: self.platforms()?,
            keys: MetadataKeys {
                quote_id: self.metadata_quote_id.clone(),
                order_id: self.metadata_order_id.clone(),
                provider_id: self.metadata_provider_id.clone(),
                created_by: self.metadata_created_by.clone(),
            },
            max_value_bytes: self.project_max_record_bytes,
        })
    }
}

/// When so much would go to quarantine that something else must be wrong.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Breaker")]
pub(crate) struct Breaker {
    /// The role pauses when a greater share of the newest records would go to quarantine; 1 is never
    #[arg(long, env, default_value_t = 0.5)]
    pub(crate) project_breaker_share: f64,
    /// How many of the newest records are looked at
    #[arg(long, env, default_value_t = 200)]
    pub(crate) project_breaker_window: u32,
    /// Fewer quarantined records than this among them never pause it
    #[arg(long, env, default_value_t = 20)]
    pub(crate) project_breaker_min: u32,
}

impl Breaker {
    /// Most records that are looked at: they are kept in memory.
    const MAX_WINDOW: u32 = 100_000;

    pub(crate) fn limits(&self) -> Limits {
        Limits {
            share: self.project_breaker_share,
            window: self.project_breaker_window,
            min: self.project_breaker_min,
        }
    }

    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        let (window, min) = (self.project_breaker_window, self.project_breaker_min);
        if !(self.project_breaker_share > 0.0 && self.project_breaker_share <= 1.0) {
            let problem = "must be more than 0 and at most 1";
            return Err(ConfigError::new("PROJECT_BREAKER_SHARE", problem));
        }
        if !(1..=Self::MAX_WINDOW).contains(&window) {
            let problem = format!("must be from 1 to {}", Self::MAX_WINDOW);
            return Err(ConfigError::new("PROJECT_BREAKER_WINDOW", problem));
        }
        if !(1..=window).contains(&min) {
            let problem = "must be from 1 to PROJECT_BREAKER_WINDOW";
            return Err(ConfigError::new("PROJECT_BREAKER_MIN", problem));
        }
        Ok(())
    }
}

/// What a dry run may take.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Dry run")]
pub(crate) struct Forecast {
    /// Memory for what would change; beyond it goes to a file
    #[arg(long, env, default_value = "64MiB", value_parser = units::bytes)]
    pub(crate) forecast_memory_bytes: usize,
    /// Most bytes of that file
    #[arg(long, env, default_value = "16GiB", value_parser = units::bytes)]
    pub(crate) forecast_disk_bytes: usize,
    /// Where that file is; without it, where temporary files are. It has no name and ends with the
    /// process
    #[arg(long, env)]
    pub(crate) forecast_directory: Option<PathBuf>,
    /// Objects that are derived together; what belongs to them comes on top
    #[arg(long, env, default_value_t = 500)]
    pub(crate) forecast_page_objects: usize,
    /// How long the snapshot of the database may stay open: vacuum keeps what was deleted since
    #[arg(long, env, default_value = "1h", value_parser = units::duration)]
    pub(crate) forecast_time: Duration,
}

impl Forecast {
    pub(crate) fn limits(&self) -> store::Limits {
        store::Limits {
            memory_bytes: self.forecast_memory_bytes,
            disk_bytes: self.forecast_disk_bytes as u64,
            directory: self.forecast_directory.clone().unwrap_or_else(std::env::temp_dir),
            page_objects: self.forecast_page_objects,
            time: self.forecast_time,
        }
    }
}

/// Where segments go and when they close.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Archive")]
pub(crate) struct Archive {
    /// Bucket of the archive; required for the role archive
    #[arg(long, env)]
    pub(crate) s3_bucket: Option<String>,
    /// Prefix of every key
    #[arg(long, env, default_value = "")]
    pub(crate) s3_prefix: String,
    /// A segment closes at this size, before compression
    #[arg(long, env, default_value = "64MiB", value_parser = units::bytes)]
    pub(crate) archive_segment_bytes: usize,
    /// A segment closes at this number of records
    #[arg(long, env, default_value_t = 50_000)]
    pub(crate) archive_segment_records: usize,
    /// A segment closes at this age
    #[arg(long, env, default_value = "60s", value_parser = units::duration)]
    pub(crate) archive_segment_age: Duration,
    /// All unwritten segments together; beyond it the largest closes early
    #[arg(long, env, default_value = "256MiB", value_parser = units::bytes)]
    pub(crate) archive_max_open_bytes: usize,
    /// Segments that are written at the same time
    #[arg(long, env, default_value_t = 4)]
    pub(crate) archive_max_uploads: usize,
    /// After SIGTERM: time to write the open segments; what is left is read again at the start
    #[arg(long, env, default_value = "20s", value_parser = units::duration)]
    pub(crate) archive_drain_timeout: Duration,
}

/// Where domain events go. Whoever proves facts queues their events for each of these.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Domain events")]
pub(crate) struct Sinks {
    /// Where domain events go, comma separated; the same for the roles project and publish
    #[arg(long, env, value_enum, value_delimiter = ',', default_value = "firehose")]
    pub(crate) domain_sinks: Vec<Sink>,
}

impl Sinks {
    /// The chosen sinks, each once.
    pub(crate) fn chosen(&self) -> BTreeSet<Sink> {
        self.domain_sinks.iter().copied().collect()
    }
}

/// What the sinks are called.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Publish")]
pub(crate) struct Destinations {
    /// Delivery stream of the domain events; required for the sink firehose
    #[arg(long, env)]
    pub(crate) firehose_stream: Option<String>,
    /// Topic of the domain events, for the sink kafka
    #[arg(long, env, default_value = "stripe.domain.v1")]
    domain_topic: String,
}

impl Destinations {
    /// The delivery stream.
    pub(crate) fn stream(&self) -> Result<&str, ConfigError> {
        let stream = self.firehose_stream.as_deref().unwrap_or_default().trim();
        if stream.is_empty() {
            let problem = "is not set; publishing to the sink firehose needs it";
            return Err(ConfigError::new("FIREHOSE_STREAM", problem));
        }
        Ok(stream)
    }

    /// How to reach the topic of the domain events, by how the raw topic is reached.
    pub(crate) fn topic(&self, raw: &kafka::Options) -> Result<kafka::Options, ConfigError> {
        let topic = self.domain_topic.trim();
        if topic.is_empty() {
            return Err(ConfigError::new("DOMAIN_TOPIC", "is empty"));
        }
        if topic == raw.kafka_topic.trim() {
            let problem = "is the raw topic (KAFKA_TOPIC); domain events need one of their own";
            return Err(ConfigError::new("DOMAIN_TOPIC", problem));
        }
        Ok(kafka::Options { kafka_topic: topic.to_owned(), ..raw.clone() })
    }
}

/// How domain events are sent.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Publish")]
pub(crate) struct Publish {
    #[command(flatten)]
    pub(crate) destinations: Destinations,
    /// How long a publisher holds what it sends; must be longer than a call to a sink may take
    #[arg(long, env, default_value = "60s", value_parser = units::duration)]
    pub(crate) publish_lease: Duration,
    /// How often an empty queue is looked at
    #[arg(long, env, default_value = "200ms", value_parser = units::duration)]
    pub(crate) publish_poll: Duration,
}

/// How often what only the database can tell is read for the metrics.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Metrics")]
pub(crate) struct Sample {
    /// How often discrepancies, quarantine and waiting inputs are counted
    #[arg(long, env, default_value = "15s", value_parser = units::duration)]
    pub(crate) sample_interval: Duration,
    /// How often the ledger is added up: it reads every posting
    #[arg(long, env, default_value = "5m", value_parser = units::duration)]
    pub(crate) sample_ledger_interval: Duration,
    /// Time for each of these questions
    #[arg(long, env, default_value = "10s", value_parser = units::duration)]
    pub(crate) sample_timeout: Duration,
}

impl Sample {
    pub(crate) fn intervals(&self) -> Intervals {
        Intervals { sample: self.sample_interval, ledger: self.sample_ledger_interval }
    }

    fn check(&self) -> Result<(), ConfigError> {
        for (name, value) in [
            ("SAMPLE_INTERVAL", self.sample_interval),
            ("SAMPLE_LEDGER_INTERVAL", self.sample_ledger_interval),
            ("SAMPLE_TIMEOUT", self.sample_timeout),
        ] {
            if value.is_zero() {
                return Err(ConfigError::new(name, "must not be 0"));
            }
        }
        Ok(())
    }
}

impl Run {
    /// What the core is told about its surroundings.
    pub(crate) fn projection(&self) -> Result<Settings, ConfigError> {
        self.project.settings(self.livemode)
    }

    /// The chosen roles, each once.
    pub(crate) fn roles(&self) -> BTreeSet<Role> {
        self.roles.iter().copied().collect()
    }

    /// What clap cannot check. Nothing is opened yet.
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        let roles = self.roles();
        if roles.is_empty() {
            return Err(ConfigError::new("RECONCILER_ROLES", "names no role"));
        }
        self.kafka.client_config()?;
        database::options(&self.database.url()?, "check")?;
        self.breaker.check()?;
        self.sample.check()?;
        self.traces.url()?;
        if let Some(listen) = self.console_listen {
            self.console.check(listen)?;
        }
        self.projection()?;
        let blank = |value: &Option<String>| value.as_deref().unwrap_or_default().trim().is_empty();
        if roles.contains(&Role::Archive) && blank(&self.archive.s3_bucket) {
            return Err(ConfigError::new("S3_BUCKET", "is not set; the role archive needs it"));
        }
        let sinks = self.sinks.chosen();
        if sinks.is_empty() {
            return Err(ConfigError::new("DOMAIN_SINKS", "names no sink"));
        }
        let publishes = |sink| roles.contains(&Role::Publish) && sinks.contains(&sink);
        if publishes(Sink::Firehose) {
            self.publish.destinations.stream()?;
        }
        if publishes(Sink::Kafka) {
            self.publish.destinations.topic(&self.kafka)?;
        }
        if self.feed.kafka_group_prefix.trim().is_empty() {
            return Err(ConfigError::new("KAFKA_GROUP_PREFIX", "is empty"));
        }
        let archive = &self.archive;
        for (name, value) in [
            ("FEED_MAX_RECORDS", self.feed.feed_max_records),
            ("FEED_MAX_BYTES", self.feed.feed_max_bytes),
            ("ARCHIVE_SEGMENT_BYTES", archive.archive_segment_bytes),
            ("ARCHIVE_SEGMENT_RECORDS", archive.archive_segment_records),
            ("ARCHIVE_MAX_UPLOADS", archive.archive_max_uploads),
        ] {
            if value == 0 {
                return Err(ConfigError::new(name, "must not be 0"));
            }
        }
        if archive.archive_max_open_bytes < archive.archive_segment_bytes {
            let problem = "must not be less than ARCHIVE_SEGMENT_BYTES";
            return Err(ConfigError::new("ARCHIVE_MAX_OPEN_BYTES", problem));
        }
        // librdkafka's own limits.
        if !(1024..2_097_151 * 1024).contains(&self.feed.feed_prefetch_bytes) {
            return Err(ConfigError::new("FEED_PREFETCH_BYTES", "must be from 1KiB to 2GiB"));
        }
        // librdkafka refuses one that is longer than the time between two polls, its
        // `max.poll.interval.ms`. The reader polls all the time, so nobody needs a longer one.
        let (second, longest) = (Duration::from_secs(1), Duration::from_mins(5));
        if !(second..=longest).contains(&self.feed.kafka_session_timeout) {
            return Err(ConfigError::new("KAFKA_SESSION_TIMEOUT", "must be from 1s to 5m"));
        }
        let hour = Duration::from_hours(1);
        if !(2 * CALL_TIMEOUT..=hour).contains(&self.publish.publish_lease) {
            return Err(ConfigError::new("PUBLISH_LEASE", "must be from 30s to 1h"));
        }
        if self.publish.publish_poll.is_zero() || archive.archive_segment_age.is_zero() {
            let name = if archive.archive_segment_age.is_zero() {
                "ARCHIVE_SEGMENT_AGE"
            } else {
                "PUBLISH_POLL"
            };
            return Err(ConfigError::new(name, "must not be 0"));
        }
        for role in roles.into_iter().filter(|role| role.reads_topic()) {
            feed::check(&self.feed_options(role))?;
        }
        Ok(())
    }

    /// Whether a role needs the SDK's settings.
    pub(crate) fn uses_aws(&self) -> bool {
        let roles = self.roles();
        let publishes_to_aws = self.sinks.chosen().contains(&Sink::Firehose);
        roles.contains(&Role::Archive) || (roles.contains(&Role::Publish) && publishes_to_aws)
    }

    /// How a role reads the topic.
    pub(crate) fn feed_options(&self, role: Role) -> FeedOptions {
        FeedOptions {
            kafka: self.kafka.clone(),
            role: role.as_str(),
            group: self.feed.group(role),
            limits: self.feed.limits(),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        run: Run,
    }

    fn run(arguments: &[&str]) -> Run {
        let required = [
            "run",
            "--kafka-brokers=127.0.0.1:1",
            "--livemode=test",
            "--database-url=postgres://u:hunter2@h/d",
        ];
        Line::try_parse_from(required.iter().chain(arguments)).unwrap().run
    }

    fn problem(arguments: &[&str]) -> String {
        let refused = run(arguments).check();
        refused.expect_err(&arguments.join(" ")).to_string()
    }

    #[test]
    fn each_role_asks_for_what_it_needs() {
        // The variables may be set where the tests run.
        let without = |role: &str| {
            let mut run = run(&[role]);
            run.archive.s3_bucket = None;
            run.publish.destinations.firehose_stream = None;
            run.check().unwrap_err().to_string()
        };
        assert!(without("--roles=archive").starts_with("S3_BUCKET: is not set"));
        assert!(without("--roles=publish").starts_with("FIREHOSE_STREAM: is not set"));
        run(&["--roles=project"]).check().unwrap();
        run(&["--s3-bucket=b", "--firehose-stream=s"]).check().unwrap();
    }

    #[test]
    fn the_console_is_off_and_checked_once_it_is_on() {
        let mut off = run(&["--roles=project", "--console-rows=0"]);
        off.console_listen = None;
        assert_eq!(off.check(), Ok(()));
        let said =
            problem(&["--roles=project", "--console-listen=127.0.0.1:1", "--console-rows=0"]);
        assert!(said.starts_with("CONSOLE_ROWS: "), "{said}");
    }

    #[test]
    fn each_sink_asks_for_what_it_needs() {
        let publish = |arguments: &[&str]| {
            let mut run = run(&[&["--roles=publish"], arguments].concat());
            run.publish.destinations.firehose_stream = None;
            run.check().map_err(|error| error.to_string())
        };
        let stream = "FIREHOSE_STREAM: is not set";
        assert!(publish(&["--domain-sinks=kafka,firehose"]).unwrap_err().starts_with(stream));
        assert_eq!(publish(&["--domain-sinks=kafka"]), Ok(()));
        let raw = ["--domain-sinks=kafka", "--kafka-topic=t", "--domain-topic=t"];
        assert!(publish(&raw).unwrap_err().starts_with("DOMAIN_TOPIC: is the raw topic"));
        let empty = ["--domain-sinks=kafka", "--domain-topic="];
        assert!(publish(&empty).unwrap_err().starts_with("DOMAIN_TOPIC: is empty"));
    }

    #[test]
    fn limits_that_contradict_each_other_are_named() {
        let project = "--roles=project";
        assert!(problem(&[project, "--feed-max-records=0"]).starts_with("FEED_MAX_RECORDS"));
        assert!(
            problem(&[project, "--archive-max-open-bytes=1MiB"])
                .starts_with("ARCHIVE_MAX_OPEN_BYTES")
        );
        assert!(problem(&[project, "--publish-lease=10s"]).starts_with("PUBLISH_LEASE"));
        for (name, value) in [
            ("project-breaker-share", "0"),
            ("project-breaker-share", "1.01"),
            ("project-breaker-share", "NaN"),
            ("project-breaker-window", "0"),
            ("project-breaker-min", "0"),
            ("project-breaker-min", "201"),
        ] {
            let variable = name.replace('-', "_").to_uppercase();
            let said = problem(&[project, &format!("--{name}={value}")]);
            assert!(said.starts_with(&variable), "{said}");
        }
    }

    #[test]
    fn what_the_clients_would_refuse_is_refused_before_anything_is_opened() {
        let project = "--roles=project";
        let mut no_url = run(&[project]);
        no_url.database.database_url = Some("hunter2".into());
        let said = no_url.check().unwrap_err().to_string();
        assert_eq!(said, "DATABASE_URL: is not a postgres:// URL");
        let said = problem(&[project, "--kafka-session-timeout=10m"]);
        assert_eq!(said, "KAFKA_SESSION_TIMEOUT: must be from 1s to 5m");
        run(&[project, "--kafka-session-timeout=5m"]).check().unwrap();
        for config in [
            "security.protocol=ssl,ssl.ca.location=/nonexistent",
            "security.protocol=sasl_plaintext,sasl.mechanism=FOO",
            "max.poll.interval.ms=1000",
        ] {
            let said = problem(&[project, &format!("--kafka-config={config}")]);
            assert!(said.starts_with("KAFKA_CONFIG: "), "{config}: {said}");
        }
    }

    #[test]
    fn platforms_are_accounts_and_what_is_none_is_not_quoted() {
        let platforms = |accounts: &str| {
            run(&["--stripe-accounts", accounts]).project.platforms().map_err(|e| e.to_string())
        };
        let accounts = BTreeSet::from(["acct_1".to_owned(), "acct_2".to_owned()]);
        assert_eq!(platforms("acct_1, eu:acct_2,\n# acct_3"), Ok(accounts));
        let refused = Err("STRIPE_ACCOUNTS: entry 2 is not acct_…".to_owned());
        assert_eq!(platforms("acct_1,eu:sk_live_hush"), refused);
    }

    #[test]
    fn secrets_do_not_show_in_the_configuration() {
        assert!(!format!("{:?}", run(&[])).contains("hunter2"));
    }
}
