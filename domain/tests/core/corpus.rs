//! Real payloads: no event panics, each gets a verdict, and none of a modelled type is refused
//! unless its data is really broken.

use crate::book::{Book, record};
use domain::event::{Reason, decode};
use domain::settings::Settings;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Files that are refused: none is an event that Stripe can have sent (broken JSON, thin events
/// without a time, numbers and flags as text).
const REFUSED: &[(&str, Reason)] = &[
    ("aspnet-webhooks/customer.source.created@2015-10-16.json", Reason::NotJson),
    ("stripe-go/imaginary_with_related_object.json", Reason::FieldMissing),
    ("stripe-go/v1.billing.meter.error_report_triggered.json", Reason::FieldMissing),
    ("stripe-node/account.created.json", Reason::FieldMissing),
    ("stripe_model_callbacks/customer.source.created@2018-02-06.json", Reason::WrongType),
];

/// The corpus' event files, or none where it is not there.
fn events() -> Vec<(String, Vec<u8>)> {
    let root = std::env::var_os("CORPUS_DIR").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/corpus"),
        PathBuf::from,
    );
    let mut files = Vec::new();
    let Ok(origins) = fs::read_dir(root.join("events")) else {
        println!("no corpus at {}: only generated events are tested", root.display());
        return files;
    };
    for origin in origins {
        for file in fs::read_dir(origin.unwrap().path()).unwrap() {
            let path = file.unwrap().path();
            let name = path.strip_prefix(root.join("events")).unwrap().display().to_string();
            files.push((name, fs::read(path).unwrap()));
        }
    }
    files.sort();
    files
}

/// Decodes as test events and as live events: each is one of both.
fn refusal(body: &[u8]) -> Option<Reason> {
    [false, true]
        .into_iter()
        .find_map(|livemode| decode(&record(body.to_vec()), &Settings::new(livemode)).err())
        .map(|rejected| rejected.reason)
}

#[test]
fn every_event_gets_a_verdict() {
    let refused: BTreeMap<String, Reason> =
        events().into_iter().filter_map(|(name, body)| Some((name, refusal(&body)?))).collect();
    let expected: BTreeMap<String, Reason> = if events().is_empty() {
        BTreeMap::new()
    } else {
        REFUSED.iter().map(|(name, reason)| ((*name).to_owned(), *reason)).collect()
    };
    let list: Vec<String> =
        refused.iter().map(|(name, reason)| format!("(\"{name}\", Reason::{reason:?}),")).collect();
    assert_eq!(refused, expected, "refused now:\n{}", list.join("\n"));
}

#[test]
fn order_does_not_matter_to_real_events_either() {
    let mut forwards = Book::new(true);
    let mut backwards = Book::new(true);
    let events = events();
    for (_, body) in &events {
        let _ = forwards.take(body.clone());
    }
    for (_, body) in events.iter().rev() {
        let _ = backwards.take(body.clone());
    }
    assert_eq!(forwards.states(), backwards.states());
    assert_eq!(forwards.rows(), backwards.rows());
    assert_eq!(forwards.facts(), backwards.facts());
}
