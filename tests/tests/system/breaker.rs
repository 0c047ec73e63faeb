//! The breaker: a topic full of bad records pauses the projection before it is quarantined.

use std::net::SocketAddr;
use std::time::Duration;

use harness::stack::{Stack, eventually};
use harness::system::System;
use lifecycles::Stripe;
use serde_json::{Value, json};

use crate::raw;
use crate::redrive::quarantine;

const DEADLINE: Duration = Duration::from_mins(1);

/// A body that no version of the program could read.
fn broken() -> Vec<u8> {
    b"<html>502 Bad Gateway</html>".to_vec()
}

fn charge(number: usize) -> Vec<u8> {
    let object = json!({"id": format!("ch_{number}"), "object": "charge", "amount": 100,
        "currency": "usd", "status": "succeeded", "captured": true, "created": 1_760_000_000});
    json!({"id": format!("evt_{number}"), "object": "event", "created": 1_760_000_000,
        "livemode": false, "type": "charge.succeeded", "data": {"object": object}})
    .to_string()
    .into_bytes()
}

async fn write(system: &System, bodies: impl IntoIterator<Item = Vec<u8>>) {
    let bodies = bodies.into_iter().map(|body| (0, raw::from_webhook(), Some(body)));
    raw::write(system, bodies).await;
}

async fn admin(address: SocketAddr, path: &str) -> anyhow::Result<(u16, String)> {
    let client = reqwest::Client::builder().no_proxy().build()?;
    let answer = client.get(format!("http://{address}{path}")).send().await?;
    Ok((answer.status().as_u16(), answer.text().await?))
}

/// Waits until the process says that it is paused, or ready.
async fn until(address: SocketAddr, paused: bool) {
    let wanted = async || {
        let Ok((status, said)) = admin(address, "/readyz").await else {
            return Ok(Some("it does not answer".to_owned()));
        };
        let holds = if paused { said.contains("paused by the breaker") } else { status == 200 };
        Ok((!holds).then(|| format!("{status}: {said}")))
    };
    eventually(DEADLINE, wanted).await.unwrap();
    let (_, metrics) = admin(address, "/metrics").await.unwrap();
    let gauge = format!("reconciler_paused{{role=\"project\"}} {}", u8::from(paused));
    assert!(metrics.contains(&gauge), "{metrics}");
}

async fn position(system: &System) -> i64 {
    sqlx::query_scalar("select next_offset from pay.position where role = 'project'")
        .fetch_one(&system.pool)
        .await
        .unwrap()
}

