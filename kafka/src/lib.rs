//! What both binaries share of Kafka: the client's settings, and what the raw topic is like.
#![deny(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod describe_topics;
mod options;
pub mod topic;

pub use options::{Options, refused, without_brokers};
