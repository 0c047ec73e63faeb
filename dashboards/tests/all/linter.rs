//! The rules of Grafana's dashboard linter (github.com/grafana/dashboard-linter), and some of ours: a
//! dashboard imports as it is, and all that it links to is there.

use crate::promql::selectors;
use crate::promtool::targets;
use dashboards::boards;
use dashboards::rules::alerts;
use dashboards::settings::RUNBOOK;
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// Units of Grafana that the linter knows and that we use.
const UNITS: [&str; 6] = ["short", "ops", "s", "bytes", "binBps", "percentunit"];
/// Least time between two refreshes, in seconds.
const REFRESH: u64 = 30;

fn all() -> Vec<Value> {
    boards::all().iter().map(dashboards::board::Board::json).collect()
}

fn list<'a>(value: &'a Value, field: &str) -> &'a Vec<Value> {
    value[field].as_array().unwrap()
}

/// Panels but for headings, with a name for messages.
fn panels(board: &Value) -> Vec<(String, &Value)> {
    let panels = list(board, "panels").iter().filter(|panel| panel["type"] != "row");
    panels.map(|panel| (format!("{}: {}", board["title"], panel["title"]), panel)).collect()
}

#[test]
fn a_dashboard_imports_as_it_is() {
    let mut uids = BTreeSet::new();
    for board in all() {
        assert!(board["id"].is_null() && board.get("__inputs").is_none(), "{}", board["title"]);
        assert!(uids.insert(board["uid"].as_str().unwrap().to_owned()));
        assert!(board["uid"].as_str().unwrap().len() <= 40);
        assert_eq!(board["editable"], json!(false), "it is made from code");
        let refresh = board["refresh"].as_str().unwrap();
        let seconds: u64 = match refresh.split_at(refresh.len() - 1) {
            (number, "s") => number.parse().unwrap(),
            (number, "m") => number.parse::<u64>().unwrap() * 60,
            _ => panic!("refresh {refresh}"),
        };
        assert!(seconds >= REFRESH, "refresh {refresh} is too quick");
    }
    assert_eq!(uids.len(), 4);
}

#[test]
fn variables_are_datasource_job_and_instance() {
    for board in all() {
        let [source, job, instance] = &list(&board["templating"], "list")[..] else {
            panic!("{}: variables", board["title"]);
        };
        assert_eq!(source["type"], "datasource");
        assert_eq!(
            (&source["name"], &source["label"]),
            (&json!("datasource"), &json!("Data source"))
        );
        assert_eq!(source["query"], "prometheus");
        for (variable, name, label) in [(job, "job", "Job"), (instance, "instance", "Instance")] {
            assert_eq!((&variable["name"], &variable["label"]), (&json!(name), &json!(label)));
            assert_eq!((&variable["type"], &variable["allValue"]), (&json!("query"), &json!(".+")));
            assert_eq!(variable["datasource"]["uid"], "${datasource}");
            let [multi, all, refresh] = ["multi", "includeAll", "refresh"].map(|f| &variable[f]);
            assert_eq!([multi, all, refresh], [&json!(true), &json!(true), &json!(2)]);
            let query = variable["query"]["query"].as_str().unwrap();
            let values = query.strip_prefix("label_values(").and_then(|q| q.strip_suffix(')'));
            let (series, of) = values.unwrap().rsplit_once(", ").unwrap();
            assert_eq!((selectors(series).len(), of), (1, name));
        }
    }
}

#[test]
fn every_panel_has_title_description_unit_datasource_and_queries() {
    for board in all() {
        for (name, panel) in panels(&board) {
            assert!(!panel["title"].as_str().unwrap().is_empty(), "{name}: title");
            let description = panel["description"].as_str().unwrap();
            assert!(description.len() > 20 && description.ends_with('.'), "{name}: description");
            let unit = panel["fieldConfig"]["defaults"]["unit"].as_str().unwrap();
            assert!(UNITS.contains(&unit), "{name}: unit {unit}");
            assert!(panel["fieldConfig"]["defaults"]["thresholds"]["steps"].is_array(), "{name}");
            assert!(!list(panel, "targets").is_empty(), "{name}: no query");
            let sources = list(panel, "targets").iter().chain([panel]);
            for source in sources.map(|one| &one["datasource"]["uid"]) {
                assert_eq!(source, "${datasource}", "{name}: datasource");
            }
            let legends = list(panel, "targets").iter().map(|target| &target["legendFormat"]);
            let is_lines = panel["type"] == "timeseries";
            assert!(legends.into_iter().all(|legend| !is_lines || legend != ""), "{name}: legend");
        }
    }
}

#[test]
fn every_query_asks_what_is_chosen_at_the_dashboard_s_resolution() {
    for board in all() {
        for query in targets(&board) {
            for selector in selectors(&query) {
                for label in ["job", "instance"] {
                    let chosen = format!(r#"{label}=~"${label}""#);
                    assert!(selector.matchers.contains(&chosen), "{label} in {query}");
                }
                let is_rate = ["rate", "irate"].contains(&&*selector.function);
                assert!(!is_rate || selector.range == "$__rate_interval", "range in {query}");
                let counts = ["_total", "_count", "_bucket", "_sum"];
                let is_counter = counts.iter().any(|end| selector.metric.ends_with(end));
                let is_grown = is_rate || selector.function == "increase";
                assert_eq!(is_counter, is_grown, "{} in {query}", selector.metric);
            }
        }
    }
}

#[test]
fn what_is_linked_is_there() {
    let names: BTreeSet<String> = alerts().iter().map(|alert| alert.name.to_lowercase()).collect();
    let boards = all();
    let mut linked = BTreeSet::new();
    for board in &boards {
        assert!(list(board, "links").iter().any(|link| link["url"] == RUNBOOK));
        assert!(list(board, "links").iter().any(|link| link["type"] == "dashboards"));
        for (name, panel) in panels(board) {
            for link in list(panel, "links") {
                let url = link["url"].as_str().unwrap();
                if let Some(uid) = url.strip_prefix("/d/") {
                    let uid = uid.split('?').next().unwrap();
                    assert!(boards.iter().any(|board| board["uid"] == uid), "{name}: {url}");
                } else {
                    let anchor = url.strip_prefix(RUNBOOK).and_then(|url| url.strip_prefix('#'));
                    let anchor = anchor.unwrap_or_else(|| panic!("{name}: {url}"));
                    assert!(names.contains(anchor), "{name}: no alert {anchor}");
                    linked.insert(anchor.to_owned());
                }
            }
        }
    }
    let unseen: Vec<_> = names.difference(&linked).collect();
    assert!(unseen.is_empty(), "alerts that no panel shows: {unseen:?}");
}

#[test]
fn panels_do_not_overlap() {
    for board in all() {
        let mut taken = BTreeSet::new();
        for panel in list(&board, "panels") {
            let [x, y, w, h] =
                ["x", "y", "w", "h"].map(|side| panel["gridPos"][side].as_u64().unwrap());
            assert!(x + w <= 24, "{}", panel["title"]);
            for place in (x..x + w).flat_map(|x| (y..y + h).map(move |y| (x, y))) {
                assert!(taken.insert(place), "{}: {} overlaps", board["title"], panel["title"]);
            }
        }
    }
}
