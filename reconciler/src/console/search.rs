//! Search: an id leads to its story; a customer, buyer, card, amount or day to what fits.

use std::sync::Arc;

use askama::Template;
use axum::Extension;
use axum::extract::{Query, State};
use axum::response::{IntoResponse, Redirect, Response};
use domain::currency;
use serde::Deserialize;
use serde_json::Value;
use sqlx::{PgConnection, Postgres, QueryBuilder};
use time::{Date, Duration};

use super::access::Visitor;
use super::cell::{Column, Table};
use super::list::parse_day;
use super::lists::{DISPUTE, INVOICE, PAYMENT, PAYOUT, REFUND};
use super::page::{Frame, html};
use super::problem::Problem;
use super::web::Console;
use crate::story::{Found, Story, query};

/// Longest text that is looked for.
const MAX_LENGTH: usize = 200;

#[derive(Debug, Deserialize)]
pub(super) struct Parameters {
    #[serde(default)]
    q: String,
}

#[derive(Template)]
#[template(path = "search.html")]
struct Page {
    frame: Frame,
    /// Whether the id has a story.
    story: Option<String>,
    groups: Vec<Group>,
    is_address: bool,
}

/// Rows of one kind that fit.
struct Group {
    title: &'static str,
    table: Table,
    /// Whether there are more than are shown.
    is_cut: bool,
}

/// `GET /search`.
pub(super) async fn page(
    State(console): State<Arc<Console>>,
    Extension(visitor): Extension<Visitor>,
    Query(parameters): Query<Parameters>,
) -> Result<Response, Problem> {
    let said = parameters.q.trim();
    if said.len() > MAX_LENGTH {
        return Err(Problem::BadRequest(format!("more than {MAX_LENGTH} characters")));
    }
    let asked = Asked::parse(said);
    let mut tx = console.reader.begin().await?;
    let (mut story, mut groups) = (None, Vec::new());
    if let Some(id) = &asked.id {
        let found = Found::by(&mut tx, id).await?;
        let known = !Story::read(&mut tx, id, &found, false).await?.is_empty();
        story = known.then(|| id.clone());
        groups = by_name(&mut tx, id, console.limits.rows).await?;
    }
    groups.extend(by_value(&mut tx, &asked, console.limits.rows).await?);
    groups.retain(|group| !group.table.rows.is_empty());
    if let (Some(id), true) = (&story, groups.is_empty()) {
        return Ok(Redirect::to(&super::story::address(id)).into_response());
    }
    let mut frame = Frame::new("Search", "", &visitor);
    said.clone_into(&mut frame.search);
    let is_address = said.contains('@');
    Ok(html(&Page { frame, story, groups, is_address })?.into_response())
}

/// What is looked for.
#[derive(Debug, Default, PartialEq, Eq)]
struct Asked {
    id: Option<String>,
    last4: Option<String>,
    amount: Option<String>,
    currency: Option<String>,
    day: Option<Date>,
}

impl Asked {
    /// A word alone that is nothing else is an id. Four digits are a card's last; with another amount
    /// beside them only that.
    fn parse(said: &str) -> Self {
        let mut asked = Self::default();
        for word in said.split_whitespace() {
            let number = word.replace(',', "");
            let is_number = number.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
                && number.bytes().any(|byte| byte.is_ascii_digit());
            let is_code = word.len() == 3 && word.bytes().all(|byte| byte.is_ascii_alphabetic());
            if let Some(day) = parse_day(word) {
                asked.day = Some(day);
            } else if is_number && word.len() == 4 && word.bytes().all(|it| it.is_ascii_digit()) {
                asked.last4 = Some(word.to_owned());
            } else if is_number {
                asked.amount = Some(number);
            } else if is_code {
                asked.currency = Some(word.to_uppercase());
            } else {
                asked.id = Some(word.to_owned());
            }
        }
        if asked.amount.is_none() && asked.currency.is_some() {
            asked.amount = asked.last4.take();
        }
        // A word that belongs to nothing is a name: of an order, a provider.
        if asked.amount.is_none() && asked.id.is_none() && !said.contains(char::is_whitespace) {
            let name = asked.currency.take().map(|_| said.to_owned());
            asked.id = name.or_else(|| asked.last4.clone());
        }
        asked
    }

