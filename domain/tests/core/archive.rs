//! A whole archive verifies, and every single change to it is found and named.

use std::collections::BTreeMap;

use bytes::Bytes;
use domain::archive::{
    Begin, Chain, Finding, Hole, Manifest, Pairing, Place, Problem, Segment, SegmentCheck, Tip,
    first_offset,
};
use domain::record::RawRecord;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

const PARTITION: i32 = 3;
/// Shortly before midnight, so that an archive has segments of several days.
const START_MS: i64 = 1_763_596_740_000;

fn place() -> Place {
    Place { prefix: "p".into(), cluster: "c".into(), topic_id: "t".into() }
}

/// What the archive holds next: records, by length of their bodies and whether they are erased; or
/// as many lost ones.
#[derive(Debug, Clone)]
enum Part {
    Records(Vec<(usize, bool)>),
    Lost(i64),
}

fn part() -> impl Strategy<Value = Part> {
    prop_oneof![
        5 => vec((0..40_usize, prop::bool::weighted(0.2)), 1..6).prop_map(Part::Records),
        1 => (1..50_i64).prop_map(Part::Lost),
    ]
}

/// Objects by key, segments not compressed; and how far the role has come.
#[derive(Debug, Clone)]
struct Archive {
    objects: BTreeMap<String, Vec<u8>>,
    tip: Tip,
}

impl Archive {
    fn of(first_offset: i64, parts: &[Part]) -> Self {
        let mut objects = BTreeMap::new();
        let mut tip = Tip { next_offset: first_offset, hash: None };
        for part in parts {
            let manifest = match part {
                Part::Records(records) => {
                    let (segment, key) = segment(tip.next_offset, records);
                    let manifest = Manifest::of(&segment, key.clone(), "raw", PARTITION, tip.hash);
                    let is_erased =
                        |offset: i64| records[usize::try_from(offset - tip.next_offset).unwrap()].1;
                    let (stored, _) = segment.erase(|record| is_erased(record.offset)).unwrap();
                    objects.insert(key, stored.into_lines());
                    manifest.unwrap()
                }
                Part::Lost(records) => {
                    let ends = (tip.next_offset, tip.next_offset + records - 1);
                    let [reason, by, at] = ["too late", "ada", "2026"].map(str::to_owned);
                    Manifest::of_hole(ends, Hole { reason, by, at }, "raw", PARTITION, tip.hash)
                }
            };
            let key = place().manifest_key(PARTITION, manifest.first_offset);
            objects.insert(key, manifest.to_json());
            tip = Tip { next_offset: manifest.next_offset(), hash: Some(manifest.list_hash) };
        }
        Self { objects, tip }
    }

    fn key(&self, index: Index) -> String {
        self.objects.keys().nth(index.index(self.objects.len())).unwrap().clone()
    }

    /// What a program does that reads the bucket, on objects in memory.
    fn verify(&self) -> Vec<Finding> {
        let place = place();
        let (mut findings, mut pairing) = (Vec::new(), Pairing::default());
        let mut chain = Chain::new(place.clone(), PARTITION, Begin::First, Some(self.tip));
        for (key, object) in self.objects.range(place.manifest_prefix(PARTITION)..) {
            if !key.starts_with(&place.manifest_prefix(PARTITION)) {
                break;
            }
            let Some(manifest) = chain.link(key, object) else { continue };
            let Some(key) = &manifest.segment else { continue };
            pairing.named(key);
            match self.objects.get(key) {
                None => findings.push(Finding {
                    key: key.clone(),
                    offset: Some(manifest.first_offset),
                    problem: Problem::SegmentMissing,
                }),
                Some(segment) => {
                    let mut check = SegmentCheck::new(&place, &manifest);
                    for line in segment.split_inclusive(|byte| *byte == b'\n') {
                        check.line(line);
                    }
                    findings.extend(check.end().findings);
                }
            }
        }
        chain.end(None);
        findings.extend(chain.take_findings());
        for key in self.objects.keys().filter(|key| !key.contains("/manifest/")) {
            pairing.stored(key.clone());
        }
        let unlisted =
            |key: String| Finding { offset: first_offset(&key), key, problem: Problem::Unlisted };
        findings.extend(pairing.unnamed().into_iter().map(unlisted));
        findings
    }
}

fn segment(first_offset: i64, records: &[(usize, bool)]) -> (Segment, String) {
    let mut segment = Segment::default();
    for (offset, (length, _)) in (first_offset..).zip(records) {
        segment.push(
            "raw",
            &RawRecord {
                partition: PARTITION,
                offset,
                timestamp_ms: START_MS + 1000 * offset,
                key: None,
                headers: Vec::new(),
                value: Some(Bytes::from("x".repeat(*length))),
            },
        );
    }
    let key = place().segment_key(PARTITION, first_offset, segment.first_timestamp_ms());
    (segment, key)
}

