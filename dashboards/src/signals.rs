//! The queries that panels show and alerts judge, each once.

/// 1 for each process that answers Prometheus.
pub const UP: &str = "up{<both>}";
/// Starts of each process.
pub const RESTARTS: &str = "changes(process_start_time_seconds{<both>}[30m])";

/// Kafka clients, 1 for those that reach no broker.
pub const KAFKA_UNREACHED: &str =
    "max by (job, instance, client) (kafka_client_broker_up{<both>}) == bool 0";
/// Records that Kafka did not acknowledge within five minutes.
pub const KAFKA_ERRORS: &str =
    r#"sum by (reason) (increase(ingest_publish_errors_total{<ingest>, reason!="too_large"}[5m]))"#;
/// Transactions within five minutes that PostgreSQL did not answer, or not in time.
pub const POSTGRES_ERRORS: &str = r#"sum by (reason) (increase(reconciler_transaction_retries_total{<reconciler>, reason!~"links|behind|serialization|deadlock"}[5m]))"#;
/// Writes to S3 that failed within five minutes.
pub const S3_ERRORS: &str =
    r#"sum(increase(reconciler_archive_puts_total{<reconciler>, result="failed"}[5m]))"#;
/// Calls to Firehose of which nothing came within five minutes.
pub const FIREHOSE_ERRORS: &str = r#"sum(increase(reconciler_publish_calls_total{<reconciler>, sink="firehose", result="failed"}[5m]))"#;

/// Genuine webhooks of the last half hour: what matched a secret, whatever came of it.
pub const WEBHOOKS: &str = "sum(increase(ingest_secret_matches_total{<ingest>}[30m]))";
/// The same half hour of last week.
pub const WEBHOOKS_LAST_WEEK: &str =
    "sum(increase(ingest_secret_matches_total{<ingest>}[30m] offset 1w))";

/// 0 for a role that has halted or ended.
pub const ROLE_UP: &str = "reconciler_role_up{<reconciler>}";
/// 1 while the breaker keeps the role paused.
pub const PAUSED: &str = "max by (role) (reconciler_paused{<reconciler>})";

/// Requests of Stripe's that were answered 200 in time.
pub const ANSWERED_IN_TIME: &str = r#"sum(rate(ingest_request_duration_seconds_bucket{<ingest>, outcome="accepted", le="<in time>"}[<window>]))"#;
/// Requests that were, or may have been, Stripe's and genuine: not those refused for their signature,
/// which anybody can send.
pub const ASKED: &str = r#"sum(rate(ingest_requests_total{<ingest>, outcome=~"accepted|unavailable|overloaded"}[<window>]))"#;
/// Requests within ten minutes to each endpoint.
pub const REQUESTS_10M: &str =
    r#"sum by (endpoint) (increase(ingest_requests_total{<ingest>, endpoint!="none"}[10m]))"#;
/// Of these, the ones refused for their signature.
pub const REFUSED_10M: &str =
    r#"sum by (endpoint) (increase(ingest_requests_total{<ingest>, outcome="refused"}[10m]))"#;
/// Genuine webhooks that were refused: their time is too far from ours.
pub const GENUINE_REFUSED: &str = r#"sum by (endpoint) (increase(ingest_refusals_total{<ingest>, reason="timestamp_outside_tolerance"}[5m]))"#;
/// Verified webhooks that are too large for Kafka, or bodies over our own limit.
pub const TOO_LARGE: &str =
    r#"sum by (endpoint) (increase(ingest_requests_total{<ingest>, outcome="too_large"}[1h]))"#;
/// Share of a day's requests to each endpoint that got a 200.
pub const STRIPE_SHARE: &str = r#"sum by (endpoint) (increase(ingest_requests_total{<ingest>, endpoint!="none", outcome="accepted"}[1d]))
/ sum by (endpoint) (increase(ingest_requests_total{<ingest>, endpoint!="none"}[1d]))"#;
/// Requests within an hour to each endpoint, the ones that say nothing of Stripe included.
pub const REQUESTS_1H: &str =
    r#"sum by (endpoint) (increase(ingest_requests_total{<ingest>, endpoint!="none"}[1h]))"#;
/// How often each secret matched within the time that makes it one in use.
pub const SECRET_MATCHES: &str =
    "sum by (endpoint, secret) (increase(ingest_secret_matches_total{<ingest>}[1d]))";
/// How often it did lately.
pub const SECRET_MATCHED: &str =
    "sum by (endpoint, secret) (increase(ingest_secret_matches_total{<ingest>}[1h]))";
/// 1 for each secret that is configured; indices shift when one is taken out.
pub const SECRET_ACTIVE: &str = "max by (endpoint, secret) (ingest_secret_active{<ingest>})";
/// How long the certificate is still valid. Only with TLS.
pub const CERTIFICATE: &str = "ingest_certificate_expiry_timestamp_seconds{<ingest>} - time()";

