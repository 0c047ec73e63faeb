//! An archive that is whole is read in order; one that is damaged says where, and gives nothing of
//! the damaged segment.

use domain::archive::{Hole, Segment, Sha256Hash};

use super::*;
use crate::s3::memory::Memory;

const DAY_MS: i64 = 24 * 60 * 60 * 1000;

fn place() -> Place {
    Place { prefix: "p".into(), cluster: "c".into(), topic_id: "t".into() }
}

fn record(offset: i64) -> RawRecord {
    RawRecord {
        partition: 0,
        offset,
        // A day for every ten records.
        timestamp_ms: offset / 10 * DAY_MS,
        key: None,
        headers: Vec::new(),
        value: Some(Bytes::from(format!("body {offset}"))),
    }
}

/// Segments that begin at these offsets, each up to the next.
fn archive(starts: &[i64]) -> Arc<Archive<Memory>> {
    let archive = Archive::new(Memory::default(), "/p/");
    let mut previous: Option<Sha256Hash> = None;
    for ends in starts.windows(2) {
        let mut segment = Segment::default();
        (ends[0]..ends[1]).for_each(|offset| segment.push("t", &record(offset)));
        let key = place().segment_key(0, ends[0], segment.first_timestamp_ms());
        let manifest = Manifest::of(&segment, key.clone(), "t", 0, previous).unwrap();
        previous = Some(manifest.list_hash);
        let mut objects = archive.store.objects();
        objects.insert(key, zstd::encode_all(segment.lines(), 1).unwrap().into());
        objects.insert(place().manifest_key(0, ends[0]), manifest.to_json().into());
    }
    Arc::new(archive)
}

/// The first offsets of the chunks, their records and where reading goes on; the error that ended it.
async fn read(
    archive: &Arc<Archive<Memory>>,
    start: Start,
    to: Option<Moment>,
) -> (Vec<i64>, Option<String>) {
    let chain = archive.chain(&place(), 0, start, to).await.unwrap();
    let mut chunks = archive.read(chain, &Ahead::new(3, 64 * 1024));
    let mut firsts = Vec::new();
    while let Some(chunk) = chunks.recv().await {
        match chunk {
            Ok(chunk) => {
                let first = chunk.records[0].offset;
                let expected: Vec<RawRecord> = (first..chunk.next_offset).map(record).collect();
                assert_eq!(chunk.records, expected);
                firsts.push(first);
            }
            Err(error) => return (firsts, Some(error.to_string())),
        }
    }
    (firsts, None)
}

/// Changes an object.
fn alter(archive: &Archive<Memory>, key: &str, how: impl FnOnce(&mut Vec<u8>)) {
    let mut objects = archive.store.objects();
    let mut body = objects[key].to_vec();
    how(&mut body);
    objects.insert(key.to_owned(), body.into());
}

fn segment_key(first: i64) -> String {
    place().segment_key(0, first, first / 10 * DAY_MS)
}

#[tokio::test]
async fn all_of_it_comes_in_order_and_what_is_there_is_found() {
    let archive = archive(&[0, 5, 12, 30, 33, 40]);
    let all = vec![0, 5, 12, 30, 33];
    assert_eq!(read(&archive, Start::Beginning, None).await, (all.clone(), None));
    assert_eq!(archive.places().await.unwrap(), [place()]);
    assert_eq!(archive.partitions(&place()).await.unwrap(), [0]);
    let (first, last) = archive.ends(&place(), 0).await.unwrap().unwrap();
    assert_eq!((first.first_offset, last.last_offset), (0, 39));
    assert!(archive.ends(&place(), 7).await.unwrap().is_none());
    *archive.store.failures.lock().unwrap() = 2;
    assert_eq!(read(&archive, Start::Beginning, None).await, (all, None), "S3 falters");
}

