//! `reconciler republish`: the past once more, byte for byte, to the sink that is named.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use harness::process::{Process, free_address, run};
use harness::stack::eventually;
use harness::system::System;
use lifecycles::{Delivery, Event, Stripe};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::redrive::Said;
use crate::{raw, system};

const DEADLINE: Duration = Duration::from_secs(90);
const START: i64 = 1_760_000_000;

fn republish_with(system: &System, arguments: &[&str], more: &[(&str, &str)]) -> Said {
    let mut env = system.env();
    env.push(("OPERATOR".to_owned(), "ada".to_owned()));
    env.extend(more.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
    let arguments: Vec<&str> = ["republish", "--json"].iter().chain(arguments).copied().collect();
    Said::of(run("reconciler", &arguments, &env).unwrap())
}

fn republish(system: &System, arguments: &[&str]) -> Said {
    republish_with(system, arguments, &[])
}

/// A system with the facts of some lives, told to these sinks only.
async fn told_to(name: &str, seed: u64, lives: usize, sinks: &str) -> System {
    let system = system(name).await;
    let lives = Stripe::new(seed, START).mixed(lives);
    let events: Vec<Event> = lives.into_iter().flat_map(|life| life.events).collect();
    let mut delivery = Delivery::new(seed);
    let mut unkind = delivery.duplicated(&events, 0.2);
    delivery.shuffle(&mut unkind);
    raw::write_events(&system, &unkind, 4).await;
    let run =
        system.reconciler("run", "project,publish", &[("DOMAIN_SINKS", sinks)]).await.unwrap();
    system.caught_up(&["project"], DEADLINE).await.unwrap();
    system.published(DEADLINE).await.unwrap();
    assert!(run.process.terminate(DEADLINE).await.unwrap().success());
    system
}

async fn count(system: &System, condition: &str) -> u64 {
    let sql = format!("select count(*) from pay.fact where {condition}");
    let count: i64 =
        sqlx::query_scalar(sqlx::AssertSqlSafe(sql)).fetch_one(&system.pool).await.unwrap();
    count.unsigned_abs()
}

/// The domain events on the topic as their bytes, by id. An id with two contents fails.
async fn on_kafka(system: &System) -> (BTreeMap<String, Vec<u8>>, usize) {
    let records = system.domain_topic.records().await.unwrap();
    let mut bytes = BTreeMap::new();
    for record in &records {
        let value = record.value.as_deref().unwrap().to_vec();
        let event: Value = serde_json::from_slice(&value).unwrap();
        let subject = event["subject"].as_str().unwrap();
        assert_eq!(record.key.as_deref(), Some(subject.as_bytes()));
        let id = event["id"].as_str().unwrap().to_owned();
        let known = bytes.entry(id).or_insert_with(|| value.clone());
        assert_eq!(*known, value);
    }
    (bytes, records.len())
}

/// The same of what Firehose delivered.
async fn on_firehose(system: &System) -> (BTreeMap<String, Vec<u8>>, usize) {
    let (aws, bucket) = (&system.stack.aws, &system.stack.delivered_bucket);
    let (mut bytes, mut lines) = (BTreeMap::new(), 0);
    for (key, _) in aws.list(bucket, &format!("{}/", system.id)).await.unwrap() {
        let body = aws.get(bucket, &key).await.unwrap();
        for line in body.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            let event: Value = serde_json::from_slice(line).unwrap();
            let id = event["id"].as_str().unwrap().to_owned();
            let known = bytes.entry(id).or_insert_with(|| line.to_vec());
            assert_eq!(known, line);
            lines += 1;
        }
    }
    (bytes, lines)
}

