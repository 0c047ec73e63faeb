//! `reconciler replay`: whatever is replayed, however often, stopped where it may be, beside live
//! traffic or alone, the state is that of the set of records.

use std::collections::BTreeMap;
use std::time::Duration;

use harness::process::{Env, Process, free_address, run};
use harness::stack::{Stack, eventually};
use harness::system::System;
use lifecycles::{Delivery, Event, Stripe};
use serde_json::{Value, json};
use sqlx::AssertSqlSafe;

use crate::changes::{changes, rows};
use crate::raw;
use crate::redrive::Said;

const DEADLINE: Duration = Duration::from_mins(1);
const PARTITIONS: usize = 3;

fn events(seed: u64, lives: usize) -> Vec<Event> {
    let lives = Stripe::new(seed, 1_760_000_000).mixed(lives);
    let mut events: Vec<Event> = lives.iter().flat_map(|life| life.events.clone()).collect();
    Delivery::new(seed).shuffle(&mut events);
    events
}

async fn system(name: &str) -> System {
    let stack = Stack::from_env().await.unwrap();
    System::create(&stack, name, i32::try_from(PARTITIONS).unwrap()).await.unwrap()
}

/// Small segments, so that there are many.
const SMALL: [(&str, &str); 2] = [("ARCHIVE_SEGMENT_RECORDS", "20"), ("ARCHIVE_SEGMENT_AGE", "1s")];

/// Applies and archives all that is in the topic, and stops.
async fn follow(system: &System, roles: &[&str]) {
    let run = system.reconciler("live", &roles.join(","), &SMALL).await.unwrap();
    system.caught_up(roles, DEADLINE).await.unwrap();
    assert!(run.process.terminate(DEADLINE).await.unwrap().success());
}

fn env(system: &System) -> Env {
    let mut env = system.env();
    env.push(("REPLAY_BATCH_RECORDS".to_owned(), "25".to_owned()));
    env.push(("OPERATOR".to_owned(), "ada".to_owned()));
    env
}

