-- The books: what payments have to do with quotes and connected accounts, invoices, the double-entry
-- ledger, and what needs a person.

alter table pay.txn
  add column destination_account text,
  add column is_direct boolean not null default false,
  add column kept_cents bigint not null default 0,
  add column application_fee_cents bigint,
  add column is_misfit boolean not null default false,
  add constraint txn_kept_check check (kept_cents between 0 and captured_cents);
create index txn_order on pay.txn (order_id) where order_id is not null;
create index txn_destination on pay.txn (destination_account) where destination_account is not null;
create index quote_order on pay.quote (order_id) where order_id is not null;

comment on column pay.txn.quote_id is 'The quote that metadata, checkout session or order name, else unquoted.';
comment on column pay.txn.fee_cents is 'Application fee net of its refunds where there is one, else the part of the quote''s platform fee; minor units.';
comment on column pay.txn.tax_cents is 'The part of the quote''s tax, minor units.';
comment on column pay.txn.meta is 'Metadata of intent and charge, the last failure, and what Radar says: reviews, early fraud warnings.';
comment on column pay.txn.provider_id is 'Our provider: from metadata, else of the destination account, else of the quote.';
comment on column pay.txn.order_id is 'Our order, from metadata or the checkout session''s reference.';
comment on column pay.txn.destination_account is 'Connected account that gets the money of a destination charge.';
comment on column pay.txn.is_direct is 'True for a direct charge: a connected account owns it, and only its application fee is the platform''s.';
comment on column pay.txn.kept_cents is 'Captured and neither back with the customer nor on its way there, minor units: what a quote''s fee and tax are allocated on.';
comment on column pay.txn.application_fee_cents is 'Application fee net of its refunds, minor units; null where none is known.';
comment on column pay.txn.is_misfit is 'True where a quote is named but cannot be allocated; pay.discrepancy says why.';

create table pay.invoice (
  invoice_id text primary key,
  account text not null default '',
  livemode boolean not null default true,
  stripe_invoice text not null,
  number text,
  customer text,
  status text not null check (status in ('draft','open','paid','uncollectible','void','needs_review')),
  stripe_status text,
  currency text not null,
  amount_due_cents bigint not null,
  amount_paid_cents bigint not null,
  amount_remaining_cents bigint not null,
  total_cents bigint not null,
  due_at timestamptz,
  created_at timestamptz not null,
  updated_at timestamptz not null default now()
);
create index invoice_stripe_invoice on pay.invoice (stripe_invoice);

create table pay.invoice_payment (
  invoice_id text not null references pay.invoice (invoice_id) on delete cascade,
  stripe_payment text not null,
  txn_id text not null,
  amount_cents bigint not null,
  status text not null,
  primary key (invoice_id, stripe_payment)
);
create index invoice_payment_txn on pay.invoice_payment (txn_id);

comment on table pay.invoice is 'One row for each invoice.';
comment on column pay.invoice.invoice_id is 'inv_…, derived from account and Stripe id.';
comment on column pay.invoice.account is 'Stripe account that owns the invoice; empty when unknown.';
comment on column pay.invoice.livemode is 'False for test invoices.';
comment on column pay.invoice.stripe_invoice is 'in_….';
comment on column pay.invoice.number is 'Number on the invoice.';
comment on column pay.invoice.customer is 'cus_….';
comment on column pay.invoice.status is 'Our status; needs_review while Stripe''s is unknown to us.';
comment on column pay.invoice.stripe_status is 'Stripe''s own status; null in versions that had none.';
comment on column pay.invoice.currency is 'ISO 4217, upper case.';
comment on column pay.invoice.amount_due_cents is 'Asked for, minor units.';
comment on column pay.invoice.amount_paid_cents is 'Paid so far, minor units.';
comment on column pay.invoice.amount_remaining_cents is 'Still open, minor units.';
comment on column pay.invoice.total_cents is 'Sum of its lines, taxes and discounts, minor units.';
comment on column pay.invoice.due_at is 'When it is to be paid.';
comment on column pay.invoice.created_at is 'Stripe''s time of creation.';
comment on column pay.invoice.updated_at is 'When this row last changed here.';

comment on table pay.invoice_payment is 'Which payments paid an invoice: one before 2025-03-31, any number since.';
comment on column pay.invoice_payment.invoice_id is 'The invoice.';
comment on column pay.invoice_payment.stripe_payment is 'Intent of the payment, else its charge.';
comment on column pay.invoice_payment.txn_id is 'The payment in pay.txn, once that is known.';
comment on column pay.invoice_payment.amount_cents is 'Paid by it, minor units of the invoice''s currency.';
comment on column pay.invoice_payment.status is 'open, paid or canceled.';

-- Append-only. What a subject adds up to is decided outside; here it is made sure that every entry
-- adds up to zero and that nothing is ever changed.
create table pay.ledger_entry (
  entry_id bigint generated always as identity primary key,
  account text not null,
  subject_id text not null,
  subject_kind text not null check (subject_kind in (
    'capture','allocation','refund','refunds_unnamed','application_fee','dispute','transfer','payout')),
  currency text not null,
  effective_at timestamptz not null,
  recorded_at timestamptz not null default now(),
  transaction_id xid8 not null default pg_current_xact_id()
);
create index ledger_entry_subject on pay.ledger_entry (subject_id, account);
create index ledger_entry_effective on pay.ledger_entry using brin (effective_at);

create table pay.ledger_posting (
  entry_id bigint not null references pay.ledger_entry (entry_id),
  ledger_account text not null check (ledger_account in (
    'stripe_clearing','unallocated','revenue','platform_fees','tax_payable','provider_payable',
    'dispute_hold','dispute_fees','dispute_losses','payouts_in_transit','bank')),
  party text not null default '',
  amount_cents bigint not null check (amount_cents <> 0),
  primary key (entry_id, ledger_account, party)
);
create index ledger_posting_account on pay.ledger_posting (ledger_account, party);

