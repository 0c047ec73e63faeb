//! Hostile and odd records against a real PostgreSQL: their set decides the state, none poisons
//! another, and quarantine takes all of them.

use std::sync::Arc;

use bytes::Bytes;
use domain::event::decode;
use domain::record::{RawRecord, header};
use lifecycles::{Delivery, Event, Stripe};
use reconciler::fault::{Decision, Fault};
use reconciler::store::{Applied, Batch, Item, Store};
use serde_json::{Value, json};

use crate::projection::{Scratch, item};

const NOW: i64 = 1_760_000_000;

fn event(id: &str, kind: &str, created: i64, object: &Value) -> Value {
    json!({
        "id": id, "object": "event", "type": kind, "created": created, "livemode": false,
        "api_version": "2024-06-20", "data": {"object": object},
    })
}

fn charge(id: &str) -> Value {
    json!({
        "id": id, "object": "charge", "amount": 1000, "amount_captured": 1000, "captured": true,
        "amount_refunded": 0, "currency": "usd", "status": "succeeded", "paid": true,
        "created": NOW, "livemode": false, "metadata": {},
    })
}

fn refund(id: &str, charge: &str) -> Value {
    json!({
        "id": id, "object": "refund", "amount": 400, "currency": "usd", "status": "succeeded",
        "charge": charge, "created": NOW, "balance_transaction": "txn_1", "metadata": {},
    })
}

fn account(id: &str, provider: &str) -> Value {
    json!({
        "id": id, "object": "account", "payouts_enabled": true, "charges_enabled": true,
        "details_submitted": true, "metadata": {"provider_id": provider},
    })
}

fn payout(id: &str) -> Value {
    json!({"id": id, "object": "payout", "amount": 500, "currency": "usd", "status": "paid",
           "created": NOW, "arrival_date": NOW})
}

/// The same event, as a platform's endpoint gets it for a connected account.
fn of_account(mut event: Value, account: &str) -> Value {
    event["account"] = account.into();
    event
}

async fn apply(store: &Store, bodies: &[Value]) -> Result<Applied, Fault> {
    let items: Vec<Item> = bodies.iter().map(|body| item(store, body)).collect();
    store.apply(&Batch { items: &items, positions: [].into() }).await
}

/// The hash after these events, one batch each.
async fn hash_after(name: &str, events: &[&Value]) -> Vec<(&'static str, String)> {
    let scratch = Scratch::new(name).await;
    let store = scratch.store(name);
    for event in events {
        apply(&store, &[(*event).clone()]).await.unwrap();
        while store.rederive().await.unwrap() > 0 {}
    }
    let hash = scratch.hash().await;
    scratch.drop().await;
    hash
}

