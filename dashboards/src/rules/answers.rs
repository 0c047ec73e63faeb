//! Whether Stripe is answered, and answered well.

use super::burn::{Objective, Words};
use crate::rule::{Alert, Case, Group, Severity, above};
use crate::settings::{ANSWERS_OBJECTIVE, ANSWERS_SECONDS, LIMIT_SHARE, REFUSED_MIN};
use crate::signals::{
    ANSWERED_IN_TIME, ASKED, CONNECTIONS, GENUINE_REFUSED, IN_FLIGHT, IN_FLIGHT_BYTES,
    PRODUCER_REPLACED, REFUSED_10M, RELOADS_FAILED, TOO_LARGE, refused_share,
};

/// Stripe's requests are answered 200 in time.
pub fn objective() -> Objective {
    Objective {
        name: "answers",
        good: ANSWERED_IN_TIME.replace("<in time>", ANSWERS_SECONDS),
        total: ASKED.to_owned(),
        objective: ANSWERS_OBJECTIVE,
    }
}

pub(super) fn group() -> Group {
    let alerts = vec![
        burning_fast(),
        burning_slowly(),
        endpoint_refused(),
        genuine_refused(),
        too_large(),
        near_limit(),
        producer_replaced(),
        reload_failed(),
    ];
    Group { name: "answers", tested_every: "1m", records: objective().records(), alerts }
}

const ACCEPTED: &str =
    r#"ingest_requests_total{job="ingest",endpoint="default",outcome="accepted"}"#;
const UNAVAILABLE: &str =
    r#"ingest_requests_total{job="ingest",endpoint="default",outcome="unavailable"}"#;
const REFUSED: &str = r#"ingest_requests_total{job="ingest",endpoint="default",outcome="refused"}"#;
const IN_TIME: &str =
    r#"ingest_request_duration_seconds_bucket{job="ingest",outcome="accepted",le="5"}"#;

fn burning_fast() -> Alert {
    let words = Words {
        name: "AnswersBurnFast",
        summary: "{{ $value | humanizePercentage }} of Stripe's requests got no 200 in time",
        description: "Stripe sends them again for up to three days, so nothing is lost yet. Mostly \
            Kafka does not acknowledge: look at the top row of the dashboard ingest.",
    };
    let cases = vec![
        // Kafka is away: a tenth is answered 503, for twenty minutes after a good hour.
        Case::fires(
            [
                (ACCEPTED, "0+90x60 5400+80x20"),
                (IN_TIME, "0+90x60 5400+80x20"),
                (UNAVAILABLE, "0x60 0+10x20"),
            ],
            "80m",
            [],
            "3.578% of Stripe's requests got no 200 in time",
        ),
        // All are answered 200, but half of them late.
        Case::fires(
            [(ACCEPTED, "0+60x90"), (IN_TIME, "0+60x60 3600+30x30")],
            "90m",
            [],
            "25.83% of Stripe's requests got no 200 in time",
        ),
        // One request of few fails: nobody is woken.
        Case::quiet([(ACCEPTED, "0+1x90"), (IN_TIME, "0+1x90"), (UNAVAILABLE, "0x80 1x10")], "85m"),
        // It is over: the short windows are good again.
        Case::quiet(
            [
                (ACCEPTED, "0+90x60 5400+80x10 6200+90x60"),
                (IN_TIME, "0+90x60 5400+80x10 6200+90x60"),
                (UNAVAILABLE, "0x60 0+10x10 100x60"),
            ],
            "110m",
        ),
    ];
    objective().fast(words, cases)
}

fn burning_slowly() -> Alert {
    let words = Words {
        name: "AnswersBurnSlow",
        summary: "{{ $value | humanizePercentage }} of Stripe's requests of a day or more got no \
            200 in time",
        description: "Little at a time, but the month's budget will not last. Look at the outcomes \
            and at Kafka's answers on the dashboard ingest over some days.",
    };
    let cases = vec![
        Case::fires(
            [(ACCEPTED, "0+995x300"), (IN_TIME, "0+995x300"), (UNAVAILABLE, "0+5x300")],
            "300m",
            [],
            "0.5% of Stripe's requests of a day or more got no 200 in time",
        ),
        Case::quiet(
            [(ACCEPTED, "0+9998x300"), (IN_TIME, "0+9998x300"), (UNAVAILABLE, "0+2x300")],
            "300m",
        ),
    ];
    objective().slow(words, cases)
}

fn endpoint_refused() -> Alert {
    Alert {
        name: "EndpointRefused",
        severity: Severity::Page,
        condition: above(&refused_share(), 0.999)
            .and_on("endpoint", above(REFUSED_10M, REFUSED_MIN)),
        hold: "5m",
        summary: "Every request to the endpoint {{ $labels.endpoint }} is refused for its signature",
        description: "Mostly the endpoint's secret is not the one that Stripe signs with. Stripe \
            sends again for up to three days, then the events must be fetched.",
        cases: vec![
            Case::fires(
                [(ACCEPTED, "0+10x20 200x30"), (REFUSED, "0x20 0+10x30")],
                "45m",
                [("endpoint", "default")],
                "Every request to the endpoint default is refused for its signature",
            ),
            // A scanner sends rubbish beside genuine webhooks.
            Case::quiet([(ACCEPTED, "0+10x50"), (REFUSED, "0+90x50")], "45m"),
            // Two lost requests are no outage.
            Case::quiet([(ACCEPTED, "100x50"), (REFUSED, "0x35 1 2x20")], "45m"),
        ],
    }
}

