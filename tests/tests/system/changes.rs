//! What the tables hold, and what differs between two looks at them: what a dry run must tell.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};
use sqlx::PgPool;

/// Columns by table and key.
pub(crate) type Rows = BTreeMap<(String, String), Map<String, Value>>;

/// Every row, every open discrepancy, and the balances of every subject of the ledger by currency.
pub(crate) async fn rows(pool: &PgPool) -> Rows {
    let rows: Vec<(String, String, Value)> = sqlx::query_as(
        "select 'pay.txn', txn_id, to_jsonb(t) - 'updated_at' from pay.txn as t
         union all select 'pay.refund', refund_id, to_jsonb(t) - 'updated_at' from pay.refund as t
         union all select 'pay.dispute', dispute_id, to_jsonb(t) - 'updated_at'
           from pay.dispute as t
         union all select 'pay.payout', payout_id, to_jsonb(t) - 'updated_at' from pay.payout as t
         union all select 'pay.invoice', invoice_id, to_jsonb(t) - 'updated_at'
           from pay.invoice as t
         union all select 'pay.invoice_payment', invoice_id || ' ' || stripe_payment, to_jsonb(t)
           from pay.invoice_payment as t
         union all select 'acc.provider_connect', user_id, to_jsonb(t) - 'updated_at'
           from acc.provider_connect as t
         union all select 'pay.discrepancy', concat_ws(' ', kind, nullif(account, ''), object_id),
           to_jsonb(t) - 'first_seen' - 'last_seen' - 'resolved_at'
           from pay.discrepancy as t where resolved_at is null
         union all select 'pay.ledger_posting',
           concat_ws(' ', subject_kind, nullif(account, ''), subject_id, currency),
           jsonb_object_agg(rtrim(ledger_account || ' ' || party), cents)
           from (select subject_kind, account, subject_id, currency, ledger_account, party,
               sum(amount_cents)::bigint as cents
             from pay.ledger_entry join pay.ledger_posting using (entry_id)
             group by 1, 2, 3, 4, 5, 6 having sum(amount_cents) <> 0) as balance
           group by subject_kind, account, subject_id, currency",
    )
    .fetch_all(pool)
    .await
    .unwrap();
    let columns = |row: Value| row.as_object().unwrap().clone();
    rows.into_iter().map(|(table, id, row)| ((table, id), columns(row))).collect()
}

/// What a dry run's `changes` should be, in the order of tables and keys.
pub(crate) fn changes(before: &Rows, after: &Rows) -> Vec<Value> {
    let places: BTreeSet<&(String, String)> = before.keys().chain(after.keys()).collect();
    let mut changes = Vec::new();
    for place in places {
        let (old, new) = (before.get(place), after.get(place));
        let kind = match (old, new) {
            (None, _) => "new",
            (_, None) => "gone",
            _ => "changed",
        };
        let names: BTreeSet<&String> = old.into_iter().chain(new).flat_map(Map::keys).collect();
        // Tables have their columns always; a balance without a line is 0 there.
        let value = |row: Option<&Map<String, Value>>, name: &String| {
            row.map_or(Value::Null, |row| row.get(name).cloned().unwrap_or_else(|| json!(0)))
        };
        let columns: Map<String, Value> = names
            .into_iter()
            .map(|name| (name.clone(), json!([value(old, name), value(new, name)])))
            .filter(|(_, both)| both[0] != both[1])
            .collect();
        if !columns.is_empty() {
            let (table, id) = place;
            changes.push(json!({"table": table, "id": id, "change": kind, "columns": columns}));
        }
    }
    changes
}
