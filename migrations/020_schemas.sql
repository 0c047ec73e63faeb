-- The schemas that the core data model lives in.
create schema if not exists acc;
create schema if not exists pay;

comment on schema acc is 'Accounts and their linkage to Stripe Connect.';
comment on schema pay is 'Payments: the log of Stripe''s events and the money state derived from it.';
