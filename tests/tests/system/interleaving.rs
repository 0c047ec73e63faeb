//! Two transactions about one payment, in every interleaving.
//!
//! A dispute may name only its charge, land on another partition and be applied by another process
//! at the same moment as the charge. For every pair of places between statements, one transaction
//! is held at the first and the other at the second, and then they go on in either order: the
//! dispute's row must be there each time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use lifecycles::{Scenario, Shape, Stripe};
use reconciler::fault::Fault;
use reconciler::store::{Advance, Applied, Batch, Pace, Step, Store};
use serde_json::Value;
use sqlx::PgPool;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use crate::projection::{Scratch, item};

const STEPS: [Step; 25] = [
    Step::InsertEvents,
    Step::TakeUpEvents,
    Step::FindVariants,
    Step::InsertStubs,
    Step::LockObjects,
    Step::ReadObjects,
    Step::ReadProviders,
    Step::ReadQuotes,
    Step::SaveObjects,
    Step::WriteTxns,
    Step::WriteRefunds,
    Step::WriteDisputes,
    Step::WritePayouts,
    Step::WriteProviders,
    Step::WriteInvoices,
    Step::WriteLedger,
    Step::WriteDiscrepancies,
    Step::WriteFacts,
    Step::SetHeld,
    Step::Queue,
    Step::SetVerdicts,
    Step::Quarantine,
    Step::Judge,
    Step::MovePositions,
    Step::Commit,
];

/// Holds a transaction before one of its statements.
#[derive(Clone)]
struct Hold {
    at: Step,
    is_done: Arc<AtomicBool>,
    reached: Arc<Notify>,
    release: Arc<Notify>,
}

impl Hold {
    fn before(at: Step) -> Self {
        Self { at, is_done: Arc::default(), reached: Arc::default(), release: Arc::default() }
    }
}

impl Pace for Hold {
    async fn before(&self, step: Step) {
        if step == self.at && !self.is_done.swap(true, Ordering::SeqCst) {
            self.reached.notify_one();
            self.release.notified().await;
        }
    }
}

/// A transaction under way.
struct Running {
    task: JoinHandle<Result<Applied, Fault>>,
    hold: Hold,
    /// Its connections in `pg_stat_activity`.
    name: &'static str,
}

impl Running {
    fn start(store: &Arc<Store>, name: &'static str, event: Value, at: Step) -> Self {
        let (store, hold) = (store.clone(), Hold::before(at));
        let pace = hold.clone();
        let task = tokio::spawn(async move {
            let items = [item(&store, &event)];
            let batch =
                Batch { items: &items, positions: [(0, Advance { from: 0, to: 1 })].into() };
            store.apply_paced(&batch, &pace).await
        });
        Self { task, hold, name }
    }

    /// Waits until it is held, waits for a lock, or has ended.
    async fn settle(&self, watch: &PgPool) {
        loop {
            tokio::select! {
                () = self.hold.reached.notified() => return,
                () = tokio::time::sleep(Duration::from_millis(2)) => {}
            }
            let waits: bool = sqlx::query_scalar(
                "select exists (select from pg_stat_activity
                 where application_name = $1 and datname = current_database()
                   and wait_event_type = 'Lock')",
            )
            .bind(format!("reconciler.{}", self.name))
            .fetch_one(watch)
            .await
            .unwrap();
            if waits || self.task.is_finished() {
                return;
            }
        }
    }

    fn go_on(&self) {
        self.hold.release.notify_one();
    }

    async fn end(self) {
        let ended = tokio::time::timeout(Duration::from_secs(20), self.task).await;
        ended.expect("the transaction ends").unwrap().unwrap();
    }
}

/// A charge's event, and the event of a dispute that names nothing but the charge.
fn charge_and_dispute(stripe: &mut Stripe) -> (Value, Value) {
    let life = stripe.lifecycle_in(Scenario::DisputeOpen, Shape::Flat);
    let of = |kind: &str| {
        let event = life.events.iter().find(|event| event.kind == kind).unwrap();
        event.body.clone()
    };
    let (charge, mut dispute) = (of("charge.succeeded"), of("charge.dispute.created"));
    dispute["data"]["object"]["payment_intent"] = Value::Null;
    (charge, dispute)
}

