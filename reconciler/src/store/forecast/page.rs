//! What a page of aggregates comes to: every row and balance that it has a say in, before and after.

use std::collections::{BTreeMap, BTreeSet};

use domain::ledger::{Balances, Subject};
use domain::object::ObjectKey;
use domain::quote::Misfit;
use domain::row::Rows;
use domain::settlement::Sibling;
use serde_json::{Map, Value, json};
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Row as _};

use super::super::derived::Derived;
use super::super::{column, invoice, ledger, payout, row};
use super::kept;
use super::overlay::Images;
use super::view::View;

/// The table that the ledger's balances are changes of.
pub(super) const BALANCES: &str = "pay.ledger_posting";

/// Columns by table and key.
type Stored = BTreeMap<(String, String), Map<String, Value>>;

/// A page of aggregates, derived.
pub(super) struct Page {
    pub(super) members: Vec<ObjectKey>,
    /// For each object with conditional facts: whether they are held.
    pub(super) held: Vec<(ObjectKey, bool)>,
    /// By table and key; those that stay the same too.
    pub(super) rows: BTreeMap<(String, String), Images>,
    /// By id; `None` where one goes.
    pub(super) payments: BTreeMap<String, Option<Sibling>>,
    /// Of the ledger: each has the balances that `rows` say, and no others.
    pub(super) subjects: Vec<Subject>,
}

impl Page {
    /// What these aggregates come to, against the snapshot and what is known beyond it.
    pub(super) async fn of(view: &mut View<'_>, derived: &Derived) -> sqlx::Result<Self> {
        let mut before = stored(view.tx, derived).await?;
        let mut after = to_be(view.tx, &derived.rows).await?;
        let mut payments: BTreeMap<String, Option<Sibling>> = derived
            .rows
            .txns
            .iter()
            .map(|txn| (txn.txn_id.clone(), Some(Sibling::of(txn))))
            .collect();
        let gone = derived.rows.absent.txns.iter();
        let gone = gone.filter(|txn| before.contains_key(&("pay.txn".to_owned(), (*txn).clone())));
        payments.extend(gone.map(|txn| (txn.clone(), None)));
        for payment in &derived.resettled {
            let place = ("pay.txn".to_owned(), payment.txn_id.clone());
            let known = view.overlay.images(&place.0, &place.1).map_err(kept)?;
            let [_, row] = known.unwrap_or_else(|| [None, before.get(&place).cloned()]);
            let mut row = row.unwrap_or_default();
            row.insert("fee_cents".to_owned(), payment.fee_cents.into());
            row.insert("tax_cents".to_owned(), payment.tax_cents.into());
            after.insert(place, row);
            payments.insert(payment.txn_id.clone(), Some(payment.clone()));
        }
        let places: BTreeSet<(String, String)> =
            before.keys().chain(after.keys()).cloned().collect();
        let mut rows: BTreeMap<(String, String), Images> = places
            .into_iter()
            .map(|place| {
                let images = [before.remove(&place), after.remove(&place)];
                (place, images)
            })
            .collect();
        let subjects = balances(view, derived, &mut rows).await?;
        let (members, held) = (derived.members.clone(), derived.rows.held.clone());
        Ok(Self { members, held, rows, payments, subjects })
    }
}

/// Adds the balances of every subject that is given a target. Returns the subjects.
async fn balances(
    view: &mut View<'_>,
    derived: &Derived,
    rows: &mut BTreeMap<(String, String), Images>,
) -> sqlx::Result<Vec<Subject>> {
    let members: Vec<&ObjectKey> = derived.members.iter().collect();
    let ids = ledger::concerned(&derived.rows.targets, &members);
    let posted = ledger::posted(view.tx, &ids).await?;
    let given = view.overlay.subjects(&ids).map_err(kept)?;
    let aims = ledger::aims(&derived.rows.targets, &members, posted.keys().chain(&given));
    let nothing = Balances::new();
    for (subject, target) in &aims {
        let before = posted.get(subject).unwrap_or(&nothing);
        let lines = before.keys().chain(target.balances.keys());
        let currencies: BTreeSet<&str> = lines.map(|line| &*line.currency).collect();
        for currency in currencies {
            let place = (BALANCES.to_owned(), format!("{} {currency}", name_of(subject)));
            rows.insert(place, lines_of(currency, before, &target.balances));
        }
    }
    Ok(aims.into_keys().collect())
}

/// What names a subject in the key of its balances: `KIND ACCOUNT ID`, the account where known.
pub(super) fn name_of(subject: &Subject) -> String {
    let parts = [subject.kind.as_str(), &subject.account, &subject.id];
    parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ")
}

