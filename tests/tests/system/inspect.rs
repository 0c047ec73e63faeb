//! `reconciler inspect`: every id finds its whole story, and nothing personal is in it.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Output;
use std::time::Duration;

use domain::archive;
use domain::record::header;
use harness::inputs;
use harness::load::generated;
use harness::process::run;
use harness::system::System;
use lifecycles::{Delivery, Lifecycle, Scenario, Stripe};
use rdkafka::message::{Header, OwnedHeaders};
use serde_json::{Value, json};

use crate::{raw, system};

const DEADLINE: Duration = Duration::from_secs(90);
const START: i64 = 1_760_000_000;
const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
/// How many commands run at the same time.
const PARALLEL: usize = 4;

/// Runs the command; without a bucket unless `more` names one.
fn command(system: &System, arguments: &[&str], more: &[(&str, &str)]) -> Output {
    let mut env = system.env();
    env.retain(|(name, _)| name != "S3_BUCKET");
    env.push(("S3_BUCKET".to_owned(), String::new()));
    env.extend(more.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
    let arguments = [&["inspect"], arguments].concat();
    run("reconciler", &arguments, &env).unwrap()
}

fn story(system: &System, id: &str) -> Value {
    let output = command(system, &["--json", id], &[]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{id}: {said}");
    serde_json::from_slice(&output.stdout).unwrap()
}

fn text(system: &System, arguments: &[&str]) -> String {
    let output = command(system, arguments, &[]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// The stories of many ids.
fn stories(system: &System, ids: &BTreeSet<String>) -> BTreeMap<String, Value> {
    let ids: Vec<&String> = ids.iter().collect();
    std::thread::scope(|scope| {
        let tell = |ids: Vec<&String>| -> Vec<(String, Value)> {
            ids.into_iter().map(|id| (id.clone(), story(system, id))).collect()
        };
        let threads: Vec<_> = ids
            .chunks(ids.len().div_ceil(PARALLEL).max(1))
            .map(|ids| scope.spawn(move || tell(ids.to_vec())))
            .collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    })
}

fn rows<'a>(story: &'a Value, section: &str) -> &'a [Value] {
    story[section].as_array().unwrap_or_else(|| panic!("{section} is no list in {story}"))
}

fn row<'a>(story: &'a Value, section: &str, field: &str, id: &str) -> &'a Value {
    let found = rows(story, section).iter().find(|row| row[field] == id);
    found.unwrap_or_else(|| panic!("no {field} {id} among the {section} of {story:#}"))
}

/// The part of an id before its first underscore.
fn kind(id: &str) -> &str {
    id.split_once('_').map_or(id, |(kind, _)| kind)
}

/// For each lifecycle an object of each kind that its events are about, the event beside it.
fn objects(lives: &[Lifecycle]) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for life in lives {
        let mut kinds = BTreeSet::new();
        for event in &life.events {
            let object = event.body["data"]["object"]["id"].as_str();
            if let Some(id) = object
                && kinds.insert(kind(id))
            {
                found.push((id.to_owned(), event.id.clone()));
            }
        }
    }
    found
}

