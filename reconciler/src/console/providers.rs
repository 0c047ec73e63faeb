//! Providers and what they are owed, by name. What is owed is read through the index of the ledger's
//! parties, for the page's providers alone.

use std::collections::BTreeMap;
use std::sync::Arc;

use askama::Template;
use axum::Extension;
use axum::extract::{Query, State};
use serde_json::Value;

use super::access::Visitor;
use super::cell::{Cell, Column, Show};
use super::page::{Answer, Frame, html};
use super::web::Console;

#[derive(Template)]
#[template(path = "providers.html")]
struct Page {
    frame: Frame,
    rows: Vec<Provider>,
    is_later: bool,
    next: Option<String>,
}

struct Provider {
    name: Cell,
    status: Cell,
    account: Cell,
    owed: Vec<Cell>,
    asked_for: String,
    dashboard: Cell,
}

/// Parties of the ledger are found one after the other, each by one step in the index: most postings
/// of most providers are never read. Whoever is owed money without being known is listed too.
const PROVIDERS: &str = "
    with recursive party as (
      (select party from pay.ledger_posting
       where ledger_account = 'provider_payable' and party > $1 order by party limit 1)
      union all
      select (select p.party from pay.ledger_posting as p
        where p.ledger_account = 'provider_payable' and p.party > party.party
        order by p.party limit 1)
      from party where party.party is not null),
    listed as (
      (select party as id from party where party is not null limit $2)
      union
      (select user_id from acc.provider_connect where user_id > $1 order by user_id limit $2)
      order by id limit $2)
    select jsonb_build_object('provider', l.id, 'status', c.status, 'account', '',
      'stripe_account', c.stripe_acct, 'requirements', c.requirements, 'owed', (
        select jsonb_agg(o order by o.currency) from (
          select e.currency, -sum(p.amount_cents)::bigint as owed
          from pay.ledger_posting as p join pay.ledger_entry as e using (entry_id)
          where p.ledger_account = 'provider_payable' and p.party = l.id
          group by e.currency having sum(p.amount_cents) <> 0) as o))
    from listed as l left join acc.provider_connect as c on c.user_id = l.id
    order by l.id";

/// `GET /providers`.
pub(super) async fn page(
    State(console): State<Arc<Console>>,
    Extension(visitor): Extension<Visitor>,
    Query(asked): Query<BTreeMap<String, String>>,
) -> Answer {
    let after = asked.get("after").cloned().unwrap_or_default();
    let most = usize::from(console.limits.rows);
    let mut tx = console.reader.begin().await?;
    let mut found: Vec<Value> = sqlx::query_scalar(PROVIDERS)
        .bind(&after)
        .bind(i64::from(console.limits.rows) + 1)
        .fetch_all(&mut *tx)
        .await?;
    let is_cut = found.len() > most;
    found.truncate(most);
    let last = found.last().and_then(|row| row["provider"].as_str()).filter(|_| is_cut);
    let next = last.map(|last| {
        let query = serde_urlencoded::to_string([("after", last)]).unwrap_or_default();
        format!("/providers?{query}")
    });
    html(&Page {
        frame: Frame::new("Providers", "/providers", &visitor),
        rows: found.iter().map(Provider::of).collect(),
        is_later: !after.is_empty(),
        next,
    })
}

impl Provider {
    fn of(row: &Value) -> Self {
        let show = |show, field: &'static [&'static str]| Cell::of(row, &Column("", show, field));
        let owed = row["owed"].as_array().into_iter().flatten();
        let asked = row["requirements"]["currently_due"].as_array().map_or(0, Vec::len);
        Self {
            name: show(Show::Story, &["provider"]),
            status: show(Show::Status, &["status"]),
            account: show(Show::Story, &["stripe_account"]),
            owed: owed.map(|owed| Cell::of(owed, &Column("", Show::Money, &["owed"]))).collect(),
            asked_for: if asked == 0 { String::new() } else { format!("{asked} due") },
            dashboard: show(Show::Dashboard, &["stripe_account"]),
        }
    }
}