/// The ids that the facts have now: an event that was corrected later is not told again.
async fn current(system: &System, ids: &BTreeMap<String, Vec<u8>>) -> BTreeSet<String> {
    let facts: Vec<(String, String)> = sqlx::query_as(
        "select fact_id, encode(substr(content_hash, 1, 8), 'hex') from pay.fact where not held",
    )
    .fetch_all(&system.pool)
    .await
    .unwrap();
    let current: BTreeSet<String> =
        facts.into_iter().map(|(fact, hash)| format!("{fact}.{hash}")).collect();
    assert!(current.iter().all(|id| ids.contains_key(id)), "everything was told before");
    current
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_sink_gets_the_past_byte_for_byte_and_the_old_one_the_same_again() {
    let system = told_to("republish_all", 31, 80, "firehose").await;
    let (first, lines) = on_firehose(&system).await;
    let current = current(&system, &first).await;
    assert_eq!(on_kafka(&system).await.1, 0);

    let said = republish(&system, &["--sink", "kafka", "--yes", "--rate", "5000"]);
    assert_eq!(said.code, Some(0), "{}", said.err);
    assert_eq!(said.json()["sent"], current.len());
    assert_eq!(said.json()["matching"], current.len());
    assert_eq!(said.json()["complete"], true);
    let (kafka, records) = on_kafka(&system).await;
    assert_eq!(records, current.len(), "each once");
    for (id, bytes) in &kafka {
        assert!(current.contains(id));
        assert_eq!(first[id], *bytes, "what Firehose got at first");
    }

    let said = republish(&system, &["--sink", "firehose", "--yes", "--rate", "5000"]);
    assert_eq!(said.code, Some(0), "{}", said.err);
    let (again, all) = on_firehose(&system).await;
    assert_eq!(again, first, "the same ids with the same bytes");
    assert_eq!(all, lines + current.len());
    let queued: i64 = sqlx::query_scalar("select count(*) from pay.outbox")
        .fetch_one(&system.pool)
        .await
        .unwrap();
    assert_eq!(queued, 0);

    let operations: Vec<(String, String, Value, Value)> = sqlx::query_as(
        "select actor, outcome, arguments, summary from pay.operation where command = 'republish'
         order by operation_id",
    )
    .fetch_all(&system.pool)
    .await
    .unwrap();
    assert_eq!(operations.len(), 2);
    assert_eq!(operations[0].0, "ada");
    assert_eq!(operations[0].1, "done");
    assert_eq!(operations[0].2["sink"], "kafka");
    assert_eq!(operations[0].3["sent"], current.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_is_asked_for_is_sent_and_a_dry_run_sends_nothing() {
    let system = told_to("republish_some", 32, 60, "firehose").await;
    // As for a refund of what turns out never to have been captured.
    let held = "update pay.fact set held = true where fact_id in
        (select fact_id from pay.fact where type = 'payment.captured' order by fact_id limit 2)";
    sqlx::query(held).execute(&system.pool).await.unwrap();
    // One fact that no sink can take, and one whose content somebody changed.
    let unfit = "
        update pay.fact set data = data || '{\"order_id\": \"changed\"}' where fact_id =
          (select fact_id from pay.fact where type = 'payment.failed' order by 1 limit 1)";
    sqlx::query(unfit).execute(&system.pool).await.unwrap();

    let said = republish(&system, &["--sink", "kafka", "--dry-run"]);
    assert_eq!(said.code, Some(0), "{}", said.err);
    assert_eq!(said.json()["matching"], count(&system, "not held").await);
    let types = said.json()["types"].as_array().unwrap().clone();
    for kind in &types {
        let of_kind = format!("not held and type = '{}'", kind["type"].as_str().unwrap());
        assert_eq!(kind["events"], count(&system, &of_kind).await);
    }
    assert_eq!(on_kafka(&system).await.1, 0);

    let middle: String = sqlx::query_scalar(
        "select to_char(percentile_disc(0.5) within group (order by created) at time zone 'utc',
           'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"') from pay.fact",
    )
    .fetch_one(&system.pool)
    .await
    .unwrap();
    let captured = "not held and type = 'payment.captured'";
    let (subject, account): (String, String) = sqlx::query_as(
        "select subject, account from pay.fact
         where not held and type = 'payment.captured' order by 1 limit 1",
    )
    .fetch_one(&system.pool)
    .await
    .unwrap();
    let mut sent = 0;
    for (arguments, condition) in [
        (vec!["--type", "payment.captured"], captured.to_owned()),
        (
            vec!["--type", "payment.captured,refund.issued", "--to", &middle],
            format!(
                "not held and type in ('payment.captured', 'refund.issued')
                 and created < '{middle}'"
            ),
        ),
        (
            vec!["--type", "checkout.initiated", "--from", &middle],
            format!("type = 'checkout.initiated' and created >= '{middle}'"),
        ),
        (vec!["--subject", &subject], format!("not held and subject = '{subject}'")),
        (
            vec!["--account", &account, "--type", "payment.authorized"],
            format!("account = '{account}' and type = 'payment.authorized'"),
        ),
        (vec!["--recorded-to", "2020-01-01"], "false".to_owned()),
    ] {
        let expected = count(&system, &condition).await;
        let asked: Vec<&str> = ["--sink", "kafka", "--yes", "--rate", "5000"]
            .into_iter()
            .chain(arguments.iter().copied())
            .collect();
        let said = republish(&system, &asked);
        assert_eq!(said.code, Some(0), "{arguments:?}: {}", said.err);
        assert_eq!(said.json()["sent"], expected, "{arguments:?}");
        sent += expected;
        assert_eq!(on_kafka(&system).await.1 as u64, sent, "{arguments:?}");
    }
    let said = republish(&system, &["--sink", "kafka", "--type", "payment.failed"]);
    assert_eq!(said.code, Some(3), "{}", said.err);
    assert_eq!(said.json()["left_out"]["altered"]["events"], 1);
    assert_eq!(said.json()["sent"], count(&system, "type = 'payment.failed'").await - 1);

    let said = republish(&system, &["--sink", "kafka", "--confirm-above", "10"]);
    assert_eq!(said.code, Some(2));
    assert!(said.err.contains("--yes: is needed"), "{}", said.err);
    let mut env = system.env();
    env.retain(|(name, _)| name != "KAFKA_BROKERS");
    env.push(("KAFKA_BROKERS".to_owned(), String::new()));
    let said = Said::of(run("reconciler", &["republish", "--sink", "kafka"], &env).unwrap());
    assert_eq!(said.code, Some(2), "{}", said.err);
    assert!(said.err.contains("KAFKA_BROKERS"), "{}", said.err);
}

/// Milliseconds at which the records of the domain topic were made, in order.
async fn times(system: &System) -> Vec<i64> {
    let records = system.domain_topic.records().await.unwrap();
    let mut times: Vec<i64> = records.iter().map(|record| record.timestamp_ms).collect();
    times.sort_unstable();
    times
}

#[tokio::test(flavor = "multi_thread")]
async fn it_keeps_to_its_rate_stops_when_it_is_told_to_and_goes_on_where_it_stopped() {
    let system = told_to("republish_rate", 33, 100, "firehose").await;
    let all = count(&system, "not held").await;
    let rate = 40;
    assert!(all > 5 * rate, "{all} facts");
    let env = system.env();
    let arguments = ["republish", "--sink", "kafka", "--yes", "--rate", "40"];
    let republish_process =
        Process::start("reconciler", &arguments, &env, &system.logs, "republish").unwrap();
    let some = async || {
        let sent = times(&system).await.len() as u64;
        Ok((sent < 2 * rate).then(|| format!("{sent} sent")))
    };
    eventually(DEADLINE, some).await.unwrap();
    let log = republish_process.log.clone();
    let status = republish_process.terminate(DEADLINE).await.unwrap();
    assert_eq!(status.code(), Some(1));
    let said = std::fs::read_to_string(log).unwrap();
    let (_, cursor) = said.trim_end().rsplit_once("reconciler republish … --after ").unwrap();
    let cursor = cursor.trim_end_matches('`');
    let (before, sent) = on_kafka(&system).await;
    assert!((sent as u64) < all, "it was stopped in the middle");
    assert_eq!(before.len(), sent, "each once");

    // Within any second no more than the rate, and a tenth of it for the call that begins it.
    let times = times(&system).await;
    for (index, first) in times.iter().enumerate() {
        let within = times[index..].iter().take_while(|time| **time < first + 1000).count() as u64;
        assert!(within <= rate + rate / 10, "{within} in the second after {first}");
    }

    let said =
        republish(&system, &["--sink", "kafka", "--yes", "--rate", "5000", "--after", cursor]);
    assert_eq!(said.code, Some(0), "{}", said.err);
    assert_eq!(said.json()["sent"], all - sent as u64);
    let (after, records) = on_kafka(&system).await;
    assert_eq!((after.len() as u64, records as u64), (all, all), "no gap, nothing twice");
    let outcome: (String, Value) = sqlx::query_as(
        "select outcome, summary from pay.operation where command = 'republish'
         order by operation_id limit 1",
    )
    .fetch_one(&system.pool)
    .await
    .unwrap();
    assert_eq!((outcome.0.as_str(), &outcome.1["sent"]), ("stopped", &sent.into()));
}

/// Stands before the stand-in for AWS and refuses entries as Firehose does when it is throttled: of
/// each of the first calls, every second one. Returns where it listens and how many it refused.
async fn throttle(calls: usize) -> (SocketAddr, Arc<AtomicUsize>) {
    let endpoint = std::env::var("AWS_ENDPOINT_URL").unwrap();
    let to = endpoint.strip_prefix("http://").unwrap().to_owned();
    let address = free_address().unwrap();
    let listener = TcpListener::bind(address).await.unwrap();
    let refused = Arc::new(AtomicUsize::new(0));
    let (seen, counted) = (Arc::new(AtomicUsize::new(0)), refused.clone());
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let (to, seen, counted) = (to.clone(), seen.clone(), counted.clone());
            tokio::spawn(async move { pass(client, &to, calls, &seen, &counted).await });
        }
    });
    (address, refused)
}

