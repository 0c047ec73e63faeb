//! Hostile and odd records: whatever they say, their set decides the state, and none poisons
//! another.

use crate::book::Book;
use domain::event::Reason;
use serde_json::{Value, json};

const NOW: i64 = 1_760_000_000;

/// An event around this object.
pub(crate) fn event(id: &str, kind: &str, created: i64, object: &Value) -> Value {
    json!({
        "id": id, "object": "event", "type": kind, "created": created, "livemode": false,
        "api_version": "2024-06-20", "data": {"object": object},
    })
}

pub(crate) fn charge(id: &str) -> Value {
    json!({
        "id": id, "object": "charge", "amount": 1000, "amount_captured": 1000, "captured": true,
        "amount_refunded": 0, "currency": "usd", "status": "succeeded", "paid": true,
        "created": NOW, "livemode": false, "metadata": {},
    })
}

pub(crate) fn refund(id: &str, charge: &str) -> Value {
    json!({
        "id": id, "object": "refund", "amount": 400, "currency": "usd", "status": "succeeded",
        "charge": charge, "created": NOW, "balance_transaction": "txn_1", "metadata": {},
    })
}

fn with(mut object: Value, field: &str, value: impl Into<Value>) -> Value {
    object[field] = value.into();
    object
}

fn refusal(event: &Value) -> Option<Reason> {
    Book::new(false).take(event.to_string()).err().map(|rejected| rejected.reason)
}

#[test]
fn a_time_that_no_column_holds_is_refused_before_it_can_poison_the_payment() {
    // Taken as a snapshot, it would make the database refuse the charge that comes later.
    for at in [i64::MAX, i64::MIN, 253_402_300_800, -1] {
        let cases = [
            with(refund("re_1", "ch_1"), "created", at),
            with(charge("ch_1"), "created", at),
            json!({"id": "po_1", "object": "payout", "amount": 1, "currency": "usd",
                   "status": "paid", "created": NOW, "arrival_date": at}),
            json!({"id": "dp_1", "object": "dispute", "amount": 1, "currency": "usd",
                   "charge": "ch_1", "status": "lost", "created": NOW,
                   "evidence_details": {"due_by": at}}),
            json!({"id": "pi_1", "object": "payment_intent", "amount": 1, "currency": "usd",
                   "status": "processing", "created": at}),
            json!({"id": "tr_1", "object": "transfer", "amount": 1, "currency": "usd",
                   "destination": "acct_1", "created": at}),
        ];
        for object in cases {
            let event = event("evt_1", "any.thing", NOW, &object);
            assert_eq!(refusal(&event), Some(Reason::WrongType), "{object}");
        }
    }
}

#[test]
fn the_earliest_record_that_shows_it_gives_its_time_and_the_fact() {
    let of = |id: &str, at: i64| event(id, "charge.updated", at, &charge("ch_1")).to_string();
    for order in [[0, 1, 2], [2, 1, 0], [1, 2, 0]] {
        let records = [of("evt_1", NOW + 5), of("evt_2", NOW + 2), of("evt_3", NOW + 9)];
        let mut book = Book::new(false);
        for index in order {
            book.take(records[index].clone()).unwrap();
        }
        assert_eq!(book.rows().txns[0].captured_at, Some(NOW + 2), "{order:?}");
        let fact = book.facts().into_iter().find(|fact| fact.kind == "payment.captured").unwrap();
        assert_eq!((fact.created, fact.event_id.as_str()), (NOW + 2, "evt_2"), "{order:?}");
    }
}

#[test]
fn a_refund_that_had_failed_by_then_does_not_explain_what_its_charge_says() {
    let failed = with(refund("re_1", "ch_1"), "status", "failed");
    let later = with(charge("ch_1"), "amount_refunded", 400);
    let mut book = Book::new(false);
    book.take(event("evt_1", "refund.failed", NOW + 5, &failed).to_string()).unwrap();
    book.take(event("evt_2", "charge.updated", NOW + 9, &later).to_string()).unwrap();
    assert_eq!(book.rows().txns[0].refunded_cents, 400, "another refund, which nobody named");

    // When the charge was seen before the failure, it spoke of this one.
    let mut book = Book::new(false);
    book.take(event("evt_1", "refund.failed", NOW + 9, &failed).to_string()).unwrap();
    book.take(event("evt_2", "charge.updated", NOW + 5, &later).to_string()).unwrap();
    assert_eq!(book.rows().txns[0].refunded_cents, 0);
}

