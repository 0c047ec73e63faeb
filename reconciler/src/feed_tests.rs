//! Tests of the role's end of the feed.

use tokio::time::Instant;

use super::*;

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
