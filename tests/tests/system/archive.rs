//! The archive: what S3 holds is what was sent, in one chain, whatever died in between.

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use domain::record::RawRecord;
use harness::metrics::metric;
use harness::process::{free_address, run};
use harness::stack::{Stack, eventually};
use harness::system::{Reconciler, System};
use lifecycles::{Event, Stripe};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::raw;
use crate::verify::{sum, whole};

const DEADLINE: Duration = Duration::from_mins(1);

fn events(seed: u64, lives: usize) -> Vec<Event> {
    let lives = Stripe::new(seed, 1_760_000_000).mixed(lives);
    lives.iter().flat_map(|life| life.events.iter().cloned()).collect()
}

/// A segment's lines by its key, and every manifest by partition and first offset.
struct Archive {
    segments: BTreeMap<String, Vec<String>>,
    manifests: BTreeMap<(i64, i64), Value>,
}

async fn read(system: &System) -> Archive {
    let (aws, bucket) = (&system.stack.aws, &system.stack.archive_bucket);
    let mut archive = Archive { segments: BTreeMap::new(), manifests: BTreeMap::new() };
    for (key, _) in aws.list(bucket, &format!("{}/", system.id)).await.unwrap() {
        let body = aws.get(bucket, &key).await.unwrap();
        if key.contains("/manifest/") {
            let manifest: Value = serde_json::from_slice(&body).unwrap();
            let number = |name: &str| manifest[name].as_i64().unwrap();
            archive.manifests.insert((number("partition"), number("first_offset")), manifest);
        } else {
            let lines = String::from_utf8(zstd::decode_all(&body[..]).unwrap()).unwrap();
            archive.segments.insert(key, lines.lines().map(str::to_owned).collect());
        }
    }
    archive
}

/// The body that a line holds.
fn body(line: &Value) -> Option<Vec<u8>> {
    let encoded = line["body_base64"].as_str().map(|text| STANDARD.decode(text).unwrap());
    line["body"].as_str().map(|text| text.as_bytes().to_vec()).or(encoded)
}

/// Every record of the topic is in the archive once, byte for byte, and the chain is whole.
fn check(archive: &Archive, records: &[RawRecord]) {
    let lines = archive.segments.values().flatten().map(|line| {
        let line: Value = serde_json::from_str(line).unwrap();
        let place = (line["partition"].as_i64().unwrap(), line["offset"].as_i64().unwrap());
        (place, line)
    });
    let lines: Vec<_> = lines.collect();
    let by_place: BTreeMap<_, _> = lines.iter().cloned().collect();
    assert_eq!(by_place.len(), lines.len(), "no record is there twice");
    assert_eq!(by_place.len(), records.len(), "every record is there");
    for record in records {
        let line = &by_place[&(i64::from(record.partition), record.offset)];
        assert_eq!(body(line).as_deref(), record.value.as_deref());
        assert_eq!(line["timestamp_ms"].as_i64(), Some(record.timestamp_ms));
        assert_eq!(line["headers"].as_array().unwrap().len(), record.headers.len());
    }

    let mut previous: BTreeMap<i64, (Value, i64)> = BTreeMap::new();
    for ((partition, first), manifest) in &archive.manifests {
        if let Some((list_hash, next)) = previous.get(partition) {
            assert_eq!(&manifest["previous"], list_hash, "the chain holds");
            assert_eq!(first, next, "no offset is missing between segments");
        } else {
            assert!(manifest["previous"].is_null(), "a chain begins");
        }
        let lines = &archive.segments[manifest["segment"].as_str().unwrap()];
        let listed = manifest["records"].as_array().unwrap();
        assert_eq!(listed.len(), lines.len());
        for (entry, line) in listed.iter().zip(lines) {
            assert_eq!(entry["sha256"], hex::encode(Sha256::digest(line)));
        }
        let next = manifest["last_offset"].as_i64().unwrap() + 1;
        previous.insert(*partition, (manifest["list_hash"].clone(), next));
    }
}

/// Bytes that are not in S3 yet, as the process tells.
async fn open_bytes(run: &Reconciler) -> anyhow::Result<f64> {
    metric(run.admin, "reconciler_archive_open_bytes", "").await
}

