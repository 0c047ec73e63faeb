//! What the database says against what the model of Stripe knows.

use crate::inputs::links;
use lifecycles::{Balance, Lifecycle, Truth};
use sqlx::PgPool;
use std::collections::{BTreeMap, BTreeSet};

/// Rows, balances and facts as lines of text: two sides agree if their lines do.
pub type Lines = BTreeSet<String>;

/// The lines that the model expects of these lifecycles, once their inputs are there too.
pub fn expected(stories: &[Lifecycle]) -> Lines {
    let truth = truth(stories);
    let or_none = |id: &Option<String>| id.clone().unwrap_or_else(|| "-".to_owned());
    let mut lines = Lines::new();
    for txn in &truth.txns {
        lines.insert(format!(
            "payment {} {} {} amount {} captured {} refunded {} {} quote {} order {} fee {} tax {} \
             provider {} destination {}",
            or_none(&txn.stripe_pi),
            or_none(&txn.stripe_ch),
            txn.status,
            txn.amount,
            txn.captured,
            txn.refunded,
            txn.currency,
            txn.quote_id.as_deref().unwrap_or("unquoted"),
            or_none(&txn.order_id),
            txn.fee,
            txn.tax,
            or_none(&txn.provider_id),
            or_none(&txn.destination_account),
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
        lines.insert(format!(
            "payout {} {} {} net {} {} provider {}",
            or_none(&payout.stripe_transfer),
            or_none(&payout.stripe_payout),
            payout.status_at_last(),
            payout.net,
            payout.currency,
            payout.provider_id.as_deref().unwrap_or("unknown"),
        ));
    }
    for invoice in &truth.invoices {
        let (id, status) = (&invoice.stripe_invoice, invoice.status);
        let (due, paid) = (invoice.amount_due, invoice.amount_paid);
        lines.insert(format!("invoice {id} {status} due {due} paid {paid} {}", invoice.currency));
    }
    for (balance, sum) in &truth.balances {
        let Balance { kind, subject, currency, account, party } = balance;
        lines.insert(format!("balance {kind} {subject} {currency} {account} {party} {sum}"));
    }
    for (kind, object) in &truth.discrepancies {
        lines.insert(format!("discrepancy {kind} {object}"));
    }
    for fact in &truth.facts {
        lines.insert(format!("fact {} {}", fact.kind, fact.subject));
    }
    let linked = links(stories);
    for account in &truth.accounts {
        let id = &account.stripe_acct;
        lines.insert(format!("fact provider.updated {id} in {} states", account.states));
        if linked.contains_key(id.as_str()) {
            lines.insert(format!("provider {id} {}", account.status));
        }
    }
    lines
}

fn truth(stories: &[Lifecycle]) -> Truth {
    Truth::of(stories.iter().map(|life| &life.truth))
}

/// The lines that the database has about the objects of these lifecycles.
pub async fn found(pool: &PgPool, stories: &[Lifecycle]) -> anyhow::Result<Lines> {
    let truth = truth(stories);
    let events: Vec<&str> =
        stories.iter().flat_map(|life| &life.events).map(|event| event.id.as_str()).collect();
    let rows: Vec<String> = sqlx::query_scalar(
        "select concat_ws(' ', 'payment', coalesce(stripe_pi, '-'), coalesce(stripe_ch, '-'), status,
           'amount', amount_cents, 'captured', captured_cents, 'refunded', refunded_cents, currency,
           'quote', quote_id, 'order', coalesce(order_id, '-'), 'fee', fee_cents, 'tax', tax_cents,
           'provider', coalesce(provider_id, '-'),
           'destination', coalesce(destination_account, '-'))
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
           status, 'net', net_cents, currency, 'provider', provider_id)
         from pay.payout where stripe_transfer = any($1) or stripe_payout = any($1)
         union all
         select concat_ws(' ', 'invoice', stripe_invoice, status, 'due', amount_due_cents,
           'paid', amount_paid_cents, currency)
         from pay.invoice where stripe_invoice = any($1)
         union all
         select concat(concat_ws(' ', 'balance', subject_kind, subject_id, currency, ledger_account,
           party), ' ', sum(amount_cents))
         from pay.ledger_entry join pay.ledger_posting using (entry_id)
         where subject_id = any($1)
         group by subject_kind, subject_id, currency, ledger_account, party
         having sum(amount_cents) <> 0
         union all
         select concat_ws(' ', 'discrepancy', kind, object_id)
         from pay.discrepancy where object_id = any($1) and resolved_at is null
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
    .bind(ids(&truth))
    .bind(&events)
    .fetch_all(pool)
    .await?;
    Ok(rows.into_iter().collect())
}

/// Everything that a line of the truth is found by.
fn ids(truth: &Truth) -> Vec<String> {
    let payments = truth.txns.iter().flat_map(|txn| [&txn.stripe_pi, &txn.stripe_ch]);
    let payouts = truth.payouts.iter().flat_map(|row| [&row.stripe_transfer, &row.stripe_payout]);
    let named = [
        truth.accounts.iter().map(|row| row.stripe_acct.clone()).collect::<Vec<_>>(),
        truth.refunds.iter().map(|row| row.stripe_ref.clone()).collect(),
        truth.disputes.iter().map(|row| row.stripe_dispute.clone()).collect(),
        truth.invoices.iter().map(|row| row.stripe_invoice.clone()).collect(),
        truth.balances.keys().map(|line| line.subject.clone()).collect(),
    ];
    payments.chain(payouts).flatten().cloned().chain(named.into_iter().flatten()).collect()
}

/// What one side has and the other has not, a line each.
pub fn differences(expected: &Lines, found: &Lines) -> Vec<String> {
    let missing = expected.difference(found).map(|line| format!("expected, not found: {line}"));
    let surplus = found.difference(expected).map(|line| format!("found, not expected: {line}"));
    missing.chain(surplus).collect()
}

/// How many lines of each kind there are: the first word and the status, or the type.
pub fn counts(lines: &Lines) -> BTreeMap<(String, String), usize> {
    let mut counts = BTreeMap::new();
    for line in lines {
        let words: Vec<_> = line.split(' ').collect();
        // Payments and payouts have two ids before their status, others one; what has a type has
        // it first.
        let state = match words[0] {
            "payment" | "payout" => 3,
            "fact" | "balance" | "discrepancy" => 1,
            _ => 2,
        };
        let state = words.get(state).copied().unwrap_or_default();
        *counts.entry((words[0].to_owned(), state.to_owned())).or_default() += 1;
    }
    counts
}
