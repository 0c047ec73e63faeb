//! The derived rows: `pay.txn`, `pay.refund`, `pay.dispute`, `pay.payout`, `acc.provider_connect`.
//!
//! A row that is the same already is not touched, so that `updated_at` tells when it changed and a
//! replay writes nothing.

use domain::derive::Providers;
use domain::row::{Dispute, Payout, Provider, Refund, Rows, Txn};
use sqlx::{PgConnection, Row as _};

use super::column;
use super::pace::{Pace, Step};

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

/// Writes every row, parents before children, and deletes what must not stand.
pub(super) async fn write(
    tx: &mut PgConnection,
    rows: &Rows,
    pace: &impl Pace,
) -> sqlx::Result<()> {
    pace.before(Step::WriteTxns).await;
    write_txns(tx, &rows.txns).await?;
    pace.before(Step::WriteRefunds).await;
    write_refunds(tx, &rows.refunds).await?;
    pace.before(Step::WriteDisputes).await;
    write_disputes(tx, &rows.disputes).await?;
    // Only now, so that a child that moved to another payment is not deleted with the old one.
    let absent = &rows.absent;
    delete(tx, "delete from pay.refund where refund_id = any($1)", &absent.refunds).await?;
    delete(tx, "delete from pay.dispute where dispute_id = any($1)", &absent.disputes).await?;
    delete(tx, "delete from pay.txn where txn_id = any($1)", &absent.txns).await?;
    pace.before(Step::WritePayouts).await;
    write_payouts(tx, &rows.payouts).await?;
    delete(tx, "delete from pay.payout where payout_id = any($1)", &absent.payouts).await?;
    delete(tx, "delete from pay.invoice where invoice_id = any($1)", &absent.invoices).await?;
    pace.before(Step::WriteProviders).await;
    write_providers(tx, &rows.providers).await
}

async fn delete(tx: &mut PgConnection, sql: &'static str, ids: &[String]) -> sqlx::Result<()> {
    if ids.is_empty() {
        return Ok(());
    }
    sqlx::query(sql).bind(ids).execute(tx).await.map(drop)
}

