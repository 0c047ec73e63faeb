//! Quotes and links that come at bad moments, in bad shape or by the thousand.

use std::time::Duration;

use harness::stack::{Stack, eventually};
use harness::system::System;
use lifecycles::{Scenario, Stripe};
use reconciler::store::{Batch, Store};
use serde_json::{Value, json};
use sqlx::PgPool;

use crate::projection::{Scratch, item};
use crate::raw;

const NOW: i64 = 1_760_000_000;
const DEADLINE: Duration = Duration::from_mins(1);

fn charge(id: &str, event: &str, at: i64) -> Value {
    json!({"id": event, "object": "event", "type": "charge.updated", "created": at,
        "livemode": false, "data": {"object": {
            "id": id, "object": "charge", "amount": 1000, "amount_captured": 1000,
            "captured": true, "amount_refunded": 0, "currency": "usd", "status": "succeeded",
            "created": NOW, "metadata": {"quote_id": "qte_1"}}}})
}

async fn apply(store: &Store, bodies: &[Value]) {
    let items: Vec<_> = bodies.iter().map(|body| item(store, body)).collect();
    store.apply(&Batch { items: &items, positions: [].into() }).await.unwrap();
}

async fn quote(pool: &PgPool, id: &str, currency: &str, total: i64, fee: i64) {
    sqlx::query(
        "insert into pay.quote (quote_id, buyer_id, provider_id, role_code, currency,
           subtotal_cents, platform_fee_cents, total_cents, policy_snapshot)
         values ($1, 'b', 'p', 'r', $2, 0, $4, $3, '{}')",
    )
    .bind(id)
    .bind(currency)
    .bind(total)
    .bind(fee)
    .execute(pool)
    .await
    .unwrap();
}

async fn number(pool: &PgPool, query: &'static str) -> i64 {
    sqlx::query_scalar(query).fetch_one(pool).await.unwrap()
}

async fn rederived(store: &Store) {
    while store.rederive().await.unwrap() > 0 {}
}

const OPEN: &str = "select count(*) from pay.discrepancy where resolved_at is null";
const FEES: &str = "select coalesce(sum(amount_cents), 0)::bigint from pay.ledger_posting
    where ledger_account = 'platform_fees'";

#[tokio::test(flavor = "multi_thread")]
async fn a_quote_that_was_broken_meets_a_record_before_its_turn_comes() {
    let scratch = Scratch::new("broken_quote").await;
    let store = scratch.store("broken_quote");
    quote(&scratch.pool, "qte_1", "USD", 2000, 200).await;
    apply(&store, &[charge("ch_1", "evt_1", NOW), charge("ch_2", "evt_2", NOW)]).await;
    assert_eq!(number(&scratch.pool, FEES).await, -200);
    sqlx::query("update pay.quote set total_cents = 0").execute(&scratch.pool).await.unwrap();
    // The other payment still counts as one that fits.
    apply(&store, &[charge("ch_1", "evt_3", NOW + 1)]).await;
    rederived(&store).await;
    assert_eq!(number(&scratch.pool, FEES).await, 0);
    assert_eq!(number(&scratch.pool, OPEN).await, 2);
    sqlx::query("update pay.quote set total_cents = 2000").execute(&scratch.pool).await.unwrap();
    rederived(&store).await;
    assert_eq!(number(&scratch.pool, FEES).await, -200);
    assert_eq!(number(&scratch.pool, OPEN).await, 0);
    scratch.drop().await;
}

