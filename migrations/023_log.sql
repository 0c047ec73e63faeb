-- The log in Postgres: every event once, the newest snapshot of every object, what was proved, what
-- waits to be published, how far each role has read, and what could not be applied.

create table pay.event (
  event_id text not null,
  account text not null default '',
  data_hash bytea not null check (length(data_hash) = 32),
  created timestamptz not null,
  type text not null,
  api_version text,
  livemode boolean not null,
  source text not null check (source in ('webhook','stripe_list','stripe_fetch')),
  endpoint text,
  object_id text,
  verdict text not null check (verdict in (
    'applied','variant','stale','unhandled','wrong_livemode','quarantined')),
  partition int not null,
  kafka_offset bigint not null,
  traceparent text,
  received_at timestamptz,
  applied_at timestamptz not null default clock_timestamp(),
  primary key (event_id, account, data_hash, created)
) partition by range (created);
create table pay.event_default partition of pay.event default;
create index event_object on pay.event (object_id);
create index event_applied on pay.event using brin (applied_at);

-- Months are made as their first event comes, each in UTC. A month that exists is left alone.
create function pay.ensure_event_month(month date) returns void language plpgsql as $$
declare
  name text := 'event_' || to_char(month, 'YYYY_MM');
begin
  if to_regclass('pay.' || name) is not null then return; end if;
  perform pg_advisory_xact_lock(hashtext('pay.event partitions'));
  execute format(
    'create table if not exists pay.%I partition of pay.event for values from (%L) to (%L)',
    name,
    date_trunc('month', month)::date || ' 00:00:00+00',
    (date_trunc('month', month) + interval '1 month')::date || ' 00:00:00+00');
exception when check_violation then
  -- The month was dropped, and some of its events came again since: the default partition has them
  -- and keeps the month. Deduplication is as exact there.
  raise notice 'events of % stay in the default partition', name;
end $$;

create table pay.stripe_object (
  account text not null,
  object_id text not null,
  kind text,
  ordering bytea,
  created timestamptz,
  event_id text,
  api_version text,
  livemode boolean,
  connected boolean not null default false,
  deleted boolean not null default false,
  tied boolean not null default false,
  snapshot jsonb,
  links text[] not null default '{}',
  depends_on text,
  authorized_at timestamptz,
  captured_at timestamptz,
  failed_at timestamptz,
  updated_at timestamptz not null default now(),
  primary key (object_id, account),
  constraint stripe_object_seen_check check ((kind is null) = (snapshot is null))
);

create index stripe_object_depends_on on pay.stripe_object (depends_on) where depends_on is not null;

create table pay.fact (
  fact_id text primary key,
  type text not null,
  account text not null default '',
  subject text not null,
  object_id text not null,
  created timestamptz not null,
  event_id text not null,
  livemode boolean not null,
  data jsonb not null,
  content_hash bytea not null check (length(content_hash) = 32),
  held boolean not null default false,
  recorded_at timestamptz not null default now()
);
create index fact_object on pay.fact (account, object_id);

create table pay.outbox (
  outbox_id bigint generated always as identity primary key,
  event_id text not null unique,
  fact_id text not null,
  type text not null,
  subject text not null,
  payload text not null,
  created_at timestamptz not null default now(),
  attempts int not null default 0,
  leased_until timestamptz
);

create table pay.position (
  role text not null check (role in ('project','archive')),
  cluster text not null,
  topic_id text not null,
  partition int not null check (partition >= 0),
  next_offset bigint not null check (next_offset >= 0),
  chain bytea,
  updated_at timestamptz not null default now(),
  primary key (role, cluster, topic_id, partition)
);

create table pay.quarantine (
  cluster text not null,
  topic_id text not null,
  partition int not null,
  kafka_offset bigint not null,
  reason text not null,
  detail text not null,
  event_id text,
  kafka_timestamp timestamptz not null,
  key bytea,
  headers jsonb not null default '[]',
  body bytea,
  quarantined_at timestamptz not null default now(),
  primary key (cluster, topic_id, partition, kafka_offset)
);
create index quarantine_event on pay.quarantine (event_id);

-- Inputs that became known or changed: what hangs on them is derived again.
create table pay.rederive (
  kind text not null check (kind in ('account','quote','order')),
  id text not null,
  queued_at timestamptz not null default clock_timestamp(),
  done_account text not null default '',
  done_id text not null default '',
  refused text,
  primary key (kind, id)
);
create index rederive_queued on pay.rederive (queued_at) where refused is null;

