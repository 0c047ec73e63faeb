//! The projection on a real PostgreSQL: whatever order, repetition and split, the same hash.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use domain::event::decode;
use domain::record::{RawRecord, header};
use domain::settings::Settings;
use harness::stack::eventually;
use harness::{comparison, inputs};
use kafka::topic::Topic;
use lifecycles::{Delivery, Event, Lifecycle, Rng, Scenario, Stripe};
use reconciler::database;
use reconciler::sink::Sink;
use reconciler::store::{Batch, Item, Pace, Step, Store};
use serde_json::Value;
use service::secret::SecretString;
use sqlx::{Connection as _, Executor as _, PgConnection, PgPool};

pub(crate) const START: i64 = 1_760_000_000;

/// A migrated database of its own.
pub(crate) struct Scratch {
    url: String,
    name: String,
    admin: String,
    pub(crate) pool: PgPool,
}

impl Scratch {
    pub(crate) async fn new(purpose: &str) -> Self {
        let admin = std::env::var("DATABASE_URL")
            .expect("DATABASE_URL is not set: run the tests with ./dev test");
        let name = format!("{purpose}_{}", std::process::id());
        let mut connection = PgConnection::connect(&admin).await.unwrap();
        let sql = format!("drop database if exists {name} with (force)");
        connection.execute(sqlx::AssertSqlSafe(sql)).await.unwrap();
        connection.execute(sqlx::AssertSqlSafe(format!("create database {name}"))).await.unwrap();
        let (base, _) = admin.rsplit_once('/').unwrap();
        let url = format!("{base}/{name}");
        let pool = PgPool::connect(&url).await.unwrap();
        sqlx::migrate!("../migrations").run(&pool).await.unwrap();
        Self { url, name, admin, pool }
    }

    pub(crate) fn store(&self, purpose: &str) -> Store {
        let pool = database::pool(&SecretString::from(self.url.clone()), purpose, 2).unwrap();
        Store::new(pool, Settings::new(false), [Sink::Firehose].into(), &topic())
    }

    pub(crate) async fn hash(&self) -> Vec<(&'static str, String)> {
        let mut connection = self.pool.acquire().await.unwrap();
        let parts = reconciler::hash::of(&mut connection).await.unwrap();
        parts.into_iter().map(|(name, hash)| (name, hash.to_string())).collect()
    }

    /// Holds what it would tell against the schemas, and drops it.
    pub(crate) async fn drop(self) {
        let waiting = sqlx::query_scalar("select payload from pay.outbox");
        let waiting: Vec<String> = waiting.fetch_all(&self.pool).await.unwrap();
        let events: Vec<Value> =
            waiting.iter().map(|payload| serde_json::from_str(payload).unwrap()).collect();
        harness::domain_events::check(&events).unwrap();
        self.pool.close().await;
        let mut connection = PgConnection::connect(&self.admin).await.unwrap();
        let sql = format!("drop database {} with (force)", self.name);
        // Autovacuum may be at work in it: the force is not allowed to end that.
        let dropped = async || {
            let dropped = connection.execute(sqlx::AssertSqlSafe(sql.clone())).await;
            Ok(dropped.err().map(|error| error.to_string()))
        };
        eventually(Duration::from_mins(1), dropped).await.unwrap();
    }
}

fn topic() -> Topic {
    Topic {
        name: "stripe.raw.v1".to_owned(),
        cluster_id: "cluster".to_owned(),
        topic_id: "topic".to_owned(),
        partitions: 12,
        replicas: 1,
        cleanup_policy: "delete".to_owned(),
        max_message_bytes: 4 << 20,
        retention_ms: -1,
        min_insync_replicas: 1,
    }
}

/// A record with this body, decoded.
pub(crate) fn item(store: &Store, body: &Value) -> Item {
    let record = RawRecord {
        partition: 0,
        offset: 0,
        timestamp_ms: START * 1000,
        key: None,
        headers: vec![(header::SOURCE.to_owned(), Some(Bytes::from_static(b"webhook")))],
        value: Some(Bytes::from(body.to_string())),
    };
    Item { outcome: decode(&record, store.settings()), record }
}

