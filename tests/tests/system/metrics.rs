//! What both binaries export under traffic is what docs/METRICS.md lists, and the counters agree with
//! what was sent.

use crate::system;
use domain::signature::sign;
use harness::load::{Payload, generated};
use harness::metrics::{Document, Scrape};
use harness::stack::eventually;
use harness::system::{Ingest, Reconciler, SECRET, System};
use lifecycles::Stripe;
use reqwest::{Client, Method};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const DEADLINE: Duration = Duration::from_secs(90);
const ROLES: &str = "project,archive,publish";
const OLD_SECRET: &str = "whsec_old";

/// Listed, but there only when something is wrong.
const WHEN_WRONG: [&str; 2] = ["ingest_topic_warning", "reconciler_topic_warning"];

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// One request, and its status.
async fn send(
    ingest: &Ingest,
    method: Method,
    path: &str,
    secret: Option<&str>,
    body: &str,
) -> u16 {
    let client = Client::builder().no_proxy().build().unwrap();
    let mut request = client.request(method, format!("http://{}{path}", ingest.listen));
    if let Some(secret) = secret {
        request = request.header("stripe-signature", sign(secret, now(), body.as_bytes()));
    }
    request.body(body.to_owned()).send().await.unwrap().status().as_u16()
}

/// Waits until a condition holds of what the reconciler exports.
async fn until(reconciler: &Reconciler, what: &str, holds: impl Fn(&Scrape) -> bool) {
    let look = async || {
        let scrape = Scrape::of(reconciler.admin).await?;
        Ok((!holds(&scrape)).then(|| what.to_owned()))
    };
    eventually(DEADLINE, look).await.unwrap();
}

#[track_caller]
fn equal(scrape: &Scrape, name: &str, labels: &[(&str, &str)], expected: usize) {
    let found = scrape.sum(name, labels);
    assert!(
        (found - f64::from(u32::try_from(expected).unwrap())).abs() < 1e-6,
        "{name}{labels:?}: {found}, not {expected}"
    );
}

async fn rows(system: &System, query: &'static str) -> usize {
    let count: i64 = sqlx::query_scalar(query).fetch_one(&system.pool).await.unwrap();
    usize::try_from(count).unwrap()
}

