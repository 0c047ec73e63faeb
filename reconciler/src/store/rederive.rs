//! Deriving again what hangs on a provider that became known or changed.
//!
//! A trigger on `acc.provider_connect` queues the account. The projector locks the account's row,
//! which every payout and transfer of that account locks too, and only then looks for them: so one
//! that is being applied at this moment either sees the provider or is seen here.

use std::collections::BTreeSet;

use domain::object::{ObjectKey, authorization};
use sqlx::{Connection as _, PgConnection, Row as _};

use super::{Attempt, MAX_LOCK_ROUNDS, Setback, Store, lock, row};
use crate::database::{self, settle, within};
use crate::fault::Fault;

/// Accounts that are derived again in one transaction.
const MAX_ACCOUNTS: i64 = 16;

impl Store {
    /// Derives again what is queued. Returns how many accounts were done; 0 when nothing was.
    pub async fn rederive(&self) -> Result<usize, Fault> {
        let mut keys = BTreeSet::new();
        for _ in 0..MAX_LOCK_ROUNDS {
            let mut connection = database::acquire(&self.pool).await?;
            let attempt = within(self.attempt_rederive(&mut connection, &keys)).await;
            match settle(connection, "deriving again", attempt).await? {
                Ok(accounts) => return Ok(accounts),
                Err(setback) => keys.extend(setback.missing()?),
            }
        }
        Err(Fault::retry("deriving again", "the account's payouts kept growing"))
    }

    async fn attempt_rederive(
        &self,
        connection: &mut PgConnection,
        known: &BTreeSet<ObjectKey>,
    ) -> Attempt<usize> {
        let mut tx = connection.begin().await?;
        let queued = sqlx::query(
            "select account, queued_at::text as queued_at from pay.rederive
             order by queued_at limit $1",
        )
        .bind(MAX_ACCOUNTS)
        .fetch_all(&mut *tx)
        .await?;
        let accounts: Vec<String> =
            queued.iter().map(|row| row.try_get("account")).collect::<sqlx::Result<_>>()?;
        let seen: Vec<String> =
            queued.iter().map(|row| row.try_get("queued_at")).collect::<sqlx::Result<_>>()?;
        if accounts.is_empty() {
            return Ok(Ok(0));
        }

        let mut keys = known.clone();
        for account in &accounts {
            keys.insert(ObjectKey::of_account(account));
            keys.insert(ObjectKey::new(account, authorization::id_of(account)));
        }
        let states = match lock(&mut tx, &keys, &()).await? {
            Ok(states) => states,
            Err(setback) => return Ok(Err(setback)),
        };
        let mut concerned = dependents(&mut tx, &accounts).await?;
        let missing: BTreeSet<ObjectKey> = concerned.difference(&keys).cloned().collect();
        if !missing.is_empty() {
            return Ok(Err(Setback::Incomplete(missing)));
        }
        concerned.extend(accounts.iter().map(|account| ObjectKey::of_account(account)));

        // Only these: an earlier attempt may have locked what hangs on accounts that another
        // process has finished since, and their providers are not read here.
        let providers = self.providers(&mut tx, &states, accounts.iter().cloned()).await?;
        let rows = match self.derive(&states, |key| concerned.contains(key), &providers) {
            Ok(rows) => rows,
            Err(error) => return Ok(Err(Setback::Unreadable(error))),
        };
        row::write_payouts(&mut tx, &rows.payouts).await?;
        row::write_providers(&mut tx, &rows.providers).await?;
        // What was queued again meanwhile has a newer time and stays.
        sqlx::query(
            "delete from pay.rederive as r
             using unnest($1::text[], $2::text[]) as n(account, queued_at)
             where r.account = n.account and r.queued_at = n.queued_at::timestamptz",
        )
        .bind(&accounts)
        .bind(&seen)
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(Ok(accounts.len()))
    }
}

/// The transfers and payouts of these connected accounts.
pub(super) async fn dependents(
    tx: &mut PgConnection,
    accounts: &[String],
) -> sqlx::Result<BTreeSet<ObjectKey>> {
    if accounts.is_empty() {
        return Ok(BTreeSet::new());
    }
    let rows = sqlx::query(
        "select account, coalesce(stripe_transfer, stripe_payout) as object_id from pay.payout
         where destination_account = any($1)",
    )
    .bind(accounts)
    .fetch_all(tx)
    .await?;
    rows.iter()
        .map(|row| {
            Ok(ObjectKey { account: row.try_get("account")?, id: row.try_get("object_id")? })
        })
        .collect()
}