async fn played(name: &str) -> (System, Vec<Lifecycle>) {
    let system = system(name).await;
    let lives = Stripe::new(17, START).mixed(Scenario::ALL.len());
    inputs::write(&system.pool, &lives).await.unwrap();
    let ingest = system.ingest("ingest", &[]).await.unwrap();
    let mut payloads = generated(&lives);
    Delivery::new(3).shuffle(&mut payloads);
    let report = ingest.sender().unwrap().send(payloads, || ()).await;
    assert!(report.is_all_accepted(), "{:?}", report.outcomes());
    let run = system.reconciler("run", "project,archive", &[]).await.unwrap();
    system.caught_up(&["project", "archive"], DEADLINE).await.unwrap();
    assert!(run.process.terminate(DEADLINE).await.unwrap().success());
    (system, lives)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_id_finds_its_story() {
    let (system, lives) = played("inspect_ids").await;
    let objects = objects(&lives);
    let ids: BTreeSet<String> = objects.iter().map(|(object, _)| object.clone()).collect();
    let known: BTreeSet<&str> = ids.iter().map(|id| kind(id)).collect();
    for expected in [
        "pi", "ch", "py", "re", "du", "po", "tr", "in", "inpay", "cs", "fee", "prv", "issfr",
        "cus", "acct", "ca",
    ] {
        assert!(known.contains(expected), "the lifecycles have no {expected}_: {known:?}");
    }
    let stories = stories(&system, &ids);
    for (id, event) in &objects {
        let told = &stories[id];
        row(told, "events", "event", event);
        assert!(!rows(told, "snapshots").is_empty() || kind(id) == "ca", "{id}");
        assert!(told["summary"][0].as_str().unwrap().contains(id), "{}", told["summary"]);
    }
    for life in &lives {
        agrees(life, &stories);
    }
    let events = stories.values().flat_map(|told| rows(told, "events"));
    let seen: BTreeSet<&str> = events.clone().filter_map(|it| it["verdict"].as_str()).collect();
    assert_eq!(seen, ["applied", "stale", "unhandled"].into());
    assert!(events.clone().any(|event| event["is_late"] == true));

    // A few of each kind that rows name: ours, quotes, orders, providers, events.
    let fields = [
        ("payments", "txn_id"),
        ("refunds", "refund_id"),
        ("disputes", "dispute_id"),
        ("payouts", "payout_id"),
        ("invoices", "invoice_id"),
        ("facts", "fact_id"),
        ("quotes", "quote_id"),
        ("quotes", "order_id"),
        ("providers", "provider"),
        ("events", "event"),
    ];
    for (section, field) in fields {
        let named = stories.values().flat_map(|told| rows(told, section));
        let named = named.filter_map(|row| row[field].as_str()).map(str::to_owned);
        let few: BTreeSet<String> = named.collect::<BTreeSet<_>>().into_iter().take(4).collect();
        assert!(!few.is_empty(), "no story has a {field}");
        for (id, told) in self::stories(&system, &few) {
            row(&told, section, field, &id);
            assert!(told["summary"][0].as_str().unwrap().contains(&id), "{}", told["summary"]);
        }
    }
    balance_transactions(&system, &lives);
    thin(&system, &lives);
    deleted(&system, &lives);
    capability(&system, &lives);
    fee_refund(&system, &lives);
}

/// What the model says a lifecycle comes to is what its stories say.
fn agrees(life: &Lifecycle, stories: &BTreeMap<String, Value>) {
    let truth = &life.truth;
    for txn in &truth.txns {
        let Some(told) = txn.stripe_pi.iter().chain(&txn.stripe_ch).find_map(|id| stories.get(id))
        else {
            continue;
        };
        let field = if txn.stripe_pi.is_some() { "intent" } else { "charge" };
        let payment = row(
            told,
            "payments",
            field,
            txn.stripe_pi.as_ref().or(txn.stripe_ch.as_ref()).unwrap(),
        );
        assert_eq!(payment["status"], txn.status);
        assert_eq!(payment["amount"], txn.amount);
        assert_eq!(payment["fee"], txn.fee);
        assert_eq!(payment["quote_id"], txn.quote_id.as_deref().unwrap_or("unquoted"));
        if txn.captured > 0 {
            assert!(rows(told, "facts").iter().any(|fact| fact["type"] == "payment.captured"));
            assert!(rows(told, "facts").iter().all(|fact| fact["state"] != "published"));
            let is_own = txn.account.is_none();
            assert_eq!(rows(told, "ledger").is_empty(), !is_own, "{told:#}");
        }
        if let Some(quote) = &txn.quote_id {
            // A payment may name a quote that nobody made.
            if life.quotes.iter().any(|known| known.quote_id == *quote) {
                row(told, "quotes", "quote_id", quote);
            }
            let siblings = truth.txns.iter().filter(|other| other.quote_id == txn.quote_id).count();
            let related = rows(told, "related_payments").iter();
            assert_eq!(related.filter(|it| it["relation"] == "same_quote").count(), siblings - 1);
        }
        let balances = rows(told, "balances").iter().map(|row| row["balance"].as_i64().unwrap());
        assert_eq!(balances.sum::<i64>(), 0);
    }
    for (section, field, id, status) in (truth.refunds.iter())
        .map(|row| ("refunds", "refund", &row.stripe_ref, row.status))
        .chain(
            truth
                .disputes
                .iter()
                .map(|row| ("disputes", "dispute", &row.stripe_dispute, row.status)),
        )
        .chain(
            truth
                .invoices
                .iter()
                .map(|row| ("invoices", "invoice", &row.stripe_invoice, row.status)),
        )
    {
        if let Some(told) = stories.get(id) {
            assert_eq!(row(told, section, field, id)["status"], status);
        }
    }
    for invoice in &truth.invoices {
        let Some(told) = stories.get(&invoice.stripe_invoice) else { continue };
        let paid_by = rows(row(told, "invoices", "invoice", &invoice.stripe_invoice), "payments");
        let paid_by = paid_by.iter().filter(|payment| payment["amount"] != 0);
        assert_eq!(paid_by.clone().count(), invoice.payments.len());
        for payment in paid_by {
            let txn = payment["txn_id"].as_str().unwrap();
            assert_eq!(row(told, "related_payments", "txn_id", txn)["relation"], "pays_invoice");
        }
    }
    for payout in &truth.payouts {
        let id = payout.stripe_payout.as_ref().or(payout.stripe_transfer.as_ref()).unwrap();
        if let Some(told) = stories.get(id) {
            let field = if payout.stripe_payout.is_some() { "payout" } else { "transfer" };
            assert_eq!(row(told, "payouts", field, id)["status"], payout.status_at_last());
        }
    }
    for (kind, id) in &truth.discrepancies {
        if let Some(told) = stories.get(id) {
            row(told, "discrepancies", "kind", kind);
        }
    }
}

/// What a dispute's or a charge's balance transaction belongs to.
fn balance_transactions(system: &System, lives: &[Lifecycle]) {
    let bodies =
        || lives.iter().flat_map(|life| &life.events).map(|event| &event.body["data"]["object"]);
    let moved =
        bodies().find_map(|object| object["balance_transactions"][0]["id"].as_str()).unwrap();
    assert_eq!(rows(&story(system, moved), "disputes").len(), 1);
    let charges = bodies().filter(|object| object["object"] == "charge");
    let (charge, settled) = charges
        .filter(|charge| charge["payment_intent"].is_string())
        .find_map(|charge| Some((&charge["id"], charge["balance_transaction"].as_str()?)))
        .unwrap();
    assert_eq!(&rows(&story(system, settled), "payments")[0]["charge"], charge);
}

/// An event that holds no object has a story too.
fn thin(system: &System, lives: &[Lifecycle]) {
    let life = lives.iter().find(|life| life.scenario == Scenario::ThinEvent).unwrap();
    let told = story(system, &life.events[0].id);
    let event = row(&told, "events", "event", &life.events[0].id);
    assert_eq!(event["verdict"], "unhandled");
    assert_eq!(event["outcome"], "holds no object to keep: recorded only");
}

fn deleted(system: &System, lives: &[Lifecycle]) {
    let truth =
        &lives.iter().find(|life| life.scenario == Scenario::CustomerDeleted).unwrap().truth;
    let id = truth.deleted.iter().find(|id| id.starts_with("cus_")).unwrap();
    assert_eq!(row(&story(system, id), "snapshots", "object", id)["deleted"], true);
    let first = text(system, &[id]).lines().next().unwrap().to_owned();
    assert!(first.starts_with(&format!("customer {id}: deleted")), "{first}");
}

/// A capability's id is unique in its account only, and leads to the account.
fn capability(system: &System, lives: &[Lifecycle]) {
    let events = lives.iter().flat_map(|life| &life.events);
    let event = events.into_iter().find(|event| event.kind == "capability.updated");
    let Some(event) = event else { return };
    let id = event.body["data"]["object"]["id"].as_str().unwrap();
    let account = event.account.as_deref().unwrap();
    let told = story(system, id);
    assert!(
        rows(&told, "snapshots").iter().any(|it| it["object"] == id && it["account"] == account)
    );
    row(&told, "events", "event", &event.id);
}

/// A fee's refund, which may only be seen inside its fee.
fn fee_refund(system: &System, lives: &[Lifecycle]) {
    let events = lives.iter().flat_map(|life| &life.events);
    let refunds = events.map(|event| &event.body["data"]["object"]["refunds"]["data"][0]);
    let refund = refunds.into_iter().find(|refund| refund["object"] == "fee_refund").unwrap();
    let told = story(system, refund["id"].as_str().unwrap());
    let fee = refund["fee"].as_str().unwrap();
    assert_eq!(row(&told, "snapshots", "object", fee)["kind"], "application_fee");
    assert!(rows(&told, "events").iter().any(|event| event["object"] == fee));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disputed_payment_reads_well_and_names_its_segments() {
    let (system, lives) = played("inspect_text").await;
    let life = lives.iter().find(|life| life.scenario == Scenario::DisputeWon).unwrap();
    let (txn, dispute) = (&life.truth.txns[0], &life.truth.disputes[0]);
    let id = txn.stripe_pi.as_ref().unwrap();
    let bucket = system.stack.archive_bucket.clone();
    let with_bucket = [("S3_BUCKET", bucket.as_str())];

    let output = command(&system, &[id], &with_bucket);
    let shown = String::from_utf8(output.stdout).unwrap();
    for line in shown.lines() {
        assert!(line.chars().count() <= 100, "{} wide: {line}", line.chars().count());
    }
    let amount = domain::currency::display(txn.amount, &txn.currency);
    let first = shown.lines().next().unwrap();
    assert_eq!(first, format!("payment {id}: captured, {amount}, dispute won, test mode"));
    for expected in [
        format!("https://dashboard.stripe.com/test/payments/{id}"),
        format!("https://dashboard.stripe.com/test/disputes/{}", dispute.stripe_dispute),
        "Events, in Stripe's order".to_owned(),
        "Ledger (".to_owned(),
        "dispute_fees".to_owned(),
        "dispute.won of du_".to_owned(),
        "waits for firehose, attempts 0".to_owned(),
        "waits for kafka, attempts 0".to_owned(),
        format!("s3://{bucket}/{}/", system.id),
        "segment partition=".to_owned(),
    ] {
        assert!(shown.contains(&expected), "no {expected} in\n{shown}");
    }
    let narrow = command(&system, &[id], &[("COLUMNS", "60")]);
    let narrow = String::from_utf8(narrow.stdout).unwrap();
    let broken = |line: &str| line.chars().count() <= 60 || line.contains("://");
    assert!(narrow.lines().all(broken), "{narrow}");
    // Without the bucket it says how to find the segment.
    assert!(narrow.contains("S3_BUCKET (and S3_PREFIX)"), "{narrow}");

    let output = command(&system, &["--json", id], &with_bucket);
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(rows(&told, "events").len() >= 5);
    for event in rows(&told, "events") {
        let [key] = rows(event, "segments") else { panic!("not one segment: {event:#}") };
        let body = system.stack.aws.get(&bucket, key.as_str().unwrap()).await.unwrap();
        let segment = zstd::decode_all(&body[..]).unwrap();
        let records = segment.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        let mut records = records.filter_map(|line| archive::decode(line).unwrap().entry.record());
        let place = (event["partition"].as_i64(), event["offset"].as_i64());
        let record = records.find(|it| (Some(it.partition.into()), Some(it.offset)) == place);
        let record = record.expect("the segment holds the record");
        assert_eq!(record.header(header::EVENT_ID), event["event"].as_str());
    }

    // Once they are published they no longer wait.
    let _publisher = system.reconciler("publish", "publish", &[]).await.unwrap();
    system.published(DEADLINE).await.unwrap();
    let told = story(&system, id);
    assert!(rows(&told, "facts").len() >= 5);
    assert!(rows(&told, "facts").iter().all(|fact| fact["state"] == "published"));
}

fn event(id: &str, account: Option<&str>, object: &Value) -> Vec<u8> {
    let body = json!({"id": id, "object": "event", "type": "x.updated", "created": START,
        "livemode": false, "account": account, "api_version": "2020-08-27",
        "data": {"object": object}});
    body.to_string().into_bytes()
}

#[tokio::test(flavor = "multi_thread")]
async fn accounts_are_told_apart_and_nothing_personal_is_shown() {
    let system = system("inspect_accounts").await;
    let customer = json!({"id": "cus_1", "object": "customer", "email": "ada@example.org",
        "name": "Ada Lovelace", "phone": "+44 20", "metadata": {"note": "to ada@example.org"}});
    let charge = json!({"id": "ch_1", "object": "charge", "amount": 1250, "currency": "usd",
        "status": "succeeded", "captured": true, "amount_captured": 1250, "created": START,
        "metadata": {"order_id": "ada@example.org"}, "billing_details": {"name": "Ada Lovelace"}});
    let fetched = OwnedHeaders::new()
        .insert(Header { key: header::SOURCE, value: Some("stripe_fetch") })
        .insert(Header { key: header::EVENT_ID, value: Some("fetch_1") })
        .insert(Header { key: header::CREATED, value: Some("1760000001") })
        .insert(Header { key: header::LIVEMODE, value: Some("false") })
        .insert(Header { key: header::TRACEPARENT, value: Some(TRACE) });
    let wrong = json!({"id": "evt_live", "object": "event", "type": "charge.succeeded",
        "created": START, "livemode": true, "data": {"object": {"id": "ch_2", "object": "charge"}}});
    let webhooks = [
        event("evt_1", None, &customer),
        event("evt_2", Some("acct_a"), &customer),
        event("evt_3", None, &charge),
        event("evt_4", Some("acct_a"), &charge),
        event("evt_bad", None, &json!({"id": "ch_bad", "object": "charge"})),
        wrong.to_string().into_bytes(),
    ];
    let webhooks = webhooks.into_iter().map(|body| (0, raw::from_webhook(), Some(body)));
    let fetched = (1, fetched, Some(charge.to_string().into_bytes()));
    raw::write(&system, webhooks.chain([fetched])).await;
    let _run = system.reconciler("run", "project", &[]).await.unwrap();
    system.caught_up(&["project"], DEADLINE).await.unwrap();

    let told = story(&system, "ch_1");
    let accounts: Vec<&str> =
        rows(&told, "payments").iter().map(|row| row["account"].as_str().unwrap()).collect();
    assert_eq!(BTreeSet::from_iter(accounts), ["", "acct_a"].into());
    assert_eq!(rows(&told, "events").len(), 3);
    let shown = text(&system, &["ch_1"]);
    let (ours, theirs) = shown.split_once("=== acct_a").unwrap();
    assert!(ours.contains("evt_3 on ch_1") && !ours.contains("evt_4"), "{shown}");
    assert!(theirs.contains("evt_4 on ch_1") && !theirs.contains("evt_3"), "{shown}");
    let fetched = story(&system, "fetch_1");
    row(&fetched, "events", "event", "evt_3");
    assert_eq!(row(&fetched, "events", "event", "fetch_1")["traceparent"], TRACE);
    assert!(rows(&fetched, "events").iter().all(|event| event["event"] != "evt_4"));

    for arguments in [&["cus_1"][..], &["--snapshot", "cus_1"], &["--snapshot", "--json", "ch_1"]] {
        let shown = text(&system, arguments);
        for personal in ["ada@", "Lovelace", "+44"] {
            assert!(!shown.contains(personal), "{personal} in\n{shown}");
        }
        assert_eq!(shown.contains("***"), arguments.len() > 1, "{shown}");
    }

    let bad = story(&system, "evt_bad");
    let event = row(&bad, "events", "event", "evt_bad");
    assert_eq!(event["verdict"], "quarantined");
    assert_eq!(event["quarantine"]["reason"], "field_missing");
    assert!(event["outcome"].as_str().unwrap().contains("field_missing, "), "{event:#}");
    let live = story(&system, "evt_live");
    let event = row(&live, "events", "event", "evt_live");
    assert_eq!(event["outcome"], "the other livemode: recorded, not projected");
    assert_eq!(event["dashboard"], "https://dashboard.stripe.com/events/evt_live");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_what_nobody_knows_it_says_so() {
    let system = system("inspect_unknown").await;
    for id in ["pi_unknown", "txn_unknown", "unquoted", "'; drop table pay.txn; --", ""] {
        let output = command(&system, &["--json", id], &[]);
        assert_eq!(output.status.code(), Some(1), "{id}");
        assert!(output.stdout.is_empty());
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(said.trim_end().lines().count(), 1, "{said}");
        assert!(said.contains(&format!("nothing is known of {id}")), "{said}");
        assert!(said.contains("are understood"), "{said}");
    }
}