#[tokio::test]
async fn reading_begins_at_an_offset_or_a_time_and_ends_at_one() {
    let archive = archive(&[0, 5, 12, 30, 33, 40]);
    let from = async |start| read(&archive, start, None).await.0;
    assert_eq!(from(Start::Offset(11)).await, [5, 12, 30, 33]);
    assert_eq!(from(Start::Offset(12)).await, [12, 30, 33]);
    assert_eq!(from(Start::Offset(99)).await, [33], "the last one there is");
    // Day 2 begins with record 20, in the segment that begins on day 1.
    let day = |number: i64| Moment(number * DAY_MS);
    assert_eq!(from(Start::Time(day(2))).await, [12, 30, 33]);
    assert_eq!(from(Start::Time(day(9))).await, [33]);
    assert_eq!(from(Start::Time(day(0))).await, [0, 5, 12, 30, 33]);
    let to = async |to| read(&archive, Start::Beginning, Some(to)).await.0;
    assert_eq!(to(day(1)).await, [0, 5, 12], "a record of before may lie a little behind");
    assert_eq!(to(Moment(day(1).0 - SKEW_MS)).await, [0, 5]);
    assert_eq!(to(Moment(day(3).0 - SKEW_MS)).await, [0, 5, 12]);
}

#[tokio::test]
async fn how_much_there_is_of_a_time_is_known_before_it_is_read() {
    let archive = archive(&[0, 5, 12, 30, 33, 40]);
    let day = |number: i64| Some(Moment(number * DAY_MS));
    let of = async |from, to| {
        let range = archive.range(&place(), 0, from, to).await.unwrap();
        range.map(|range| (range.from, range.to))
    };
    assert_eq!(of(None, None).await, Some((0, 40)));
    assert_eq!(of(day(2), None).await, Some((12, 40)));
    assert_eq!(of(day(9), None).await, Some((33, 40)));
    assert_eq!(of(None, day(2)).await, Some((0, 30)), "until day 3 begins");
    assert_eq!(of(day(1), day(2)).await, Some((5, 30)));
    let none = archive.range(&place(), 3, None, None).await.unwrap();
    assert_eq!(none, None);
}

#[tokio::test]
async fn an_altered_record_is_named_and_its_segment_gives_nothing() {
    let altered = archive(&[0, 5, 12]);
    alter(&altered, &segment_key(5), |body| {
        let lines = zstd::decode_all(&body[..]).unwrap();
        let lines = String::from_utf8(lines).unwrap().replace("body 7", "body 0");
        *body = zstd::encode_all(lines.as_bytes(), 1).unwrap();
    });
    let (firsts, error) = read(&altered, Start::Beginning, None).await;
    let error = error.unwrap();
    assert_eq!(firsts, [0]);
    let expected = format!("{}, offset 7: the record was changed", segment_key(5));
    assert!(error.starts_with(&expected), "{error}");
}

#[tokio::test]
async fn whatever_is_damaged_is_named() {
    type Damager = fn(&Archive<Memory>);
    let manifest = |first| place().manifest_key(0, first);
    let cases: [(&str, String, Damager); 8] = [
        ("a flipped byte", segment_key(5), |it| alter(it, &segment_key(5), |b| b[20] ^= 1)),
        ("a cut segment", segment_key(5), |it| {
            alter(it, &segment_key(5), |body| body.truncate(body.len() / 2));
        }),
        ("the records up to offset 11 are missing", segment_key(5), |it| {
            alter(it, &segment_key(5), |body| {
                let mut lines = zstd::decode_all(&body[..]).unwrap();
                lines.truncate(
                    lines[..lines.len() - 1].iter().rposition(|b| *b == b'\n').unwrap() + 1,
                );
                *body = zstd::encode_all(&lines[..], 1).unwrap();
            });
        }),
        ("the line is not an archived record", segment_key(5), |it| {
            alter(it, &segment_key(5), |body| {
                let lines = zstd::decode_all(&body[..]).unwrap();
                *body = zstd::encode_all(&[&lines[..], b"{}\n"].concat()[..], 1).unwrap();
            });
        }),
        ("the segment is missing", segment_key(5), |it| {
            drop(it.store.objects().remove(&segment_key(5)));
        }),
        ("nothing lists the records up to offset 11", manifest(5), |it| {
            drop(it.store.objects().remove(&place().manifest_key(0, 5)));
        }),
        ("first and last offsets are not those", manifest(5), |it| {
            alter(it, &place().manifest_key(0, 5), |body| {
                let text = String::from_utf8(body.clone()).unwrap();
                *body = text.replace("\"last_offset\":11", "\"last_offset\":12").into();
            });
        }),
        ("the list hash is not the hash of the list", manifest(5), |it| {
            alter(it, &place().manifest_key(0, 5), |body| {
                let text = String::from_utf8(body.clone()).unwrap();
                *body = text.replace("{\"offset\":7,", "{\"offset\":6,").into();
            });
        }),
    ];
    for (what, key, damage) in cases {
        let archive = archive(&[0, 5, 12, 20]);
        damage(&archive);
        let (firsts, error) = read(&archive, Start::Beginning, None).await;
        let error = error.unwrap_or_else(|| panic!("{what}: read without a word"));
        assert_eq!(firsts, [0], "{what}");
        assert!(error.starts_with(&key), "{what}: {error}");
        let is_named = what.starts_with("a ") || error.contains(what);
        assert!(is_named, "{what}: {error}");
    }
}

