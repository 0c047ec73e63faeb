//! What an id belongs to: the objects of its aggregates, by account.

use anyhow::Context as _;
use domain::id;
use domain::object::authorization;
use domain::quote::UNQUOTED;
use sqlx::PgConnection;

/// Most objects whose story is told at once: a quote's payments with all that hangs on them.
pub(super) const MAX_OBJECTS: usize = 500;
/// Kinds of objects that name a balance transaction.
const BALANCE_KINDS: [&str; 7] =
    ["charge", "refund", "dispute", "payout", "transfer", "application_fee", "fee_refund"];

/// An object of an aggregate.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, sqlx::FromRow)]
pub(super) struct Member {
    /// Stripe account that owns it; empty when unknown.
    pub(super) account: String,
    /// Stripe id.
    pub(super) object_id: String,
    /// Stripe's `object` field; none while it was only named.
    pub(super) kind: Option<String>,
    /// Event that gave the newest snapshot.
    pub(super) event_id: Option<String>,
}

/// The members of every aggregate that the id belongs to, in every account that knows it.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(super) members: Vec<Member>,
    /// Whether there are more than [`MAX_OBJECTS`].
    pub(super) is_cut: bool,
}

impl Found {
    /// Looks an id up: by index, and only where that finds nothing, a balance transaction by reading.
    pub(crate) async fn by(tx: &mut PgConnection, id: &str) -> anyhow::Result<Self> {
        let mut start = objects_of(tx, id).await?;
        if start.is_empty() && id.starts_with("txn_") {
            start = naming_balance_transaction(tx, id).await.context(
                "looking for a balance transaction in every snapshot; inspect what it belongs to",
            )?;
        }
        let mut members = with_linked(tx, &start).await?;
        let is_cut = members.len() > MAX_OBJECTS;
        members.truncate(MAX_OBJECTS);
        Ok(Self { members, is_cut })
    }

    pub(super) fn accounts(&self) -> Vec<&str> {
        self.members.iter().map(|member| member.account.as_str()).collect()
    }

    pub(super) fn objects(&self) -> Vec<&str> {
        self.members.iter().map(|member| member.object_id.as_str()).collect()
    }

    pub(super) fn kinds(&self) -> Vec<Option<&str>> {
        self.members.iter().map(|member| member.kind.as_deref()).collect()
    }

    /// The events that gave the newest snapshots.
    pub(super) fn newest_events(&self) -> Vec<&str> {
        self.members.iter().filter_map(|member| member.event_id.as_deref()).collect()
    }

    /// Ids that the members' rows have, if they have any: derived, as the rows' own are.
    pub(super) fn row_ids(&self, derive: fn(&str, &str) -> String) -> Vec<String> {
        self.members.iter().map(|member| derive(&member.account, &member.object_id)).collect()
    }

    pub(super) fn txns(&self) -> Vec<String> {
        self.row_ids(id::txn_id)
    }
}

/// The objects that an id names itself, or by an event, a row, a fact, a quote or an order.
async fn objects_of(tx: &mut PgConnection, id: &str) -> sqlx::Result<Vec<(String, String)>> {
    sqlx::query_as(
        "with payment as (
           select txn_id from pay.txn where txn_id = $1
           union select txn_id from pay.txn where quote_id = $1 and quote_id <> $2
           union select txn_id from pay.txn where order_id = $1
           union select txn_id from pay.txn join pay.quote using (quote_id)
             where pay.quote.order_id = $1)
         select account, object_id from pay.stripe_object where object_id = $1
         union select account, object_id from pay.event
           where event_id = $1 and object_id is not null
         union select o.account, o.object_id from pay.event as e
           join pay.stripe_object as o using (object_id)
           where e.event_id = $1
             and (o.account = o.object_id or o.kind = 'application_fee_share')
         union select o.account, o.object_id from pay.event as e
           join pay.stripe_object as o on o.object_id = $3 || e.account
           where e.event_id = $1 and e.type like 'account.application.%'
         union select account, coalesce(stripe_pi, stripe_ch)
           from pay.txn where txn_id in (select txn_id from payment)
         union select account, stripe_ref from pay.refund where refund_id = $1
         union select account, stripe_dispute from pay.dispute where dispute_id = $1
         union select account, coalesce(stripe_transfer, stripe_payout)
           from pay.payout where payout_id = $1
         union select account, stripe_invoice from pay.invoice where invoice_id = $1
         union select account, object_id from pay.fact where fact_id = $1
         union select stripe_acct, stripe_acct from acc.provider_connect where user_id = $1
         limit $4",
    )
    .bind(id)
    .bind(UNQUOTED)
    .bind(authorization::id_of(""))
    .bind(i64::try_from(MAX_OBJECTS + 1).unwrap_or(i64::MAX))
    .fetch_all(tx)
    .await
}

/// The objects that name a balance transaction, or show it. There is no index over snapshots.
async fn naming_balance_transaction(
    tx: &mut PgConnection,
    id: &str,
) -> sqlx::Result<Vec<(String, String)>> {
    sqlx::query_as(
        "select account, object_id from pay.stripe_object
         where kind = any($2)
           and ($1 in (snapshot->>'balance_transaction', snapshot->>'failure_balance_transaction',
               snapshot->'balance_transaction'->>'id')
             or snapshot->'balance_transactions' @> jsonb_build_array(jsonb_build_object('id', $1)))
         limit $3",
    )
    .bind(id)
    .bind(&BALANCE_KINDS[..])
    .bind(i64::try_from(MAX_OBJECTS + 1).unwrap_or(i64::MAX))
    .fetch_all(tx)
    .await
}

/// These objects and all that their links lead to, within each account.
async fn with_linked(
    tx: &mut PgConnection,
    start: &[(String, String)],
) -> sqlx::Result<Vec<Member>> {
    let (accounts, objects): (Vec<&str>, Vec<&str>) =
        start.iter().map(|(account, object)| (account.as_str(), object.as_str())).unzip();
    sqlx::query_as(
        "with recursive member as (
           select account, object_id from unnest($1::text[], $2::text[]) as s(account, object_id)
           union
           select o.account, link from member
             join pay.stripe_object as o using (account, object_id), unnest(o.links) as link)
         select m.account, m.object_id, o.kind, o.event_id
         from (select account, object_id from member limit $3) as m
         left join pay.stripe_object as o using (account, object_id)
         order by m.account collate \"C\", m.object_id collate \"C\"",
    )
    .bind(accounts)
    .bind(objects)
    .bind(i64::try_from(MAX_OBJECTS + 1).unwrap_or(i64::MAX))
    .fetch_all(tx)
    .await
}
