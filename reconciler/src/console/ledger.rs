//! What each account of the ledger adds up to.

use std::sync::Arc;

use askama::Template;
use axum::Extension;
use axum::extract::State;
use serde_json::Value;

use super::access::Visitor;
use super::cell::{Column, Show, Table};
use super::page::{Answer, Frame, html};
use super::web::Console;

#[derive(Template)]
#[template(path = "ledger.html")]
struct Page {
    frame: Frame,
    currencies: Vec<Currency>,
}

/// The books in one currency.
struct Currency {
    code: String,
    table: Table,
    /// Whether all accounts together add up to nothing, as they must.
    is_balanced: bool,
}

const COLUMNS: [Column; 4] = [
    Column("Ledger account", Show::Words, &["ledger_account"]),
    Column("Stripe account", Show::Story, &["account"]),
    Column("Debit", Show::Money, &["debit"]),
    Column("Credit", Show::Money, &["credit"]),
];

/// The view adds up all that was ever posted.
const BALANCES: &str = "
    select jsonb_build_object('currency', currency, 'account', account,
      'ledger_account', ledger_account, 'balance', sum(balance_cents)::bigint,
      'debit', case when sum(balance_cents) >= 0 then sum(balance_cents)::bigint end,
      'credit', case when sum(balance_cents) < 0 then -sum(balance_cents)::bigint end)
    from pay.ledger_balance
    group by currency, account, ledger_account
    order by currency, account, ledger_account";

/// `GET /ledger`.
pub(super) async fn page(
    State(console): State<Arc<Console>>,
    Extension(visitor): Extension<Visitor>,
) -> Answer {
    let mut tx = console.reader.begin().await?;
    let rows: Vec<Value> = sqlx::query_scalar(BALANCES).fetch_all(&mut *tx).await?;
    let currencies = rows.chunk_by(|one, next| one["currency"] == next["currency"]).map(|rows| {
        let code = rows[0]["currency"].as_str().unwrap_or_default().to_owned();
        let total: i128 =
            rows.iter().filter_map(|row| row["balance"].as_i64()).map(i128::from).sum();
        let table = Table::of(format!("Ledger in {code}"), &COLUMNS, rows);
        Currency { code, table, is_balanced: total == 0 }
    });
    html(&Page {
        frame: Frame::new("Ledger", "/ledger", &visitor),
        currencies: currencies.collect(),
    })
}
