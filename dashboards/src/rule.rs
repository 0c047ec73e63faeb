//! Recording and alerting rules, the cases that prove them, and both as Prometheus reads them.

use crate::query::in_rule;
use crate::settings::RUNBOOK;
use crate::yaml::{block, quoted};
use std::fmt::Write as _;

/// Rules that are evaluated together, a file of their own.
#[derive(Debug)]
#[must_use]
pub struct Group {
    /// Name of the group, and of its files.
    pub name: &'static str,
    /// How often the rules are evaluated in their tests: seldom where a case is long.
    pub tested_every: &'static str,
    /// Evaluated first.
    pub records: Vec<Record>,
    /// What people are told.
    pub alerts: Vec<Alert>,
}

/// A series that Prometheus keeps because rules ask for it over and over.
#[derive(Debug)]
pub struct Record {
    /// Name of the series.
    pub name: String,
    /// What it is.
    pub query: String,
}

/// How soon a person must look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// At once, at night too: money stands still, is wrong, or will be lost.
    Page,
    /// On the next working day.
    Ticket,
}

impl Severity {
    /// The label.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Page => "page",
            Self::Ticket => "ticket",
        }
    }
}

/// What must hold for an alert to fire, and the queries in it whose numbers are judged: a healthy
/// system answers each of them.
#[derive(Debug, Clone)]
#[must_use]
pub struct Condition {
    /// PromQL: no series as long as all is well.
    pub expr: String,
    /// The judged queries, for rules.
    pub queries: Vec<String>,
}

impl Condition {
    fn compared(query: &str, operator: &str, limit: f64) -> Self {
        let query = in_rule(query);
        Self { expr: format!("{query} {operator} {limit}"), queries: vec![query] }
    }

    fn joined(self, how: &str, other: Self) -> Self {
        let mut queries = self.queries;
        queries.extend(other.queries);
        Self { expr: format!("({})\n{how} ({})", self.expr, other.expr), queries }
    }

    /// Both hold, for the same values of these labels.
    pub fn and_on(self, labels: &str, other: Self) -> Self {
        self.joined(&format!("and on ({labels})"), other)
    }

    /// Both hold.
    pub fn and(self, other: Self) -> Self {
        self.joined("and", other)
    }

    /// Either holds.
    pub fn or(self, other: Self) -> Self {
        self.joined("or", other)
    }

    /// This holds, and the other does not for the same values of these labels.
    pub fn unless_on(self, labels: &str, other: Self) -> Self {
        self.joined(&format!("unless on ({labels})"), other)
    }

    /// There is no such series; not a query that a healthy system answers.
    pub fn absent(selector: &str) -> Self {
        Self { expr: format!("absent({})", in_rule(selector)), queries: Vec::new() }
    }
}

/// More than the limit.
pub fn above(query: &str, limit: impl Into<f64>) -> Condition {
    Condition::compared(query, ">", limit.into())
}

/// Less than the limit.
pub fn below(query: &str, limit: impl Into<f64>) -> Condition {
    Condition::compared(query, "<", limit.into())
}

/// Exactly this.
pub fn is(query: &str, value: impl Into<f64>) -> Condition {
    Condition::compared(query, "==", value.into())
}

/// Anything but this.
pub fn is_not(query: &str, value: impl Into<f64>) -> Condition {
    Condition::compared(query, "!=", value.into())
}

/// Something that a person is told.
#[derive(Debug)]
#[must_use]
pub struct Alert {
    /// Its name, and in lower case the anchor of its section in the runbook.
    pub name: &'static str,
    /// How soon a person must look.
    pub severity: Severity,
    /// When it fires.
    pub condition: Condition,
    /// How long that must hold, in Prometheus' notation.
    pub hold: &'static str,
    /// One line with the value, a template of Prometheus.
    pub summary: &'static str,
    /// What it means and what to do first.
    pub description: &'static str,
    /// Cases that prove it.
    pub cases: Vec<Case>,
}

impl Alert {
    /// Where the runbook tells about it.
    pub fn runbook_url(&self) -> String {
        format!("{RUNBOOK}#{}", self.name.to_lowercase())
    }
}

