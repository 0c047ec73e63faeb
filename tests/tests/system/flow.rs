//! Whole lifecycles from request to row, segment and domain event.

use crate::system;
use harness::comparison::{differences, expected, found};
use harness::inputs;
use harness::load::{Payload, generated};
use harness::stack::eventually;
use harness::system::System;
use lifecycles::{Delivery, Lifecycle, Scenario, Stripe};
use std::collections::BTreeSet;
use std::time::Duration;

const DEADLINE: Duration = Duration::from_secs(90);
/// Each scenario once.
const LIFECYCLES: usize = Scenario::ALL.len();

const ROLES: &str = "project,archive,publish";

/// How the events come, and who applies them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// As Stripe made them, one after the other.
    InOrder,
    /// The last first.
    Reversed,
    /// Each twice, in random order, many at a time.
    Doubled,
    /// As above; the reconciler is killed on its way and another goes on.
    Killed,
    /// As above; two reconcilers share the partitions.
    Shared,
    /// As above; two reconcilers of different groups read every partition.
    Overlapping,
}

impl Way {
    const ALL: [Self; 6] = [
        Self::InOrder,
        Self::Reversed,
        Self::Doubled,
        Self::Killed,
        Self::Shared,
        Self::Overlapping,
    ];

    fn order(self, mut payloads: Vec<Payload>) -> (Vec<Payload>, usize) {
        match self {
            Self::InOrder => (payloads, 1),
            Self::Reversed => {
                payloads.reverse();
                (payloads, 1)
            }
            _ => {
                let mut delivery = Delivery::new(11);
                let mut doubled = delivery.duplicated(&payloads, 1.0);
                delivery.shuffle(&mut doubled);
                (doubled, 16)
            }
        }
    }
}

/// Plays the events through the whole system and returns the state's hash.
async fn play(way: Way, lives: &[Lifecycle]) -> String {
    let system = system(&format!("flow_{way:?}").to_lowercase()).await;
    let ingest = system.ingest("ingest", &[]).await.unwrap();
    let mut reconcilers = vec![system.reconciler("first", ROLES, &[]).await.unwrap()];
    let group = format!("{}.other", system.id);
    match way {
        Way::Shared => reconcilers.push(system.reconciler("second", ROLES, &[]).await.unwrap()),
        Way::Overlapping => {
            let other = [("KAFKA_GROUP_PREFIX", group.as_str())];
            reconcilers.push(system.reconciler("second", ROLES, &other).await.unwrap());
        }
        _ => {}
    }
    let (payloads, concurrency) = way.order(generated(lives));
    let mut sender = ingest.sender().unwrap();
    sender.concurrency = concurrency;
    let disturb = async {
        if way == Way::Killed {
            some_applied(&system).await;
            reconcilers.remove(0).process.kill().unwrap();
            reconcilers.push(system.reconciler("second", ROLES, &[]).await.unwrap());
        }
    };
    // Some quotes and providers are there first, the others come while events do.
    let (early, late) = lives.split_at(lives.len() / 3);
    inputs::write(&system.pool, early).await.unwrap();
    let sending = sender.send(payloads, || ());
    let (report, (), written) = tokio::join!(sending, disturb, inputs::write(&system.pool, late));
    written.unwrap();
    assert!(report.is_all_accepted(), "{:?}", report.outcomes());
    system.caught_up(&["project", "archive"], DEADLINE).await.unwrap();
    system.published(DEADLINE).await.unwrap();

    let rows = found(&system.pool, lives).await.unwrap();
    let differences = differences(&expected(lives), &rows);
    assert!(differences.is_empty(), "{way:?}: {differences:#?}");
    every_fact_was_delivered(&system).await;
    for reconciler in reconcilers {
        let status = reconciler.process.terminate(Duration::from_secs(30)).await.unwrap();
        assert!(status.success(), "{way:?}: {status}");
    }
    system.command("reconciler", &["hash"]).unwrap()
}

async fn some_applied(system: &System) {
    let applied = async || {
        let query = "select count(*) from pay.event";
        let count: i64 = sqlx::query_scalar(query).fetch_one(&system.pool).await?;
        Ok((count == 0).then(|| "nothing is applied".to_owned()))
    };
    eventually(DEADLINE, applied).await.unwrap();
}

async fn every_fact_was_delivered(system: &System) {
    let delivered: BTreeSet<String> = system
        .delivered()
        .await
        .unwrap()
        .iter()
        .map(|event| event["factid"].as_str().unwrap().to_owned())
        .collect();
    let query = "select fact_id from pay.fact where not held";
    let facts: Vec<String> = sqlx::query_scalar(query).fetch_all(&system.pool).await.unwrap();
    assert_eq!(delivered, facts.into_iter().collect());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_order_and_repetition_gives_the_truth_and_the_same_hash() {
    let lifecycles = Stripe::new(42, 1_700_000_000).mixed(LIFECYCLES);
    let mut hashes = BTreeSet::new();
    for way in Way::ALL {
        hashes.insert(play(way, &lifecycles).await);
    }
    assert_eq!(hashes.len(), 1, "{hashes:#?}");
}
