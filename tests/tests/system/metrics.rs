//! What both binaries export under traffic is what docs/METRICS.md lists, and the counters agree with
//! what was sent.

use crate::system;
use domain::signature::sign;
use harness::load::generated;
use harness::metrics::{Document, Scrape};
use harness::stack::eventually;
use harness::system::{Ingest, SECRET, System};
use lifecycles::Stripe;
use reqwest::{Client, Method};
use std::net::SocketAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const DEADLINE: Duration = Duration::from_secs(90);
const ROLES: &str = "project,archive,publish";
const OLD_SECRET: &str = "whsec_old";

/// Listed, but there only when something is wrong.
const WHEN_WRONG: [&str; 3] = [
    "ingest_topic_warning",
    "reconciler_topic_warning",
    "reconciler_discrepancies_open_minor_units",
];

/// How many requests were sent of each kind.
struct Traffic {
    /// Events, each of them accepted.
    distinct: i64,
    /// Of these, sent twice.
    again: i64,
    /// Accepted requests, one that is no JSON included.
    accepted: i64,
    forged: i64,
    unsigned: i64,
    nowhere: i64,
    got: i64,
}

impl Traffic {
    async fn send(ingest: &Ingest) -> Self {
        let mut payloads = generated(&Stripe::new(7, 1_700_000_000).mixed(12));
        let (count, again) = (payloads.len(), 9);
        payloads.extend_from_within(..again);
        let report = ingest.sender().unwrap().send(payloads, || ()).await;
        assert!(report.is_all_accepted(), "{:?}", report.outcomes());
        let path = "/webhooks/stripe";
        let event = r#"{"id":"evt_new","object":"event","type":"tea.brewed","created":1700000000,
            "livemode":false,"data":{"object":{"id":"tea_1","object":"tea"}}}"#;
        let send = async |times: i64, method: &Method, path: &str, secret, body, status| {
            for _ in 0..times {
                assert_eq!(request(ingest, method, path, secret, body).await, status);
            }
            times
        };
        let (post, get) = (Method::POST, Method::GET);
        let new = send(1, &post, path, Some(OLD_SECRET), event, 200).await;
        let no_json = send(1, &post, path, Some(SECRET), "no JSON", 200).await;
        let (count, again) = (i64::try_from(count).unwrap(), i64::try_from(again).unwrap());
        let nowhere = format!("{path}/nowhere");
        Self {
            distinct: count + new,
            again,
            accepted: count + again + new + no_json,
            forged: send(3, &post, path, Some("whsec_forged"), event, 400).await,
            unsigned: send(2, &post, path, None, event, 400).await,
            nowhere: send(4, &post, &nowhere, Some(SECRET), event, 404).await,
            got: send(5, &get, path, None, "", 405).await,
        }
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// One request, and its status.
async fn request(
    ingest: &Ingest,
    method: &Method,
    path: &str,
    secret: Option<&str>,
    body: &str,
) -> u16 {
    let client = Client::builder().no_proxy().build().unwrap();
    let mut request = client.request(method.clone(), format!("http://{}{path}", ingest.listen));
    if let Some(secret) = secret {
        request = request.header("stripe-signature", sign(secret, now(), body.as_bytes()));
    }
    request.body(body.to_owned()).send().await.unwrap().status().as_u16()
}

/// What is exported once a condition holds of it. librdkafka tells its statistics every few seconds.
async fn scrape_once(admin: SocketAddr, what: &str, holds: impl Fn(&Scrape) -> bool) -> Scrape {
    let look = async || Ok((!holds(&Scrape::of(admin).await?)).then(|| what.to_owned()));
    eventually(DEADLINE, look).await.unwrap();
    Scrape::of(admin).await.unwrap()
}

#[track_caller]
fn equal(scrape: &Scrape, name: &str, labels: &[(&str, &str)], expected: i64) {
    assert_eq!(scrape.count(name, labels), expected, "{name}{labels:?}");
}

#[track_caller]
fn is_recent(scrape: &Scrape, name: &str, labels: &[(&str, &str)]) {
    let then = u64::try_from(scrape.count(name, labels)).unwrap();
    assert!(then.abs_diff(now()) < 120, "{name}{labels:?}: {then}");
}

async fn rows(system: &System, query: &'static str) -> i64 {
    sqlx::query_scalar(query).fetch_one(&system.pool).await.unwrap()
}

/// Each metric is as it is listed, and what is listed with these prefixes is there.
fn is_as_listed(document: &Document, scrape: &Scrape, binary: &str) {
    assert_eq!(document.problems(scrape), Vec::<String>::new());
    let exported = scrape.names();
    let missing: Vec<&str> = document
        .names(&[binary, "kafka_", "process_", "tokio_", "service_"])
        .into_iter()
        .filter(|name| !exported.contains(name) && !WHEN_WRONG.contains(name))
        .collect();
    assert_eq!(missing, Vec::<&str>::new(), "listed, but not exported");
}

fn ingest_agrees(it: &Scrape, traffic: &Traffic) {
    let &Traffic { accepted, forged, unsigned, nowhere, got, .. } = traffic;
    let (refused, endpoint) = (forged + unsigned, ("endpoint", "default"));
    for (outcome, expected) in
        [("accepted", accepted), ("refused", refused), ("method_not_allowed", got)]
    {
        let outcome = ("outcome", outcome);
        equal(it, "ingest_requests_total", &[endpoint, outcome], expected);
        equal(it, "ingest_request_duration_seconds_count", &[outcome], expected);
    }
    let not_found = [("endpoint", "none"), ("outcome", "not_found")];
    equal(it, "ingest_requests_total", &not_found, nowhere);
    equal(it, "ingest_requests_total", &[], accepted + refused + nowhere + got);
    for (reason, expected) in [("no_matching_signature", forged), ("missing_header", unsigned)] {
        equal(it, "ingest_refusals_total", &[endpoint, ("reason", reason)], expected);
    }
    for (secret, expected) in [("0", accepted - 1), ("1", 1)] {
        let labels = [endpoint, ("secret", secret)];
        equal(it, "ingest_secret_matches_total", &labels, expected);
        is_recent(it, "ingest_secret_last_match_timestamp_seconds", &labels);
    }
    for (name, expected) in [
        ("ingest_publish_duration_seconds_count", accepted),
        ("ingest_verify_duration_seconds_count", accepted + refused),
        ("ingest_body_read_duration_seconds_count", accepted + refused),
        ("ingest_body_bytes_count", accepted),
        ("ingest_not_json_total", 1),
        ("ingest_publish_errors_total", 0),
        ("ingest_in_flight_requests", 0),
        ("ingest_max_in_flight_requests", 1024),
        ("ingest_secret_active", 2),
        ("ingest_draining", 0),
        ("service_ready", 1),
        ("kafka_client_broker_up", 1),
    ] {
        equal(it, name, &[], expected);
    }
    let accepts = it.count("ingest_connections_accepted_total", &[]);
    let closed = it.count("ingest_connections_closed_total", &[]);
    // One client for each request that is no event, and the sender's.
    assert!(accepts > refused + nowhere + got && closed <= accepts, "{accepts}, {closed}");
}

fn projection_agrees(it: &Scrape, traffic: &Traffic) {
    equal(it, "reconciler_events_total", &[("verdict", "duplicate")], traffic.again);
    // What is no JSON has no event.
    equal(it, "reconciler_events_total", &[], traffic.accepted - 1);
    equal(it, "reconciler_events_by_type_total", &[], traffic.distinct);
    assert!(it.count("reconciler_events_by_type_total", &[("type", "other")]) >= 1);
    equal(it, "reconciler_quarantined_total", &[], 1);
    equal(it, "reconciler_quarantine_open_records", &[("reason", "not_json")], 1);
    equal(it, "reconciler_webhook_to_row_seconds_count", &[], traffic.distinct);
    is_recent(it, "reconciler_ledger_checked_timestamp_seconds", &[]);
    equal(it, "reconciler_ledger_unbalanced_currencies", &[], 0);
    equal(it, "reconciler_ledger_balance_minor_units", &[], 0);
    let batches = it.count("reconciler_apply_seconds_count", &[]);
    equal(it, "reconciler_batch_records_count", &[("role", "project")], batches);
    for step in ["insert_events", "lock_objects", "write_txns", "write_ledger", "commit"] {
        let steps = it.count("reconciler_apply_step_seconds_count", &[("step", step)]);
        assert!(steps >= 1 && 2 * steps >= batches, "{step}: {steps} of {batches}");
    }
}

async fn sinks_agree(it: &Scrape, system: &System) {
    let facts = rows(system, "select count(*) from pay.fact where not held").await;
    for sink in ["firehose", "kafka"] {
        let sink = ("sink", sink);
        let sent = it.count("reconciler_publish_events_total", &[sink, ("result", "sent")]);
        assert!(sent >= facts, "{sink:?}: {sent} of {facts}");
        assert!(it.count("reconciler_publish_calls_total", &[sink, ("result", "ok")]) >= 1);
        equal(it, "reconciler_publish_events_total", &[sink, ("result", "parked")], 0);
    }
    let queued = it.count("reconciler_domain_events_queued_total", &[]);
    equal(it, "reconciler_publish_events_total", &[("result", "sent")], queued);
    equal(it, "reconciler_publish_delay_seconds_count", &[], queued);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_exported_is_listed_and_agrees_with_the_traffic() {
    let system = system("metrics").await;
    let secrets = format!("{SECRET},{OLD_SECRET}");
    let more = [("STRIPE_WEBHOOK_SECRETS", secrets.as_str())];
    let ingest = system.ingest("ingest", &more).await.unwrap();
    let often = [("SAMPLE_INTERVAL", "500ms"), ("SAMPLE_LEDGER_INTERVAL", "500ms")];
    let reconciler = system.reconciler("reconciler", ROLES, &often).await.unwrap();
    let traffic = Traffic::send(&ingest).await;
    system.caught_up(&["project", "archive"], DEADLINE).await.unwrap();
    system.published(DEADLINE).await.unwrap();
    assert_eq!(rows(&system, "select count(*) from pay.event").await, traffic.distinct);

    let document = Document::read().unwrap();
    let up = |client| move |it: &Scrape| it.count("kafka_client_broker_up", &[client]) == 1;
    let it = scrape_once(ingest.admin, "statistics", up(("client", "ingest"))).await;
    is_as_listed(&document, &it, "ingest_");
    ingest_agrees(&it, &traffic);

    let it = scrape_once(reconciler.admin, "all done, sampled, and statistics", |it| {
        up(("client", "publish"))(it)
            && it.count("reconciler_lag_records", &[]) == 0
            && it.count("reconciler_position_lag_records", &[]) == 0
            && it.count("reconciler_quarantine_open_records", &[]) == 1
            && it.count("reconciler_archive_records_total", &[]) == traffic.accepted
    })
    .await;
    is_as_listed(&document, &it, "reconciler_");
    for role in ["project", "archive"] {
        let role = ("role", role);
        equal(&it, "reconciler_consumed_records_total", &[role], traffic.accepted);
        equal(&it, "reconciler_assigned_partitions", &[role], 4);
        equal(&it, "reconciler_role_up", &[role], 1);
        equal(&it, "reconciler_rebalances_total", &[role, ("move", "assigned")], 1);
        equal(&it, "reconciler_lag_seconds", &[role], 0);
    }
    projection_agrees(&it, &traffic);
    sinks_agree(&it, &system).await;
    let charges = "select count(*) from pay.event where type = 'charge.succeeded'";
    let charge = [("type", "charge.succeeded")];
    equal(&it, "reconciler_events_by_type_total", &charge, rows(&system, charges).await);
    let open = "select count(*) from pay.discrepancy where resolved_at is null";
    equal(&it, "reconciler_discrepancies_open", &[], rows(&system, open).await);
    equal(&it, "reconciler_database_max_connections", &[("pool", "sample")], 1);
}
