//! `reconciler archive verify`: a whole archive is whole, and whatever is done to one is named.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use domain::archive::{Manifest, Segment, decode};
use harness::load::generated;
use harness::process::run;
use harness::stack::{Stack, eventually};
use harness::system::{SECRET, System};
use lifecycles::{Event, Stripe};
use serde_json::Value;

use crate::raw;

/// Objects by key.
pub(crate) type Objects = BTreeMap<String, Vec<u8>>;

const DEADLINE: Duration = Duration::from_mins(1);

fn events(seed: u64, lives: usize) -> Vec<Event> {
    let lives = Stripe::new(seed, 1_760_000_000).mixed(lives);
    lives.iter().flat_map(|life| life.events.iter().cloned()).collect()
}

/// The bucket's objects under a run's prefix, to be changed and put back.
pub(crate) struct Bucket<'a> {
    system: &'a System,
    pub(crate) name: String,
}

impl<'a> Bucket<'a> {
    pub(crate) fn of(system: &'a System) -> Self {
        Self { system, name: system.stack.archive_bucket.clone() }
    }

    pub(crate) async fn objects(&self) -> Objects {
        let aws = &self.system.stack.aws;
        let mut objects = BTreeMap::new();
        for (key, _) in aws.list(&self.name, &format!("{}/", self.system.id)).await.unwrap() {
            let body = aws.get(&self.name, &key).await.unwrap();
            objects.insert(key, body);
        }
        objects
    }

    pub(crate) async fn put(&self, key: &str, body: Vec<u8>) {
        let put = self.system.stack.aws.s3.put_object().bucket(&self.name).key(key);
        put.body(body.into()).send().await.unwrap();
    }

    pub(crate) async fn delete(&self, key: &str) {
        let delete = self.system.stack.aws.s3.delete_object().bucket(&self.name).key(key);
        delete.send().await.unwrap();
    }

    /// Brings the bucket from one state to another.
    async fn change(&self, from: &Objects, to: &Objects) {
        for key in from.keys().filter(|key| !to.contains_key(*key)) {
            self.delete(key).await;
        }
        for (key, body) in to.iter().filter(|(key, body)| from.get(*key) != Some(body)) {
            self.put(key, body.clone()).await;
        }
    }
}

/// Runs `archive verify --json` with these arguments and variables on top.
pub(crate) fn verify(
    system: &System,
    arguments: &[&str],
    more: &[(&str, &str)],
) -> (Option<i32>, Value) {
    let mut env = system.env();
    // What is written to the topic without ingest has no signature.
    env.push(("STRIPE_WEBHOOK_SECRETS".to_owned(), String::new()));
    env.extend(more.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
    let arguments = [&["archive", "verify", "--json"], arguments].concat();
    let output = run("reconciler", &arguments, &env).unwrap();
    let said = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&output.stderr).into_owned()));
    (output.status.code(), said)
}

/// Checks that the archive is whole, and comes back with the report.
pub(crate) fn whole(system: &System, arguments: &[&str], more: &[(&str, &str)]) -> Value {
    let (code, report) = verify(system, arguments, more);
    assert_eq!((code, &report["whole"]), (Some(0), &Value::Bool(true)), "{report:#}");
    report
}

/// A number of all partitions together.
pub(crate) fn sum(report: &Value, name: &str) -> u64 {
    report["partitions"].as_array().unwrap().iter().map(|it| it[name].as_u64().unwrap()).sum()
}

/// Archives some events in small segments.
async fn archived(stack: &Stack, name: &str, partitions: i32) -> System {
    let system = System::create(stack, name, partitions).await.unwrap();
    raw::write_events(&system, &events(21, 16), partitions.try_into().unwrap()).await;
    archive(&system).await;
    system
}