/// A course of events, and whether the alert fires at the end of it.
#[derive(Debug)]
#[must_use]
pub struct Case {
    /// Time between two values.
    pub step: &'static str,
    /// Series and their values, in promtool's notation.
    pub series: Vec<(&'static str, &'static str)>,
    /// When it is looked at.
    pub at: &'static str,
    /// What is told then; nothing: quiet.
    pub told: Vec<Told>,
}

/// One firing alert.
#[derive(Debug)]
#[must_use]
pub struct Told {
    /// Labels but for name and severity.
    pub labels: Vec<(&'static str, &'static str)>,
    /// The summary as a person reads it.
    pub summary: &'static str,
}

impl Case {
    /// A quiet case. Values come a minute apart.
    pub fn quiet<const N: usize>(
        series: [(&'static str, &'static str); N],
        at: &'static str,
    ) -> Self {
        Self { step: "1m", series: series.into(), at, told: Vec::new() }
    }

    /// A case in which one alert fires.
    pub fn fires<const N: usize, const L: usize>(
        series: [(&'static str, &'static str); N],
        at: &'static str,
        labels: [(&'static str, &'static str); L],
        summary: &'static str,
    ) -> Self {
        let told = vec![Told { labels: labels.into(), summary }];
        Self { step: "1m", series: series.into(), at, told }
    }

    /// With values this far apart.
    pub fn every(mut self, step: &'static str) -> Self {
        self.step = step;
        self
    }
}

impl Group {
    /// The rules file.
    pub fn rules(&self) -> String {
        let mut text = format!("{}groups:\n  - name: {}\n    rules:\n", crate::MADE_BY, self.name);
        for record in &self.records {
            let _ = writeln!(text, "      - record: {}", record.name);
            let _ = writeln!(text, "        expr: {}", block(&in_rule(&record.query), 10));
        }
        for alert in &self.alerts {
            let _ = writeln!(text, "      - alert: {}", alert.name);
            let _ = writeln!(text, "        expr: {}", block(&alert.condition.expr, 10));
            let _ = writeln!(text, "        for: {}", alert.hold);
            let _ =
                writeln!(text, "        labels:\n          severity: {}", alert.severity.as_str());
            let _ = writeln!(text, "        annotations:");
            let _ = writeln!(text, "          summary: {}", quoted(alert.summary));
            let _ = writeln!(text, "          description: {}", quoted(alert.description));
            let _ = writeln!(text, "          runbook_url: {}", quoted(&alert.runbook_url()));
        }
        text
    }

    /// The file of its unit tests for `promtool test rules`.
    pub fn tests(&self) -> String {
        let mut text = format!(
            "{}rule_files:\n  - {}.rules.yml\n\nevaluation_interval: {}\n\ntests:\n",
            crate::MADE_BY,
            self.name,
            self.tested_every
        );
        for alert in &self.alerts {
            for case in &alert.cases {
                case.write(alert, &mut text);
            }
        }
        text
    }
}

impl Case {
    fn write(&self, alert: &Alert, text: &mut String) {
        let what = if self.told.is_empty() { "is quiet" } else { "fires" };
        let _ = writeln!(text, "  - name: {} {what}", alert.name);
        let _ = writeln!(text, "    interval: {}\n    input_series:", self.step);
        for (series, values) in &self.series {
            let _ = writeln!(text, "      - series: {}", quoted(series));
            let _ = writeln!(text, "        values: {}", quoted(values));
        }
        let _ = writeln!(text, "    alert_rule_test:\n      - eval_time: {}", self.at);
        let _ = writeln!(text, "        alertname: {}", alert.name);
        if self.told.is_empty() {
            return;
        }
        let _ = writeln!(text, "        exp_alerts:");
        for told in &self.told {
            let _ = writeln!(text, "          - exp_labels:");
            let _ = writeln!(text, "              severity: {}", alert.severity.as_str());
            for (label, value) in &told.labels {
                let _ = writeln!(text, "              {label}: {}", quoted(value));
            }
            let _ = writeln!(text, "            exp_annotations:");
            let _ = writeln!(text, "              summary: {}", quoted(told.summary));
            let _ = writeln!(text, "              description: {}", quoted(alert.description));
            let _ = writeln!(text, "              runbook_url: {}", quoted(&alert.runbook_url()));
        }
    }
}