async fn apply(store: &Store, batches: &[Vec<Event>]) {
    for events in batches {
        let items: Vec<Item> = events.iter().map(|event| item(store, &event.body)).collect();
        store.apply(&Batch { items: &items, positions: [].into() }).await.unwrap();
    }
}

/// The hash that these events come to, as `reconciler hash` prints it.
pub(crate) async fn hash_of(scratch: &Scratch, events: &[Event]) -> String {
    apply(&scratch.store("reference"), &[events.to_vec()]).await;
    let parts = scratch.hash().await;
    parts.iter().flat_map(|(name, hash)| [*name, " ", hash, "\n"]).collect()
}

fn seed() -> u64 {
    let seed = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(42);
    println!("SEED={seed}");
    seed
}

async fn rederived(store: &Store) {
    while store.rederive().await.unwrap() > 0 {}
}

/// What many lives come to, one batch after another, with every input there from the start.
async fn in_order(lives: &[Lifecycle], seed: u64) -> Vec<(&'static str, String)> {
    let scratch = Scratch::new(&format!("in_order_{seed}")).await;
    inputs::write(&scratch.pool, lives).await.unwrap();
    let events: Vec<Event> = lives.iter().flat_map(|life| life.events.iter().cloned()).collect();
    let store = scratch.store("order");
    apply(&store, &Delivery::new(seed).batches(&events, 200)).await;
    rederived(&store).await;
    let found = comparison::found(&scratch.pool, lives).await.unwrap();
    let differences = comparison::differences(&comparison::expected(lives), &found);
    assert!(differences.is_empty(), "{differences:#?}");
    let hash = scratch.hash().await;
    scratch.drop().await;
    hash
}

#[tokio::test(flavor = "multi_thread")]
async fn order_repetition_splits_and_late_inputs_give_the_truth_and_the_same_hash() {
    let seed = seed();
    let lives = Stripe::new(seed, START).mixed(2 * Scenario::ALL.len());
    let events: Vec<Event> = lives.iter().flat_map(|life| life.events.iter().cloned()).collect();
    let expected = in_order(&lives, seed).await;

    // Two processes that share the shuffled, doubled events, each with batches of its own, while
    // quotes and providers come.
    let shared = Scratch::new("shared").await;
    let mut delivery = Delivery::new(seed);
    let mut unkind = delivery.duplicated(&events, 0.4);
    delivery.shuffle(&mut unkind);
    let (left, right) = unkind.split_at(unkind.len() / 2);
    let (left, right) = (delivery.batches(left, 60), delivery.batches(right, 60));
    let (one, other) = (shared.store("one"), shared.store("other"));
    // Each life's inputs come when about as much of the events is applied as of the lives is told.
    let late = async {
        let parts: Vec<&[Lifecycle]> = lives.chunks(5).collect();
        for (number, part) in parts.iter().enumerate() {
            let due = i64::try_from(events.len() * number / (parts.len() + 1)).unwrap();
            let applied = async || {
                let count = sqlx::query_scalar("select count(*) from pay.event");
                let applied: i64 = count.fetch_one(&shared.pool).await?;
                Ok((applied < due).then(|| format!("{applied} of {due} events are applied")))
            };
            eventually(Duration::from_mins(2), applied).await.unwrap();
            inputs::write(&shared.pool, part).await.unwrap();
            one.rederive().await.unwrap();
        }
    };
    tokio::join!(apply(&one, &left), apply(&other, &right), late);
    rederived(&one).await;
    assert_eq!(shared.hash().await, expected);

    // Reading it all again changes nothing, and books nothing.
    let entries = async || -> i64 {
        let count = sqlx::query_scalar("select count(*) from pay.ledger_entry");
        count.fetch_one(&shared.pool).await.unwrap()
    };
    let before = entries().await;
    apply(&one, std::slice::from_ref(&events)).await;
    assert_eq!(shared.hash().await, expected);
    assert_eq!(entries().await, before);
    shared.drop().await;
}

