//! `rebuild`: the state once more from the archive, beside live projection of the same records.
//!
//! Records are written to the topic, then projected and archived as live ones are; then `reconciler
//! rebuild` makes the same state again in a database beside it, and compares. What it took includes
//! making the database, copying quotes and providers, and the comparison.

use crate::bodies::Lives;
use crate::fill::fill;
use anyhow::{Context as _, ensure};
use harness::bench::{Options, Report, Table, Usage, float, mib};
use harness::inputs;
use harness::process::Process;
use harness::stack::{Stack, eventually};
use harness::system::System;
use serde_json::Value;
use std::fs;
use std::time::{Duration, Instant};

/// Partitions of the topic, as many as the stack's own has.
const PARTITIONS: i32 = 12;
/// Lifecycles that are made and written at a time.
const LIVES: usize = 2000;
/// For whatever is waited for.
const DEADLINE: Duration = Duration::from_hours(2);

/// What a person can choose.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) options: Options,
    /// Events in all [default: 1000000, short 1200]
    #[arg(long)]
    pub(crate) events: Option<usize>,
    /// Transactions at the same time
    #[arg(long, default_value_t = 4)]
    pub(crate) workers: u32,
}

impl Args {
    /// The defaults.
    pub(crate) fn new(options: &Options) -> Self {
        Self { options: options.clone(), events: None, workers: 4 }
    }
}

/// Measures and tells.
pub(crate) async fn run(args: &Args) -> anyhow::Result<Report> {
    let options = &args.options;
    let mut report = Report::begin("rebuild", options).await?;
    let stack = Stack::from_env().await?;
    let system = System::create(&stack, "bench_rebuild", PARTITIONS).await?;
    let wanted = args.events.unwrap_or(options.or_short(1_000_000, 1200));
    let (mut events, mut seed) = (0, 1);
    while events < wanted {
        let Lives { lives, mut payloads } = Lives::new(seed, LIVES.min(wanted));
        payloads.truncate(wanted - events);
        inputs::write(&system.pool, &lives).await?;
        fill(&system, &payloads).await?;
        (events, seed) = (events + payloads.len(), seed + 1);
    }

    let began = Instant::now();
    let live = system.reconciler("live", "project", &[]).await?;
    system.caught_up(&["project"], DEADLINE).await?;
    let live_seconds = began.elapsed().as_secs_f64();
    ensure!(live.process.terminate(DEADLINE).await?.success(), "the projector failed");
    let archiver = system.reconciler("archive", "archive", &[]).await?;
    system.caught_up(&["archive"], DEADLINE).await?;
    ensure!(archiver.process.terminate(DEADLINE).await?.success(), "the archiver failed");

    let (seconds, peak) = rebuild(&system, args, events).await?;
    let mut table = Table::new(
        format!("{events} events, {} workers", args.workers),
        ["", "ratio", "rebuild", "live projection"],
    );
    table.row("seconds", [seconds / live_seconds, seconds, live_seconds]);
    let rates = (float(events) / seconds, float(events) / live_seconds);
    table.row("events /s", [rates.0 / rates.1, rates.0, rates.1]);
    table.row("peak resident memory, MiB", [f64::NAN, peak]);
    report.add(table);
    Ok(report)
}

/// The seconds that a rebuild takes, and the most memory that it has.
async fn rebuild(system: &System, args: &Args, events: usize) -> anyhow::Result<(f64, f64)> {
    let workers = args.workers.to_string();
    let arguments = ["rebuild", "--json", "--workers", &workers];
    let env = system.env();
    let process = Process::start("reconciler", &arguments, &env, &system.logs, "rebuild")?;
    let (id, log) = (process.id(), process.log.clone());
    let mut peak = 0.0;
    let mut said = Value::Null;
    eventually(DEADLINE, async || {
        if let Ok(usage) = Usage::of(id) {
            peak = mib(usage.peak_rss);
        }
        let output = fs::read_to_string(&log)?;
        let document = output.lines().find(|line| line.starts_with('{'));
        said = document.map(serde_json::from_str).transpose()?.unwrap_or_default();
        Ok(said.is_null().then(|| output.lines().next_back().unwrap_or_default().to_owned()))
    })
    .await?;
    let status = process.ended(DEADLINE).await?;
    ensure!(status.success() && said["equal"] == true, "the rebuild differs: {said}");
    let records = said["records"].as_u64().context("it says how many records")?;
    ensure!(usize::try_from(records)? == events, "{records} of {events} records were applied");
    let milliseconds = said["milliseconds"].as_f64().context("it says how long it took")?;
    Ok((milliseconds / 1000.0, peak))
}
