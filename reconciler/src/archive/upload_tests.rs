//! What is already there when a segment arrives, and what must come of it.

use domain::record::RawRecord;
use kafka::topic::Topic;
use service::secret::SecretString;

use super::*;
use crate::database;
use crate::s3::memory::Memory;

/// A writer into an empty bucket. Its positions lead nowhere: these tests end before them.
pub(in crate::archive) fn writer() -> Writer<Memory> {
    let topic = Topic {
        name: "t".to_owned(),
        cluster_id: "c".to_owned(),
        topic_id: "i".to_owned(),
        partitions: 1,
        replicas: 1,
        cleanup_policy: "delete".to_owned(),
        max_message_bytes: 1,
        retention_ms: -1,
        min_insync_replicas: 1,
    };
    let url = SecretString::from("postgres://nobody@127.0.0.1:1/none");
    let pool = database::pool(&url, "test", 1).unwrap();
    Writer::new(Destination {
        store: Memory::default(),
        place: Place {
            prefix: String::new(),
            cluster: topic.cluster_id.clone(),
            topic_id: topic.topic_id.clone(),
        },
        topic: topic.name.clone(),
        positions: Positions::new(pool, ROLE, &topic),
    })
}

pub(in crate::archive) fn segment(offsets: std::ops::Range<i64>, body: &str) -> Segment {
    let mut segment = Segment::default();
    for offset in offsets {
        segment.push(
            "t",
            &RawRecord {
                partition: 0,
                offset,
                timestamp_ms: 0,
                key: None,
                headers: Vec::new(),
                value: Some(Bytes::copy_from_slice(body.as_bytes())),
            },
        );
    }
    segment
}

fn manifest(segment: &Segment, previous: Option<Sha256Hash>) -> Manifest {
    Manifest::of(segment, "key".to_owned(), "t", 0, previous).unwrap()
}

#[tokio::test]
async fn a_new_segment_is_stored_as_given_through_failures() {
    let writer = writer();
    *writer.to.store.failures.lock().unwrap() = 2;
    let (stored, rest) = writer.put_segment("key", segment(5..9, "a")).await.unwrap();
    assert_eq!(stored, segment(5..9, "a"));
    assert!(rest.is_empty());
    let object = writer.to.store.read("key").await.unwrap().unwrap();
    assert_eq!(parse("key", object).await.unwrap(), stored);
}

#[tokio::test]
async fn a_shorter_segment_that_is_there_is_adopted_and_the_rest_is_kept() {
    let writer = writer();
    writer.put_segment("key", segment(5..7, "a")).await.unwrap();
    let (stored, rest) = writer.put_segment("key", segment(5..9, "a")).await.unwrap();
    assert_eq!(stored, segment(5..7, "a"));
    assert_eq!(rest, segment(7..9, "a"));
}

#[tokio::test]
async fn a_longer_segment_that_is_there_is_adopted_whole() {
    let writer = writer();
    writer.put_segment("key", segment(5..9, "a")).await.unwrap();
    let (stored, rest) = writer.put_segment("key", segment(5..7, "a")).await.unwrap();
    assert_eq!(stored, segment(5..9, "a"));
    assert!(rest.is_empty());
}

#[tokio::test]
async fn a_different_or_broken_segment_that_is_there_halts() {
    let writer = writer();
    writer.put_segment("key", segment(5..9, "a")).await.unwrap();
    let fault = writer.put_segment("key", segment(5..9, "b")).await.unwrap_err();
    assert_eq!(fault.decision, crate::fault::Decision::Halt);
    assert!(fault.to_string().contains("key: the records at offset 5 differ"), "{fault}");

    writer.to.store.create("bad", "", Bytes::from_static(b"not zstd")).await.unwrap();
    let fault = writer.put_segment("bad", segment(5..9, "a")).await.unwrap_err();
    assert_eq!(fault.decision, crate::fault::Decision::Halt);
}

#[tokio::test]
async fn a_manifest_that_is_there_must_carry_the_same_chain() {
    let writer = writer();
    let ours = manifest(&segment(5..9, "a"), None);
    writer.put_manifest(&ours).await.unwrap();
    writer.put_manifest(&ours).await.unwrap();
    let other = manifest(&segment(5..9, "a"), Some(ours.list_hash));
    let fault = writer.put_manifest(&other).await.unwrap_err();
    assert_eq!(fault.decision, crate::fault::Decision::Halt);
    assert!(fault.to_string().contains("list hash"), "{fault}");
}
