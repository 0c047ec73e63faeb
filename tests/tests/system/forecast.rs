//! A forecast against what then really happens, and what it does to the database meanwhile: nothing.

use std::time::Duration;

use harness::inputs;
use lifecycles::{Delivery, Rng, Scenario, Stripe};
use reconciler::fault::{Decision, Fault};
use reconciler::store::{Applied, Batch, Change, Forecast, Item, Limits, Store, Totals, Verdict};
use serde_json::{Value, json};
use sqlx::{Connection as _, PgPool};

use crate::changes::{changes, rows};
use crate::projection::{Scratch, item};

const NOW: i64 = 1_760_000_000;

fn limits() -> Limits {
    Limits {
        memory_bytes: 64 << 20,
        disk_bytes: 1 << 30,
        directory: std::env::temp_dir(),
        page_objects: 500,
        time: Duration::from_mins(5),
    }
}

fn event(id: &str, kind: &str, created: i64, object: &Value) -> Value {
    json!({"id": id, "object": "event", "type": kind, "created": created, "livemode": false,
        "data": {"object": object}})
}

fn charge(id: &str, amount: i64, metadata: &Value) -> Value {
    json!({"id": id, "object": "charge", "amount": amount, "amount_captured": amount,
        "captured": true, "amount_refunded": 0, "currency": "usd", "status": "succeeded",
        "paid": true, "created": NOW, "livemode": false, "metadata": metadata})
}

fn items(store: &Store, bodies: &[Value]) -> Vec<Item> {
    bodies.iter().map(|body| item(store, body)).collect()
}

async fn apply(store: &Store, items: &[Item]) -> Result<Applied, Fault> {
    store.apply(&Batch { items, positions: [].into() }).await
}

async fn rederived(store: &Store) {
    while store.rederive().await.unwrap() > 0 {}
}

async fn end(forecast: Forecast) -> (Vec<Value>, Totals) {
    let mut told = Vec::new();
    let totals = forecast.end(|change: Change| {
        let Change { table, id, kind, columns } = change;
        told.push(json!({"table": table, "id": id, "change": kind, "columns": columns}));
        Ok::<(), Fault>(())
    });
    let totals = totals.await.unwrap();
    (told, totals)
}

/// The first difference alone, where there is one: there are many changes.
#[track_caller]
fn assert_told(told: &[Value], real: &[Value]) {
    let differs = told.iter().zip(real).find(|(told, real)| told != real);
    assert_eq!(differs, None, "told, real");
    assert_eq!(told.len(), real.len(), "{:?}", told.iter().chain(real).next_back());
}

async fn facts(pool: &PgPool) -> u64 {
    let count: i64 =
        sqlx::query_scalar("select count(*) from pay.fact").fetch_one(pool).await.unwrap();
    count.unsigned_abs()
}

/// Every row of the projection can be locked at once, and the forecast holds nothing that writes.
async fn assert_free(pool: &PgPool) {
    let mut connection = pool.acquire().await.unwrap();
    let mut tx = connection.begin().await.unwrap();
    for table in [
        "pay.event",
        "pay.stripe_object",
        "pay.txn",
        "pay.refund",
        "pay.dispute",
        "pay.payout",
        "pay.invoice",
        "pay.fact",
        "pay.outbox",
        "pay.quote",
        "acc.provider_connect",
    ] {
        let sql = format!("select 1 from {table} for update nowait");
        sqlx::query(sqlx::AssertSqlSafe(sql)).execute(&mut *tx).await.unwrap();
    }
    let held: Vec<(Option<String>, String, bool)> = sqlx::query_as(
        "select l.relation::regclass::text, l.mode, a.backend_xid is not null
         from pg_stat_activity as a join pg_locks as l using (pid)
         where a.application_name = 'reconciler.forecast' and a.datname = current_database()
           and l.locktype <> 'virtualxid'",
    )
    .fetch_all(&mut *tx)
    .await
    .unwrap();
    assert!(!held.is_empty(), "the forecast's session is seen");
    for (relation, mode, has_written) in held {
        assert_eq!((mode.as_str(), has_written), ("AccessShareLock", false), "{relation:?}");
    }
    tx.rollback().await.unwrap();
}

