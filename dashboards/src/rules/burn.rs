//! Objectives, and alerts on how fast their budget of errors burns.

use crate::query::over;
use crate::rule::{Alert, Case, Condition, Record, Severity, above};
use crate::settings::{BURN_MIN, Burn, FAST_BURNS, SLOW_BURNS};
use std::collections::BTreeSet;

/// A service level objective over thirty days.
#[derive(Debug)]
pub struct Objective {
    /// Part of the names of its series: `slo:NAME:…`.
    pub name: &'static str,
    /// What is good, a second; with `<window>`.
    pub good: String,
    /// What counts, a second; with `<window>` and the labels of `good`.
    pub total: String,
    /// Share that must be good.
    pub objective: f64,
}

impl Objective {
    /// The recorded share of what is bad.
    pub fn bad_ratio(&self, window: &str) -> String {
        format!("slo:{}:bad_ratio{window}", self.name)
    }

    /// The recorded number of what is bad.
    pub fn bad_count(&self, window: &str) -> String {
        format!("slo:{}:bad{window}", self.name)
    }

    /// What must be recorded: shares for every window, numbers for the long ones.
    pub fn records(&self) -> Vec<Record> {
        let burns = FAST_BURNS.iter().chain(&SLOW_BURNS);
        let windows = |pick: fn(&Burn) -> Vec<&'static str>| -> BTreeSet<&'static str> {
            burns.clone().flat_map(pick).collect()
        };
        let ratios = windows(|(_, long, short)| vec![long, short]).into_iter().map(|window| {
            Record { name: self.bad_ratio(window), query: over(&self.bad(), window) }
        });
        let counts = windows(|(_, long, _)| vec![long]).into_iter().map(|window| Record {
            name: self.bad_count(window),
            query: over(&self.missed().replace("rate(", "increase("), window),
        });
        ratios.chain(counts).collect()
    }

    /// The share of what is bad; with `<window>`.
    pub fn bad(&self) -> String {
        format!("({})\n/ {}", self.missed(), self.total)
    }

    /// What was never good has no series yet.
    fn missed(&self) -> String {
        let (good, total) = (&self.good, &self.total);
        format!("{total} - ({good} or {total} * 0)")
    }

    fn burns(&self, burns: [Burn; 2]) -> Condition {
        let one = |(factor, long, short): Burn| {
            let limit = limit(factor, self.objective);
            above(&self.bad_ratio(long), limit)
                .and(above(&self.bad_ratio(short), limit))
                .and(above(&self.bad_count(long), BURN_MIN))
        };
        let [first, second] = burns;
        one(first).or(one(second))
    }

    /// The alert for a budget that is gone within days.
    pub fn fast(&self, words: Words, cases: Vec<Case>) -> Alert {
        self.alert(words, Severity::Page, FAST_BURNS, "2m", cases)
    }

    /// The alert for a budget that is gone before the thirty days are.
    pub fn slow(&self, words: Words, cases: Vec<Case>) -> Alert {
        self.alert(words, Severity::Ticket, SLOW_BURNS, "15m", cases)
    }

    fn alert(
        &self,
        words: Words,
        severity: Severity,
        burns: [Burn; 2],
        hold: &'static str,
        cases: Vec<Case>,
    ) -> Alert {
        let Words { name, summary, description } = words;
        Alert { name, severity, condition: self.burns(burns), hold, summary, description, cases }
    }
}

/// How an alert is called and what it says.
#[derive(Debug, Clone, Copy)]
pub struct Words {
    /// Its name.
    pub name: &'static str,
    /// One line with the value.
    pub summary: &'static str,
    /// What it means.
    pub description: &'static str,
}

/// A share of bad ones, rounded so that it reads well.
fn limit(factor: f64, objective: f64) -> f64 {
    (factor * (1.0 - objective) * 1e6).round() / 1e6
}

#[cfg(test)]
mod tests {
    use super::limit;

    #[test]
    fn a_burn_is_a_multiple_of_the_budget() {
        assert_eq!(limit(14.4, 0.999).to_string(), "0.0144");
        assert_eq!(limit(6.0, 0.99).to_string(), "0.06");
    }
}
