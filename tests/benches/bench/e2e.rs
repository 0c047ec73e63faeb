//! `e2e`: from the answer to a webhook until its rows can be seen.
//!
//! A record's rows are committed with its partition's position. So somebody who asks for the
//! positions every two milliseconds, twelve short rows, sees when each of a partition's records
//! became visible, and costs the database next to nothing. Answers are timed by the sender, on the
//! same clock.

use crate::flow::Flow;
use anyhow::Context as _;
use harness::bench::{Options, Report, Table, float, median};
use harness::load::Latency;
use sqlx::{Connection as _, PgConnection};
use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

/// How often the positions are asked for: the measurement is late by half of it on average.
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// What a person can choose.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) options: Options,
    /// Webhooks a second [default: 1000, short 100]
    #[arg(long)]
    pub(crate) rate: Option<f64>,
    /// Seconds of a round; the first tenth does not count [default: 30, short 2]
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
    let mut report = Report::begin("e2e", options).await?;
    let rate = args.rate.unwrap_or(options.or_short(1000.0, 100.0));
    let seconds = args.seconds.unwrap_or(options.or_short(30, 2));
    let mut flow = Flow::start("bench_e2e", &["project"], &[]).await?;
    let mut rounds = Vec::new();
    for round in 0..=options.rounds() {
        eprintln!("bench: e2e, round {round} of {}, the first is a warm-up", options.rounds());
        let visible = one_round(&mut flow, rate, seconds).await?;
        if round > 0 {
            rounds.push(visible);
        }
    }
    let mut table = Table::new(
        format!("From the answer until the rows are visible, at {rate} webhooks a second"),
        ["", "p50 ms", "p90 ms", "p99 ms", "max ms", "visible before the answer"],
    );
    let of = |value: fn(&Visible) -> f64| median(rounds.iter().map(value).collect::<Vec<_>>());
    let values = [
        of(|it| it.latency.quantile_ms(0.5)),
        of(|it| it.latency.quantile_ms(0.9)),
        of(|it| it.latency.quantile_ms(0.99)),
        of(|it| it.latency.max_ms()),
        of(|it| it.early),
    ];
    table.row(format!("median of {} rounds", rounds.len()), values);
    report.add(table);
    Ok(report)
}

/// How long until rows were visible, and the share of events that were before their answer.
struct Visible {
    latency: Latency,
    early: f64,
}

async fn one_round(flow: &mut Flow, rate: f64, seconds: u32) -> anyhow::Result<Visible> {
    let answers = flow.system.logs.join("answers");
    let stop = CancellationToken::new();
    let watcher = watch(&flow.system.database_url, stop.clone()).await?;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count")]
    let count = (rate * f64::from(seconds)) as usize;
    flow.send(count, Some(rate), Some(answers.clone())).await?;
    flow.finish(&["project"]).await?;
    stop.cancel();
    let seen = watcher.await??;
    let places: BTreeMap<String, (i32, i64)> =
        sqlx::query_as("select event_id, partition, kafka_offset from pay.event")
            .fetch_all(&flow.system.pool)
            .await?
            .into_iter()
            .map(|(id, partition, offset): (String, i32, i64)| (id, (partition, offset)))
            .collect();
    let text = fs::read_to_string(&answers)?;
    let answered: Vec<(&str, u64)> = text
        .lines()
        .filter_map(|line| line.split_once(' ').and_then(|(id, at)| Some((id, at.parse().ok()?))))
        .collect();
    anyhow::ensure!(answered.len() == count, "{} of {count} answers noted", answered.len());
    let first = answered.first().context("nothing was sent")?.1;
    let warm = first + u64::from(seconds) * 100_000;
    let mut visible = Visible { latency: Latency::default(), early: 0.0 };
    let (mut counted, mut early) = (0, 0);
    for (id, at) in answered.into_iter().filter(|(_, at)| *at >= warm) {
        let (partition, offset) =
            places.get(id).with_context(|| format!("the event {id} is not recorded"))?;
        let looks = seen.get(partition).map(Vec::as_slice).unwrap_or_default();
        let shown = looks.partition_point(|(next, _)| next <= offset);
        let shown = looks.get(shown).context("an event was never seen")?.1;
        counted += 1;
        early += usize::from(shown < at);
        visible.latency.record(Duration::from_micros(shown.saturating_sub(at)));
    }
    visible.early = float(early) / float(counted);
    Ok(visible)
}

/// By partition: each new position, and when it was seen first, Unix microseconds.
type Seen = BTreeMap<i32, Vec<(i64, u64)>>;

async fn watch(
    url: &str,
    stop: CancellationToken,
) -> anyhow::Result<JoinHandle<anyhow::Result<Seen>>> {
    let mut connection = PgConnection::connect(url).await?;
    Ok(tokio::spawn(async move {
        let mut seen = Seen::new();
        let mut tick = interval(LOOK_EVERY);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while !stop.is_cancelled() {
            tick.tick().await;
            let positions: Vec<(i32, i64)> = sqlx::query_as(
                "select partition, next_offset from pay.position where role = 'project'",
            )
            .fetch_all(&mut connection)
            .await?;
            let now = u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_micros())?;
            for (partition, next) in positions {
                let looks = seen.entry(partition).or_default();
                if looks.last().is_none_or(|(last, _)| *last < next) {
                    looks.push((next, now));
                }
            }
        }
        Ok(seen)
    }))
}
