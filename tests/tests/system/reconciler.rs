//! The reconciler's binary on the real topic: crashes, company, and the same hash after all of it.

use std::time::Duration;

use harness::stack::{Stack, eventually};
use harness::system::System;
use lifecycles::{Delivery, Event, Stripe};

use crate::projection::{Scratch, hash_of};
use crate::raw;

const PARTITIONS: i32 = 4;
const DEADLINE: Duration = Duration::from_mins(1);

/// Events of many lives, shuffled and doubled, and the hash that they must come to.
async fn unkind_events(name: &str, seed: u64, lives: usize) -> (Vec<Event>, String) {
    println!("{name}: seed {seed}");
    let lives = Stripe::new(seed, 1_760_000_000).mixed(lives);
    let events: Vec<Event> = lives.iter().flat_map(|life| life.events.iter().cloned()).collect();
    let scratch = Scratch::new(name).await;
    let hash = hash_of(&scratch, &events).await;
    scratch.drop().await;
    let mut delivery = Delivery::new(seed);
    let mut unkind = delivery.duplicated(&events, 0.3);
    delivery.shuffle(&mut unkind);
    (unkind, hash)
}

async fn system(name: &str, events: &[Event]) -> System {
    let stack = Stack::from_env().await.unwrap();
    let system = System::create(&stack, name, PARTITIONS).await.unwrap();
    raw::write_events(&system, events, 4).await;
    system
}

fn hash(system: &System) -> String {
    system.command("reconciler", &["hash"]).unwrap()
}

async fn applied(system: &System) -> i64 {
    let count = sqlx::query_scalar("select count(*) from pay.event");
    count.fetch_one(&system.pool).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_in_the_middle_it_goes_on_to_the_same_hash() {
    let (events, expected) = unkind_events("killed_ref", 3, 60).await;
    let system = system("killed", &events).await;
    let slow = [("PROJECT_BATCH_RECORDS", "7"), ("PROJECT_LINGER", "0s")];
    let mut kills = 0;
    for life in 0..4 {
        let before = applied(&system).await;
        let run = system.reconciler(&format!("life{life}"), "project", &slow).await.unwrap();
        let goes_on = async || Ok((applied(&system).await <= before).then(|| "idle".to_owned()));
        if eventually(DEADLINE, goes_on).await.is_ok() {
            run.process.kill().unwrap();
            kills += 1;
        }
    }
    assert_eq!(kills, 4, "each life applied something before its end");
    let _last = system.reconciler("last", "project", &[]).await.unwrap();
    system.caught_up(&["project"], DEADLINE).await.unwrap();
    assert_eq!(hash(&system), expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_that_share_the_partitions_come_to_the_same_hash() {
    let (events, expected) = unkind_events("sharing_ref", 5, 60).await;
    let system = system("sharing", &events).await;
    let small = [("PROJECT_BATCH_RECORDS", "20")];
    let (_one, _other) = tokio::join!(
        system.reconciler("one", "project", &small),
        system.reconciler("other", "project", &small),
    );
    system.caught_up(&["project"], DEADLINE).await.unwrap();
    assert_eq!(hash(&system), expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_that_hold_the_same_partitions_come_to_the_same_hash() {
    let (events, expected) = unkind_events("doubled_ref", 8, 60).await;
    let system = system("doubled", &events).await;
    let alone = |prefix| [("PROJECT_BATCH_RECORDS", "20"), ("KAFKA_GROUP_PREFIX", prefix)];
    let (one, other) = (alone("one"), alone("other"));
    let (one, other) = tokio::join!(
        system.reconciler("one", "project", &one),
        system.reconciler("other", "project", &other),
    );
    let (one, other) = (one.unwrap(), other.unwrap());
    system.caught_up(&["project"], DEADLINE).await.unwrap();
    assert_eq!(hash(&system), expected);
    for run in [one, other] {
        let status = run.process.terminate(DEADLINE).await.unwrap();
        assert!(status.success(), "{status}");
    }
    assert_eq!(hash(&system), expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_fell_back_gets_what_it_lost() {
    let (events, expected) = unkind_events("restored_ref", 12, 40).await;
    let (before, after) = events.split_at(events.len() / 2);
    let system = system("restored", before).await;
    let run = system.reconciler("run", "project", &[]).await.unwrap();
    system.caught_up(&["project"], DEADLINE).await.unwrap();
    // A failover to a server that never saw any of it, unnoticed by the process.
    let fallback = "
        alter table pay.ledger_entry disable trigger ledger_entry_append_only;
        alter table pay.ledger_posting disable trigger ledger_posting_append_only;
        truncate pay.event, pay.stripe_object, pay.fact, pay.outbox, pay.position, pay.txn,
          pay.refund, pay.dispute, pay.payout, pay.invoice, pay.invoice_payment, pay.discrepancy,
          pay.ledger_entry, pay.ledger_posting, acc.provider_connect, pay.rederive;
        alter table pay.ledger_entry enable trigger ledger_entry_append_only;
        alter table pay.ledger_posting enable trigger ledger_posting_append_only;";
    sqlx::raw_sql(fallback).execute(&system.pool).await.unwrap();
    raw::write_events(&system, after, 4).await;
    system.caught_up(&["project"], DEADLINE).await.unwrap();
    assert_eq!(hash(&system), expected);
    assert!(run.process.terminate(DEADLINE).await.unwrap().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_comes_later_heals_what_waited_for_it() {
    let stack = Stack::from_env().await.unwrap();
    let system = System::create(&stack, "provider", PARTITIONS).await.unwrap();
    let life = Stripe::new(4, 1_760_000_000).lifecycle(lifecycles::Scenario::PayoutPaid);
    raw::write_events(&system, &life.events, 4).await;
    let _run = system.reconciler("run", "project", &[]).await.unwrap();
    system.caught_up(&["project"], DEADLINE).await.unwrap();
    let account = life.truth.payouts[0].account.clone().unwrap();
    let status = async || -> Vec<(String, String)> {
        let rows = sqlx::query_as("select provider_id, status from pay.payout");
        rows.fetch_all(&system.pool).await.unwrap()
    };
    assert_eq!(status().await, [("unknown".to_owned(), "needs_review".to_owned())]);
    sqlx::query(
        "insert into acc.provider_connect (user_id, stripe_acct, status) values ('p', $1, 'active')",
    )
    .bind(&account)
    .execute(&system.pool)
    .await
    .unwrap();
    let healed = [("p".to_owned(), "paid".to_owned())];
    let wait = async || {
        let status = status().await;
        Ok((status != healed).then(|| format!("{status:?}")))
    };
    eventually(DEADLINE, wait).await.unwrap();
}
