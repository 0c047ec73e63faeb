//! `reconciler run`: checks what the roles stand on, starts them, and watches over them.
//!
//! Each role is a task of its own with its own connections, position, lag and retries; none waits
//! for another. A role that halts stays down until somebody has looked: the others go on, `/readyz`
//! and `reconciler_role_up` show it, and the exit code is 1. When no role is left the process ends.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use domain::archive::Place;
use kafka::topic::{self, Topic};
use service::admin::{self, Readiness};
use service::exit::Outcome;
use service::metrics::Exporter;
use service::secret::SecretString;
use service::signals;
use service::traces::{Sampling, Traces};
use sqlx::PgPool;
use tokio::task::{Id, JoinSet};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::archive::{self, Destination, Writer};
use crate::aws;
use crate::commands::migrate;
use crate::config::{Archive, Role, Run};
use crate::console;
use crate::database::{self, Pools, Timeouts};
use crate::domain_topic::{DomainTopic, NEED_BYTES};
use crate::fault::{Fault, persist};
use crate::feed::{Feed, Origin};
use crate::firehose::DeliveryStream;
use crate::metrics;
use crate::position::Positions;
use crate::project;
use crate::publish::{self, Outbox};
use crate::s3::Bucket;
use crate::sample::{self, Log};
use crate::sink::Sink;
use crate::store::Store;
use crate::story::segment;

/// Time for one question about the topic.
pub(crate) const TOPIC_TIMEOUT: Duration = Duration::from_secs(5);
/// Connections of a role: one at work, one for what must not wait behind it.
const CONNECTIONS: u32 = 2;

/// Runs the chosen roles until SIGTERM.
pub(crate) async fn run(settings: Run) -> anyhow::Result<Outcome> {
    settings.check()?;
    if settings.uses_aws() {
        aws::check().await?;
    }
    tracing::info!(?settings, "starting");
    let exporter = Exporter::install(&[metrics::all(), kafka::metrics::all()])?;
    let shutdown = signals::shutdown_token()?;
    let readiness = Readiness::starting();
    // It answers to the end, so that a drain can be watched.
    let admin_stop = CancellationToken::new();
    let _admin_stop = admin_stop.clone().drop_guard();
    let admin = settings.reconciler_admin_listen;
    let bound = admin::serve(admin, readiness.clone(), exporter.clone(), admin_stop).await?;
    tracing::info!(address = %bound, "admin listener is up");

    let pools = Pools::default();
    let shown = pools.clone();
    exporter.on_scrape(move || shown.show());
    let traces = Traces::start(&settings.traces, "reconciler", Sampling::Parent)?;
    let start = Start {
        pools,
        traces: traces.clone(),
        url: settings.database.url()?,
        settings,
        shutdown,
        readiness,
    };
    let outcome = match start.shutdown.run_until_cancelled(start.foundations()).await {
        Some(Ok(topics)) => start.roles(&topics).await,
        Some(Err(error)) => Err(error),
        None => Ok(Outcome::Done),
    };
    traces.stop().await;
    outcome
}

/// The topics that the roles stand on.
struct Topics {
    raw: Topic,
    /// Where this process sends domain events, if Kafka is a sink of its.
    domain: Option<Topic>,
}

struct Start {
    pools: Pools,
    traces: Traces,
    settings: Run,
    url: SecretString,
    shutdown: CancellationToken,
    readiness: Readiness,
}

impl Start {
    /// Waits for Postgres and Kafka, and checks that they are what the roles need.
    async fn foundations(&self) -> anyhow::Result<Topics> {
        let pool = self.pool("start")?;
        let schema = persist("start", || migrate::check(&pool)).await?;
        pool.close().await;
        if let Err(problem) = schema {
            bail!(problem);
        }
        let raw = self.topic(&self.settings.kafka, 0).await?;
        let settings = &self.settings;
        let to_kafka = settings.roles().contains(&Role::Publish)
            && settings.sinks.chosen().contains(&Sink::Kafka);
        let domain = if to_kafka {
            let kafka = settings.publish.destinations.topic(&settings.kafka)?;
            Some(self.topic(&kafka, NEED_BYTES as u64).await?)
        } else {
            None
        };
        Ok(Topics { raw, domain })
    }

