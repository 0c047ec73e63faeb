//! Odd sets of records against a real PostgreSQL: what an earlier view wrote must not stand, and
//! what decides is never the order of arrival.

use bytes::Bytes;
use domain::event::decode;
use domain::record::{RawRecord, header};
use reconciler::store::{Batch, Item, Store, Verdict};
use serde_json::{Value, json};
use sqlx::PgPool;

use crate::projection::Scratch;

const NOW: i64 = 1_760_000_000;

/// A record of the raw topic: its body, and the headers that matter.
#[derive(Clone)]
struct Record {
    body: Value,
    headers: Vec<(&'static str, &'static str)>,
}

fn event(id: &str, created: i64, object: &Value) -> Record {
    let body = json!({"id": id, "object": "event", "type": "any.thing", "created": created,
                      "livemode": false, "data": {"object": object}});
    Record { body, headers: vec![(header::SOURCE, "webhook")] }
}

fn with(mut record: Record, field: &str, value: &str) -> Record {
    record.body[field] = value.into();
    record
}

fn item(store: &Store, record: &Record) -> Item {
    let headers = record.headers.iter();
    let record = RawRecord {
        partition: 0,
        offset: 0,
        timestamp_ms: NOW * 1000,
        key: None,
        headers: headers
            .map(|(name, value)| ((*name).to_owned(), Some(Bytes::from_static(value.as_bytes()))))
            .collect(),
        value: Some(Bytes::from(record.body.to_string())),
    };
    Item { outcome: decode(&record, store.settings()), record }
}

async fn apply(store: &Store, records: &[&Record]) {
    let items: Vec<Item> = records.iter().map(|record| item(store, record)).collect();
    store.apply(&Batch { items: &items, positions: [].into() }).await.unwrap();
}

/// Applies the records in every order, one at a time, and all at once; each must come to the same
/// hash. Hands the last database to `look`.
async fn every_order<T>(
    name: &str,
    records: &[Record],
    links: &[(&str, &str)],
    look: impl AsyncFn(&PgPool) -> T,
) -> T {
    let mut orders = vec![Vec::new()];
    for index in 0..records.len() {
        orders = orders
            .into_iter()
            .flat_map(|order: Vec<usize>| {
                (0..=order.len()).map(move |place| {
                    let mut longer = order.clone();
                    longer.insert(place, index);
                    longer
                })
            })
            .collect();
    }
    let mut expected = None;
    let mut seen = None;
    let all_at_once = orders[0].clone();
    let ways = orders.into_iter().map(|order| (order, 1)).chain([(all_at_once, records.len())]);
    for (number, (order, batch)) in ways.enumerate() {
        let scratch = Scratch::new(&format!("{name}_{number}")).await;
        for (user, account) in links {
            sqlx::query(
                "insert into acc.provider_connect (user_id, stripe_acct, status)
                 values ($1, $2, 'active')",
            )
            .bind(user)
            .bind(account)
            .execute(&scratch.pool)
            .await
            .unwrap();
        }
        let store = scratch.store("orders");
        for part in order.chunks(batch) {
            apply(&store, &part.iter().map(|index| &records[*index]).collect::<Vec<_>>()).await;
        }
        while store.rederive().await.unwrap() > 0 {}
        let hash = scratch.hash().await;
        assert_eq!(*expected.get_or_insert_with(|| hash.clone()), hash, "{name}: {order:?}");
        seen = Some(look(&scratch.pool).await);
        scratch.drop().await;
    }
    seen.unwrap()
}

async fn count(pool: &PgPool, table: &str) -> i64 {
    let query = format!("select count(*) from {table}");
    sqlx::query_scalar(sqlx::AssertSqlSafe(query)).fetch_one(pool).await.unwrap()
}

fn charge(id: &str) -> Value {
    json!({"id": id, "object": "charge", "amount": 1000, "amount_captured": 1000, "captured": true,
           "amount_refunded": 0, "currency": "usd", "status": "succeeded", "created": NOW})
}

