//! What is read: for each section of the story a query that gives one JSON object a row.
//!
//! All take the same parameters: the members' accounts ($1), objects ($2) and kinds ($3), side by
//! side; the ids of the rows that they have, if they have any: payments ($4), refunds ($5), disputes
//! ($6), payouts ($7), invoices ($8); the id that was asked for ($9); the events that gave the newest
//! snapshots ($10); whether snapshots are shown ($11). Times are UTC, amounts minor units.

/// A section's name in JSON, and its query.
pub(super) type Section = (&'static str, &'static str);

/// What follows from the members alone.
pub(super) const SECTIONS: [Section; 15] = [
    ("payments", PAYMENTS),
    ("refunds", REFUNDS),
    ("disputes", DISPUTES),
    ("payouts", PAYOUTS),
    ("invoices", INVOICES),
    ("quotes", QUOTES),
    ("providers", PROVIDERS),
    ("related_payments", RELATED_PAYMENTS),
    ("related_payouts", RELATED_PAYOUTS),
    ("events", EVENTS),
    ("ledger", LEDGER),
    ("balances", BALANCES),
    ("facts", FACTS),
    ("discrepancies", DISCREPANCIES),
    ("snapshots", SNAPSHOTS),
];

/// Other objects that the snapshots name.
pub(super) const NAMED: &str = "
    select jsonb_build_object('account', n.account, 'object', n.object_id, 'as', f.key, 'names',
      case jsonb_typeof(f.value) when 'string' then f.value #>> '{}' else f.value->>'id' end)
    from unnest($1::text[], $2::text[]) as k(account, object_id)
    join pay.stripe_object as n using (account, object_id),
      jsonb_each(case jsonb_typeof(n.snapshot) when 'object' then n.snapshot end) as f
    where f.key in ('account', 'application', 'application_fee', 'balance_transaction', 'charge',
        'customer', 'destination', 'destination_payment', 'failure_balance_transaction', 'fee',
        'invoice', 'latest_charge', 'on_behalf_of', 'originating_transaction', 'payment_intent',
        'payout', 'review', 'source_transaction', 'source_transfer', 'source_transfer_reversal',
        'subscription', 'transfer', 'transfer_reversal')
      and case jsonb_typeof(f.value) when 'string' then f.value #>> '{}' else f.value->>'id' end
        <> all($2)
    order by 1";

macro_rules! payment {
    ($more:literal) => {
        concat!(
            "jsonb_build_object('account', t.account, 'txn_id', t.txn_id, 'intent', t.stripe_pi,
              'charge', t.stripe_ch, 'status', t.status, 'stripe_status', t.stripe_status,
              'amount', t.amount_cents, 'captured', t.captured_cents, 'refunded', t.refunded_cents,
              'kept', t.kept_cents, 'currency', t.currency, 'method', t.method,
              'stripe_method', t.stripe_method, 'quote_id', t.quote_id, 'order_id', t.order_id,
              'provider', t.provider_id, 'destination', t.destination_account,
              'is_direct', t.is_direct, 'fee', t.fee_cents,
              'application_fee', t.application_fee_cents, 'tax', t.tax_cents,
              'is_misfit', t.is_misfit, 'livemode', t.livemode,
              'authorized_at', t.authorized_at, 'captured_at', t.captured_at,
              'created_at', t.created_at, 'updated_at', t.updated_at,
              'failure_code', t.meta->'failure_code', 'reviews', t.meta->'reviews',
              'early_fraud_warnings', t.meta->'early_fraud_warnings'",
            $more,
            ")"
        )
    };
}

const PAYMENTS: &str = concat!(
    "select ",
    payment!(""),
    " from pay.txn as t where txn_id = any($4) order by t.created_at, txn_id"
);

macro_rules! refund {
    () => {
        "jsonb_build_object('account', account, 'refund_id', refund_id, 'refund', stripe_ref,
          'txn_id', txn_id, 'status', status, 'stripe_status', stripe_status,
          'amount', amount_cents, 'currency', currency, 'reason', reason, 'by', created_by,
          'created_at', created_at, 'updated_at', updated_at)"
    };
}

