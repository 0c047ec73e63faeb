//! `project`: events a second of the projector, beside somebody who knows the rows already.

mod floor;

use crate::bodies::Lives;
use crate::{database, fill::fill};
use anyhow::Context as _;
use floor::Rows;
use harness::bench::{Options, Part, Report, Spread, Table, Usage, float, in_turn, median, mib};
use harness::inputs;
use harness::metrics::metric;
use harness::stack::{Stack, eventually};
use harness::system::{Reconciler, System};
use std::time::Duration;

/// Partitions of the topic, as many as the stack's own has.
const PARTITIONS: i32 = 12;
/// Events of one transaction, the projector's default.
const BATCH: usize = 500;
/// How long a run may take.
const DEADLINE: Duration = Duration::from_mins(20);
/// Seed of the lifecycles.
const SEED: u64 = 21;

/// What a person can choose.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) options: Options,
    /// Lifecycles, of about five events each [default: 8000, short 120]
    #[arg(long)]
    pub(crate) lifecycles: Option<usize>,
}

impl Args {
    /// The defaults.
    pub(crate) fn new(options: &Options) -> Self {
        Self { options: options.clone(), lifecycles: None }
    }
}

/// One run of either.
#[derive(Debug, Clone, Copy, Default)]
struct Sample {
    per_second: f64,
    /// Bytes of write-ahead log, for each event.
    wal: f64,
    /// CPU of the projectors and of PostgreSQL for each event, microseconds.
    cpu_us: f64,
    postgres_us: f64,
    /// Of the largest projector.
    peak_rss: u64,
}

/// Measures and tells.
pub(crate) async fn run(args: &Args) -> anyhow::Result<Report> {
    let options = &args.options;
    let mut report = Report::begin("project", options).await?;
    let stack = Stack::from_env().await?;
    let lives = Lives::new(SEED, args.lifecycles.unwrap_or(options.or_short(8000, 120)));
    let events = lives.payloads.len();
    // The rows that both must come to, and what they take.
    let reference = System::create(&stack, "bench_project", PARTITIONS).await?;
    project(&reference, &lives, 1).await.context("the run whose rows the floor writes")?;
    let rows = Rows::read(&reference.pool, events.div_ceil(BATCH)).await?;
    let sizes = database::sizes(&reference.pool, events).await?;
    drop(reference);

    let mut table = Table::new(
        format!("Events a second, {events} events that come to {} rows", rows.count()),
        ["processes", "ratio", "min", "max", "projector /s", "floor /s"],
    );
    let mut cost = Table::new(
        "What an event costs",
        ["program", "CPU µs", "PostgreSQL's CPU µs", "WAL bytes", "peak MiB"],
    );
    for processes in [1, 2] {
        let [least, ours] = in_turn(options.rounds(), ["floor", "projector"], async |name| {
            let system = System::create(&stack, "bench_project", PARTITIONS).await?;
            if name == "floor" {
                load(&system, &rows, &lives, processes).await
            } else {
                project(&system, &lives, processes).await
            }
        })
        .await?;
        let of = |samples: &[Sample], value: fn(&Sample) -> f64| -> Vec<f64> {
            samples.iter().map(value).collect()
        };
        let (speed, floor) = (of(&ours, |it| it.per_second), of(&least, |it| it.per_second));
        let ratio = Spread::of_ratios(&speed, &floor);
        let values = [ratio.median, ratio.min, ratio.max, median(speed), median(floor)];
        table.row(processes.to_string(), values);
        for (name, samples) in [("projector", &ours), ("floor", &least)] {
            let middle = |value: fn(&Sample) -> f64| median(of(samples, value));
            let values = [
                middle(|it| it.cpu_us),
                middle(|it| it.postgres_us),
                middle(|it| it.wal),
                middle(|it| mib(it.peak_rss)),
            ];
            cost.row(format!("{name}, {processes}"), values);
        }
    }
    report.add(table);
    report.add(cost);
    report.add(sizes);
    Ok(report)
}

