//! Follows the raw topic: keeps money state in Postgres, archives to S3, publishes to Firehose.
//!
//! The binary is a thin shell around [`run`]; what is public beside it is what the system tests
//! drive without a process in between.
#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod archive;
mod aws;
mod cli;
mod commands;
mod config;
pub mod database;
pub mod fault;
mod feed;
mod firehose;
pub mod hash;
mod mask;
mod pipeline;
mod position;
mod project;
mod publish;
mod s3;
pub mod store;

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
    runtime.block_on(async {
        match cli.command {
            Command::Run(settings) => pipeline::run(*settings).await,
            Command::Migrate(database) => commands::migrate::run(&database).await,
            Command::Hash(read) => commands::hash::run(&read).await,
            Command::Inspect(asked) => commands::inspect::run(&asked).await,
            Command::Tail(read) => commands::tail::run(&read).await,
        }
    })
}
