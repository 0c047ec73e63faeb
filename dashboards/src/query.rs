//! One text of PromQL for rules and panels, with places for what differs between them: `<ingest>`,
//! `<reconciler>` and `<both>` for the matchers of the programs, `<window>` for a time.

use crate::settings::{INGEST_JOB, RECONCILER_JOB};

/// What a dashboard's variables choose.
const CHOSEN: &str = r#"job=~"$job", instance=~"$instance""#;

/// The places in a query, and the matchers of the programs that they stand for.
fn places() -> [(&'static str, String); 3] {
    [
        ("<ingest>", format!(r#"job="{INGEST_JOB}""#)),
        ("<reconciler>", format!(r#"job="{RECONCILER_JOB}""#)),
        ("<both>", format!(r#"job=~"{INGEST_JOB}|{RECONCILER_JOB}""#)),
    ]
}

/// The query as a rule asks it; over a time that it names itself (see [`over`]).
pub fn in_rule(query: &str) -> String {
    let fill = |query: String, (place, matchers): (&str, String)| query.replace(place, &matchers);
    places().into_iter().fold(query.to_owned(), fill)
}

/// The query as a panel asks it: only of what the dashboard's variables choose, at its resolution.
pub fn in_panel(query: &str) -> String {
    let fill = |query: String, (place, matchers): (&str, String)| {
        query.replace(place, &format!("{matchers}, {CHOSEN}"))
    };
    over(&places().into_iter().fold(query.to_owned(), fill), "$__rate_interval")
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
        let panel = r#"sum(rate(x_total{job="ingest", job=~"$job", instance=~"$instance"}[$__rate_interval]))"#;
        assert_eq!(in_panel(query), panel);
        assert_eq!(in_rule("up{<both>}"), r#"up{job=~"ingest|reconciler"}"#);
    }
}
