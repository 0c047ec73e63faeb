//! `memory`: what a long run does to memory and speed, and what an event takes in PostgreSQL.
//!
//! Events go through ingest in parts, each as fast as answers come; a part ends when the reconciler
//! has applied and published it. The first part warms up. What stays level ends near 1.

use crate::{database, flow::Flow};
use harness::bench::{Options, Report, Table, float, median, mib};
use std::time::Instant;

/// What a person can choose.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) options: Options,
    /// Events in all [default: 1000000, short 1200]
    #[arg(long)]
    pub(crate) events: Option<usize>,
    /// Events of a part [default: 20000, short 300]
    #[arg(long)]
    pub(crate) part: Option<usize>,
}

impl Args {
    /// The defaults.
    pub(crate) fn new(options: &Options) -> Self {
        Self { options: options.clone(), events: None, part: None }
    }
}

/// After one part.
#[derive(Debug, Clone, Copy)]
struct Part {
    ingest_per_second: f64,
    project_per_second: f64,
    ingest_mib: f64,
    reconciler_mib: f64,
}

/// A value of a part.
type Value = fn(&Part) -> f64;

/// Measures and tells.
pub(crate) async fn run(args: &Args) -> anyhow::Result<Report> {
    let options = &args.options;
    let mut report = Report::begin("memory", options).await?;
    let size = args.part.unwrap_or(options.or_short(20_000, 300));
    let count = args.events.unwrap_or(options.or_short(1_000_000, 1200)).div_ceil(size).max(3);
    // The stand-in for Firehose would keep every event in its memory.
    let settings = [("DOMAIN_SINKS", "kafka"), ("ARCHIVE_SEGMENT_AGE", "60s")];
    let roles = ["project", "archive", "publish"];
    let mut flow = Flow::start("bench_memory", &roles, &settings).await?;
    let mut parts = Vec::new();
    for number in 0..count {
        let begin = Instant::now();
        let sent = flow.send(size, None, None).await?;
        flow.finish(&["project", "publish"]).await?;
        let used = flow.used()?;
        let part = Part {
            ingest_per_second: sent.per_second,
            project_per_second: float(size) / begin.elapsed().as_secs_f64(),
            ingest_mib: mib(used.ingest.rss),
            reconciler_mib: mib(used.reconciler.rss),
        };
        eprintln!("bench: memory, part {} of {count}: {part:.0?}", number + 1);
        parts.push(part);
    }
    let events = size * count;
    let found = usize::try_from(database::events(&flow.system.pool).await?)?;
    anyhow::ensure!(found == events, "{found} of {events} events are recorded");
    let used = flow.used()?;

    // The first part warms up; then a quarter from the begin, and one from the end.
    let after_warm_up = &parts[1..];
    let quarter = after_warm_up.len().div_ceil(4);
    let (early, late) =
        (&after_warm_up[..quarter], &after_warm_up[after_warm_up.len() - quarter..]);
    let mut table = Table::new(
        format!("{events} events in {count} parts: the last quarter beside the first"),
        ["", "ratio", "first", "last", "peak"],
    );
    let rows: [(&str, Value, f64); 4] = [
        ("webhooks /s", |it| it.ingest_per_second, f64::NAN),
        ("events applied and published /s", |it| it.project_per_second, f64::NAN),
        ("resident memory of ingest, MiB", |it| it.ingest_mib, mib(used.ingest.peak_rss)),
        (
            "resident memory of the reconciler, MiB",
            |it| it.reconciler_mib,
            mib(used.reconciler.peak_rss),
        ),
    ];
    for (label, value, peak) in rows {
        let (first, last) = (median(early.iter().map(value)), median(late.iter().map(value)));
        table.row(label, [last / first, first, last, peak]);
    }
    report.add(table);
    report.add(database::sizes(&flow.system.pool, events).await?);
    Ok(report)
}
