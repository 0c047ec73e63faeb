//! `reconciler archive erase`, `cat` and `skip`: a person is gone, the chain is whole, and what is
//! lost has a reason.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use aws_sdk_s3::types::{ObjectLockLegalHold, ObjectLockLegalHoldStatus};
use domain::record::RawRecord;
use harness::process::{run, run_unread};
use harness::stack::Stack;
use harness::system::System;
use lifecycles::{Event, Stripe};
use serde_json::Value;

use crate::raw;
use crate::verify::{Bucket, archive, sum, verify, whole};

const DEADLINE: Duration = Duration::from_mins(1);

fn events(seed: u64, lives: usize) -> Vec<Event> {
    let lives = Stripe::new(seed, 1_760_000_000).mixed(lives);
    lives.iter().flat_map(|life| life.events.iter().cloned()).collect()
}

/// A run whose bucket keeps every version of its objects.
async fn versioned(name: &str, partitions: i32) -> System {
    let mut stack = Stack::from_env().await.unwrap();
    let s3 = &stack.aws.s3;
    let bucket = format!("{name}-{}", std::process::id());
    let create = s3.create_bucket().bucket(&bucket).object_lock_enabled_for_bucket(true);
    create.send().await.unwrap();
    stack.archive_bucket = bucket;
    System::create(&stack, name, partitions).await.unwrap()
}

/// The versions of each object, current ones too.
async fn versions(system: &System) -> BTreeMap<String, Vec<Vec<u8>>> {
    let (s3, bucket) = (&system.stack.aws.s3, &system.stack.archive_bucket);
    let listed = s3.list_object_versions().bucket(bucket).send().await.unwrap();
    assert_ne!(listed.is_truncated, Some(true));
    let mut versions: BTreeMap<String, Vec<Vec<u8>>> = BTreeMap::new();
    for version in listed.versions() {
        let (key, id) = (version.key().unwrap(), version.version_id().unwrap());
        let got = s3.get_object().bucket(bucket).key(key).version_id(id).send().await.unwrap();
        let body = got.body.collect().await.unwrap().to_vec();
        versions.entry(key.to_owned()).or_default().push(body);
    }
    versions
}

/// Runs a subcommand of `archive`, and gives its exit code and what it printed.
fn command(system: &System, arguments: &[&str]) -> (Option<i32>, String) {
    let arguments = [&["archive"], arguments].concat();
    let output = run("reconciler", &arguments, &system.env()).unwrap();
    let said = if output.stdout.is_empty() { output.stderr } else { output.stdout };
    (output.status.code(), String::from_utf8(said).unwrap())
}

fn erase(system: &System, arguments: &[&str]) -> Value {
    let (code, said) =
        command(system, &[&["erase", "--json", "--reason", "request 81"], arguments].concat());
    assert_eq!(code, Some(0), "{said}");
    serde_json::from_str(&said).unwrap()
}

fn cat(system: &System, arguments: &[&str]) -> Vec<String> {
    let (code, said) = command(system, &[&["cat"], arguments].concat());
    assert_eq!(code, Some(0), "{said}");
    said.lines().map(str::to_owned).collect()
}

/// An object that several records name, and their places.
fn somebody(records: &[RawRecord]) -> (String, BTreeSet<String>) {
    let names = |record: &RawRecord, id: &str| {
        let body =
            String::from_utf8_lossy(record.value.as_deref().unwrap_or_default()).into_owned();
        body.contains(&format!("\"{id}\""))
    };
    let id = records.iter().find_map(|record| {
        let event: Value = serde_json::from_slice(record.value.as_deref()?).ok()?;
        let id = event["data"]["object"]["id"].as_str().filter(|id| id.starts_with("pi_"))?;
        let count = records.iter().filter(|record| names(record, id)).count();
        (count > 2).then(|| id.to_owned())
    });
    let id = id.unwrap();
    let theirs = records.iter().filter(|record| names(record, &id));
    let places = theirs.map(|it| format!("{}:{}", it.partition, it.offset)).collect();
    (id, places)
}