/// One connection, request by request.
async fn pass(
    mut client: TcpStream,
    to: &str,
    calls: usize,
    seen: &AtomicUsize,
    counted: &AtomicUsize,
) -> Option<()> {
    loop {
        let (head, body) = message(&mut client).await?;
        let mut call: Value = serde_json::from_slice(&body).ok()?;
        let records = call["Records"].as_array()?.clone();
        let throttled = seen.fetch_add(1, Ordering::SeqCst) < calls;
        let refuse = |index: usize| throttled && index % 2 == 1;
        let taken: Vec<Value> =
            records.iter().enumerate().filter(|it| !refuse(it.0)).map(|it| it.1.clone()).collect();
        call["Records"] = taken.into();
        let mut server = TcpStream::connect(to).await.ok()?;
        write(&mut server, &head, &call).await?;
        let (head, body) = message(&mut server).await?;
        let mut answer: Value = serde_json::from_slice(&body).ok()?;
        let mut kept = answer["RequestResponses"].as_array()?.clone().into_iter();
        let mut failed = 0;
        let entry = |index| {
            if refuse(index) {
                failed += 1;
                Some(json!({"ErrorCode": "ServiceUnavailableException", "ErrorMessage": "slow"}))
            } else {
                kept.next()
            }
        };
        let entries: Option<Vec<Value>> = (0..records.len()).map(entry).collect();
        answer["RequestResponses"] = entries?.into();
        answer["FailedPutCount"] = failed.into();
        counted.fetch_add(failed, Ordering::SeqCst);
        write(&mut client, &head, &answer).await?;
    }
}

