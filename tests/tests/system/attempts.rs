//! How often a batch has to be begun again because more must be locked than was guessed.

use std::sync::Mutex;

use harness::inputs;
use lifecycles::{Event, Scenario, Stripe};
use reconciler::store::{Batch, Item, Pace, Step};

use crate::projection::{START, Scratch, item};

/// The last step of each transaction so far.
#[derive(Default)]
struct Ends(Mutex<Vec<Step>>);

impl Pace for Ends {
    async fn before(&self, step: Step) {
        let mut ends = self.0.lock().unwrap();
        if step != Step::InsertEvents {
            ends.pop();
        }
        ends.push(step);
    }
}

/// Each attempt costs as much as a whole batch. Quotes that are found by an order, and payments that
/// find theirs by a checkout session of an earlier batch, must not cost another. An account that
/// gives itself another name may: what depends on it is looked for under its lock.
#[tokio::test(flavor = "multi_thread")]
async fn alone_a_batch_is_begun_once_whatever_its_quotes() {
    let scratch = Scratch::new("attempts").await;
    let lives = Stripe::new(8, START).mixed(2 * Scenario::ALL.len());
    inputs::write(&scratch.pool, &lives).await.unwrap();
    let store = scratch.store("attempts");
    let mut events: Vec<&Event> = lives.iter().flat_map(|life| &life.events).collect();
    events.sort_by_key(|event| event.created);
    let ends = Ends::default();
    let batches: Vec<&[&Event]> = events.chunks(25).collect();
    for events in &batches {
        let items: Vec<Item> = events.iter().map(|event| item(&store, &event.body)).collect();
        let batch = Batch { items: &items, positions: [].into() };
        store.apply_paced(&batch, &ends).await.unwrap();
    }
    let ends = ends.0.into_inner().unwrap();
    let again: Vec<&Step> = ends.iter().filter(|step| **step != Step::Commit).collect();
    assert_eq!(ends.len() - again.len(), batches.len());
    assert!(again.iter().all(|step| **step == Step::ReadObjects), "begun again after {again:?}");
    assert!(again.len() <= 3, "{} of {} batches begun again", again.len(), batches.len());
    scratch.drop().await;
}