#[test]
fn the_far_side_of_a_reversal_is_no_refund_whatever_its_charge_says() {
    let reversal = with(refund("re_1", "ch_1"), "source_transfer_reversal", "trr_1");
    let mut book = Book::new(false);
    book.take(event("evt_1", "charge.succeeded", NOW, &charge("ch_1")).to_string()).unwrap();
    book.take(event("evt_2", "refund.created", NOW, &reversal).to_string()).unwrap();
    assert!(book.rows().refunds.is_empty());
    assert!(book.facts().iter().all(|fact| !fact.kind.starts_with("refund.")));
}

#[test]
fn one_event_in_two_shapes_proves_one_fact_whichever_comes_first() {
    // Before 2022-11-15 an intent held its charges, since then it names the newest: in one shape
    // the charge proves the capture, in the other the intent does, with the same words.
    let charge = with(charge("ch_1"), "payment_intent", "pi_1");
    let intent = json!({
        "id": "pi_1", "object": "payment_intent", "amount": 1000, "amount_received": 1000,
        "currency": "usd", "status": "succeeded", "created": NOW, "metadata": {},
    });
    let old = with(intent.clone(), "charges", json!({"object": "list", "data": [charge]}));
    let new = with(intent, "latest_charge", "ch_1");
    let old = event("evt_1", "payment_intent.succeeded", NOW, &old).to_string();
    let new = event("evt_1", "payment_intent.succeeded", NOW, &new).to_string();
    let facts = |bodies: [&String; 2]| {
        let mut book = Book::new(false);
        for body in bodies {
            book.take(body.clone()).unwrap();
        }
        book.facts()
    };
    assert_eq!(facts([&old, &new]), facts([&new, &old]));
}

#[test]
fn a_number_reads_the_same_before_and_after_postgres_kept_it() {
    // 1e16 is a float to the parser; jsonb gives it back as 10000000000000000, an integer.
    let text = event("evt_1", "charge.succeeded", NOW, &charge("ch_1")).to_string();
    let text = text.replace("\"amount_captured\":1000", "\"amount_captured\":1e16");
    let text = text.replace("\"amount\":1000", "\"amount\":1e3");
    let mut book = Book::new(false);
    book.take(text).unwrap();
    let state = book.states().values().find(|state| state.key.id == "ch_1").unwrap();
    let doc = &state.newest.as_ref().unwrap().value.doc;
    assert_eq!(doc["amount_captured"].as_i64(), Some(10_000_000_000_000_000));
    assert_eq!(book.rows().txns[0].amount_cents, 1000);
    assert_eq!(book.rows().txns[0].captured_cents, 10_000_000_000_000_000);
}

#[test]
fn metadata_longer_than_stripe_allows_is_no_key_of_ours() {
    // An index takes 2,704 bytes at most; Stripe's limit is 500 characters.
    let long = |count| "\u{1f600}".repeat(count);
    let quote = |count| {
        let charge = with(charge("ch_1"), "metadata", json!({"quote_id": long(count)}));
        let mut book = Book::new(false);
        book.take(event("evt_1", "charge.succeeded", NOW, &charge).to_string()).unwrap();
        book.rows().txns[0].quote_id.clone()
    };
    assert_eq!(quote(500), long(500));
    assert_eq!(quote(501), "unquoted");
}

#[test]
fn an_id_that_a_merchant_chose_may_hold_anything() {
    // Coupons and plans are named by people.
    for id in ["25% OFF", "Größe L", "gold plan"] {
        let coupon = json!({"id": id, "object": "coupon"});
        let event = event("evt_1", "coupon.created", NOW, &coupon);
        let mut book = Book::new(false);
        book.take(event.to_string()).unwrap();
        assert!(book.states().keys().any(|key| key.id == id), "{id}");
    }
    let coupon = json!({"id": "x".repeat(256), "object": "coupon"});
    assert_eq!(refusal(&event("evt_1", "coupon.created", NOW, &coupon)), Some(Reason::BadId));
}