    /// Minor units that the amount is, by the decimals that a currency may have.
    fn minor_units(&self) -> Vec<(i64, usize)> {
        let Some(amount) = &self.amount else { return Vec::new() };
        let decimals: &[usize] = match &self.currency {
            Some(code) => &[currency::decimals(code)],
            None => &[0, 2, 3],
        };
        let minor = |decimals: &usize| Some((currency::minor_units(amount, *decimals)?, *decimals));
        decimals.iter().filter_map(minor).collect()
    }
}

/// What a customer or a buyer has to do with.
async fn by_name(tx: &mut PgConnection, name: &str, rows: u16) -> Result<Vec<Group>, Problem> {
    let mut groups = Vec::new();
    let mut payments = select(query::PAYMENT, "pay.txn as t");
    payments.push(" where t.txn_id in (");
    if name.starts_with("cus_") {
        payments.push(format!("{OF_OBJECTS} {CUSTOMER} = ")).push_bind(name.to_owned());
    } else {
        payments
            .push("select txn_id from pay.txn join pay.quote using (quote_id) where buyer_id = ");
        payments.push_bind(name.to_owned());
    }
    payments.push(") order by t.created_at desc, t.txn_id desc");
    groups.push(Group::read(tx, "Payments", &PAYMENT, payments, rows).await?);
    if name.starts_with("cus_") {
        let mut invoices = select(query::INVOICE, "pay.invoice as i");
        invoices.push(" where i.customer = ").push_bind(name.to_owned());
        invoices.push(" order by i.created_at desc, i.invoice_id desc");
        groups.push(Group::read(tx, "Invoices", &INVOICE, invoices, rows).await?);
    }
    Ok(groups)
}

/// Payments by card, amount and day; what else has that amount.
async fn by_value(tx: &mut PgConnection, asked: &Asked, rows: u16) -> Result<Vec<Group>, Problem> {
    let mut groups = Vec::new();
    if asked.last4.is_none() && asked.amount.is_none() && asked.day.is_none() {
        return Ok(groups);
    }
    let mut payments = select(query::PAYMENT, "pay.txn as t");
    payments.push(" where true");
    if let Some(last4) = &asked.last4 {
        payments.push(format!(" and t.txn_id in ({OF_OBJECTS} {LAST4} = "));
        payments.push_bind(last4.clone()).push(")");
    }
    push_value(&mut payments, asked, "t.amount_cents", "t.currency", "t.created_at");
    payments.push(" order by t.created_at desc, t.txn_id desc");
    groups.push(Group::read(tx, "Payments", &PAYMENT, payments, rows).await?);
    if asked.amount.is_none() {
        return Ok(groups);
    }
    let others: [(_, &[Column], _, _, _); 3] = [
        ("Refunds", &REFUND, query::REFUND, "pay.refund", "amount_cents"),
        ("Disputes", &DISPUTE, query::DISPUTE, "pay.dispute", "amount_cents"),
        ("Payouts", &PAYOUT, query::PAYOUT, "pay.payout", "net_cents"),
    ];
    for (title, columns, row, from, amount) in others.into_iter().filter(|_| asked.last4.is_none())
    {
        let mut found = select(row, from);
        found.push(" where true");
        push_value(&mut found, asked, amount, "currency", "created_at");
        found.push(" order by created_at desc");
        groups.push(Group::read(tx, title, columns, found, rows).await?);
    }
    Ok(groups)
}

/// SQL: the payments of intents and charges `o`, to be narrowed.
const OF_OBJECTS: &str = "select p.txn_id from pay.stripe_object as o
    join pay.txn as p on p.account = o.account
      and (p.stripe_ch = o.object_id or p.stripe_pi = any(o.links || o.object_id))
    where";
/// What a snapshot says, and of which kinds, as the indexes of migration 029 have it.
const CUSTOMER: &str = "o.kind in ('charge', 'payment_intent')
    and (case jsonb_typeof(o.snapshot->'customer') when 'string'
      then o.snapshot->>'customer' else o.snapshot->'customer'->>'id' end)";