/// The hash must not depend on which of both comes first.
async fn both_orders(name: &str, a: &Value, b: &Value) {
    let forwards = hash_after(&format!("{name}_ab"), &[a, b]).await;
    let backwards = hash_after(&format!("{name}_ba"), &[b, a]).await;
    assert_eq!(forwards, backwards, "{name}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refund_from_beyond_time_does_not_poison_its_charge() {
    let mut refund = refund("re_1", "ch_1");
    refund["created"] = i64::MAX.into();
    let refund = event("evt_1", "refund.created", NOW, &refund);
    let charge = event("evt_2", "charge.succeeded", NOW, &charge("ch_1"));
    both_orders("beyond_time", &refund, &charge).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn metadata_that_no_index_takes_does_not_halt() {
    // Random enough that it does not compress.
    let long: String = (0..4000_u32)
        .filter_map(|n| char::from_u32(0x4e00 + n.wrapping_mul(2_654_435_761) % 20_000))
        .collect();
    let mut charge = charge("ch_1");
    charge["metadata"] = json!({"quote_id": long});
    hash_after("long_quote", &[&event("evt_1", "charge.succeeded", NOW, &charge)]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn numbers_survive_postgres() {
    let text = event("evt_1", "charge.succeeded", NOW, &charge("ch_1")).to_string();
    let text = text.replace("\"amount_refunded\":0", "\"amount_refunded\":1e16");
    let charge: Value = serde_json::from_str(&text).unwrap();
    let dispute = json!({"id": "dp_1", "object": "dispute", "amount": 1, "currency": "usd",
                         "charge": "ch_1", "status": "lost", "created": NOW});
    let dispute = event("evt_2", "charge.dispute.created", NOW, &dispute);
    both_orders("numbers", &charge, &dispute).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_event_in_two_shapes_gives_one_hash() {
    let mut charge = charge("ch_1");
    charge["payment_intent"] = "pi_1".into();
    let intent = json!({
        "id": "pi_1", "object": "payment_intent", "amount": 1000, "amount_received": 1000,
        "currency": "usd", "status": "succeeded", "created": NOW, "metadata": {},
    });
    let (mut old, mut new) = (intent.clone(), intent);
    old["charges"] = json!({"object": "list", "data": [charge]});
    new["latest_charge"] = "ch_1".into();
    let old = event("evt_1", "payment_intent.succeeded", NOW, &old);
    let new = event("evt_1", "payment_intent.succeeded", NOW, &new);
    both_orders("shapes", &old, &new).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_accounts_newest_metadata_names_its_provider() {
    let named = |id, at, acct, provider| {
        of_account(event(id, "account.updated", at, &account(acct, provider)), acct)
    };
    let paid = of_account(event("evt_9", "payout.paid", NOW, &payout("po_1")), "acct_1");
    let first = named("evt_1", NOW, "acct_1", "prov_1");
    let renamed = named("evt_2", NOW + 1, "acct_1", "prov_2");
    let in_order = hash_after("renamed_1", &[&paid, &first, &renamed]).await;
    assert_eq!(hash_after("renamed_2", &[&paid, &renamed, &first]).await, in_order);
    assert_eq!(hash_after("renamed_3", &[&renamed, &first, &paid]).await, in_order);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_accounts_may_claim_one_provider() {
    let named =
        |id, acct| of_account(event(id, "account.updated", NOW, &account(acct, "prov_1")), acct);
    both_orders("claimed", &named("evt_1", "acct_1"), &named("evt_2", "acct_2")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_month_that_was_dropped_can_come_again() {
    let scratch = Scratch::new("dropped_month").await;
    let charge = |id: &str| event(id, "charge.succeeded", NOW, &charge(id));
    let long_running = scratch.store("long");
    apply(&long_running, &[charge("ch_1")]).await.unwrap();
    sqlx::query("drop table pay.event_2025_10").execute(&scratch.pool).await.unwrap();
    // Replayed by a process that knows of the month: it lands in the default partition.
    apply(&long_running, &[charge("ch_2")]).await.unwrap();
    // A process that has just started makes the month again.
    apply(&scratch.store("new"), &[charge("ch_3")]).await.unwrap();
    let events: i64 = sqlx::query_scalar("select count(*) from pay.event")
        .fetch_one(&scratch.pool)
        .await
        .unwrap();
    assert_eq!(events, 2);
    scratch.drop().await;
}

/// A record that ingest did not write.
fn foreign(store: &Store, timestamp_ms: i64, headers: Vec<(String, Option<Bytes>)>) -> Item {
    let record = RawRecord {
        partition: 0,
        offset: 0,
        timestamp_ms,
        key: Some(Bytes::from_static(b"\0\xff")),
        headers,
        value: Some(Bytes::from_static(br#"{"id": "x", "object": "charge"}"#)),
    };
    Item { outcome: decode(&record, store.settings()), record }
}

#[tokio::test(flavor = "multi_thread")]
async fn quarantine_takes_any_record() {
    let scratch = Scratch::new("foreign").await;
    let store = scratch.store("foreign");
    let text = |text: &'static str| Some(Bytes::from_static(text.as_bytes()));
    let fetch = |created: &'static str| {
        vec![
            (header::SOURCE.to_owned(), text("stripe_fetch")),
            (header::EVENT_ID.to_owned(), text("fetch_1")),
            (header::CREATED.to_owned(), text(created)),
        ]
    };
    for (timestamp_ms, headers) in [
        (i64::MAX, vec![]),
        (i64::MIN, vec![("a\0b".to_owned(), None), (String::new(), text("\0"))]),
        (0, fetch("9223372036854775807")),
        (0, fetch("-9223372036854775808")),
        (0, fetch("not a number")),
    ] {
        let items = [foreign(&store, timestamp_ms, headers)];
        let batch = Batch { items: &items, positions: [].into() };
        let applied = store.apply(&batch).await.unwrap();
        assert_eq!(applied.quarantined.values().sum::<u64>(), 1, "{:?}", items[0]);
    }
    scratch.drop().await;
}

/// Applies until it takes, as the projector does.
async fn apply_with_patience(store: &Store, events: &[Value]) -> u32 {
    let mut retries = 0;
    loop {
        match apply(store, events).await {
            Ok(_) => return retries,
            Err(fault) if fault.decision == Decision::Retry => retries += 1,
            Err(fault) => panic!("{fault}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crowd_on_the_same_records_meets_no_deadlock() {
    let lives = Stripe::new(7, NOW).mixed(60);
    let mut events: Vec<Event> = lives.iter().flat_map(|life| life.events.clone()).collect();
    // Over many months, so that partitions are made in the middle of it.
    for (n, event) in events.iter_mut().enumerate() {
        let created = event.body["created"].as_i64().unwrap();
        event.body["created"] = (created + i64::try_from(n % 40).unwrap() * 2_592_000).into();
    }
    let alone = Scratch::new("alone").await;
    let store = alone.store("alone");
    for batch in Delivery::new(1).batches(&events, 40) {
        let bodies: Vec<Value> = batch.iter().map(|event| event.body.clone()).collect();
        apply(&store, &bodies).await.unwrap();
    }
    let accounts: Vec<String> = sqlx::query_scalar(
        "select object_id from pay.stripe_object where kind = 'account'
           and object_id not in (select stripe_acct from acc.provider_connect)",
    )
    .fetch_all(&alone.pool)
    .await
    .unwrap();
    let link = async |pool: &sqlx::PgPool, accounts: &[String]| {
        for (n, acct) in accounts.iter().enumerate() {
            sqlx::query("insert into acc.provider_connect (user_id, stripe_acct, status) values ($1, $2, 'pending') on conflict (user_id) do nothing")
                .bind(format!("linked_{n}_{acct}")).bind(acct).execute(pool).await.unwrap();
        }
    };
    link(&alone.pool, &accounts).await;
    while store.rederive().await.unwrap() > 0 {}

    let crowd = Scratch::new("crowd").await;
    let names = ["c1", "c2", "c3", "c4"];
    let work = names.iter().enumerate().map(|(n, name)| {
        let store = crowd.store(name);
        let mut delivery = Delivery::new(100 + n as u64);
        let mut mine = delivery.duplicated(&events, 0.1);
        delivery.shuffle(&mut mine);
        let batches = delivery.batches(&mine, 40);
        async move {
            let mut retries = 0;
            for batch in batches {
                let bodies: Vec<Value> = batch.iter().map(|event| event.body.clone()).collect();
                retries += apply_with_patience(&store, &bodies).await;
                match store.rederive().await {
                    Ok(_) => {}
                    Err(fault) if fault.decision == Decision::Retry => retries += 1,
                    Err(fault) => panic!("{fault}"),
                }
            }
            retries
        }
    });
    let work = futures::future::join_all(work);
    let (retries, ()) = tokio::join!(work, link(&crowd.pool, &accounts));
    let store = crowd.store("last");
    while store.rederive().await.unwrap() > 0 {}
    assert_eq!(crowd.hash().await, alone.hash().await);
    // Whoever loses a deadlock is told to try again.
    assert_eq!(retries.iter().sum::<u32>(), 0, "{retries:?}");
    alone.drop().await;
    crowd.drop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn deriving_again_leaves_alone_what_another_process_has_finished() {
    let scratch = Scratch::new("rederive").await;
    let store = Arc::new(scratch.store("rederive_one"));
    let paid = |n: i64, acct| {
        let event = event(&format!("evt_{n}"), "payout.paid", NOW, &payout(&format!("po_{n}")));
        of_account(event, acct)
    };
    apply(&store, &[paid(1, "acct_1"), paid(2, "acct_2")]).await.unwrap();
    let link = "insert into acc.provider_connect (user_id, stripe_acct, status)
                values ('p_' || $1, $1, 'active')";
    sqlx::query(link).bind("acct_1").execute(&scratch.pool).await.unwrap();

    // One process has read the queue and waits for the account.
    let mut other = scratch.pool.begin().await.unwrap();
    let lock = "select from pay.stripe_object where object_id = 'acct_1' for update";
    sqlx::query(lock).execute(&mut *other).await.unwrap();
    let slow = tokio::spawn({
        let store = store.clone();
        async move { store.rederive().await }
    });
    let waits = "select exists (select from pg_stat_activity where wait_event_type = 'Lock'
                 and datname = current_database())";
    while !sqlx::query_scalar::<_, bool>(waits).fetch_one(&scratch.pool).await.unwrap() {}
    // Another has the account first and finishes it; then a second account is queued.
    sqlx::query(
        "update pay.payout set provider_id = 'p_acct_1', status = 'paid'
                 where stripe_payout = 'po_1'",
    )
    .execute(&mut *other)
    .await
    .unwrap();
    sqlx::query("delete from pay.rederive").execute(&mut *other).await.unwrap();
    sqlx::query(link).bind("acct_2").execute(&mut *other).await.unwrap();
    other.commit().await.unwrap();
    slow.await.unwrap().unwrap();
    let payouts: Vec<(String, String, String)> =
        sqlx::query_as("select stripe_payout, provider_id, status from pay.payout order by 1")
            .fetch_all(&scratch.pool)
            .await
            .unwrap();
    let paid = |po: &str, provider: &str| (po.to_owned(), provider.to_owned(), "paid".to_owned());
    assert_eq!(payouts, [paid("po_1", "p_acct_1"), paid("po_2", "p_acct_2")]);
    scratch.drop().await;
}
