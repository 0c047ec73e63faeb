//! What the database says against what the model of Stripe knows.

use lifecycles::Truth;
use sqlx::PgPool;
use std::collections::{BTreeMap, BTreeSet};

/// Rows and facts as lines of text: two sides agree if their lines do.
pub type Lines = BTreeSet<String>;

/// The lines that the model expects. `known` are the connected accounts whose provider is known.
pub fn expected(truth: &Truth, known: &BTreeSet<String>) -> Lines {
    let or_none = |id: &Option<String>| id.clone().unwrap_or_else(|| "-".to_owned());
    let mut lines = Lines::new();
    for txn in &truth.txns {
        lines.insert(format!(
            "payment {} {} {} amount {} captured {} refunded {} {} quote {}",
            or_none(&txn.stripe_pi),
            or_none(&txn.stripe_ch),
            txn.status,
            txn.amount,
            txn.captured,
            txn.refunded,
            txn.currency,
            txn.quote_id.as_deref().unwrap_or("unquoted"),
        ));
    }
    for refund in &truth.refunds {
        lines.insert(format!("refund {} {} {}", refund.stripe_ref, refund.status, refund.amount));
    }
    for dispute in &truth.disputes {
        let (id, status) = (&dispute.stripe_dispute, dispute.status);
        lines.insert(format!("dispute {id} {status} {}", dispute.amount));
    }
    for payout in &truth.payouts {
        let is_known = payout.account.as_ref().is_some_and(|account| known.contains(account));
        lines.insert(format!(
            "payout {} {} {} net {} {}",
            or_none(&payout.stripe_transfer),
            or_none(&payout.stripe_payout),
            payout.status_when(is_known),
            payout.net,
            payout.currency,
        ));
    }
    for fact in &truth.facts {
        lines.insert(format!("fact {} {}", fact.kind, fact.subject));
    }
    for account in &truth.accounts {
        let id = &account.stripe_acct;
        lines.insert(format!("fact provider.updated {id} in {} states", account.states));
        if known.contains(id) {
            lines.insert(format!("provider {id} {}", account.status));
        }
    }
    lines
}

/// The lines that the database has about the objects of these events.
pub async fn found(pool: &PgPool, truth: &Truth, events: &[String]) -> anyhow::Result<Lines> {
    let ids = ids(truth);
    let rows: Vec<String> = sqlx::query_scalar(
        "select concat_ws(' ', 'payment', coalesce(stripe_pi, '-'), coalesce(stripe_ch, '-'), status,
           'amount', amount_cents, 'captured', captured_cents, 'refunded', refunded_cents, currency,
           'quote', quote_id)
         from pay.txn where stripe_pi = any($1) or stripe_ch = any($1)
         union all
         select concat_ws(' ', 'refund', stripe_ref, r.status, r.amount_cents)
         from pay.refund r join pay.txn t using (txn_id)
         where stripe_pi = any($1) or stripe_ch = any($1)
         union all
         select concat_ws(' ', 'dispute', stripe_dispute, d.status, d.amount_cents)
         from pay.dispute d join pay.txn t using (txn_id)
         where stripe_pi = any($1) or stripe_ch = any($1)
         union all
         select concat_ws(' ', 'payout', coalesce(stripe_transfer, '-'), coalesce(stripe_payout, '-'),
           status, 'net', net_cents, currency)
         from pay.payout where stripe_transfer = any($1) or stripe_payout = any($1)
         union all
         select concat_ws(' ', 'provider', stripe_acct, status)
         from acc.provider_connect where stripe_acct = any($1)
         union all
         select concat_ws(' ', 'fact', type, subject)
         from pay.fact where event_id = any($2) and not held and type <> 'provider.updated'
         union all
         select concat_ws(' ', 'fact', type, split_part(subject, ':', 1), 'in', count(*), 'states')
         from pay.fact where event_id = any($2) and not held and type = 'provider.updated'
         group by type, split_part(subject, ':', 1)",
    )
    .bind(&ids)
    .bind(events)
    .fetch_all(pool)
    .await?;
    Ok(rows.into_iter().collect())
}

/// Everything that a row of the truth is found by.
fn ids(truth: &Truth) -> Vec<String> {
    let payments = truth.txns.iter().flat_map(|txn| [&txn.stripe_pi, &txn.stripe_ch]);
    let payouts = truth.payouts.iter().flat_map(|row| [&row.stripe_transfer, &row.stripe_payout]);
    let accounts = truth.accounts.iter().map(|account| account.stripe_acct.clone());
    payments.chain(payouts).flatten().cloned().chain(accounts).collect()
}

/// What one side has and the other has not, a line each.
pub fn differences(expected: &Lines, found: &Lines) -> Vec<String> {
    let missing = expected.difference(found).map(|line| format!("expected, not found: {line}"));
    let surplus = found.difference(expected).map(|line| format!("found, not expected: {line}"));
    missing.chain(surplus).collect()
}

/// How many lines of each kind there are: the first word and the status, or the fact's type.
pub fn counts(lines: &Lines) -> BTreeMap<(String, String), usize> {
    let mut counts = BTreeMap::new();
    for line in lines {
        let words: Vec<_> = line.split(' ').collect();
        // Payments and payouts have two ids before their status, the others one; facts their type.
        let state = match words[0] {
            "payment" | "payout" => 3,
            "fact" => 1,
            _ => 2,
        };
        let state = words.get(state).copied().unwrap_or_default();
        *counts.entry((words[0].to_owned(), state.to_owned())).or_default() += 1;
    }
    counts
}