create function pay.ledger_refuse_change() returns trigger language plpgsql as $$
begin
  raise exception '% of % is refused: the ledger is append-only, a correction is an entry of its own',
    tg_op, tg_table_name using errcode = 'integrity_constraint_violation';
end $$;

create trigger ledger_entry_append_only before update or delete or truncate on pay.ledger_entry
  for each statement execute function pay.ledger_refuse_change();
create trigger ledger_posting_append_only before update or delete or truncate on pay.ledger_posting
  for each statement execute function pay.ledger_refuse_change();

create function pay.ledger_check_zero_sum() returns trigger language plpgsql as $$
declare
  total numeric;
begin
  select sum(amount_cents) into total from pay.ledger_posting where entry_id = new.entry_id;
  if total is distinct from 0 then
    raise exception 'ledger entry % does not add up to zero: %', new.entry_id,
      coalesce(total::text, 'no postings') using errcode = 'integrity_constraint_violation';
  end if;
  return null;
end $$;

-- At commit, when all postings of the entry are there; for each posting too, so that none slips in
-- behind a check that was asked for earlier.
create constraint trigger ledger_entry_zero_sum after insert on pay.ledger_entry
  deferrable initially deferred for each row execute function pay.ledger_check_zero_sum();
create constraint trigger ledger_posting_zero_sum after insert on pay.ledger_posting
  deferrable initially deferred for each row execute function pay.ledger_check_zero_sum();

create function pay.ledger_stamp_entry() returns trigger language plpgsql as $$
begin
  new.transaction_id := pg_current_xact_id();
  return new;
end $$;
create trigger ledger_entry_stamp before insert on pay.ledger_entry
  for each row execute function pay.ledger_stamp_entry();

create function pay.ledger_refuse_late_posting() returns trigger language plpgsql as $$
begin
  if exists (
    select from added join pay.ledger_entry using (entry_id)
    where transaction_id <> pg_current_xact_id()
  ) then
    raise exception 'a posting belongs into the transaction of its entry'
      using errcode = 'integrity_constraint_violation';
  end if;
  return null;
end $$;

create trigger ledger_posting_with_entry after insert on pay.ledger_posting
  referencing new table as added for each statement execute function pay.ledger_refuse_late_posting();

create view pay.ledger_balance as
  select e.account, p.ledger_account, p.party, e.currency, sum(p.amount_cents)::bigint as balance_cents
  from pay.ledger_posting as p join pay.ledger_entry as e using (entry_id)
  group by e.account, p.ledger_account, p.party, e.currency
  having sum(p.amount_cents) <> 0;

create view pay.provider_balance as
  select party as provider_id, currency, -sum(balance_cents)::bigint as owed_cents
  from pay.ledger_balance where ledger_account = 'provider_payable'
  group by party, currency having sum(balance_cents) <> 0;

comment on table pay.ledger_entry is 'Double entry, append-only: each entry is the difference between what a subject must add up to and what was posted before.';
comment on column pay.ledger_entry.entry_id is 'Order of recording.';
comment on column pay.ledger_entry.account is 'Stripe account whose balance it is about; empty when unknown.';
comment on column pay.ledger_entry.subject_id is 'Stripe id of what moved the money.';
comment on column pay.ledger_entry.subject_kind is 'What it is: docs/LEDGER.md has the rule of each.';
comment on column pay.ledger_entry.currency is 'ISO 4217, upper case. An entry has one currency.';
comment on column pay.ledger_entry.effective_at is 'Stripe''s time of the movement; of a correction, that of the record that shows it.';
comment on column pay.ledger_entry.recorded_at is 'When it was recorded here.';
comment on column pay.ledger_entry.transaction_id is 'Transaction that recorded it: postings of another are refused.';
comment on table pay.ledger_posting is 'The lines of an entry. They add up to zero.';
comment on column pay.ledger_posting.entry_id is 'The entry.';
comment on column pay.ledger_posting.ledger_account is 'Account of the ledger.';
comment on column pay.ledger_posting.party is 'Provider, for provider_payable; else empty.';
comment on column pay.ledger_posting.amount_cents is 'Minor units of the entry''s currency; debit is positive, credit negative.';
comment on view pay.ledger_balance is 'What each account of the ledger adds up to, by owner, party and currency; debit is positive.';
comment on view pay.provider_balance is 'What is owed to each provider; negative is owed by the provider.';

create table pay.discrepancy (
  kind text not null,
  account text not null default '',
  object_id text not null,
  ours text not null,
  theirs text not null,
  first_seen timestamptz not null default now(),
  last_seen timestamptz not null default now(),
  resolved_at timestamptz,
  primary key (kind, account, object_id)
);
create index discrepancy_open on pay.discrepancy (account, object_id) where resolved_at is null;

comment on table pay.discrepancy is 'Every disagreement once: something that needs a person until it is resolved.';
comment on column pay.discrepancy.kind is 'What disagrees, of a closed set: docs/LEDGER.md.';
comment on column pay.discrepancy.account is 'Stripe account that owns the object; empty when unknown.';
comment on column pay.discrepancy.object_id is 'Stripe id of the object.';
comment on column pay.discrepancy.ours is 'What we have.';
comment on column pay.discrepancy.theirs is 'What it should agree with.';
comment on column pay.discrepancy.first_seen is 'When it was seen first, or again after it was resolved.';
comment on column pay.discrepancy.last_seen is 'When it was seen last.';
comment on column pay.discrepancy.resolved_at is 'When it no longer held; null while it does.';
