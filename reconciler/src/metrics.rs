//! The metrics: their list.
//!
//! What is measured of the database or of the topic, not of the process, every process exports
//! alike: such a metric says so, and max() over the processes is its value.

use std::time::{SystemTime, UNIX_EPOCH};

use domain::catalog::{self, Handling};
use domain::event::Reason;
use domain::quote::Misfit;
use service::metrics::{AGE, COUNT, Counter, Gauge, Histogram, LONG, Label};

use crate::config::Role;
use crate::fault::{Cause, Decision};
use crate::sink::Sink;
use crate::store::{Step, Verdict};

/// The value of the label `type` of an event that is not modelled.
pub(crate) const OTHER: &str = "other";

const ROLE: Label = Label::one_of("role", || Role::ALL.map(Role::as_str).to_vec());
/// The roles that read the topic.
const READER: Label = Label::one_of("role", || vec!["project", "archive"]);
/// The role that the breaker pauses.
const PAUSES: Label = Label::one_of("role", || vec!["project"]);
/// The roles, and whatever else tries again. What commands count is not exported.
const WHERE: Label = Label::one_of("role", || {
    vec![
        "start",
        "project",
        "archive",
        "publish",
        "sample",
        "console",
        "replay",
        "redrive",
        "rebuild",
        "republish",
        "archive-reader",
        "archive-erase",
        "topic-reader",
    ]
});
const DECISION: Label = Label::one_of("decision", || Decision::ALL.map(Decision::as_str).to_vec());
const CAUSE: Label = Label::one_of("reason", || Cause::ALL.map(Cause::as_str).to_vec());
const PARTITION: Label = Label::number("partition", "partition of the raw topic");
const VERDICT: Label = Label::one_of("verdict", || Verdict::ALL.map(Verdict::as_str).to_vec());
const TYPE: Label = Label::one_of("type", || {
    catalog::types(Handling::Modelled).iter().copied().chain([OTHER]).collect()
});
const STEP: Label = Label::one_of("step", || Step::ALL.map(Step::as_str).to_vec());
const REASON: Label = Label::one_of("reason", || Reason::ALL.map(Reason::as_str).to_vec());
const SINK: Label = Label::one_of("sink", || Sink::ALL.map(Sink::as_str).to_vec());
const RESULT: Label = Label::one_of("result", || vec!["sent", "refused", "parked"]);
const CALL: Label = Label::one_of("result", || vec!["ok", "partial", "failed"]);
const HOW: Label = Label::one_of("how", || vec!["written", "adopted"]);
const OBJECT: Label = Label::one_of("object", || vec!["segment", "manifest"]);
const PUT: Label = Label::one_of("result", || vec!["written", "existed", "failed"]);
/// Of an answer's status.
const CLASS: Label = Label::one_of("class", || vec!["2xx", "3xx", "4xx", "5xx"]);
const MOVE: Label = Label::one_of("move", || vec!["assigned", "revoked"]);
const POOL: Label =
    Label::one_of("pool", || vec!["start", "positions", "project", "archive", "publish", "sample"]);
const STATE: Label = Label::one_of("state", || vec!["in_use", "idle"]);
const INPUT: Label = Label::one_of("kind", || vec!["account", "quote", "order"]);
const KIND: Label =
    Label::one_of("kind", || Misfit::ALL.map(Misfit::as_str).into_iter().chain([OTHER]).collect());
const ACCOUNT: Label = Label::named("account", "account of the ledger, as in docs/LEDGER.md");
const CURRENCY: Label = Label::named("currency", "ISO 4217, upper case");
const TOPIC: Label = Label::named("topic", "topic in `KAFKA_TOPIC` or `DOMAIN_TOPIC`");
const WARNING: Label = Label::one_of("code", || kafka::topic::Warning::CODES.to_vec());

