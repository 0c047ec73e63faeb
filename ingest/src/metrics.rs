//! The metrics: their list, and the handles that every request uses.

mod meter;

use domain::signature::Refusal;
use service::metrics::{AGE, BYTES, Counter, Gauge, Histogram, LONG, Label, SHORT};

pub(crate) use self::meter::{EndpointMeter, Meter};
use crate::answer::Answer;
use crate::config::Settings;
use crate::connection::End;
use crate::publish::PublishError;

const ENDPOINT: Label =
    Label::named("endpoint", "endpoint in `STRIPE_WEBHOOK_SECRETS`; `none` for other paths");
const SECRET: Label = Label::number("secret", "index of the secret among its endpoint's, from 0");
const OUTCOME: Label = Label::one_of("outcome", || Answer::OUTCOMES.to_vec());
const REASON: Label = Label::one_of("reason", || Refusal::ALL.map(Refusal::code).to_vec());
const ERROR: Label = Label::one_of("reason", || PublishError::CODES.to_vec());
const CLOSED: Label = Label::one_of("reason", || End::ALL.map(End::code).to_vec());
const CAUSE: Label = Label::one_of("cause", || vec!["fatal", "stuck"]);
const RESULT: Label = Label::one_of("result", || vec!["ok", "failed"]);
const WARNING: Label = Label::one_of("warning", || kafka::topic::Warning::CODES.to_vec());

service::metrics! {
    pub(crate) fn all;
    /// Requests by endpoint and outcome; `accepted` is a 200.
    pub(crate) REQUESTS: Counter = "ingest_requests_total" [ENDPOINT, OUTCOME];
    /// Requests whose signature does not verify (400), by endpoint and reason.
    pub(crate) REFUSALS: Counter = "ingest_refusals_total" [ENDPOINT, REASON];
    /// Requests that verified, by endpoint and the secret that they match.
    pub(crate) SECRET_MATCHES: Counter = "ingest_secret_matches_total" [ENDPOINT, SECRET];
    /// When a request last matched this secret; 0 if none has since the start.
    pub(crate) SECRET_LAST_MATCH: Gauge =
        "ingest_secret_last_match_timestamp_seconds" [ENDPOINT, SECRET];
    /// 1 while a secret has this index, 0 once a reload has left none there.
    pub(crate) SECRET_ACTIVE: Gauge = "ingest_secret_active" [ENDPOINT, SECRET];
    /// Active secrets of each endpoint.
    pub(crate) SECRETS: Gauge = "ingest_secrets" [ENDPOINT];
    /// Reloads of the secrets.
    pub(crate) RELOADS: Counter = "ingest_secret_reloads_total" [RESULT];
    /// From a request's headers to its answer.
    pub(crate) REQUEST_SECONDS: Histogram = "ingest_request_duration_seconds" [OUTCOME] in LONG;
    /// From a request's headers to the end of its body, whole or not.
    pub(crate) BODY_SECONDS: Histogram = "ingest_body_read_duration_seconds" [] in LONG;
    /// Verifying a signature, genuine or not.
    pub(crate) VERIFY_SECONDS: Histogram = "ingest_verify_duration_seconds" [] in SHORT;
    /// From a record to Kafka's acknowledgement, or to giving up.
    pub(crate) PUBLISH_SECONDS: Histogram = "ingest_publish_duration_seconds" [] in LONG;
    /// Our time less the signature's, of requests that verified.
    pub(crate) SIGNATURE_AGE: Histogram = "ingest_signature_age_seconds" [] in AGE;
    /// Size of bodies that verified.
    pub(crate) BODY_BYTES: Histogram = "ingest_body_bytes" [] in BYTES;
    /// Bodies that verified and are not JSON; they are accepted.
    pub(crate) NOT_JSON: Counter = "ingest_not_json_total" [ENDPOINT];
    /// Records that Kafka did not acknowledge.
    pub(crate) PUBLISH_ERRORS: Counter = "ingest_publish_errors_total" [ERROR];
    /// Producers that were replaced: after a fatal error, or stuck while Kafka has a leader.
    pub(crate) PRODUCER_REPLACEMENTS: Counter = "ingest_producer_replacements_total" [CAUSE];
    /// Verified requests that Kafka has yet to acknowledge.
    pub(crate) IN_FLIGHT: Gauge = "ingest_in_flight_requests" [];
    /// Body bytes in progress.
    pub(crate) IN_FLIGHT_BYTES: Gauge = "ingest_in_flight_bytes" [];
    /// Open connections.
    pub(crate) CONNECTIONS: Gauge = "ingest_connections" [];
    /// Connections that were accepted.
    pub(crate) CONNECTIONS_ACCEPTED: Counter = "ingest_connections_accepted_total" [];
    /// Times that accepting waited because INGEST_MAX_CONNECTIONS were open.
    pub(crate) CONNECTIONS_HELD_BACK: Counter = "ingest_connections_held_back_total" [];
    /// Connections that could not be accepted, for want of file descriptors mostly.
    pub(crate) ACCEPT_ERRORS: Counter = "ingest_accept_errors_total" [];
    /// Connections that ended.
    pub(crate) CONNECTIONS_CLOSED: Counter = "ingest_connections_closed_total" [CLOSED];
    /// 1 from SIGTERM on, before it 0.
    pub(crate) DRAINING: Gauge = "ingest_draining" [];
    /// 1 while the raw topic has this dangerous setting.
    pub(crate) TOPIC_WARNINGS: Gauge = "ingest_topic_warning" [WARNING];
    /// The setting INGEST_MAX_CONNECTIONS: most connections.
    pub(crate) MAX_CONNECTIONS: Gauge = "ingest_max_connections" [];
    /// The setting INGEST_MAX_IN_FLIGHT: most requests in flight.
    pub(crate) MAX_IN_FLIGHT: Gauge = "ingest_max_in_flight_requests" [];
    /// The setting INGEST_MAX_IN_FLIGHT_BYTES: most body bytes in progress.
    pub(crate) MAX_IN_FLIGHT_BYTES: Gauge = "ingest_max_in_flight_bytes" [];
    /// The setting INGEST_MAX_BODY_BYTES: largest body.
    pub(crate) MAX_BODY_BYTES: Gauge = "ingest_max_body_bytes" [];
    /// The setting KAFKA_DELIVERY_TIMEOUT: longest wait for an acknowledgement.
    pub(crate) DELIVERY_TIMEOUT: Gauge = "ingest_delivery_timeout_seconds" [];
    /// The setting STRIPE_SIGNATURE_TOLERANCE: largest age of a signature.
    pub(crate) TOLERANCE: Gauge = "ingest_signature_tolerance_seconds" [];
}

/// Shows the limits that are set, and that nothing drains yet.
#[expect(clippy::cast_precision_loss, reason = "gauges")]
pub(crate) fn show_limits(settings: &Settings) {
    let limits = &settings.limits;
    MAX_CONNECTIONS.only().set(limits.ingest_max_connections as f64);
    MAX_IN_FLIGHT.only().set(limits.ingest_max_in_flight as f64);
    MAX_IN_FLIGHT_BYTES.only().set(limits.ingest_max_in_flight_bytes as f64);
    MAX_BODY_BYTES.only().set(limits.ingest_max_body_bytes as f64);
    DELIVERY_TIMEOUT.only().set(settings.kafka_delivery_timeout.as_secs_f64());
    TOLERANCE.only().set(settings.stripe.stripe_signature_tolerance.as_secs_f64());
    DRAINING.only().set(0);
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_document_says_what_the_list_says() {
        service::metrics::document::check("ingest", &super::all());
    }
}