/// Archives what is in the topic.
pub(crate) async fn archive(system: &System) {
    let small = [("ARCHIVE_SEGMENT_RECORDS", "8"), ("ARCHIVE_SEGMENT_AGE", "1s")];
    let run = system.reconciler("archive", "archive", &small).await.unwrap();
    system.caught_up(&["archive"], DEADLINE).await.unwrap();
    assert!(run.process.terminate(DEADLINE).await.unwrap().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_whole_archive_verifies_whatever_died_while_it_was_written() {
    let stack = Stack::from_env().await.unwrap();
    let system = System::create(&stack, "verified", 3).await.unwrap();
    let ingest = system.ingest("ingest", &[]).await.unwrap();
    let lives = Stripe::new(22, 1_760_000_000).mixed(40);
    let mut sender = ingest.sender().unwrap();
    (sender.concurrency, sender.rate) = (4, Some(15.0));
    let is_sent = AtomicBool::new(false);
    let small = [("ARCHIVE_SEGMENT_RECORDS", "7"), ("ARCHIVE_SEGMENT_AGE", "100ms")];
    let sending = async {
        let report = sender.send(generated(&lives), || ()).await;
        is_sent.store(true, Ordering::Relaxed);
        report
    };
    let killing = async {
        for round in 0..4 {
            let run = system.reconciler(&format!("dies{round}"), "archive", &small).await.unwrap();
            let before = Bucket::of(&system).objects().await.len();
            let grown = async || {
                let now = Bucket::of(&system).objects().await.len();
                let is_more = now > before || is_sent.load(Ordering::Relaxed);
                Ok((!is_more).then(|| "nothing is archived".to_owned()))
            };
            eventually(DEADLINE, grown).await.unwrap();
            // A look while it is at work is no finding either.
            whole(&system, &[], &[]);
            run.process.kill().unwrap();
        }
    };
    let (report, ()) = tokio::join!(sending, killing);
    assert!(report.is_all_accepted(), "{:?}", report.outcomes());
    archive(&system).await;

    let records = system.topic.records().await.unwrap().len() as u64;
    let report = whole(&system, &["--require-signatures"], &[("STRIPE_WEBHOOK_SECRETS", SECRET)]);
    assert_eq!((sum(&report, "records"), &report["not_checked"]), (records, &Value::Array(vec![])));
    let signatures = |report: &Value, name: &str| report["signatures"][name].as_u64().unwrap();
    assert_eq!(signatures(&report, "genuine"), records);

    // A secret that was rolled is tried too; one of another endpoint proves nothing.
    let rolled = format!("whsec_new,{SECRET}");
    let report = whole(&system, &[], &[("STRIPE_WEBHOOK_SECRETS", &rolled)]);
    assert_eq!(signatures(&report, "genuine"), records);
    let (code, report) = verify(&system, &[], &[("STRIPE_WEBHOOK_SECRETS", "whsec_other")]);
    assert_eq!((code, signatures(&report, "refused")), (Some(3), records));
    assert_eq!(report["found"]["signature"], records);
    let (first, told) = (&report["findings"][0], "no v1 signature matches");
    assert!(first["problem"].as_str().unwrap().contains(told), "{first}");
    let elsewhere = [("STRIPE_WEBHOOK_SECRETS", "eu:whsec_eu")];
    assert_eq!(signatures(&whole(&system, &[], &elsewhere), "no_secret"), records);
    let (code, report) = verify(&system, &["--require-signatures"], &elsewhere);
    assert_eq!((code, &report["found"]["no_secret"]), (Some(3), &records.into()));
    let (code, said) = verify(&system, &["--require-signatures"], &[]);
    assert_eq!(code, Some(2), "{said}");

    // The receipt is what a signature's time is held against, however long ago that was.
    let strict = [("STRIPE_WEBHOOK_SECRETS", SECRET), ("STRIPE_SIGNATURE_TOLERANCE", "60s")];
    whole(&system, &["--offline"], &strict);
}

/// What is done to an archive, and what must be found: code, key and offset.
type Damage = (&'static str, Objects, String, Option<i64>);

/// The manifests of partition 0, by key.
fn manifests(objects: &Objects) -> Vec<(String, Manifest)> {
    let of_0 = objects.iter().filter(|(key, _)| key.contains("/manifest/partition=0/"));
    of_0.map(|(key, json)| (key.clone(), Manifest::from_json(json).unwrap())).collect()
}

fn lines(object: &[u8]) -> Vec<u8> {
    zstd::decode_all(object).unwrap()
}

fn compressed(lines: &[u8]) -> Vec<u8> {
    zstd::encode_all(lines, 3).unwrap()
}

/// The segment without the record at this offset.
fn without(object: &[u8], offset: i64) -> Vec<u8> {
    let lines = lines(object);
    let is_other = |line: &&[u8]| decode(line).unwrap().entry.offset() != offset;
    lines.split_inclusive(|byte| *byte == b'\n').filter(is_other).collect::<Vec<_>>().concat()
}

fn damages(whole: &Objects) -> Vec<Damage> {
    let manifests = manifests(whole);
    let (key, manifest) = &manifests[1];
    let segment = manifest.segment.clone().unwrap();
    let (first, last) = (manifest.first_offset, manifest.last_offset);
    let mut damages: Vec<Damage> = Vec::new();
    let mut damage = |code, key: &str, offset, change: &dyn Fn(&mut Objects)| {
        let mut objects = whole.clone();
        change(&mut objects);
        damages.push((code, objects, key.to_owned(), offset));
    };
    damage("record_changed", &segment, Some(first + 2), &|objects| {
        let changed = String::from_utf8(lines(&objects[&segment])).unwrap();
        let (at, _) = changed.match_indices("evt_").nth(2).unwrap();
        let mut changed = changed.into_bytes();
        changed[at] ^= 1;
        objects.insert(segment.clone(), compressed(&changed));
    });
    damage("segment_broken", &segment, None, &|objects| {
        let object = objects.get_mut(&segment).unwrap();
        object.truncate(object.len() - 9);
    });
    damage("record_missing", &segment, Some(first + 3), &|objects| {
        let shorter = without(&objects[&segment], first + 3);
        objects.insert(segment.clone(), compressed(&shorter));
    });
    damage("record_extra", &segment, Some(first), &|objects| {
        let lines = lines(&objects[&segment]);
        let end = lines.iter().position(|byte| *byte == b'\n').unwrap() + 1;
        let longer = [&lines[..], &lines[..end]].concat();
        objects.insert(segment.clone(), compressed(&longer));
    });
    damage("segment_missing", &segment, Some(first), &|objects| drop(objects.remove(&segment)));
    let (folder, name) = segment.rsplit_once('/').unwrap();
    let (folder, _) = folder.rsplit_once('/').unwrap();
    let doubled = format!("{folder}/date=2001-01-01/{name}");
    damage("segment_doubled", &doubled, Some(first), &|objects| {
        objects.insert(doubled.clone(), objects[&segment].clone());
    });
    let misnamed = segment.replace(&format!("{first:020}"), &format!("{:020}", first + 1));
    damage("segment_unlisted", &misnamed, Some(first + 1), &|objects| {
        objects.insert(misnamed.clone(), objects[&segment].clone());
    });
    damage("manifest_broken", key, Some(first), &|objects| {
        objects.get_mut(key).unwrap().truncate(200);
    });
    damage("manifest_bytes", key, Some(first), &|objects| {
        objects.get_mut(key).unwrap().push(b'\n');
    });
    damage("manifest_missing", key, Some(first), &|objects| drop(objects.remove(key)));
    let (next_key, next) = &manifests[2];
    damage("manifest_key", next_key, Some(next.first_offset), &|objects| {
        objects.insert(next_key.clone(), objects[key].clone());
    });
    damage("head_missing", key, Some(first), &|objects| drop(objects.remove(&manifests[0].0)));
    // A record is taken out and its manifest written anew: the next manifest knows.
    let rewrite = |objects: &mut Objects, offset| {
        let shorter = without(&objects[&segment], offset);
        let cut = Segment::parse(shorter.clone()).unwrap();
        let (topic, previous) = (&manifest.topic, manifest.previous);
        let other = Manifest::of(&cut, segment.clone(), topic, 0, previous).unwrap();
        objects.insert(segment.clone(), compressed(&shorter));
        objects.insert(key.clone(), other.to_json());
    };
    damage("hole", key, Some(first + 3), &|objects| rewrite(objects, first + 3));
    damage("chain_broken", next_key, Some(next.first_offset), &|objects| {
        rewrite(objects, first + 3);
    });
    let cut = key.replace(&format!("{first:020}"), &format!("{last:020}"));
    damage("manifest_missing", &cut, Some(last), &|objects| rewrite(objects, last));
    let (tip_key, tip) = manifests.last().unwrap();
    damage("behind_position", tip_key, Some(tip.first_offset), &|objects| {
        objects.remove(tip_key);
        objects.remove(tip.segment.as_ref().unwrap());
    });
    let (root, _) = key.split_once("/manifest/").unwrap();
    for foreign in [
        "notes.txt",
        "manifest/notes.txt",
        "manifest/partition=0/notes.txt",
        "partition=0/date=2026-01-01/00000000000000000000.jsonl",
        "partition=0/notes.txt",
    ] {
        let foreign = format!("{root}/{foreign}");
        damage("foreign_object", &foreign, None, &|objects| {
            objects.insert(foreign.clone(), b"hello".to_vec());
        });
    }
    let foreign = format!("{root}/elsewhere/");
    damage("foreign_object", &foreign, None, &|objects| {
        objects.insert(format!("{foreign}notes.txt"), b"hello".to_vec());
    });
    damages
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_done_to_an_archive_is_named() {
    let stack = Stack::from_env().await.unwrap();
    let system = archived(&stack, "damaged", 2).await;
    let bucket = Bucket::of(&system);
    let objects = bucket.objects().await;
    let report = whole(&system, &[], &[]);
    assert_eq!(sum(&report, "records"), system.topic.records().await.unwrap().len() as u64);
    let not_checked = "signatures: STRIPE_WEBHOOK_SECRETS is not set";
    assert_eq!(report["not_checked"], serde_json::json!([not_checked]));

    for (code, changed, key, offset) in damages(&objects) {
        bucket.change(&objects, &changed).await;
        let (exit, report) = verify(&system, &["--partition", "0"], &[]);
        bucket.change(&changed, &objects).await;
        assert_eq!(exit, Some(3), "{code} of {key}: {report:#}");
        let is_it = |finding: &&Value| {
            finding["code"] == code
                && finding["key"] == key.as_str()
                && offset.is_none_or(|offset| finding["offset"] == offset)
        };
        let findings = report["findings"].as_array().unwrap();
        assert!(findings.iter().find(is_it).is_some(), "{code} of {key} {offset:?}: {report:#}");
    }
    whole(&system, &[], &[]);

    // Whatever byte of a stored segment changes, it is found, or what it holds is the same.
    let (_, manifest) = &manifests(&objects)[0];
    let segment = manifest.segment.clone().unwrap();
    let stored = &objects[&segment];
    for at in (0..stored.len()).step_by(stored.len() / 12) {
        let mut changed = stored.clone();
        changed[at] ^= 0x10;
        let is_same = zstd::decode_all(&changed[..]).is_ok_and(|it| it == lines(stored));
        bucket.put(&segment, changed).await;
        let (exit, report) = verify(&system, &["--offline", "--partition", "0"], &[]);
        assert_eq!(exit, Some(if is_same { 0 } else { 3 }), "byte {at}: {report:#}");
        if !is_same {
            assert_eq!(report["findings"][0]["key"], segment.as_str(), "{report:#}");
        }
    }
    bucket.put(&segment, stored.clone()).await;

    // A segment behind the last manifest is being written, unless it is old.
    let (key, _) = manifests(&objects).pop().unwrap();
    bucket.delete(&key).await;
    sqlx::query("delete from pay.position").execute(&system.pool).await.unwrap();
    let report = whole(&system, &[], &[]);
    let note = report["notes"][0].as_str().unwrap();
    assert!(note.contains("its manifest is yet to be written"), "{note}");
    let (exit, report) = verify(&system, &["--verify-grace", "0s"], &[]);
    assert_eq!((exit, &report["found"]["segment_unlisted"]), (Some(3), &1.into()), "{report:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_archive_is_held_against_the_position_and_the_log_or_that_is_said() {
    let stack = Stack::from_env().await.unwrap();
    let system = archived(&stack, "tips", 2).await;
    let ends = system.topic.ends().await.unwrap();
    raw::write_events(&system, &events(23, 4), 2).await;
    system.topic.delete_before(0, ends[0] + 1).await.unwrap();
    let (exit, report) = verify(&system, &[], &[]);
    assert_eq!(exit, Some(3));
    let lost = &report["findings"][0];
    assert_eq!((&lost["code"], &lost["offset"]), (&"lost".into(), &ends[0].into()), "{report:#}");

    let report = whole(&system, &["--offline"], &[]);
    let said = report["not_checked"].to_string();
    for what in ["whether the archive reaches as far", "whether the log goes on", "signatures"] {
        assert!(said.contains(what), "{said}");
    }
    whole(&system, &[], &[("KAFKA_BROKERS", "")]);
    let update = "update pay.position set chain = decode(repeat('00', 32), 'hex')
        where partition = 0";
    sqlx::query(update).execute(&system.pool).await.unwrap();
    let (exit, report) = verify(&system, &["--partition", "0"], &[("KAFKA_BROKERS", "")]);
    assert_eq!((exit, &report["found"]["position_hash"]), (Some(3), &1.into()), "{report:#}");

    // What cannot be looked at is no finding.
    for unknown in [("S3_BUCKET", "there-is-no-such"), ("DATABASE_URL", "postgres://127.0.0.1:1/x")]
    {
        let (exit, said) = verify(&system, &["--partition", "1"], &[unknown]);
        assert_eq!(exit, Some(1), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_archive_whose_head_has_expired_verifies_from_where_it_begins() {
    let stack = Stack::from_env().await.unwrap();
    let system = archived(&stack, "expired", 1).await;
    let bucket = Bucket::of(&system);
    let manifests = manifests(&bucket.objects().await);
    let (_, kept) = &manifests[2];
    for (key, manifest) in &manifests[..2] {
        bucket.delete(manifest.segment.as_ref().unwrap()).await;
        bucket.delete(key).await;
    }
    let (exit, report) = verify(&system, &[], &[]);
    assert_eq!((exit, &report["found"]["head_missing"]), (Some(3), &1.into()), "{report:#}");
    let first = kept.first_offset;
    let report = whole(&system, &["--from-offset", &format!("0:{first}")], &[]);
    assert_eq!(report["partitions"][0]["first_offset"], first);
    assert!(report["notes"][0].as_str().unwrap().contains("was not looked at"), "{report:#}");
    // More is gone than retention may have removed.
    let (exit, report) = verify(&system, &["--from-offset", &format!("0:{}", first - 1)], &[]);
    assert_eq!((exit, &report["findings"][0]["code"]), (Some(3), &"manifest_missing".into()));
    // Whose manifest went a day before it, or who was written anew and so expires later, is not
    // asked for.
    bucket.put(manifests[0].1.segment.as_ref().unwrap(), b"old".to_vec()).await;
    let from = format!("0:{}", first + 1);
    whole(&system, &["--from-offset", &from], &[]);
    let report = whole(&system, &["--from", "2999-01-01"], &[]);
    assert!(report["notes"][0].as_str().unwrap().contains("no segment is of these days"));
    let (exit, _) = verify(&system, &["--from", "2001-01-01"], &[]);
    assert_eq!(exit, Some(3), "what came before the first that is there is not known");
}
