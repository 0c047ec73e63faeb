//! The derived rows of payments: `pay.txn`, `pay.refund`, `pay.dispute`.
//!
//! A row that is the same already is not touched, so that `updated_at` tells when it changed and a
//! replay writes nothing.

use domain::row::{Dispute, Refund, Rows, Txn};
use sqlx::PgConnection;
use sqlx::postgres::PgRow;

use super::pace::{Pace, Step};
use super::{Bound, column, image, payout};

/// The rows as a table, from what [`bind_txns`] binds.
macro_rules! txns {
    () => {
        "select txn_id, account, livemode, quote_id, order_id, provider_id, stripe_pi, stripe_ch,
           method, stripe_method, status, stripe_status,
           to_timestamp(authorized_at) as authorized_at, to_timestamp(captured_at) as captured_at,
           amount_cents, captured_cents, refunded_cents, currency, meta,
           to_timestamp(created_at) as created_at, destination_account, is_direct, kept_cents,
           application_fee_cents, fee_cents, tax_cents, is_misfit
         from unnest($1::text[], $2::text[], $3::boolean[], $4::text[], $5::text[], $6::text[],
           $7::text[], $8::text[], $9::text[], $10::text[], $11::text[], $12::text[],
           $13::bigint[], $14::bigint[], $15::bigint[], $16::bigint[], $17::bigint[], $18::text[],
           $19::jsonb[], $20::bigint[], $21::text[], $22::boolean[], $23::bigint[], $24::bigint[],
           $25::bigint[], $26::bigint[], $27::boolean[])
           as n(txn_id, account, livemode, quote_id, order_id, provider_id, stripe_pi, stripe_ch,
           method, stripe_method, status, stripe_status, authorized_at, captured_at, amount_cents,
           captured_cents, refunded_cents, currency, meta, created_at, destination_account,
           is_direct, kept_cents, application_fee_cents, fee_cents, tax_cents, is_misfit)"
    };
}

/// The rows as a table, from what [`bind_refunds`] binds.
macro_rules! refunds {
    () => {
        "select refund_id, txn_id, account, stripe_ref, amount_cents, currency, reason, status,
           stripe_status, created_by, to_timestamp(created_at) as created_at
         from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::bigint[], $6::text[],
           $7::text[], $8::text[], $9::text[], $10::text[], $11::bigint[])
           as n(refund_id, txn_id, account, stripe_ref, amount_cents, currency, reason, status,
           stripe_status, created_by, created_at)"
    };
}

/// The rows as a table, from what [`bind_disputes`] binds.
macro_rules! disputes {
    () => {
        "select dispute_id, txn_id, account, stripe_dispute, amount_cents, currency, reason, status,
           stripe_status, to_timestamp(due_by) as due_by, to_timestamp(created_at) as created_at
         from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::bigint[], $6::text[],
           $7::text[], $8::text[], $9::text[], $10::bigint[], $11::bigint[])
           as n(dispute_id, txn_id, account, stripe_dispute, amount_cents, currency, reason, status,
           stripe_status, due_by, created_at)"
    };
}

/// Writes every row, parents before children, and deletes what must not stand. Returns how many are
/// not what they were.
pub(super) async fn write(
    tx: &mut PgConnection,
    rows: &Rows,
    pace: &impl Pace,
) -> sqlx::Result<u64> {
    pace.before(Step::WriteTxns).await;
    let mut changed = write_txns(tx, &rows.txns).await?;
    pace.before(Step::WriteRefunds).await;
    changed += write_refunds(tx, &rows.refunds).await?;
    pace.before(Step::WriteDisputes).await;
    changed += write_disputes(tx, &rows.disputes).await?;
    // Only now, so that a child that moved to another payment is not deleted with the old one.
    let absent = &rows.absent;
    changed +=
        delete(tx, "delete from pay.refund where refund_id = any($1)", &absent.refunds).await?;
    changed +=
        delete(tx, "delete from pay.dispute where dispute_id = any($1)", &absent.disputes).await?;
    changed += delete(tx, "delete from pay.txn where txn_id = any($1)", &absent.txns).await?;
    pace.before(Step::WritePayouts).await;
    changed += payout::write(tx, &rows.payouts).await?;
    changed +=
        delete(tx, "delete from pay.payout where payout_id = any($1)", &absent.payouts).await?;
    changed +=
        delete(tx, "delete from pay.invoice where invoice_id = any($1)", &absent.invoices).await?;
    pace.before(Step::WriteProviders).await;
    Ok(changed + payout::write_providers(tx, &rows.providers).await?)
}