#[tokio::test(flavor = "multi_thread")]
async fn s3_holds_what_was_sent() {
    let stack = Stack::from_env().await.unwrap();
    let system = System::create(&stack, "archived", 3).await.unwrap();
    raw::write_events(&system, &events(6, 30), 3).await;
    // What is no event is archived like all else.
    let odd = [None, Some(Vec::new()), Some(b"\xff\x00\xfe".to_vec()), Some(b"not json".to_vec())];
    let odd = odd.into_iter().map(|value| (0, raw::from_webhook(), value));
    raw::write(&system, odd).await;
    let small = [("ARCHIVE_SEGMENT_RECORDS", "8"), ("ARCHIVE_SEGMENT_AGE", "1s")];
    let run = system.reconciler("run", "archive", &small).await.unwrap();
    system.caught_up(&["archive"], DEADLINE).await.unwrap();
    let archive = read(&system).await;
    check(&archive, &system.topic.records().await.unwrap());
    assert!(archive.segments.len() > 6, "segments close by count");
    assert!(run.process.terminate(DEADLINE).await.unwrap().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_writes_the_open_segments() {
    let stack = Stack::from_env().await.unwrap();
    let system = System::create(&stack, "drained", 2).await.unwrap();
    let never = [("ARCHIVE_SEGMENT_AGE", "1h")];
    let run = system.reconciler("run", "archive", &never).await.unwrap();
    raw::write_events(&system, &events(7, 5), 2).await;
    let open = async || Ok((open_bytes(&run).await? == 0.0).then(|| "nothing is open".to_owned()));
    eventually(DEADLINE, open).await.unwrap();
    assert!(run.process.terminate(DEADLINE).await.unwrap().success());
    let written = read(&system).await;
    assert!(!written.segments.is_empty(), "the open segments were written");
    // What had not been read yet is archived by the next one.
    let _next = system.reconciler("next", "archive", &[]).await.unwrap();
    system.caught_up(&["archive"], DEADLINE).await.unwrap();
    check(&read(&system).await, &system.topic.records().await.unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_between_put_and_position_it_makes_one_chain() {
    let stack = Stack::from_env().await.unwrap();
    let system = System::create(&stack, "adopted", 2).await.unwrap();
    raw::write_events(&system, &events(9, 6), 2).await;
    let small = [("ARCHIVE_SEGMENT_RECORDS", "10"), ("ARCHIVE_SEGMENT_AGE", "1s")];
    let run = system.reconciler("dies", "archive", &small).await.unwrap();
    system.caught_up(&["archive"], DEADLINE).await.unwrap();
    let before = positions(&system).await;
    let manifests = read(&system).await.manifests.len();
    // Nobody can move a position while this transaction is open: the segment is in S3, then ...
    let mut hold = system.pool.begin().await.unwrap();
    sqlx::query("lock table pay.position in exclusive mode").execute(&mut *hold).await.unwrap();
    raw::write_events(&system, &events(10, 12), 2).await;
    let written = async || {
        let written = read(&system).await.manifests.len() > manifests;
        Ok((!written).then(|| "no manifest yet".to_owned()))
    };
    eventually(DEADLINE, written).await.unwrap();
    // ... the process is gone.
    run.process.kill().unwrap();
    // What it asked of PostgreSQL waits there for the lock and must go with it.
    let gone = async || {
        let query = "select count(pg_terminate_backend(pid)) from pg_stat_activity
             where datname = current_database() and application_name like 'reconciler.%'";
        let left: i64 = sqlx::query_scalar(query).fetch_one(&system.pool).await?;
        Ok((left > 0).then(|| format!("{left} connections")))
    };
    eventually(DEADLINE, gone).await.unwrap();
    hold.rollback().await.unwrap();
    assert_eq!(positions(&system).await, before, "it died before the position");
    // The next one cuts its segments elsewhere, so that it must adopt and go on.
    let other = [("ARCHIVE_SEGMENT_RECORDS", "17"), ("ARCHIVE_SEGMENT_AGE", "1s")];
    let _next = system.reconciler("adopts", "archive", &other).await.unwrap();
    system.caught_up(&["archive"], DEADLINE).await.unwrap();
    check(&read(&system).await, &system.topic.records().await.unwrap());
}

/// The archive's next offset in each partition.
async fn positions(system: &System) -> Vec<(i32, i64)> {
    let query = "select partition, next_offset from pay.position where role = 'archive' order by 1";
    sqlx::query_as(query).fetch_all(&system.pool).await.unwrap()
}

/// Archives some events in small segments, then forgets how far, as a database does that was made
/// anew.
async fn archived_and_forgotten(system: &System) {
    raw::write_events(system, &events(11, 20), 2).await;
    let small = [("ARCHIVE_SEGMENT_RECORDS", "8"), ("ARCHIVE_SEGMENT_AGE", "1s")];
    let run = system.reconciler("first", "archive", &small).await.unwrap();
    system.caught_up(&["archive"], DEADLINE).await.unwrap();
    assert!(run.process.terminate(DEADLINE).await.unwrap().success());
    sqlx::query("delete from pay.position").execute(&system.pool).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_made_anew_goes_on_with_the_chain_that_s3_holds() {
    let stack = Stack::from_env().await.unwrap();
    let system = System::create(&stack, "anew", 2).await.unwrap();
    archived_and_forgotten(&system).await;
    raw::write_events(&system, &events(12, 10), 2).await;
    let records = system.topic.records().await.unwrap();
    // Retention cuts into the first stored segment of one partition. In the other, the newest
    // segment's writer died before its manifest, and retention cuts into that segment.
    system.topic.delete_before(0, 3).await.unwrap();
    let (&(_, newest), _) = read(&system).await.manifests.range((1, 0)..).next_back().unwrap();
    let manifests =
        stack.aws.list(&stack.archive_bucket, &format!("{}/", system.id)).await.unwrap();
    let name = format!("/manifest/partition=1/{newest:020}.json");
    let (key, _) = manifests.iter().find(|(key, _)| key.ends_with(&name)).unwrap();
    stack.aws.s3.delete_object().bucket(&stack.archive_bucket).key(key).send().await.unwrap();
    system.topic.delete_before(1, newest + 1).await.unwrap();

    let _next = system.reconciler("next", "archive", &[]).await.unwrap();
    system.caught_up(&["archive"], DEADLINE).await.unwrap();
    check(&read(&system).await, &records);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_archive_that_ends_before_the_log_begins_says_what_to_do() {
    let stack = Stack::from_env().await.unwrap();
    let system = System::create(&stack, "gap", 2).await.unwrap();
    archived_and_forgotten(&system).await;
    let end = system.topic.ends().await.unwrap()[0];
    raw::write_events(&system, &events(13, 10), 2).await;
    system.topic.delete_before(0, end + 2).await.unwrap();

    let mut env = system.env();
    env.push(("RECONCILER_ADMIN_LISTEN".to_owned(), free_address().unwrap().to_string()));
    let halted = run("reconciler", &["run", "--roles", "archive"], &env).unwrap();
    let said = String::from_utf8(halted.stderr).unwrap();
    assert_eq!(halted.status.code(), Some(1), "{said}");
    let expected = format!("the archive ends before offset {end}, but the topic begins at");
    assert!(said.contains(&expected), "{said}");
    let remedy = said.lines().next_back().unwrap().split('`').nth(1).unwrap();
    let remedy = remedy.strip_prefix("reconciler ").unwrap().strip_suffix(" TEXT").unwrap();

    let skip = |more: &[&str]| {
        let arguments: Vec<&str> = remedy.split(' ').chain(more.iter().copied()).collect();
        let output = run("reconciler", &arguments, &system.env()).unwrap();
        let said =
            String::from_utf8(if output.stdout.is_empty() { output.stderr } else { output.stdout });
        (output.status.code(), said.unwrap())
    };
    let before = positions(&system).await;
    let (code, said) = skip(&["S3 was denied", "--dry-run"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("would be recorded as lost"), "{said}");
    assert_eq!(positions(&system).await, before);
    let (code, said) = skip(&["S3 was denied", "--as", "ada", "--json"]);
    assert_eq!(code, Some(0), "{said}");
    let done: Value = serde_json::from_str(&said).unwrap();
    assert_eq!((&done["from"], &done["to"]), (&end.into(), &(end + 2).into()));
    let (code, said) = skip(&["again"]);
    assert_eq!(code, Some(1));
    assert!(said.contains("nothing is to be skipped"), "{said}");
    let query = "select actor from pay.operation where command = 'archive skip'
        and outcome = 'done' and arguments ->> 'reason' = 'S3 was denied'";
    let actors: Vec<String> = sqlx::query_scalar(query).fetch_all(&system.pool).await.unwrap();
    assert_eq!(actors, ["ada"]);

    // The position is gone, or of before: S3 knows how far the chain reaches.
    let behind = "update pay.position set next_offset = next_offset - 2 where partition = 0";
    sqlx::query(behind).execute(&system.pool).await.unwrap();
    let _next = system.reconciler("next", "archive", &[]).await.unwrap();
    system.caught_up(&["archive"], DEADLINE).await.unwrap();
    let written = read(&system).await;
    let of_0 = |range| written.manifests.range(range).map(|(_, manifest)| manifest);
    let before = of_0((0, 0)..(0, end)).next_back().unwrap();
    let mut after = of_0((0, end)..(1, 0));
    let hole = after.next().unwrap();
    assert_eq!(hole["previous"], before["list_hash"], "one chain");
    assert_eq!(
        (&hole["hole"]["reason"], &hole["hole"]["by"]),
        (&"S3 was denied".into(), &"ada".into())
    );
    let next = after.next().unwrap();
    assert_eq!(next["previous"], hole["list_hash"], "that shows the gap");
    assert_eq!(next["first_offset"].as_i64(), Some(end + 2));
    let report = whole(&system, &[], &[]);
    assert_eq!(report["holes"][0]["reason"], "S3 was denied");
    assert_eq!(sum(&report, "holes"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_archive_ends_when_told_though_s3_is_away() {
    let stack = Stack::from_env().await.unwrap();
    let system = System::create(&stack, "full", 2).await.unwrap();
    raw::write_events(&system, &events(14, 4), 2).await;
    let run = system.reconciler("first", "archive", &[]).await.unwrap();
    system.caught_up(&["archive"], DEADLINE).await.unwrap();
    assert!(run.process.terminate(DEADLINE).await.unwrap().success());

    raw::write_events(&system, &events(15, 20), 2).await;
    let away = [
        ("AWS_ENDPOINT_URL", "http://127.0.0.1:1"),
        ("ARCHIVE_SEGMENT_BYTES", "1KiB"),
        ("ARCHIVE_MAX_OPEN_BYTES", "2KiB"),
        ("ARCHIVE_DRAIN_TIMEOUT", "1s"),
    ];
    let run = system.reconciler("away", "archive", &away).await.unwrap();
    let full = async || {
        let bytes = open_bytes(&run).await?;
        Ok((bytes < 2048.0).then(|| format!("{bytes} bytes are open")))
    };
    eventually(DEADLINE, full).await.unwrap();
    assert!(run.process.terminate(Duration::from_secs(15)).await.unwrap().success());

    let _next = system.reconciler("next", "archive", &[]).await.unwrap();
    system.caught_up(&["archive"], DEADLINE).await.unwrap();
    check(&read(&system).await, &system.topic.records().await.unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn two_writers_make_one_chain() {
    let stack = Stack::from_env().await.unwrap();
    let system = System::create(&stack, "writers", 2).await.unwrap();
    raw::write_events(&system, &events(10, 30), 2).await;
    let of = |prefix, records| {
        [
            ("KAFKA_GROUP_PREFIX", prefix),
            ("ARCHIVE_SEGMENT_RECORDS", records),
            ("ARCHIVE_SEGMENT_AGE", "1s"),
        ]
    };
    let (left, right) = (of("left", "13"), of("right", "19"));
    let (_left, _right) = tokio::join!(
        system.reconciler("left", "archive", &left),
        system.reconciler("right", "archive", &right),
    );
    system.caught_up(&["archive"], DEADLINE).await.unwrap();
    check(&read(&system).await, &system.topic.records().await.unwrap());
}