    /// Describes a topic and checks that it can hold records of `need_bytes` and keep them.
    async fn topic(&self, kafka: &kafka::Options, need_bytes: u64) -> anyhow::Result<Topic> {
        let describe =
            || async { topic::describe(kafka, TOPIC_TIMEOUT).await.map_err(Fault::topic) };
        let topic = persist("start", describe).await?;
        for warning in topic::check(&topic, need_bytes).context("checking a topic")? {
            tracing::warn!(topic = topic.name, "{warning}");
            metrics::TOPIC_WARNINGS.with([&topic.name, warning.code()]).set(1);
        }
        Ok(topic)
    }

    /// Starts each role and waits until all have ended.
    async fn roles(&self, topics: &Topics) -> anyhow::Result<Outcome> {
        self.start_console().await?;
        let topic = &topics.raw;
        let mut roles = Roles::default();
        for role in self.settings.roles() {
            match role {
                Role::Project => self.start_project(topic, &mut roles)?,
                Role::Archive => self.start_archive(topic, &mut roles).await?,
                Role::Publish => self.start_publish(topics, &mut roles).await?,
            }
        }
        let _sampling = self.start_sampling(topic)?;
        self.readiness.release("starting");
        tracing::info!(roles = ?self.settings.roles(), "running");
        roles.watch(&self.readiness).await
    }

    /// Ends with the guard.
    fn start_sampling(&self, topic: &Topic) -> anyhow::Result<DropGuard> {
        let (purpose, settings) = ("sample", &self.settings.sample);
        let pool = database::pool_with(
            &self.url,
            purpose,
            1,
            Timeouts { statement: settings.sample_timeout, ..Timeouts::default() },
        )?;
        self.pools.add(purpose, &pool);
        let stop = CancellationToken::new();
        let log = Log::open(&self.settings.kafka, topic)?;
        let sampling = sample::run(pool, log, settings.intervals());
        tokio::spawn(stop.clone().run_until_cancelled_owned(sampling));
        Ok(stop.drop_guard())
    }

    /// No role: whether its pages are there changes nothing about the others.
    async fn start_console(&self) -> anyhow::Result<()> {
        let Some(listen) = self.settings.console_listen else { return Ok(()) };
        let Archive { s3_bucket, s3_prefix, .. } = &self.settings.archive;
        let start = console::Start {
            listen,
            settings: &self.settings.console,
            url: self.url.clone(),
            archive: segment::Archive::open(s3_bucket.as_deref(), s3_prefix).await?,
        };
        start.serve(self.shutdown.clone()).await.map(drop)
    }

    fn start_project(&self, topic: &Topic, roles: &mut Roles) -> anyhow::Result<()> {
        let positions = Positions::new(self.pool("positions")?, Role::Project.as_str(), topic);
        let (settings, sinks) = (self.settings.projection()?, self.settings.sinks.chosen());
        let store = Store::new(self.pool("project")?, settings, sinks, topic);
        let feed = self.feed(Role::Project, topic, positions, None)?;
        let (limit, breaker) = (self.settings.project.batch(), self.settings.breaker.limits());
        let (readiness, shutdown) = (self.readiness.clone(), self.shutdown.clone());
        let traces = self.traces.clone();
        let work = project::run(feed, store, traces, limit, breaker, readiness, shutdown);
        roles.start(Role::Project, work);
        Ok(())
    }

    async fn start_archive(&self, topic: &Topic, roles: &mut Roles) -> anyhow::Result<()> {
        let settings = &self.settings.archive;
        let positions = Positions::new(self.pool("archive")?, Role::Archive.as_str(), topic);
        let writer = Arc::new(Writer::new(Destination {
            store: Bucket::open(settings.s3_bucket.clone().unwrap_or_default()).await?,
            place: Place {
                prefix: settings.s3_prefix.trim_matches('/').to_owned(),
                cluster: topic.cluster_id.clone(),
                topic_id: topic.topic_id.clone(),
            },
            topic: topic.name.clone(),
            positions: positions.clone(),
        }));
        let limits = archive::Limits {
            segment_bytes: settings.archive_segment_bytes,
            segment_records: settings.archive_segment_records,
            segment_age: settings.archive_segment_age,
            open_bytes: settings.archive_max_open_bytes,
            uploads: settings.archive_max_uploads,
            drain: settings.archive_drain_timeout,
        };
        let feed = self.feed(Role::Archive, topic, positions, Some(writer.clone()))?;
        roles.start(Role::Archive, archive::run(feed, writer, limits));
        Ok(())
    }

