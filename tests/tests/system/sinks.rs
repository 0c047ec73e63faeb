//! Domain events on both sinks: every fact on each, whatever becomes of the other.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::time::Duration;

use domain::fact::Fact;
use harness::process::{free_address, run};
use harness::stack::{Stack, eventually};
use harness::system::System;
use lifecycles::{Delivery, Event, Stripe};
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use serde_json::{Value, json};
use sqlx::Row as _;

use crate::consumer::Consumer;
use crate::way::Way;
use crate::{raw, system};

const DEADLINE: Duration = Duration::from_secs(90);
const START: i64 = 1_760_000_000;
const ROLES: &str = "project,publish";

/// Events of many lives, shuffled and doubled.
fn unkind_events(seed: u64, lives: usize) -> Vec<Event> {
    println!("seed {seed}");
    let lives = Stripe::new(seed, START).mixed(lives);
    let events: Vec<Event> = lives.into_iter().flat_map(|life| life.events).collect();
    let mut delivery = Delivery::new(seed);
    let mut unkind = delivery.duplicated(&events, 0.3);
    delivery.shuffle(&mut unkind);
    unkind
}

/// The domain event that each fact must come to: time and id, by `factid`.
async fn told(system: &System) -> BTreeMap<String, (String, String)> {
    let rows = sqlx::query(
        "select fact_id, type, account, subject, object_id, extract(epoch from created)::bigint,
           event_id, livemode, data from pay.fact where not held",
    );
    let rows = rows.fetch_all(&system.pool).await.unwrap();
    let facts = rows.iter().map(|row| Fact {
        fact_id: row.get(0),
        kind: row.get(1),
        account: row.get(2),
        subject: row.get(3),
        object_id: row.get(4),
        created: row.get(5),
        event_id: row.get(6),
        livemode: row.get(7),
        data: row.get(8),
        held: false,
    });
    let told = facts.map(|fact| {
        let event = fact.to_domain_event();
        let time = domain::fact::rfc3339(fact.created);
        (fact.fact_id, (time, event.id))
    });
    told.collect()
}

/// What a consumer keeps of these events: of each fact the earliest, then the smallest id.
fn kept<'a>(events: impl IntoIterator<Item = &'a Value>) -> BTreeMap<String, (String, String)> {
    let mut kept = BTreeMap::<String, (String, String)>::new();
    for event in events {
        let text = |field: &str| event[field].as_str().unwrap().to_owned();
        let this = (text("time"), text("id"));
        let one = kept.entry(text("factid")).or_insert_with(|| this.clone());
        if this < *one {
            *one = this;
        }
    }
    kept
}

async fn kept_of_firehose(system: &System) -> BTreeMap<String, (String, String)> {
    kept(&system.delivered().await.unwrap())
}

async fn kept_of_kafka(system: &System) -> BTreeMap<String, (String, String)> {
    let messages = system.on_domain_topic().await.unwrap();
    kept(messages.iter().map(|message| &message.event))
}

/// Both sinks have every fact, and what a consumer keeps is what `pay.fact` says.
async fn both_have_all(system: &System) {
    let told = told(system).await;
    assert!(!told.is_empty());
    assert_eq!(kept_of_firehose(system).await, told);
    assert_eq!(kept_of_kafka(system).await, told);
}

/// Rows that wait for a sink.
async fn waiting(system: &System, sink: &str) -> i64 {
    let count = "select count(*) from pay.outbox
                 where sink = $1 and leased_until is distinct from 'infinity'";
    sqlx::query_scalar(count).bind(sink).fetch_one(&system.pool).await.unwrap()
}

