//! `pay.invoice` and `pay.invoice_payment`.

use domain::row::{Invoice, InvoicePayment, Rows};
use sqlx::PgConnection;
use sqlx::postgres::PgRow;

use super::{Bound, column, image};

/// The rows as a table, from what [`bind_invoices`] binds.
macro_rules! invoices {
    () => {
        "select invoice_id, account, livemode, stripe_invoice, number, customer, status,
           stripe_status, currency, amount_due_cents, amount_paid_cents, amount_remaining_cents,
           total_cents, to_timestamp(due_at) as due_at, to_timestamp(created_at) as created_at
         from unnest($1::text[], $2::text[], $3::boolean[], $4::text[], $5::text[], $6::text[],
           $7::text[], $8::text[], $9::text[], $10::bigint[], $11::bigint[], $12::bigint[],
           $13::bigint[], $14::bigint[], $15::bigint[])
           as n(invoice_id, account, livemode, stripe_invoice, number, customer, status,
           stripe_status, currency, amount_due_cents, amount_paid_cents, amount_remaining_cents,
           total_cents, due_at, created_at)"
    };
}

/// The rows as a table, from what [`bind_payments`] binds.
macro_rules! payments {
    () => {
        "select invoice_id, stripe_payment, txn_id, amount_cents, status
         from unnest($1::text[], $2::text[], $3::text[], $4::bigint[], $5::text[])
           as n(invoice_id, stripe_payment, txn_id, amount_cents, status)"
    };
}

/// Writes invoices with their payments, and deletes payments that are no longer theirs. Returns how
/// many rows are not what they were.
pub(super) async fn write(
    tx: &mut PgConnection,
    invoices: &[Invoice],
    payments: &[InvoicePayment],
) -> sqlx::Result<u64> {
    if invoices.is_empty() {
        return Ok(0);
    }
    let written = write_invoices(tx, invoices).await?;
    let deleted = sqlx::query(
        "delete from pay.invoice_payment as p
         where p.invoice_id = any($1) and not exists (
           select from unnest($2::text[], $3::text[]) as n(invoice_id, stripe_payment)
           where n.invoice_id = p.invoice_id and n.stripe_payment = p.stripe_payment)",
    )
    .bind(column(invoices, |row| row.invoice_id.as_str()))
    .bind(column(payments, |row| row.invoice_id.as_str()))
    .bind(column(payments, |row| row.stripe_payment.as_str()))
    .execute(&mut *tx)
    .await?;
    Ok(written + deleted.rows_affected() + write_payments(tx, payments).await?)
}

/// Table, primary key and columns of each invoice and payment, as they will be stored.
pub(super) async fn images(tx: &mut PgConnection, rows: &Rows) -> sqlx::Result<Vec<PgRow>> {
    let invoices = sqlx::query(image!("pay.invoice", "invoice_id", invoices));
    let mut images = bind_invoices(invoices, &rows.invoices).fetch_all(&mut *tx).await?;
    let payments =
        sqlx::query(image!("pay.invoice_payment", "invoice_id || ' ' || stripe_payment", payments));
    images.extend(bind_payments(payments, &rows.invoice_payments).fetch_all(tx).await?);
    Ok(images)
}

fn bind_invoices(query: Bound, rows: &[Invoice]) -> Bound {
    query
        .bind(column(rows, |row| row.invoice_id.as_str()))
        .bind(column(rows, |row| row.account.as_str()))
        .bind(column(rows, |row| row.livemode))
        .bind(column(rows, |row| row.stripe_invoice.as_str()))
        .bind(column(rows, |row| row.number.as_deref()))
        .bind(column(rows, |row| row.customer.as_deref()))
        .bind(column(rows, |row| row.status))
        .bind(column(rows, |row| row.stripe_status.as_deref()))
        .bind(column(rows, |row| row.currency.as_str()))
        .bind(column(rows, |row| row.amount_due_cents))
        .bind(column(rows, |row| row.amount_paid_cents))
        .bind(column(rows, |row| row.amount_remaining_cents))
        .bind(column(rows, |row| row.total_cents))
        .bind(column(rows, |row| row.due_at))
        .bind(column(rows, |row| row.created_at))
}

async fn write_invoices(tx: &mut PgConnection, rows: &[Invoice]) -> sqlx::Result<u64> {
    if rows.is_empty() {
        return Ok(0);
    }
    let query = sqlx::query(concat!(
        "insert into pay.invoice as i (invoice_id, account, livemode, stripe_invoice, number,
           customer, status, stripe_status, currency, amount_due_cents, amount_paid_cents,
           amount_remaining_cents, total_cents, due_at, created_at)
         ",
        invoices!(),
        "
         order by invoice_id collate \"C\"
         on conflict (invoice_id) do update
         set account = excluded.account, livemode = excluded.livemode, number = excluded.number,
           customer = excluded.customer, status = excluded.status,
           stripe_status = excluded.stripe_status, currency = excluded.currency,
           amount_due_cents = excluded.amount_due_cents,
           amount_paid_cents = excluded.amount_paid_cents,
           amount_remaining_cents = excluded.amount_remaining_cents,
           total_cents = excluded.total_cents, due_at = excluded.due_at,
           created_at = excluded.created_at, updated_at = now()
         where (i.account, i.livemode, i.number, i.customer, i.status, i.stripe_status, i.currency,
             i.amount_due_cents, i.amount_paid_cents, i.amount_remaining_cents, i.total_cents,
             i.due_at, i.created_at)
           is distinct from (excluded.account, excluded.livemode, excluded.number,
             excluded.customer, excluded.status, excluded.stripe_status, excluded.currency,
             excluded.amount_due_cents, excluded.amount_paid_cents,
             excluded.amount_remaining_cents, excluded.total_cents, excluded.due_at,
             excluded.created_at)",
    ));
    bind_invoices(query, rows).execute(tx).await.map(|done| done.rows_affected())
}

fn bind_payments(query: Bound, rows: &[InvoicePayment]) -> Bound {
    query
        .bind(column(rows, |row| row.invoice_id.as_str()))
        .bind(column(rows, |row| row.stripe_payment.as_str()))
        .bind(column(rows, |row| row.txn_id.as_str()))
        .bind(column(rows, |row| row.amount_cents))
        .bind(column(rows, |row| row.status.as_str()))
}

async fn write_payments(tx: &mut PgConnection, rows: &[InvoicePayment]) -> sqlx::Result<u64> {
    if rows.is_empty() {
        return Ok(0);
    }
    let query = sqlx::query(concat!(
        "insert into pay.invoice_payment as p (invoice_id, stripe_payment, txn_id, amount_cents,
           status)
         ",
        payments!(),
        "
         order by invoice_id collate \"C\", stripe_payment collate \"C\"
         on conflict (invoice_id, stripe_payment) do update
         set txn_id = excluded.txn_id, amount_cents = excluded.amount_cents,
           status = excluded.status
         where (p.txn_id, p.amount_cents, p.status)
           is distinct from (excluded.txn_id, excluded.amount_cents, excluded.status)",
    ));
    bind_payments(query, rows).execute(tx).await.map(|done| done.rows_affected())
}
