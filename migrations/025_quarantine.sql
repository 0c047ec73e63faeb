-- What people do: which command, by whom, on what. The quarantine's reasons and states as closed sets,
-- and the breaker that pauses the projection before a bad deploy drains the topic into quarantine.

create table pay.operation (
  operation_id bigint generated always as identity primary key,
  command text not null,
  arguments jsonb not null default '{}',
  actor text not null,
  host text not null,
  started_at timestamptz not null default clock_timestamp(),
  ended_at timestamptz,
  outcome text check (outcome in ('done','found','failed')),
  summary jsonb not null default '{}',
  constraint operation_ended_check check ((ended_at is null) = (outcome is null))
);
create index operation_started on pay.operation (started_at);

alter table pay.quarantine
  add column state text not null default 'open'
    constraint quarantine_state_check check (state in ('open','redriven','discarded')),
  add column resolved_at timestamptz,
  add column resolved_by bigint constraint quarantine_resolved_by_fkey references pay.operation,
  add column note text,
  add constraint quarantine_reason_check check (reason in (
    'unknown_source','empty','too_large','not_json','nul_character','bad_id','field_missing',
    'wrong_type','unknown_status','database_refused')),
  add constraint quarantine_resolved_check check (
    (state = 'open') = (resolved_at is null) and (state = 'open') = (resolved_by is null));
create index quarantine_open on pay.quarantine (reason) where state = 'open';

create table pay.breaker (
  cluster text not null,
  topic_id text not null,
  state text not null check (state in ('paused','resumed')),
  looked_at int not null check (looked_at > 0),
  quarantined int not null check (quarantined between 0 and looked_at),
  share double precision not null,
  reasons jsonb not null,
  examples jsonb not null,
  through jsonb not null,
  tripped_at timestamptz not null default clock_timestamp(),
  resumed_at timestamptz,
  resumed_by bigint references pay.operation,
  note text,
  primary key (cluster, topic_id),
  constraint breaker_resumed_check check (
    (state = 'paused') = (resumed_at is null) and (state = 'paused') = (resumed_by is null))
);

comment on table pay.operation is 'Who ran which command on what: a row for each command that changes something or reveals personal data.';
comment on column pay.operation.operation_id is 'Order of starting.';
comment on column pay.operation.command is 'The command, such as quarantine redrive.';
comment on column pay.operation.arguments is 'What it was asked to do; never a secret.';
comment on column pay.operation.actor is 'Who ran it: the name given with --as or OPERATOR, else the user of the operating system.';
comment on column pay.operation.host is 'Machine on which it ran.';
comment on column pay.operation.started_at is 'When it began.';
comment on column pay.operation.ended_at is 'When it ended; null while it runs, and for ever if it was killed.';
comment on column pay.operation.outcome is 'done, found (done, and something is left for a person) or failed; null until it has ended.';
comment on column pay.operation.summary is 'What it came to.';

comment on column pay.quarantine.state is 'open, redriven (applied since) or discarded (given up, with a reason in note).';
comment on column pay.quarantine.resolved_at is 'When it was redriven or discarded.';
comment on column pay.quarantine.resolved_by is 'Operation that redrove or discarded it.';
comment on column pay.quarantine.note is 'Why it was discarded.';
comment on constraint quarantine_reason_check on pay.quarantine is 'The closed set of reasons; README.md lists them.';

comment on table pay.breaker is 'Topics whose projection paused because too much would have gone to quarantine: the last time for each.';
comment on column pay.breaker.cluster is 'Kafka''s cluster id.';
comment on column pay.breaker.topic_id is 'Kafka''s topic id.';
comment on column pay.breaker.state is 'paused: no projector of the topic commits; resumed: they do again.';
comment on column pay.breaker.looked_at is 'Records in the window that tripped.';
comment on column pay.breaker.quarantined is 'How many of them would have gone to quarantine.';
comment on column pay.breaker.share is 'The share that was allowed.';
comment on column pay.breaker.reasons is 'The window''s quarantined records by reason.';
comment on column pay.breaker.examples is 'Some of them: position, reason and detail. They are in the topic, not in pay.quarantine.';
comment on column pay.breaker.through is 'By partition, the offset before which records are no longer judged once it is resumed.';
comment on column pay.breaker.tripped_at is 'When it paused.';
comment on column pay.breaker.resumed_at is 'When it was resumed.';
comment on column pay.breaker.resumed_by is 'Operation that resumed it.';
comment on column pay.breaker.note is 'Why it was resumed.';
