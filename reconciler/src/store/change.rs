//! What a transaction changes in the rows that other systems read.

use std::collections::{BTreeMap, BTreeSet};

use domain::quote::UNQUOTED;
use serde_json::{Map, Value};
use sqlx::{PgConnection, Row as _};

use super::column;

/// Rows by table and id.
pub(super) type Rows = BTreeMap<(String, String), Map<String, Value>>;

/// A row that is made, changed or taken away.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Change {
    /// The table, with its schema.
    pub(crate) table: String,
    /// The row's primary key.
    pub(crate) id: String,
    /// `new`, `changed` or `gone`.
    pub(crate) kind: &'static str,
    /// What the columns that differ hold before and after. Null where there is no row.
    pub(crate) columns: BTreeMap<String, [Value; 2]>,
}

/// Adds to these Stripe ids what changes with them: the payments of the same quotes, and what depends
/// on the same accounts.
pub(super) async fn spread(
    connection: &mut PgConnection,
    ids: &mut BTreeSet<String>,
) -> sqlx::Result<()> {
    let more: Vec<String> = sqlx::query_scalar(
        "select coalesce(t.stripe_pi, t.stripe_ch) from pay.txn as t
         join (select distinct quote_id from pay.txn
           where (stripe_pi = any($1) or stripe_ch = any($1)) and quote_id <> $2) as q
           using (quote_id)
         union
         select object_id from pay.stripe_object where depends_on = any($1)",
    )
    .bind(column(&*ids, String::as_str))
    .bind(UNQUOTED)
    .fetch_all(connection)
    .await?;
    ids.extend(more);
    Ok(())
}

/// The rows about these Stripe ids, `updated_at` left out.
pub(super) async fn rows(
    connection: &mut PgConnection,
    ids: &BTreeSet<String>,
) -> sqlx::Result<Rows> {
    let rows = sqlx::query(
        "select 'pay.txn', txn_id, to_jsonb(t) - 'updated_at' from pay.txn as t
         where stripe_pi = any($1) or stripe_ch = any($1)
         union all
         select 'pay.refund', refund_id, to_jsonb(t) - 'updated_at' from pay.refund as t
         where stripe_ref = any($1)
         union all
         select 'pay.dispute', dispute_id, to_jsonb(t) - 'updated_at' from pay.dispute as t
         where stripe_dispute = any($1)
         union all
         select 'pay.payout', payout_id, to_jsonb(t) - 'updated_at' from pay.payout as t
         where stripe_transfer = any($1) or stripe_payout = any($1)
         union all
         select 'pay.invoice', invoice_id, to_jsonb(t) - 'updated_at' from pay.invoice as t
         where stripe_invoice = any($1)
         union all
         select 'acc.provider_connect', user_id, to_jsonb(t) - 'updated_at'
         from acc.provider_connect as t where stripe_acct = any($1)",
    )
    .bind(column(ids, String::as_str))
    .fetch_all(connection)
    .await?;
    rows.iter()
        .map(|row| {
            let columns: Value = row.try_get(2)?;
            let columns = columns.as_object().cloned().unwrap_or_default();
            Ok(((row.try_get(0)?, row.try_get(1)?), columns))
        })
        .collect()
}

/// What differs, by table and id.
pub(super) fn between(before: &Rows, after: &Rows) -> Vec<Change> {
    let places: BTreeSet<&(String, String)> = before.keys().chain(after.keys()).collect();
    let change = |place: &(String, String)| {
        let (old, new) = (before.get(place), after.get(place));
        let kind = match (old, new) {
            (None, _) => "new",
            (_, None) => "gone",
            _ => "changed",
        };
        let names: BTreeSet<&String> = old.into_iter().chain(new).flat_map(Map::keys).collect();
        let value = |row: Option<&Map<String, Value>>, name: &str| {
            row.and_then(|row| row.get(name)).cloned().unwrap_or_default()
        };
        let columns: BTreeMap<String, [Value; 2]> = names
            .into_iter()
            .map(|name| (name.clone(), [value(old, name), value(new, name)]))
            .filter(|(_, [before, after])| before != after)
            .collect();
        let (table, id) = place.clone();
        (!columns.is_empty()).then_some(Change { table, id, kind, columns })
    };
    places.into_iter().filter_map(change).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn rows(rows: &[(&str, Value)]) -> Rows {
        let row = |(id, columns): &(&str, Value)| {
            (("t".to_owned(), (*id).to_owned()), columns.as_object().unwrap().clone())
        };
        rows.iter().map(row).collect()
    }

    #[test]
    fn only_what_differs_is_told() {
        let before = rows(&[
            ("same", json!({"a": 1})),
            ("changed", json!({"a": 1, "b": null, "c": "x"})),
            ("gone", json!({"a": 1})),
        ]);
        let after = rows(&[
            ("same", json!({"a": 1})),
            ("changed", json!({"a": 2, "b": null, "c": "x"})),
            ("new", json!({"a": 1, "b": null})),
        ]);
        let changes = between(&before, &after);
        let told: Vec<(&str, &str, Value)> =
            changes.iter().map(|it| (&*it.id, it.kind, json!(it.columns))).collect();
        assert_eq!(
            told,
            [
                ("changed", "changed", json!({"a": [1, 2]})),
                ("gone", "gone", json!({"a": [1, null]})),
                ("new", "new", json!({"a": [null, 1]})),
            ]
        );
    }
}
