//! What both binaries share around their core: secrets, logs, metrics, traces, the admin listener,
//! signals, what they print and exit codes. Nothing here knows about Stripe, Kafka or Postgres.
#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod admin;
pub mod completions;
pub mod exit;
pub mod logs;
pub mod metrics;
pub mod secret;
pub mod signals;
pub mod stdout;
pub mod traces;
pub mod units;
