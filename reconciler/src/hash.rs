//! The hash of the whole state, so that two runs can be compared.
//!
//! docs/HASH.md lists every column. Each row's digest is the SHA-256 of a JSON array of its
//! columns; a part is the sum of its rows' digests, so neither order nor physical layout counts.

use anyhow::Context as _;
use domain::set_hash::SetHash;
use futures::TryStreamExt as _;
use sqlx::{Connection as _, PgConnection, Row as _};

/// The queries of each part. Each row is one JSON array that begins with the table's name.
const PARTS: [(&str, &[&str]); 5] = [
    (
        "events",
        &["
        select jsonb_build_array('event', event_id, account, extract(epoch from created)::bigint,
          type, livemode, encode(data_hash, 'hex'),
          case when verdict in ('variant', 'stale') then 'applied' else verdict end)
        from pay.event"],
    ),
    (
        "objects",
        &["
        select jsonb_build_array('object', account, object_id, kind,
          extract(epoch from created)::bigint, event_id, livemode, connected, deleted, tied,
          snapshot,
          (select jsonb_agg(link order by link collate \"C\") from unnest(links) as link),
          extract(epoch from authorized_at)::bigint, extract(epoch from captured_at)::bigint,
          extract(epoch from failed_at)::bigint)
        from pay.stripe_object where kind is not null"],
    ),
    (
        "rows",
        &[
            "
        select jsonb_build_array('txn', txn_id, account, livemode, quote_id, order_id, provider_id,
          stripe_pi, stripe_ch, method, stripe_method, status, stripe_status,
          extract(epoch from authorized_at)::bigint, extract(epoch from captured_at)::bigint,
          amount_cents, captured_cents, refunded_cents, fee_cents, tax_cents, currency, meta,
          extract(epoch from created_at)::bigint, destination_account, is_direct, kept_cents,
          application_fee_cents, is_misfit)
        from pay.txn",
            "
        select jsonb_build_array('refund', refund_id, txn_id, account, stripe_ref, amount_cents,
          currency, reason, status, stripe_status, created_by,
          extract(epoch from created_at)::bigint)
        from pay.refund",
            "
        select jsonb_build_array('dispute', dispute_id, txn_id, account, stripe_dispute,
          amount_cents, currency, reason, status, stripe_status,
          extract(epoch from due_by)::bigint, extract(epoch from created_at)::bigint)
        from pay.dispute",
            "
        select jsonb_build_array('payout', payout_id, account, livemode, destination_account,
          provider_id, stripe_transfer, stripe_payout, currency, gross_cents, fee_cents, net_cents,
          status, stripe_status, scheduled_on, extract(epoch from created_at)::bigint)
        from pay.payout",
            "
        select jsonb_build_array('invoice', invoice_id, account, livemode, stripe_invoice, number,
          customer, status, stripe_status, currency, amount_due_cents, amount_paid_cents,
          amount_remaining_cents, total_cents, extract(epoch from due_at)::bigint,
          extract(epoch from created_at)::bigint)
        from pay.invoice",
            "
        select jsonb_build_array('invoice_payment', invoice_id, stripe_payment, txn_id,
          amount_cents, status)
        from pay.invoice_payment",
            "
        select jsonb_build_array('provider', user_id, stripe_acct, status, requirements)
        from acc.provider_connect",
        ],
    ),
    (
        "ledger",
        &["
        select jsonb_build_array('balance', e.account, e.subject_kind, e.subject_id, e.currency,
          p.ledger_account, p.party, sum(p.amount_cents))
        from pay.ledger_entry as e join pay.ledger_posting as p using (entry_id)
        group by e.account, e.subject_kind, e.subject_id, e.currency, p.ledger_account, p.party
        having sum(p.amount_cents) <> 0"],
    ),
    (
        "facts",
        &["
        select jsonb_build_array('fact', fact_id, type, account, subject, object_id,
          extract(epoch from created)::bigint, event_id, livemode, data, held)
        from pay.fact"],
    ),
];

/// The hash of each part, and at last of all of them together, from one snapshot of the database.
pub async fn of(connection: &mut PgConnection) -> anyhow::Result<Vec<(&'static str, SetHash)>> {
    let mut all = SetHash::default();
    let mut parts: Vec<(&str, SetHash)> = Vec::new();
    let mut tx = connection.begin().await?;
    sqlx::query("set transaction isolation level repeatable read read only")
        .execute(&mut *tx)
        .await?;
    for (name, queries) in PARTS {
        let mut part = SetHash::default();
        for query in queries {
            part.merge(&sum_rows(&mut tx, query).await.with_context(|| format!("hashing {name}"))?);
        }
        all.merge(&part);
        parts.push((name, part));
    }
    tx.commit().await?;
    parts.push(("all", all));
    Ok(parts)
}

/// Sums the rows' digests as they stream in: memory stays flat whatever the table's size.
async fn sum_rows(connection: &mut PgConnection, query: &'static str) -> anyhow::Result<SetHash> {
    let sql = format!("select sha256(convert_to(row::text, 'UTF8')) from ({query}) as rows(row)");
    let mut hash = SetHash::default();
    let mut rows = sqlx::query(sqlx::AssertSqlSafe(sql)).fetch(connection);
    while let Some(row) = rows.try_next().await? {
        let digest: Vec<u8> = row.try_get(0)?;
        hash.add(digest.as_slice().try_into().context("a digest has 32 bytes")?);
    }
    Ok(hash)
}
