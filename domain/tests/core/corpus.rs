//! Real payloads: no event panics, each gets a verdict, and none of a modelled type is refused
//! unless its data is really broken.

use crate::book::{Book, record};
use domain::catalog::{Handling, handling};
use domain::event::{Decoded, Disposition, Reason, Rejected, decode};
use domain::row::Rows;
use domain::settings::Settings;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
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

/// Files whose object is not what their type promises: fixtures with another object, with none that
/// could be kept, or about nobody's account.
const ODD: &[&str] = &[
    "stripe-cli/checkout.session.completed@2020-08-27.json",
    "stripe-rails/invoice.payment_succeeded@2017-02-14.json",
    "stripe-ruby-mock/account.application.deauthorized.json",
    "webhookdb/source.chargeable@2018-05-21.2.json",
    "webhookdb/source.chargeable@2018-05-21.3.json",
    "webhookdb/source.chargeable@2018-05-21.9.json",
    "webhookdb/source.chargeable@2018-05-21.json",
];

fn root() -> PathBuf {
    std::env::var_os("CORPUS_DIR").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/corpus"),
        PathBuf::from,
    )
}

/// The corpus' event files, or none where it is not there.
fn events() -> Vec<(String, Vec<u8>)> {
    let root = root();
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

/// Decodes as the kind of event, live or test, that it is.
fn understand(body: &[u8]) -> Result<(bool, Decoded), Rejected> {
    let test = decode(&record(body.to_vec()), &Settings::new(false))?;
    if test.disposition == Disposition::WrongLivemode {
        Ok((true, decode(&record(body.to_vec()), &Settings::new(true))?))
    } else {
        Ok((false, test))
    }
}

/// What one event alone comes to, on one line.
fn outcome(body: &[u8]) -> String {
    let (livemode, decoded) = match understand(body) {
        Ok(understood) => understood,
        Err(rejected) => return format!("quarantined: {} ({})", rejected.reason, rejected.detail),
    };
    let mut line = format!("{} {:?}", decoded.event.kind, decoded.disposition);
    let mut book = Book::new(livemode);
    book.take(body.to_vec()).unwrap();
    describe(&mut line, &book.rows());
    let facts: Vec<String> =
        book.facts().iter().map(|fact| format!("{} {}", fact.kind, fact.subject)).collect();
    if !facts.is_empty() {
        let _ = write!(line, "; facts {}", facts.join(", "));
    }
    line
}

/// The rows and balances, in few words.
fn describe(line: &mut String, rows: &Rows) {
    for row in &rows.txns {
        let (amount, captured, refunded) =
            (row.amount_cents, row.captured_cents, row.refunded_cents);
        let _ =
            write!(line, "; txn {} {amount}/{captured}/{refunded} {}", row.status, row.currency);
    }
    for row in &rows.refunds {
        let _ = write!(line, "; refund {} {}", row.status, row.amount_cents);
    }
    for row in &rows.disputes {
        let _ = write!(line, "; dispute {} {}", row.status, row.amount_cents);
    }
    for row in &rows.payouts {
        let _ = write!(line, "; payout {} {} {}", row.status, row.net_cents, row.currency);
    }
    for row in &rows.invoices {
        let (due, paid) = (row.amount_due_cents, row.amount_paid_cents);
        let _ = write!(line, "; invoice {} {due}/{paid} {}", row.status, row.currency);
    }
    for row in &rows.providers {
        let _ = write!(line, "; provider {}", row.status);
    }
    for target in &rows.targets {
        let _ = write!(line, "; {}", target.subject.kind.as_str());
        for (posting, sum) in &target.balances {
            let _ = write!(line, " {}{}{sum:+}", posting.currency, posting.account);
        }
    }
}

/// A change in what real payloads come to shows in review. `INSTA_UPDATE=always` writes it anew.
#[test]
fn what_each_real_event_comes_to() {
    let events = events();
    if events.is_empty() {
        return;
    }
    let lines: Vec<String> =
        events.iter().map(|(name, body)| format!("{name}: {}", outcome(body))).collect();
    insta::assert_snapshot!(lines.join("\n"));
}

/// Every event type that Stripe lists, or that a real payload had, has a decision.
#[test]
fn every_event_type_has_a_decision_and_keeps_it() {
    let Ok(enums) = fs::read(root().join("stripe-enums.json")) else {
        println!("no list of Stripe's event types: the decisions are not checked against it");
        return;
    };
    let enums: Value = serde_json::from_slice(&enums).unwrap();
    let listed =
        ["event_types_v1", "event_types_v2_thin"].map(|list| enums[list].as_array().unwrap());
    let undecided: Vec<&str> = listed
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .filter(|kind| handling(kind).is_none())
        .collect();
    assert!(undecided.is_empty(), "{undecided:?}");

    // What is done with the objects of real events is what their type promises.
    let mut broken: BTreeSet<String> = BTreeSet::new();
    for (name, body) in events() {
        let Ok((_, decoded)) = understand(&body) else { continue };
        let promised = handling(&decoded.event.kind);
        let is_kept = match promised {
            Some(Handling::Modelled) => decoded.disposition != Disposition::Unhandled,
            Some(Handling::SnapshotOnly) => decoded.disposition != Disposition::Project,
            Some(Handling::RecordedOnly) => decoded.objects.is_empty(),
            None => true,
        };
        if !is_kept {
            broken.insert(name);
        }
    }
    assert_eq!(broken, ODD.iter().map(|name| (*name).to_owned()).collect());
}
