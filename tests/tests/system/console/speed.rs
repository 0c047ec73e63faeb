//! With a hundred thousand rows, lists and searches go through indexes.

use harness::stack::eventually;
use harness::system::System;
use sqlx::AssertSqlSafe;

use super::{Console, DEADLINE, tokens};
use crate::system;

/// Rows of each kind.
const ROWS: i64 = 100_000;

/// Rows as the projector leaves them, without their events.
async fn fill(system: &System) {
    for statement in [
        // Ids as `domain::id` derives them.
        "insert into pay.txn (txn_id, quote_id, stripe_ch, method, status, amount_cents,
           captured_cents, currency, provider_id, order_id, created_at)
         select 'txn_' || left(encode(sha256('\\x00' || convert_to('ch_' || n, 'UTF8') || '\\x00'),
             'hex'), 32), 'qte_' || n, 'ch_' || n, 'card', 'captured', n, n, 'USD',
           'usr_' || n % 1000, 'ord_' || n, now() - n * interval '1 minute'
         from generate_series(1, $ROWS) as n",
        "insert into pay.refund (refund_id, txn_id, stripe_ref, amount_cents, reason, status,
           created_by, created_at)
         select 'rfd_' || n, txn_id, 're_' || n, n, 'unspecified', 'succeeded', 'system',
           now() - n * interval '1 minute'
         from generate_series(1, $ROWS) as n join pay.txn on stripe_ch = 'ch_' || n",
        "insert into pay.payout (payout_id, provider_id, stripe_payout, gross_cents, net_cents, status,
           scheduled_on, created_at)
         select 'pot_' || n, 'usr_' || n % 1000, 'po_' || n, n, n, 'paid', now(),
           now() - n * interval '1 minute'
         from generate_series(1, $ROWS) as n",
        "insert into pay.invoice (invoice_id, stripe_invoice, customer, status, currency,
           amount_due_cents, amount_paid_cents, amount_remaining_cents, total_cents, created_at)
         select 'inv_' || n, 'in_' || n, 'cus_' || n % 5000, 'paid', 'USD', n, n, 0, n,
           now() - n * interval '1 minute'
         from generate_series(1, $ROWS) as n",
        "insert into pay.stripe_object (account, object_id, kind, ordering, created, event_id, livemode, snapshot,
           links)
         select '', 'ch_' || n, 'charge', '\\x00', now(), 'evt_' || n, false, jsonb_build_object(
             'customer', 'cus_' || n % 5000, 'amount', n, 'currency', 'usd',
             'payment_method_details', jsonb_build_object('card', jsonb_build_object(
               'last4', lpad((n % 10000)::text, 4, '0')))), '{}'
         from generate_series(1, $ROWS) as n",
        "analyze",
    ] {
        let statement = statement.replace("$ROWS", &ROWS.to_string());
        sqlx::query(AssertSqlSafe(statement)).execute(&system.pool).await.unwrap();
    }
}

/// How often each table was read from end to end, and how often by an index.
async fn scans(system: &System, table: &str) -> (i64, i64) {
    let query = "select seq_scan, coalesce(idx_scan, 0) from pg_stat_user_tables
        where schemaname = 'pay' and relname = $1";
    sqlx::query_as(query).bind(table).fetch_one(&system.pool).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_thousand_rows_are_read_by_index() {
    let system = system("console_speed").await;
    fill(&system).await;
    let (name, value) = tokens();
    let console = Console::start(&system, &[(name, &value)]).await;
    let tables = ["txn", "refund", "payout", "invoice", "stripe_object"];
    let mut before = Vec::new();
    for table in tables {
        before.push(scans(&system, table).await);
    }
    for (path, expected) in [
        ("/payments", "/story/ch_50\""),
        ("/payments?status=captured&currency=USD", "/story/ch_50\""),
        ("/payments?provider=usr_7", "/story/ch_7\""),
        ("/refunds?status=succeeded", "/story/re_50\""),
        ("/payouts?provider=usr_7&status=paid", "/story/po_1007\""),
        ("/invoices?customer=cus_7", "/story/in_5007\""),
        ("/story/ch_77777", "777.77"),
        ("/story/ord_77777", "/story/ch_77777\""),
        ("/story/qte_77777", "/story/ch_77777\""),
        ("/search?q=777.77", "/story/ch_77777\""),
        ("/search?q=0042", "/story/ch_42\""),
        ("/search?q=cus_42", "/story/ch_42\""),
    ] {
        let page = console.page(path).await;
        assert!(page.contains(expected), "{path}: no {expected}");
    }
    // A page that is far from the first takes no more than that.
    let at = sqlx::query_scalar::<_, String>(
        "select (extract(epoch from created_at) * 1000000)::bigint || ',' || txn_id from pay.txn
         where stripe_ch = 'ch_90000'",
    );
    let at = at.fetch_one(&system.pool).await.unwrap();
    let page = console.page(&format!("/payments?after={at}")).await;
    assert!(page.contains("/story/ch_90001\"") && !page.contains("/story/ch_90000\""));

    for (table, (whole, indexed)) in tables.into_iter().zip(before) {
        // The server counts a transaction's scans some time after it.
        eventually(DEADLINE, async || {
            let now = scans(&system, table).await;
            Ok((now.1 == indexed).then(|| format!("nothing was read of {table} by index")))
        })
        .await
        .unwrap();
        assert_eq!(scans(&system, table).await.0, whole, "{table} was read from end to end");
    }
}
