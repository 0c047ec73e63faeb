-- What real Stripe traffic forces upon the core: wider amounts, more states, and beside each of our
-- states Stripe's own. Nothing of the core is renamed or narrowed.

alter table pay.quote
  alter column subtotal_cents type bigint,
  alter column platform_fee_cents type bigint,
  alter column tax_cents type bigint,
  alter column deposit_cents type bigint,
  alter column total_cents type bigint;

alter table pay.txn
  alter column amount_cents type bigint,
  alter column fee_cents type bigint,
  alter column tax_cents type bigint,
  add column account text not null default '',
  add column livemode boolean not null default true,
  add column currency text not null default 'USD',
  add column captured_cents bigint not null default 0,
  add column refunded_cents bigint not null default 0,
  add column stripe_status text,
  add column stripe_method text,
  add column provider_id text,
  add column order_id text,
  drop constraint txn_method_check,
  add constraint txn_method_check check (method in (
    'card','apple_pay','google_pay','ach','link','samsung_pay','card_present','interac_present',
    'sepa_debit','bacs_debit','acss_debit','au_becs_debit','nz_bank_account','customer_balance',
    'klarna','affirm','afterpay_clearpay','zip','paypal','cashapp','amazon_pay','revolut_pay',
    'alipay','wechat_pay','ideal','bancontact','sofort','giropay','eps','p24','blik','multibanco',
    'boleto','oxxo','pix','konbini','paynow','promptpay','grabpay','fpx','twint','mobilepay',
    'swish','kakao_pay','naver_pay','payco','pay_by_bank','crypto','other')),
  drop constraint txn_status_check,
  add constraint txn_status_check check (status in (
    'requires_action','processing','authorized','captured','refunded','failed','canceled')),
  add constraint txn_captured_check check (captured_cents >= 0),
  add constraint txn_refunded_check check (refunded_cents between 0 and captured_cents);

alter table pay.payout
  alter column gross_cents type bigint,
  alter column fee_cents type bigint,
  alter column net_cents type bigint,
  add column account text not null default '',
  add column livemode boolean not null default true,
  add column destination_account text,
  add column stripe_status text,
  add constraint payout_source_check check (stripe_transfer is not null or stripe_payout is not null);

alter table pay.refund
  alter column amount_cents type bigint,
  add column account text not null default '',
  add column currency text not null default 'USD',
  add column stripe_status text,
  drop constraint refund_status_check,
  add constraint refund_status_check check (status in (
    'pending','requires_action','succeeded','failed','canceled')),
  add constraint refund_created_by_check check (created_by in ('system','buyer','provider','admin'));

alter table pay.dispute
  add column account text not null default '',
  add column currency text not null default 'USD',
  add column amount_cents bigint not null default 0,
  add column stripe_status text,
  drop constraint dispute_status_check,
  add constraint dispute_status_check check (status in (
    'needs_response','under_review','won','lost','warning_closed','warning_needs_response',
    'warning_under_review','prevented'));

create index txn_stripe_pi on pay.txn (stripe_pi);
create index txn_stripe_ch on pay.txn (stripe_ch);
create index txn_quote on pay.txn (quote_id);
create index refund_txn on pay.refund (txn_id);
create index refund_stripe_ref on pay.refund (stripe_ref);
create index dispute_txn on pay.dispute (txn_id);
create index dispute_stripe_dispute on pay.dispute (stripe_dispute);
create index payout_stripe_transfer on pay.payout (stripe_transfer);
create index payout_stripe_payout on pay.payout (stripe_payout);
create index payout_destination on pay.payout (destination_account);
create index provider_connect_stripe_acct on acc.provider_connect (stripe_acct);

comment on table acc.provider_connect is 'Which provider owns which connected account. The link is an input; status and requirements follow Stripe.';
comment on column acc.provider_connect.user_id is 'Our provider.';
comment on column acc.provider_connect.stripe_acct is 'The connected account, acct_….';
comment on column acc.provider_connect.status is 'pending, restricted or active, from the newest account snapshot and its authorization.';
comment on column acc.provider_connect.requirements is 'What Stripe still asks for, as of the newest account snapshot.';
comment on column acc.provider_connect.updated_at is 'When this row last changed here.';

comment on table pay.quote is 'A price offered before payment. An input: the reconciler only reads it.';
comment on column pay.quote.quote_id is 'qte_….';
comment on column pay.quote.order_id is 'Our order, known after payment.';
comment on column pay.quote.buyer_id is 'Our buyer.';
comment on column pay.quote.provider_id is 'Our provider.';
comment on column pay.quote.role_code is 'Role in which the buyer acts.';
comment on column pay.quote.currency is 'ISO 4217, upper case.';
comment on column pay.quote.subtotal_cents is 'Minor units of the currency.';
comment on column pay.quote.platform_fee_cents is 'Minor units of the currency.';
comment on column pay.quote.tax_cents is 'Minor units of the currency.';
comment on column pay.quote.deposit_cents is 'Minor units of the currency; 0 without the deposit model.';
comment on column pay.quote.total_cents is 'Minor units of the currency.';
comment on column pay.quote.policy_snapshot is 'Cancellation and refund policy at the time of the quote.';
comment on column pay.quote.created_at is 'When the quote was made.';

