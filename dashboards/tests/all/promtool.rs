//! promtool's word: rules are valid, cases hold, and every query of a panel is PromQL.

use dashboards::boards;
use serde_json::Value;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;

fn promtool(arguments: &[&str]) {
    let output = Command::new("promtool")
        .args(arguments)
        .current_dir(dashboards::directory())
        .output()
        .expect("promtool; it comes with Prometheus");
    let (out, err) = (&output.stdout, &output.stderr);
    let said = format!("{}{}", String::from_utf8_lossy(out), String::from_utf8_lossy(err));
    assert!(output.status.success(), "promtool {}: {said}", arguments.join(" "));
}

fn files(end: &str) -> Vec<String> {
    let names = dashboards::files().into_iter().map(|(name, _)| name);
    names.filter(|name| name.ends_with(end)).collect()
}

#[test]
fn rules_are_valid() {
    let files = files(".rules.yml");
    assert!(files.len() >= 4);
    for file in files {
        promtool(&["check", "rules", &file]);
    }
}

#[test]
fn alerts_fire_and_are_quiet_as_their_cases_say() {
    for file in files(".test.yml") {
        promtool(&["test", "rules", &file]);
    }
}

#[test]
fn every_query_of_a_panel_is_promql() {
    let mut rules = "groups:\n  - name: panels\n    rules:\n".to_owned();
    let mut count = 0;
    for board in boards::all() {
        for target in targets(&board.json()) {
            let query = target.replace("$__rate_interval", "1m").replace("$job", "x");
            let query = Value::from(query.replace("$instance", "x"));
            count += 1;
            writeln!(rules, "      - record: panel{count}\n        expr: {query}").unwrap();
        }
    }
    assert!(count > 80, "{count}");
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("panels.rules.yml");
    fs::write(&path, rules).unwrap();
    promtool(&["check", "rules", path.to_str().unwrap()]);
}

/// The queries of a dashboard's panels.
pub(crate) fn targets(board: &Value) -> Vec<String> {
    let panels = board["panels"].as_array().unwrap().iter();
    let targets = panels.filter_map(|panel| panel["targets"].as_array()).flatten();
    targets.map(|target| target["expr"].as_str().unwrap().to_owned()).collect()
}