fn genuine_refused() -> Alert {
    const LATE: &str = r#"ingest_refusals_total{job="ingest",endpoint="default",reason="timestamp_outside_tolerance"}"#;
    const WRONG: &str =
        r#"ingest_refusals_total{job="ingest",endpoint="default",reason="no_matching_signature"}"#;
    Alert {
        name: "GenuineRefused",
        severity: Severity::Page,
        condition: above(GENUINE_REFUSED, 2),
        hold: "5m",
        summary: "{{ $value | humanize }} genuine webhooks to {{ $labels.endpoint }} were refused \
            in 5 minutes: their time is too far from ours",
        description: "The signature matches, so it is Stripe, or somebody who sends an old webhook \
            again. Compare this machine's clock with another.",
        cases: vec![
            Case::fires(
                [(LATE, "0 0 0+1x20")],
                "20m",
                [("endpoint", "default")],
                "5 genuine webhooks to default were refused in 5 minutes: their time is \
                     too far from ours",
            ),
            Case::quiet([(LATE, "0 1x20"), (WRONG, "0+9x20")], "20m"),
        ],
    }
}

fn too_large() -> Alert {
    const TOO_LARGE_SERIES: &str =
        r#"ingest_requests_total{job="ingest",endpoint="default",outcome="too_large"}"#;
    Alert {
        name: "EventTooLarge",
        severity: Severity::Ticket,
        condition: above(TOO_LARGE, 0),
        hold: "0m",
        summary: "{{ $value | humanize }} requests to {{ $labels.endpoint }} in an hour were too \
             large",
        description: "If they are Stripe's, they never get in: raise INGEST_MAX_BODY_BYTES and the \
            topic's max.message.bytes. Stripe sends again for up to three days.",
        cases: vec![
            Case::fires(
                [(TOO_LARGE_SERIES, "0x10 1x60")],
                "60m",
                [("endpoint", "default")],
                "1 requests to default in an hour were too large",
            ),
            Case::quiet([(TOO_LARGE_SERIES, "0x10 1x90")], "80m"),
        ],
    }
}

fn near_limit() -> Alert {
    const USED: &str = r#"ingest_in_flight_bytes{job="ingest",instance="a"}"#;
    const MAX: &str = r#"ingest_max_in_flight_bytes{job="ingest",instance="a"}"#;
    Alert {
        name: "IngestNearLimit",
        severity: Severity::Ticket,
        condition: above(IN_FLIGHT, LIMIT_SHARE)
            .or(above(IN_FLIGHT_BYTES, LIMIT_SHARE))
            .or(above(CONNECTIONS, LIMIT_SHARE)),
        hold: "5m",
        summary: "{{ $value | humanizePercentage }} of a limit of ingest {{ $labels.instance }} is \
             in use",
        description: "At 100 % Stripe is answered 503, or its connections wait. Mostly Kafka \
            acknowledges slowly; otherwise start more processes.",
        cases: vec![
            Case::fires(
                [(USED, "0 95x20"), (MAX, "100x21")],
                "15m",
                [("job", "ingest"), ("instance", "a")],
                "95% of a limit of ingest a is in use",
            ),
            Case::quiet([(USED, "0 95 95 10x20"), (MAX, "100x21")], "15m"),
        ],
    }
}

fn producer_replaced() -> Alert {
    const REPLACED: &str =
        r#"ingest_producer_replacements_total{job="ingest",instance="a",cause="stuck"}"#;
    Alert {
        name: "ProducerReplaced",
        severity: Severity::Ticket,
        condition: above(PRODUCER_REPLACED, 2),
        hold: "0m",
        summary: "Ingest {{ $labels.instance }} has replaced its producer {{ $value | humanize }} times in an \
            hour: {{ $labels.cause }}",
        description: "Once is a bad moment of a broker. Over and over, something keeps it from working \
            though Kafka has a leader: permissions, a broker that answers nothing, the client itself.",
        cases: vec![
            Case::fires(
                [(REPLACED, "0x5 1 2 3 4x60")],
                "60m",
                [("instance", "a"), ("cause", "stuck")],
                "Ingest a has replaced its producer 4 times in an hour: stuck",
            ),
            Case::quiet([(REPLACED, "0x5 1x60")], "60m"),
        ],
    }
}

fn reload_failed() -> Alert {
    const FAILED: &str =
        r#"ingest_secret_reloads_total{job="ingest",instance="a",result="failed"}"#;
    Alert {
        name: "SecretReloadFailed",
        severity: Severity::Ticket,
        condition: above(RELOADS_FAILED, 0),
        hold: "0m",
        summary: "Ingest {{ $labels.instance }} could not read its secrets again",
        description: "It goes on with those that it had. If a secret was rolled, what is signed with \
            the new one alone is refused: mend the file and send SIGHUP again.",
        cases: vec![
            Case::fires(
                [(FAILED, "0x5 1x20")],
                "10m",
                [("instance", "a")],
                "Ingest a could not read its secrets again",
            ),
            Case::quiet([(FAILED, "1x100")], "90m"),
        ],
    }
}