service::metrics! {
    pub(crate) fn all;
    /// Answers of the console, by the class of their status.
    pub(crate) CONSOLE_REQUESTS: Counter = "reconciler_console_requests_total" [CLASS];
    /// 1 while the role runs in this process, 0 once it has ended or halted.
    pub(crate) ROLE_UP: Gauge = "reconciler_role_up" [ROLE];
    /// 1 while the breaker keeps the role paused, else 0. Of the topic: max() over processes.
    pub(crate) PAUSED: Gauge = "reconciler_paused" [PAUSES];
    /// Batches that tripped the breaker.
    pub(crate) BREAKER_TRIPS: Counter = "reconciler_breaker_trips_total" [];
    /// Faults, by the role that met them and what was decided: all but `halt` go on.
    pub(crate) FAULTS: Counter = "reconciler_faults_total" [WHERE, DECISION];
    /// 1 for each danger in a topic's settings.
    pub(crate) TOPIC_WARNINGS: Gauge = "reconciler_topic_warning" [TOPIC, WARNING];

    /// Partitions that this process works on.
    pub(crate) ASSIGNED: Gauge = "reconciler_assigned_partitions" [READER];
    /// Assignments and revocations of partitions by the consumer group.
    pub(crate) REBALANCES: Counter = "reconciler_rebalances_total" [READER, MOVE];
    /// Records that the role has yet to do; 0 where another process has the partition, so max() or
    /// sum() over processes.
    pub(crate) LAG: Gauge = "reconciler_lag_records" [READER, PARTITION];
    /// Age of the oldest record that the role has yet to do, to the second, by Kafka's timestamp; 0
    /// where it has none or another process has the partition, so max() over processes.
    pub(crate) LAG_SECONDS: Gauge = "reconciler_lag_seconds" [READER, PARTITION];
    /// Records behind the role's stored position, whoever has the partition, or nobody: what shows a
    /// partition that nobody reads. A role without any position has no series. Of the topic: max()
    /// over processes.
    pub(crate) POSITION_LAG: Gauge = "reconciler_position_lag_records" [READER, PARTITION];
    /// Records that the log has deleted before the role read them, found at the last assignment: the
    /// role halts; see `reconciler replay archive`.
    pub(crate) LOST: Gauge = "reconciler_lost_records" [READER, PARTITION];
    /// Records read and dealt with.
    pub(crate) CONSUMED: Counter = "reconciler_consumed_records_total" [READER];
    /// Records that were dealt with together.
    pub(crate) BATCH: Histogram = "reconciler_batch_records" [READER] in COUNT;

    /// Records by what became of their event.
    pub(crate) EVENTS: Counter = "reconciler_events_total" [VERDICT];
    /// Events that were new, by Stripe's type where it is modelled.
    pub(crate) EVENT_TYPES: Counter = "reconciler_events_by_type_total" [TYPE];
    /// Records that went to quarantine.
    pub(crate) QUARANTINED: Counter = "reconciler_quarantined_total" [REASON];
    /// Domain events that were queued to be published, one for each sink.
    pub(crate) QUEUED: Counter = "reconciler_domain_events_queued_total" [];
    /// One batch from decoded to committed, every attempt included.
    pub(crate) APPLY_SECONDS: Histogram = "reconciler_apply_seconds" [] in LONG;
    /// One statement of a batch's transaction, or what is computed before the next.
    pub(crate) STEP_SECONDS: Histogram = "reconciler_apply_step_seconds" [STEP] in LONG;
    /// Transactions that were rolled back and tried again.
    pub(crate) TRANSACTION_RETRIES: Counter = "reconciler_transaction_retries_total" [CAUSE];
    /// From ingest's receipt to the commit of the rows, of new events.
    pub(crate) WEBHOOK_TO_ROW: Histogram = "reconciler_webhook_to_row_seconds" [] in AGE;
    /// Stripe's time of the newest event that this process has applied; max() over processes.
    pub(crate) NEWEST_APPLIED: Gauge = "reconciler_newest_applied_timestamp_seconds" [];
    /// Quotes and provider links that PostgreSQL refused; set aside until they change.
    pub(crate) INPUTS_REFUSED: Counter = "reconciler_inputs_refused_total" [INPUT];

    /// Lines that are not in S3 yet, before compression.
    pub(crate) ARCHIVE_OPEN_BYTES: Gauge = "reconciler_archive_open_bytes" [];
    /// Segments in S3, written by this process or adopted from another writer.
    pub(crate) ARCHIVE_SEGMENTS: Counter = "reconciler_archive_segments_total" [HOW];
    /// Records in these segments.
    pub(crate) ARCHIVE_RECORDS: Counter = "reconciler_archive_records_total" [];
    /// Compressed bytes of segments written to S3.
    pub(crate) ARCHIVE_STORED: Counter = "reconciler_archive_stored_bytes_total" [];
    /// Conditional PUTs to S3; `existed` means that another writer was first.
    pub(crate) ARCHIVE_PUTS: Counter = "reconciler_archive_puts_total" [OBJECT, PUT];
    /// From a segment's closing to its position, retries included.
    pub(crate) ARCHIVE_UPLOAD: Histogram = "reconciler_archive_upload_seconds" [] in LONG;
    /// When the last segment was complete: segment, manifest and position.
    pub(crate) ARCHIVE_LAST: Gauge = "reconciler_archive_last_segment_timestamp_seconds" [];

    /// Domain events that the sink took, refused (each is tried again) or can never take (parked).
    pub(crate) PUBLISHED: Counter = "reconciler_publish_events_total" [SINK, RESULT];
    /// Domain events that were sent again: a refusal, a failed call or an ended lease came before.
    pub(crate) PUBLISH_RETRIED: Counter = "reconciler_publish_retried_events_total" [SINK];
    /// Calls to a sink: `partial` refused some entries, `failed` took none.
    pub(crate) PUBLISH_CALLS: Counter = "reconciler_publish_calls_total" [SINK, CALL];
    /// Calls to a sink that were answered.
    pub(crate) PUBLISH_SECONDS: Histogram = "reconciler_publish_call_seconds" [SINK] in LONG;
    /// From queueing a domain event to the sink's acknowledgement.
    pub(crate) PUBLISH_DELAY: Histogram = "reconciler_publish_delay_seconds" [SINK] in AGE;
    /// Producers of the sink `kafka` that failed or timed out and were replaced.
    pub(crate) PRODUCER_REPLACEMENTS: Counter = "reconciler_publish_producer_replacements_total" [];
    /// Domain events that wait to be published. Of the database: max() over processes.
    pub(crate) OUTBOX: Gauge = "reconciler_outbox_rows" [SINK];
    /// Domain events too large to be published. Of the database: max() over processes.
    pub(crate) OUTBOX_PARKED: Gauge = "reconciler_outbox_parked_rows" [SINK];
    /// Age of the oldest domain event that waits, 0 if none does. Of the database: max() over
    /// processes.
    pub(crate) OUTBOX_OLDEST: Gauge = "reconciler_outbox_oldest_seconds" [SINK];

    /// Connections to PostgreSQL that this process has open.
    pub(crate) POOL_CONNECTIONS: Gauge = "reconciler_database_connections" [POOL, STATE];
    /// Most connections of the pool.
    pub(crate) POOL_MAX: Gauge = "reconciler_database_max_connections" [POOL];
    /// Waiting for a connection to PostgreSQL, making one included.
    pub(crate) ACQUIRE_SECONDS: Histogram = "reconciler_database_acquire_seconds" [] in LONG;

    /// Discrepancies that are open. Of the database: max() over processes.
    pub(crate) DISCREPANCIES: Gauge = "reconciler_discrepancies_open" [KIND];
    /// What is left of the captured money of payments with an open discrepancy. Of the database:
    /// max() over processes.
    pub(crate) DISCREPANCIES_MONEY: Gauge =
        "reconciler_discrepancies_open_minor_units" [CURRENCY];
    /// Age of the oldest open discrepancy, 0 if there is none. Of the database: max() over processes.
    pub(crate) DISCREPANCIES_OLDEST: Gauge = "reconciler_discrepancies_oldest_seconds" [KIND];
    /// Records in quarantine that nobody has dealt with. Of the database: max() over processes.
    pub(crate) QUARANTINE_OPEN: Gauge = "reconciler_quarantine_open_records" [REASON];
    /// Age of the oldest of them, 0 if there is none. Of the database: max() over processes.
    pub(crate) QUARANTINE_OLDEST: Gauge = "reconciler_quarantine_oldest_seconds" [];
    /// Inputs that wait to be taken into account. Of the database: max() over processes.
    pub(crate) INPUTS_WAITING: Gauge = "reconciler_inputs_waiting" [INPUT];
    /// Inputs that are set aside because PostgreSQL refused them. Of the database: max() over
    /// processes.
    pub(crate) INPUTS_ASIDE: Gauge = "reconciler_inputs_set_aside" [INPUT];
    /// Currencies whose postings do not add up to zero, as of the last check: must be 0. Of the
    /// database: max() over processes.
    pub(crate) LEDGER_UNBALANCED: Gauge = "reconciler_ledger_unbalanced_currencies" [];
    /// What each account of the ledger adds up to in minor units, debit positive, as of the last
    /// check. Of the database: max() over processes.
    pub(crate) LEDGER_BALANCE: Gauge = "reconciler_ledger_balance_minor_units" [ACCOUNT, CURRENCY];
    /// When the ledger was last checked; max() over processes.
    pub(crate) LEDGER_CHECKED: Gauge = "reconciler_ledger_checked_timestamp_seconds" [];
    /// When the gauges of the database were last read; max() over processes.
    pub(crate) SAMPLED: Gauge = "reconciler_sampled_timestamp_seconds" [];
}

/// Of a whole number, which a float holds exactly as far as anybody counts.
#[expect(clippy::cast_precision_loss, reason = "metrics are floats")]
pub(crate) fn number(value: i64) -> f64 {
    value as f64
}

/// Now, as Unix time in seconds.
pub(crate) fn now_s() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_document_says_what_the_list_says() {
        service::metrics::document::check("reconciler", &super::all());
    }
}
