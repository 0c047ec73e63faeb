//! One run of the system beside all others: its own topic, database, prefixes, stream and ports.

use crate::load::{Sender, Target};
use crate::process::{Env, Process, free_address, run};
use crate::stack::{Stack, eventually};
use crate::topic::Topic;
use anyhow::{Context as _, bail};
use aws_sdk_firehose::types::ExtendedS3DestinationConfiguration;
use sqlx::postgres::PgPoolOptions;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection, PgPool};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The secret that every run signs with.
pub const SECRET: &str = "whsec_harness";

/// A run. Dropping it takes away what it made, unless it was told to keep it.
#[derive(Debug)]
pub struct System {
    /// Name of the run: part of everything that it makes.
    pub id: String,
    /// Servers it runs on.
    pub stack: Stack,
    /// Raw topic.
    pub topic: Topic,
    /// Topic of the domain events.
    pub domain_topic: Topic,
    /// Its database.
    pub database_url: String,
    /// Connections to it.
    pub pool: PgPool,
    /// Where its processes write what they say.
    pub logs: PathBuf,
    /// Whether all of it was made.
    is_whole: bool,
    keep: bool,
}

impl System {
    /// Makes topics, database and stream, and migrates the database.
    pub async fn create(stack: &Stack, name: &str, partitions: i32) -> anyhow::Result<Self> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
        let id = format!("{name}_{}_{:x}", std::process::id(), now.as_micros() & 0xffff_ffff);
        let (server, _) = stack.database_url.rsplit_once('/').context("DATABASE_URL has no /")?;
        let database_url = format!("{server}/{id}");
        // From here on, what was made is taken away again even if the rest cannot be made.
        let mut system = Self {
            logs: std::env::temp_dir().join(format!("stripe-{id}")),
            pool: PgPoolOptions::new().max_connections(2).connect_lazy(&database_url)?,
            topic: Topic::new(stack, &format!("stripe.raw.{id}"), partitions),
            domain_topic: Topic::new(stack, &format!("stripe.domain.{id}"), partitions),
            stack: stack.clone(),
            id,
            database_url,
            is_whole: false,
            keep: false,
        };
        system.create_database().await?;
        system.topic.create().await?;
        system.domain_topic.create().await?;
        system.create_stream().await?;
        system.command("reconciler", &["migrate"])?;
        system.is_whole = true;
        Ok(system)
    }

    async fn create_database(&self) -> anyhow::Result<()> {
        let mut connection = PgConnection::connect(&self.stack.database_url).await?;
        connection.execute(AssertSqlSafe(format!("create database {}", self.id))).await?;
        Ok(())
    }

    async fn create_stream(&self) -> anyhow::Result<()> {
        let destination = ExtendedS3DestinationConfiguration::builder()
            .bucket_arn(format!("arn:aws:s3:::{}", self.stack.delivered_bucket))
            .role_arn("arn:aws:iam::123456789012:role/firehose")
            .prefix(format!("{}/", self.id))
            .build()?;
        let firehose = &self.stack.aws.firehose;
        let request = firehose
            .create_delivery_stream()
            .delivery_stream_name(&self.id)
            .extended_s3_destination_configuration(destination);
        // The SDK's futures are large.
        Box::pin(request.send()).await.context("making the delivery stream")?;
        Ok(())
    }

    /// What the binaries need to know of this run.
    pub fn env(&self) -> Env {
        let pairs = [
            ("KAFKA_TOPIC", self.topic.name.as_str()),
            ("KAFKA_GROUP_PREFIX", &self.id),
            ("DATABASE_URL", &self.database_url),
            ("S3_BUCKET", &self.stack.archive_bucket),
            ("S3_PREFIX", &self.id),
            ("DOMAIN_SINKS", "firehose,kafka"),
            ("DOMAIN_TOPIC", &self.domain_topic.name),
            ("FIREHOSE_STREAM", &self.id),
            ("STRIPE_WEBHOOK_SECRETS", SECRET),
            ("LIVEMODE", "test"),
            // So that a run need not wait a minute for its last segment.
            ("ARCHIVE_SEGMENT_AGE", "2s"),
            ("DRAIN_DELAY", "0s"),
        ];
        pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec()
    }

    /// Runs a command of a binary to its end and returns what it printed.
    pub fn command(&self, binary: &str, arguments: &[&str]) -> anyhow::Result<String> {
        let output = run(binary, arguments, &self.env())?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            bail!("{binary} {}: {}: {said}", arguments.join(" "), output.status);
        }
        Ok(String::from_utf8(output.stdout)?)
    }

    /// Starts an ingest and waits until it is ready.
    pub async fn ingest(&self, name: &str, more: &[(&str, &str)]) -> anyhow::Result<Ingest> {
        let (listen, admin) = (free_address()?, free_address()?);
        let mut env = self.env();
        let addresses =
            [("INGEST_LISTEN", listen.to_string()), ("INGEST_ADMIN_LISTEN", admin.to_string())];
        env.extend(addresses.map(|(name, value)| (name.to_owned(), value)));
        env.extend(more.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        let mut process = Process::start("ingest", &[], &env, &self.logs, name)?;
        process.ready(admin).await?;
        Ok(Ingest { process, listen, admin })
    }

    /// Starts a reconciler with these roles and waits until it is ready.
    pub async fn reconciler(
        &self,
        name: &str,
        roles: &str,
        more: &[(&str, &str)],
    ) -> anyhow::Result<Reconciler> {
        let mut reconciler = self.start_reconciler(name, roles, more)?;
        reconciler.process.ready(reconciler.admin).await?;
        Ok(reconciler)
    }

    /// Starts a reconciler that need not become ready.
    pub fn start_reconciler(
        &self,
        name: &str,
        roles: &str,
        more: &[(&str, &str)],
    ) -> anyhow::Result<Reconciler> {
        let admin = free_address()?;
        let mut env = self.env();
        env.push(("RECONCILER_ADMIN_LISTEN".to_owned(), admin.to_string()));
        env.extend(more.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        let arguments = ["run", "--roles", roles];
        let process = Process::start("reconciler", &arguments, &env, &self.logs, name)?;
        Ok(Reconciler { process, admin })
    }

    /// Waits until each of these roles has dealt with every record that is in the topic now, and
    /// the projection with every quote and provider.
    pub async fn caught_up(&self, roles: &[&str], deadline: Duration) -> anyhow::Result<()> {
        let ends = self.topic.ends().await?;
        eventually(deadline, async || {
            for role in roles {
                let behind = self.behind(role, &ends).await?;
                if behind > 0 {
                    return Ok(Some(format!("the role {role} is {behind} records behind")));
                }
            }
            let query = "select count(*) from pay.rederive";
            let queued: i64 = sqlx::query_scalar(query).fetch_one(&self.pool).await?;
            let is_done = queued == 0 || !roles.contains(&"project");
            Ok((!is_done).then(|| format!("{queued} inputs wait to be taken into account")))
        })
        .await
    }

    async fn behind(&self, role: &str, ends: &[i64]) -> anyhow::Result<i64> {
        let query =
            "select partition, max(next_offset) from pay.position where role = $1 group by 1";
        let positions: Vec<(i32, i64)> =
            sqlx::query_as(query).bind(role).fetch_all(&self.pool).await?;
        let next = |index: usize| {
            let found =
                positions.iter().find(|(partition, _)| usize::try_from(*partition) == Ok(index));
            found.map_or(0, |(_, next)| *next)
        };
        Ok(ends.iter().enumerate().map(|(index, end)| (end - next(index)).max(0)).sum())
    }

    /// Waits until every sink has every domain event.
    pub async fn published(&self, deadline: Duration) -> anyhow::Result<()> {
        eventually(deadline, async || {
            let query = "select count(*) from pay.outbox";
            let waiting: i64 = sqlx::query_scalar(query).fetch_one(&self.pool).await?;
            Ok((waiting > 0).then(|| format!("{waiting} domain events wait to be published")))
        })
        .await
    }

    /// Makes the database one in which nothing has ever happened.
    pub async fn empty_database(&self) -> anyhow::Result<()> {
        let drop = "drop schema pay, acc cascade; drop table _sqlx_migrations";
        sqlx::raw_sql(drop).execute(&self.pool).await?;
        self.command("reconciler", &["migrate"])?;
        Ok(())
    }

    /// Leaves everything for a person to look at.
    pub fn keep(&mut self) {
        self.keep = true;
    }

    /// Takes away what was made; what is not there is no error, and one failure stops nothing.
    async fn remove(&self) -> Vec<anyhow::Error> {
        let (aws, prefix) = (&self.stack.aws, format!("{}/", self.id));
        let stream = aws.firehose.delete_delivery_stream().delivery_stream_name(&self.id);
        let outcomes = [
            self.drop_database().await.context("database"),
            self.topic.delete().await.context("topic"),
            self.domain_topic.delete().await.context("domain topic"),
            stream.send().await.map(|_| ()).context("stream"),
            aws.delete(&self.stack.archive_bucket, &prefix).await.context("archive"),
            aws.delete(&self.stack.delivered_bucket, &prefix).await.context("domain events"),
        ];
        let _ = std::fs::remove_dir_all(&self.logs);
        outcomes.into_iter().filter_map(Result::err).collect()
    }

    async fn drop_database(&self) -> anyhow::Result<()> {
        let mut connection = PgConnection::connect(&self.stack.database_url).await?;
        let statement = format!("drop database if exists {} with (force)", self.id);
        connection.execute(AssertSqlSafe(statement)).await?;
        Ok(())
    }
}

impl Drop for System {
    /// Checks every domain event, which fails the test, and cleans up; on a thread of its own, for
    /// the runtime of the test may be ending.
    fn drop(&mut self) {
        if self.keep {
            return;
        }
        let is_whole = self.is_whole && !std::thread::panicking();
        let cleaning = std::thread::scope(|scope| {
            let clean = || -> anyhow::Result<(anyhow::Result<()>, Vec<anyhow::Error>)> {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
                runtime.block_on(async {
                    let checked = if is_whole { self.check_domain_events().await } else { Ok(()) };
                    Ok((checked, self.remove().await))
                })
            };
            scope.spawn(clean).join()
        });
        match cleaning {
            Ok(Ok((checked, errors))) => {
                for error in errors {
                    eprintln!("cleaning up {}: {error:#}", self.id);
                }
                if let Err(error) = checked {
                    panic!("{}: {error:#}", self.id);
                }
            }
            Ok(Err(error)) => eprintln!("cleaning up {}: {error:#}", self.id),
            Err(_) => eprintln!("cleaning up {} panicked", self.id),
        }
    }
}

/// A running ingest.
#[derive(Debug)]
pub struct Ingest {
    /// The process.
    pub process: Process,
    /// Where Stripe's requests go.
    pub listen: SocketAddr,
    /// Its admin listener.
    pub admin: SocketAddr,
}

impl Ingest {
    /// A sender to its default endpoint.
    pub fn sender(&self) -> anyhow::Result<Sender> {
        let target = Target::new(&format!("http://{}", self.listen), "default", SECRET);
        Ok(Sender::new(target, Duration::from_secs(30))?)
    }
}

/// A running reconciler.
#[derive(Debug)]
pub struct Reconciler {
    /// The process.
    pub process: Process,
    /// Its admin listener.
    pub admin: SocketAddr,
}
