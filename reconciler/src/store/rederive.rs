//! Deriving again what hangs on a provider or a quote that became known or changed.
//!
//! Triggers on `acc.provider_connect` and `pay.quote` queue the account, the quote and the order. The
//! projector locks what stands for each, which everything that depends on it locks too, and only
//! then looks for that: so what is being applied at this moment either sees the input or is seen
//! here.

use std::collections::BTreeSet;

use domain::object::{ObjectKey, authorization};
use domain::settlement::{order_key, quote_key};
use sqlx::{Connection as _, PgConnection};

use super::derived::Derived;
use super::{Attempt, MAX_LOCK_ROUNDS, Setback, Store, lock, object, quote};
use crate::database::{self, settle, within};
use crate::fault::Fault;

/// Inputs that are dealt with in one transaction.
const MAX_INPUTS: i64 = 100;

impl Store {
    /// Derives again what is queued. Returns how many inputs were done; 0 when none was.
    pub async fn rederive(&self) -> Result<usize, Fault> {
        let mut keys = BTreeSet::new();
        for _ in 0..MAX_LOCK_ROUNDS {
            let mut connection = database::acquire(&self.pool).await?;
            let attempt = within(self.attempt_rederive(&mut connection, &keys)).await;
            match settle(connection, "deriving again", attempt).await? {
                Ok(inputs) => return Ok(inputs),
                Err(setback) => keys.extend(setback.missing()?),
            }
        }
        Err(Fault::retry("deriving again", "what hangs on the input kept growing"))
    }

    async fn attempt_rederive(
        &self,
        connection: &mut PgConnection,
        known: &BTreeSet<ObjectKey>,
    ) -> Attempt<usize> {
        let mut tx = connection.begin().await?;
        let queued: Vec<(String, String, String)> = sqlx::query_as(
            "select kind, id, queued_at::text from pay.rederive order by queued_at limit $1",
        )
        .bind(MAX_INPUTS)
        .fetch_all(&mut *tx)
        .await?;
        if queued.is_empty() {
            return Ok(Ok(0));
        }
        let of = |wanted: &str| -> Vec<String> {
            let ids = queued.iter().filter(|(kind, ..)| kind == wanted);
            ids.map(|(_, id, _)| id.clone()).collect()
        };
        let (accounts, quotes, orders) = (of("account"), of("quote"), of("order"));

        let mut keys = known.clone();
        for account in &accounts {
            keys.insert(ObjectKey::of_account(account));
            keys.insert(ObjectKey::new(account, authorization::id_of(account)));
        }
        keys.extend(quotes.iter().map(|id| quote_key(id)));
        keys.extend(orders.iter().map(|id| order_key(id)));
        let states = match lock(&mut tx, &keys, &()).await? {
            Ok(states) => states,
            Err(setback) => return Ok(Err(setback)),
        };
        let mut concerned = object::dependents(&mut tx, &accounts).await?;
        concerned.extend(quote::dependents(&mut tx, &quotes, &orders).await?);
        let missing: BTreeSet<ObjectKey> =
            concerned.iter().filter(|key| !states.contains_key(key)).cloned().collect();
        if !missing.is_empty() {
            return Ok(Err(Setback::Incomplete(missing)));
        }
        concerned.extend(accounts.iter().map(|account| ObjectKey::of_account(account)));

        let concerns = |key: &ObjectKey| concerned.contains(key);
        match Derived::of(&mut tx, &states, concerns, &self.settings, &()).await? {
            Ok(derived) => derived.write(&mut tx, &()).await?,
            Err(setback) => return Ok(Err(setback)),
        }
        // What was queued again meanwhile has a newer time and stays.
        let (mut kinds, mut ids, mut times) = (Vec::new(), Vec::new(), Vec::new());
        for (kind, id, queued_at) in &queued {
            kinds.push(kind.as_str());
            ids.push(id.as_str());
            times.push(queued_at.as_str());
        }
        sqlx::query(
            "delete from pay.rederive as r
             using unnest($1::text[], $2::text[], $3::text[]) as n(kind, id, queued_at)
             where r.kind = n.kind and r.id = n.id and r.queued_at = n.queued_at::timestamptz",
        )
        .bind(kinds)
        .bind(ids)
        .bind(times)
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(Ok(queued.len()))
    }
}