/// A subject's balances in one currency, by account of the ledger and party.
fn lines_of(currency: &str, before: &Balances, after: &Balances) -> Images {
    let lines = || before.keys().chain(after.keys()).filter(|line| line.currency == currency);
    [before, after].map(|balances| {
        let is_posted = balances.keys().any(|line| line.currency == currency);
        let sum = |line| json!(balances.get(line).copied().unwrap_or_default());
        is_posted.then(|| {
            lines()
                .map(|line| (format!("{} {}", line.account, line.party), sum(line)))
                .map(|(name, sum)| (name.trim_end().to_owned(), sum))
                .collect()
        })
    })
}

/// The stored rows that these rows replace, and those that must not stand.
async fn stored(tx: &mut PgConnection, derived: &Derived) -> sqlx::Result<Stored> {
    let Rows { txns, refunds, disputes, payouts, invoices, absent, .. } = &derived.rows;
    let mut txns: Vec<&str> = column(txns, |row| row.txn_id.as_str());
    txns.extend(column(&derived.resettled, |row| row.txn_id.as_str()));
    let all = |present: Vec<&'_ str>, absent: &[String]| -> Vec<String> {
        present.into_iter().map(str::to_owned).chain(absent.iter().cloned()).collect()
    };
    let rows = sqlx::query(
        "select 'pay.txn', txn_id, to_jsonb(t) - 'updated_at' from pay.txn as t
         where txn_id = any($1)
         union all
         select 'pay.refund', refund_id, to_jsonb(t) - 'updated_at' from pay.refund as t
         where refund_id = any($2)
         union all
         select 'pay.dispute', dispute_id, to_jsonb(t) - 'updated_at' from pay.dispute as t
         where dispute_id = any($3)
         union all
         select 'pay.payout', payout_id, to_jsonb(t) - 'updated_at' from pay.payout as t
         where payout_id = any($4)
         union all
         select 'pay.invoice', invoice_id, to_jsonb(t) - 'updated_at' from pay.invoice as t
         where invoice_id = any($5)
         union all
         select 'pay.invoice_payment', invoice_id || ' ' || stripe_payment, to_jsonb(t)
         from pay.invoice_payment as t where invoice_id = any($5)
         union all
         select 'acc.provider_connect', user_id, to_jsonb(t) - 'updated_at'
         from acc.provider_connect as t where stripe_acct = any($6)
         union all
         select 'pay.discrepancy', concat_ws(' ', kind, nullif(account, ''), object_id),
           jsonb_build_object('kind', kind, 'account', account, 'object_id', object_id,
             'ours', ours, 'theirs', theirs)
         from pay.discrepancy
         join unnest($7::text[], $8::text[]) as n(account, object_id) using (account, object_id)
         where resolved_at is null and kind = any($9)",
    )
    .bind(all(txns, &absent.txns))
    .bind(all(column(refunds, |row| row.refund_id.as_str()), &absent.refunds))
    .bind(all(column(disputes, |row| row.dispute_id.as_str()), &absent.disputes))
    .bind(all(column(payouts, |row| row.payout_id.as_str()), &absent.payouts))
    .bind(all(column(invoices, |row| row.invoice_id.as_str()), &absent.invoices))
    .bind(column(&derived.rows.providers, |row| row.stripe_acct.as_str()))
    .bind(column(&derived.members, |key| key.account.as_str()))
    .bind(column(&derived.members, |key| key.id.as_str()))
    .bind(Misfit::ALL.map(Misfit::as_str))
    .fetch_all(tx)
    .await?;
    rows.iter().map(stored_of_row).collect()
}

/// The rows as they will be stored.
async fn to_be(tx: &mut PgConnection, rows: &Rows) -> sqlx::Result<Stored> {
    let mut images = row::images(tx, rows).await?;
    images.extend(payout::images(tx, rows).await?);
    images.extend(invoice::images(tx, rows).await?);
    let images = images.iter().map(stored_of_row);
    let discrepancies = rows.discrepancies.iter().map(|row| {
        let parts = [row.kind, &row.account, &row.object_id];
        let key: Vec<&str> = parts.into_iter().filter(|part| !part.is_empty()).collect();
        let columns = [
            ("kind", row.kind),
            ("account", &row.account),
            ("object_id", &row.object_id),
            ("ours", &row.ours),
            ("theirs", &row.theirs),
        ];
        let columns = columns.into_iter().map(|(name, value)| (name.to_owned(), value.into()));
        Ok((("pay.discrepancy".to_owned(), key.join(" ")), columns.collect()))
    });
    images.chain(discrepancies).collect()
}

fn stored_of_row(row: &PgRow) -> sqlx::Result<((String, String), Map<String, Value>)> {
    let columns: Value = row.try_get(2)?;
    Ok(((row.try_get(0)?, row.try_get(1)?), columns.as_object().cloned().unwrap_or_default()))
}
