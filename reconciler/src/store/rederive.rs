//! Deriving again what hangs on a provider or a quote that became known or changed.
//!
//! Triggers on `acc.provider_connect` and `pay.quote` queue the account, the quote and the order. The
//! projector locks what stands for each, which everything that depends on it locks too, and only
//! then looks for that: so what is being applied at this moment either sees the input or is seen
//! here.

use std::collections::BTreeSet;

use domain::object::{ObjectKey, authorization};
use domain::settlement::{order_key, quote_key};
use futures::TryStreamExt as _;
use sqlx::{Connection as _, PgConnection};

use super::derived::Derived;
use super::{Attempt, MAX_LOCK_ROUNDS, Setback, Store, lock, object};
use crate::database::{self, settle, within};
use crate::fault::{Decision, Fault};

/// Inputs that are dealt with in one transaction.
const MAX_INPUTS: i64 = 200;
/// Objects that are derived again in one transaction. An input with more is done page by page.
const PAGE: i64 = 1000;

/// What one transaction came to.
enum Outcome {
    /// This many inputs, or a page of one, are done.
    Done(usize),
    /// More hangs on them than one transaction takes.
    TooMuch,
}

/// One row of the queue.
#[derive(sqlx::FromRow)]
struct Input {
    kind: String,
    id: String,
    queued_at: String,
    done_account: String,
    done_id: String,
}

impl Store {
    /// Derives again some of what is queued. Returns how many inputs were dealt with; 0 when none
    /// is left. One that PostgreSQL refuses is set aside until it changes.
    pub async fn rederive(&self) -> Result<usize, Fault> {
        match self.rederive_some(MAX_INPUTS).await {
            Ok(Outcome::Done(inputs)) => return Ok(inputs),
            Ok(Outcome::TooMuch) => {}
            Err(fault) if fault.decision == Decision::Isolate => {}
            Err(fault) => return Err(fault),
        }
        match self.rederive_some(1).await {
            Ok(_) => Ok(1),
            Err(fault) if fault.decision == Decision::Isolate => self.set_aside(&fault).await,
            Err(fault) => Err(fault),
        }
    }

    async fn rederive_some(&self, limit: i64) -> Result<Outcome, Fault> {
        let mut keys = BTreeSet::new();
        for _ in 0..MAX_LOCK_ROUNDS {
            let mut connection = database::acquire(&self.pool).await?;
            let attempt = within(self.attempt_rederive(&mut connection, &keys, limit)).await;
            match settle(connection, "deriving again", attempt).await? {
                Ok(outcome) => return Ok(outcome),
                Err(setback) => keys.extend(setback.missing()?),
            }
        }
        Err(Fault::retry("deriving again", "what hangs on the input kept growing"))
    }

    /// Sets the first input aside.
    async fn set_aside(&self, fault: &Fault) -> Result<usize, Fault> {
        let mut connection = database::acquire(&self.pool).await?;
        let set = sqlx::query_as::<_, (String, String)>(
            "update pay.rederive set refused = left($1, 500)
             where (kind, id) = (select kind, id from pay.rederive where refused is null
               order by queued_at, kind, id limit 1)
             returning kind, id",
        )
        .bind(fault.to_string())
        .fetch_optional(&mut *connection);
        let set = within(set).await;
        let set = settle(connection, "setting an input aside", set).await?;
        if let Some((kind, id)) = set {
            metrics::counter!("reconciler_inputs_refused_total", "kind" => kind.clone())
                .increment(1);
            tracing::error!(kind, id, %fault, "this input is refused; set aside until it changes");
        }
        Ok(1)
    }