#[tokio::test]
async fn a_chain_can_be_followed_behind_damage() {
    let archive = archive(&[0, 5, 12, 20]);
    archive.store.objects().insert(place().manifest_key(0, 5), Bytes::from_static(b"{"));
    let mut chain = archive.chain(&place(), 0, Start::Beginning, None).await.unwrap();
    let mut found = Vec::new();
    loop {
        match archive.next(&mut chain).await {
            Ok(None) => break,
            Ok(Some(manifest)) => found.push(Ok(manifest.first_offset)),
            Err(ReadError::Damage(damage)) => found.push(Err(damage.key)),
            Err(ReadError::Fault(fault)) => panic!("{fault}"),
        }
    }
    assert_eq!(found, [Ok(0), Err(place().manifest_key(0, 5)), Ok(12)]);
}

#[tokio::test]
async fn what_is_erased_or_lost_is_passed_over_and_counted() {
    let archive = archive(&[0, 5, 12]);
    alter(&archive, &segment_key(5), |body| {
        let segment = Segment::parse(zstd::decode_all(&body[..]).unwrap()).unwrap();
        let (erased, _) = segment.erase(|record| record.offset == 7).unwrap();
        *body = zstd::encode_all(erased.lines(), 1).unwrap();
    });
    let (_, last) = archive.ends(&place(), 0).await.unwrap().unwrap();
    let [reason, by, at] = ["lost", "ada", "2026"].map(str::to_owned);
    let hole = Manifest::of_hole((12, 19), Hole { reason, by, at }, "t", 0, Some(last.list_hash));
    let (key, json) = (place().manifest_key(0, 12), hole.to_json());
    archive.store.objects().insert(key, json.into());

    let chain = archive.chain(&place(), 0, Start::Beginning, None).await.unwrap();
    let mut chunks = archive.read(chain, &Ahead::new(3, 64 * 1024));
    let mut found = Vec::new();
    while let Some(chunk) = chunks.recv().await {
        let chunk = chunk.unwrap();
        found.push((chunk.records.len(), chunk.erased, chunk.next_offset));
    }
    assert_eq!(found, [(5, 0, 5), (6, 1, 12), (0, 0, 20)]);
}

#[tokio::test]
async fn a_segment_that_no_manifest_lists_is_told_of() {
    let archive = archive(&[0, 5, 12]);
    assert_eq!(archive.unlisted(&place(), 0, 12).await.unwrap(), None);
    archive.store.objects().insert(segment_key(12), Bytes::new());
    assert_eq!(archive.unlisted(&place(), 0, 12).await.unwrap(), Some(segment_key(12)));
}

/// Two partitions share room for one segment: both are read to their ends.
#[tokio::test]
async fn what_is_read_ahead_is_bounded_by_what_is_not_dropped() {
    let archive = archive(&[0, 5, 12, 30, 33, 40]);
    let ahead = Ahead::new(4, 1);
    let chain = async || archive.chain(&place(), 0, Start::Beginning, None).await.unwrap();
    let mut one = archive.read(chain().await, &ahead);
    let held = one.recv().await.unwrap().unwrap();
    let mut other = archive.read(chain().await, &ahead);
    assert!(other.try_recv().is_err() && one.try_recv().is_err(), "there is no room");
    drop(held);
    let drain = async |from: &mut mpsc::Receiver<Result<Chunk, ReadError>>| {
        let mut next = 0;
        while let Some(chunk) = from.recv().await {
            next = chunk.unwrap().next_offset;
        }
        next
    };
    assert_eq!(tokio::join!(drain(&mut one), drain(&mut other)), (40, 40));
}