/// Ends the connection of a transaction before one of its statements, now and then: what a killed
/// process leaves behind.
struct Killer {
    watch: PgPool,
    name: &'static str,
    rng: Mutex<Rng>,
    kills: AtomicUsize,
}

impl Pace for Killer {
    async fn before(&self, _: Step) {
        // A transaction has some twenty statements.
        if !self.rng.lock().unwrap().chance(0.02) {
            return;
        }
        self.kills.fetch_add(1, Ordering::Relaxed);
        sqlx::query(
            "select pg_terminate_backend(pid) from pg_stat_activity
             where application_name = $1 and datname = current_database()
               and state = 'idle in transaction'",
        )
        .bind(format!("reconciler.{}", self.name))
        .execute(&self.watch)
        .await
        .unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_between_any_two_statements_it_comes_to_the_same_hash() {
    let seed = seed();
    let lives = Stripe::new(seed ^ 1, START).mixed(Scenario::ALL.len());
    let events: Vec<Event> = lives.iter().flat_map(|life| life.events.iter().cloned()).collect();
    let expected = in_order(&lives, seed ^ 1).await;
    let scratch = Scratch::new("killed").await;
    let mut delivery = Delivery::new(seed);
    let mut unkind = delivery.duplicated(&events, 0.2);
    delivery.shuffle(&mut unkind);
    let (left, right) = unkind.split_at(unkind.len() / 2);
    let halves = [("one", left.to_vec(), 2), ("other", right.to_vec(), 3)];
    let work = halves.into_iter().map(|(name, half, salt)| {
        let (store, watch) = (scratch.store(name), scratch.pool.clone());
        let batches = Delivery::new(seed ^ salt).batches(&half, 20);
        async move {
            let (rng, kills) = (Mutex::new(Rng::new(seed ^ salt)), AtomicUsize::new(0));
            let killer = Killer { watch, name, rng, kills };
            for events in &batches {
                let items: Vec<Item> = events.iter().map(|it| item(&store, &it.body)).collect();
                let batch = Batch { items: &items, positions: [].into() };
                while let Err(fault) = store.apply_paced(&batch, &killer).await {
                    assert!(fault.decision.is_transient(), "{fault}");
                }
            }
            killer.kills.into_inner()
        }
    });
    let (kills, written) =
        tokio::join!(futures::future::join_all(work), inputs::write(&scratch.pool, &lives));
    written.unwrap();
    assert!(kills.iter().all(|kills| *kills > 0), "{kills:?}");
    rederived(&scratch.store("last")).await;
    assert_eq!(scratch.hash().await, expected);
    scratch.drop().await;
}

/// An account's own metadata may name its provider, change it, and come before or after the payout.
#[tokio::test(flavor = "multi_thread")]
async fn the_newest_name_of_a_provider_counts_in_every_order() {
    let event = |id: &str, created: i64, object: Value| {
        serde_json::json!({"id": id, "object": "event", "type": "x.updated", "created": created,
            "livemode": false, "account": "acct_1", "data": {"object": object}})
    };
    let account = |provider: &str| {
        serde_json::json!({"id": "acct_1", "object": "account",
            "metadata": {"provider_id": provider}})
    };
    let payout = serde_json::json!({"id": "po_1", "object": "payout", "amount": 5,
        "currency": "usd", "status": "paid", "created": START, "arrival_date": START});
    let events = [
        event("evt_1", START, account("p_old")),
        event("evt_2", START + 9, account("p_new")),
        event("evt_3", START + 5, payout),
    ];
    for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
        let scratch = Scratch::new(&format!("named_{}{}{}", order[0], order[1], order[2])).await;
        let store = scratch.store("named");
        for index in order {
            let items = [item(&store, &events[index])];
            store.apply(&Batch { items: &items, positions: [].into() }).await.unwrap();
        }
        let row: (String, String) = sqlx::query_as("select provider_id, status from pay.payout")
            .fetch_one(&scratch.pool)
            .await
            .unwrap();
        assert_eq!(row, ("p_new".to_owned(), "paid".to_owned()), "{order:?}");
        scratch.drop().await;
    }
}
