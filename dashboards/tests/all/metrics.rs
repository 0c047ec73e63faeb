//! Rules and panels use metrics that are listed, with labels and buckets that they have; and every
//! listed metric is used, or is here with a reason.

use crate::document;
use crate::promql::{Selector, selectors};
use crate::promtool::targets;
use dashboards::query::{in_rule, over};
use dashboards::{boards, rules};
use std::collections::{BTreeMap, BTreeSet};

/// Metrics that no rule and no panel uses, and why.
const UNUSED: [(&str, &str); 13] = [
    ("kafka_client_broker_pending_requests", "the time to a response says the same sooner"),
    ("kafka_client_broker_rtt_avg_seconds", "the 99th percentile is shown"),
    ("kafka_client_received_bytes_total", "network traffic is the machine's dashboard"),
    ("kafka_client_received_messages_total", "records done are shown by role"),
    ("kafka_client_sent_bytes_total", "network traffic is the machine's dashboard"),
    ("kafka_client_sent_messages_total", "accepted requests and domain events are shown"),
    ("process_threads", "it does not change; for a debugger"),
    ("process_virtual_memory_bytes", "memory in RAM is what a limit counts"),
    (
        "reconciler_archive_last_segment_timestamp_seconds",
        "without traffic it stands still; the lag says whether it is behind",
    ),
    ("reconciler_console_requests_total", "who looks at a page sees that it fails; no money waits"),
    ("service_trace_exports_total", "traces are help for people; nothing hangs on them"),
    ("tokio_alive_tasks", "connections and requests in flight say the same in our words"),
    ("tokio_global_queue_tasks", "the share of busy workers says the same more steadily"),
];

/// Metrics that are used and not listed: Prometheus' own, and what there is only with TLS.
const FOREIGN: [&str; 2] = ["up", "ingest_certificate_expiry_timestamp_seconds"];

/// Listed metrics with their labels and buckets.
struct Listed {
    labels: BTreeSet<String>,
    buckets: Vec<String>,
    kind: String,
}

fn listed() -> BTreeMap<String, Listed> {
    let document = document("METRICS.md");
    let sections = document.split("\n#### `").skip(1);
    let metrics = sections.map(|section| {
        let (name, rest) = section.split_once('`').unwrap();
        let lines = || rest.lines().filter_map(|line| line.strip_prefix("- "));
        let labels = lines().filter_map(|line| line.strip_prefix('`')?.split_once('`'));
        let buckets = lines().filter_map(|line| line.strip_prefix("buckets up to "));
        let listed = Listed {
            labels: labels.map(|(label, _)| label.to_owned()).collect(),
            buckets: buckets.flat_map(|list| list.split(", ").map(str::to_owned)).collect(),
            kind: rest.trim_start().split(',').next().unwrap().to_owned(),
        };
        (name.to_owned(), listed)
    });
    metrics.collect()
}

/// Every selector of every rule and panel.
fn used() -> Vec<Selector> {
    let mut queries: Vec<String> =
        boards::all().iter().flat_map(|board| targets(&board.json())).collect();
    for group in rules::all() {
        queries.extend(group.records.iter().map(|record| in_rule(&over(&record.query, "5m"))));
        queries.extend(group.alerts.into_iter().map(|alert| alert.condition.expr));
    }
    queries.iter().flat_map(|query| selectors(query)).collect()
}

#[test]
fn what_is_used_is_listed_with_these_labels_and_buckets() {
    let listed = listed();
    assert!(listed.len() > 80, "{}", listed.len());
    let mut unknown = BTreeSet::new();
    for selector in used() {
        if FOREIGN.contains(&&*selector.metric) {
            continue;
        }
        let name = if listed.contains_key(&selector.metric) {
            &*selector.metric
        } else {
            selector.listed_as()
        };
        let Some(metric) = listed.get(name) else {
            unknown.insert(selector.metric);
            continue;
        };
        let is_histogram = name != selector.metric;
        assert_eq!(is_histogram, metric.kind == "histogram", "{}", selector.metric);
        for matcher in selector.matchers.split(", ") {
            let (label, value) = matcher.split_once(['=', '!']).unwrap();
            if label == "le" {
                let bound = value.trim_matches('"').to_owned();
                assert!(metric.buckets.contains(&bound), "{name} has no bucket {bound}");
            } else if !["job", "instance"].contains(&label) {
                assert!(metric.labels.contains(label), "{name} has no label {label}");
            }
        }
    }
    assert!(unknown.is_empty(), "not in docs/METRICS.md: {unknown:#?}");
}

#[test]
fn what_is_listed_is_used_or_has_a_reason() {
    let used = used();
    let used: BTreeSet<&str> =
        used.iter().flat_map(|selector| [selector.listed_as(), &selector.metric]).collect();
    let listed = listed();
    let left: BTreeMap<&str, &str> = UNUSED.into_iter().collect();
    for name in listed.keys().map(String::as_str) {
        let (is_used, is_left) = (used.contains(name), left.contains_key(name));
        assert!(is_used || is_left, "{name} is used by nothing: show it or say why not");
        assert!(!(is_used && is_left), "{name} is used: take it from the list");
    }
    for name in left.keys() {
        assert!(listed.contains_key(*name), "{name} is no metric any more");
    }
}
