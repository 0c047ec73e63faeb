//! What changes in the rows that other systems read, and in the ledger.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

/// A row that is made, changed or taken away; or a balance of the ledger: what the postings of one
/// subject in one currency add up to.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// The table, with its schema; of a balance, `pay.ledger_posting`.
    pub table: String,
    /// The row's primary key, its columns parted by spaces. Of a balance: kind, Stripe account where
    /// known and id of the subject, and the currency.
    pub id: String,
    /// `new`, `changed` or `gone`.
    pub kind: &'static str,
    /// What the columns that differ hold before and after. Null where there is no row. A balance has
    /// the ledger's accounts for columns, each with its party if it has one; minor units.
    pub columns: BTreeMap<String, [Value; 2]>,
}

impl Change {
    /// What differs between a row before and after; `None` where there is no row, or none differs.
    pub(crate) fn between(
        table: String,
        id: String,
        before: Option<Map<String, Value>>,
        after: Option<Map<String, Value>>,
    ) -> Option<Self> {
        let kind = match (&before, &after) {
            (None, _) => "new",
            (_, None) => "gone",
            _ => "changed",
        };
        let (mut before, mut after) = (before.unwrap_or_default(), after.unwrap_or_default());
        let names: BTreeSet<String> = before.keys().chain(after.keys()).cloned().collect();
        let columns: BTreeMap<String, [Value; 2]> = names
            .into_iter()
            .map(|name| {
                let both =
                    [&mut before, &mut after].map(|row| row.remove(&name).unwrap_or_default());
                (name, both)
            })
            .filter(|(_, [before, after])| before != after)
            .collect();
        (!columns.is_empty()).then_some(Self { table, id, kind, columns })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_what_differs_is_told() {
        let row = |columns: Value| columns.as_object().cloned();
        let told = |before: Value, after: Value| {
            let change = Change::between("t".into(), "1".into(), row(before), row(after));
            change.map(|it| (it.kind, json!(it.columns)))
        };
        let old = json!({"a": 1, "b": null, "c": "x"});
        assert_eq!(told(old.clone(), old.clone()), None);
        assert_eq!(told(Value::Null, Value::Null), None);
        let new = json!({"a": 2, "b": null, "c": "x"});
        assert_eq!(told(old.clone(), new.clone()), Some(("changed", json!({"a": [1, 2]}))));
        let gone = json!({"a": [1, null], "c": ["x", null]});
        assert_eq!(told(old, Value::Null), Some(("gone", gone)));
        let made = json!({"a": [null, 2], "c": [null, "x"]});
        assert_eq!(told(Value::Null, new), Some(("new", made)));
    }
}