/// One change to one object.
#[derive(Debug, Clone)]
enum Change {
    Flip(Index, u8),
    Cut(Index),
    Drop,
    Copy(i64),
    Swap(Index),
    DropLine(Index),
    DoubleLine(Index),
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        6 => (any::<Index>(), 1..=255_u8).prop_map(|(at, bits)| Change::Flip(at, bits)),
        2 => any::<Index>().prop_map(Change::Cut),
        2 => Just(Change::Drop),
        1 => (1..1000_i64).prop_map(Change::Copy),
        1 => any::<Index>().prop_map(Change::Swap),
        1 => any::<Index>().prop_map(Change::DropLine),
        1 => any::<Index>().prop_map(Change::DoubleLine),
    ]
}

/// Makes the change. Comes back with the keys that it is about; `None` if it changes nothing that
/// anybody could see.
fn make(archive: &mut Archive, key: &str, change: &Change) -> Option<Vec<String>> {
    let object = archive.objects[key].clone();
    let put = |archive: &mut Archive, object| {
        archive.objects.insert(key.to_owned(), object);
        Some(vec![key.to_owned()])
    };
    match change {
        Change::Flip(at, bits) => {
            let mut flipped = object.clone();
            let at = at.index(object.len());
            flipped[at] ^= bits;
            (!is_free(archive, key, at, &flipped)).then_some(())?;
            put(archive, flipped)
        }
        Change::Cut(at) => put(archive, object[..at.index(object.len())].to_vec()),
        Change::Drop => {
            archive.objects.remove(key);
            Some(vec![key.to_owned()])
        }
        Change::Copy(by) => {
            let offset = first_offset(key)?;
            let copy = key.replace(&format!("{offset:020}"), &format!("{:020}", offset + by));
            (!archive.objects.contains_key(&copy)).then_some(())?;
            archive.objects.insert(copy.clone(), object);
            Some(vec![copy])
        }
        Change::Swap(with) => {
            let other = archive.key(*with);
            (other != key).then_some(())?;
            let theirs = archive.objects.insert(other.clone(), object)?;
            archive.objects.insert(key.to_owned(), theirs);
            Some(vec![key.to_owned(), other])
        }
        Change::DropLine(at) | Change::DoubleLine(at) => {
            (!key.contains("/manifest/")).then_some(())?;
            let mut lines: Vec<&[u8]> = object.split_inclusive(|byte| *byte == b'\n').collect();
            let at = at.index(lines.len());
            match change {
                Change::DropLine(_) => drop(lines.remove(at)),
                _ => lines.insert(at, lines[at]),
            }
            put(archive, lines.concat())
        }
    }
}

/// What no hash covers: a tombstone's own time, within its segment's day for the first; and the
/// number of bytes of a segment with tombstones. Compression has a checksum of its own.
fn is_free(archive: &Archive, key: &str, at: usize, flipped: &[u8]) -> bool {
    let text = String::from_utf8_lossy(flipped);
    let within = |from: &str, to: &str, text: &str, at: usize| {
        text.find(from).is_some_and(|start| {
            let end = text[start..].find(to).map_or(text.len(), |end| start + end);
            (start + from.len()..end).contains(&at)
                && text[start + from.len()..end].parse::<i64>().is_ok()
        })
    };
    if key.contains("/manifest/") {
        let manifest = Manifest::from_json(&archive.objects[key]).unwrap();
        let has_tombstones = manifest.segment.is_some_and(|segment| {
            String::from_utf8_lossy(&archive.objects[&segment]).contains("\"erased\":")
        });
        return has_tombstones && within("\"bytes\":", ",", &text, at);
    }
    let start = text[..at].rfind('\n').map_or(0, |newline| newline + 1);
    let line = text[start..].lines().next().unwrap_or_default();
    line.contains("\"erased\":") && within("\"timestamp_ms\":", ",", line, at - start)
}