/// Makes rows for what these objects are and name, as an earlier record that named them would.
async fn know(pool: &PgPool, objects: [&Value; 2]) {
    let ids: Vec<&str> = objects
        .iter()
        .flat_map(|object| [&object["id"], &object["payment_intent"]])
        .filter_map(Value::as_str)
        .collect();
    sqlx::query(
        "insert into pay.stripe_object (account, object_id)
         select '', id from unnest($1::text[]) as id on conflict do nothing",
    )
    .bind(ids)
    .execute(pool)
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_disputes_row_is_there_in_every_interleaving() {
    let scratch = Scratch::new("interleaving").await;
    let a = Arc::new(scratch.store("a"));
    let b = Arc::new(scratch.store("b"));
    a.begin(&[(0, 0)].into()).await.unwrap();
    let mut stripe = Stripe::new(11, 1_760_000_000);
    let mut runs = 0;
    for first in STEPS {
        for second in STEPS {
            for dispute_goes_on_first in [false, true] {
                let (charge, dispute) = charge_and_dispute(&mut stripe);
                let id = dispute["data"]["object"]["id"].as_str().unwrap().to_owned();
                // Each second time the rows are there already: then nobody waits for an insert, and
                // only the lock is left.
                if runs % 2 == 1 {
                    let names = [&charge, &dispute].map(|event| &event["data"]["object"]);
                    know(&scratch.pool, names).await;
                }
                let one = Running::start(&a, "a", charge, first);
                one.settle(&scratch.pool).await;
                let other = Running::start(&b, "b", dispute, second);
                other.settle(&scratch.pool).await;
                // The one that goes on may need what the other holds: then it waits for it.
                let (ahead, behind) =
                    if dispute_goes_on_first { (&other, &one) } else { (&one, &other) };
                ahead.go_on();
                ahead.settle(&scratch.pool).await;
                behind.go_on();
                one.end().await;
                other.end().await;
                let rows: i64 = sqlx::query_scalar(
                    "select count(*) from pay.dispute join pay.txn using (txn_id)
                     where stripe_dispute = $1",
                )
                .bind(&id)
                .fetch_one(&scratch.pool)
                .await
                .unwrap();
                assert_eq!(
                    rows, 1,
                    "{first:?}, {second:?}, dispute first: {dispute_goes_on_first}"
                );
                runs += 1;
            }
        }
    }
    assert_eq!(runs, STEPS.len() * STEPS.len() * 2);
    scratch.drop().await;
}

/// Two payments of one quote, whose fee does not part evenly: whoever comes second must see the
/// first, or both would have the larger part.
#[tokio::test(flavor = "multi_thread")]
async fn two_payments_part_their_quote_in_every_interleaving() {
    let scratch = Scratch::new("parting").await;
    let a = Arc::new(scratch.store("pa"));
    let b = Arc::new(scratch.store("pb"));
    a.begin(&[(0, 0)].into()).await.unwrap();
    let mut stripe = Stripe::new(12, 1_760_000_000);
    // From the first statement on that a quote has to do with.
    let steps = [
        Step::LockObjects,
        Step::ReadProviders,
        Step::ReadQuotes,
        Step::SaveObjects,
        Step::WriteTxns,
        Step::WriteLedger,
        Step::Commit,
    ];
    for first in steps {
        for second in steps {
            let quote = format!("qte_{first:?}_{second:?}");
            sqlx::query(
                "insert into pay.quote (quote_id, buyer_id, provider_id, role_code, currency,
                   subtotal_cents, platform_fee_cents, total_cents, policy_snapshot)
                 values ($1, 'b', 'p', 'r', 'USD', 1899, 101, 2000, '{}')",
            )
            .bind(&quote)
            .execute(&scratch.pool)
            .await
            .unwrap();
            let mut payment = || {
                let life = stripe.lifecycle_in(Scenario::ChargeOnly, Shape::Flat);
                let mut event = life.events[0].body.clone();
                let object = &mut event["data"]["object"];
                object["metadata"] = serde_json::json!({"quote_id": quote});
                object["currency"] = "usd".into();
                for field in ["amount", "amount_captured"] {
                    object[field] = 1000.into();
                }
                event
            };
            let one = Running::start(&a, "pa", payment(), first);
            one.settle(&scratch.pool).await;
            let other = Running::start(&b, "pb", payment(), second);
            other.settle(&scratch.pool).await;
            one.go_on();
            one.settle(&scratch.pool).await;
            other.go_on();
            one.end().await;
            other.end().await;
            let fees: Vec<i64> =
                sqlx::query_scalar("select fee_cents from pay.txn where quote_id = $1 order by 1")
                    .bind(&quote)
                    .fetch_all(&scratch.pool)
                    .await
                    .unwrap();
            assert_eq!(fees, [50, 51], "{first:?}, {second:?}");
        }
    }
    scratch.drop().await;
}
