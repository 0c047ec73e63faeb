//! What both binaries share of Kafka: the client's settings, and what the raw topic is like.
#![deny(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod describe_topics;
mod headers;
pub mod metrics;
mod options;
pub mod topic;

pub use headers::headers;
pub use options::{Options, refused, without_brokers};
pub use topic::Quiet;