    /// A task for each sink, so that none waits for another.
    async fn start_publish(&self, topics: &Topics, roles: &mut Roles) -> anyhow::Result<()> {
        let settings = &self.settings.publish;
        let work = publish::Settings { lease: settings.publish_lease, poll: settings.publish_poll };
        let sinks = self.settings.sinks.chosen();
        publish::warn_of_others(self.pool("publish")?, &sinks).await;
        for sink in sinks {
            let (outbox, shutdown) = (Outbox::new(self.pool("publish")?, sink), &self.shutdown);
            match (sink, &topics.domain) {
                (Sink::Firehose, _) => {
                    let name = settings.destinations.stream()?;
                    let stream = DeliveryStream::open(name.to_owned()).await?;
                    roles
                        .start(Role::Publish, publish::run(outbox, stream, work, shutdown.clone()));
                }
                (Sink::Kafka, Some(topic)) => {
                    let stream = DomainTopic::open(&self.settings.kafka, topic)?;
                    roles
                        .start(Role::Publish, publish::run(outbox, stream, work, shutdown.clone()));
                }
                (Sink::Kafka, None) => bail!("the domain topic was not described"),
            }
        }
        Ok(())
    }

    fn feed(
        &self,
        role: Role,
        topic: &Topic,
        positions: Positions,
        origin: Option<Arc<dyn Origin>>,
    ) -> anyhow::Result<Feed> {
        let options = self.settings.feed_options(role);
        Ok(Feed::start(options, topic, positions, origin, self.shutdown.clone())?)
    }

    fn pool(&self, purpose: &'static str) -> anyhow::Result<PgPool> {
        let pool = database::pool(&self.url, purpose, CONNECTIONS)?;
        self.pools.add(purpose, &pool);
        Ok(pool)
    }
}

/// The roles that run.
#[derive(Default)]
struct Roles {
    tasks: JoinSet<Result<(), Fault>>,
    names: Vec<(Id, Role)>,
}

impl Roles {
    fn start(
        &mut self,
        role: Role,
        work: impl Future<Output = Result<(), Fault>> + Send + 'static,
    ) {
        metrics::ROLE_UP.with([role.as_str()]).set(1.0);
        let task = self.tasks.spawn(work);
        self.names.push((task.id(), role));
    }

    /// Waits for all of them. An error names those that did not end because they were asked to.
    async fn watch(mut self, readiness: &Readiness) -> anyhow::Result<Outcome> {
        let mut halted = Vec::new();
        while let Some(ended) = self.tasks.join_next_with_id().await {
            let (id, fault) = match ended {
                Ok((id, Ok(()))) => (id, None),
                Ok((id, Err(fault))) => (id, Some(fault.to_string())),
                Err(panicked) => (panicked.id(), Some(panicked.to_string())),
            };
            let Some(&(_, role)) = self.names.iter().find(|(task, _)| *task == id) else {
                continue;
            };
            metrics::ROLE_UP.with([role.as_str()]).set(0.0);
            match fault {
                None => tracing::info!(role = role.as_str(), "ended"),
                Some(fault) => {
                    tracing::error!(role = role.as_str(), fault, "halted; the others go on");
                    readiness.hold(match role {
                        Role::Project => "role project has halted",
                        Role::Archive => "role archive has halted",
                        Role::Publish => "role publish has halted",
                    });
                    metrics::FAULTS.with([role.as_str(), "halt"]).increment(1);
                    halted.push(format!("role {} has halted: {fault}", role.as_str()));
                }
            }
        }
        if halted.is_empty() { Ok(Outcome::Done) } else { bail!(halted.join("; ")) }
    }
}
