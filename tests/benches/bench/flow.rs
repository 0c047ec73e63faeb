//! Ingest and a reconciler on the stack, fed with fresh events, and what each process used of it.

use crate::load::{self, Load, Sent};
use harness::bench::{Part, Usage};
use harness::metrics::metric;
use harness::stack::Stack;
use harness::system::{Ingest, Reconciler, System};
use std::path::PathBuf;
use std::time::Duration;

/// Partitions of the topic, as many as the stack's own has.
const PARTITIONS: i32 = 12;
/// Connections that send.
const CONNECTIONS: usize = 64;
/// How long the reconciler may take for what was sent.
const DEADLINE: Duration = Duration::from_mins(30);

/// The system under way.
pub(crate) struct Flow {
    pub(crate) system: System,
    ingest: Ingest,
    reconciler: Reconciler,
    /// Seed of the next events.
    seed: u64,
}

/// What the processes have used so far.
pub(crate) struct Used {
    /// CPU time by process.
    pub(crate) cpu: [(&'static str, Duration); 4],
    /// Ingest's memory.
    pub(crate) ingest: Usage,
    /// The reconciler's.
    pub(crate) reconciler: Usage,
}

impl Flow {
    /// Starts both, the reconciler with these roles and settings.
    pub(crate) async fn start(
        name: &str,
        roles: &[&str],
        settings: &[(&str, &str)],
    ) -> anyhow::Result<Self> {
        let stack = Stack::from_env().await?;
        let system = System::create(&stack, name, PARTITIONS).await?;
        let ingest = system.ingest("ingest", &[]).await?;
        let reconciler = system.reconciler("reconciler", &roles.join(","), settings).await?;
        Ok(Self { system, ingest, reconciler, seed: 1_000_000 })
    }

    /// Sends this many events that were never sent before, at a rate or as fast as answers come.
    pub(crate) async fn send(
        &mut self,
        count: usize,
        rate: Option<f64>,
        answers: Option<PathBuf>,
    ) -> anyhow::Result<Sent> {
        let load = Load {
            fresh: Some(self.seed),
            count: Some(count),
            connections: CONNECTIONS,
            rate,
            answers,
            ..Load::default()
        };
        // Each chunk of events takes a seed of its own.
        self.seed += 1_000_000;
        load::send(self.ingest.listen, &load).await
    }

    /// Waits until these roles have done with all that was sent.
    pub(crate) async fn finish(&self, roles: &[&str]) -> anyhow::Result<()> {
        let readers: Vec<&str> = roles.iter().copied().filter(|role| *role != "publish").collect();
        self.system.caught_up(&readers, DEADLINE).await?;
        if roles.contains(&"publish") {
            self.system.published(DEADLINE).await?;
        }
        Ok(())
    }

    /// What the processes have used until now.
    pub(crate) fn used(&self) -> anyhow::Result<Used> {
        let ingest = Usage::of(self.ingest.process.id())?;
        let reconciler = Usage::of(self.reconciler.process.id())?;
        let cpu = [
            ("ingest", ingest.cpu),
            ("reconciler", reconciler.cpu),
            (Part::Kafka.as_str(), Part::Kafka.cpu()?),
            (Part::Postgres.as_str(), Part::Postgres.cpu()?),
        ];
        Ok(Used { cpu, ingest, reconciler })
    }

    /// A metric of the reconciler.
    pub(crate) async fn metric(&self, name: &str, label: &str) -> anyhow::Result<f64> {
        metric(self.reconciler.admin, name, label).await
    }
}

impl Used {
    /// CPU seconds by process since an earlier look.
    pub(crate) fn cpu_since(&self, before: &Self) -> Vec<(&'static str, f64)> {
        let both = self.cpu.iter().zip(&before.cpu);
        both.map(|((name, now), (_, then))| (*name, now.saturating_sub(*then).as_secs_f64()))
            .collect()
    }
}