const REFUNDS: &str = concat!(
    "select ",
    refund!(),
    " from pay.refund where refund_id = any($5) order by created_at, refund_id"
);

macro_rules! dispute {
    () => {
        "jsonb_build_object('account', account, 'dispute_id', dispute_id,
          'dispute', stripe_dispute, 'txn_id', txn_id, 'status', status,
          'stripe_status', stripe_status, 'amount', amount_cents, 'currency', currency,
          'reason', reason, 'due_by', due_by, 'evidence_s3', evidence_s3,
          'created_at', created_at, 'updated_at', updated_at)"
    };
}

const DISPUTES: &str = concat!(
    "select ",
    dispute!(),
    " from pay.dispute where dispute_id = any($6) order by created_at, dispute_id"
);

macro_rules! payout {
    () => {
        "jsonb_build_object('account', account, 'payout_id', payout_id, 'transfer', stripe_transfer,
          'payout', stripe_payout, 'status', status, 'stripe_status', stripe_status,
          'gross', gross_cents, 'fee', fee_cents, 'net', net_cents, 'currency', currency,
          'provider', provider_id, 'destination', destination_account, 'livemode', livemode,
          'scheduled_on', scheduled_on, 'created_at', created_at, 'updated_at', updated_at)"
    };
}

// A payout's transfers lie in another account.
const PAYOUTS: &str = concat!(
    "select ",
    payout!(),
    " from pay.payout where payout_id = any($7) or stripe_payout = any($2)
      order by created_at, payout_id"
);

macro_rules! invoice {
    ($more:literal) => {
        concat!(
            "jsonb_build_object('account', i.account, 'invoice_id', i.invoice_id,
              'invoice', i.stripe_invoice, 'number', i.number, 'customer', i.customer,
              'status', i.status, 'stripe_status', i.stripe_status, 'currency', i.currency,
              'due', i.amount_due_cents, 'paid', i.amount_paid_cents,
              'remaining', i.amount_remaining_cents, 'total', i.total_cents,
              'livemode', i.livemode, 'due_at', i.due_at, 'created_at', i.created_at,
              'updated_at', i.updated_at",
            $more,
            ")"
        )
    };
}

const INVOICES: &str = concat!(
    "select ",
    invoice!(", 'payments', coalesce(p.payments, '[]')"),
    " from pay.invoice as i
    left join lateral (
      select jsonb_agg(jsonb_build_object('payment', stripe_payment, 'txn_id', txn_id,
        'amount', amount_cents, 'status', status) order by stripe_payment) as payments
      from pay.invoice_payment where invoice_id = i.invoice_id) as p on true
    where i.invoice_id = any($8)
      or i.invoice_id in (select invoice_id from pay.invoice_payment where txn_id = any($4))
    order by i.created_at, i.invoice_id"
);

const QUOTES: &str = "
    select jsonb_build_object('quote_id', quote_id, 'order_id', order_id, 'buyer', buyer_id,
      'provider', provider_id, 'role_code', role_code, 'currency', upper(currency),
      'subtotal', subtotal_cents, 'platform_fee', platform_fee_cents, 'tax', tax_cents,
      'deposit', deposit_cents, 'total', total_cents, 'created_at', created_at)
    from pay.quote
    where quote_id = $9 or order_id = $9
      or quote_id in (select quote_id from pay.txn where txn_id = any($4))
      or order_id in (select order_id from pay.txn where txn_id = any($4))
    order by quote_id";

// What is owed is added up only for the provider that was asked for: it reads all that was posted.
const PROVIDERS: &str = "
    select jsonb_build_object('provider', user_id, 'stripe_account', stripe_acct,
      'status', status, 'requirements', requirements, 'updated_at', updated_at,
      'owed', case when $9 in (user_id, stripe_acct) then (
        select jsonb_agg(jsonb_build_object('currency', currency, 'amount', owed_cents)
          order by currency)
        from pay.provider_balance where provider_id = user_id) end)
    from acc.provider_connect
    where user_id = $9 or stripe_acct = any($1) or stripe_acct = any($2)
      or user_id in (select provider_id from pay.txn where txn_id = any($4))
      or stripe_acct in (select destination_account from pay.txn where txn_id = any($4))
      or stripe_acct in (select destination_account from pay.payout where payout_id = any($7))
    order by user_id";

