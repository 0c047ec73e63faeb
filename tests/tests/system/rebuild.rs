//! `reconciler rebuild`: what the live database holds is what the log, quotes and providers say.

use std::time::Duration;

use harness::inputs;
use harness::process::{Process, run};
use harness::stack::eventually;
use harness::system::System;
use lifecycles::{Delivery, Event, Lifecycle, Stripe};
use serde_json::Value;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection, PgPool};

use crate::redrive::{Said, follow, quarantine};
use crate::{raw, system};

const DEADLINE: Duration = Duration::from_secs(90);
const START: i64 = 1_760_000_000;

fn rebuild_with(system: &System, arguments: &[&str], more: &[(&str, &str)]) -> Said {
    let mut env = system.env();
    env.push(("OPERATOR".to_owned(), "ada".to_owned()));
    env.extend(more.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
    let arguments: Vec<&str> = ["rebuild", "--json"].iter().chain(arguments).copied().collect();
    Said::of(run("reconciler", &arguments, &env).unwrap())
}

fn rebuild(system: &System, arguments: &[&str]) -> Said {
    rebuild_with(system, arguments, &[])
}

/// Both hold the same, and nothing is left behind.
async fn is_equal(system: &System, arguments: &[&str]) -> Value {
    let said = rebuild(system, arguments);
    assert_eq!(said.code, Some(0), "{arguments:?}: {}{}", said.out, said.err);
    let said = said.json();
    assert_eq!(said["equal"], true);
    assert_eq!(said["live"], said["rebuilt"]);
    let hash = system.command("reconciler", &["hash", "--json"]).unwrap();
    assert_eq!(said["live"], serde_json::from_str::<Value>(&hash).unwrap());
    assert_eq!(beside(system).await, Vec::<String>::new());
    said
}

/// The databases that were made beside the live one.
async fn beside(system: &System) -> Vec<String> {
    sqlx::query_scalar("select datname from pg_database where starts_with(datname, $1)")
        .bind(format!("{}_rebuild_", system.id))
        .fetch_all(&system.pool)
        .await
        .unwrap()
}

fn lives(seed: u64, count: usize) -> Vec<Lifecycle> {
    println!("seed {seed}");
    Stripe::new(seed, START).mixed(count)
}

/// Their events, shuffled and doubled.
fn unkind(seed: u64, lives: &[Lifecycle]) -> Vec<Event> {
    let events: Vec<Event> = lives.iter().flat_map(|life| life.events.clone()).collect();
    let mut delivery = Delivery::new(seed);
    let mut unkind = delivery.duplicated(&events, 0.4);
    delivery.shuffle(&mut unkind);
    unkind
}

async fn count(pool: &PgPool, what: &str) -> i64 {
    let sql = format!("select count(*) from {what}");
    sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(pool).await.unwrap()
}

/// The open records in quarantine with this reason.
fn open(system: &System, reason: &str) -> Vec<String> {
    let listed = quarantine(system, &["list", "--json", "--limit", "5000", "--reason", reason]);
    let records = listed.json()["records"].as_array().unwrap().clone();
    records.iter().map(|record| record["position"].as_str().unwrap().to_owned()).collect()
}

fn give_up(system: &System, positions: &[String]) {
    let positions = positions.iter().map(String::as_str);
    let arguments: Vec<&str> =
        ["discard", "--reason", "a test of ours"].into_iter().chain(positions).collect();
    let said = quarantine(system, &arguments);
    assert_eq!(said.code, Some(0), "{}", said.err);
}

/// Kills the projector again and again while it works.
async fn with_kills(system: &System) {
    let slow = [("PROJECT_BATCH_RECORDS", "9"), ("PROJECT_LINGER", "0s")];
    for life in 0..3 {
        let before = count(&system.pool, "pay.event").await;
        let run =
            system.reconciler(&format!("life{life}"), "project,archive", &slow).await.unwrap();
        let goes_on = async || {
            let idle = count(&system.pool, "pay.event").await <= before;
            Ok(idle.then(|| "nothing was applied".to_owned()))
        };
        eventually(DEADLINE, goes_on).await.unwrap();
        run.process.kill().unwrap();
    }
}

/// A run in which everything happens that may: records that are refused, too large or no JSON, some
/// redriven, some given up, some left; duplicates of all of them before and after; quotes and
/// providers in between; crashes.
async fn eventful(name: &str, seed: u64) -> System {
    let system = system(name).await;
    let lives = lives(seed, 80);
    let events = unkind(seed, &lives);
    let (before, after) = events.split_at(events.len() / 2);
    let (early, late) = lives.split_at(lives.len() / 2);

    let refuse = "alter table pay.refund add constraint none check (false)";
    sqlx::query(refuse).execute(&system.pool).await.unwrap();
    raw::write_events(&system, before, 4).await;
    let cut = |text: &str| (3, raw::from_webhook(), Some(text.as_bytes().to_vec()));
    raw::write(&system, [cut("{\"id\": "), cut("[1, 2"), (1, raw::from_webhook(), None)]).await;
    let mut sizes: Vec<usize> = events.iter().map(|event| event.to_body().len()).collect();
    sizes.sort_unstable();
    let limit = sizes[sizes.len() * 9 / 10].to_string();
    let tiny = [("PROJECT_MAX_RECORD_BYTES", &*limit), ("PROJECT_BREAKER_SHARE", "1")];
    follow(&system, "tiny", &tiny).await;
    sqlx::query("alter table pay.refund drop constraint none").execute(&system.pool).await.unwrap();
    inputs::write(&system.pool, early).await.unwrap();

    for reason in ["database_refused", "too_large"] {
        let bad = open(&system, reason);
        assert!(bad.len() > 3, "{} {reason}", bad.len());
        give_up(&system, &bad[..bad.len() / 2]);
        let rest = bad[bad.len() / 2..].iter().map(String::as_str);
        let arguments: Vec<&str> = ["redrive"].into_iter().chain(rest).collect();
        let said = quarantine(&system, &arguments);
        assert_eq!(said.code, Some(0), "{}", said.err);
    }
    give_up(&system, &open(&system, "not_json")[..1]);

    raw::write_events(&system, after, 4).await;
    with_kills(&system).await;
    inputs::write(&system.pool, late).await.unwrap();
    // A provider whose account no record has told of: its status is what somebody wrote.
    sqlx::query(
        "insert into acc.provider_connect (user_id, stripe_acct, status, requirements)
         values ('p_silent', 'acct_silent', 'restricted', '{\"why\": \"by hand\"}')",
    )
    .execute(&system.pool)
    .await
    .unwrap();
    sqlx::query("update pay.dispute set evidence_s3 = 's3://evidence/' || dispute_id")
        .execute(&system.pool)
        .await
        .unwrap();
    let run = system.reconciler("last", "project,archive", &[]).await.unwrap();
    system.caught_up(&["project", "archive"], DEADLINE).await.unwrap();
    assert!(run.process.terminate(DEADLINE).await.unwrap().success());
    let without_effect: Vec<String> = sqlx::query_scalar(
        "select event_id from pay.event join pay.quarantine using (event_id)
         where verdict = 'quarantined' and state = 'discarded'",
    )
    .fetch_all(&system.pool)
    .await
    .unwrap();
    let came = |id: &String| events.iter().filter(|event| event.id == *id).count();
    assert!(without_effect.iter().any(|id| came(id) > 1), "one that was given up came twice");
    system
}

async fn states(pool: &PgPool) -> Vec<(String, String, Option<String>)> {
    sqlx::query_as(
        "select reason, state, note from pay.quarantine where state <> 'redriven'
           and event_id is null order by partition, kafka_offset",
    )
    .fetch_all(pool)
    .await
    .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn after_an_eventful_life_the_log_says_what_the_live_database_holds() {
    let system = eventful("rebuild_eventful", 41).await;
    let records: i64 = system.topic.ends().await.unwrap().iter().sum();
    let told = is_equal(&system, &[]).await;
    assert_eq!(told["records"], records);
    is_equal(&system, &["--from", "topic"]).await;
    let queued = count(&system.pool, "pay.outbox").await;

    // Retention takes half of each partition, and the archive ends before the topic does.
    for (partition, end) in system.topic.ends().await.unwrap().into_iter().enumerate() {
        let partition = i32::try_from(partition).unwrap();
        system.topic.delete_before(partition, end / 2).await.unwrap();
    }
    let more = lives(42, 12);
    inputs::write(&system.pool, &more).await.unwrap();
    raw::write_events(&system, &unkind(42, &more), 4).await;
    follow(&system, "more", &[]).await;
    let all: i64 = system.topic.ends().await.unwrap().iter().sum();
    assert!(all > records);
    let told = is_equal(&system, &["--workers", "2"]).await;
    assert_eq!(told["records"], all);
    assert!(count(&system.pool, "pay.outbox").await > queued, "live ones are told");
    let said = rebuild(&system, &["--from", "topic"]);
    assert_eq!(said.code, Some(1), "{}{}", said.out, said.err);
    assert!(said.err.contains("partition 0, offsets 0 to "), "{}", said.err);
    assert!(said.err.contains("--from archive reads the archive first"), "{}", said.err);
    assert_eq!(beside(&system).await, Vec::<String>::new());

    let operations: Vec<(String, String)> = sqlx::query_as(
        "select actor, outcome from pay.operation where command = 'rebuild' order by operation_id",
    )
    .fetch_all(&system.pool)
    .await
    .unwrap();
    let told: Vec<&str> = operations.iter().map(|(_, outcome)| outcome.as_str()).collect();
    assert_eq!(told, ["done", "done", "done", "failed"]);
    assert!(operations.iter().all(|(actor, _)| actor == "ada"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_somebody_changed_by_hand_is_named_before_and_after() {
    let system = system("rebuild_planted").await;
    let lives = lives(43, 60);
    inputs::write(&system.pool, &lives).await.unwrap();
    raw::write_events(&system, &unkind(43, &lives), 4).await;
    let run = system.reconciler("run", "project,archive", &[]).await.unwrap();
    system.caught_up(&["project", "archive"], DEADLINE).await.unwrap();
    let (id, status): (String, String) = sqlx::query_as(
        "update pay.txn set status = 'failed', captured_cents = captured_cents + 1
         where txn_id = (select min(txn_id) from pay.txn where status = 'captured')
         returning txn_id, 'captured'",
    )
    .fetch_one(&system.pool)
    .await
    .unwrap();
    let gone: String = sqlx::query_scalar(
        "delete from pay.dispute where dispute_id = (select min(dispute_id) from pay.dispute)
         returning dispute_id",
    )
    .fetch_one(&system.pool)
    .await
    .unwrap();
    let said = rebuild(&system, &[]);
    assert_eq!(said.code, Some(3), "{}{}", said.out, said.err);
    let told = said.json();
    assert_eq!(told["equal"], false);
    assert_eq!(told["differing"], serde_json::json!({"pay.txn": 1, "pay.dispute": 1}));
    let changes = told["changes"].as_array().unwrap();
    let of = |id: &str| changes.iter().find(|change| change["id"] == id).unwrap();
    assert_eq!(of(&id)["table"], "pay.txn");
    assert_eq!(of(&id)["change"], "changed");
    assert_eq!(of(&id)["columns"]["status"], serde_json::json!(["failed", status]));
    assert_eq!(of(&id)["columns"].as_object().unwrap().len(), 2);
    assert_eq!((&of(&gone)["table"], &of(&gone)["change"]), (&"pay.dispute".into(), &"new".into()));
    for part in ["events", "objects", "ledger", "facts"] {
        assert_eq!(told["live"][part], told["rebuilt"][part], "{part}");
    }

    let said = rebuild(&system, &["--max-differences", "1"]);
    assert_eq!(said.json()["changes"].as_array().unwrap().len(), 1);
    assert_eq!(said.json()["differing"], told["differing"]);
    assert_eq!(beside(&system).await, Vec::<String>::new());
    assert!(run.process.terminate(DEADLINE).await.unwrap().success());
}

/// A database of its own that goes with the test.
struct Own {
    admin: String,
    name: String,
    url: String,
}

impl Own {
    async fn create(system: &System, name: &str) -> Self {
        let (server, _) = system.database_url.rsplit_once('/').unwrap();
        let name = format!("{}_{name}", system.id);
        let (admin, url) = (system.stack.database_url.clone(), format!("{server}/{name}"));
        let own = Self { admin, name, url };
        own.say("create database").await;
        own
    }

    async fn say(&self, what: &str) {
        let mut connection = PgConnection::connect(&self.admin).await.unwrap();
        connection.execute(AssertSqlSafe(format!("{what} {}", self.name))).await.unwrap();
    }

    async fn pool(&self) -> PgPool {
        PgPool::connect(&self.url).await.unwrap()
    }

    async fn drop(self) {
        let gone = async || {
            let mut connection = PgConnection::connect(&self.admin).await?;
            let sql = format!("drop database if exists {} with (force)", self.name);
            let gone = connection.execute(AssertSqlSafe(sql)).await;
            Ok(gone.err().map(|error| error.to_string()))
        };
        eventually(DEADLINE, gone).await.unwrap();
    }
}

/// Waits until records are applied to a database, and keeps others from being: whoever rebuilds it is
/// in the middle from then on.
async fn hold(url: impl AsyncFn() -> Option<String>) -> PgConnection {
    let mut held = None;
    let wait = async || {
        let Some(url) = url().await else { return Ok(Some("there is no database".to_owned())) };
        let mut connection = PgConnection::connect(&url).await?;
        let locked = "begin; lock table pay.event in exclusive mode";
        if let Err(error) = connection.execute(locked).await {
            return Ok(Some(error.to_string()));
        }
        let events = sqlx::query_scalar("select count(*) from pay.event");
        let events: i64 = events.fetch_one(&mut connection).await?;
        if events > 0 {
            held = Some(connection);
        }
        Ok((events == 0).then(|| "nothing is applied".to_owned()))
    };
    eventually(DEADLINE, wait).await.unwrap();
    held.unwrap()
}

async fn positions(pool: &PgPool) -> Vec<(i32, i64)> {
    sqlx::query_as(
        "select partition, next_offset from pay.position where role = 'project' order by 1",
    )
    .fetch_all(pool)
    .await
    .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rebuilt_database_can_take_over() {
    let system = eventful("rebuild_into", 44).await;
    let next = Own::create(&system, "next").await;

    // Only an empty one is taken.
    for url in [&system.database_url, &system.stack.database_url] {
        let pool = PgPool::connect(url).await.unwrap();
        sqlx::query("create table if not exists of_others (id int)").execute(&pool).await.unwrap();
        let said = rebuild(&system, &["--into", url]);
        sqlx::query("drop table of_others").execute(&pool).await.unwrap();
        assert_eq!(said.code, Some(1), "{}{}", said.out, said.err);
        assert!(said.err.contains("is not empty"), "{}", said.err);
    }

    // Interrupted in the middle, it goes on.
    let mut env = system.env();
    env.push(("PROJECT_BATCH_RECORDS".to_owned(), "1".to_owned()));
    let arguments = ["rebuild", "--into", &next.url, "--workers", "1"];
    let process = Process::start("reconciler", &arguments, &env, &system.logs, "first").unwrap();
    let held = hold(async || Some(next.url.clone())).await;
    let log = process.log.clone();
    assert_eq!(process.terminate(DEADLINE).await.unwrap().code(), Some(1));
    let said = std::fs::read_to_string(log).unwrap();
    assert!(said.contains("go on with `reconciler rebuild --into …/"), "{said}");
    held.close().await.unwrap();
    let pool = next.pool().await;
    let before = count(&pool, "pay.event").await;
    assert!(before < count(&system.pool, "pay.event").await);
    pool.close().await;

    let records: i64 = system.topic.ends().await.unwrap().iter().sum();
    let told = is_equal(&system, &["--into", &next.url]).await;
    assert!(told["records"].as_i64().unwrap() < records, "it went on where it was");
    let pool = next.pool().await;
    assert_eq!(positions(&pool).await, positions(&system.pool).await);
    assert_eq!(count(&pool, "pay.outbox").await, 0);
    assert_eq!(count(&pool, "pay.rederive").await, 0);
    assert_eq!(states(&pool).await, states(&system.pool).await);
    let evidence = "pay.dispute where evidence_s3 is not null";
    assert!(count(&pool, evidence).await > 0);
    assert_eq!(count(&pool, evidence).await, count(&system.pool, evidence).await);

    // Topped up, after quotes and records that came since; also what went.
    let more = lives(45, 15);
    inputs::write(&system.pool, &more).await.unwrap();
    sqlx::query("delete from pay.quote where quote_id = (select min(quote_id) from pay.quote)")
        .execute(&system.pool)
        .await
        .unwrap();
    raw::write_events(&system, &unkind(45, &more), 4).await;
    follow(&system, "more", &[]).await;
    is_equal(&system, &["--into", &next.url]).await;
    assert_eq!(positions(&pool).await, positions(&system.pool).await);

    // It takes over: the projector goes on with it, and comes to what the old one comes to.
    let last = lives(46, 15);
    inputs::write(&system.pool, &last).await.unwrap();
    inputs::write(&pool, &last).await.unwrap();
    raw::write_events(&system, &unkind(46, &last), 4).await;
    let more = [("DATABASE_URL", &*next.url), ("KAFKA_GROUP_PREFIX", "next")];
    let taken = system.reconciler("taken", "project", &more).await.unwrap();
    follow(&system, "old", &[]).await;
    let same = async || {
        let is_same = positions(&pool).await == positions(&system.pool).await
            && count(&pool, "pay.rederive").await == 0;
        Ok((!is_same).then(|| "the new one is behind".to_owned()))
    };
    eventually(DEADLINE, same).await.unwrap();
    assert!(taken.process.terminate(DEADLINE).await.unwrap().success());
    let mut env = system.env();
    env.push(("DATABASE_URL".to_owned(), next.url.clone()));
    let hash = |env| Said::of(run("reconciler", &["hash"], env).unwrap()).out;
    assert_eq!(hash(&env), hash(&system.env()));

    // Now it is at work, and is not touched any more.
    let said = rebuild(&system, &["--into", &next.url]);
    assert_eq!(said.code, Some(1), "{}{}", said.out, said.err);
    assert!(said.err.contains("is not empty"), "{}", said.err);
    pool.close().await;
    next.drop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn interrupted_it_takes_its_database_with_it() {
    let system = system("rebuild_interrupted").await;
    raw::write_events(&system, &unkind(47, &lives(47, 200)), 4).await;
    follow(&system, "run", &[]).await;
    let mut env = system.env();
    env.push(("PROJECT_BATCH_RECORDS".to_owned(), "1".to_owned()));
    let arguments = ["rebuild", "--from", "topic", "--workers", "1"];
    let process = Process::start("reconciler", &arguments, &env, &system.logs, "rebuild").unwrap();
    let (server, _) = system.database_url.rsplit_once('/').unwrap();
    let held = hold(async || Some(format!("{server}/{}", beside(&system).await.pop()?))).await;
    assert_eq!(process.interrupt(DEADLINE).await.unwrap().code(), Some(1));
    assert_eq!(beside(&system).await, Vec::<String>::new());
    drop(held);

    let said = rebuild(&system, &["--from", "topic", "--keep"]);
    assert_eq!(said.code, Some(0), "{}", said.err);
    let kept = beside(&system).await;
    assert_eq!(said.json()["database"], *kept[0]);
    let pool = PgPool::connect(&format!("{server}/{}", kept[0])).await.unwrap();
    assert_eq!(count(&pool, "pay.outbox").await, 0);
    assert!(count(&pool, "pay.fact").await > 0);
    pool.close().await;
    let gone = async || {
        let mut connection = PgConnection::connect(&system.stack.database_url).await?;
        let sql = format!("drop database \"{}\" with (force)", kept[0]);
        Ok(connection.execute(AssertSqlSafe(sql)).await.err().map(|error| error.to_string()))
    };
    eventually(DEADLINE, gone).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gap_between_archive_and_topic_is_told_by_its_offsets() {
    let system = system("rebuild_gap").await;
    raw::write_events(&system, &unkind(48, &lives(48, 8)), 4).await;
    let run = system.reconciler("first", "project,archive", &[]).await.unwrap();
    system.caught_up(&["project", "archive"], DEADLINE).await.unwrap();
    assert!(run.process.terminate(DEADLINE).await.unwrap().success());
    let archived = system.topic.ends().await.unwrap()[0];
    // Not archived, applied, and then gone from the topic.
    raw::write_events(&system, &unkind(49, &lives(49, 8)), 4).await;
    follow(&system, "second", &[]).await;
    let low = system.topic.ends().await.unwrap()[0] - 2;
    assert!(low > archived);
    system.topic.delete_before(0, low).await.unwrap();

    let said = rebuild(&system, &[]);
    assert_eq!(said.code, Some(1), "{}{}", said.out, said.err);
    let gap = format!("partition 0, offsets {archived} to {}", low - 1);
    assert!(said.err.contains(&gap), "{gap}: {}", said.err);
    assert!(said.err.contains("neither in the archive nor in the topic"), "{}", said.err);
    assert_eq!(beside(&system).await, Vec::<String>::new());

    let said = rebuild(&system, &["--allow-gaps"]);
    assert_eq!(said.code, Some(3), "{}{}", said.out, said.err);
    assert_eq!(said.json()["gaps"], serde_json::json!([gap]));
    let lost = said.json()["differing"]["pay.event"].as_i64().unwrap();
    assert!(lost > 0 && lost <= low - archived, "{lost} of {}", low - archived);
}