async fn write_txns(tx: &mut PgConnection, rows: &[Txn]) -> sqlx::Result<()> {
    if rows.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "insert into pay.txn as t (txn_id, account, livemode, quote_id, order_id, provider_id,
           stripe_pi, stripe_ch, method, stripe_method, status, stripe_status, authorized_at,
           captured_at, amount_cents, captured_cents, refunded_cents, currency, meta, created_at,
           destination_account, is_direct, kept_cents, application_fee_cents, fee_cents, tax_cents,
           is_misfit)
         select txn_id, account, livemode, quote_id, order_id, provider_id, stripe_pi, stripe_ch,
           method, stripe_method, status, stripe_status, to_timestamp(authorized_at),
           to_timestamp(captured_at), amount_cents, captured_cents, refunded_cents, currency, meta,
           to_timestamp(created_at), destination_account, is_direct, kept_cents,
           application_fee_cents, fee_cents, tax_cents, is_misfit
         from unnest($1::text[], $2::text[], $3::boolean[], $4::text[], $5::text[], $6::text[],
           $7::text[], $8::text[], $9::text[], $10::text[], $11::text[], $12::text[],
           $13::bigint[], $14::bigint[], $15::bigint[], $16::bigint[], $17::bigint[], $18::text[],
           $19::jsonb[], $20::bigint[], $21::text[], $22::boolean[], $23::bigint[], $24::bigint[],
           $25::bigint[], $26::bigint[], $27::boolean[])
           as n(txn_id, account, livemode, quote_id, order_id, provider_id, stripe_pi, stripe_ch,
           method, stripe_method, status, stripe_status, authorized_at, captured_at, amount_cents,
           captured_cents, refunded_cents, currency, meta, created_at, destination_account,
           is_direct, kept_cents, application_fee_cents, fee_cents, tax_cents, is_misfit)
         order by txn_id collate \"C\"
         on conflict (txn_id) do update
         set account = excluded.account, livemode = excluded.livemode,
           quote_id = excluded.quote_id, order_id = excluded.order_id,
           provider_id = excluded.provider_id, stripe_pi = excluded.stripe_pi,
           stripe_ch = excluded.stripe_ch, method = excluded.method,
           stripe_method = excluded.stripe_method, status = excluded.status,
           stripe_status = excluded.stripe_status, authorized_at = excluded.authorized_at,
           captured_at = excluded.captured_at, amount_cents = excluded.amount_cents,
           captured_cents = excluded.captured_cents, refunded_cents = excluded.refunded_cents,
           currency = excluded.currency, meta = excluded.meta, created_at = excluded.created_at,
           destination_account = excluded.destination_account, is_direct = excluded.is_direct,
           kept_cents = excluded.kept_cents,
           application_fee_cents = excluded.application_fee_cents,
           fee_cents = excluded.fee_cents, tax_cents = excluded.tax_cents,
           is_misfit = excluded.is_misfit, updated_at = now()
         where (t.account, t.livemode, t.quote_id, t.order_id, t.provider_id, t.stripe_pi,
             t.stripe_ch, t.method, t.stripe_method, t.status, t.stripe_status, t.authorized_at,
             t.captured_at, t.amount_cents, t.captured_cents, t.refunded_cents, t.currency, t.meta,
             t.created_at, t.destination_account, t.is_direct, t.kept_cents,
             t.application_fee_cents, t.fee_cents, t.tax_cents, t.is_misfit)
           is distinct from (excluded.account, excluded.livemode, excluded.quote_id,
             excluded.order_id, excluded.provider_id, excluded.stripe_pi, excluded.stripe_ch,
             excluded.method, excluded.stripe_method, excluded.status, excluded.stripe_status,
             excluded.authorized_at, excluded.captured_at, excluded.amount_cents,
             excluded.captured_cents, excluded.refunded_cents, excluded.currency, excluded.meta,
             excluded.created_at, excluded.destination_account, excluded.is_direct,
             excluded.kept_cents, excluded.application_fee_cents, excluded.fee_cents,
             excluded.tax_cents, excluded.is_misfit)",
    )
    .bind(column(rows, |row| row.txn_id.as_str()))
    .bind(column(rows, |row| row.account.as_str()))
    .bind(column(rows, |row| row.livemode))
    .bind(column(rows, |row| row.quote_id.as_str()))
    .bind(column(rows, |row| row.order_id.as_deref()))
    .bind(column(rows, |row| row.provider_id.as_deref()))
    .bind(column(rows, |row| row.stripe_pi.as_deref()))
    .bind(column(rows, |row| row.stripe_ch.as_deref()))
    .bind(column(rows, |row| row.method))
    .bind(column(rows, |row| row.stripe_method.as_deref()))
    .bind(column(rows, |row| row.status))
    .bind(column(rows, |row| row.stripe_status.as_deref()))
    .bind(column(rows, |row| row.authorized_at))
    .bind(column(rows, |row| row.captured_at))
    .bind(column(rows, |row| row.amount_cents))
    .bind(column(rows, |row| row.captured_cents))
    .bind(column(rows, |row| row.refunded_cents))
    .bind(column(rows, |row| row.currency.as_str()))
    .bind(column(rows, |row| row.meta.clone()))
    .bind(column(rows, |row| row.created_at))
    .bind(column(rows, |row| row.destination_account.as_deref()))
    .bind(column(rows, |row| row.is_direct))
    .bind(column(rows, |row| row.kept_cents))
    .bind(column(rows, |row| row.application_fee_cents))
    .bind(column(rows, |row| row.fee_cents))
    .bind(column(rows, |row| row.tax_cents))
    .bind(column(rows, |row| row.is_misfit))
    .execute(tx)
    .await
    .map(drop)
}

async fn write_refunds(tx: &mut PgConnection, rows: &[Refund]) -> sqlx::Result<()> {
    if rows.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "insert into pay.refund as t (refund_id, txn_id, account, stripe_ref, amount_cents,
           currency, reason, status, stripe_status, created_by, created_at)
         select refund_id, txn_id, account, stripe_ref, amount_cents, currency, reason, status,
           stripe_status, created_by, to_timestamp(created_at)
         from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::bigint[], $6::text[],
           $7::text[], $8::text[], $9::text[], $10::text[], $11::bigint[])
           as n(refund_id, txn_id, account, stripe_ref, amount_cents, currency, reason, status,
           stripe_status, created_by, created_at)
         order by refund_id collate \"C\"
         on conflict (refund_id) do update
         set txn_id = excluded.txn_id, account = excluded.account,
           stripe_ref = excluded.stripe_ref, amount_cents = excluded.amount_cents,
           currency = excluded.currency, reason = excluded.reason, status = excluded.status,
           stripe_status = excluded.stripe_status, created_by = excluded.created_by,
           created_at = excluded.created_at, updated_at = now()
         where (t.txn_id, t.account, t.stripe_ref, t.amount_cents, t.currency, t.reason, t.status,
             t.stripe_status, t.created_by, t.created_at)
           is distinct from (excluded.txn_id, excluded.account, excluded.stripe_ref,
             excluded.amount_cents, excluded.currency, excluded.reason, excluded.status,
             excluded.stripe_status, excluded.created_by, excluded.created_at)",
    )
    .bind(column(rows, |row| row.refund_id.as_str()))
    .bind(column(rows, |row| row.txn_id.as_str()))
    .bind(column(rows, |row| row.account.as_str()))
    .bind(column(rows, |row| row.stripe_ref.as_str()))
    .bind(column(rows, |row| row.amount_cents))
    .bind(column(rows, |row| row.currency.as_str()))
    .bind(column(rows, |row| row.reason.as_str()))
    .bind(column(rows, |row| row.status))
    .bind(column(rows, |row| row.stripe_status.as_deref()))
    .bind(column(rows, |row| row.created_by))
    .bind(column(rows, |row| row.created_at))
    .execute(tx)
    .await
    .map(drop)
}