async fn count(system: &System, table: &'static str) -> i64 {
    let sql = sqlx::AssertSqlSafe(format!("select count(*) from {table}"));
    sqlx::query_scalar(sql).fetch_one(&system.pool).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_full_of_broken_records_pauses_until_it_is_resumed() {
    let stack = Stack::from_env().await.unwrap();
    let system = System::create(&stack, "breaker", 1).await.unwrap();
    write(&system, (0..50).map(charge)).await;
    let first = system.reconciler("first", "project,archive,publish", &[]).await.unwrap();
    system.caught_up(&["project"], DEADLINE).await.unwrap();
    write(&system, (0..600).map(|_| broken())).await;
    until(first.admin, true).await;

    let stopped = position(&system).await;
    assert!((50..650).contains(&stopped), "{stopped}");
    // Of bad records that came in small batches some are in quarantine, but never enough to trip.
    let quarantined = count(&system, "pay.quarantine").await;
    assert_eq!(quarantined, stopped - 50);
    let listed = quarantine(&system, &["list", "--json"]);
    assert_eq!(listed.code, Some(3));
    let paused = listed.json()["paused"][0].clone();
    assert_eq!(paused["reasons"], json!({"not_json": paused["quarantined"]}));
    let share = |name: &str| paused[name].as_f64().unwrap();
    assert!(share("quarantined") / share("looked_at") > 0.5 && share("quarantined") >= 20.0);
    assert_eq!(paused["examples"][0]["reason"], "not_json");
    let text = quarantine(&system, &["list"]).out;
    assert!(text.contains("PAUSED") && text.contains("quarantine resume"), "{text}");

    // The other roles go on, and what is paused stays where it is.
    write(&system, (50..90).map(charge)).await;
    system.caught_up(&["archive"], DEADLINE).await.unwrap();
    system.published(DEADLINE).await.unwrap();
    assert_eq!(position(&system).await, stopped);
    assert!(first.process.output().contains("paused by the breaker"));

    // A restart and another process stay paused.
    first.process.kill().unwrap();
    let second = system.start_reconciler("second", "project", &[]).unwrap();
    let other = format!("{}.other", system.id);
    let other = [("KAFKA_GROUP_PREFIX", other.as_str())];
    let third = system.start_reconciler("third", "project", &other).unwrap();
    until(second.admin, true).await;
    until(third.admin, true).await;
    assert_eq!(position(&system).await, stopped);
    assert_eq!(count(&system, "pay.quarantine").await, quarantined);

    let resumed =
        quarantine(&system, &["resume", "--reason", "a proxy's answers", "--allow", "1000"]);
    assert_eq!(resumed.code, Some(0), "{}", resumed.err);
    until(second.admin, false).await;
    until(third.admin, false).await;
    system.caught_up(&["project"], DEADLINE).await.unwrap();
    assert_eq!(count(&system, "pay.quarantine").await, 600);
    assert_eq!(count(&system, "pay.txn").await, 90);
    let kept: (String, String, String, Value) = sqlx::query_as(
        "select state, note, actor, summary from pay.breaker
         join pay.operation on operation_id = resumed_by",
    )
    .fetch_one(&system.pool)
    .await
    .unwrap();
    let told = [&*kept.0, &*kept.1, &*kept.2];
    assert_eq!(told, ["resumed", "a proxy's answers", "ada"]);
    assert_eq!(kept.3["resumed"][0]["quarantined"], paused["quarantined"]);
    let again = quarantine(&system, &["resume", "--reason", "again"]);
    assert_eq!((again.code, again.out.as_str()), (Some(0), "nothing is paused\n"));
    assert_eq!(count(&system, "pay.operation where command <> 'migrate'").await, 1);
    for run in [second, third] {
        let status = run.process.terminate(DEADLINE).await.unwrap();
        assert!(status.success(), "{status}");
    }
}

/// Each resuming lets through what tripped: at least the least number that trips.
#[tokio::test(flavor = "multi_thread")]
async fn resuming_lets_through_what_tripped() {
    let stack = Stack::from_env().await.unwrap();
    let system = System::create(&stack, "resumed", 1).await.unwrap();
    write(&system, (0..60).map(|_| broken())).await;
    let run = system.start_reconciler("run", "project", &[]).unwrap();
    let mut resumed = 0;
    loop {
        let done = async || {
            let is_done = count(&system, "pay.quarantine").await == 60;
            let is_paused = count(&system, "pay.breaker where state = 'paused'").await == 1;
            Ok((!is_done && !is_paused).then(|| "neither paused nor done".to_owned()))
        };
        eventually(DEADLINE, done).await.unwrap();
        if count(&system, "pay.quarantine").await == 60 {
            break;
        }
        let said = quarantine(&system, &["resume", "--reason", "try"]);
        assert_eq!(said.code, Some(0), "{}", said.err);
        resumed += 1;
    }
    assert!((1..=3).contains(&resumed), "{resumed}");
    until(run.admin, false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_few_bad_records_among_many_do_not_pause() {
    let stack = Stack::from_env().await.unwrap();
    let system = System::create(&stack, "few_bad", 1).await.unwrap();
    let bodies = (0..600).map(|n| if n % 12 == 5 { broken() } else { charge(n) });
    write(&system, bodies).await;
    let life = Stripe::new(3, 1_760_000_000).mixed(3);
    for life in &life {
        raw::write_events(&system, &life.events, 1).await;
    }
    let run = system.reconciler("run", "project", &[]).await.unwrap();
    system.caught_up(&["project"], DEADLINE).await.unwrap();
    until(run.admin, false).await;
    assert_eq!(count(&system, "pay.quarantine").await, 50);
    assert_eq!(count(&system, "pay.breaker").await, 0);
    // The same bad events again are no news: duplicates do not count.
    let bad = json!({"id": "evt_bad", "object": "event", "created": 1_760_000_000,
        "livemode": false, "type": "charge.succeeded", "data": {"object": {"object": "charge"}}});
    write(&system, (0..200).map(|_| bad.to_string().into_bytes())).await;
    system.caught_up(&["project"], DEADLINE).await.unwrap();
    assert_eq!(count(&system, "pay.quarantine").await, 51);
    assert_eq!(count(&system, "pay.breaker").await, 0);
    assert!(run.process.terminate(DEADLINE).await.unwrap().success());
}
