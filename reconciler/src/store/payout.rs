//! What goes to providers: `pay.payout`, `acc.provider_connect`.

use domain::derive::Providers;
use domain::row::{Payout, Provider, Rows};
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Row as _};

use super::{Bound, column, image};

/// The rows as a table, from what [`bind_payouts`] binds.
macro_rules! payouts {
    () => {
        "select payout_id, account, livemode, destination_account, provider_id, stripe_transfer,
           stripe_payout, currency, gross_cents, fee_cents, net_cents, status, stripe_status,
           (to_timestamp(scheduled_on) at time zone 'utc')::date as scheduled_on, to_timestamp(created_at) as created_at
         from unnest($1::text[], $2::text[], $3::boolean[], $4::text[], $5::text[], $6::text[],
           $7::text[], $8::text[], $9::bigint[], $10::bigint[], $11::bigint[], $12::text[],
           $13::text[], $14::bigint[], $15::bigint[])
           as n(payout_id, account, livemode, destination_account, provider_id, stripe_transfer,
           stripe_payout, currency, gross_cents, fee_cents, net_cents, status, stripe_status,
           scheduled_on, created_at)"
    };
}

/// What accounts say, as a table, from what [`bind_providers`] binds.
macro_rules! providers {
    () => {
        "select stripe_acct, status, requirements
         from unnest($1::text[], $2::text[], $3::jsonb[]) as n(stripe_acct, status, requirements)"
    };
}

/// The providers of these connected accounts. Where two claim one account, the first by name has
/// it, so that every process decides alike.
pub(super) async fn providers(
    tx: &mut PgConnection,
    accounts: &[String],
) -> sqlx::Result<Providers> {
    if accounts.is_empty() {
        return Ok(Providers::new());
    }
    let rows = sqlx::query(
        "select stripe_acct, min(left(user_id, 500) collate \"C\") as user_id
         from acc.provider_connect where stripe_acct = any($1) group by stripe_acct",
    )
    .bind(accounts)
    .fetch_all(tx)
    .await?;
    rows.iter().map(|row| Ok((row.try_get("stripe_acct")?, row.try_get("user_id")?))).collect()
}

/// Table, primary key and columns of each payout and provider, as they will be stored.
pub(super) async fn images(tx: &mut PgConnection, rows: &Rows) -> sqlx::Result<Vec<PgRow>> {
    let payouts = sqlx::query(image!("pay.payout", "payout_id", payouts));
    let mut images = bind_payouts(payouts, &rows.payouts).fetch_all(&mut *tx).await?;
    let providers = sqlx::query(concat!(
        "select 'acc.provider_connect', p.user_id, to_jsonb(p) - 'updated_at'
           || jsonb_build_object('status', n.status, 'requirements', n.requirements)
         from acc.provider_connect as p join (",
        providers!(),
        ") as n using (stripe_acct)",
    ));
    images.extend(bind_providers(providers, &rows.providers).fetch_all(tx).await?);
    Ok(images)
}

fn bind_payouts(query: Bound, rows: &[Payout]) -> Bound {
    query
        .bind(column(rows, |row| row.payout_id.as_str()))
        .bind(column(rows, |row| row.account.as_str()))
        .bind(column(rows, |row| row.livemode))
        .bind(column(rows, |row| row.destination_account.as_deref()))
        .bind(column(rows, |row| row.provider_id.as_str()))
        .bind(column(rows, |row| row.stripe_transfer.as_deref()))
        .bind(column(rows, |row| row.stripe_payout.as_deref()))
        .bind(column(rows, |row| row.currency.as_str()))
        .bind(column(rows, |row| row.gross_cents))
        .bind(column(rows, |row| row.fee_cents))
        .bind(column(rows, |row| row.net_cents))
        .bind(column(rows, |row| row.status))
        .bind(column(rows, |row| row.stripe_status.as_deref()))
        .bind(column(rows, |row| row.scheduled_on))
        .bind(column(rows, |row| row.created_at))
}

/// Writes transfers and payouts. Returns how many are not what they were.
pub(super) async fn write(tx: &mut PgConnection, rows: &[Payout]) -> sqlx::Result<u64> {
    if rows.is_empty() {
        return Ok(0);
    }
    let query = sqlx::query(concat!(
        "insert into pay.payout as t (payout_id, account, livemode, destination_account,
           provider_id, stripe_transfer, stripe_payout, currency, gross_cents, fee_cents, net_cents,
           status, stripe_status, scheduled_on, created_at)
         ",
        payouts!(),
        "
         order by payout_id collate \"C\"
         on conflict (payout_id) do update
         set account = excluded.account, livemode = excluded.livemode,
           destination_account = excluded.destination_account, provider_id = excluded.provider_id,
           stripe_transfer = excluded.stripe_transfer, stripe_payout = excluded.stripe_payout,
           currency = excluded.currency, gross_cents = excluded.gross_cents,
           fee_cents = excluded.fee_cents, net_cents = excluded.net_cents,
           status = excluded.status, stripe_status = excluded.stripe_status,
           scheduled_on = excluded.scheduled_on, created_at = excluded.created_at,
           updated_at = now()
         where (t.account, t.livemode, t.destination_account, t.provider_id, t.stripe_transfer,
             t.stripe_payout, t.currency, t.gross_cents, t.fee_cents, t.net_cents, t.status,
             t.stripe_status, t.scheduled_on, t.created_at)
           is distinct from (excluded.account, excluded.livemode, excluded.destination_account,
             excluded.provider_id, excluded.stripe_transfer, excluded.stripe_payout,
             excluded.currency, excluded.gross_cents, excluded.fee_cents, excluded.net_cents,
             excluded.status, excluded.stripe_status, excluded.scheduled_on, excluded.created_at)",
    ));
    bind_payouts(query, rows).execute(tx).await.map(|done| done.rows_affected())
}

fn bind_providers(query: Bound, rows: &[Provider]) -> Bound {
    query
        .bind(column(rows, |row| row.stripe_acct.as_str()))
        .bind(column(rows, |row| row.status))
        .bind(column(rows, |row| row.requirements.clone()))
}

/// Writes what the accounts say into the providers that are linked to them. Returns how many are not
/// what they were.
pub(super) async fn write_providers(tx: &mut PgConnection, rows: &[Provider]) -> sqlx::Result<u64> {
    if rows.is_empty() {
        return Ok(0);
    }
    let query = sqlx::query(concat!(
        "update acc.provider_connect as p
         set status = n.status, requirements = n.requirements, updated_at = now()
         from (",
        providers!(),
        ") as n
         where p.stripe_acct = n.stripe_acct
           and (p.status, p.requirements) is distinct from (n.status, n.requirements)",
    ));
    bind_providers(query, rows).execute(tx).await.map(|done| done.rows_affected())
}
