//! One text of PromQL for rules and panels, with places for what differs between them.

use crate::settings::{INGEST_JOB, RECONCILER_JOB};

/// Matchers of a panel: what the dashboard's variables choose.
const CHOSEN: &str = r#"job=~"$job", instance=~"$instance""#;

/// The query as a rule asks it. `<ingest>`, `<reconciler>` and `<both>` stand for the matchers of
/// the programs' jobs; what a rule asks over a time names that itself (see [`over`]).
pub fn in_rule(query: &str) -> String {
    query
        .replace("<ingest>", &format!(r#"job="{INGEST_JOB}""#))
        .replace("<reconciler>", &format!(r#"job="{RECONCILER_JOB}""#))
        .replace("<both>", &format!(r#"job=~"{INGEST_JOB}|{RECONCILER_JOB}""#))
}

/// The query as a panel asks it: of the chosen jobs and instances, at the dashboard's resolution.
pub fn in_panel(query: &str) -> String {
    let query = ["<ingest>", "<reconciler>", "<both>"]
        .iter()
        .fold(query.to_owned(), |query, place| query.replace(place, CHOSEN));
    over(&query, "$__rate_interval")
}

/// The query with `<window>` filled in.
pub fn over(query: &str, window: &str) -> String {
    query.replace("<window>", window)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_asks_a_job_and_a_panel_what_is_chosen() {
        let query = "sum(rate(x_total{<ingest>}[<window>]))";
        assert_eq!(in_rule(&over(query, "5m")), r#"sum(rate(x_total{job="ingest"}[5m]))"#);
        let panel = r#"sum(rate(x_total{job=~"$job", instance=~"$instance"}[$__rate_interval]))"#;
        assert_eq!(in_panel(query), panel);
        assert_eq!(in_rule("up{<both>}"), r#"up{job=~"ingest|reconciler"}"#);
    }
}
