//! The dashboards. Each begins with the same row, so that whichever is opened says which part it is.

mod ingest;
mod money;
mod part;
mod programs;
mod reconciler;
mod stripe;

use self::part::which_part;
use self::programs::{kafka_clients, processes};
use crate::board::Board;
use crate::panel::{Kind, Panel, Unit, panel};

const INGEST: &str = "stripe-ingest";
const RECONCILER: &str = "stripe-reconciler";
const MONEY: &str = "stripe-money";
const STRIPE: &str = "stripe-stripe";

/// All of them.
pub fn all() -> Vec<Board> {
    vec![ingest::board(), reconciler::board(), money::board(), stripe::board()]
}

/// A quantile of a histogram, by these labels too.
fn quantile(q: f64, metric: &str, matchers: &str, by: &str) -> String {
    let by = if by.is_empty() { "le".to_owned() } else { format!("le, {by}") };
    format!(
        "histogram_quantile({q}, sum by ({by}) (rate({metric}_bucket{{{matchers}}}[<window>])))"
    )
}

/// A bare panel.
fn lines(title: &'static str, unit: Unit, width: u32, description: &'static str) -> Panel {
    panel(Kind::Lines, title, unit, width, description)
}

/// A bare panel whose parts add up.
fn areas(title: &'static str, unit: Unit, width: u32, description: &'static str) -> Panel {
    panel(Kind::Areas, title, unit, width, description)
}

/// A bare number.
fn stat(title: &'static str, unit: Unit, width: u32, description: &'static str) -> Panel {
    panel(Kind::Stat, title, unit, width, description)
}