fn is_as_listed(document: &Document, scrape: &Scrape, prefixes: &[&str]) {
    assert_eq!(document.problems(scrape), Vec::<String>::new());
    let exported = scrape.names();
    let missing: Vec<&str> = document
        .names(prefixes)
        .into_iter()
        .filter(|name| !exported.contains(name) && !WHEN_WRONG.contains(name))
        .collect();
    assert_eq!(missing, Vec::<&str>::new(), "listed, but not exported");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_exported_is_listed_and_agrees_with_the_traffic() {
    let system = system("metrics").await;
    let secrets = format!("{SECRET},{OLD_SECRET}");
    let more = [("STRIPE_WEBHOOK_SECRETS", secrets.as_str())];
    let ingest = system.ingest("ingest", &more).await.unwrap();
    let often = [("SAMPLE_INTERVAL", "500ms"), ("SAMPLE_LEDGER_INTERVAL", "500ms")];
    let reconciler = system.reconciler("reconciler", ROLES, &often).await.unwrap();

    let mut payloads: Vec<Payload> = generated(&Stripe::new(7, 1_700_000_000).mixed(12));
    let (distinct, again) = (payloads.len(), 9);
    payloads.extend_from_within(..again);
    let report = ingest.sender().unwrap().send(payloads, || ()).await;
    assert!(report.is_all_accepted(), "{:?}", report.outcomes());
    let path = "/webhooks/stripe";
    let event = r#"{"id":"evt_new","object":"event","type":"tea.brewed","created":1700000000,
        "livemode":false,"data":{"object":{"id":"tea_1","object":"tea"}}}"#;
    assert_eq!(send(&ingest, Method::POST, path, Some(OLD_SECRET), event).await, 200);
    assert_eq!(send(&ingest, Method::POST, path, Some(SECRET), "no JSON").await, 200);
    let (forged, unsigned, lost, got) = (3, 2, 4, 5);
    for _ in 0..forged {
        assert_eq!(send(&ingest, Method::POST, path, Some("whsec_forged"), event).await, 400);
    }
    for _ in 0..unsigned {
        assert_eq!(send(&ingest, Method::POST, path, None, event).await, 400);
    }
    for _ in 0..lost {
        let path = format!("{path}/nowhere");
        assert_eq!(send(&ingest, Method::POST, &path, Some(SECRET), event).await, 404);
    }
    for _ in 0..got {
        assert_eq!(send(&ingest, Method::GET, path, None, "").await, 405);
    }
    system.caught_up(&["project", "archive"], DEADLINE).await.unwrap();
    system.published(DEADLINE).await.unwrap();

    let document = Document::read().unwrap();
    let accepted = distinct + again + 2;
    eventually(DEADLINE, async || {
        // librdkafka tells its statistics every few seconds.
        let up = Scrape::of(ingest.admin).await?.sum("kafka_client_broker_up", &[]);
        Ok((up < 1.0).then(|| "no statistics of the producer".to_owned()))
    })
    .await
    .unwrap();
    let it = Scrape::of(ingest.admin).await.unwrap();
    is_as_listed(&document, &it, &["ingest_", "kafka_", "process_", "tokio_", "service_"]);
    let endpoint = ("endpoint", "default");
    for (outcome, expected) in
        [("accepted", accepted), ("refused", forged + unsigned), ("method_not_allowed", got)]
    {
        equal(&it, "ingest_requests_total", &[endpoint, ("outcome", outcome)], expected);
        let durations = "ingest_request_duration_seconds_count";
        equal(&it, durations, &[("outcome", outcome)], expected);
    }
    equal(&it, "ingest_requests_total", &[("endpoint", "none"), ("outcome", "not_found")], lost);
    equal(&it, "ingest_requests_total", &[], accepted + forged + unsigned + lost + got);
    for (reason, expected) in [("no_matching_signature", forged), ("missing_header", unsigned)] {
        equal(&it, "ingest_refusals_total", &[endpoint, ("reason", reason)], expected);
    }
    equal(&it, "ingest_secret_matches_total", &[endpoint, ("secret", "0")], accepted - 1);
    equal(&it, "ingest_secret_matches_total", &[endpoint, ("secret", "1")], 1);
    let last = it.sum("ingest_secret_last_match_timestamp_seconds", &[("secret", "1")]);
    assert!((last - f64::from(u32::try_from(now()).unwrap())).abs() < 120.0, "{last}");
    equal(&it, "ingest_publish_duration_seconds_count", &[], accepted);
    equal(&it, "ingest_verify_duration_seconds_count", &[], accepted + forged + unsigned);
    equal(&it, "ingest_body_read_duration_seconds_count", &[], accepted + forged + unsigned);
    equal(&it, "ingest_body_bytes_count", &[], accepted);
    equal(&it, "ingest_not_json_total", &[], 1);
    equal(&it, "ingest_publish_errors_total", &[], 0);
    equal(&it, "ingest_in_flight_requests", &[], 0);
    equal(&it, "ingest_max_in_flight_requests", &[], 1024);
    equal(&it, "service_ready", &[], 1);
    let (accepts, closed) = (
        it.sum("ingest_connections_accepted_total", &[]),
        it.sum("ingest_connections_closed_total", &[]),
    );
    assert!(
        accepts >= 14.0 && accepts - closed <= it.sum("ingest_connections", &[]) + 1.0,
        "{accepts} {closed}"
    );

    let rows_of_events = rows(&system, "select count(*) from pay.event").await;
    assert_eq!(rows_of_events, distinct + 1, "of the event that is no JSON there is no row");
    until(&reconciler, "lag", |it| {
        it.sum("reconciler_lag_records", &[]) == 0.0
            && it.sum("reconciler_quarantine_open_records", &[]) == 1.0
            && it.sum("kafka_client_broker_up", &[("client", "publish")]) == 1.0
            && it.sum("reconciler_archive_records_total", &[]) as usize == accepted
    })
    .await;
    let it = Scrape::of(reconciler.admin).await.unwrap();
    is_as_listed(&document, &it, &["reconciler_", "kafka_", "process_", "tokio_", "service_"]);
    for role in ["project", "archive"] {
        equal(&it, "reconciler_consumed_records_total", &[("role", role)], accepted);
        equal(&it, "reconciler_assigned_partitions", &[("role", role)], 4);
        equal(&it, "reconciler_role_up", &[("role", role)], 1);
        equal(&it, "reconciler_rebalances_total", &[("role", role), ("move", "assigned")], 1);
        equal(&it, "reconciler_lag_seconds", &[("role", role)], 0);
    }
    equal(&it, "reconciler_events_total", &[("verdict", "duplicate")], again);
    equal(&it, "reconciler_events_total", &[], accepted - 1);
    equal(&it, "reconciler_events_by_type_total", &[], rows_of_events);
    equal(
        &it,
        "reconciler_events_by_type_total",
        &[("type", "charge.succeeded")],
        rows(&system, "select count(*) from pay.event where type = 'charge.succeeded'").await,
    );
    assert!(it.sum("reconciler_events_by_type_total", &[("type", "other")]) >= 1.0);
    equal(&it, "reconciler_quarantined_total", &[], 1);
    equal(&it, "reconciler_quarantine_open_records", &[("reason", "not_json")], 1);
    let fresh = distinct + 1;
    equal(&it, "reconciler_webhook_to_row_seconds_count", &[], fresh);
    let batches = it.sum("reconciler_apply_seconds_count", &[]);
    for step in ["insert_events", "lock_objects", "write_txns", "write_ledger", "commit"] {
        let steps = it.sum("reconciler_apply_step_seconds_count", &[("step", step)]);
        assert!(steps >= 1.0 && steps >= batches / 2.0, "{step}: {steps} of {batches}");
    }
    let facts = rows(&system, "select count(*) from pay.fact where not held").await;
    for sink in ["firehose", "kafka"] {
        let sent = it.sum("reconciler_publish_events_total", &[("sink", sink), ("result", "sent")]);
        assert!(sent >= f64::from(u32::try_from(facts).unwrap()), "{sink}: {sent} of {facts}");
        assert!(
            it.sum("reconciler_publish_calls_total", &[("sink", sink), ("result", "ok")]) >= 1.0
        );
    }
    let queued = it.sum("reconciler_domain_events_queued_total", &[]);
    let sent = it.sum("reconciler_publish_events_total", &[("result", "sent")]);
    assert!((queued - sent).abs() < 0.5, "{queued} queued, {sent} sent");
    equal(
        &it,
        "reconciler_discrepancies_open",
        &[],
        rows(&system, "select count(*) from pay.discrepancy where resolved_at is null").await,
    );
    equal(&it, "reconciler_ledger_unbalanced_currencies", &[], 0);
    let checked = it.sum("reconciler_ledger_checked_timestamp_seconds", &[]);
    assert!((checked - f64::from(u32::try_from(now()).unwrap())).abs() < 120.0, "{checked}");
    assert!(it.sum("reconciler_database_max_connections", &[("pool", "sample")]) == 1.0);
}
