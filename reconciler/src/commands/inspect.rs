//! `reconciler inspect ID`: one payment, refund, payout, dispute, provider or event: its story.

use std::io::Write as _;

use comfy_table::{ContentArrangement, Table};
use serde_json::{Map, Value, json};
use service::exit::Outcome;
use service::stdout;
use sqlx::{PgConnection, Row as _};

use crate::cli::Read;

/// Most rows of each kind that are shown.
const MAX_ROWS: i64 = 500;

/// What is shown, in this order: a title, and a query over the ids of the aggregate (`$1`) with one
/// JSON object a row.
const SECTIONS: [(&str, &str); 8] = [
    (
        "payments",
        "
        select jsonb_build_object('txn_id', txn_id, 'intent', stripe_pi, 'charge', stripe_ch,
          'status', status, 'stripe_status', stripe_status, 'amount', amount_cents,
          'captured', captured_cents, 'refunded', refunded_cents, 'currency', currency,
          'method', method, 'quote_id', quote_id, 'account', account, 'created_at', created_at)
        from pay.txn where stripe_pi = any($1) or stripe_ch = any($1) order by txn_id",
    ),
    (
        "refunds",
        "
        select jsonb_build_object('refund_id', refund_id, 'refund', stripe_ref, 'status', status,
          'amount', amount_cents, 'currency', currency, 'reason', reason, 'by', created_by,
          'created_at', created_at)
        from pay.refund where stripe_ref = any($1) order by created_at, refund_id",
    ),
    (
        "disputes",
        "
        select jsonb_build_object('dispute_id', dispute_id, 'dispute', stripe_dispute,
          'status', status, 'amount', amount_cents, 'currency', currency, 'reason', reason,
          'due_by', due_by, 'created_at', created_at)
        from pay.dispute where stripe_dispute = any($1) order by created_at, dispute_id",
    ),
    (
        "payouts",
        "
        select jsonb_build_object('payout_id', payout_id, 'transfer', stripe_transfer,
          'payout', stripe_payout, 'status', status, 'stripe_status', stripe_status,
          'gross', gross_cents, 'net', net_cents, 'currency', currency, 'provider', provider_id,
          'account', account, 'scheduled_on', scheduled_on)
        from pay.payout where stripe_transfer = any($1) or stripe_payout = any($1)
        order by payout_id",
    ),
    (
        "providers",
        "
        select jsonb_build_object('provider', user_id, 'account', stripe_acct, 'status', status,
          'requirements', requirements)
        from acc.provider_connect where stripe_acct = any($1) order by user_id",
    ),
    (
        "snapshots",
        "
        select jsonb_build_object('object', object_id, 'kind', kind, 'account', account,
          'stripe_time', created, 'event', event_id, 'api_version', api_version, 'tied', tied,
          'deleted', deleted, 'links', to_jsonb(links))
        from pay.stripe_object where object_id = any($1) order by kind nulls last, object_id",
    ),
    (
        "events, in Stripe's order",
        "
        select jsonb_build_object('stripe_time', created, 'event', event_id, 'type', type,
          'object', object_id, 'verdict', verdict, 'source', source, 'partition', partition,
          'offset', kafka_offset, 'received_at', received_at, 'applied_at', applied_at)
        from pay.event where object_id = any($1) or event_id = any($1)
        order by created, applied_at, event_id",
    ),
    (
        "facts",
        "
        select jsonb_build_object('time', f.created, 'type', f.type, 'subject', f.subject,
          'fact_id', f.fact_id, 'event', f.event_id, 'data', f.data,
          'state', case when f.held then 'held' when o.fact_id is null then 'published'
            else 'queued for ' || o.sinks end)
        from pay.fact as f
        left join (select fact_id, string_agg(distinct sink, ', ') as sinks
                   from pay.outbox group by 1) as o using (fact_id)
        where f.object_id = any($1)
        order by f.created, f.type, f.subject",
    ),
];

/// Shows what is known of an id, Stripe's or ours. Says so, with exit code 1, when nothing is.
pub(crate) async fn run(id: &str, read: &Read) -> anyhow::Result<Outcome> {
    let mut connection = read.pool("inspect")?.acquire().await?;
    let ids = aggregate_of(&mut connection, id).await?;
    let mut sections: Vec<(&str, Vec<Value>)> = Vec::new();
    for (title, query) in SECTIONS {
        let rows = sqlx::query(sqlx::AssertSqlSafe(format!("{query} limit {MAX_ROWS}")))
            .bind(&ids)
            .fetch_all(&mut *connection)
            .await?;
        let rows = rows.iter().map(|row| row.try_get(0)).collect::<sqlx::Result<Vec<Value>>>()?;
        sections.push((title, rows));
    }
    if sections.iter().all(|(_, rows)| rows.is_empty()) {
        anyhow::bail!("nothing is known of {id}: not as an object, an event or a row");
    }
    stdout::print(|out| {
        if read.json {
            let mut document = Map::from_iter([("id".to_owned(), json!(id))]);
            for (title, rows) in sections {
                let name = title.split(',').next().unwrap_or(title);
                document.insert(name.to_owned(), Value::Array(rows));
            }
            return writeln!(out, "{}", Value::Object(document));
        }
        let mut shown = sections.iter().filter(|(_, rows)| !rows.is_empty());
        shown.try_for_each(|(title, rows)| writeln!(out, "{title}\n{}\n", table(rows)))
    })?;
    Ok(Outcome::Done)
}

/// The Stripe ids of the aggregate that this id belongs to.
async fn aggregate_of(connection: &mut PgConnection, id: &str) -> sqlx::Result<Vec<String>> {
    sqlx::query_scalar(
        "with recursive start as (
           select $1::text as object_id
           union select object_id from pay.event where event_id = $1 and object_id is not null
           union select coalesce(stripe_pi, stripe_ch) from pay.txn where txn_id = $1
           union select stripe_ref from pay.refund where refund_id = $1
           union select stripe_dispute from pay.dispute where dispute_id = $1
           union select coalesce(stripe_transfer, stripe_payout) from pay.payout
             where payout_id = $1
           union select stripe_acct from acc.provider_connect where user_id = $1),
         member as (
           select o.account, o.object_id from pay.stripe_object as o
             join start using (object_id)
           union
           select o.account, link from member as m
             join pay.stripe_object as o using (account, object_id),
             unnest(o.links) as link)
         select object_id from member union select object_id from start",
    )
    .bind(id)
    .fetch_all(connection)
    .await
}

/// Rows of equal shape as a table; columns that nobody fills are left out.
fn table(rows: &[Value]) -> Table {
    let mut names: Vec<&String> = Vec::new();
    for row in rows.iter().filter_map(Value::as_object) {
        for (name, value) in row {
            let says_something = !matches!(value, Value::Null) && *value != json!([]);
            if says_something && !names.contains(&name) {
                names.push(name);
            }
        }
    }
    let mut table = Table::new();
    table.set_content_arrangement(ContentArrangement::Dynamic).set_header(&names);
    for row in rows {
        table.add_row(names.iter().map(|name| match &row[name.as_str()] {
            Value::Null => String::new(),
            Value::String(text) => text.clone(),
            other => other.to_string(),
        }));
    }
    table
}
