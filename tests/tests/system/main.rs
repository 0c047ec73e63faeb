//! System tests, on real servers: `./dev test` starts them. Each test has a topic, a database,
//! prefixes and ports of its own.
#![allow(clippy::unwrap_used)]

mod archive;
mod archive_document;
mod attack;
mod attempts;
mod breaker;
mod changes;
mod configuration;
mod console;
mod consumer;
mod erase;
mod flow;
mod forecast;
mod http;
mod inputs;
mod inspect;
mod interleaving;
mod ledger;
mod metrics;
mod migrate;
mod observed;
mod projection;
mod quarantine;
mod raw;
mod rebuild;
mod reconciler;
mod redrive;
mod registers;
mod replay;
mod republish;
mod signatures;
mod sinks;
mod traces;
mod verify;
mod way;

use harness::stack::Stack;
use harness::system::System;

/// Partitions of a test's topic.
const PARTITIONS: i32 = 4;

/// A run of its own on the stack that the environment names.
async fn system(name: &str) -> System {
    let stack = Stack::from_env().await.unwrap_or_else(|error| panic!("{error}"));
    System::create(&stack, name, PARTITIONS).await.unwrap()
}