create function pay.queue_rederive(kind text, ids text[]) returns void language sql as $$
  insert into pay.rederive (kind, id)
  select distinct queue_rederive.kind, id from unnest(ids) as id where id is not null
  order by id
  on conflict on constraint rederive_pkey do update
  set queued_at = clock_timestamp(), done_account = '', done_id = '', refused = null;
$$;

create function pay.queue_provider() returns trigger language plpgsql as $$
begin
  perform pay.queue_rederive('account', array[
    case when tg_op <> 'INSERT' then old.stripe_acct end,
    case when tg_op <> 'DELETE' then new.stripe_acct end]);
  return null;
end $$;

create trigger provider_connect_rederive
  after insert or delete or update of user_id, stripe_acct on acc.provider_connect
  for each row execute function pay.queue_provider();

create function pay.queue_quote() returns trigger language plpgsql as $$
begin
  perform pay.queue_rederive('order', array[
    case when tg_op <> 'INSERT' then old.order_id end,
    case when tg_op <> 'DELETE' then new.order_id end]);
  perform pay.queue_rederive('quote', array[
    case when tg_op <> 'INSERT' then old.quote_id end,
    case when tg_op <> 'DELETE' then new.quote_id end]);
  return null;
end $$;

create trigger quote_rederive
  after insert or update or delete on pay.quote
  for each row execute function pay.queue_quote();

comment on table pay.event is 'Every event once, by id, account and content; partitioned by Stripe''s time so that old months can be dropped and deduplication stays exact.';
comment on column pay.event.event_id is 'Stripe''s evt_…, or fetch_… for a fetched object.';
comment on column pay.event.account is 'Stripe account that owns the object; empty when unknown.';
comment on column pay.event.data_hash is 'SHA-256 of the canonical JSON of the event''s data: other data under a known id is a variant.';
comment on column pay.event.created is 'Stripe''s time of the event.';
comment on column pay.event.type is 'Stripe''s event type.';
comment on column pay.event.api_version is 'API version that shaped the payload; null where Stripe said none.';
comment on column pay.event.livemode is 'False for test events.';
comment on column pay.event.source is 'How the record was learnt.';
comment on column pay.event.endpoint is 'Endpoint that received it.';
comment on column pay.event.object_id is 'Stripe id of the event''s object.';
comment on column pay.event.verdict is 'What became of it. A duplicate is not stored again.';
comment on column pay.event.partition is 'Partition of the raw topic.';
comment on column pay.event.kafka_offset is 'Offset in the partition.';
comment on column pay.event.traceparent is 'W3C Trace Context of the request that delivered it.';
comment on column pay.event.received_at is 'When ingest received it.';
comment on column pay.event.applied_at is 'When it was applied here.';
comment on function pay.ensure_event_month(date) is 'Makes the partition of pay.event that holds this month, if it is not there and the default partition holds none of its events.';

comment on table pay.stripe_object is 'The newest snapshot per account and object. A row without a kind is an id that was only named; it exists to be locked.';
comment on column pay.stripe_object.account is 'Stripe account that owns the object; empty when unknown.';
comment on column pay.stripe_object.object_id is 'Stripe id.';
comment on column pay.stripe_object.kind is 'Stripe''s object field; null while the id was only named.';
comment on column pay.stripe_object.ordering is 'Place of the snapshot in the total order of records; compares as bytes.';
comment on column pay.stripe_object.created is 'Stripe''s time of the record that gave the snapshot.';
comment on column pay.stripe_object.event_id is 'Event that gave the snapshot.';
comment on column pay.stripe_object.api_version is 'API version of the snapshot''s shape.';
comment on column pay.stripe_object.livemode is 'False for test objects.';
comment on column pay.stripe_object.connected is 'True once an event said that a connected account owns it.';
comment on column pay.stripe_object.deleted is 'True when the newest record says that the object was deleted.';
comment on column pay.stripe_object.tied is 'Two records of one second disagree about a passing status: Stripe must be asked.';
comment on column pay.stripe_object.snapshot is 'The object as Stripe sent it.';
comment on column pay.stripe_object.links is 'Ids of the same aggregate that this one names or that name it. Only grows.';
comment on column pay.stripe_object.depends_on is 'Connected account, acct_…, whose provider its rows or its ledger name.';
comment on column pay.stripe_object.authorized_at is 'Stripe''s time of the earliest record that shows it authorised.';
comment on column pay.stripe_object.captured_at is 'Stripe''s time of the earliest record that shows it captured.';
comment on column pay.stripe_object.failed_at is 'Stripe''s time of the earliest record that shows it failed or canceled.';
comment on column pay.stripe_object.updated_at is 'When this row last changed here.';