/// The projector on a topic that is filled while it stands still, from its first row to its last.
async fn project(system: &System, lives: &Lives, processes: usize) -> anyhow::Result<Sample> {
    let events = lives.payloads.len();
    inputs::write(&system.pool, &lives.lives).await?;
    let mut projectors = Vec::new();
    for number in 0..processes {
        // It is silent while it stands still, and yet it stays in its group.
        let settings = [("KAFKA_SESSION_TIMEOUT", "45s")];
        let name = format!("projector-{number}");
        projectors.push(system.reconciler(&name, "project", &settings).await?);
    }
    share(&projectors).await?;
    system.caught_up(&["project"], DEADLINE).await?;
    for projector in &projectors {
        projector.process.signal("STOP")?;
    }
    fill(system, &lives.payloads).await?;
    let used = || -> anyhow::Result<Vec<Usage>> {
        projectors.iter().map(|projector| Usage::of(projector.process.id())).collect()
    };
    let (before, postgres) = (used()?, Part::Postgres.cpu()?);
    let wal = database::wal_bytes(&system.pool).await?;
    for projector in &projectors {
        projector.process.signal("CONT")?;
    }
    let seconds = first_to_last(system, events).await?;
    let after = used()?;
    let each = |value: f64| value / float(events);
    let cpu: f64 = after.iter().zip(before).map(|(after, before)| after.cpu_since(before)).sum();
    let sample = Sample {
        per_second: float(events) / seconds,
        wal: each(database::wal_bytes(&system.pool).await? - wal),
        cpu_us: each(cpu * 1e6),
        postgres_us: each((Part::Postgres.cpu()?.saturating_sub(postgres)).as_secs_f64() * 1e6),
        peak_rss: after.iter().map(|usage| usage.peak_rss).max().unwrap_or_default(),
    };
    check(system, events).await?;
    Ok(sample)
}

/// Waits until each of these has partitions, and all together have all.
async fn share(projectors: &[Reconciler]) -> anyhow::Result<()> {
    eventually(Duration::from_mins(1), async || {
        let mut held = Vec::new();
        for projector in projectors {
            let name = "reconciler_assigned_partitions";
            held.push(metric(projector.admin, name, "role=\"project\"").await?);
        }
        let all = (held.iter().sum::<f64>() - f64::from(PARTITIONS)).abs() < 0.5;
        let is_shared = all && held.iter().all(|held| *held > 0.5);
        Ok((!is_shared).then(|| format!("the projectors hold {held:?} partitions")))
    })
    .await
}

/// Seconds by PostgreSQL's clock from the first event's row until all records are behind us.
async fn first_to_last(system: &System, events: usize) -> anyhow::Result<f64> {
    let mut done_at = 0.0;
    eventually(DEADLINE, async || {
        let (done, now): (i64, f64) = sqlx::query_as(
            "select coalesce(sum(next_offset), 0)::bigint,
               extract(epoch from clock_timestamp())::float8
             from pay.position where role = 'project'",
        )
        .fetch_one(&system.pool)
        .await?;
        done_at = now;
        Ok((usize::try_from(done)? < events).then(|| format!("{done} of {events} are done")))
    })
    .await?;
    let query = "select extract(epoch from min(applied_at))::float8 from pay.event";
    let began_at: f64 = sqlx::query_scalar(query).fetch_one(&system.pool).await?;
    Ok(done_at - began_at)
}

/// The floor, into a database of the same form.
async fn load(
    system: &System,
    rows: &Rows,
    lives: &Lives,
    connections: usize,
) -> anyhow::Result<Sample> {
    let events = lives.payloads.len();
    inputs::write(&system.pool, &lives.lives).await?;
    let own = std::process::id();
    let (before, postgres) = (Usage::of(own)?, Part::Postgres.cpu()?);
    let wal = database::wal_bytes(&system.pool).await?;
    let took = rows.write(&system.database_url, connections).await?;
    let each = |value: f64| value / float(events);
    let sample = Sample {
        per_second: float(events) / took.as_secs_f64(),
        wal: each(database::wal_bytes(&system.pool).await? - wal),
        cpu_us: each(Usage::of(own)?.cpu_since(before) * 1e6),
        postgres_us: each((Part::Postgres.cpu()?.saturating_sub(postgres)).as_secs_f64() * 1e6),
        peak_rss: Usage::of(own)?.rss,
    };
    check(system, events).await?;
    Ok(sample)
}

/// Whether every event is there, and understood.
async fn check(system: &System, events: usize) -> anyhow::Result<()> {
    let found = database::events(&system.pool).await?;
    anyhow::ensure!(usize::try_from(found)? == events, "{found} of {events} events are recorded");
    let query = "select count(*) from pay.event where verdict = 'quarantined'";
    let bad: i64 = sqlx::query_scalar(query).fetch_one(&system.pool).await?;
    anyhow::ensure!(bad == 0, "{bad} events are in quarantine");
    Ok(())
}
