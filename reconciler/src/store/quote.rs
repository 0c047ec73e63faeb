//! `pay.quote`, which is only read, and the stored payments of a quote.

use std::collections::BTreeSet;

use domain::quote::{Quote, Quotes, UNQUOTED};
use domain::settlement::Sibling;
use sqlx::{PgConnection, Row as _};

use super::column;

/// The quotes of these ids and orders.
pub(super) async fn read(
    tx: &mut PgConnection,
    ids: &BTreeSet<String>,
    orders: &BTreeSet<String>,
) -> sqlx::Result<Quotes> {
    if ids.is_empty() && orders.is_empty() {
        return Ok(Quotes::default());
    }
    let rows = sqlx::query(
        // A longer name could not be a party of the ledger's index.
        "select quote_id, order_id, left(provider_id, 500) as provider_id, upper(currency) as currency, platform_fee_cents,
           tax_cents, total_cents
         from pay.quote where quote_id = any($1) or order_id = any($2)",
    )
    .bind(column(ids, String::as_str))
    .bind(column(orders, String::as_str))
    .fetch_all(tx)
    .await?;
    rows.iter()
        .map(|row| {
            Ok(Quote {
                quote_id: row.try_get("quote_id")?,
                order_id: row.try_get("order_id")?,
                provider_id: row.try_get("provider_id")?,
                currency: row.try_get("currency")?,
                platform_fee_cents: row.try_get("platform_fee_cents")?,
                tax_cents: row.try_get("tax_cents")?,
                total_cents: row.try_get("total_cents")?,
            })
        })
        .collect()
}

/// The quotes that these payments have in their stored rows.
pub(super) async fn stored(tx: &mut PgConnection, txns: &[&str]) -> sqlx::Result<BTreeSet<String>> {
    let ids: Vec<String> = sqlx::query_scalar(
        "select distinct quote_id from pay.txn where txn_id = any($1) and quote_id <> $2",
    )
    .bind(txns)
    .bind(UNQUOTED)
    .fetch_all(tx)
    .await?;
    Ok(ids.into_iter().collect())
}

/// Quotes and orders of the payments that these Stripe ids name: a guess at what to lock.
pub(super) async fn hints(
    connection: &mut PgConnection,
    txns: &[String],
) -> sqlx::Result<Vec<(String, Option<String>)>> {
    sqlx::query_as(
        "select quote_id, order_id from pay.txn
         where txn_id = any($1) and (quote_id <> $2 or order_id is not null)",
    )
    .bind(txns)
    .bind(UNQUOTED)
    .fetch_all(connection)
    .await
}

/// The other stored payments of these quotes.
pub(super) async fn siblings(
    tx: &mut PgConnection,
    quotes: &[&str],
    txns: &[&str],
) -> sqlx::Result<Vec<Sibling>> {
    if quotes.is_empty() {
        return Ok(Vec::new());
    }
    let rows = sqlx::query(
        "select txn_id, coalesce(stripe_pi, stripe_ch) as name, account, quote_id, provider_id,
           currency, is_direct, kept_cents, application_fee_cents, fee_cents, tax_cents,
           extract(epoch from created_at)::bigint as created_at, is_misfit
         from pay.txn where quote_id = any($1) and txn_id <> all($2)",
    )
    .bind(quotes)
    .bind(txns)
    .fetch_all(tx)
    .await?;
    rows.iter()
        .map(|row| {
            Ok(Sibling {
                txn_id: row.try_get("txn_id")?,
                name: row.try_get("name")?,
                account: row.try_get("account")?,
                quote_id: row.try_get("quote_id")?,
                provider_id: row.try_get("provider_id")?,
                currency: row.try_get("currency")?,
                is_direct: row.try_get("is_direct")?,
                kept_cents: row.try_get("kept_cents")?,
                application_fee_cents: row.try_get("application_fee_cents")?,
                fee_cents: row.try_get("fee_cents")?,
                tax_cents: row.try_get("tax_cents")?,
                created_at: row.try_get("created_at")?,
                is_misfit: row.try_get("is_misfit")?,
            })
        })
        .collect()
}

/// Writes fee and tax of payments whose part changed with another payment of their quote.
pub(super) async fn resettle(tx: &mut PgConnection, rows: &[Sibling]) -> sqlx::Result<u64> {
    if rows.is_empty() {
        return Ok(0);
    }
    sqlx::query(
        "update pay.txn as t set fee_cents = n.fee_cents, tax_cents = n.tax_cents,
           updated_at = now()
         from unnest($1::text[], $2::bigint[], $3::bigint[]) as n(txn_id, fee_cents, tax_cents)
         where t.txn_id = n.txn_id",
    )
    .bind(column(rows, |row| row.txn_id.as_str()))
    .bind(column(rows, |row| row.fee_cents))
    .bind(column(rows, |row| row.tax_cents))
    .execute(tx)
    .await
    .map(|done| done.rows_affected())
}
