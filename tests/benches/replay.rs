//! How fast a replay from the archive is, against live projection of the same records, and how its
//! memory depends on the archive's size. Both run from an empty database, in turn, in one run: only
//! the ratios mean something.
//!
//! `./dev bench replay`, of `BENCH_LIFECYCLES` (4000); without `--bench`, as the tests run it, it is short and checks only that it
//! works.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used)]

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use domain::record::header;
use harness::process::Process;
use harness::stack::Stack;
use harness::system::System;
use lifecycles::{Delivery, Event, Stripe};
use rdkafka::message::{Header, OwnedHeaders};

/// Partitions of the topic.
const PARTITIONS: i32 = 4;
/// Records that are written at once.
const AT_ONCE: usize = 2000;
/// For whatever is waited for.
const DEADLINE: Duration = Duration::from_mins(10);

/// How much is measured.
struct Size {
    lifecycles: usize,
    rounds: usize,
}

/// One way of filling an empty database.
struct Run {
    seconds: f64,
    /// Largest resident memory of the process, MiB.
    peak_mib: f64,
    hash: String,
}

fn main() -> anyhow::Result<()> {
    let is_bench = std::env::args().any(|argument| argument == "--bench");
    let lifecycles = match std::env::var("BENCH_LIFECYCLES") {
        Ok(number) => number.parse().context("BENCH_LIFECYCLES")?,
        Err(_) => 4000,
    };
    let size =
        if is_bench { Size { lifecycles, rounds: 3 } } else { Size { lifecycles: 30, rounds: 1 } };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(measure(&size))
}

async fn measure(size: &Size) -> anyhow::Result<()> {
    let stack = Stack::from_env().await?;
    let system = System::create(&stack, "bench_replay", PARTITIONS).await?;
    let records = write(&system, size.lifecycles).await?;
    let archiver =
        system.reconciler("archive", "archive", &[("ARCHIVE_SEGMENT_RECORDS", "500")]).await?;
    system.caught_up(&["archive"], DEADLINE).await?;
    ensure!(archiver.process.terminate(DEADLINE).await?.success(), "the archiver failed");
    let listed = stack.aws.list(&stack.archive_bucket, &format!("{}/", system.id)).await?;
    let bytes: i64 = listed.iter().map(|(_, size)| size).sum();

    let (mut live, mut replay) = (Vec::new(), Vec::new());
    for round in 0..size.rounds {
        live.push(project(&system, round).await?);
        replay.push(replay_archive(&system, &format!("all-{round}"), &[]).await?);
    }
    ensure!(
        live.iter().chain(&replay).all(|run| run.hash == live[0].hash),
        "a replay came to another state than live projection"
    );
    // Of every partition, so that as many lanes are at work.
    let part = (records / 4).to_string();
    let quarter = replay_archive(&system, "quarter", &["--limit", &part]).await?;

    let (live_seconds, replay_seconds) =
        (median(&live, |it| it.seconds), median(&replay, |it| it.seconds));
    let peak = median(&replay, |it| it.peak_mib);
    #[expect(clippy::cast_precision_loss, reason = "figures for people")]
    let (count, mib) = (records as f64, bytes as f64 / f64::from(1 << 20));
    println!("{records} records, {mib:.1} MiB of archive, {} rounds, medians", size.rounds);
    println!("live projection      {live_seconds:7.2} s  {:6.0} records/s", count / live_seconds);
    println!(
        "replay archive       {replay_seconds:7.2} s  {:6.0} records/s",
        count / replay_seconds
    );
    println!("replay is {:.2} times as fast as live projection", live_seconds / replay_seconds);
    println!(
        "peak memory of replay: {peak:.0} MiB; of a quarter of the archive: {:.0} MiB",
        quarter.peak_mib
    );
    println!("four times the archive takes {:.2} times the memory", peak / quarter.peak_mib);
    Ok(())
}

/// Writes the events of whole lifecycles, shuffled. Returns how many.
async fn write(system: &System, lifecycles: usize) -> anyhow::Result<usize> {
    let lives = Stripe::new(1, 1_760_000_000).mixed(lifecycles);
    let mut events: Vec<Event> = lives.into_iter().flat_map(|life| life.events).collect();
    Delivery::new(1).shuffle(&mut events);
    for part in events.chunks(AT_ONCE) {
        let record = |event: &Event| {
            let source = Header { key: header::SOURCE, value: Some("webhook") };
            let body = event.to_body().into_bytes();
            (partition(&body), OwnedHeaders::new().insert(source), Some(body))
        };
        system.topic.write(part.iter().map(record)).await?;
    }
    Ok(events.len())
}

/// The partition of a body's key: as with ingest, one payment's events are mostly in one.
fn partition(body: &[u8]) -> i32 {
    let key = domain::peek::peek(body).key;
    let sum: u32 = key.bytes().fold(7, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into()));
    i32::try_from(sum >> 1).unwrap_or(0) % PARTITIONS
}

/// Live projection of the whole topic into an empty database.
async fn project(system: &System, round: usize) -> anyhow::Result<Run> {
    system.empty_database().await?;
    let started = Instant::now();
    let run = system.start_reconciler(&format!("live-{round}"), "project", &[])?;
    system.caught_up(&["project"], DEADLINE).await?;
    let seconds = started.elapsed().as_secs_f64();
    let peak_mib = peak_mib(run.process.id()).context("reading its memory")?;
    run.process.terminate(DEADLINE).await?;
    Ok(Run { seconds, peak_mib, hash: system.command("reconciler", &["hash"])? })
}

/// A replay of the archive into an empty database.
async fn replay_archive(system: &System, name: &str, more: &[&str]) -> anyhow::Result<Run> {
    system.empty_database().await?;
    let started = Instant::now();
    // Less than the archive, so that memory shows whether it depends on that.
    let bounded = ["replay", "archive", "--yes", "--ahead-bytes", "8MiB"];
    let arguments = [&bounded, more].concat();
    let process = Process::start("reconciler", &arguments, &system.env(), &system.logs, name)?;
    let (mut peak, id) = (0.0_f64, process.id());
    let ended = process.ended(DEADLINE);
    tokio::pin!(ended);
    let status = loop {
        tokio::select! {
            status = &mut ended => break status?,
            () = tokio::time::sleep(Duration::from_millis(20)) => {
                peak = peak.max(peak_mib(id).unwrap_or(0.0));
            }
        }
    };
    let seconds = started.elapsed().as_secs_f64();
    ensure!(status.success(), "the replay failed: {status}");
    Ok(Run { seconds, peak_mib: peak, hash: system.command("reconciler", &["hash"])? })
}

/// Largest resident memory of a process so far, as proc(5) has it.
fn peak_mib(id: u32) -> Option<f64> {
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    let kib: f64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib / 1024.0)
}

fn median(runs: &[Run], of: impl Fn(&Run) -> f64) -> f64 {
    let mut values: Vec<f64> = runs.iter().map(of).collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
