//! `demo`: whole payment lifecycles through every real part, with a report.
#![forbid(unsafe_code)]

use clap::Parser;
use harness::demo::{self, Options};
use service::exit::{self, Outcome};
use service::units;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

/// Send whole payment lifecycles through ingest, Kafka, the reconciler, PostgreSQL, S3 and
/// Firehose, and compare what is found there with what was sent.
///
/// Started by `./dev demo`, which brings up the servers. Each run has a topic, a database, a
/// delivery stream and prefixes of its own, and takes them away at the end. Events are repeated and
/// sent in random order.
///
/// Exit codes: 0 everything found is what was sent, 1 it is not, 2 bad usage.
#[derive(Debug, Parser)]
#[command(name = "demo", version)]
struct Cli {
    /// Leave everything running, and say where to look
    #[arg(long)]
    keep: bool,
    /// Lifecycles to send; forty are one of each kind
    #[arg(long, value_name = "N", default_value_t = 120)]
    lifecycles: usize,
    /// Share of requests that are sent twice, 0 to 1
    #[arg(long, value_name = "SHARE", default_value_t = 0.2)]
    duplicates: f64,
    /// The same seed makes the same events in the same order
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Folder of real payloads; sent too where it is there [default: beside the project]
    #[arg(long, env)]
    corpus_dir: Option<PathBuf>,
    /// Longest that each part may take to finish
    #[arg(long, default_value = "120s", value_parser = units::duration)]
    deadline: Duration,
}

fn main() -> ExitCode {
    let cli: Cli = exit::parse();
    let options = Options {
        lifecycles: cli.lifecycles,
        duplicates: cli.duplicates,
        seed: cli.seed,
        corpus: cli.corpus_dir.unwrap_or_else(demo::default_corpus),
        deadline: cli.deadline,
        keep: cli.keep,
    };
    match demo::play_blocking(&options) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => exit::code(Err::<Outcome, _>(error)),
    }
}
