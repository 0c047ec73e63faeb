//! `cost`: what a million events cost at a steady rate: requests to S3, calls of Firehose,
//! write-ahead log, CPU seconds.

use crate::{database, flow::Flow};
use harness::bench::{Options, Report, Table, float};

/// Objects that a segment is: itself and its manifest.
const PUTS_A_SEGMENT: f64 = 2.0;
/// What costs are told for.
const MILLION: f64 = 1e6;

/// What a person can choose.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) options: Options,
    /// Webhooks a second [default: 1000, short 100]
    #[arg(long)]
    pub(crate) rate: Option<f64>,
    /// Seconds of the run; several times the age at which a segment closes [default: 300, short 3]
    #[arg(long)]
    pub(crate) seconds: Option<u32>,
}

impl Args {
    /// The defaults.
    pub(crate) fn new(options: &Options) -> Self {
        Self { options: options.clone(), rate: None, seconds: None }
    }
}

/// Measures and tells.
pub(crate) async fn run(args: &Args) -> anyhow::Result<Report> {
    let options = &args.options;
    let mut report = Report::begin("cost", options).await?;
    let rate = args.rate.unwrap_or(options.or_short(1000.0, 100.0));
    let seconds = args.seconds.unwrap_or(options.or_short(300, 3));
    let age = options.or_short("60s", "1s");
    let roles = ["project", "archive", "publish"];
    let mut flow = Flow::start("bench_cost", &roles, &[("ARCHIVE_SEGMENT_AGE", age)]).await?;
    let before = flow.used()?;
    let wal = database::wal_bytes(&flow.system.pool).await?;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count")]
    let count = (rate * f64::from(seconds)) as usize;
    let sent = flow.send(count, Some(rate), None).await?;
    flow.finish(&roles).await?;
    let wal = database::wal_bytes(&flow.system.pool).await? - wal;
    let used = flow.used()?.cpu_since(&before);
    let found = usize::try_from(database::events(&flow.system.pool).await?)?;
    anyhow::ensure!(found == count, "{found} of {count} events are recorded");

    let segments = flow.metric("reconciler_archive_segments_total", "").await?;
    let stored = flow.metric("reconciler_archive_stored_bytes_total", "").await?;
    let calls = |sink: &'static str| {
        let flow = &flow;
        async move { flow.metric("reconciler_publish_call_seconds_count", sink).await }
    };
    let facts = flow.metric("reconciler_publish_events_total", "sink=\"firehose\"").await?;
    let (firehose, kafka) = (calls("sink=\"firehose\"").await?, calls("sink=\"kafka\"").await?);
    anyhow::ensure!(segments > 0.0 && firehose > 0.0, "nothing was archived or published");
    let million = |value: f64| value / float(count) * MILLION;
    let mut table = Table::new(
        format!("A million events at {:.0} a second, segments of {age}", sent.per_second),
        ["", "for a million events", "in this run"],
    );
    let rows = [
        ("requests to S3 (PUT): segments and manifests", segments * PUTS_A_SEGMENT),
        ("stored in S3, MB", stored / 1e6),
        ("domain events", facts),
        ("calls of Firehose", firehose),
        ("calls of Kafka, domain topic", kafka),
        ("write-ahead log of PostgreSQL, MB", wal / 1e6),
    ];
    for (label, value) in rows {
        table.row(label, [million(value), value]);
    }
    for (process, seconds) in used {
        table.row(format!("CPU seconds of {process}"), [million(seconds), seconds]);
    }
    report.add(table);
    Ok(report)
}
