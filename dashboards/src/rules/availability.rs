//! Whether every process and role is there and does its work.

use crate::rule::{Alert, Case, Condition, Group, Severity, above, is};
use crate::settings::DOWN_FOR;
use crate::signals::{
    FIREHOSE_ERRORS, KAFKA_ERRORS, KAFKA_UNREACHED, PAUSED, POSTGRES_ERRORS, RESTARTS, ROLE_UP,
    S3_ERRORS, TOPIC_DANGER, UP,
};

pub(super) fn group() -> Group {
    let alerts = vec![
        process_down(),
        restarts(),
        role_halted(),
        projection_paused(),
        kafka_unreachable(),
        kafka_not_acknowledging(),
        postgres_failing(),
        s3_failing(),
        firehose_failing(),
        topic_danger(),
    ];
    Group { name: "availability", tested_every: "1m", records: Vec::new(), alerts }
}

const BOTH_UP: (&str, &str) = (r#"up{job="ingest",instance="a"}"#, "1x30");

fn process_down() -> Alert {
    Alert {
        name: "ProcessDown",
        severity: Severity::Page,
        condition: is(UP, 0)
            .or(Condition::absent("up{<ingest>}"))
            .or(Condition::absent("up{<reconciler>}")),
        hold: DOWN_FOR,
        summary: "{{ $labels.job }} {{ $labels.instance }} does not answer Prometheus",
        description: "Without ingest Stripe gets no answer; without the reconciler money state stands \
            still. Look whether the process runs and whether its admin listener answers /livez.",
        cases: vec![
            Case::fires(
                [
                    (r#"up{job="ingest",instance="a"}"#, "1 1 0x10"),
                    (r#"up{job="reconciler",instance="b"}"#, "1x20"),
                ],
                "6m",
                [("job", "ingest"), ("instance", "a")],
                "ingest a does not answer Prometheus",
            ),
            // Nothing at all is known of the reconciler.
            Case::fires(
                [BOTH_UP],
                "6m",
                [("job", "reconciler")],
                "reconciler  does not answer Prometheus",
            ),
            // A deploy.
            Case::quiet(
                [
                    (r#"up{job="ingest",instance="a"}"#, "1 1 0 1x10"),
                    (r#"up{job="reconciler",instance="b"}"#, "1x20"),
                ],
                "3m",
            ),
        ],
    }
}

fn restarts() -> Alert {
    Alert {
        name: "ProcessRestarts",
        severity: Severity::Ticket,
        condition: above(RESTARTS, 2),
        hold: "0m",
        summary: "{{ $labels.job }} {{ $labels.instance }} has started {{ $value }} times in half \
             an hour",
        description: "It ends and is started over and over. The last lines of its log before each start \
            say why; exit code 2 is a wrong setting.",
        cases: vec![
            Case::fires(
                [(
                    r#"process_start_time_seconds{job="ingest",instance="a"}"#,
                    "100 100 200 200 300 400x10",
                )],
                "12m",
                [("job", "ingest"), ("instance", "a")],
                "ingest a has started 3 times in half an hour",
            ),
            Case::quiet(
                [(
                    r#"process_start_time_seconds{job="ingest",instance="a"}"#,
                    "100 100 200 300x10",
                )],
                "12m",
            ),
        ],
    }
}

fn role_halted() -> Alert {
    const ROLE: &str = r#"reconciler_role_up{job="reconciler",instance="b",role="project"}"#;
    Alert {
        name: "RoleHalted",
        severity: Severity::Page,
        condition: is(ROLE_UP, 0),
        hold: "1m",
        summary: "The role {{ $labels.role }} on {{ $labels.instance }} has halted",
        description: "It met something after which going on could lose or falsify money state. It stays \
            down until a person has looked; the other roles go on. Its last log line at level error \
            says what it met.",
        cases: vec![
            Case::fires(
                [(ROLE, "1 1 0x10")],
                "5m",
                [("job", "reconciler"), ("instance", "b"), ("role", "project")],
                "The role project on b has halted",
            ),
            Case::quiet([(ROLE, "1x10")], "5m"),
        ],
    }
}

fn projection_paused() -> Alert {
    const B: &str = r#"reconciler_paused{job="reconciler",instance="b",role="project"}"#;
    const C: &str = r#"reconciler_paused{job="reconciler",instance="c",role="project"}"#;
    Alert {
        name: "ProjectionPaused",
        severity: Severity::Page,
        condition: is(PAUSED, 1),
        hold: "1m",
        summary: "The breaker has paused the role {{ $labels.role }}: most new records would go to \
            quarantine",
        description: "Money state stands still, nothing is lost. See `reconciler quarantine list`, fix \
            the cause (mostly: take the last deploy back), then `reconciler quarantine resume`.",
        cases: vec![
            // Two processes of one topic: one alert.
            Case::fires(
                [(B, "0 0 1x10"), (C, "0 0 0 1x10")],
                "5m",
                [("role", "project")],
                "The breaker has paused the role project: most new records would go to quarantine",
            ),
            Case::quiet([(B, "0 0 1 0x10"), (C, "0x10")], "5m"),
        ],
    }
}

fn kafka_unreachable() -> Alert {
    const BROKER: &str =
        r#"kafka_client_broker_up{job="ingest",instance="a",client="ingest",broker="1"}"#;
    const OTHER: &str =
        r#"kafka_client_broker_up{job="ingest",instance="a",client="ingest",broker="2"}"#;
    Alert {
        name: "KafkaUnreachable",
        severity: Severity::Ticket,
        condition: is(KAFKA_UNREACHED, 1),
        hold: "3m",
        summary: "The Kafka client {{ $labels.client }} of {{ $labels.job }} {{ $labels.instance }} reaches \
            no broker",
        description: "A cause, not a harm: if it does harm, other alerts say so. Stripe is answered 503 \
            while ingest reaches none, and rows stand still while the reconciler does not.",
        cases: vec![
            Case::fires(
                [(BROKER, "1x5 0x20"), (OTHER, "1x5 0x20")],
                "15m",
                [("job", "ingest"), ("instance", "a"), ("client", "ingest")],
                "The Kafka client ingest of ingest a reaches no broker",
            ),
            // One broker of two.
            Case::quiet([(BROKER, "1x5 0x20"), (OTHER, "1x25")], "15m"),
        ],
    }
}

fn kafka_not_acknowledging() -> Alert {
    const ERRORS: &str =
        r#"ingest_publish_errors_total{job="ingest",instance="a",reason="timed_out"}"#;
    Alert {
        name: "KafkaNotAcknowledging",
        severity: Severity::Ticket,
        condition: above(KAFKA_ERRORS, 0),
        hold: "3m",
        summary: "Kafka did not acknowledge {{ $value | humanize }} records in 5 minutes: \
            {{ $labels.reason }}",
        description: "A cause, not a harm: each was answered 503, and Stripe sends it again. Look at \
            the brokers and their in-sync replicas.",
        cases: vec![
            Case::fires(
                [(ERRORS, "0x5 0+6x20")],
                "20m",
                [("reason", "timed_out")],
                "Kafka did not acknowledge 30 records in 5 minutes: timed_out",
            ),
            Case::quiet([(ERRORS, "6x25")], "20m"),
        ],
    }
}

fn postgres_failing() -> Alert {
    const RETRIES: &str = r#"reconciler_transaction_retries_total{job="reconciler",instance="b",reason="connection"}"#;
    const LINKS: &str =
        r#"reconciler_transaction_retries_total{job="reconciler",instance="b",reason="links"}"#;
    Alert {
        name: "PostgresFailing",
        severity: Severity::Ticket,
        condition: above(POSTGRES_ERRORS, 0),
        hold: "3m",
        summary: "PostgreSQL failed {{ $value | humanize }} transactions in 5 minutes: {{ \
             $labels.reason }}",
        description: "A cause, not a harm: transactions are tried again and nothing is lost, but while \
            none succeeds money state stands still.",
        cases: vec![
            Case::fires(
                [(RETRIES, "0x5 0+6x20")],
                "20m",
                [("reason", "connection")],
                "PostgreSQL failed 30 transactions in 5 minutes: connection",
            ),
            // Two transactions met: that is how it works.
            Case::quiet([(LINKS, "0+6x25"), (RETRIES, "0x25")], "20m"),
        ],
    }
}

fn s3_failing() -> Alert {
    const FAILED: &str = r#"reconciler_archive_puts_total{job="reconciler",instance="b",object="segment",result="failed"}"#;
    const WRITTEN: &str = r#"reconciler_archive_puts_total{job="reconciler",instance="b",object="segment",result="written"}"#;
    Alert {
        name: "S3Failing",
        severity: Severity::Ticket,
        condition: above(S3_ERRORS, 0),
        hold: "10m",
        summary: "{{ $value | humanize }} writes to S3 failed in 5 minutes",
        description: "A cause, not a harm: they are tried again for ever, and money state goes on. The \
            log of the role archive has what S3 said; access denied needs a person.",
        cases: vec![
            Case::fires([(FAILED, "0x5 0+6x30")], "30m", [], "30 writes to S3 failed in 5 minutes"),
            Case::quiet([(FAILED, "0x5 1x30"), (WRITTEN, "0+6x35")], "30m"),
        ],
    }
}

fn firehose_failing() -> Alert {
    const FAILED: &str = r#"reconciler_publish_calls_total{job="reconciler",instance="b",sink="firehose",result="failed"}"#;
    const KAFKA: &str = r#"reconciler_publish_calls_total{job="reconciler",instance="b",sink="kafka",result="failed"}"#;
    Alert {
        name: "FirehoseFailing",
        severity: Severity::Ticket,
        condition: above(FIREHOSE_ERRORS, 0),
        hold: "10m",
        summary: "{{ $value | humanize }} calls to Firehose failed in 5 minutes",
        description: "A cause, not a harm: domain events wait and are sent again, and money state goes \
            on. The log of the role publish has what Firehose said; access denied needs a person.",
        cases: vec![
            Case::fires(
                [(FAILED, "0x5 0+6x30")],
                "30m",
                [],
                "30 calls to Firehose failed in 5 minutes",
            ),
            Case::quiet([(FAILED, "0x5 1x30"), (KAFKA, "0+6x35")], "30m"),
        ],
    }
}

fn topic_danger() -> Alert {
    const INGEST: &str =
        r#"ingest_topic_warning{job="ingest",instance="a",warning="short_retention"}"#;
    const RECONCILER: &str = r#"reconciler_topic_warning{job="reconciler",instance="b",topic="stripe.raw.v1",code="short_retention"}"#;
    Alert {
        name: "TopicInDanger",
        severity: Severity::Ticket,
        condition: above(TOPIC_DANGER, 0),
        hold: "5m",
        summary: "A topic's settings are dangerous: {{ $labels.code }}",
        description: "Short retention: records can be gone before a role that was down has read them. \
            One in-sync replica: an acknowledged record can be lost with one broker.",
        cases: vec![
            Case::fires(
                [(INGEST, "1x20"), (RECONCILER, "1x20")],
                "10m",
                [("code", "short_retention")],
                "A topic's settings are dangerous: short_retention",
            ),
            Case::quiet([(INGEST, "0x20"), (RECONCILER, "0x20")], "10m"),
        ],
    }
}