fn places(report: &Value) -> BTreeSet<String> {
    let places = report["positions"].as_array().unwrap().iter();
    places.map(|place| place.as_str().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_is_gone_from_every_version_and_the_chain_is_whole() {
    let system = versioned("erased", 2).await;
    raw::write_events(&system, &events(31, 16), 2).await;
    let project = system.reconciler("project", "project", &[]).await.unwrap();
    system.caught_up(&["project"], DEADLINE).await.unwrap();
    archive(&system).await;
    assert!(project.process.terminate(DEADLINE).await.unwrap().success());
    let records = system.topic.records().await.unwrap();
    let (id, theirs) = somebody(&records);
    let before = Bucket::of(&system).objects().await;

    // Neither without consent nor by looking is anything changed.
    let (code, said) = command(&system, &["erase", "--object", &id, "--reason", "why"]);
    assert_eq!(code, Some(2), "{said}");
    let would = erase(&system, &["--object", &id, "--dry-run"]);
    assert_eq!((places(&would), &would["operation"]), (theirs.clone(), &Value::Null));
    assert_eq!(Bucket::of(&system).objects().await, before);

    let done = erase(&system, &["--object", &id, "--yes"]);
    assert_eq!(places(&done), theirs);
    let tables: Vec<&str> = done["elsewhere"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it["table"].as_str().unwrap())
        .collect();
    assert_eq!(tables, ["pay.event", "pay.stripe_object"]);
    let query = "select command, outcome, summary ->> 'erased', arguments ->> 'reason'
        from pay.operation where operation_id = $1";
    let kept: (String, String, String, String) = sqlx::query_as(query)
        .bind(done["operation"].as_i64())
        .fetch_one(&system.pool)
        .await
        .unwrap();
    let expected = ["archive erase", "done", &theirs.len().to_string(), "request 81"];
    assert_eq!([kept.0, kept.1, kept.2, kept.3], expected.map(str::to_owned));

    let report = whole(&system, &[], &[]);
    assert_eq!(sum(&report, "erased"), theirs.len() as u64);
    assert_eq!(sum(&report, "records"), records.len() as u64);
    for (key, versions) in versions(&system).await {
        let is_segment = !key.contains("/manifest/");
        assert_eq!(versions.len(), 1, "{key}");
        assert!(is_segment || before[&key] == versions[0], "{key} is as it was");
        let text =
            if is_segment { zstd::decode_all(&versions[0][..]).unwrap() } else { Vec::new() };
        assert!(!String::from_utf8(text).unwrap().contains(&id), "{key}");
    }
    assert_eq!(cat(&system, &["--object", &id]), Vec::<String>::new());
    assert_eq!(cat(&system, &[]).len(), records.len(), "tombstones are shown where all is");

    // What is left can be replayed.
    let replayed = system.command("reconciler", &["replay", "archive", "--yes", "--json"]).unwrap();
    let replayed: Value = serde_json::from_str(&replayed).unwrap();
    let left = (records.len() - theirs.len()) as u64;
    assert_eq!((&replayed["read"], &replayed["erased"]), (&left.into(), &theirs.len().into()));

    // Again changes nothing. A run that died before it had deleted older versions is made good.
    let rewritten: Vec<&String> = before.keys().filter(|key| !key.contains("/manifest/")).collect();
    let now = Bucket::of(&system).objects().await;
    let key = rewritten.into_iter().find(|key| now[*key] != before[*key]).unwrap();
    Bucket::of(&system).put(key, before[key].clone()).await;
    Bucket::of(&system).put(key, now[key].clone()).await;
    let again = erase(&system, &["--object", &id, "--yes"]);
    assert_eq!((&again["erased"], &again["versions_deleted"]), (&0.into(), &2.into()));
    assert_eq!(versions(&system).await[key].len(), 1);
    assert_eq!(Bucket::of(&system).objects().await, now);

    // The role goes on behind tombstones, and adopts them: in one partition the position is gone, in
    // the other the newest manifests too, up to the first segment that was written anew.
    sqlx::query("delete from pay.position where role = 'archive'")
        .execute(&system.pool)
        .await
        .unwrap();
    let manifests: Vec<&String> = now.keys().filter(|it| it.contains("/manifest/")).collect();
    let name = key.rsplit('/').next().unwrap().trim_end_matches(".jsonl.zst");
    let partition = key.split('/').find(|part| part.starts_with("partition=")).unwrap();
    let from = format!("/manifest/{partition}/{name}.json");
    let (start, _) = manifests.iter().enumerate().find(|(_, it)| it.ends_with(&from)).unwrap();
    for manifest in &manifests[start..] {
        if manifest.contains(partition) {
            Bucket::of(&system).delete(manifest).await;
        }
    }
    raw::write_events(&system, &events(32, 4), 2).await;
    archive(&system).await;
    let report = whole(&system, &[], &[]);
    assert_eq!(sum(&report, "erased"), theirs.len() as u64);
    assert_eq!(sum(&report, "records"), system.topic.records().await.unwrap().len() as u64);
}

#[tokio::test(flavor = "multi_thread")]
async fn records_are_chosen_by_event_and_place_and_a_locked_bucket_says_so() {
    let system = versioned("locked", 2).await;
    raw::write_events(&system, &events(33, 8), 2).await;
    archive(&system).await;
    let records = system.topic.records().await.unwrap();
    let event: Value = serde_json::from_slice(records[0].value.as_deref().unwrap()).unwrap();
    let id = event["id"].as_str().unwrap();
    let done = erase(&system, &["--event", id, "--at", "1:2", "--at", "1:3", "--yes"]);
    let expected = ["0:0", "1:2", "1:3"].map(str::to_owned);
    assert_eq!(places(&done), BTreeSet::from(expected));
    whole(&system, &[], &[]);

    // A damaged segment is left as it is; the others are done.
    let objects = Bucket::of(&system).objects().await;
    let of = |part: &str| {
        objects.keys().rfind(|key| key.contains(part) && !key.contains("/manifest/")).unwrap()
    };
    let (damaged, good) = (of("/partition=0/"), of("/partition=1/"));
    Bucket::of(&system).put(damaged, objects[damaged][..40].to_vec()).await;
    let last = |key: &str| {
        let lines = String::from_utf8(zstd::decode_all(&objects[key][..]).unwrap()).unwrap();
        let line: Value = serde_json::from_str(lines.lines().next_back().unwrap()).unwrap();
        format!("{}:{}", line["partition"], line["offset"])
    };
    let ends = [last(damaged), last(good)];
    let arguments =
        ["erase", "--at", &ends[0], "--at", &ends[1], "--reason", "why", "--yes", "--json"];
    let output =
        run("reconciler", &[&["archive"], &arguments[..]].concat(), &system.env()).unwrap();
    let said: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(places(&said), BTreeSet::from([ends[1].clone()]));
    assert!(String::from_utf8_lossy(&output.stderr).contains(damaged.as_str()));
    let (code, report) = verify(&system, &[], &[]);
    let findings = report["findings"].as_array().unwrap();
    assert_eq!((code, findings.len()), (Some(3), 1), "{report:#}");
    Bucket::of(&system).put(damaged, objects[damaged].clone()).await;

    // A bucket that will not let an older version go.
    let hold = ObjectLockLegalHold::builder().status(ObjectLockLegalHoldStatus::On).build();
    let (s3, bucket) = (&system.stack.aws.s3, &system.stack.archive_bucket);
    let put = s3.put_object_legal_hold().bucket(bucket).key(damaged.as_str()).legal_hold(hold);
    put.send().await.unwrap();
    let arguments = ["erase", "--at", &ends[0], "--reason", "why", "--yes", "--json"];
    let (code, said) = command(&system, &arguments);
    let said: Value = serde_json::from_str(&said).unwrap();
    assert_eq!((code, &said["erased"]), (Some(3), &1.into()), "{said:#}");
    assert_eq!(said["versions_kept"][0]["key"], damaged.as_str());
    let why = said["versions_kept"][0]["why"].as_str().unwrap();
    assert!(why.contains("AccessDenied"), "{why}");
    whole(&system, &[], &[]);
}

#[tokio::test(flavor = "multi_thread")]
async fn cat_prints_what_is_asked_for_as_it_is_stored() {
    let stack = Stack::from_env().await.unwrap();
    let system = System::create(&stack, "cat", 2).await.unwrap();
    raw::write_events(&system, &events(34, 12), 2).await;
    archive(&system).await;
    let records = system.topic.records().await.unwrap();
    let stored: BTreeSet<String> = Bucket::of(&system)
        .objects()
        .await
        .into_iter()
        .filter(|(key, _)| !key.contains("/manifest/"))
        .flat_map(|(_, body)| {
            let lines = String::from_utf8(zstd::decode_all(&body[..]).unwrap()).unwrap();
            lines.lines().map(str::to_owned).collect::<Vec<_>>()
        })
        .collect();
    let all = cat(&system, &[]);
    assert_eq!(all.len(), records.len());
    assert_eq!(all.iter().cloned().collect::<BTreeSet<_>>(), stored);
    let offsets = |lines: &[String]| -> Vec<(i64, i64)> {
        let place = |line: &String| {
            let line: Value = serde_json::from_str(line).unwrap();
            (line["partition"].as_i64().unwrap(), line["offset"].as_i64().unwrap())
        };
        lines.iter().map(place).collect()
    };
    assert!(offsets(&all).is_sorted());
    let part = cat(&system, &["--partition", "1:3..12", "--partition", "0:..2"]);
    let expected = (3..12).map(|it| (1, it)).chain([(0, 0), (0, 1)]);
    assert_eq!(offsets(&part), expected.collect::<Vec<_>>());
    assert_eq!(cat(&system, &["--limit", "5"]), all[..5]);
    let bodies = cat(&system, &["--body", "--partition", "0:4..5"]).join("\n");
    assert_eq!(bodies.as_bytes(), records[4].value.as_deref().unwrap());
    let charges = cat(&system, &["--type", "charge.*", "--body"]).join("\n");
    assert!(charges.contains("charge.") && !charges.contains("\"payout.paid\""));
    assert!(cat(&system, &["--to", "2001-01-01"]).is_empty());

    let output = run_unread("reconciler", &["archive", "cat"], &system.env()).unwrap();
    assert_eq!((output.status.code(), output.stderr.len()), (Some(0), 0));
    let query = "select count(*) from pay.operation where command = 'archive cat'";
    let looked: i64 = sqlx::query_scalar(query).fetch_one(&system.pool).await.unwrap();
    assert!(looked > 5, "who looked is kept");
}
