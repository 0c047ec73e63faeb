//! A dashboard: its variables, links and rows of panels, as Grafana imports it.

use crate::panel::{Panel, source};
use crate::query::in_rule;
use crate::settings::{REFRESH, RUNBOOK, TAG, TIME_RANGE};
use serde_json::{Value, json};

/// Width of the screen's grid.
const COLUMNS: u32 = 24;

/// One dashboard.
#[derive(Debug)]
pub struct Board {
    /// Fixed id, also the name of its file.
    pub uid: &'static str,
    /// What people read.
    pub title: &'static str,
    /// What it is for.
    pub description: &'static str,
    /// Rows from top to bottom.
    pub rows: Vec<Row>,
}

/// Panels under a heading.
#[derive(Debug)]
pub struct Row {
    /// The heading: a question that the row answers.
    pub title: &'static str,
    /// From left to right.
    pub panels: Vec<Panel>,
}

impl Row {
    /// These panels under this heading.
    pub fn new<const N: usize>(title: &'static str, panels: [Panel; N]) -> Self {
        Self { title, panels: panels.into() }
    }
}

impl Board {
    /// The dashboard's JSON: no id of an instance, no inputs, so that it imports as it is.
    pub fn json(&self) -> Value {
        json!({
            "id": null,
            "uid": self.uid,
            "title": self.title,
            "description": self.description,
            "tags": [TAG],
            "schemaVersion": 39,
            "version": 1,
            "editable": false,
            "graphTooltip": 1,
            "refresh": REFRESH,
            "time": {"from": format!("now-{TIME_RANGE}"), "to": "now"},
            "timezone": "utc",
            "timepicker": {},
            "annotations": {"list": []},
            "fiscalYearStartMonth": 0,
            "liveNow": false,
            "weekStart": "",
            "links": [
                {"type": "dashboards", "title": "Stripe", "tags": [TAG], "asDropdown": false,
                 "includeVars": true, "keepTime": true, "targetBlank": false, "icon": "dashboard",
                 "tooltip": "", "url": ""},
                {"type": "link", "title": "Runbook", "url": RUNBOOK, "icon": "doc", "tags": [],
                 "asDropdown": false, "includeVars": false, "keepTime": false, "targetBlank": true,
                 "tooltip": "What each alert means and what to do"},
            ],
            "templating": {"list": [
                datasource(),
                chosen("job", "Job", "label_values(up{<both>}, job)"),
                chosen("instance", "Instance", r#"label_values(up{job=~"$job"}, instance)"#),
            ]},
            "panels": self.panels(),
        })
    }

    fn panels(&self) -> Vec<Value> {
        let (mut panels, mut id, mut y) = (Vec::new(), 0, 0);
        for row in &self.rows {
            id += 1;
            panels.push(json!({
                "id": id, "type": "row", "title": row.title, "collapsed": false, "panels": [],
                "gridPos": {"x": 0, "y": y, "w": COLUMNS, "h": 1},
            }));
            y += 1;
            let (mut x, mut height) = (0, 0);
            for panel in &row.panels {
                if x + panel.width > COLUMNS {
                    y += height;
                    (x, height) = (0, 0);
                }
                id += 1;
                panels.push(panel.json(id, (x, y)));
                x += panel.width;
                height = height.max(panel.height());
            }
            y += height;
        }
        panels
    }
}

fn datasource() -> Value {
    json!({"type": "datasource", "name": "datasource", "label": "Data source", "query": "prometheus",
        "current": {}, "hide": 0, "refresh": 1, "regex": "", "multi": false, "includeAll": false})
}

fn chosen(name: &str, label: &str, query: &str) -> Value {
    json!({"type": "query", "name": name, "label": label, "datasource": source(),
        "query": {"query": in_rule(query), "refId": name}, "definition": in_rule(query),
        "multi": true, "includeAll": true, "allValue": ".+",
        "current": {"text": "All", "value": "$__all"}, "refresh": 2, "sort": 1, "hide": 0,
        "regex": ""})
}
