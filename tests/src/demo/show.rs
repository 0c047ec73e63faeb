//! The demo's tables.

use super::Plan;
use super::found::{Delivered, Found};
use crate::comparison::counts;
use crate::load::Report;
use crate::system::{Ingest, Reconciler, System};
use comfy_table::{CellAlignment, Table, presets};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

/// Most differences that are printed.
const MAX_DIFFERENCES: usize = 40;

pub(super) fn sent(plan: &Plan, report: &Report) {
    title("Sent and answered");
    let mut table = table(&["", "requests"]);
    let lifecycles = plan.distinct.len() - plan.from_corpus;
    let name = format!("events of {} lifecycles", plan.lifecycles.len());
    table.add_row([name, lifecycles.to_string()]);
    table.add_row(["real payloads of the corpus".to_owned(), plan.from_corpus.to_string()]);
    let repeated = plan.sent.len() - plan.distinct.len();
    table.add_row(["sent a second time".to_owned(), repeated.to_string()]);
    for (outcome, count) in report.outcomes() {
        table.add_row([format!("answered {outcome}"), count.to_string()]);
    }
    print(table, 1);
    let (took, rate) = (report.took.as_secs_f64(), report.rate());
    println!("in random order, {took:.1} s, {rate:.0} a second; answer in ms: {}", ms(report));
}

fn ms(report: &Report) -> String {
    report.latency.summary().map(|(name, ms)| format!("{name} {ms:.0}")).join(", ")
}

pub(super) fn rows(plan: &Plan, found: &Found) {
    title("Rows of the lifecycles");
    let mut table = table(&["row", "state", "expected", "found"]);
    let (expected, present) = (counts(&found.expected), counts(&found.lines));
    let kinds: BTreeSet<_> = expected.keys().chain(present.keys()).collect();
    for kind in kinds.into_iter().filter(|(row, _)| row != "fact") {
        let number =
            |counts: &BTreeMap<_, usize>| counts.get(kind).copied().unwrap_or(0).to_string();
        table.add_row([kind.0.clone(), kind.1.clone(), number(&expected), number(&present)]);
    }
    print(table, 2);
    let verdicts: Vec<_> =
        found.verdicts.iter().map(|(verdict, count)| format!("{count} {verdict}")).collect();
    println!(
        "{} distinct events sent, {} recorded: {}, {} unreadable and quarantined",
        plan.distinct.len(),
        found.events,
        verdicts.join(", "),
        found.unreadable
    );
}

/// The ledger of the most used currencies, in their smallest units.
pub(super) fn ledger(found: &Found) {
    const COLUMNS: usize = 3;
    title("Ledger: debit positive, credit negative, each currency adds up to zero");
    let mut ledgers: Vec<_> = found.ledger.iter().collect();
    ledgers.sort_by_key(|(_, accounts)| std::cmp::Reverse(accounts.len()));
    ledgers.truncate(COLUMNS);
    let currencies: Vec<&str> = ledgers.iter().map(|(currency, _)| currency.as_str()).collect();
    let mut table = table(&[&["account"], &currencies[..]].concat());
    let accounts: BTreeSet<_> = ledgers.iter().flat_map(|(_, accounts)| accounts.keys()).collect();
    for account in accounts {
        let balance = |(_, ledger): &(&String, &BTreeMap<String, i64>)| {
            ledger.get(account).copied().unwrap_or(0).to_string()
        };
        table.add_row(std::iter::once(account.clone()).chain(ledgers.iter().map(balance)));
    }
    print(table, currencies.len());
}

pub(super) fn story(system: &System, id: Option<&str>) -> anyhow::Result<()> {
    let Some(id) = id else { return Ok(()) };
    title(&format!("One payment's story, from reconciler inspect {id}"));
    let story: Value =
        serde_json::from_str(&system.command("reconciler", &["inspect", "--json", id])?)?;
    section(
        &story,
        "payments",
        &["charge", "status", "amount", "captured", "refunded", "currency"],
    );
    section(&story, "disputes", &["dispute", "status", "amount", "reason"]);
    section(&story, "events", &["stripe_time", "received_at", "type", "verdict"]);
    section(&story, "facts", &["time", "type", "subject"]);
    Ok(())
}

