-- Facts in the order of their time, so that their events can be published again a page at a time.
create index fact_created on pay.fact (created, fact_id) where not held;

comment on index pay.fact_created is 'The order in which `reconciler republish` goes through the facts that may be told.';