comment on table pay.txn is 'One row for each payment intent, and one for each charge without an intent.';
comment on column pay.txn.txn_id is 'txn_…, derived from account and Stripe id, so that a rebuild gives the same.';
comment on column pay.txn.quote_id is 'The quote that the payment''s metadata names, else unquoted.';
comment on column pay.txn.stripe_pi is 'pi_…; null for a charge without an intent.';
comment on column pay.txn.stripe_ch is 'The intent''s latest charge, or the newest that did not fail.';
comment on column pay.txn.method is 'How it was paid; other when Stripe''s type has no value of ours.';
comment on column pay.txn.status is 'Our status; docs/ARCHITECTURE.md has the mapping.';
comment on column pay.txn.authorized_at is 'Stripe''s time of the earliest record that shows the authorisation.';
comment on column pay.txn.captured_at is 'Stripe''s time of the earliest record that shows the capture.';
comment on column pay.txn.amount_cents is 'The intent''s amount, minor units of the currency.';
comment on column pay.txn.fee_cents is 'Platform fee, minor units of the currency.';
comment on column pay.txn.tax_cents is 'Tax, minor units of the currency.';
comment on column pay.txn.meta is 'Metadata of intent and charge, and the last failure.';
comment on column pay.txn.created_at is 'Stripe''s time of creation.';
comment on column pay.txn.updated_at is 'When this row last changed here.';
comment on column pay.txn.account is 'Stripe account that owns the payment; empty when unknown.';
comment on column pay.txn.livemode is 'False for test payments.';
comment on column pay.txn.currency is 'ISO 4217, upper case.';
comment on column pay.txn.captured_cents is 'What was captured, minor units of the currency.';
comment on column pay.txn.refunded_cents is 'Captured money that went back, minor units of the currency.';
comment on column pay.txn.stripe_status is 'Stripe''s own status of the intent, or of the charge without one; null while the intent was only named.';
comment on column pay.txn.stripe_method is 'Stripe''s own type of the payment method.';
comment on column pay.txn.provider_id is 'Our provider, from metadata.';
comment on column pay.txn.order_id is 'Our order, from metadata.';

comment on table pay.payout is 'One row for each transfer to a connected account and one for each payout.';
comment on column pay.payout.payout_id is 'pot_…, derived from account and Stripe id.';
comment on column pay.payout.provider_id is 'Our provider; platform for the platform''s own payouts, unknown until known.';
comment on column pay.payout.stripe_transfer is 'tr_… of a transfer.';
comment on column pay.payout.stripe_payout is 'po_… of a payout.';
comment on column pay.payout.currency is 'ISO 4217, upper case.';
comment on column pay.payout.gross_cents is 'Minor units of the currency, before reversals.';
comment on column pay.payout.fee_cents is 'Minor units of the currency.';
comment on column pay.payout.net_cents is 'Minor units of the currency, less what was reversed.';
comment on column pay.payout.status is 'Our status; needs_review while the provider or Stripe''s status is unknown.';
comment on column pay.payout.scheduled_on is 'Expected arrival (payout) or day of creation (transfer), UTC.';
comment on column pay.payout.created_at is 'Stripe''s time of creation.';
comment on column pay.payout.updated_at is 'When this row last changed here.';
comment on column pay.payout.account is 'Stripe account that owns the object; empty when unknown.';
comment on column pay.payout.livemode is 'False for test payouts.';
comment on column pay.payout.destination_account is 'Connected account that receives the money; null for the platform''s own payouts.';
comment on column pay.payout.stripe_status is 'Stripe''s own status; null for transfers, which have none.';

comment on table pay.refund is 'One row for each refund of captured money; a released authorisation is none.';
comment on column pay.refund.refund_id is 'rfd_…, derived from account and Stripe id.';
comment on column pay.refund.txn_id is 'The payment.';
comment on column pay.refund.stripe_ref is 're_… or pyr_….';
comment on column pay.refund.amount_cents is 'Minor units of the currency.';
comment on column pay.refund.reason is 'Stripe''s reason, else unspecified.';
comment on column pay.refund.status is 'Our status.';
comment on column pay.refund.created_by is 'From metadata: system, buyer, provider or admin; anything else is system.';
comment on column pay.refund.created_at is 'Stripe''s time of creation.';
comment on column pay.refund.updated_at is 'When this row last changed here.';
comment on column pay.refund.account is 'Stripe account that owns the refund; empty when unknown.';
comment on column pay.refund.currency is 'ISO 4217, upper case.';
comment on column pay.refund.stripe_status is 'Stripe''s own status; null where Stripe said none.';

comment on table pay.dispute is 'One row for each dispute or inquiry.';
comment on column pay.dispute.dispute_id is 'dsp_…, derived from account and Stripe id.';
comment on column pay.dispute.txn_id is 'The payment.';
comment on column pay.dispute.stripe_dispute is 'dp_… or du_….';
comment on column pay.dispute.reason is 'Stripe''s reason.';
comment on column pay.dispute.status is 'Our status.';
comment on column pay.dispute.evidence_s3 is 'Where the evidence bundle is kept.';
comment on column pay.dispute.due_by is 'When evidence is due.';
comment on column pay.dispute.created_at is 'Stripe''s time of creation.';
comment on column pay.dispute.updated_at is 'When this row last changed here.';
comment on column pay.dispute.account is 'Stripe account that owns the dispute; empty when unknown.';
comment on column pay.dispute.currency is 'ISO 4217, upper case.';
comment on column pay.dispute.amount_cents is 'Disputed amount, minor units of the currency.';
comment on column pay.dispute.stripe_status is 'Stripe''s own status.';