/// Lives, and what they seldom have: payments that share a quote over any page, accounts that change
/// their provider, records that cannot be applied, and events that come with other data.
fn bodies(
    seed: u64,
    stripe: &mut Stripe,
    rng: &mut Rng,
) -> (Vec<Value>, Vec<lifecycles::Lifecycle>) {
    let lives = stripe.mixed(Scenario::ALL.len());
    let mut bodies: Vec<Value> =
        lives.iter().flat_map(|life| &life.events).map(|event| event.body.clone()).collect();
    for number in 0..24 {
        let quote = format!("qte_shared_{}", rng.below(4));
        let (id, at) = (format!("ch_shared_{seed}_{number}"), NOW + rng.between(0, 99));
        let mut object = charge(&id, rng.between(100, 900), &json!({"quote_id": quote}));
        bodies.push(event(&format!("evt_a_{id}"), "charge.succeeded", at, &object));
        // Later it names another quote, or finds an intent, and so another row.
        object["metadata"]["quote_id"] = format!("qte_shared_{}", rng.below(4)).into();
        if rng.coin() {
            object["payment_intent"] = format!("pi_shared_{seed}_{number}").into();
        }
        bodies.push(event(&format!("evt_b_{id}"), "charge.updated", at + 100, &object));
    }
    for number in 0..3 {
        let id = format!("acct_{seed}x{number}");
        let of_account = |mut event: Value| {
            event["account"] = id.as_str().into();
            event
        };
        for provider in ["p_old", "p_new"] {
            let object =
                json!({"id": id, "object": "account", "metadata": {"provider_id": provider}});
            let at = NOW + rng.between(0, 99);
            let name = format!("evt_{provider}_{id}");
            bodies.push(of_account(event(&name, "account.updated", at, &object)));
        }
        for payout in 0..4 {
            let object = json!({"id": format!("po_{seed}x{number}x{payout}"), "object": "payout",
                "amount": 500, "currency": "usd", "status": "paid", "created": NOW,
                "arrival_date": NOW});
            let name = format!("evt_{payout}_{id}");
            bodies.push(of_account(event(&name, "payout.paid", NOW, &object)));
        }
    }
    for index in 0..bodies.len() {
        if rng.chance(0.1) {
            let mut variant = bodies[index].clone();
            variant["data"]["object"]["description"] = "with other data".into();
            bodies.push(variant);
        }
        if rng.chance(0.03) {
            let mut bad = bodies[index].clone();
            bad["data"]["object"]["id"] = Value::Null;
            bodies.push(bad);
        }
    }
    let mut live = bodies[0].clone();
    live["livemode"] = true.into();
    bodies.push(live);
    Delivery::new(seed).shuffle(&mut bodies);
    (bodies, lives)
}

async fn share_quotes(pool: &PgPool) {
    sqlx::query(
        "insert into pay.quote (quote_id, buyer_id, provider_id, role_code, currency,
           subtotal_cents, platform_fee_cents, tax_cents, total_cents, policy_snapshot)
         select 'qte_shared_' || n, 'b', 'p_' || n, 'r',
           case n when 2 then 'EUR' else 'USD' end, 1866, 101, 33, 2000, '{}'
         from generate_series(0, 2) as n",
    )
    .execute(pool)
    .await
    .unwrap();
}

