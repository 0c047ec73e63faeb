//! What S3 may hold of a partition whose position is gone, and where it goes on.

use bytes::Bytes;
use domain::archive::Sha256Hash;

use super::*;
use crate::archive::upload::tests::{segment, writer};
use crate::fault::Decision;
use crate::s3::memory::Memory;

/// Stores these records as a segment, without its manifest; its key comes back.
async fn put_segment(writer: &Writer<Memory>, offsets: std::ops::Range<i64>) -> String {
    let key = writer.to.place.segment_key(0, offsets.start, 0);
    let (_, rest) = writer.put_segment(&key, segment(offsets, "a")).await.unwrap();
    assert!(rest.is_empty());
    key
}

/// Stores a segment and its manifest; the manifest's list hash comes back.
async fn put(
    writer: &Writer<Memory>,
    offsets: std::ops::Range<i64>,
    previous: Option<Sha256Hash>,
) -> Sha256Hash {
    let key = put_segment(writer, offsets.clone()).await;
    let manifest = Manifest::of(&segment(offsets, "a"), key, "t", 0, previous).unwrap();
    writer.put_manifest(&manifest).await.unwrap();
    manifest.list_hash
}

fn at(next_offset: i64, chain: Sha256Hash) -> Position {
    Position { next_offset, chain: Some(chain) }
}

async fn problem(writer: &Writer<Memory>) -> String {
    let fault = writer.resume(0, 0).await.unwrap_err();
    assert_eq!(fault.decision, Decision::Halt);
    fault.to_string()
}

#[tokio::test]
async fn where_nothing_is_archived_the_log_says_where_to_begin() {
    let writer = writer();
    assert_eq!(writer.resume(0, 5).await.unwrap(), None);
    let other = writer.to.place.segment_key(10, 0, 0);
    writer.put_segment(&other, segment(0..9, "a")).await.unwrap();
    assert_eq!(writer.resume(1, 5).await.unwrap(), None, "10 is not 1");
}

#[tokio::test]
async fn it_goes_on_after_the_newest_manifest_through_failures() {
    let writer = writer();
    let mut chain = None;
    for first in (0..50).step_by(10) {
        chain = Some(put(&writer, first..first + 10, chain).await);
    }
    *writer.to.store.failures.lock().unwrap() = 2;
    // Retention has cut into the middle of a stored segment, or not even that far, or too far.
    for low in [0, 33, 50, 70] {
        assert_eq!(writer.resume(0, low).await.unwrap(), Some(at(50, chain.unwrap())), "{low}");
    }
}

#[tokio::test]
async fn what_does_not_read_back_halts() {
    let writer = writer();
    let object = |key: &str| writer.to.store.objects()[key].clone();
    let replace = |key: &str, object| writer.to.store.objects().insert(key.to_owned(), object);
    put(&writer, 0..5, None).await;
    let key = writer.to.place.segment_key(0, 0, 0);
    let (good, other) = (object(&key), put_segment(&writer, 5..9).await);
    replace(&key, object(&other));
    assert!(problem(&writer).await.contains(&format!("{key} does not hold what it lists")));
    writer.to.store.objects().remove(&key);
    assert!(problem(&writer).await.contains(&format!("{key}: the segment is not there")));
    replace(&key, good);
    replace(&writer.to.place.manifest_key(0, 3), object(&writer.to.place.manifest_key(0, 0)));
    assert!(problem(&writer).await.contains("it is another segment's"));
    let broken = writer.to.place.manifest_key(0, 4);
    replace(&broken, Bytes::from_static(b"{}"));
    assert!(problem(&writer).await.contains(&format!("{broken}: not a manifest")));
}

#[tokio::test]
async fn a_segment_without_manifest_is_read_again_or_adopted_where_the_log_has_lost_it() {
    let writer = writer();
    let first = put(&writer, 0..10, None).await;
    put_segment(&writer, 10..20).await;
    // The log still has it: whoever reads it again compares it.
    assert_eq!(writer.resume(0, 10).await.unwrap(), Some(at(10, first)));
    assert_eq!(writer.newest_manifest(0).await.unwrap(), Some(writer.to.place.manifest_key(0, 0)));
    // It has not.
    let manifest = Manifest::of(
        &segment(10..20, "a"),
        writer.to.place.segment_key(0, 10, 0),
        "t",
        0,
        Some(first),
    );
    let second = manifest.unwrap().list_hash;
    for _ in 0..2 {
        assert_eq!(writer.resume(0, 15).await.unwrap(), Some(at(20, second)));
    }
}

#[tokio::test]
async fn the_very_first_segment_may_lack_its_manifest_too() {
    let writer = writer();
    let key = put_segment(&writer, 3..9).await;
    assert_eq!(writer.resume(0, 3).await.unwrap(), None);
    let manifest = Manifest::of(&segment(3..9, "a"), key, "t", 0, None).unwrap();
    assert_eq!(writer.resume(0, 4).await.unwrap(), Some(at(9, manifest.list_hash)));
}