/// The rest may be applied before the deposit, by another process: the parts move.
#[tokio::test(flavor = "multi_thread")]
async fn a_part_moves_when_an_earlier_payment_comes_late() {
    let scratch = Scratch::new("late_deposit").await;
    let store = scratch.store("late_deposit");
    quote(&scratch.pool, "qte_1", "USD", 2000, 101).await;
    let mut rest = charge("ch_2", "evt_2", NOW + 9);
    rest["data"]["object"]["created"] = (NOW + 9).into();
    let fees = async || {
        let query = "select stripe_ch, fee_cents from pay.txn order by 1";
        sqlx::query_as::<_, (String, i64)>(query).fetch_all(&scratch.pool).await.unwrap()
    };
    apply(&store, &[rest]).await;
    assert_eq!(fees().await, [("ch_2".to_owned(), 51)]);
    apply(&store, &[charge("ch_1", "evt_1", NOW)]).await;
    assert_eq!(fees().await, [("ch_1".to_owned(), 51), ("ch_2".to_owned(), 50)]);
    assert_eq!(number(&scratch.pool, FEES).await, -101);
    scratch.drop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_discrepancy_goes_with_the_payment_it_is_about() {
    let intent = json!({"id": "evt_9", "object": "event", "type": "payment_intent.succeeded",
        "created": NOW + 1, "livemode": false, "data": {"object": {
            "id": "pi_1", "object": "payment_intent", "amount": 1000, "amount_received": 1000,
            "currency": "usd", "status": "succeeded", "created": NOW, "latest_charge": "ch_1"}}});
    for order in [[0, 1], [1, 0]] {
        let scratch = Scratch::new(&format!("lone_charge_{}", order[0])).await;
        let store = scratch.store("lone_charge");
        quote(&scratch.pool, "qte_1", "EUR", 1000, 100).await;
        let events = [charge("ch_1", "evt_1", NOW), intent.clone()];
        for index in order {
            apply(&store, &[events[index].clone()]).await;
        }
        let open: Vec<(String, String)> =
            sqlx::query_as("select kind, object_id from pay.discrepancy where resolved_at is null")
                .fetch_all(&scratch.pool)
                .await
                .unwrap();
        assert_eq!(open, [("quote_currency".to_owned(), "pi_1".to_owned())], "{order:?}");
        scratch.drop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_input_that_is_refused_is_set_aside_alone_until_it_changes() {
    let scratch = Scratch::new("refused_input").await;
    let store = scratch.store("refused_input");
    apply(&store, &[charge("ch_1", "evt_1", NOW)]).await;
    // What no table of ours refuses may be refused all the same, by a trigger of somebody's.
    let refuse = "
        create function pay.refuse() returns trigger language plpgsql as $$
        begin
          if new.quote_id = 'qte_1' and new.fee_cents > 0 then
            raise exception 'no' using errcode = '22000';
          end if;
          return new;
        end $$;
        create trigger refuse before insert or update on pay.txn
          for each row execute function pay.refuse();";
    sqlx::raw_sql(refuse).execute(&scratch.pool).await.unwrap();
    quote(&scratch.pool, "qte_1", "USD", 1000, 100).await;
    quote(&scratch.pool, "qte_2", "USD", 1000, 100).await;
    rederived(&store).await;
    let aside: Vec<(String, String)> =
        sqlx::query_as("select kind, id from pay.rederive where refused is not null")
            .fetch_all(&scratch.pool)
            .await
            .unwrap();
    assert_eq!(aside, [("quote".to_owned(), "qte_1".to_owned())]);
    assert_eq!(number(&scratch.pool, "select count(*) from pay.rederive").await, 1);
    let mended = "drop trigger refuse on pay.txn; update pay.quote set tax_cents = 1";
    sqlx::raw_sql(mended).execute(&scratch.pool).await.unwrap();
    rederived(&store).await;
    assert_eq!(number(&scratch.pool, "select count(*) from pay.rederive").await, 0);
    assert_eq!(number(&scratch.pool, FEES).await, -100);
    scratch.drop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_with_very_many_transfers_is_derived_page_by_page() {
    const TRANSFERS: usize = 2500;
    let scratch = Scratch::new("many_transfers").await;
    let store = scratch.store("many_transfers");
    let transfers: Vec<Value> = (0..TRANSFERS)
        .map(|number| {
            json!({"id": format!("evt_{number}"), "object": "event", "type": "transfer.created",
                "created": NOW, "livemode": false, "data": {"object": {
                    "id": format!("tr_{number:05}"), "object": "transfer", "amount": 10,
                    "currency": "usd", "destination": "acct_1", "created": NOW}}})
        })
        .collect();
    for batch in transfers.chunks(500) {
        apply(&store, batch).await;
    }
    let named = "select count(*) from pay.payout where provider_id = 'usr_1'";
    let link = "insert into acc.provider_connect (user_id, stripe_acct, status)
                values ('usr_1', 'acct_1', 'active')";
    sqlx::query(link).execute(&scratch.pool).await.unwrap();
    assert_eq!(store.rederive().await.unwrap(), 1);
    assert_eq!(number(&scratch.pool, named).await, 1000, "a page at a time");
    rederived(&store).await;
    assert_eq!(number(&scratch.pool, named).await, i64::try_from(TRANSFERS).unwrap());

    // A name that comes with a record is queued where that many hang on it.
    let account = json!({"id": "evt_acct", "object": "event", "type": "account.updated",
        "created": NOW, "livemode": false, "account": "acct_1", "data": {"object": {
            "id": "acct_1", "object": "account", "metadata": {"provider_id": "usr_2"}}}});
    sqlx::query("delete from acc.provider_connect").execute(&scratch.pool).await.unwrap();
    apply(&store, &[account]).await;
    rederived(&store).await;
    let renamed = "select count(*) from pay.payout where provider_id = 'usr_2'";
    assert_eq!(number(&scratch.pool, renamed).await, i64::try_from(TRANSFERS).unwrap());
    let owed: i64 = sqlx::query_scalar(
        "select owed_cents from pay.provider_balance where provider_id = 'usr_2'",
    )
    .fetch_one(&scratch.pool)
    .await
    .unwrap();
    assert_eq!(owed, -10 * i64::try_from(TRANSFERS).unwrap());
    assert_eq!(number(&scratch.pool, "select count(*) from pay.provider_balance").await, 1);
    scratch.drop().await;
}

/// A price list may be written at once; payments go on, and so does SIGTERM.
#[tokio::test(flavor = "multi_thread")]
async fn quotes_by_the_thousand_do_not_hold_up_records_or_the_end() {
    let stack = Stack::from_env().await.unwrap();
    let system = System::create(&stack, "many_quotes", 4).await.unwrap();
    let life = Stripe::new(4, NOW).lifecycle(Scenario::Paid);
    raw::write_events(&system, &life.events, 4).await;
    let sent = i64::try_from(life.events.len()).unwrap();
    sqlx::query(
        "insert into pay.quote (quote_id, order_id, buyer_id, provider_id, role_code,
           subtotal_cents, total_cents, policy_snapshot)
         select 'qte_' || n, 'order_' || n, 'b', 'p', 'r', 1, 1, '{}'
         from generate_series(1, 60000) as n",
    )
    .execute(&system.pool)
    .await
    .unwrap();
    let waiting = "select count(*) from pay.rederive";
    let run = system.reconciler("run", "project", &[]).await.unwrap();
    let applied = async || {
        let found = number(&system.pool, "select count(*) from pay.event").await;
        Ok((found < sent).then(|| format!("{found} of {sent} events are applied")))
    };
    eventually(DEADLINE, applied).await.unwrap();
    assert!(number(&system.pool, waiting).await > 0, "the queue was too short to show anything");
    let status = run.process.terminate(Duration::from_secs(20)).await.unwrap();
    assert!(status.success(), "{status}");
    assert!(number(&system.pool, waiting).await > 0, "the queue was too short to show anything");
}