async fn write_disputes(tx: &mut PgConnection, rows: &[Dispute]) -> sqlx::Result<()> {
    if rows.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "insert into pay.dispute as t (dispute_id, txn_id, account, stripe_dispute, amount_cents,
           currency, reason, status, stripe_status, due_by, created_at)
         select dispute_id, txn_id, account, stripe_dispute, amount_cents, currency, reason, status,
           stripe_status, to_timestamp(due_by), to_timestamp(created_at)
         from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::bigint[], $6::text[],
           $7::text[], $8::text[], $9::text[], $10::bigint[], $11::bigint[])
           as n(dispute_id, txn_id, account, stripe_dispute, amount_cents, currency, reason, status,
           stripe_status, due_by, created_at)
         order by dispute_id collate \"C\"
         on conflict (dispute_id) do update
         set txn_id = excluded.txn_id, account = excluded.account,
           stripe_dispute = excluded.stripe_dispute, amount_cents = excluded.amount_cents,
           currency = excluded.currency, reason = excluded.reason, status = excluded.status,
           stripe_status = excluded.stripe_status, due_by = excluded.due_by,
           created_at = excluded.created_at, updated_at = now()
         where (t.txn_id, t.account, t.stripe_dispute, t.amount_cents, t.currency, t.reason,
             t.status, t.stripe_status, t.due_by, t.created_at)
           is distinct from (excluded.txn_id, excluded.account, excluded.stripe_dispute,
             excluded.amount_cents, excluded.currency, excluded.reason, excluded.status,
             excluded.stripe_status, excluded.due_by, excluded.created_at)",
    )
    .bind(column(rows, |row| row.dispute_id.as_str()))
    .bind(column(rows, |row| row.txn_id.as_str()))
    .bind(column(rows, |row| row.account.as_str()))
    .bind(column(rows, |row| row.stripe_dispute.as_str()))
    .bind(column(rows, |row| row.amount_cents))
    .bind(column(rows, |row| row.currency.as_str()))
    .bind(column(rows, |row| row.reason.as_deref()))
    .bind(column(rows, |row| row.status))
    .bind(column(rows, |row| row.stripe_status.as_str()))
    .bind(column(rows, |row| row.due_by))
    .bind(column(rows, |row| row.created_at))
    .execute(tx)
    .await
    .map(drop)
}

/// Writes transfers and payouts.
pub(super) async fn write_payouts(tx: &mut PgConnection, rows: &[Payout]) -> sqlx::Result<()> {
    if rows.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "insert into pay.payout as t (payout_id, account, livemode, destination_account,
           provider_id, stripe_transfer, stripe_payout, currency, gross_cents, fee_cents, net_cents,
           status, stripe_status, scheduled_on, created_at)
         select payout_id, account, livemode, destination_account, provider_id, stripe_transfer,
           stripe_payout, currency, gross_cents, fee_cents, net_cents, status, stripe_status,
           (to_timestamp(scheduled_on) at time zone 'utc')::date, to_timestamp(created_at)
         from unnest($1::text[], $2::text[], $3::boolean[], $4::text[], $5::text[], $6::text[],
           $7::text[], $8::text[], $9::bigint[], $10::bigint[], $11::bigint[], $12::text[],
           $13::text[], $14::bigint[], $15::bigint[])
           as n(payout_id, account, livemode, destination_account, provider_id, stripe_transfer,
           stripe_payout, currency, gross_cents, fee_cents, net_cents, status, stripe_status,
           scheduled_on, created_at)
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
    )
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
    .execute(tx)
    .await
    .map(drop)
}

/// Writes what the accounts say into the providers that are linked to them.
pub(super) async fn write_providers(tx: &mut PgConnection, rows: &[Provider]) -> sqlx::Result<()> {
    if rows.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "update acc.provider_connect as p
         set status = n.status, requirements = n.requirements, updated_at = now()
         from unnest($1::text[], $2::text[], $3::jsonb[]) as n(stripe_acct, status, requirements)
         where p.stripe_acct = n.stripe_acct
           and (p.status, p.requirements) is distinct from (n.status, n.requirements)",
    )
    .bind(column(rows, |row| row.stripe_acct.as_str()))
    .bind(column(rows, |row| row.status))
    .bind(column(rows, |row| row.requirements.clone()))
    .execute(tx)
    .await
    .map(drop)
}