    async fn attempt_rederive(
        &self,
        connection: &mut PgConnection,
        known: &BTreeSet<ObjectKey>,
        limit: i64,
    ) -> Attempt<Outcome> {
        let mut tx = connection.begin().await?;
        let queued: Vec<Input> = sqlx::query_as(
            "select kind, id, queued_at::text as queued_at, done_account, done_id
             from pay.rederive where refused is null order by queued_at, kind, id limit $1",
        )
        .bind(limit)
        .fetch_all(&mut *tx)
        .await?;
        if queued.is_empty() {
            return Ok(Ok(Outcome::Done(0)));
        }
        let mut keys = known.clone();
        for Input { kind, id, .. } in &queued {
            match kind.as_str() {
                "quote" => drop(keys.insert(quote_key(id))),
                "order" => drop(keys.insert(order_key(id))),
                _ => {
                    keys.insert(ObjectKey::of_account(id));
                    keys.insert(ObjectKey::new(id, authorization::id_of(id)));
                }
            }
        }
        let states = match lock(&mut tx, &keys, &()).await? {
            Ok(states) => states,
            Err(setback) => return Ok(Err(setback)),
        };
        let page = dependents(&mut tx, &queued).await?;
        let is_whole = i64::try_from(page.len()).unwrap_or(i64::MAX) < PAGE;
        if !is_whole && queued.len() > 1 {
            return Ok(Ok(Outcome::TooMuch));
        }
        let last = page.last().cloned();
        let mut concerned: BTreeSet<ObjectKey> = page.into_iter().collect();
        let missing: BTreeSet<ObjectKey> =
            concerned.iter().filter(|key| !states.contains_key(key)).cloned().collect();
        if !missing.is_empty() {
            return Ok(Err(Setback::Incomplete(missing)));
        }
        let accounts = queued.iter().filter(|input| input.kind == "account");
        concerned.extend(accounts.map(|input| ObjectKey::of_account(&input.id)));

        let concerns = |key: &ObjectKey| concerned.contains(key);
        match Derived::of(&mut *tx, &states, concerns, &self.settings, &()).await? {
            Ok(derived) => drop(derived.write(&mut tx, &()).await?),
            Err(setback) => return Ok(Err(setback)),
        }
        match last.filter(|_| !is_whole) {
            Some(last) => go_on_after(&mut tx, &queued[0], &last).await?,
            None => forget(&mut tx, &queued).await?,
        }
        tx.commit().await?;
        Ok(Ok(Outcome::Done(queued.len())))
    }
}

/// What depends on these inputs, after what is done of the first; at most a page, in order.
async fn dependents(tx: &mut PgConnection, queued: &[Input]) -> sqlx::Result<Vec<ObjectKey>> {
    let of = |wanted: &str| -> Vec<&str> {
        let inputs = queued.iter().filter(|input| input.kind == wanted);
        inputs.map(|input| input.id.as_str()).collect()
    };
    // Only an input that is alone can have been begun.
    let done = queued.first().filter(|_| queued.len() == 1);
    let rows: Vec<(String, String)> = sqlx::query_as(
        "select account, object_id from (
           select account, object_id from pay.stripe_object where depends_on = any($1)
           union
           select account, coalesce(stripe_pi, stripe_ch) from pay.txn
           where quote_id = any($2) or order_id = any($3)) as d(account, object_id)
         where (account, object_id) > ($4, $5) or ($4 = '' and $5 = '')
         order by account, object_id limit $6",
    )
    .bind(of("account"))
    .bind(of("quote"))
    .bind(of("order"))
    .bind(done.map_or("", |input| input.done_account.as_str()))
    .bind(done.map_or("", |input| input.done_id.as_str()))
    .bind(PAGE)
    .fetch_all(tx)
    .await?;
    Ok(rows.into_iter().map(|(account, id)| ObjectKey::new(account, id)).collect())
}

/// Notes how far an input is done. One that was queued again meanwhile begins anew.
async fn go_on_after(tx: &mut PgConnection, input: &Input, last: &ObjectKey) -> sqlx::Result<()> {
    sqlx::query(
        "update pay.rederive set done_account = $4, done_id = $5
         where kind = $1 and id = $2 and queued_at = $3::timestamptz",
    )
    .bind(&input.kind)
    .bind(&input.id)
    .bind(&input.queued_at)
    .bind(&last.account)
    .bind(&last.id)
    .execute(tx)
    .await
    .map(drop)
}

/// Takes inputs off the queue. What was queued again meanwhile has a newer time and stays.
async fn forget(tx: &mut PgConnection, queued: &[Input]) -> sqlx::Result<()> {
    let column = |of: fn(&Input) -> &str| queued.iter().map(of).collect::<Vec<&str>>();
    sqlx::query(
        "delete from pay.rederive as r
         using unnest($1::text[], $2::text[], $3::text[]) as n(kind, id, queued_at)
         where r.kind = n.kind and r.id = n.id and r.queued_at = n.queued_at::timestamptz",
    )
    .bind(column(|input| &input.kind))
    .bind(column(|input| &input.id))
    .bind(column(|input| &input.queued_at))
    .execute(tx)
    .await
    .map(drop)
}

/// What depends on accounts that a batch gave another name, to be derived in its transaction. More
/// than a page is queued instead, and derived a moment later.
pub(super) async fn at_once_or_later(
    tx: &mut PgConnection,
    accounts: &[String],
) -> sqlx::Result<BTreeSet<ObjectKey>> {
    if accounts.is_empty() {
        return Ok(BTreeSet::new());
    }
    let found: BTreeSet<ObjectKey> =
        object::dependents(tx, accounts, Some(PAGE)).try_collect().await?;
    if i64::try_from(found.len()).unwrap_or(i64::MAX) < PAGE {
        return Ok(found);
    }
    sqlx::query("select pay.queue_rederive('account', $1)").bind(accounts).execute(tx).await?;
    Ok(BTreeSet::new())
}
