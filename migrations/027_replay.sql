-- A replay keeps its place, so that one that was stopped or killed goes on where it was.

alter table pay.operation drop constraint operation_outcome_check;
alter table pay.operation
  add constraint operation_outcome_check check (outcome in ('done','found','failed','stopped')),
  add column noted_at timestamptz;

create table pay.replay_position (
  operation_id bigint not null references pay.operation,
  partition int not null,
  next_offset bigint not null,
  end_offset bigint not null,
  counts jsonb not null default '{}',
  primary key (operation_id, partition),
  constraint replay_position_within_check check (next_offset <= end_offset)
);

comment on column pay.operation.outcome is 'done, found, failed, stopped; null while it runs or when it was killed. One that was stopped can go on.';
comment on column pay.operation.summary is 'Counts and ids of what came of it; of a long command also while it runs.';
comment on column pay.operation.noted_at is 'When a long command last noted how far it is.';
comment on table pay.replay_position is 'How far a replay has applied each partition of what it reads. The roles'' own positions are in pay.position.';
comment on column pay.replay_position.operation_id is 'The replay.';
comment on column pay.replay_position.partition is 'Partition of the raw topic.';
comment on column pay.replay_position.next_offset is 'First offset not yet dealt with.';
comment on column pay.replay_position.end_offset is 'The offset behind the last that it is about, fixed when it began.';
comment on column pay.replay_position.counts is 'What came of what is done, written in the transaction of each batch.';