comment on table pay.fact is 'What records have proved, permanently: the earliest proof of each.';
comment on column pay.fact.fact_id is 'fct_…, derived from type, account and subject.';
comment on column pay.fact.type is 'Type of the domain event.';
comment on column pay.fact.account is 'Stripe account that owns the object; empty when unknown.';
comment on column pay.fact.subject is 'What the fact is about; docs/EVENTS.md lists the subjects.';
comment on column pay.fact.object_id is 'Object whose record proved it.';
comment on column pay.fact.created is 'Stripe''s time of the earliest proof.';
comment on column pay.fact.event_id is 'Event of the earliest proof.';
comment on column pay.fact.livemode is 'False for test facts.';
comment on column pay.fact.data is 'Content of the domain event.';
comment on column pay.fact.content_hash is 'SHA-256 of the canonical JSON of the content; decides between proofs of equal time and event.';
comment on column pay.fact.held is 'True while the aggregate does not bear it out, as for a refund of money that was never captured. Held facts are not published.';
comment on column pay.fact.recorded_at is 'When it was first recorded here.';

comment on table pay.outbox is 'Domain events that wait to be published. Acknowledged rows are deleted.';
comment on column pay.outbox.outbox_id is 'Order of queueing; carries no promise.';
comment on column pay.outbox.event_id is 'Id of the domain event: the fact''s id and a hash of the content.';
comment on column pay.outbox.fact_id is 'The fact.';
comment on column pay.outbox.type is 'Type of the domain event.';
comment on column pay.outbox.subject is 'Subject of the domain event.';
comment on column pay.outbox.payload is 'The CloudEvents JSON object, one line.';
comment on column pay.outbox.created_at is 'When it was queued.';
comment on column pay.outbox.attempts is 'How often it was claimed for sending.';
comment on column pay.outbox.leased_until is 'Until when a publisher holds it.';

comment on table pay.position is 'How far each role has read, written in the same transaction as its work.';
comment on column pay.position.role is 'project or archive.';
comment on column pay.position.cluster is 'Kafka''s cluster id.';
comment on column pay.position.topic_id is 'Kafka''s topic id: a topic made anew starts anew.';
comment on column pay.position.partition is 'Partition of the raw topic.';
comment on column pay.position.next_offset is 'First offset not yet dealt with. Only grows.';
comment on column pay.position.chain is 'Archive only: list hash of the last manifest.';
comment on column pay.position.updated_at is 'When it last moved.';

comment on table pay.quarantine is 'Records that could not be applied, whole, with the reason.';
comment on column pay.quarantine.cluster is 'Kafka''s cluster id.';
comment on column pay.quarantine.topic_id is 'Kafka''s topic id.';
comment on column pay.quarantine.partition is 'Partition of the raw topic.';
comment on column pay.quarantine.kafka_offset is 'Offset in the partition.';
comment on column pay.quarantine.reason is 'Reason code of a closed set.';
comment on column pay.quarantine.detail is 'Place in the JSON and what was wrong there; never a value.';
comment on column pay.quarantine.event_id is 'Stripe''s event id, where it could be read.';
comment on column pay.quarantine.kafka_timestamp is 'Kafka''s timestamp of the record.';
comment on column pay.quarantine.key is 'Record key.';
comment on column pay.quarantine.headers is 'Record headers as [name, base64 of value] pairs.';
comment on column pay.quarantine.body is 'Record value, byte for byte.';
comment on column pay.quarantine.quarantined_at is 'When it was put here.';

comment on table pay.rederive is 'Accounts whose provider changed, quotes and orders whose quotes changed; the projector derives again what hangs on them and empties this.';
comment on column pay.rederive.kind is 'account, quote or order.';
comment on column pay.rederive.done_account is 'Of an input with many dependents: account of the last that is done.';
comment on column pay.rederive.done_id is 'The same: its Stripe id.';
comment on column pay.rederive.refused is 'Why PostgreSQL refuses what it comes to; it is left alone until the input changes.';
comment on column pay.rederive.id is 'acct_…, the quote or the order.';
comment on column pay.rederive.queued_at is 'When it was queued.';