/// What a forecast says of these batches, with whatever limits.
async fn forecast(
    store: &Store,
    batches: &[Vec<Item>],
    limits: Limits,
) -> (Vec<Applied>, Vec<Value>, Totals) {
    let mut forecast = Forecast::begin(store, limits).await.unwrap();
    let mut applied = Vec::new();
    for batch in batches {
        applied.push(forecast.add(batch).await.unwrap());
    }
    let (told, totals) = end(forecast).await;
    (applied, told, totals)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_told_is_what_comes() {
    let mut kinds = std::collections::BTreeSet::new();
    for seed in 1..=6 {
        println!("seed {seed}");
        let scratch = Scratch::new(&format!("forecast_{seed}")).await;
        let (store, other) = (scratch.store("real"), scratch.store("forecast"));
        let mut rng = Rng::new(seed);
        let (bodies, lives) = bodies(seed, &mut Stripe::new(seed, NOW), &mut rng);
        share_quotes(&scratch.pool).await;
        let known = lives.len() * 2 / 3;
        inputs::write(&scratch.pool, &lives[..known]).await.unwrap();
        let share = [0.0, 0.2, 0.4, 0.5, 0.7, 0.9][usize::try_from(seed).unwrap() - 1];
        let applied: Vec<Value> = bodies.iter().filter(|_| rng.chance(share)).cloned().collect();
        let replayed: Vec<Value> = bodies.iter().filter(|_| rng.chance(0.6)).cloned().collect();
        let mut delivery = Delivery::new(seed);
        for batch in delivery.batches(&applied, 60) {
            apply(&store, &items(&store, &batch)).await.unwrap();
        }
        rederived(&store).await;
        let mut replayed = delivery.duplicated(&replayed, 0.1);
        delivery.shuffle(&mut replayed);
        // One batch, so that what it queues is known to the event; else many.
        let size = if seed % 2 == 0 { replayed.len() } else { 40 };
        let batches: Vec<Vec<Item>> =
            replayed.chunks(size).map(|bodies| items(&store, bodies)).collect();

        let (hash, before, facts_before) =
            (scratch.hash().await, rows(&scratch.pool).await, facts(&scratch.pool).await);
        let mut open = Forecast::begin(&other, limits()).await.unwrap();
        for batch in &batches {
            open.add(batch).await.unwrap();
        }
        assert_free(&scratch.pool).await;
        let (told, totals) = end(open).await;
        // Whatever fits into memory and a page, it is told the same.
        let narrow = Limits { memory_bytes: 64 << 10, page_objects: 3, ..limits() };
        let (verdicts, told_narrowly, narrowly) = forecast(&other, &batches, narrow).await;
        assert_told(&told_narrowly, &told);
        let fits = narrowly.file_bytes <= 4 * (64 << 10);
        assert!(!fits || share > 0.6, "it did not go to disk: {narrowly:?}");
        assert_eq!(Totals { file_bytes: totals.file_bytes, ..narrowly }, totals);
        assert_eq!(scratch.hash().await, hash, "nothing changed");
        assert_eq!(rows(&scratch.pool).await, before);

        let mut queued = 0;
        for (batch, forecast) in batches.iter().zip(&verdicts) {
            let real = apply(&store, batch).await.unwrap();
            assert_eq!(real.verdicts, forecast.verdicts);
            assert_eq!(real.quarantined, forecast.quarantined);
            assert_eq!(real.newest_created, forecast.newest_created);
            assert_eq!(real.received_at_ms, forecast.received_at_ms);
            queued += real.published;
        }
        rederived(&store).await;
        let real = changes(&before, &rows(&scratch.pool).await);
        assert_told(&told, &real);
        assert_eq!(totals.new_facts, facts(&scratch.pool).await - facts_before);
        if batches.len() == 1 {
            assert_eq!(totals.domain_events, queued);
        }
        let kind = |change: &Value| {
            ["table", "change"].map(|name| change[name].as_str().unwrap().to_owned()).join(" ")
        };
        kinds.extend(told.iter().map(kind));
        let of = |verdict| verdicts.iter().filter_map(|it| it.verdicts.get(&verdict)).sum::<u64>();
        for verdict in [Verdict::Duplicate, Verdict::Quarantined] {
            assert!(of(verdict) > 0, "{verdict:?}");
        }

        // All of it again: nothing is new.
        let (_, told, totals) = forecast(&other, &batches, limits()).await;
        assert_told(&told, &[]);
        assert_eq!(Totals { file_bytes: 0, ..totals }, Totals::default());
        scratch.drop().await;
    }
    // The sets reach every table, and rows that go.
    for kind in [
        "acc.provider_connect changed",
        "pay.discrepancy new",
        "pay.dispute new",
        "pay.invoice new",
        "pay.invoice_payment new",
        "pay.ledger_posting changed",
        "pay.ledger_posting gone",
        "pay.payout changed",
        "pay.refund new",
        "pay.txn changed",
        "pay.txn gone",
    ] {
        assert!(kinds.contains(kind), "{kind} is not among {kinds:?}");
    }
}

/// Records go on while a forecast is open: neither waits, and it tells of its own moment.
#[tokio::test(flavor = "multi_thread")]
async fn live_records_pass_by_an_open_forecast() {
    let scratch = Scratch::new("forecast_live").await;
    let (store, other) = (scratch.store("real"), scratch.store("forecast"));
    let object = |refunded: i64| {
        let mut object = charge("ch_1", 1000, &json!({}));
        object["amount_refunded"] = refunded.into();
        object
    };
    let first = event("evt_1", "charge.succeeded", NOW, &object(0));
    let second = event("evt_2", "charge.refunded", NOW + 9, &object(400));
    apply(&store, &items(&store, std::slice::from_ref(&first))).await.unwrap();
    let before = rows(&scratch.pool).await;
    let mut open = Forecast::begin(&other, limits()).await.unwrap();
    let batch = items(&store, &[first, second]);
    // The same, by a projector, between the forecast's two looks.
    let live = apply(&store, &batch).await.unwrap();
    let told = open.add(&batch).await.unwrap();
    assert_eq!(told.verdicts, live.verdicts);
    assert_eq!(told.verdicts, [(Verdict::Applied, 1), (Verdict::Duplicate, 1)].into());
    let (told, _) = end(open).await;
    assert_told(&told, &changes(&before, &rows(&scratch.pool).await));
    assert!(!told.is_empty());
    scratch.drop().await;
}

/// A payment gains a part of its quote on one page, and on the next its row, and with it what the
/// part was booked on, gives way to that of its intent.
#[tokio::test(flavor = "multi_thread")]
async fn what_one_page_books_the_next_can_take_back() {
    let scratch = Scratch::new("forecast_pages").await;
    let (store, other) = (scratch.store("real"), scratch.store("forecast"));
    share_quotes(&scratch.pool).await;
    rederived(&store).await;
    let quoted = json!({"quote_id": "qte_shared_0"});
    // The first takes all of the quote, so that nothing is left for the second.
    let (mut first, mut second) = (charge("ch_a", 2000, &quoted), charge("ch_b", 500, &quoted));
    second["created"] = (NOW + 1).into();
    let known = [
        event("evt_1", "charge.succeeded", NOW, &first),
        event("evt_2", "charge.succeeded", NOW + 1, &second),
    ];
    apply(&store, &items(&store, &known)).await.unwrap();
    first["metadata"]["quote_id"] = "qte_shared_1".into();
    second["payment_intent"] = "pi_b".into();
    let replayed = [
        event("evt_3", "charge.updated", NOW + 2, &first),
        event("evt_4", "charge.updated", NOW + 2, &second),
    ];
    let before = rows(&scratch.pool).await;
    let batch = [items(&store, &replayed)];
    let (_, told, _) = forecast(&other, &batch, Limits { page_objects: 1, ..limits() }).await;
    apply(&store, &batch[0]).await.unwrap();
    assert_told(&told, &changes(&before, &rows(&scratch.pool).await));
    assert!(!told.is_empty());
    scratch.drop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forecast_ends_at_its_limits() {
    let scratch = Scratch::new("forecast_limits").await;
    let store = scratch.store("forecast");
    let body = event("evt_1", "charge.succeeded", NOW, &charge("ch_1", 1000, &json!({})));
    let items = items(&store, &[body]);
    for (limits, name) in [
        (Limits { time: Duration::ZERO, ..limits() }, "FORECAST_TIME"),
        (Limits { disk_bytes: 1, ..limits() }, "FORECAST_DISK_BYTES"),
    ] {
        let mut open = Forecast::begin(&store, limits).await.unwrap();
        let fault = open.add(&items).await.unwrap_err();
        assert_eq!(fault.decision, Decision::Halt);
        assert!(fault.to_string().contains(name), "{fault}");
    }
    let nowhere = Limits { directory: "/nowhere".into(), ..limits() };
    let fault = Forecast::begin(&store, nowhere).await.unwrap_err();
    assert!(fault.to_string().contains("/nowhere"), "{fault}");
    scratch.drop().await;
}
