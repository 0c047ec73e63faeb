//! Panels, as Grafana reads them.

use crate::query::in_panel;
use crate::settings::RUNBOOK;
use serde_json::{Value, json};

/// How a panel shows its queries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The newest value, large.
    Stat,
    /// The newest value as a word: `ok` at zero, `look` above.
    State,
    /// Lines over time.
    Lines,
    /// Areas over time that add up.
    Areas,
}

/// Units by Grafana's names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// A number of things.
    Count,
    /// Things a second.
    PerSecond,
    /// Seconds.
    Seconds,
    /// Bytes.
    Bytes,
    /// Bytes a second.
    BytesPerSecond,
    /// A share from 0 to 1.
    Share,
}

impl Unit {
    const fn id(self) -> &'static str {
        match self {
            Self::Count => "short",
            Self::PerSecond => "ops",
            Self::Seconds => "s",
            Self::Bytes => "bytes",
            Self::BytesPerSecond => "binBps",
            Self::Share => "percentunit",
        }
    }
}

/// From where on a value is coloured.
#[derive(Debug, Clone, Copy)]
pub enum Steps {
    /// Green whatever it is.
    None,
    /// Red from here on.
    Bad(f64),
    /// Orange from the first, red from the second on.
    WarnBad(f64, f64),
    /// Red below this.
    Low(f64),
}

/// One panel.
#[derive(Debug)]
#[must_use]
pub struct Panel {
    kind: Kind,
    pub(crate) title: &'static str,
    description: &'static str,
    unit: Unit,
    queries: Vec<(String, &'static str)>,
    steps: Steps,
    /// Alerts whose section of the runbook it links to.
    pub(crate) alerts: &'static [&'static str],
    /// Dashboard that tells more.
    board: Option<&'static str>,
    pub(crate) width: u32,
}

/// A panel without queries yet. A twenty-fourth of the screen is the unit of its width.
pub fn panel(
    kind: Kind,
    title: &'static str,
    unit: Unit,
    width: u32,
    description: &'static str,
) -> Panel {
    let (queries, steps, alerts, board) = (Vec::new(), Steps::None, &[][..], None);
    Panel { kind, title, description, unit, queries, steps, alerts, board, width }
}

impl Panel {
    /// One more query; the legend may name labels (`{{role}}`).
    pub fn query(mut self, query: &str, legend: &'static str) -> Self {
        self.queries.push((in_panel(query), legend));
        self
    }

    /// Where it is coloured.
    pub fn steps(mut self, steps: Steps) -> Self {
        self.steps = steps;
        self
    }

    /// Links to these alerts' sections of the runbook.
    pub fn alerts(mut self, alerts: &'static [&'static str]) -> Self {
        self.alerts = alerts;
        self
    }

    /// Links to a dashboard.
    pub fn more_on(mut self, board: &'static str) -> Self {
        self.board = Some(board);
        self
    }

    /// Rows of the screen's grid.
    pub(crate) fn height(&self) -> u32 {
        match self.kind {
            Kind::State | Kind::Stat => 4,
            Kind::Lines | Kind::Areas => 8,
        }
    }

    /// The panel at this place.
    pub(crate) fn json(&self, id: u32, (x, y): (u32, u32)) -> Value {
        let letters = 'A'..='Z';
        let targets = self.queries.iter().zip(letters).map(|((query, legend), letter)| {
            json!({
                "datasource": source(), "editorMode": "code", "expr": query,
                "legendFormat": legend, "range": true, "refId": letter.to_string(),
            })
        });
        json!({
            "id": id,
            "type": if self.is_stat() { "stat" } else { "timeseries" },
            "title": self.title,
            "description": self.description,
            "datasource": source(),
            "gridPos": {"x": x, "y": y, "w": self.width, "h": self.height()},
            "links": self.links(),
            "targets": targets.collect::<Vec<_>>(),
            "fieldConfig": {"defaults": self.defaults(), "overrides": []},
            "options": self.options(),
        })
    }

    fn is_stat(&self) -> bool {
        matches!(self.kind, Kind::Stat | Kind::State)
    }

    fn links(&self) -> Vec<Value> {
        let more =
            self.board.map(|uid| link("More on this", &format!("/d/{uid}?${{__url_time_range}}")));
        let runbook = self.alerts.iter().map(|alert| {
            let anchor = alert.to_lowercase();
            link(&format!("Runbook: {alert}"), &format!("{RUNBOOK}#{anchor}"))
        });
        more.into_iter().chain(runbook).collect()
    }

    fn defaults(&self) -> Value {
        let mut defaults = json!({
            "unit": self.unit.id(),
            "color": {"mode": if self.is_stat() { "thresholds" } else { "palette-classic" }},
            "thresholds": {"mode": "absolute", "steps": self.colours()},
            "mappings": [],
        });
        match self.kind {
            Kind::Stat => {}
            Kind::State => {
                defaults["mappings"] = json!([
                    {"type": "value", "options": {"0": {"text": "ok", "index": 0}}},
                    {"type": "range", "options": {"from": 0, "to": null,
                        "result": {"text": "look", "index": 1}}},
                ]);
            }
            Kind::Lines | Kind::Areas => {
                let has_limit = !matches!(self.steps, Steps::None);
                defaults["min"] = json!(0);
                defaults["custom"] = json!({
                    "drawStyle": "line", "lineWidth": 1, "showPoints": "never",
                    "fillOpacity": if self.kind == Kind::Areas { 30 } else { 5 },
                    "stacking": {"mode": if self.kind == Kind::Areas { "normal" } else { "none" }},
                    "thresholdsStyle": {"mode": if has_limit { "dashed" } else { "off" }},
                });
            }
        }
        defaults
    }

    fn colours(&self) -> Value {
        let from = |colour: &str, value: Option<f64>| json!({"color": colour, "value": value});
        match self.steps {
            Steps::None => json!([from("green", None)]),
            Steps::Bad(bad) => json!([from("green", None), from("red", Some(bad))]),
            Steps::WarnBad(warn, bad) => {
                json!([from("green", None), from("orange", Some(warn)), from("red", Some(bad))])
            }
            Steps::Low(low) => json!([from("red", None), from("green", Some(low))]),
        }
    }

    fn options(&self) -> Value {
        if self.is_stat() {
            return json!({
                "colorMode": "background", "graphMode": "area", "textMode": "auto",
                "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": false},
            });
        }
        json!({
            "legend": {"displayMode": "list", "placement": "bottom", "showLegend": true},
            "tooltip": {"mode": "multi", "sort": "desc"},
        })
    }
}

/// The datasource that the dashboard's variable names.
pub(crate) fn source() -> Value {
    json!({"type": "prometheus", "uid": "${datasource}"})
}

fn link(title: &str, url: &str) -> Value {
    json!({"title": title, "url": url, "targetBlank": url.starts_with("http")})
}
