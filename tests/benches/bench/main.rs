//! `./dev bench NAME`: speed as a ratio to a floor that is taken in the same run, on real servers.
//!
//! One executable, for each costs a link: a module for a benchmark, and hidden commands for the
//! processes that a benchmark starts beside the real ones. docs/BENCHMARKS.md tells what each
//! measures.
#![forbid(unsafe_code)]

mod bodies;
mod cost;
mod database;
mod e2e;
mod fill;
mod flow;
mod ingest;
mod load;
mod memory;
mod project;
mod rebuild;

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use harness::bench::{Options, Report};
use serde_json::json;
use service::exit::{self, Outcome};
use std::process::ExitCode;
use tokio::runtime;

/// Measure the system against floors: the least programs that could do the same.
///
/// Needs the stack's servers and the built binaries: `./dev bench NAME` starts and builds both. Fails
/// if any request is not answered 2xx or anything is not as it must be.
#[derive(Debug, Parser)]
#[command(name = "bench", after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "\
Examples:
  ./dev bench ingest                 tables in Markdown, ratios first
  ./dev bench ingest --rounds 9 --json > ingest.json
  ./dev bench all --short            checks that every benchmark works";

#[derive(Debug, Subcommand)]
enum Command {
    /// Webhooks a second, CPU, latency and memory of ingest, against bare hyper and rdkafka
    Ingest(ingest::Args),
    /// Events a second of the projector, against the same rows written by who knows them already
    Project(project::Args),
    /// From a webhook's answer until its rows are visible, at a steady rate
    E2e(e2e::Args),
    /// Memory and speed over a long run, and bytes an event in PostgreSQL
    Memory(memory::Args),
    /// Requests to S3 and Firehose, WAL and CPU seconds of a million events
    Cost(cost::Args),
    /// The state once more from the archive, against live projection of the same records
    Rebuild(rebuild::Args),
    /// Every benchmark, one after the other
    All(Options),
    /// Sends requests; started by benchmarks
    #[command(hide = true)]
    Load(load::Args),
    /// Receives requests as the least program would; started by benchmarks
    #[command(hide = true)]
    Floor(ingest::floor::Args),
}

fn main() -> ExitCode {
    exit::code(run(exit::parse::<Cli>().command).map(|()| Outcome::Done))
}

fn run(command: Command) -> anyhow::Result<()> {
    match command {
        // One thread: what sends takes as little as it can from what is measured.
        Command::Load(args) => single()?.block_on(load::run(&args)),
        Command::Floor(args) => many()?.block_on(ingest::floor::run(&args)),
        command => many()?.block_on(async {
            let (options, reports) = measure(command).await?;
            print(&options, &reports);
            Ok(())
        }),
    }
}

async fn measure(command: Command) -> anyhow::Result<(Options, Vec<Report>)> {
    Ok(match command {
        Command::Ingest(args) => (args.options.clone(), vec![ingest::run(&args).await?]),
        Command::Project(args) => (args.options.clone(), vec![project::run(&args).await?]),
        Command::E2e(args) => (args.options.clone(), vec![e2e::run(&args).await?]),
        Command::Memory(args) => (args.options.clone(), vec![memory::run(&args).await?]),
        Command::Cost(args) => (args.options.clone(), vec![cost::run(&args).await?]),
        Command::Rebuild(args) => (args.options.clone(), vec![rebuild::run(&args).await?]),
        Command::All(options) => {
            let reports = vec![
                ingest::run(&ingest::Args::new(&options)).await.context("ingest")?,
                project::run(&project::Args::new(&options)).await.context("project")?,
                e2e::run(&e2e::Args::new(&options)).await.context("e2e")?,
                memory::run(&memory::Args::new(&options)).await.context("memory")?,
                cost::run(&cost::Args::new(&options)).await.context("cost")?,
                rebuild::run(&rebuild::Args::new(&options)).await.context("rebuild")?,
            ];
            (options, reports)
        }
        Command::Load(_) | Command::Floor(_) => unreachable!("processes of their own"),
    })
}

fn print(options: &Options, reports: &[Report]) {
    match reports {
        [report] if options.json => println!("{}", report.to_json()),
        _ if options.json => {
            println!("{}", json!(reports.iter().map(Report::to_json).collect::<Vec<_>>()));
        }
        _ => reports.iter().for_each(|report| println!("{}", report.to_markdown())),
    }
}

fn many() -> anyhow::Result<runtime::Runtime> {
    Ok(runtime::Builder::new_multi_thread().enable_all().build()?)
}

fn single() -> anyhow::Result<runtime::Runtime> {
    Ok(runtime::Builder::new_current_thread().enable_all().build()?)
}
