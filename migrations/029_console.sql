-- What the console reads: lists by time, and what people search by. An id needs none of these.

create index txn_created on pay.txn (created_at, txn_id);
create index txn_amount on pay.txn (amount_cents, created_at);
create index txn_provider on pay.txn (provider_id, created_at) where provider_id is not null;
create index refund_created on pay.refund (created_at, refund_id);
create index refund_amount on pay.refund (amount_cents, created_at);
create index dispute_created on pay.dispute (created_at, dispute_id);
create index dispute_amount on pay.dispute (amount_cents, created_at);
create index payout_created on pay.payout (created_at, payout_id);
create index payout_net on pay.payout (net_cents, created_at);
create index payout_provider on pay.payout (provider_id, created_at);
create index invoice_created on pay.invoice (created_at, invoice_id);
create index invoice_customer on pay.invoice (customer) where customer is not null;
create index quote_buyer on pay.quote (buyer_id);

-- Stripe's customer and a card's last four digits are in snapshots alone. A hash index takes a value of
-- any length: what Stripe sends must never fail for an index.
create index stripe_object_customer on pay.stripe_object using hash (
  (case jsonb_typeof(snapshot->'customer') when 'string'
    then snapshot->>'customer' else snapshot->'customer'->>'id' end))
  where kind in ('charge','payment_intent');
create index stripe_object_last4 on pay.stripe_object using hash (
  (snapshot->'payment_method_details'->'card'->>'last4'))
  where kind = 'charge';

comment on index pay.stripe_object_customer is 'Search by cus_…; the console''s query repeats the expression.';
comment on index pay.stripe_object_last4 is 'Search by a card''s last four digits; the console''s query repeats the expression.';