fn replay(system: &System, arguments: &[&str]) -> Said {
    let arguments: Vec<&str> = ["replay"].iter().chain(arguments).copied().collect();
    let output = run("reconciler", &arguments, &env(system)).unwrap();
    Said {
        code: output.status.code(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

/// Replays, with success, and returns the summary.
fn replayed(system: &System, arguments: &[&str]) -> Value {
    let said = replay(system, &[arguments, &["--json"]].concat());
    assert_eq!(said.code, Some(0), "{}", said.err);
    said.json()
}

fn hash(system: &System) -> String {
    system.command("reconciler", &["hash"]).unwrap()
}

async fn count(system: &System, what: &str) -> i64 {
    let sql = AssertSqlSafe(format!("select count(*) from {what}"));
    sqlx::query_scalar(sql).fetch_one(&system.pool).await.unwrap()
}

async fn positions(system: &System) -> Vec<(String, i32, i64)> {
    let query = "select role, partition, next_offset from pay.position order by 1, 2";
    sqlx::query_as(query).fetch_all(&system.pool).await.unwrap()
}

/// When each row last changed: a write that changes nothing would show.
async fn touched(system: &System) -> Vec<String> {
    let query = "select t.id || ' ' || t.updated_at from (
        select txn_id, updated_at from pay.txn union all select refund_id, updated_at from pay.refund
        union all select dispute_id, updated_at from pay.dispute
        union all select payout_id, updated_at from pay.payout
        union all select account || object_id, updated_at from pay.stripe_object)
        as t(id, updated_at) order by 1";
    sqlx::query_scalar(query).fetch_all(&system.pool).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn replaying_what_is_there_changes_nothing_and_publishes_nothing() {
    let system = system("again").await;
    let events = events(31, 40);
    raw::write_events(&system, &events, PARTITIONS).await;
    follow(&system, &["project", "archive"]).await;
    let (before, places) = (hash(&system), positions(&system).await);
    let (rows, waiting) = (touched(&system).await, count(&system, "pay.outbox").await);
    let all = events.len();
    for source in ["topic", "archive", "topic", "archive"] {
        let summary = replayed(&system, &[source]);
        assert_eq!(summary["read"], all, "{source}: {summary}");
        assert_eq!(summary["verdicts"], json!({"duplicate": all}), "{source}");
        let changed = ["skipped", "rows_changed", "facts_new", "domain_events_queued"];
        assert!(changed.iter().all(|name| summary[*name] == 0), "{source}: {summary}");
        assert_eq!(hash(&system), before, "{source}");
        assert_eq!(positions(&system).await, places, "{source}");
        assert_eq!(touched(&system).await, rows, "{source}");
        assert_eq!(count(&system, "pay.outbox").await, waiting, "{source}");
    }
    let listed = run("reconciler", &["operations", "--command", "replay", "--json"], &env(&system));
    let listed: Value = serde_json::from_slice(&listed.unwrap().stdout).unwrap();
    let operations = listed["operations"].as_array().unwrap();
    let told: Vec<_> = operations.iter().map(|it| [&it["command"], &it["outcome"]]).collect();
    let (topic, archive) = (json!("replay topic"), json!("replay archive"));
    let done = json!("done");
    assert_eq!(told, [[&archive, &done], [&topic, &done], [&archive, &done], [&topic, &done]]);
    assert!(operations.iter().all(|it| it["actor"] == "ada" && it["summary"]["read"] == all));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_archive_alone_brings_an_empty_database_back() {
    let system = system("restored").await;
    raw::write_events(&system, &events(32, 60), PARTITIONS).await;
    follow(&system, &["project", "archive"]).await;
    let live = hash(&system);
    let facts = count(&system, "pay.fact where not held").await;
    system.empty_database().await.unwrap();
    assert_ne!(hash(&system), live);
    let summary = replayed(&system, &["archive"]);
    assert_eq!(hash(&system), live);
    assert!(
        summary["rows_changed"].as_i64().unwrap() > 0 && summary["facts_new"].as_i64() > Some(0)
    );
    assert_eq!(count(&system, "pay.position").await, 0, "no role has a place yet");
    let told = count(&system, "(select distinct fact_id from pay.outbox) as told").await;
    assert_eq!(told, facts);
    // The live projector then reads the whole log: all of it is there.
    follow(&system, &["project"]).await;
    assert_eq!(hash(&system), live);
}

/// Records that the projector has not reached yet do no harm.
#[tokio::test(flavor = "multi_thread")]
async fn a_record_may_be_replayed_before_its_turn() {
    let system = system("early").await;
    let (first, second) = (events(33, 20), events(34, 20));
    raw::write_events(&system, &first, PARTITIONS).await;
    follow(&system, &["project"]).await;
    raw::write_events(&system, &second, PARTITIONS).await;
    let summary = replayed(&system, &["topic"]);
    assert_eq!(summary["verdicts"]["duplicate"], first.len());
    let early = hash(&system);
    follow(&system, &["project"]).await;
    assert_eq!(hash(&system), early);
    let events = usize::try_from(count(&system, "pay.event").await).unwrap();
    assert_eq!(events, first.len() + second.len());
}

/// Starts a slow replay from the archive and waits until a part of it is done.
async fn begin(system: &System, name: &str) -> Process {
    let arguments = ["replay", "archive", "--max-rate", "100", "--yes"];
    let process =
        Process::start("reconciler", &arguments, &env(system), &system.logs, name).unwrap();
    let begun = async || {
        let query = "select coalesce(sum(next_offset), 0)::bigint from pay.replay_position
            where next_offset < end_offset";
        let next: i64 = sqlx::query_scalar(query).fetch_one(&system.pool).await?;
        Ok((next < 50).then(|| format!("{next} are done")))
    };
    eventually(DEADLINE, begun).await.unwrap();
    process
}

/// The newest operation: its id, outcome and summary.
async fn newest(system: &System) -> (i64, Option<String>, Value) {
    let query = "select operation_id, outcome, summary from pay.operation
        order by operation_id desc limit 1";
    sqlx::query_as(query).fetch_one(&system.pool).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_and_a_killed_replay_go_on_where_they_were() {
    let system = system("stopped").await;
    let events = events(35, 60);
    raw::write_events(&system, &events, PARTITIONS).await;
    follow(&system, &["project", "archive"]).await;
    let (live, all) = (hash(&system), events.len());
    for signal in ["INT", "TERM", "KILL"] {
        system.empty_database().await.unwrap();
        let process = begin(&system, signal).await;
        let log = process.log.clone();
        if signal == "KILL" {
            process.kill().unwrap();
        } else {
            let ended = if signal == "INT" {
                process.interrupt(DEADLINE).await
            } else {
                process.terminate(DEADLINE).await
            };
            assert_eq!(ended.unwrap().code(), Some(1), "{signal}");
        }
        assert_ne!(hash(&system), live, "{signal}: it was half done");
        let (operation, outcome, summary) = newest(&system).await;
        let number = operation.to_string();
        if signal == "KILL" {
            assert_eq!(outcome, None);
        } else {
            assert_eq!(outcome.as_deref(), Some("stopped"));
            let done = summary["read"].as_u64().unwrap();
            assert!(done > 0 && done < all as u64, "{summary}");
            let said = std::fs::read_to_string(log).unwrap();
            let go_on = format!("go on with `reconciler replay archive --resume {number}`");
            assert!(said.contains(&go_on), "{said}");
        }
        let wrong = replay(&system, &["topic", "--resume", &number]);
        assert!(wrong.err.contains("is a `replay archive`"), "{}", wrong.err);
        let wrong = replay(&system, &["archive", "--resume", &number, "--partition", "0"]);
        assert_eq!(wrong.code, Some(2), "{}", wrong.err);

        let summary = replayed(&system, &["archive", "--resume", &number]);
        assert_eq!(hash(&system), live, "{signal}");
        assert_eq!(summary["read"], all, "{signal}: every record was counted once");
        assert_eq!(summary["verdicts"].get("duplicate"), None, "{signal}: {summary}");
        assert_eq!(newest(&system).await.1.as_deref(), Some("done"));
        let over = replay(&system, &["archive", "--resume", &number]);
        assert!(over.err.contains("is over: done"), "{}", over.err);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn live_traffic_is_applied_meanwhile_and_its_places_are_its_own() {
    let system = system("beside").await;
    raw::write_events(&system, &events(36, 60), PARTITIONS).await;
    follow(&system, &["project", "archive"]).await;
    let live = system.reconciler("projector", "project", &SMALL).await.unwrap();
    let replaying = begin(&system, "beside").await;
    raw::write_events(&system, &events(37, 40), PARTITIONS).await;
    system.caught_up(&["project"], DEADLINE).await.unwrap();
    assert_eq!(newest(&system).await.1, None, "the replay is not over yet");
    assert!(replaying.ended(DEADLINE).await.unwrap().success());
    let ends = system.topic.ends().await.unwrap();
    let next: Vec<i64> = sqlx::query_scalar(
        "select next_offset from pay.position where role = 'project' order by partition",
    )
    .fetch_all(&system.pool)
    .await
    .unwrap();
    assert_eq!(next, ends, "the projector's own places, moved by nobody else");
    assert!(live.process.terminate(DEADLINE).await.unwrap().success());
    let both = hash(&system);
    system.empty_database().await.unwrap();
    follow(&system, &["project"]).await;
    assert_eq!(hash(&system), both);
}

/// While the projector is behind and moves, nothing is applied; when it stands still, it is.
#[tokio::test(flavor = "multi_thread")]
async fn it_waits_while_the_projector_is_behind_and_moves() {
    let system = system("behind").await;
    raw::write_events(&system, &events(39, 20), PARTITIONS).await;
    follow(&system, &["project", "archive"]).await;
    raw::write_events(&system, &events(40, 10), PARTITIONS).await;
    let moves = async || {
        let moved = "update pay.position set updated_at = clock_timestamp() where role = 'project'";
        sqlx::query(moved).execute(&system.pool).await.unwrap();
    };
    moves().await;
    let arguments = ["replay", "archive", "--max-live-lag", "5", "--yes"];
    let process =
        Process::start("reconciler", &arguments, &env(&system), &system.logs, "waits").unwrap();
    let waits = async || {
        moves().await;
        let said = process.output();
        Ok((!said.contains("waits for live traffic")).then_some(said))
    };
    eventually(DEADLINE, waits).await.unwrap();
    let done = "pay.replay_position where next_offset > 0";
    for _ in 0..5 {
        moves().await;
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert_eq!(count(&system, done).await, 0, "nothing is applied meanwhile");
    }
    // It stands still now: after ten seconds nobody waits for it.
    assert!(process.ended(DEADLINE).await.unwrap().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_changes_nothing_and_tells_what_then_changes() {
    let system = system("rehearsed").await;
    raw::write_events(&system, &events(45, 25), PARTITIONS).await;
    follow(&system, &["project"]).await;
    let half = system.topic.ends().await.unwrap();
    raw::write_events(&system, &events(46, 25), PARTITIONS).await;
    follow(&system, &["archive"]).await;
    for source in ["topic", "archive"] {
        let (before, state) = (rows(&system.pool).await, hash(&system));
        let places = positions(&system).await;
        let told = replayed(&system, &[source, "--dry-run"]);
        assert_eq!(rows(&system.pool).await, before, "{source}");
        assert_eq!((hash(&system), positions(&system).await), (state, places), "{source}");
        assert_eq!(count(&system, "pay.replay_position").await, 0, "{source}");
        let done = replayed(&system, &[source]);
        let after = rows(&system.pool).await;
        assert_eq!(told["changes"], json!(changes(&before, &after)), "{source}");
        for name in ["read", "skipped"] {
            assert_eq!(told[name], done[name], "{source}: {name}");
        }
        // What is stale depends on the order, in which partitions pass each other.
        let of =
            |summary: &Value, verdict: &str| summary["verdicts"][verdict].as_u64().unwrap_or(0);
        let fresh = |summary: &Value| of(summary, "applied") + of(summary, "stale");
        assert_eq!(fresh(&told), fresh(&done), "{source}");
        assert_eq!(of(&told, "duplicate"), of(&done, "duplicate"), "{source}");
        assert!(told["rows_changed"].as_u64() > Some(0), "{source}: {told}");
        let again = replayed(&system, &[source, "--dry-run"]);
        assert_eq!(again["changes"], json!([]), "{source}");
        // Back to the state before, for the other source.
        system.empty_database().await.unwrap();
        for (partition, next) in half.iter().enumerate() {
            replayed(&system, &["topic", "--offset", &format!("{partition}:0..{next}")]);
        }
        sqlx::query("delete from pay.replay_position").execute(&system.pool).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn filters_and_ranges_choose() {
    let system = system("chosen").await;
    let events = events(41, 30);
    raw::write_events(&system, &events, PARTITIONS).await;
    follow(&system, &["project", "archive"]).await;
    let records = system.topic.records().await.unwrap();
    let chosen =
        |summary: &Value| summary["read"].as_u64().unwrap() - summary["skipped"].as_u64().unwrap();
    let of = |kind: &str| events.iter().filter(|it| it.body["type"] == kind).count() as u64;
    let event = &events[7];
    let id = event.body["id"].as_str().unwrap();
    let family =
        events.iter().filter(|it| it.body["type"].as_str().unwrap().starts_with("charge."));
    let family = family.count() as u64;
    let object = event.body["data"]["object"]["id"].as_str().unwrap();
    let naming =
        events.iter().filter(|it| it.to_body().contains(&format!("\"{object}\""))).count() as u64;
    for source in ["topic", "archive"] {
        let choose = |more: &[&str]| chosen(&replayed(&system, &[&[source], more].concat()));
        assert_eq!(choose(&["--event", id]), 1, "{source}");
        assert_eq!(choose(&["--type", "charge.succeeded"]), of("charge.succeeded"), "{source}");
        assert_eq!(choose(&["--type", "charge.*"]), family, "{source}");
        assert_eq!(choose(&["--object", object]), naming, "{source}");
        assert_eq!(choose(&["--limit", "17"]), 17, "{source}");
        assert_eq!(choose(&["--account", "acct_nobody"]), 0, "{source}");
        assert_eq!(choose(&["--from", "2020-01-01"]), events.len() as u64, "{source}");
        assert_eq!(choose(&["--from", "2099-01-01"]), 0, "{source}");
        assert_eq!(choose(&["--to", "2020-01-01"]), 0, "{source}");
        let in_one = records.iter().filter(|record| record.partition == 1).count() as u64;
        assert_eq!(choose(&["--partition", "1"]), in_one, "{source}");
    }
    let range = replayed(&system, &["topic", "--offset", "0:3..8", "--offset", "2:..4"]);
    assert_eq!(range["read"], 9);
    let manifests: Vec<String> = keys(&system, "/manifest/").await;
    let one = replayed(&system, &["archive", "--manifest", &manifests[0]]);
    assert_eq!(one["read"], 20);
    let today = system.topic.records().await.unwrap()[0].timestamp_ms / 1000;
    let today = time::OffsetDateTime::from_unix_timestamp(today).unwrap().date().to_string();
    let day = replayed(&system, &["archive", "--date", &today]);
    assert_eq!(day["read"], events.len());
}

/// The archive's keys that hold this.
async fn keys(system: &System, part: &str) -> Vec<String> {
    let prefix = format!("{}/", system.id);
    let keys = system.stack.aws.list(&system.stack.archive_bucket, &prefix).await.unwrap();
    keys.into_iter().map(|(key, _)| key).filter(|key| key.contains(part)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_replayed_says_why() {
    let system = system("refused").await;
    raw::write_events(&system, &events(42, 20), PARTITIONS).await;
    follow(&system, &["project", "archive"]).await;
    let many = replay(&system, &["archive", "--confirm-above", "10"]);
    assert_eq!(many.code, Some(2), "{}", many.err);
    assert!(many.err.contains("--yes: is needed: "), "{}", many.err);
    assert!(many.err.contains("are more than REPLAY_CONFIRM_ABOVE (10)"), "{}", many.err);
    assert_eq!(replay(&system, &["archive", "--confirm-above", "10", "--yes"]).code, Some(0));
    let few = replay(&system, &["archive", "--confirm-above", "10", "--limit", "10"]);
    assert_eq!(few.code, Some(0), "{}", few.err);

    system.topic.delete_before(0, 5).await.unwrap();
    for range in [&["--offset", "0:3.."][..], &["--from", "2020-01-01"]] {
        let gone = replay(&system, &[&["topic"], range].concat());
        assert_eq!(gone.code, Some(1), "{}", gone.err);
        assert!(gone.err.contains("`reconciler replay archive`"), "{}", gone.err);
    }
    let rest = replayed(&system, &["topic", "--offset", "0:5.."]);
    assert!(rest["read"].as_u64() > Some(0));
    let beyond = replay(&system, &["topic", "--offset", "0:..100000"]);
    assert!(beyond.err.contains("the log ends at"), "{}", beyond.err);
    let absent = replay(&system, &["topic", "--partition", "9"]);
    assert!(absent.err.contains("partition 9 is not one of"), "{}", absent.err);
    let absent = replay(&system, &["archive", "--partition", "9"]);
    assert!(absent.err.contains("holds no partition 9"), "{}", absent.err);
    assert_eq!(replay(&system, &["archive", "--date", "2026-01-32"]).code, Some(2));
    let none = replay(&system, &["archive", "--s3-prefix", "nowhere"]);
    assert!(none.err.contains("nothing is archived under this prefix"), "{}", none.err);
}

/// What the message of the halted role says is enough.
#[tokio::test(flavor = "multi_thread")]
async fn a_projector_that_retention_has_overtaken_goes_on_by_what_it_is_told() {
    let system = system("overtaken").await;
    let (first, second) = (events(47, 15), events(48, 25));
    raw::write_events(&system, &first, PARTITIONS).await;
    follow(&system, &["project", "archive"]).await;
    raw::write_events(&system, &second, PARTITIONS).await;
    follow(&system, &["archive"]).await;
    let end = system.topic.ends().await.unwrap()[0];
    system.topic.delete_before(0, end - 2).await.unwrap();
    let mut env = env(&system);
    env.push(("RECONCILER_ADMIN_LISTEN".to_owned(), free_address().unwrap().to_string()));
    let halted = run("reconciler", &["run", "--roles", "project"], &env).unwrap();
    let said = String::from_utf8(halted.stderr).unwrap();
    assert_eq!(halted.status.code(), Some(1), "{said}");
    let told = said.lines().next_back().unwrap();
    let (_, command) = told.split_once("`reconciler replay ").unwrap();
    let (command, statement) = command.split_once("`. Then go on behind it: ").unwrap();
    // The role has halted: it is behind, but nobody waits for it.
    let said = replay(&system, &command.split(' ').collect::<Vec<_>>());
    assert_eq!(said.code, Some(0), "{}", said.err);
    let moved = sqlx::query(AssertSqlSafe(statement)).execute(&system.pool).await.unwrap();
    assert_eq!(moved.rows_affected(), 1, "{statement}");
    follow(&system, &["project"]).await;
    let caught_up = hash(&system);
    system.empty_database().await.unwrap();
    replayed(&system, &["archive"]);
    assert_eq!(hash(&system), caught_up);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_segment_with_a_changed_byte_is_refused_whole() {
    let system = system("altered").await;
    raw::write_events(&system, &events(43, 20), 1).await;
    follow(&system, &["project", "archive"]).await;
    let key = keys(&system, "/partition=0/date=").await.swap_remove(1);
    let (aws, bucket) = (&system.stack.aws, &system.stack.archive_bucket);
    let whole = aws.get(bucket, &key).await.unwrap();
    let mut lines = zstd::decode_all(&whole[..]).unwrap();
    let place = lines.windows(9).rposition(|window| window == b"\"currency").unwrap();
    lines[place + 1] ^= 1;
    let altered = zstd::encode_all(&lines[..], 3).unwrap();
    let put = async |body: Vec<u8>| {
        let put = aws.s3.put_object().bucket(bucket).key(&key).body(body.into());
        put.send().await.unwrap();
    };
    put(altered).await;
    let live = hash(&system);
    system.empty_database().await.unwrap();
    let said = replay(&system, &["archive"]);
    assert_eq!(said.code, Some(1));
    assert!(said.err.contains(&key) && said.err.contains("was changed"), "{}", said.err);
    let first: i64 = sqlx::query_scalar("select max(kafka_offset) from pay.event")
        .fetch_one(&system.pool)
        .await
        .unwrap();
    assert_eq!(first, 19, "what is before it is applied, and nothing of it");
    let (operation, outcome, summary) = newest(&system).await;
    assert_eq!(outcome.as_deref(), Some("failed"));
    assert!(summary["error"].as_str().unwrap().contains("was changed"), "{summary}");
    put(whole).await;
    replayed(&system, &["archive", "--resume", &operation.to_string()]);
    assert_eq!(hash(&system), live);
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_records_go_to_quarantine_and_too_many_of_them_stop_it() {
    let system = system("bad").await;
    let events = events(44, 20);
    raw::write_events(&system, &events, 1).await;
    let bad = |body: &[u8]| (0, raw::from_webhook(), Some(body.to_vec()));
    raw::write(&system, [bad(b"{\"id\": ")]).await;
    follow(&system, &["archive"]).await;
    // PostgreSQL refuses refunds: those records are found among the others.
    let refuse = "alter table pay.refund add constraint none check (false)";
    sqlx::query(refuse).execute(&system.pool).await.unwrap();
    let said = replay(&system, &["archive", "--json"]);
    assert_eq!(said.code, Some(3), "{}", said.err);
    let quarantined: BTreeMap<String, i64> =
        serde_json::from_value(said.json()["quarantined"].clone()).unwrap();
    assert_eq!(quarantined["not_json"], 1);
    assert!(quarantined["database_refused"] > 0, "{quarantined:?}");
    let kept = count(&system, "pay.quarantine").await;
    assert_eq!(kept, quarantined.values().sum::<i64>());
    assert_eq!(newest(&system).await.1.as_deref(), Some("found"));

    raw::write(&system, (0..60).map(|_| bad(b"<html>502</html>"))).await;
    let from = format!("0:{}..", events.len() + 1);
    let said = replay(&system, &["topic", "--offset", &from]);
    assert_eq!(said.code, Some(1), "{}", said.err);
    assert!(said.err.contains("would go to quarantine: not_json"), "{}", said.err);
    assert!(count(&system, "pay.quarantine").await < kept + 20);
    assert_eq!(count(&system, "pay.breaker").await, 0, "live traffic is not paused");
}
