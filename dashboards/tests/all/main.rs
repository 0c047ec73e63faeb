//! What is rendered: the committed files, the alerts and their runbook, the metrics that are used, and
//! the rules that dashboards are held to.
#![allow(clippy::unwrap_used)]

mod alerts;
mod linter;
mod metrics;
mod promql;
mod promtool;
mod rendered;
mod runbook;

use std::fs;

/// A document of the project.
fn document(name: &str) -> String {
    fs::read_to_string(dashboards::directory().join("../docs").join(name)).unwrap()
}