proptest! {
    #[test]
    fn a_whole_archive_verifies(first in 0..1000_i64, parts in vec(part(), 1..8)) {
        prop_assert_eq!(Archive::of(first, &parts).verify(), vec![]);
    }

    #[test]
    fn every_single_change_is_found_and_named(
        first in 0..1000_i64,
        parts in vec(part(), 1..8),
        which in any::<Index>(),
        change in change(),
    ) {
        let whole = Archive::of(first, &parts);
        let mut archive = whole.clone();
        let key = whole.key(which);
        let Some(mut about) = make(&mut archive, &key, &change) else { return Ok(()) };
        // A manifest and its segment speak for each other.
        for (key, object) in &whole.objects {
            let segment = Manifest::from_json(object).ok().and_then(|manifest| manifest.segment);
            if let Some(segment) = segment
                && (about.contains(key) || about.contains(&segment))
            {
                about.extend([key.clone(), segment]);
            }
        }
        let findings = archive.verify();
        // Without the first manifest the second says so; without any, nobody knows where it began.
        let manifests = place().manifest_prefix(PARTITION);
        let is_empty = !archive.objects.keys().any(|key| key.starts_with(&manifests));
        let is_head = |finding: &&Finding| {
            finding.key.starts_with(&manifests)
                && match finding.problem {
                    Problem::Head => true,
                    Problem::BehindPosition { .. } => is_empty,
                    _ => false,
                }
        };
        let named = findings.iter().find(|finding| about.contains(&finding.key));
        prop_assert!(
            named.or(findings.iter().find(is_head)).is_some(),
            "{change:?} of {key}: {findings:?}"
        );
    }

    #[test]
    fn a_changed_byte_is_named_by_its_record(
        parts in vec(part(), 1..8),
        which in any::<Index>(),
        at in any::<Index>(),
        bits in 1..=255_u8,
    ) {
        let mut archive = Archive::of(0, &parts);
        let segments: Vec<String> =
            archive.objects.keys().filter(|key| !key.contains("/manifest/")).cloned().collect();
        prop_assume!(!segments.is_empty());
        let key = which.get(&segments);
        let object = archive.objects[key].clone();
        let at = at.index(object.len());
        let before = object[..at].split(|byte| *byte == b'\n').count() - 1;
        let offset = first_offset(key).unwrap() + i64::try_from(before).unwrap();
        let mut flipped = object.clone();
        flipped[at] ^= bits;
        prop_assume!(!is_free(&archive, key, at, &flipped));
        archive.objects.insert(key.clone(), flipped);
        let findings = archive.verify();
        let is_it = |finding: &Finding| finding.key == *key && finding.offset == Some(offset);
        prop_assert!(findings.iter().any(is_it), "offset {offset} of {key}: {findings:?}");
    }

    #[test]
    fn what_is_lost_at_the_end_is_found_by_the_position_and_the_log(
        first in 0..1000_i64,
        parts in vec(part(), 1..8),
        kept in any::<Index>(),
    ) {
        let whole = Archive::of(first, &parts);
        let short = Archive::of(first, &parts[..kept.index(parts.len())]);
        let archive = Archive { objects: short.objects.clone(), tip: whole.tip };
        let next = if short.objects.is_empty() { 0 } else { short.tip.next_offset };
        let problem = Problem::BehindPosition { position: whole.tip.next_offset };
        let key = place().manifest_key(PARTITION, next);
        prop_assert_eq!(archive.verify(), vec![Finding { key, offset: Some(next), problem }]);

        let mut chain = Chain::new(place(), PARTITION, Begin::First, None);
        for (key, object) in &short.objects {
            if key.contains("/manifest/") {
                chain.link(key, object);
            }
        }
        chain.end(Some(next));
        prop_assert_eq!(chain.take_findings(), vec![]);
        chain.end(Some(next + 1));
        let lost = chain.take_findings();
        prop_assert_eq!(&lost[0].problem, &Problem::Lost { low: next + 1 });
    }
}

/// Names and types of the columns of docs/ARCHIVE.md's table.
fn columns() -> Vec<(String, String)> {
    let document = std::fs::read_to_string("../docs/ARCHIVE.md").unwrap();
    let (_, rest) = document.split_once("CREATE EXTERNAL TABLE stripe_archive (\n").unwrap();
    let (columns, _) = rest.split_once("\n)\n").unwrap();
    let column = |line: &str| {
        let (name, kind) = line.trim().trim_end_matches(',').split_once(' ').unwrap();
        (name.trim_matches('`').to_owned(), kind.to_owned())
    };
    columns.lines().map(column).collect()
}

#[test]
fn the_table_of_the_document_has_the_columns_of_a_line() {
    let record = |binary: bool| {
        let bytes = || Some(Bytes::from_static(if binary { b"\xff" } else { b"{}" }));
        RawRecord {
            partition: 1,
            offset: 2,
            timestamp_ms: 3,
            key: bytes(),
            headers: vec![("a".into(), bytes()), ("b".into(), None)],
            value: bytes(),
        }
    };
    let mut segment = Segment::default();
    segment.push("raw", &record(false));
    segment.push("raw", &record(true));
    segment.push("raw", &record(false));
    let mut first = true;
    let (segment, _) = segment.erase(|_| std::mem::take(&mut first)).unwrap();
    let mut found: BTreeMap<String, &str> = BTreeMap::new();
    for line in segment.lines().split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        let line: serde_json::Map<String, serde_json::Value> =
            serde_json::from_slice(line).unwrap();
        for (name, value) in line {
            let kind = match &value {
                serde_json::Value::Number(_) if name == "partition" => "int",
                serde_json::Value::Number(_) => "bigint",
                serde_json::Value::String(_) => "string",
                serde_json::Value::Array(_) => "array<array<string>>",
                _ => continue,
            };
            assert_eq!(*found.entry(name.clone()).or_insert(kind), kind, "{name}");
        }
    }
    let columns: BTreeMap<String, String> = columns().into_iter().collect();
    let found = found.into_iter().map(|(name, kind)| (name, kind.to_owned())).collect();
    assert_eq!(columns, found);
}