/// One row of each kind as JSON, for lists of them: of `pay.txn as t`, `pay.refund`, `pay.dispute`,
/// `pay.payout` and `pay.invoice as i`.
pub(crate) const PAYMENT: &str = payment!("");
pub(crate) const REFUND: &str = refund!();
pub(crate) const DISPUTE: &str = dispute!();
pub(crate) const PAYOUT: &str = payout!();
pub(crate) const INVOICE: &str = invoice!("");

// Of a quote: its other payments. Of an invoice: what pays it. Of a connected account or provider:
// destination charges, direct charges, and whatever money is owed for.
const RELATED_PAYMENTS: &str = concat!(
    "with asked as (
       select object_id from unnest($2::text[], $3::text[]) as k(object_id, kind)
       where $9 = object_id and object_id like 'acct\\_%'
       union select stripe_acct from acc.provider_connect where user_id = $9),
     related as (
       select txn_id, 'same_quote' as relation from pay.txn
       where quote_id <> 'unquoted'
         and quote_id in (select quote_id from pay.txn where txn_id = any($4))
       union all
       select txn_id, 'pays_invoice' from pay.invoice_payment where invoice_id = any($8)
       union all
       select txn_id, 'to_account' from pay.txn
       where destination_account in (select object_id from asked)
       union all
       select t.txn_id, 'of_account' from pay.fact as f
         join pay.txn as t on t.stripe_ch = f.object_id and t.account = f.account
       where f.account in (select object_id from asked) and f.type = 'payment.captured'
       union all
       select t.txn_id, 'for_provider' from pay.ledger_posting as p
         join pay.ledger_entry as e using (entry_id)
         join pay.txn as t on t.account = e.account
           and (t.stripe_pi = e.subject_id or t.stripe_ch = e.subject_id)
       where p.ledger_account = 'provider_payable' and p.party = $9)
     select ",
    payment!(", 'relation', r.relation"),
    " from (select txn_id, min(relation) as relation from related group by txn_id) as r
       join pay.txn as t using (txn_id)
     where txn_id <> all($4) order by t.created_at desc, txn_id"
);

const RELATED_PAYOUTS: &str = concat!(
    "select ",
    payout!(),
    " from pay.payout
     where payout_id <> all($7)
       and destination_account in (
         select $9 where $9 like 'acct\\_%'
         union select stripe_acct from acc.provider_connect where user_id = $9)
     order by created_at desc, payout_id"
);

// An account's own events may come to the platform's endpoint, and an application fee's always do.
const EVENTS: &str = "
    with application as (
      select e.account, e.object_id from pay.event as e
      where e.event_id = any($10) and e.type like 'account.application.%'),
    member as (
      select * from unnest($1::text[], $2::text[], $3::text[]) as k(account, object_id, kind)
      union select account, object_id, 'application' from application)
    select jsonb_build_object('account', e.account, 'stripe_time', e.created,
      'event', e.event_id, 'type', e.type, 'object', e.object_id, 'verdict', e.verdict,
      'source', e.source, 'endpoint', e.endpoint, 'api_version', e.api_version,
      'livemode', e.livemode, 'partition', e.partition, 'offset', e.kafka_offset,
      'received_at', e.received_at, 'applied_at', e.applied_at, 'traceparent', e.traceparent,
      'quarantine', (select jsonb_build_object('reason', q.reason, 'detail', q.detail,
          'quarantined_at', q.quarantined_at, 'state', q.state, 'resolved_at', q.resolved_at,
          'note', q.note)
        from pay.quarantine as q
        where q.event_id = e.event_id and q.partition = e.partition
          and q.kafka_offset = e.kafka_offset
        limit 1))
    from pay.event as e
    where e.event_id = any($10) or e.event_id = $9
      or ((e.object_id = any($2) or e.object_id in (select object_id from application))
        and exists (select from member as k where k.object_id = e.object_id
          and (k.account = e.account or k.account = k.object_id
            or k.kind = 'application_fee_share')))
    order by e.created, coalesce(e.received_at, e.applied_at), e.partition, e.kafka_offset";