/// Records that each role has yet to do, over all processes.
pub const LAG_RECORDS: &str = "sum by (role) (reconciler_lag_records{<reconciler>})";
/// Age of the oldest record that the role project has yet to do.
pub const PROJECTION_LAG: &str = r#"max(reconciler_lag_seconds{<reconciler>, role="project"})"#;
/// Age of the oldest record that the role archive has yet to do.
pub const ARCHIVE_LAG: &str = r#"max(reconciler_lag_seconds{<reconciler>, role="archive"})"#;
/// Records of each partition that each role has yet to do, whether or not somebody consumes it.
pub const PARTITION_LAG: &str =
    "max by (role, partition) (reconciler_position_lag_records{<reconciler>})";
/// The least of that in five minutes: above 0 nobody, or somebody too slow, has the partition.
pub const PARTITION_LEAST_LAG: &str =
    "min by (role, partition) (min_over_time(reconciler_position_lag_records{<reconciler>}[5m]))";
/// How often it fell in five minutes: whoever works on a partition makes it fall.
pub const PARTITION_FALLS: &str =
    "max by (role, partition) (resets(reconciler_position_lag_records{<reconciler>}[5m]))";
/// Records of each partition that its consumer has yet to do; nothing where nobody consumes it.
pub const CONSUMED_LAG: &str = "max by (role, partition) (reconciler_lag_records{<reconciler>})";
/// Records that retention deleted before a role had read them.
pub const LOST: &str = "max by (role, partition) (reconciler_lost_records{<reconciler>})";
/// Webhooks whose rows were there in time.
pub const ROWS_IN_TIME: &str = r#"sum(rate(reconciler_webhook_to_row_seconds_bucket{<reconciler>, le="<in time>"}[<window>]))"#;
/// All of them.
pub const ROWS: &str = "sum(rate(reconciler_webhook_to_row_seconds_count{<reconciler>}[<window>]))";
/// Domain events that a sink had in time.
pub const PUBLISHED_IN_TIME: &str = r#"sum by (sink) (rate(reconciler_publish_delay_seconds_bucket{<reconciler>, le="<in time>"}[<window>]))"#;
/// All that a sink had.
pub const PUBLISHED: &str =
    "sum by (sink) (rate(reconciler_publish_delay_seconds_count{<reconciler>}[<window>]))";
/// Age of the oldest domain event that waits for each sink.
pub const OUTBOX_AGE: &str = "max by (sink) (reconciler_outbox_oldest_seconds{<reconciler>})";
/// Domain events that are too large for any sink.
pub const OUTBOX_PARKED: &str = "max by (sink) (reconciler_outbox_parked_rows{<reconciler>})";

/// Open records in quarantine.
pub const QUARANTINE: &str = "max by (reason) (reconciler_quarantine_open_records{<reconciler>})";
/// Age of the oldest open discrepancy of each kind.
pub const DISCREPANCY_AGE: &str =
    "max by (kind) (reconciler_discrepancies_oldest_seconds{<reconciler>})";
/// How much captured money the open ones are about, in minor units.
pub const DISCREPANCY_AMOUNT: &str =
    "max by (currency) (reconciler_discrepancies_open_minor_units{<reconciler>})";
/// Currencies whose postings do not add up to zero.
pub const LEDGER: &str = "max(reconciler_ledger_unbalanced_currencies{<reconciler>})";
/// How long ago the ledger was last checked.
pub const LEDGER_CHECK_AGE: &str =
    "time() - max(reconciler_ledger_checked_timestamp_seconds{<reconciler>})";
/// How long ago the gauges of the database were last read.
pub const SAMPLE_AGE: &str = "time() - max(reconciler_sampled_timestamp_seconds{<reconciler>})";
/// Quotes and providers that are set aside because PostgreSQL refused them.
pub const INPUTS_ASIDE: &str = "max by (kind) (reconciler_inputs_set_aside{<reconciler>})";
/// Dangers in the settings of the topics.
pub const TOPIC_DANGER: &str = r#"max by (code) (
  label_replace(ingest_topic_warning{<ingest>}, "code", "$1", "warning", "(.+)")
  or reconciler_topic_warning{<reconciler>}
)"#;
/// Share of the places in flight that are taken.
pub const IN_FLIGHT: &str =
    "ingest_in_flight_requests{<ingest>} / ingest_max_in_flight_requests{<ingest>}";
/// Share of the bytes in flight that are taken.
pub const IN_FLIGHT_BYTES: &str =
    "ingest_in_flight_bytes{<ingest>} / ingest_max_in_flight_bytes{<ingest>}";
/// Share of the connections that are open.
pub const CONNECTIONS: &str = "ingest_connections{<ingest>} / ingest_max_connections{<ingest>}";
/// Producers that each process replaced within an hour.
pub const PRODUCER_REPLACED: &str =
    "sum by (instance, cause) (increase(ingest_producer_replacements_total{<ingest>}[1h]))";
/// Reloads of the secrets that failed within an hour.
pub const RELOADS_FAILED: &str =
    r#"sum by (instance) (increase(ingest_secret_reloads_total{<ingest>, result="failed"}[1h]))"#;

/// Share of each endpoint's requests within ten minutes that were refused for their signature.
pub fn refused_share() -> String {
    format!("{REFUSED_10M}\n/ {REQUESTS_10M}")
}