/// A table of these fields of a section's rows.
fn section(story: &Value, name: &str, fields: &[&str]) {
    let Some(rows) = story[name].as_array().filter(|rows| !rows.is_empty()) else { return };
    let mut table = table(fields);
    for row in rows {
        table.add_row(fields.iter().map(|field| match &row[*field] {
            Value::String(text) => text.trim_end_matches("+00:00").to_owned(),
            other => other.to_string(),
        }));
    }
    println!("{table}");
}

pub(super) fn archive(found: &Found) {
    title("Archive in S3");
    let mut table = table(&["", "count"]);
    table.add_row(["records in the topic", &found.records.to_string()]);
    table.add_row(["records in the archive", &found.archived.to_string()]);
    table.add_row(["of these not byte for byte the same", &found.altered.to_string()]);
    table.add_row(["segments", &found.segments.to_string()]);
    table.add_row(["manifests", &found.manifests.to_string()]);
    table.add_row(["bytes, compressed", &found.archive_bytes.to_string()]);
    print(table, 1);
}

pub(super) fn domain_events(found: &Found) {
    title("Domain events");
    let [(first, firehose), (second, kafka)] = &found.sinks;
    let mut table = table(&["type", first, second]);
    let kinds: BTreeSet<_> = firehose.facts.keys().chain(kafka.facts.keys()).collect();
    for kind in kinds {
        let number = |sink: &Delivered| sink.facts.get(kind).map_or(0, BTreeSet::len).to_string();
        table.add_row([kind.clone(), number(firehose), number(kafka)]);
    }
    print(table, 1);
    for (sink, delivered) in &found.sinks {
        println!(
            "{sink}: {} distinct, {} facts to publish, {} deliveries (at least once, corrections \
             included)",
            delivered.distinct().len(),
            found.facts.len(),
            delivered.deliveries
        );
    }
}

pub(super) fn latency(found: &Found) {
    title("Latency from webhook to row");
    let values = found.latency.summary().map(|(name, ms)| format!("{name} {ms:.0} ms"));
    println!("{}", values.join(", "));
}

pub(super) fn verdict(differences: &[String], took: Duration) {
    title("Verdict");
    if differences.is_empty() {
        println!("everything found is what was sent; {:.0} s", took.as_secs_f64());
        return;
    }
    for line in differences.iter().take(MAX_DIFFERENCES) {
        println!("{line}");
    }
    if differences.len() > MAX_DIFFERENCES {
        println!("and {} more", differences.len() - MAX_DIFFERENCES);
    }
    println!("{} differences", differences.len());
}

pub(super) fn where_to_look(system: &System, ingest: &Ingest, reconciler: &Reconciler) {
    title("Left running");
    let (bucket, id) = (&system.stack.archive_bucket, &system.id);
    println!("webhooks    http://{}/webhooks/stripe", ingest.listen);
    println!("metrics     http://{}/metrics, http://{}/metrics", ingest.admin, reconciler.admin);
    match prometheus(ingest.admin) {
        Some(url) => println!("prometheus  {url}/alerts; dashboards to import: dashboards/*.json"),
        None => println!("prometheus  does not scrape this run: another one has its addresses"),
    }
    println!("database    psql '{}'", system.database_url);
    println!("topics      {}, {}", system.topic.name, system.domain_topic.name);
    println!(
        "archive     s3://{bucket}/{id}/, domain events s3://{}/{id}/",
        system.stack.delivered_bucket
    );
    println!("logs        {}", system.logs.display());
    println!("end with    kill {} {}", ingest.process.id(), reconciler.process.id());
    println!("remove with ./dev stack reset");
}

/// The stack's Prometheus, if it scrapes this address.
fn prometheus(admin: SocketAddr) -> Option<String> {
    let url = std::env::var("PROMETHEUS_URL").ok()?;
    (std::env::var("INGEST_ADMIN_LISTEN").ok()? == admin.to_string()).then_some(url)
}

fn title(text: &str) {
    println!("\n{text}");
}

fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_BORDERS_ONLY).set_header(header);
    table
}

/// Prints a table whose columns from this one on are numbers.
fn print(mut table: Table, numbers_from: usize) {
    for column in table.column_iter_mut().skip(numbers_from) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    println!("{table}");
}