/// A request's or an answer's head and body.
async fn message(stream: &mut TcpStream) -> Option<(String, Vec<u8>)> {
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break end + 4;
        }
        (stream.read_buf(&mut bytes).await.ok()? > 0).then_some(())?;
    };
    let head = String::from_utf8(bytes[..end].to_vec()).ok()?;
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        let is_length = name.eq_ignore_ascii_case("content-length");
        if is_length { value.trim().parse::<usize>().ok() } else { None }
    })?;
    while bytes.len() < end + length {
        (stream.read_buf(&mut bytes).await.ok()? > 0).then_some(())?;
    }
    Some((head, bytes[end..].to_vec()))
}

async fn write(stream: &mut TcpStream, head: &str, body: &Value) -> Option<()> {
    let body = body.to_string();
    let lines = head.trim_end().lines().map(|line| match line.split_once(':') {
        Some((name, _)) if name.eq_ignore_ascii_case("content-length") => {
            format!("{name}: {}\r\n", body.len())
        }
        _ => format!("{line}\r\n"),
    });
    let message: String = lines.chain([String::from("\r\n"), body.clone()]).collect();
    stream.write_all(message.as_bytes()).await.ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn entries_that_firehose_refuses_are_sent_again_and_no_others() {
    let system = told_to("republish_refused", 34, 20, "kafka").await;
    let all = count(&system, "not held").await;
    let (way, refused) = throttle(3).await;
    let endpoint = format!("http://{way}");
    let said = republish_with(
        &system,
        &["--sink", "firehose", "--yes", "--rate", "1000"],
        &[("AWS_ENDPOINT_URL", &endpoint)],
    );
    assert_eq!(said.code, Some(0), "{}", said.err);
    let refused = refused.load(Ordering::SeqCst);
    assert!(refused > 10, "{refused} entries were refused");
    assert_eq!(said.json()["sent_again"], refused);
    assert_eq!(said.json()["sent"], all);
    let (told, lines) = on_firehose(&system).await;
    assert_eq!((told.len() as u64, lines as u64), (all, all), "each once");
}

#[tokio::test(flavor = "multi_thread")]
async fn interrupted_while_the_sink_is_out_of_reach_it_ends() {
    let system = told_to("republish_away", 35, 5, "kafka").await;
    let mut env = system.env();
    let nobody = format!("http://{}", free_address().unwrap());
    env.push(("AWS_ENDPOINT_URL".to_owned(), nobody));
    let arguments = ["republish", "--sink", "firehose", "--yes"];
    let process =
        Process::start("reconciler", &arguments, &env, &system.logs, "republish").unwrap();
    let tries = async || Ok((!process.output().contains("trying again")).then(|| process.output()));
    eventually(DEADLINE, tries).await.unwrap();
    let log = process.log.clone();
    assert_eq!(process.interrupt(DEADLINE).await.unwrap().code(), Some(1));
    let said = std::fs::read_to_string(log).unwrap();
    assert!(said.contains("stopped before it was done"), "{said}");
}
