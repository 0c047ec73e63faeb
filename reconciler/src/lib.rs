//! Follows the raw topic: keeps money state in Postgres, archives to S3, publishes to Firehose
//! and Kafka.
//!
//! The binary is a thin shell around [`run`]; what is public beside it is what the system tests
//! drive without a process in between.
#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod archive;
mod aws;
mod breaker;
mod cli;
mod commands;
mod config;
mod console;
pub mod database;
mod domain_topic;
pub mod fault;
mod feed;
mod firehose;
pub mod hash;
mod isolate;
mod mask;
mod metrics;
mod operation;
mod pipeline;
mod position;
mod project;
mod publish;
mod rebuild;
mod republish;
mod s3;
mod sample;
pub mod sink;
mod source;
pub mod store;
mod story;

use anyhow::Context as _;
use service::exit::Outcome;
use service::logs;

pub use crate::cli::Cli;
use crate::cli::Command;

/// Carries out the command.
pub fn run(cli: Cli) -> anyhow::Result<Outcome> {
    logs::init(&cli.logs)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("starting the runtime")?;
    let outcome = runtime.block_on(async {
        match cli.command {
            Command::Run(settings) => pipeline::run(*settings).await,
            Command::Migrate { by, database } => commands::migrate::run(&by, &database).await,
            Command::Archive { command } => commands::archive::run(*command).await,
            Command::Hash(read) => commands::hash::run(&read).await,
            Command::Inspect(asked) => commands::inspect::run(&asked).await,
            Command::Console(arguments) => console::run(&arguments).await,
            Command::Tail(read) => commands::tail::run(&read).await,
            Command::Rebuild(arguments) => commands::rebuild::run(&arguments).await,
            Command::Republish(arguments) => commands::republish::run(&arguments).await,
            Command::Operations(asked) => commands::operations::run(&asked).await,
            Command::Replay { command } => commands::replay::run(*command).await,
            Command::Completions(args) => args.print::<Cli>("reconciler"),
            Command::Quarantine { command } => commands::quarantine::run(command).await,
        }
    });
    // A question to Kafka or a stuck consumer may block a thread: nothing waits for that any more.
    runtime.shutdown_background();
    outcome
}