/// Table, primary key and columns of each payment, refund and dispute, as they will be stored.
pub(super) async fn images(tx: &mut PgConnection, rows: &Rows) -> sqlx::Result<Vec<PgRow>> {
    let txns = bind_txns(sqlx::query(image!("pay.txn", "txn_id", txns)), &rows.txns);
    let mut images = txns.fetch_all(&mut *tx).await?;
    let refunds = sqlx::query(image!("pay.refund", "refund_id", refunds));
    images.extend(bind_refunds(refunds, &rows.refunds).fetch_all(&mut *tx).await?);
    let disputes = sqlx::query(image!("pay.dispute", "dispute_id", disputes));
    images.extend(bind_disputes(disputes, &rows.disputes).fetch_all(tx).await?);
    Ok(images)
}

async fn delete(tx: &mut PgConnection, sql: &'static str, ids: &[String]) -> sqlx::Result<u64> {
    if ids.is_empty() {
        return Ok(0);
    }
    sqlx::query(sql).bind(ids).execute(tx).await.map(|done| done.rows_affected())
}

fn bind_txns(query: Bound, rows: &[Txn]) -> Bound {
    query
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
}

async fn write_txns(tx: &mut PgConnection, rows: &[Txn]) -> sqlx::Result<u64> {
    if rows.is_empty() {
        return Ok(0);
    }
    let query = sqlx::query(concat!(
        "insert into pay.txn as t (txn_id, account, livemode, quote_id, order_id, provider_id,
           stripe_pi, stripe_ch, method, stripe_method, status, stripe_status, authorized_at,
           captured_at, amount_cents, captured_cents, refunded_cents, currency, meta, created_at,
           destination_account, is_direct, kept_cents, application_fee_cents, fee_cents, tax_cents,
           is_misfit)
         ",
        txns!(),
        "
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
    ));
    bind_txns(query, rows).execute(tx).await.map(|done| done.rows_affected())
}

fn bind_refunds(query: Bound, rows: &[Refund]) -> Bound {
    query
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
}

async fn write_refunds(tx: &mut PgConnection, rows: &[Refund]) -> sqlx::Result<u64> {
    if rows.is_empty() {
        return Ok(0);
    }
    let query = sqlx::query(concat!(
        "insert into pay.refund as t (refund_id, txn_id, account, stripe_ref, amount_cents,
           currency, reason, status, stripe_status, created_by, created_at)
         ",
        refunds!(),
        "
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
    ));
    bind_refunds(query, rows).execute(tx).await.map(|done| done.rows_affected())
}

fn bind_disputes(query: Bound, rows: &[Dispute]) -> Bound {
    query
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
}

async fn write_disputes(tx: &mut PgConnection, rows: &[Dispute]) -> sqlx::Result<u64> {
    if rows.is_empty() {
        return Ok(0);
    }
    let query = sqlx::query(concat!(
        "insert into pay.dispute as t (dispute_id, txn_id, account, stripe_dispute, amount_cents,
           currency, reason, status, stripe_status, due_by, created_at)
         ",
        disputes!(),
        "
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
    ));
    bind_disputes(query, rows).execute(tx).await.map(|done| done.rows_affected())
}
