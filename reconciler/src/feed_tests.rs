//! Tests of the role's end of the feed.

use bytes::Bytes;
use tokio::time::Instant;

use super::*;

const TIMEOUT: Duration = Duration::from_secs(20);
const LIMIT: BatchLimit = BatchLimit { records: 10, bytes: 1000, linger: Duration::ZERO };

/// A feed without a reader: the test plays it.
fn feed() -> Feed {
    let limits = FeedLimits {
        records: 10,
        bytes: 1000,
        prefetch_kib: 1,
        session_timeout: Duration::from_secs(6),
    };
    Feed {
        shared: Arc::new(Shared::new(limits)),
        commands: Commands::channel().0,
        closed: oneshot::channel().1,
        shutdown: CancellationToken::new(),
    }
}

/// Assigns partition 0 and lets a record of it come.
async fn with_a_record(feed: &mut Feed) {
    let position = Position { next_offset: 0, chain: None };
    feed.shared.assign(1, BTreeMap::from([(0, position)]));
    assert!(matches!(feed.next(LIMIT).await, Ok(Some(Delivery::Assigned { epoch: 1, .. }))));
    feed.shared.push(RawRecord {
        partition: 0,
        offset: 0,
        timestamp_ms: 0,
        key: None,
        headers: Vec::new(),
        value: Some(Bytes::from_static(b"{}")),
    });
}

/// What a role that is full hears next, while records wait.
async fn heard(feed: &mut Feed) -> Result<Option<Delivery>, Fault> {
    tokio::time::timeout(TIMEOUT, feed.next_event()).await.unwrap()
}

#[tokio::test]
async fn a_full_role_gets_no_records_and_hears_of_a_revocation() {
    let mut feed = feed();
    with_a_record(&mut feed).await;
    let quiet = tokio::time::timeout(Duration::from_millis(50), feed.next_event()).await;
    assert!(quiet.is_err(), "nothing but a record waits: {quiet:?}");
    feed.shared.revoke();
    assert_eq!(heard(&mut feed).await.unwrap(), Some(Delivery::Revoked));
}

#[tokio::test]
async fn a_full_role_hears_of_shutdown() {
    let mut feed = feed();
    with_a_record(&mut feed).await;
    feed.shutdown.cancel();
    assert_eq!(heard(&mut feed).await.unwrap(), None);
}

#[tokio::test]
async fn a_full_role_hears_of_a_fault() {
    let mut feed = feed();
    with_a_record(&mut feed).await;
    feed.shared.fail(Fault::halt("consuming", "fenced"));
    assert!(heard(&mut feed).await.is_err());
}

#[tokio::test]
async fn the_records_are_there_once_it_has_room() {
    let mut feed = feed();
    with_a_record(&mut feed).await;
    let delivery = tokio::time::timeout(TIMEOUT, feed.next(LIMIT)).await.unwrap().unwrap();
    assert!(matches!(delivery, Some(Delivery::Records(batch)) if batch.records.len() == 1));
}

#[tokio::test(start_paused = true)]
async fn closing_waits_for_the_reader_but_not_for_ever() {
    let mut answering = feed();
    let (ended, closed) = oneshot::channel();
    answering.closed = closed;
    tokio::spawn(async move {
        tokio::time::sleep(CLOSE_TIMEOUT / 2).await;
        drop(ended);
    });
    let started = Instant::now();
    answering.close().await;
    assert_eq!(started.elapsed(), CLOSE_TIMEOUT / 2);

    // A broker that answers nothing keeps the reader's thread in the consumer's drop.
    let mut stuck = feed();
    let (_ended, closed) = oneshot::channel();
    stuck.closed = closed;
    let started = Instant::now();
    stuck.close().await;
    assert!(started.elapsed() < CLOSE_TIMEOUT + Duration::from_secs(1), "{:?}", started.elapsed());
}