const LEDGER: &str = "
    select jsonb_build_object('account', e.account, 'entry', e.entry_id,
      'subject_kind', e.subject_kind, 'subject', e.subject_id, 'currency', e.currency,
      'effective_at', e.effective_at, 'recorded_at', e.recorded_at, 'postings', (
        select jsonb_agg(jsonb_build_object('ledger_account', p.ledger_account, 'party', p.party,
          'amount', p.amount_cents) order by p.amount_cents desc, p.ledger_account, p.party)
        from pay.ledger_posting as p where p.entry_id = e.entry_id))
    from unnest($1::text[], $2::text[]) as k(account, subject_id)
    join pay.ledger_entry as e using (account, subject_id)
    order by e.entry_id";

const BALANCES: &str = "
    select jsonb_build_object('account', e.account, 'ledger_account', p.ledger_account,
      'party', p.party, 'currency', e.currency, 'balance', sum(p.amount_cents)::bigint)
    from unnest($1::text[], $2::text[]) as k(account, subject_id)
    join pay.ledger_entry as e using (account, subject_id)
    join pay.ledger_posting as p using (entry_id)
    group by e.account, e.currency, p.ledger_account, p.party
    having sum(p.amount_cents) <> 0
    order by e.account, e.currency, p.ledger_account, p.party";

// The queue has a row for each sink, and no index over facts.
const FACTS: &str = "
    with fact as (
      select f.* from unnest($1::text[], $2::text[]) as k(account, object_id)
      join pay.fact as f using (account, object_id)),
    waiting as (
      select w.fact_id, jsonb_agg(jsonb_build_object(
        'sink', w.sink, 'domain_event', w.event_id,
        'attempts', w.attempts, 'since', w.created_at,
        'leased_until', nullif(w.leased_until, 'infinity'),
        'is_parked', coalesce(w.leased_until = 'infinity', false)) order by w.outbox_id) as queued
      from pay.outbox as w where w.fact_id in (select fact_id from fact) group by w.fact_id)
    select jsonb_build_object('account', f.account, 'time', f.created, 'type', f.type,
      'subject', f.subject, 'fact_id', f.fact_id, 'object', f.object_id, 'event', f.event_id,
      'livemode', f.livemode, 'data', f.data, 'recorded_at', f.recorded_at,
      'state', case when f.held then 'held' when w.queued is null then 'published'
        else 'queued' end,
      'queued', coalesce(w.queued, '[]'))
    from fact as f left join waiting as w using (fact_id)
    order by f.created, f.type, f.subject";

const DISCREPANCIES: &str = "
    select jsonb_build_object('account', account, 'kind', kind, 'object', object_id, 'ours', ours,
      'theirs', theirs, 'first_seen', first_seen, 'last_seen', last_seen,
      'resolved_at', resolved_at)
    from pay.discrepancy
    where (account, object_id) in (select * from unnest($1::text[], $2::text[]))
    order by resolved_at is not null, kind, object_id";

const SNAPSHOTS: &str = "
    select jsonb_build_object('account', o.account, 'object', o.object_id, 'kind', o.kind,
      'status', o.snapshot->>'status',
      'amount', case jsonb_typeof(o.snapshot->'amount') when 'number' then o.snapshot->'amount' end,
      'currency', upper(o.snapshot->>'currency'), 'stripe_time', o.created, 'event', o.event_id,
      'api_version', o.api_version, 'livemode', o.livemode, 'is_connected', o.connected,
      'tied', o.tied, 'deleted', o.deleted, 'links', to_jsonb(o.links),
      'depends_on', o.depends_on, 'authorized_at', o.authorized_at,
      'captured_at', o.captured_at, 'failed_at', o.failed_at, 'updated_at', o.updated_at,
      'snapshot', case when $11 then o.snapshot end)
    from unnest($1::text[], $2::text[]) as k(account, object_id)
    join pay.stripe_object as o using (account, object_id)
    order by o.account, o.kind nulls last, o.object_id";
