//! The metrics, by name. Labels are closed sets: endpoint names come from the configuration.

use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};

pub(crate) const REQUESTS: &str = "ingest_requests_total";
pub(crate) const REQUEST_SECONDS: &str = "ingest_request_duration_seconds";
pub(crate) const REFUSALS: &str = "ingest_refusals_total";
pub(crate) const SECRET_MATCHES: &str = "ingest_secret_matches_total";
pub(crate) const SIGNATURE_AGE: &str = "ingest_signature_age_seconds";
pub(crate) const BODY_BYTES: &str = "ingest_body_bytes";
pub(crate) const NOT_JSON: &str = "ingest_not_json_total";
pub(crate) const PUBLISH_SECONDS: &str = "ingest_publish_duration_seconds";
pub(crate) const PUBLISH_ERRORS: &str = "ingest_publish_errors_total";
pub(crate) const PRODUCER_REPLACEMENTS: &str = "ingest_producer_replacements_total";
pub(crate) const IN_FLIGHT: &str = "ingest_in_flight_requests";
pub(crate) const IN_FLIGHT_BYTES: &str = "ingest_in_flight_bytes";
pub(crate) const CONNECTIONS: &str = "ingest_connections";
pub(crate) const CONNECTIONS_CLOSED: &str = "ingest_connections_closed_total";
pub(crate) const SECRETS: &str = "ingest_secrets";
pub(crate) const RELOADS: &str = "ingest_secret_reloads_total";
pub(crate) const TOPIC_WARNINGS: &str = "ingest_topic_warning";

/// Says what each metric means.
pub(crate) fn describe() {
    for (name, text) in [
        (REQUESTS, "Requests by endpoint and outcome; outcome `accepted` is a 200"),
        (REFUSALS, "Requests answered 400, by endpoint and reason"),
        (SECRET_MATCHES, "Signatures by the index of the secret that they match"),
        (NOT_JSON, "Accepted bodies that are not JSON, by endpoint"),
        (PUBLISH_ERRORS, "Records that Kafka did not acknowledge, by reason"),
        (PRODUCER_REPLACEMENTS, "Producers replaced after a fatal error"),
        (CONNECTIONS_CLOSED, "Connections that ended, by reason"),
        (RELOADS, "Reloads of the secrets, by result"),
    ] {
        describe_counter!(name, text);
    }
    for (name, text) in [
        (IN_FLIGHT, "Verified requests that Kafka has yet to acknowledge"),
        (IN_FLIGHT_BYTES, "Body bytes in progress"),
        (CONNECTIONS, "Open connections"),
        (SECRETS, "Active secrets by endpoint"),
        (TOPIC_WARNINGS, "1 while the raw topic has this dangerous setting"),
    ] {
        describe_gauge!(name, text);
    }
    describe_histogram!(REQUEST_SECONDS, Unit::Seconds, "From headers to answer, by outcome");
    describe_histogram!(PUBLISH_SECONDS, Unit::Seconds, "From record to acknowledgement");
    describe_histogram!(SIGNATURE_AGE, Unit::Seconds, "Our time less the signature's, verified");
    describe_histogram!(BODY_BYTES, Unit::Bytes, "Size of accepted bodies");
}
