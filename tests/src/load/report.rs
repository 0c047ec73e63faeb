//! What came back: answers, and how long they took.

use hdrhistogram::Histogram;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;

/// Longest latency that is told apart, microseconds: ten minutes.
const LONGEST_US: u64 = 600_000_000;

/// Latencies in microseconds, to three digits.
#[derive(Debug, Clone)]
pub struct Latency(Histogram<u64>);

impl Default for Latency {
    fn default() -> Self {
        Self(Histogram::new_with_bounds(1, LONGEST_US, 3).expect("the bounds are valid"))
    }
}

impl Latency {
    /// Counts one.
    pub fn record(&mut self, latency: Duration) {
        let us = u64::try_from(latency.as_micros()).unwrap_or(LONGEST_US);
        self.0.saturating_record(us.clamp(1, LONGEST_US));
    }

    /// Counts all of another's.
    pub fn add(&mut self, other: &Self) {
        // Bounds are equal, so nothing can be out of them.
        let _ = self.0.add(&other.0);
    }

    /// The latency that this share of requests stayed within, milliseconds.
    pub fn quantile_ms(&self, share: f64) -> f64 {
        ms(self.0.value_at_quantile(share))
    }

    /// The longest, milliseconds.
    pub fn max_ms(&self) -> f64 {
        ms(self.0.max())
    }

    /// p50, p90, p99 and max, named.
    pub fn summary(&self) -> [(&'static str, f64); 4] {
        [
            ("p50", self.quantile_ms(0.5)),
            ("p90", self.quantile_ms(0.9)),
            ("p99", self.quantile_ms(0.99)),
            ("max", self.max_ms()),
        ]
    }
}

// Microseconds of ten minutes fit a double exactly.
#[expect(clippy::cast_precision_loss)]
fn ms(us: u64) -> f64 {
    us as f64 / 1000.0
}

/// What a run came to.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// Bodies that were to be sent, copies included.
    pub sent: usize,
    /// How many got which status in the end.
    pub answers: BTreeMap<u16, usize>,
    /// How many got no answer in the end, by cause.
    pub unanswered: BTreeMap<&'static str, usize>,
    /// Requests that were sent again after a 503.
    pub retries: usize,
    /// From the moment a request was due to its last answer.
    pub latency: Latency,
    /// The whole run.
    pub took: Duration,
}

impl Report {
    /// Whether every request was answered 2xx.
    pub fn is_all_accepted(&self) -> bool {
        let accepted: usize = self.answers.range(200..300).map(|(_, count)| count).sum();
        accepted == self.sent
    }

    /// Counts all of another worker's; the longer of both times.
    pub fn add(&mut self, other: &Self) {
        self.sent += other.sent;
        self.retries += other.retries;
        for (status, count) in &other.answers {
            *self.answers.entry(*status).or_default() += count;
        }
        for (cause, count) in &other.unanswered {
            *self.unanswered.entry(cause).or_default() += count;
        }
        self.latency.add(&other.latency);
        self.took = self.took.max(other.took);
    }

    /// Answers and causes of their absence with their counts, for a table.
    pub fn outcomes(&self) -> Vec<(String, usize)> {
        let answers = self.answers.iter().map(|(status, count)| (status.to_string(), *count));
        let none =
            self.unanswered.iter().map(|(cause, count)| (format!("no answer: {cause}"), *count));
        answers.chain(none).collect()
    }

    /// Requests a second.
    #[expect(clippy::cast_precision_loss)]
    pub fn rate(&self) -> f64 {
        self.sent as f64 / self.took.as_secs_f64().max(1e-9)
    }

    /// The report as one JSON document.
    pub fn to_json(&self) -> Value {
        let latency: BTreeMap<_, _> = self.latency.summary().into_iter().collect();
        json!({
            "sent": self.sent,
            "answers": self.answers,
            "unanswered": self.unanswered,
            "retries": self.retries,
            "seconds": self.took.as_secs_f64(),
            "per_second": self.rate(),
            "latency_ms": latency,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_2xx_for_every_request_is_all_accepted() {
        let mut report = Report { sent: 2, answers: [(200, 2)].into(), ..Report::default() };
        assert!(report.is_all_accepted());
        report.add(&Report { sent: 1, unanswered: [("timeout", 1)].into(), ..Report::default() });
        assert!(!report.is_all_accepted());
        assert_eq!(report.outcomes(), [("200".into(), 2), ("no answer: timeout".into(), 1)]);
    }

    #[test]
    fn latencies_are_told_in_milliseconds() {
        let mut latency = Latency::default();
        for ms in 1..=100 {
            latency.record(Duration::from_millis(ms));
        }
        assert!((latency.quantile_ms(0.5) - 50.0).abs() < 0.1);
        assert!((latency.max_ms() - 100.0).abs() < 0.1);
    }
}
