//! Ingest: is Stripe answered, and if not, why.

use super::{INGEST, areas, kafka_clients, lines, processes, quantile, which_part};
use crate::board::{Board, Row};
use crate::panel::{Steps, Unit};
use crate::rules::answers::objective;
use crate::settings::{ANSWERS_OBJECTIVE, LIMIT_SHARE};
use crate::signals;

pub(super) fn board() -> Board {
    Board {
        uid: INGEST,
        title: "Stripe: ingest",
        description: "Is Stripe answered, and if not: is it Kafka, the request, or a limit?",
        rows: vec![
            which_part(),
            answered(),
            written(),
            kafka_clients("<ingest>"),
            genuine(),
            limits(),
            processes("<ingest>"),
        ],
    }
}

fn answered() -> Row {
    const SECONDS: &str = "ingest_request_duration_seconds";
    Row::new(
        "Is Stripe answered?",
        [
            areas(
                "Requests by outcome",
                Unit::PerSecond,
                8,
                "What requests came to, a second. `accepted` is a 200; `unavailable` and `overloaded` are \
                 503s, which Stripe sends again; `refused` are signatures that do not verify.",
            )
            .query("sum by (outcome) (rate(ingest_requests_total{<ingest>}[<window>]))", "{{outcome}}")
            .alerts(&["AnswersBurnFast", "EndpointRefused"]),
            lines(
                "Not answered 200 in time",
                Unit::Share,
                8,
                "Share of Stripe's requests that got a 503, or a 200 too late. The line is what the \
                 objective allows.",
            )
            .query(&objective().bad(), "not in time")
            .steps(Steps::Bad(1.0 - ANSWERS_OBJECTIVE))
            .alerts(&["AnswersBurnFast", "AnswersBurnSlow"]),
            lines(
                "Time to a 200",
                Unit::Seconds,
                8,
                "From a request's headers to its answer, of accepted requests.",
            )
            .query(&quantile(0.5, SECONDS, r#"<ingest>, outcome="accepted""#, ""), "half")
            .query(&quantile(0.99, SECONDS, r#"<ingest>, outcome="accepted""#, ""), "99 %")
            .alerts(&["AnswersBurnFast"]),
        ],
    )
}

fn written() -> Row {
    Row::new(
        "Does Kafka take the records?",
        [
            lines(
                "Time to an acknowledgement",
                Unit::Seconds,
                8,
                "From a record to Kafka's acknowledgement, or to giving up after \
                     KAFKA_DELIVERY_TIMEOUT.",
            )
            .query(&quantile(0.5, "ingest_publish_duration_seconds", "<ingest>", ""), "half")
            .query(&quantile(0.99, "ingest_publish_duration_seconds", "<ingest>", ""), "99 %")
            .query("max(ingest_delivery_timeout_seconds{<ingest>})", "giving up")
            .alerts(&["AnswersBurnFast", "KafkaNotAcknowledging"]),
            areas(
                "Records not acknowledged",
                Unit::PerSecond,
                8,
                "By reason. `too_large` never gets in; `fatal` replaces the producer; the \
                     others pass.",
            )
            .query(
                "sum by (reason) (rate(ingest_publish_errors_total{<ingest>}[<window>]))",
                "{{reason}}",
            )
            .alerts(&["KafkaNotAcknowledging", "EventTooLarge"]),
            lines(
                "Producer",
                Unit::Share,
                8,
                "How full its queue is, and how many producers were replaced within an hour.",
            )
            .query(
                "kafka_client_queue_bytes{<ingest>} / kafka_client_queue_max_bytes{<ingest>}",
                "{{instance}} bytes",
            )
            .query(
                "kafka_client_queue_messages{<ingest>} / kafka_client_queue_max_messages{<ingest>}",
                "{{instance}} messages",
            )
            .alerts(&["ProducerReplaced"]),
            lines(
                "Producers replaced",
                Unit::Count,
                8,
                "Within an hour: after a fatal error, or stuck while Kafka has a leader.",
            )
            .query(signals::PRODUCER_REPLACED, "{{instance}} {{cause}}")
            .alerts(&["ProducerReplaced"]),
            lines(
                "Time in the producer's queue",
                Unit::Seconds,
                8,
                "99th percentile of the time that records waited before they were sent to \
                     a broker.",
            )
            .query(
                "max by (instance, broker) (kafka_client_broker_queued_p99_seconds{<ingest>})",
                "{{instance}} broker {{broker}}",
            ),
            lines(
                "Dangers in the topic's settings",
                Unit::Count,
                8,
                "1 for each: short retention, or one in-sync replica.",
            )
            .query(signals::TOPIC_DANGER, "{{code}}")
            .steps(Steps::Bad(1.0))
            .alerts(&["TopicInDanger"]),
        ],
    )
}

fn genuine() -> Row {
    Row::new(
        "Are the requests Stripe's?",
        [
            areas(
                "Refused signatures",
                Unit::PerSecond,
                8,
                "By endpoint and reason. `timestamp_outside_tolerance` is a genuine signature, all others \
                 anybody can cause.",
            )
            .query(
                "sum by (endpoint, reason) (rate(ingest_refusals_total{<ingest>}[<window>]))",
                "{{endpoint}} {{reason}}",
            )
            .alerts(&["EndpointRefused", "GenuineRefused"]),
            lines(
                "Secrets that match",
                Unit::PerSecond,
                8,
                    "Verified requests by endpoint and index of the secret. While a secret is \
                     rolled, both match.",
            )
            .query(
                "sum by (endpoint, secret) (rate(ingest_secret_matches_total{<ingest>}[<window>]))",
                "{{endpoint}} secret {{secret}}",
            )
            .alerts(&["SecretNoLongerMatches"]),
            lines(
                "Since a secret matched",
                Unit::Seconds,
                8,
                "Time since each secret last matched a request.",
            )
            .query(
                "time() - (max by (endpoint, secret) (ingest_secret_last_match_timestamp_seconds{<ingest>}) > 0)",
                "{{endpoint}} secret {{secret}}",
            )
            .alerts(&["SecretNoLongerMatches", "SecretReloadFailed"]),
            lines(
                "Age of signatures",
                Unit::Seconds,
                8,
                "Our time less the signature's, of verified requests: how long Stripe's requests were under \
                 way, and how far the clocks are apart.",
            )
            .query(&quantile(0.99, "ingest_signature_age_seconds", "<ingest>", ""), "99 %")
            .query("max(ingest_signature_tolerance_seconds{<ingest>})", "refused from here")
            .alerts(&["GenuineRefused"]),
            lines(
                "Size of bodies",
                Unit::Bytes,
                8,
                "Of verified requests, and the largest that is taken.",
            )
            .query(&quantile(0.5, "ingest_body_bytes", "<ingest>", ""), "half")
            .query(&quantile(0.99, "ingest_body_bytes", "<ingest>", ""), "99 %")
            .query("max(ingest_max_body_bytes{<ingest>})", "largest")
            .alerts(&["EventTooLarge"]),
            lines(
                "Accepted though not JSON",
                Unit::PerSecond,
                8,
                    "Verified bodies that are not JSON. They are written and answered 200, and \
                     go to quarantine.",
            )
            .query("sum by (endpoint) (rate(ingest_not_json_total{<ingest>}[<window>]))", "{{endpoint}}")
            .alerts(&["RecordsInQuarantine"]),
        ],
    )
}

fn limits() -> Row {
    let full = Steps::WarnBad(LIMIT_SHARE, 1.0);
    Row::new(
        "Is it full?",
        [
            lines(
                "Places in flight",
                Unit::Share,
                8,
                "Share of INGEST_MAX_IN_FLIGHT and INGEST_MAX_IN_FLIGHT_BYTES in use; at 100 % Stripe is \
                 answered 503.",
            )
            .query(signals::IN_FLIGHT, "{{instance}} requests")
            .query(signals::IN_FLIGHT_BYTES, "{{instance}} bytes")
            .steps(full)
            .alerts(&["IngestNearLimit"]),
            lines(
                "Connections",
                Unit::Share,
                8,
                "Share of INGEST_MAX_CONNECTIONS that are open; at 100 % more of them wait.",
            )
            .query(signals::CONNECTIONS, "{{instance}}")
            .steps(full)
            .alerts(&["IngestNearLimit"]),
            areas(
                "Connections that begin and end",
                Unit::PerSecond,
                8,
                "Accepted, held back at the limit, not accepted for want of file descriptors, and ended by \
                 reason.",
            )
            .query("sum(rate(ingest_connections_accepted_total{<ingest>}[<window>]))", "accepted")
            .query("sum(rate(ingest_connections_held_back_total{<ingest>}[<window>]))", "held back")
            .query("sum(rate(ingest_accept_errors_total{<ingest>}[<window>]))", "not accepted")
            .query(
                "sum by (reason) (rate(ingest_connections_closed_total{<ingest>}[<window>]))",
                "ended: {{reason}}",
            )
            .alerts(&["IngestNearLimit"]),
            lines(
                "Time to read a body",
                Unit::Seconds,
                8,
                    "From a request's headers to the end of its body. Slow senders, or too \
                     little processor time.",
            )
            .query(&quantile(0.99, "ingest_body_read_duration_seconds", "<ingest>", ""), "99 %"),
            lines("Time to verify", Unit::Seconds, 8,
                "Verifying a signature: processor time alone.")
                .query(&quantile(0.99, "ingest_verify_duration_seconds", "<ingest>", ""), "99 %"),
            lines(
                "Draining",
                Unit::Count,
                8,
                "1 from SIGTERM on: a deploy is under way.",
            )
            .query("ingest_draining{<ingest>}", "{{instance}}"),
        ],
    )
}
