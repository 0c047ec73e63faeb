//! What tests, demo and load share: sending webhooks, and running the system on real servers.
#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod bench;
pub mod comparison;
pub mod demo;
pub mod domain_events;
pub mod inputs;
pub mod load;
pub mod metrics;
pub mod process;
pub mod stack;
pub mod system;
pub mod topic;