fn dispute(charge: &Value, status: &str) -> Value {
    json!({"id": "dp_1", "object": "dispute", "amount": 1000, "currency": "usd", "charge": charge,
           "status": status, "created": NOW})
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_the_newest_record_no_longer_bears_out_goes() {
    let records = [
        event("evt_1", NOW, &charge("ch_1")),
        event("evt_2", NOW + 1, &dispute(&"ch_1".into(), "needs_response")),
        event("evt_3", NOW + 2, &dispute(&Value::Null, "lost")),
    ];
    let disputes =
        every_order("lost_charge", &records, &[], async |pool| count(pool, "pay.dispute").await);
    assert_eq!(disputes.await, 0);

    // The charge that an intent names as its latest is its own; when it names another, the first
    // one's refund has no payment any more.
    let intent = |charge: &str| {
        json!({"id": "pi_1", "object": "payment_intent", "amount": 1000, "amount_received": 1000,
               "currency": "usd", "status": "processing", "created": NOW, "latest_charge": charge})
    };
    let refund = json!({"id": "re_1", "object": "refund", "amount": 100, "currency": "usd",
                        "status": "succeeded", "charge": "ch_1", "created": NOW,
                        "balance_transaction": "txn_1"});
    let records = [
        event("evt_1", NOW, &intent("ch_1")),
        event("evt_2", NOW + 1, &refund),
        event("evt_3", NOW + 2, &intent("ch_2")),
    ];
    let rows = every_order("latest_moved", &records, &[], async |pool| {
        (count(pool, "pay.txn").await, count(pool, "pay.refund").await)
    });
    assert_eq!(rows.await, (1, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_longer_moves_money_leaves_nothing_in_the_ledger() {
    let balances = async |pool: &PgPool| {
        let query = "select balance_cents from pay.ledger_balance order by 1";
        sqlx::query_scalar::<_, i64>(query).fetch_all(pool).await.unwrap()
    };
    let mut of_intent = charge("ch_1");
    of_intent["payment_intent"] = "pi_1".into();
    let records = [event("evt_1", NOW, &of_intent), event("evt_2", NOW + 1, &charge("ch_1"))];
    assert_eq!(every_order("left_intent", &records, &[], balances).await, [-1000, 1000]);

    let transfer = |destination: Value| {
        json!({"id": "tr_1", "object": "transfer", "amount": 500, "currency": "usd",
               "destination": destination, "created": NOW})
    };
    let records = [
        event("evt_1", NOW, &transfer("acct_1".into())),
        event("evt_2", NOW + 1, &transfer(Value::Null)),
    ];
    assert!(every_order("nowhere", &records, &[], balances).await.is_empty());

    let invoice = json!({"id": "in_1", "object": "invoice", "amount_due": 500, "currency": "usd",
                         "status": "draft", "created": NOW});
    let deleted = json!({"id": "in_1", "object": "invoice", "deleted": true});
    let records = [event("evt_1", NOW, &invoice), event("evt_2", NOW + 1, &deleted)];
    let invoices =
        every_order("deleted_draft", &records, &[], async |pool| count(pool, "pay.invoice").await);
    assert_eq!(invoices.await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_authorisation_that_came_back_lifts_the_restriction_whatever_else_is_known() {
    let application = json!({"id": "ca_1", "object": "application", "name": "Platform"});
    let of = |id, at, kind| {
        let record = with(event(id, at, &application), "account", "acct_1");
        with(record, "type", kind)
    };
    let records = [
        of("evt_1", NOW, "account.application.deauthorized"),
        of("evt_2", NOW + 100, "account.application.authorized"),
    ];
    let status = every_order("reauthorised", &records, &[("usr_1", "acct_1")], async |pool| {
        let query = "select status from acc.provider_connect";
        sqlx::query_scalar::<_, String>(query).fetch_one(pool).await.unwrap()
    });
    assert_eq!(status.await, "pending");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_asked_for_belongs_to_the_account_that_was_asked() {
    let payout = json!({"id": "po_1", "object": "payout", "amount": 500, "currency": "usd",
                        "status": "paid", "created": NOW, "arrival_date": NOW});
    let delivered = with(event("evt_1", NOW, &payout), "account", "acct_1");
    // Stripe's list of a connected account's events does not repeat the account in each.
    let mut listed = event("evt_1", NOW, &payout);
    listed.headers = vec![(header::SOURCE, "stripe_list"), (header::ACCOUNT, "acct_1")];
    let links = [("usr_1", "acct_1")];
    let look = async |pool: &PgPool| {
        let row: (String, String) = sqlx::query_as("select provider_id, status from pay.payout")
            .fetch_one(pool)
            .await
            .unwrap();
        (row, count(pool, "pay.fact where type = 'payout.released'").await)
    };
    let expected = (("usr_1".to_owned(), "paid".to_owned()), 1);
    let both = [delivered, listed];
    assert_eq!(every_order("listed", &both, &links, look).await, expected);

    let fetched = Record {
        body: payout,
        headers: vec![
            (header::SOURCE, "stripe_fetch"),
            (header::ACCOUNT, "acct_1"),
            (header::EVENT_ID, "fetch_1"),
            (header::CREATED, "1760000000"),
            (header::LIVEMODE, "false"),
        ],
    };
    assert_eq!(every_order("fetched", &[fetched], &links, look).await, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn equal_data_is_one_event_whatever_version_says_so() {
    let payout = |amount| {
        json!({"id": "po_1", "object": "payout", "amount": amount, "currency": "usd",
               "status": "pending", "created": NOW})
    };
    let of = |amount, version| with(event("evt_1", NOW, &payout(amount)), "api_version", version);
    let records = [of(500, "2019-02-11"), of(600, "2020-08-27"), of(500, "2022-11-15")];
    every_order("versions", &records, &[], async |pool| {
        assert_eq!(count(pool, "pay.event").await, 2);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_seen_before_is_a_duplicate_and_nothing_else() {
    let scratch = Scratch::new("seen_before").await;
    let store = scratch.store("seen_before");
    let record = event("evt_1", NOW, &charge("ch_1"));
    let mut verdicts = Vec::new();
    for batch in [[&record, &record], [&record, &record]] {
        let items: Vec<Item> = batch.map(|record| item(&store, record)).into();
        let applied = store.apply(&Batch { items: &items, positions: [].into() }).await.unwrap();
        verdicts.push((applied.verdicts, applied.published));
    }
    let first = ([(Verdict::Applied, 1), (Verdict::Duplicate, 1)].into(), 1);
    assert_eq!(verdicts, [first, ([(Verdict::Duplicate, 2)].into(), 0)]);
    scratch.drop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_that_a_merchant_chose_again_is_there_again() {
    let coupon = |percent| json!({"id": "25OFF", "object": "coupon", "percent_off": percent});
    let deleted = with(event("evt_2", NOW + 10, &coupon(25)), "type", "coupon.deleted");
    let records =
        [event("evt_1", NOW, &coupon(25)), deleted, event("evt_3", NOW + 20, &coupon(30))];
    let newest = every_order("coupon", &records, &[], async |pool| {
        let query = "select deleted, snapshot->>'percent_off' from pay.stripe_object";
        sqlx::query_as::<_, (bool, String)>(query).fetch_one(pool).await.unwrap()
    });
    assert_eq!(newest.await, (false, "30".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn two_states_of_an_account_in_one_second_are_a_tie() {
    let account = |enabled: bool| {
        let past_due = if enabled { json!([]) } else { json!(["external_account"]) };
        json!({"id": "acct_1", "object": "account", "payouts_enabled": enabled,
               "charges_enabled": enabled, "details_submitted": true,
               "requirements": {"past_due": past_due}})
    };
    let of = |id, enabled| with(event(id, NOW, &account(enabled)), "account", "acct_1");
    let records = [of("evt_9", true), of("evt_1", false)];
    let newest = every_order("tied_account", &records, &[("usr_1", "acct_1")], async |pool| {
        let tied: bool =
            sqlx::query_scalar("select tied from pay.stripe_object where kind is not null")
                .fetch_one(pool)
                .await
                .unwrap();
        let query = "select status from acc.provider_connect";
        (tied, sqlx::query_scalar::<_, String>(query).fetch_one(pool).await.unwrap())
    });
    assert_eq!(newest.await, (true, "restricted".to_owned()));
}