const LAST4: &str =
    "o.kind = 'charge' and (o.snapshot->'payment_method_details'->'card'->>'last4')";

fn select(row: &str, from: &str) -> QueryBuilder<Postgres> {
    QueryBuilder::new(format!("select {row} from {from}"))
}

fn push_value(
    query: &mut QueryBuilder<Postgres>,
    asked: &Asked,
    amount: &str,
    code: &str,
    time: &str,
) {
    let minor = asked.minor_units();
    if asked.amount.is_some() {
        let units: Vec<i64> = minor.iter().map(|(units, _)| *units).collect();
        query.push(format!(" and {amount} = any(")).push_bind(units).push(")");
    }
    if let Some(currency) = &asked.currency {
        query.push(format!(" and {code} = ")).push_bind(currency.clone());
    } else if asked.amount.is_some() {
        // An amount without a currency is another number of minor units in each.
        query.push(format!(" and {amount} = case when {code} = any("));
        let units =
            |decimals| minor.iter().find(|(_, it)| *it == decimals).map(|(units, _)| *units);
        query.push_bind(&currency::ZERO_DECIMAL[..]).push(") then ").push_bind(units(0));
        query.push(format!(" when {code} = any("));
        query.push_bind(&currency::THREE_DECIMAL[..]).push(") then ").push_bind(units(3));
        query.push(" else ").push_bind(units(2)).push(" end");
    }
    if let Some(day) = asked.day {
        let begin = day.midnight().assume_utc();
        query.push(format!(" and {time} >= ")).push_bind(begin);
        query.push(format!(" and {time} < ")).push_bind(begin + Duration::DAY);
    }
}

impl Group {
    async fn read(
        tx: &mut PgConnection,
        title: &'static str,
        columns: &[Column],
        mut query: QueryBuilder<Postgres>,
        rows: u16,
    ) -> Result<Self, Problem> {
        query.push(" limit ").push_bind(i64::from(rows) + 1);
        let mut found: Vec<Value> = query.build_query_scalar().fetch_all(tx).await?;
        let is_cut = found.len() > usize::from(rows);
        found.truncate(usize::from(rows));
        Ok(Self { title, table: Table::of(title, columns, &found), is_cut })
    }
}

#[cfg(test)]
mod tests {
    use time::macros::date;

    use super::*;

    fn asked(said: &str) -> (Option<String>, Option<String>, Option<String>, Option<String>) {
        let Asked { id, last4, amount, currency, .. } = Asked::parse(said);
        (id, last4, amount, currency)
    }

    #[test]
    fn words_are_what_they_look_like() {
        let some = |said: &str| Some(said.to_owned());
        for (said, expected) in [
            ("pi_3Nx", (some("pi_3Nx"), None, None, None)),
            ("ord-17", (some("ord-17"), None, None, None)),
            ("ABC", (some("ABC"), None, None, None)),
            // Four digits may be a card, or somebody's id.
            ("4242", (some("4242"), some("4242"), None, None)),
            ("49.00", (None, None, some("49.00"), None)),
            ("1,234.50 eur", (None, None, some("1234.50"), some("EUR"))),
            ("4242 49.00", (None, some("4242"), some("49.00"), None)),
            ("4242 JPY", (None, None, some("4242"), some("JPY"))),
            ("49 2025-10-09 USD", (None, None, some("49"), some("USD"))),
            ("", (None, None, None, None)),
        ] {
            assert_eq!(asked(said), expected, "{said}");
        }
        assert_eq!(Asked::parse("49 2025-10-09").day, Some(date!(2025 - 10 - 09)));
        assert_eq!(Asked::parse("2025-10-09").id, None);
    }

    #[test]
    fn an_amount_is_minor_units_of_its_currency() {
        let units = |said: &str| Asked::parse(said).minor_units();
        assert_eq!(units("49.5"), [(4950, 2), (49_500, 3)]);
        assert_eq!(units("49 JPY"), [(49, 0)]);
        assert_eq!(units("49"), [(49, 0), (4900, 2), (49_000, 3)]);
        assert_eq!(units("49.5 JPY"), []);
        assert_eq!(units("1.2345"), []);
    }
}
