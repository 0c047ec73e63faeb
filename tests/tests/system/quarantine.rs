//! Records that ingest did not write: each is set aside alone, and the next one goes on.

use std::time::Duration;

use domain::record::header;
use harness::stack::Stack;
use harness::system::System;
use lifecycles::{Scenario, Stripe};
use rdkafka::message::{Header, OwnedHeaders};
use serde_json::{Value, json};

use crate::raw;

const DEADLINE: Duration = Duration::from_mins(1);

fn event(id: &str, object: &Value) -> Value {
    json!({
        "id": id, "object": "event", "api_version": "2020-08-27", "created": 1_760_000_000,
        "livemode": false, "pending_webhooks": 1, "request": null, "type": "charge.succeeded",
        "data": {"object": object},
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_applied_is_kept_and_the_next_goes_on() {
    let stack = Stack::from_env().await.unwrap();
    let system = System::create(&stack, "quarantine", 1).await.unwrap();
    let charge = json!({"id": "ch_1", "object": "charge", "amount": 1, "currency": "usd",
        "status": "succeeded", "captured": true, "description": "a\u{0}b"});
    let long = "x".repeat(10_000);
    let huge = format!("{{\"pad\":\"{}\"}}", "x".repeat(3_500_000));
    let other = OwnedHeaders::new().insert(Header { key: header::SOURCE, value: Some("nobody") });
    let bad: Vec<(OwnedHeaders, Option<Vec<u8>>, &str)> = vec![
        (OwnedHeaders::new(), Some(b"{}".to_vec()), "unknown_source"),
        (other, Some(b"{}".to_vec()), "unknown_source"),
        (raw::from_webhook(), None, "empty"),
        (raw::from_webhook(), Some(Vec::new()), "empty"),
        (raw::from_webhook(), Some(b"{\"id\": ".to_vec()), "not_json"),
        (raw::from_webhook(), Some(b"[]".to_vec()), "not_json"),
        (raw::from_webhook(), Some(b"\xff\xfe".to_vec()), "not_json"),
        (raw::from_webhook(), Some(huge.into_bytes()), "too_large"),
        (raw::from_webhook(), Some(event("evt_nul", &charge).to_string().into()), "nul_character"),
        (raw::from_webhook(), Some(event(&long, &json!({})).to_string().into()), "bad_id"),
        (
            raw::from_webhook(),
            Some(event("evt_1", &json!({"id": long, "object": "charge"})).to_string().into()),
            "field_missing",
        ),
        (
            raw::from_webhook(),
            Some(event("evt_2", &json!({"id": "ch_2", "object": "charge"})).to_string().into()),
            "field_missing",
        ),
        (raw::from_webhook(), Some(b"{\"object\": \"event\"}".to_vec()), "field_missing"),
    ];
    let expected: Vec<&str> = bad.iter().map(|(_, _, reason)| *reason).collect();
    let bodies: Vec<Option<Vec<u8>>> = bad.iter().map(|(_, body, _)| body.clone()).collect();
    raw::write(&system, bad.into_iter().map(|(headers, body, _)| (0, headers, body))).await;
    let good = Stripe::new(2, 1_760_000_000).lifecycle(Scenario::Paid);
    raw::write_events(&system, &good.events, 1).await;

    let limit = [("PROJECT_MAX_RECORD_BYTES", "3MiB")];
    let run = system.reconciler("run", "project", &limit).await.unwrap();
    system.caught_up(&["project"], DEADLINE).await.unwrap();
    let kept: Vec<(i64, String, Option<Vec<u8>>)> = sqlx::query_as(
        "select kafka_offset, reason, body from pay.quarantine order by kafka_offset",
    )
    .fetch_all(&system.pool)
    .await
    .unwrap();
    let reasons: Vec<&str> = kept.iter().map(|(_, reason, _)| reason.as_str()).collect();
    assert_eq!(reasons, expected);
    for ((_, _, body), sent) in kept.iter().zip(&bodies) {
        // Kafka keeps null and empty apart; so does the quarantine.
        assert_eq!(body, sent);
    }
    let captured: i64 =
        sqlx::query_scalar("select count(*) from pay.txn where status = 'captured'")
            .fetch_one(&system.pool)
            .await
            .unwrap();
    assert_eq!(captured, 1, "the record behind them was applied");
    let status = run.process.terminate(DEADLINE).await.unwrap();
    assert!(status.success(), "{status}");
}

/// PostgreSQL refuses one record for its data: it alone is set aside.
#[tokio::test(flavor = "multi_thread")]
async fn what_postgres_refuses_is_found_among_its_neighbours() {
    let stack = Stack::from_env().await.unwrap();
    let system = System::create(&stack, "refused", 1).await.unwrap();
    // A refusal that no real record causes any more: made by a constraint of this test's own.
    sqlx::query("alter table pay.txn add constraint no_seven check (amount_cents <> 777)")
        .execute(&system.pool)
        .await
        .unwrap();
    let charge = |id: &str, amount: i64| {
        let object = json!({"id": id, "object": "charge", "amount": amount, "currency": "usd",
            "status": "succeeded", "captured": true, "created": 1_760_000_000});
        event(&format!("evt_{id}"), &object).to_string().into_bytes()
    };
    let bodies = (0..40).map(|n| charge(&format!("ch_{n}"), if n == 17 { 777 } else { 100 }));
    raw::write(&system, bodies.map(|body| (0, raw::from_webhook(), Some(body)))).await;
    let _run = system.reconciler("run", "project", &[]).await.unwrap();
    system.caught_up(&["project"], DEADLINE).await.unwrap();
    let kept: Vec<(String, String)> = sqlx::query_as("select event_id, reason from pay.quarantine")
        .fetch_all(&system.pool)
        .await
        .unwrap();
    assert_eq!(kept, [("evt_ch_17".to_owned(), "database_refused".to_owned())]);
    let applied: i64 =
        sqlx::query_scalar("select count(*) from pay.txn").fetch_one(&system.pool).await.unwrap();
    assert_eq!(applied, 39);
}
