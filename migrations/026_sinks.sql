-- Domain events go to several sinks. Each has its own rows in the queue, so none waits for another.

alter table pay.outbox
  add column sink text not null default 'firehose' check (sink in ('firehose','kafka'));
-- The default was for the rows that waited when this was applied.
alter table pay.outbox alter column sink drop default;
alter table pay.outbox drop constraint outbox_event_id_key;
create unique index outbox_event on pay.outbox (sink, event_id);
-- A claim reads its own sink's rows only, however many wait for another.
create index outbox_queue on pay.outbox (sink, outbox_id);

comment on column pay.outbox.sink is 'Where it goes: firehose or kafka. One row for each sink.';
comment on column pay.fact.content_hash is 'SHA-256 of the canonical JSON of the domain event without its id; decides between proofs of equal time. Its first 64 bits end the event''s id.';