/// Waits until nothing waits for this sink.
async fn emptied(system: &System, sink: &str) {
    let wait = async || {
        let rows = waiting(system, sink).await;
        Ok((rows > 0).then(|| format!("{rows} rows wait for {sink}")))
    };
    eventually(DEADLINE, wait).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn both_sinks_get_every_fact_and_the_consumer_of_the_docs_keeps_what_postgres_has() {
    let system = system("sinks_both").await;
    raw::write_events(&system, &unkind_events(21, 60), 4).await;
    let run = system.reconciler("run", ROLES, &[]).await.unwrap();
    system.caught_up(&["project"], DEADLINE).await.unwrap();
    system.published(DEADLINE).await.unwrap();
    both_have_all(&system).await;

    let messages = system.on_domain_topic().await.unwrap();
    let cloud_event = ("content-type".to_owned(), "application/cloudevents+json".to_owned());
    let mut partitions = BTreeMap::new();
    for message in &messages {
        assert_eq!(message.key, message.event["subject"]);
        assert_eq!(message.headers, std::slice::from_ref(&cloud_event));
        let partition = *partitions.entry(&message.key).or_insert(message.partition);
        assert_eq!(partition, message.partition, "one subject, one partition");
    }
    assert!(partitions.values().collect::<BTreeSet<_>>().len() > 1, "keys spread");
    assert!(run.process.terminate(DEADLINE).await.unwrap().success());

    let consumer = Consumer::start(&system);
    let told = told(&system).await;
    let wait = async || {
        let kept = consumer.kept();
        Ok((kept != told).then(|| format!("it has {} of {} facts", kept.len(), told.len())))
    };
    eventually(DEADLINE, wait).await.unwrap();
}

/// What the reconciler says as its last words, and its exit code.
fn refusal(system: &System, more: &[(&str, &str)]) -> (Option<i32>, String) {
    let mut env = system.env();
    env.push(("RECONCILER_ADMIN_LISTEN".to_owned(), free_address().unwrap().to_string()));
    env.extend(more.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
    let output = run("reconciler", &["run", "--roles", "publish"], &env).unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    let errors: Vec<&str> = said.lines().filter(|line| line.starts_with("error: ")).collect();
    assert_eq!(errors.len(), 1, "{said}");
    (output.status.code(), errors[0].to_owned())
}

async fn make_topic(stack: &Stack, name: &str, settings: &[(&str, &str)]) {
    let admin: AdminClient<DefaultClientContext> =
        ClientConfig::new().set("bootstrap.servers", &stack.brokers).create().unwrap();
    let mut wanted = NewTopic::new(name, 1, TopicReplication::Fixed(1));
    for (key, value) in settings {
        wanted = wanted.set(key, value);
    }
    let options = AdminOptions::new().operation_timeout(Some(Duration::from_secs(20)));
    admin.create_topics(&[wanted], &options).await.unwrap()[0].as_ref().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_domain_topic_that_will_not_do_is_refused_with_one_line() {
    let system = system("sinks_refused").await;
    let absent = format!("{}.absent", system.id);
    let (code, line) = refusal(&system, &[("DOMAIN_TOPIC", &absent)]);
    assert_eq!(code, Some(1), "{line}");
    let remedy = format!("kafka-topics.sh --create --topic {absent} --partitions");
    assert!(line.contains("does not exist") && line.contains(&remedy), "{line}");

    // Two facts of one subject share a key: compaction would delete the first.
    let compacted = format!("{}.compacted", system.id);
    make_topic(&system.stack, &compacted, &[("cleanup.policy", "compact")]).await;
    let (code, line) = refusal(&system, &[("DOMAIN_TOPIC", &compacted)]);
    assert_eq!(code, Some(1), "{line}");
    assert!(line.contains("compaction deletes events"), "{line}");

    let small = format!("{}.small", system.id);
    make_topic(&system.stack, &small, &[("max.message.bytes", "1000000")]).await;
    let (code, line) = refusal(&system, &[("DOMAIN_TOPIC", &small)]);
    assert_eq!(code, Some(1), "{line}");
    assert!(line.contains("max.message.bytes=1000000"), "{line}");

    let (code, line) = refusal(&system, &[("DOMAIN_TOPIC", &system.topic.name)]);
    assert_eq!(code, Some(2), "{line}");
    assert!(line.contains("DOMAIN_TOPIC: is the raw topic"), "{line}");
}

#[tokio::test(flavor = "multi_thread")]
async fn firehose_out_of_reach_does_not_delay_kafka_and_catches_up() {
    let system = system("sinks_firehose_down").await;
    raw::write_events(&system, &unkind_events(22, 30), 4).await;
    let way = Way::shut_to_aws();
    let endpoint = format!("http://{}", way.from);
    let run =
        system.reconciler("run", ROLES, &[("AWS_ENDPOINT_URL", endpoint.as_str())]).await.unwrap();
    system.caught_up(&["project"], DEADLINE).await.unwrap();
    emptied(&system, "kafka").await;
    let told = told(&system).await;
    assert_eq!(kept_of_kafka(&system).await, told);
    assert_eq!(kept_of_firehose(&system).await, BTreeMap::new());
    let waiting = waiting(&system, "firehose").await;
    assert!(usize::try_from(waiting).unwrap() >= told.len(), "{waiting} wait");

    way.open();
    system.published(DEADLINE).await.unwrap();
    both_have_all(&system).await;
    assert!(run.process.terminate(DEADLINE).await.unwrap().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_domain_topic_that_is_gone_does_not_delay_firehose_and_catches_up() {
    let system = system("sinks_topic_gone").await;
    let run = system.reconciler("run", ROLES, &[]).await.unwrap();
    system.domain_topic.delete().await.unwrap();
    raw::write_events(&system, &unkind_events(23, 30), 4).await;
    system.caught_up(&["project"], DEADLINE).await.unwrap();
    emptied(&system, "firehose").await;
    let told = told(&system).await;
    assert_eq!(kept_of_firehose(&system).await, told);
    let tried_in_vain = async || {
        let rows = "select count(*) from pay.outbox
                    where sink = 'kafka' and attempts > 0 and leased_until is null";
        let rows: i64 = sqlx::query_scalar(rows).fetch_one(&system.pool).await?;
        Ok((rows == 0).then(|| "no row was given back".to_owned()))
    };
    eventually(DEADLINE, tried_in_vain).await.unwrap();
    let waiting = waiting(&system, "kafka").await;
    assert!(usize::try_from(waiting).unwrap() >= told.len(), "{waiting} wait");

    system.domain_topic.create().await.unwrap();
    system.published(DEADLINE).await.unwrap();
    both_have_all(&system).await;
    assert!(run.process.terminate(DEADLINE).await.unwrap().success());
}

/// A captured charge, as an event of this time shows it.
fn captured(event: &str, created: i64, order: &str) -> Event {
    let charge = json!({
        "id": "ch_late", "object": "charge", "amount": 1000, "amount_captured": 1000,
        "captured": true, "amount_refunded": 0, "currency": "usd", "status": "succeeded",
        "paid": true, "created": START, "livemode": false, "metadata": {"order_id": order},
    });
    let body = json!({
        "id": event, "object": "event", "type": "charge.updated", "created": created,
        "livemode": false, "api_version": "2024-06-20", "data": {"object": charge},
    });
    Event { id: event.to_owned(), kind: "charge.updated", created, account: None, body }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_earlier_proof_that_comes_late_corrects_the_event_under_the_same_factid() {
    let system = system("sinks_late").await;
    let _run = system.reconciler("run", ROLES, &[]).await.unwrap();
    for (event, created, order) in [
        ("evt_later", START + 60, "ord_later"),
        ("evt_earlier", START, "ord_earlier"),
        // Later still: it changes nothing.
        ("evt_latest", START + 90, "ord_latest"),
    ] {
        raw::write_events(&system, &[captured(event, created, order)], 1).await;
        system.caught_up(&["project"], DEADLINE).await.unwrap();
        system.published(DEADLINE).await.unwrap();
    }
    let firehose = system.delivered().await.unwrap();
    let kafka = system.on_domain_topic().await.unwrap();
    let kafka: Vec<Value> = kafka.into_iter().map(|message| message.event).collect();
    for events in [&firehose, &kafka] {
        let orders: BTreeSet<_> = events.iter().map(|e| e["data"]["order_id"].as_str()).collect();
        assert_eq!(orders, BTreeSet::from([Some("ord_earlier"), Some("ord_later")]));
        let values =
            |field: &str| -> BTreeSet<_> { events.iter().map(|e| e[field].as_str()).collect() };
        assert_eq!(values("factid").len(), 1, "one fact");
        assert_eq!(values("id").len(), 2, "two contents, two ids");
    }
    both_have_all(&system).await;
}

/// A domain event does not show which of Stripe's events proved it, so that must not decide.
#[tokio::test(flavor = "multi_thread")]
async fn of_proofs_of_one_second_postgres_and_consumers_keep_the_same() {
    let system = system("sinks_tied").await;
    let _run = system.reconciler("run", ROLES, &[]).await.unwrap();
    // The smallest event id comes last: would it decide, each of these would be told.
    for proof in (0..5).rev() {
        let event = captured(&format!("evt_{proof}"), START, &format!("ord_{proof}"));
        raw::write_events(&system, &[event], 1).await;
        system.caught_up(&["project"], DEADLINE).await.unwrap();
    }
    system.published(DEADLINE).await.unwrap();
    both_have_all(&system).await;
}

/// Makes every deletion from the queue hang: a publisher that has sent cannot forget.
async fn hang_deletions(system: &System) {
    let statements = "
        create function pay.hang() returns trigger language plpgsql as
          $$ begin perform pg_sleep(25); return null; end $$;
        create trigger hang before delete on pay.outbox for each statement execute function pay.hang()";
    sqlx::raw_sql(statements).execute(&system.pool).await.unwrap();
}

/// Lets them go on, once those that hang are ended: their process is dead, and PostgreSQL does not
/// know it.
async fn let_deletions_go_on(system: &System) {
    let end = "select pg_terminate_backend(pid) from pg_stat_activity
               where datname = current_database() and wait_event = 'PgSleep'";
    sqlx::query(end).execute(&system.pool).await.unwrap();
    sqlx::raw_sql("drop trigger hang on pay.outbox").execute(&system.pool).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_after_it_sent_and_before_it_forgot_it_sends_all_again_and_the_rest() {
    let system = system("sinks_killed").await;
    raw::write_events(&system, &unkind_events(24, 250), 4).await;
    let project = system.reconciler("project", "project", &[]).await.unwrap();
    system.caught_up(&["project"], DEADLINE).await.unwrap();
    let rows = (waiting(&system, "firehose").await, waiting(&system, "kafka").await);
    assert!(rows.0 > 600 && rows.1 > 600, "more than one call each: {rows:?}");

    hang_deletions(&system).await;
    // The shortest lease: what was claimed when it died is free after it.
    let lease = [("PUBLISH_LEASE", "30s")];
    let publish = system.reconciler("publish", "publish", &lease).await.unwrap();
    let some_sent = async || {
        let firehose = system.delivered().await?.len();
        let kafka = system.on_domain_topic().await?.len();
        Ok((firehose == 0 || kafka == 0).then(|| format!("sent: {firehose} and {kafka}")))
    };
    eventually(DEADLINE, some_sent).await.unwrap();
    publish.process.kill().unwrap();
    let_deletions_go_on(&system).await;
    assert_eq!((waiting(&system, "firehose").await, waiting(&system, "kafka").await), rows);

    let _publish = system.reconciler("publish", "publish", &lease).await.unwrap();
    system.published(DEADLINE).await.unwrap();
    both_have_all(&system).await;
    let firehose = system.delivered().await.unwrap();
    let kafka = system.on_domain_topic().await.unwrap();
    let kafka: Vec<Value> = kafka.into_iter().map(|message| message.event).collect();
    for events in [firehose, kafka] {
        let ids: BTreeSet<_> = events.iter().map(|event| event["id"].as_str()).collect();
        assert!(events.len() > ids.len(), "what it could not forget comes twice");
    }
    assert!(project.process.terminate(DEADLINE).await.unwrap().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_too_large_is_set_aside_for_each_sink_and_blocks_nothing() {
    let system = system("sinks_large").await;
    let schema: Value =
        serde_json::from_slice(&fs::read("../docs/events/payment.captured.json").unwrap()).unwrap();
    let mut large = schema["examples"][0].clone();
    large["data"]["order_id"] = "x".repeat(1000 * 1024).into();
    sqlx::query(
        "insert into pay.outbox (sink, event_id, fact_id, type, subject, payload)
         select sink, $1, $2, 'payment.captured', $3, $4 from unnest(array['firehose','kafka']) as sink",
    )
    .bind(large["id"].as_str().unwrap())
    .bind(large["factid"].as_str().unwrap())
    .bind(large["subject"].as_str().unwrap())
    .bind(large.to_string())
    .execute(&system.pool)
    .await
    .unwrap();
    // A process that sends to one sink says that the other has rows.
    let only_kafka = [("DOMAIN_SINKS", "kafka")];
    let other = system.reconciler("only_kafka", "publish", &only_kafka).await.unwrap();
    let said = other.process.output();
    assert!(said.contains("not sent from here (DOMAIN_SINKS)"), "{said}");
    assert!(other.process.terminate(DEADLINE).await.unwrap().success());

    let _run = system.reconciler("run", ROLES, &[]).await.unwrap();
    raw::write_events(&system, &unkind_events(25, 5), 4).await;
    system.caught_up(&["project"], DEADLINE).await.unwrap();
    emptied(&system, "firehose").await;
    emptied(&system, "kafka").await;
    both_have_all(&system).await;
    let aside: Vec<String> = sqlx::query_scalar(
        "select sink from pay.outbox where leased_until = 'infinity' order by 1",
    )
    .fetch_all(&system.pool)
    .await
    .unwrap();
    assert_eq!(aside, ["firehose", "kafka"]);
}
