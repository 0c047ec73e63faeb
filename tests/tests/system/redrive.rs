//! `reconciler quarantine` on records that are in quarantine: looked at, tried again, given up.

use std::collections::BTreeMap;
use std::process::Output;
use std::time::Duration;

use domain::record::header;
use harness::process::run;
use harness::stack::Stack;
use harness::system::System;
use lifecycles::{Delivery, Event, Stripe};
use rdkafka::message::Header;
use reconciler::store::{Applied, Batch, Item, Store, Verdict};
use serde_json::{Value, json};
use sqlx::PgPool;

use crate::changes::{changes, rows};
use crate::projection::{Scratch, hash_of, item};
use crate::raw;

const DEADLINE: Duration = Duration::from_mins(1);

/// What a command said, and its exit code.
pub(crate) struct Said {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Said {
    pub(crate) fn of(output: Output) -> Self {
        Self {
            code: output.status.code(),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|_| panic!("{}{}", self.out, self.err))
    }
}

/// Runs `reconciler quarantine` as ada.
pub(crate) fn quarantine(system: &System, arguments: &[&str]) -> Said {
    let mut env = system.env();
    env.push(("OPERATOR".to_owned(), "ada".to_owned()));
    let arguments: Vec<&str> = ["quarantine"].iter().chain(arguments).copied().collect();
    Said::of(run("reconciler", &arguments, &env).unwrap())
}

fn hash(system: &System) -> String {
    system.command("reconciler", &["hash"]).unwrap()
}

pub(crate) async fn follow(system: &System, name: &str, more: &[(&str, &str)]) {
    let run = system.reconciler(name, "project", more).await.unwrap();
    system.caught_up(&["project"], DEADLINE).await.unwrap();
    let status = run.process.terminate(DEADLINE).await.unwrap();
    assert!(status.success(), "{status}");
}

async fn states(pool: &PgPool) -> BTreeMap<String, i64> {
    let states = sqlx::query_as("select state, count(*) from pay.quarantine group by 1");
    let states: Vec<(String, i64)> = states.fetch_all(pool).await.unwrap();
    states.into_iter().collect()
}

/// Every operation: command, actor, outcome, arguments and summary.
async fn operations(pool: &PgPool) -> Vec<(String, String, String, Value, Value)> {
    sqlx::query_as(
        "select command, actor, outcome, arguments, summary from pay.operation
         where command <> 'migrate' and host <> '' and ended_at >= started_at
         order by operation_id",
    )
    .fetch_all(pool)
    .await
    .unwrap()
}

fn shuffled(seed: u64, lives: usize) -> Vec<Event> {
    let lives = Stripe::new(seed, 1_760_000_000).mixed(lives);
    let mut events: Vec<Event> = lives.iter().flat_map(|life| life.events.clone()).collect();
    Delivery::new(seed).shuffle(&mut events);
    events
}

#[tokio::test(flavor = "multi_thread")]
async fn redriven_records_leave_no_trace_in_the_state() {
    let events = shuffled(21, 40);
    let scratch = Scratch::new("redriven_ref").await;
    let expected = hash_of(&scratch, &events).await;
    scratch.drop().await;

    let stack = Stack::from_env().await.unwrap();
    let system = System::create(&stack, "redriven", 2).await.unwrap();
    // PostgreSQL refuses refunds: their events are known, as quarantined.
    let refuse = "alter table pay.refund add constraint none check (false)";
    sqlx::query(refuse).execute(&system.pool).await.unwrap();
    raw::write_events(&system, &events, 2).await;
    let broken = [(1, raw::from_webhook(), Some(b"{\"id\": ".to_vec()))];
    let broken = raw::write(&system, broken).await[0];
    let broken = format!("{}:{}", broken.0, broken.1);
    // Larger records cannot even be told: no event is known of them.
    let mut sizes: Vec<usize> = events.iter().map(|event| event.to_body().len()).collect();
    sizes.sort_unstable();
    let limit = sizes[sizes.len() * 2 / 3].to_string();
    let tiny = [("PROJECT_MAX_RECORD_BYTES", &*limit), ("PROJECT_BREAKER_SHARE", "1")];
    follow(&system, "tiny", &tiny).await;
    let reasons: Vec<(String, i64)> =
        sqlx::query_as("select reason, count(*) from pay.quarantine group by 1 order by 1")
            .fetch_all(&system.pool)
            .await
            .unwrap();
    let names: Vec<&str> = reasons.iter().map(|(reason, _)| reason.as_str()).collect();
    assert_eq!(names, ["database_refused", "not_json", "too_large"], "{reasons:?}");
    let bad: i64 = reasons.iter().map(|(_, count)| count).sum();
    let without = hash(&system);
    assert_ne!(without, expected);
    let lift = "alter table pay.refund drop constraint none";
    sqlx::query(lift).execute(&system.pool).await.unwrap();

    // What it would do, and that it does not.
    let before = rows(&system.pool).await;
    let tried = quarantine(&system, &["redrive", "--all", "--dry-run", "--json"]);
    assert_eq!(tried.code, Some(3), "{}", tried.err);
    assert_eq!(hash(&system), without, "a dry run changes nothing");
    assert_eq!(states(&system.pool).await, [("open".to_owned(), bad)].into());
    assert_eq!(operations(&system.pool).await, []);

    let done = quarantine(&system, &["redrive", "--all", "--json"]);
    assert_eq!(done.code, Some(3), "{}", done.err);
    let (tried, done) = (tried.json(), done.json());
    for name in ["redriven", "verdicts", "domain_events_queued", "stays", "failures"] {
        assert_eq!(tried[name], done[name], "{name}");
    }
    assert_eq!(done["redriven"], bad - 1);
    assert_eq!(done["stays"], json!({"not_json": 1}));
    assert_eq!(done["failures"][0]["position"], *broken);
    let after = rows(&system.pool).await;
    let (told, real) = (tried["changes"].as_array().unwrap(), changes(&before, &after));
    assert!(!real.is_empty());
    assert_eq!(*told, real, "the dry run told what came");
    assert_eq!(hash(&system), expected);

    // Reading it all again, even by a program that still cannot read it, takes nothing back.
    sqlx::query("delete from pay.position").execute(&system.pool).await.unwrap();
    follow(&system, "again", &tiny).await;
    assert_eq!(hash(&system), expected);
    let split = [("open".to_owned(), 1), ("redriven".to_owned(), bad - 1)];
    assert_eq!(states(&system.pool).await, split.into());

    // The one that stays is given up, and kept.
    let listed = quarantine(&system, &["list", "--json"]);
    assert_eq!(listed.code, Some(3));
    assert_eq!(listed.json()["records"][0]["position"], *broken);
    let blank = quarantine(&system, &["discard", &broken, "--reason", " "]);
    assert_eq!(blank.code, Some(2), "a reason must say something");
    let gone = quarantine(&system, &["discard", &broken, "--reason", "cut off by a test"]);
    assert_eq!(gone.code, Some(0), "{}", gone.err);
    let kept: (String, String, Option<Vec<u8>>) =
        sqlx::query_as("select state, note, body from pay.quarantine where state <> 'redriven'")
            .fetch_one(&system.pool)
            .await
            .unwrap();
    let body = Some(b"{\"id\": ".to_vec());
    assert_eq!(kept, ("discarded".to_owned(), "cut off by a test".to_owned(), body));
    assert_eq!(quarantine(&system, &["list"]).code, Some(0), "nothing is open");
    let again = quarantine(&system, &["discard", &broken, "--reason", "again"]);
    assert_eq!(again.code, Some(1));
    assert!(again.err.contains("discarded already"), "{}", again.err);
    let nothing = quarantine(&system, &["redrive", "--all"]);
    assert_eq!(nothing.code, Some(0), "{}", nothing.err);

    let operations = operations(&system.pool).await;
    let told: Vec<(&str, &str, &str)> =
        operations.iter().map(|it| (&*it.0, &*it.1, &*it.2)).collect();
    let expected = [("quarantine redrive", "ada", "found"), ("quarantine discard", "ada", "done")];
    assert_eq!(told, expected);
    assert_eq!(operations[0].4["redriven"], bad - 1);
    assert_eq!(operations[1].3["reason"], "cut off by a test");
}

/// A webhook with personal data and without an amount.
fn personal() -> Value {
    json!({
        "id": "evt_personal", "object": "event", "created": 1_760_000_000, "livemode": false,
        "type": "charge.succeeded", "data": {"object": {
            "id": "ch_1", "object": "charge", "currency": "usd", "status": "succeeded",
            "receipt_email": "ada@example.org", "description": "for ada@example.org",
            "billing_details": {"name": "Ada Lovelace", "phone": "+44 20 7946 0018",
                "address": {"line1": "12 St James's Square", "city": "London"}},
            "payment_method_details": {"type": "card", "card": {"last4": "4242", "exp_year": 2031}},
            "metadata": {"quote_id": "qte_77"},
        }},
    })
}

const SECRETS: [&str; 7] = ["example.org", "Lovelace", "7946", "James", "London", "4242", "c0ffee"];

#[tokio::test(flavor = "multi_thread")]
async fn a_record_is_shown_masked_and_revealing_it_is_recorded() {
    let stack = Stack::from_env().await.unwrap();
    let system = System::create(&stack, "shown", 1).await.unwrap();
    let signed = raw::from_webhook()
        .insert(Header { key: header::STRIPE_SIGNATURE, value: Some("t=1,v1=c0ffee") })
        .insert(Header { key: header::EVENT_TYPE, value: Some("charge.succeeded") });
    let cut = b"{\"email\": \"ada@example.org\", ".to_vec();
    let records = [
        (0, signed, Some(personal().to_string().into_bytes())),
        (0, raw::from_webhook(), Some(cut)),
        (0, raw::from_webhook(), None),
    ];
    raw::write(&system, records).await;
    follow(&system, "run", &[]).await;

    let listed = |arguments: &[&str]| {
        let all: Vec<&str> = ["list", "--json"].iter().chain(arguments).copied().collect();
        let listed = quarantine(&system, &all);
        let records = listed.json()["records"].as_array().unwrap().clone();
        let positions: Vec<String> =
            records.iter().map(|it| it["position"].as_str().unwrap().to_owned()).collect();
        (listed.code, positions)
    };
    let all = ["0:0", "0:1", "0:2"].map(str::to_owned).to_vec();
    assert_eq!(listed(&[]), (Some(3), all.clone()));
    assert_eq!(listed(&["--reason", "not_json"]), (Some(3), all[1..2].to_vec()));
    assert_eq!(listed(&["--type", "charge.succeeded"]), (Some(3), all[..1].to_vec()));
    assert_eq!(listed(&["--limit", "1"]), (Some(3), all[..1].to_vec()));
    assert_eq!(listed(&["--state", "discarded"]), (Some(0), vec![]));
    assert_eq!(quarantine(&system, &["list", "--reason", "nonsense"]).code, Some(2));
    let text = quarantine(&system, &["list"]).out;
    for word in ["field_missing", "amount", "evt_personal", "charge.succeeded", "3 of 3"] {
        assert!(text.contains(word), "{word}: {text}");
    }

    for arguments in [&["show", "0:0"][..], &["show", "evt_personal", "--json"], &["show", "0:1"]] {
        let shown = quarantine(&system, arguments);
        assert_eq!(shown.code, Some(0), "{}", shown.err);
        for secret in SECRETS {
            assert!(!shown.out.contains(secret), "{arguments:?} shows {secret}: {}", shown.out);
        }
    }
    let shown = quarantine(&system, &["show", "0:0"]).out;
    for word in ["field_missing", "amount", "qte_77", "succeeded", "***", "stripe_signature"] {
        assert!(shown.contains(word), "{word}: {shown}");
    }
    let empty = quarantine(&system, &["show", "0:2", "--json"]).json();
    assert_eq!(empty["records"][0]["body"], Value::Null);
    assert_eq!(operations(&system.pool).await, [], "looking is not recorded");

    let revealed = quarantine(&system, &["show", "0:0", "--reveal", "--json"]);
    assert_eq!(revealed.code, Some(0), "{}", revealed.err);
    assert_eq!(revealed.json()["records"][0]["body"], personal());
    for secret in SECRETS {
        assert!(revealed.out.contains(secret), "{secret}: {}", revealed.out);
    }
    let operations = operations(&system.pool).await;
    assert_eq!(operations.len(), 1);
    let (command, actor, outcome, arguments, _) = &operations[0];
    assert_eq!([&**command, actor, outcome], ["quarantine show", "ada", "done"]);
    assert_eq!(*arguments, json!({"position": "0:0", "reveal": true}));

    let absent = quarantine(&system, &["show", "0:99"]);
    assert_eq!(absent.code, Some(1));
    assert!(absent.err.contains("0:99 is not in quarantine"), "{}", absent.err);
    assert_eq!(quarantine(&system, &["show", "99"]).code, Some(2));
}

/// What fails again keeps its place and gets its new reason, and the event that it turns out to be.
#[tokio::test(flavor = "multi_thread")]
async fn what_fails_again_stays_with_its_new_reason() {
    let stack = Stack::from_env().await.unwrap();
    let system = System::create(&stack, "fails_again", 1).await.unwrap();
    raw::write(&system, [(0, raw::from_webhook(), Some(personal().to_string().into_bytes()))])
        .await;
    follow(&system, "tiny", &[("PROJECT_MAX_RECORD_BYTES", "10")]).await;
    let now = async || -> (String, String, Option<String>) {
        sqlx::query_as("select state, reason, event_id from pay.quarantine")
            .fetch_one(&system.pool)
            .await
            .unwrap()
    };
    assert_eq!(now().await, ("open".to_owned(), "too_large".to_owned(), None));
    let done = quarantine(&system, &["redrive", "0:0"]);
    assert_eq!(done.code, Some(3), "{}", done.err);
    assert!(done.out.contains("field_missing"), "{}", done.out);
    let event = Some("evt_personal".to_owned());
    assert_eq!(now().await, ("open".to_owned(), "field_missing".to_owned(), event));
    let verdict: String =
        sqlx::query_scalar("select verdict from pay.event").fetch_one(&system.pool).await.unwrap();
    assert_eq!(verdict, "quarantined", "an event that can be told is known");
}

/// One event twice, once in a form that cannot be used: it is applied in any order.
#[tokio::test(flavor = "multi_thread")]
async fn an_event_counts_once_one_record_of_it_is_understood() {
    let object = json!({"id": "ch_1", "object": "charge", "amount": 1000, "currency": "usd",
        "status": "succeeded", "captured": true, "created": 1_760_000_000});
    let event = |request: &str| {
        json!({"id": "evt_1", "object": "event", "created": 1_760_000_000, "livemode": false,
            "type": "charge.succeeded", "request": request, "data": {"object": object}})
    };
    // Outside of what makes it the same event.
    let (good, bad) = (event("req_1"), event("req\u{0}1"));
    let mut hashes = Vec::new();
    let orders: [&[&[&Value]]; 5] = [
        &[&[&good]],
        &[&[&good], &[&bad]],
        &[&[&bad], &[&good]],
        &[&[&bad, &good]],
        &[&[&good, &bad]],
    ];
    for (index, batches) in orders.iter().enumerate() {
        let scratch = Scratch::new(&format!("understood_{index}")).await;
        let store = scratch.store("understood");
        for batch in *batches {
            let items: Vec<_> = batch.iter().map(|body| item(&store, body)).collect();
            let batch = Batch { items: &items, positions: [].into() };
            store.apply(&batch).await.unwrap();
        }
        let rows: i64 = sqlx::query_scalar("select count(*) from pay.txn")
            .fetch_one(&scratch.pool)
            .await
            .unwrap();
        assert_eq!(rows, 1, "{index}");
        hashes.push(scratch.hash().await);
        scratch.drop().await;
    }
    hashes.dedup();
    assert_eq!(hashes.len(), 1, "{hashes:#?}");
}

/// A redrive and a redelivery at the same moment: one of them applies the event.
#[tokio::test(flavor = "multi_thread")]
async fn two_that_take_up_the_same_events_apply_each_once() {
    let scratch = Scratch::new("taken_up").await;
    let (one, other) = (scratch.store("one"), scratch.store("other"));
    let event = |number: usize, request: &str| {
        json!({"id": format!("evt_{number}"), "object": "event", "created": 1_760_000_000,
            "livemode": false, "type": "charge.succeeded", "request": request,
            "data": {"object": {"id": format!("ch_{number}"), "object": "charge", "amount": 1000,
                "currency": "usd", "status": "succeeded", "captured": true,
                "created": 1_760_000_000}}})
    };
    let apply = async |store: &Store, items: &[Item]| {
        store.apply(&Batch { items, positions: [].into() }).await.unwrap()
    };
    for round in 0..20 {
        let numbers = || round * 10..round * 10 + 10;
        let bad: Vec<Item> = numbers().map(|n| item(&one, &event(n, "req\u{0}"))).collect();
        assert_eq!(apply(&one, &bad).await.verdicts, [(Verdict::Quarantined, 10)].into());
        let good: Vec<Item> = numbers().map(|n| item(&one, &event(n, "req"))).collect();
        let backwards: Vec<Item> = good.iter().rev().cloned().collect();
        let (left, right) = tokio::join!(apply(&one, &good), apply(&other, &backwards));
        let count = |verdict| {
            let of = |applied: &Applied| applied.verdicts.get(&verdict).copied().unwrap_or(0);
            of(&left) + of(&right)
        };
        assert_eq!((count(Verdict::Applied), count(Verdict::Duplicate)), (10, 10));
    }
    scratch.drop().await;
}

/// The reasons of the program and of the database are the same closed set.
#[tokio::test(flavor = "multi_thread")]
async fn the_database_knows_every_reason_and_no_other() {
    let scratch = Scratch::new("reasons").await;
    let definition: String = sqlx::query_scalar(
        "select pg_get_constraintdef(oid) from pg_constraint where conname = 'quarantine_reason_check'",
    )
    .fetch_one(&scratch.pool)
    .await
    .unwrap();
    let mut known: Vec<&str> = definition.split('\'').skip(1).step_by(2).collect();
    let mut ours = domain::event::Reason::ALL.map(domain::event::Reason::as_str).to_vec();
    known.sort_unstable();
    ours.sort_unstable();
    assert_eq!(known, ours);
    scratch.drop().await;
}
