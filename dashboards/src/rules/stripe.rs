//! Whether Stripe still speaks to us, and goes on doing so.

use crate::rule::{Alert, Case, Group, Severity, above, below, is};
use crate::settings::{
    CERTIFICATE_SECONDS, SECRET_TRAFFIC, STRIPE_SHARE as MIN_SHARE, USUAL_WEBHOOKS,
};
use crate::signals::{
    CERTIFICATE, REQUESTS_1H, SECRET_ACTIVE, SECRET_MATCHED, SECRET_MATCHES, STRIPE_SHARE,
    WEBHOOKS, WEBHOOKS_LAST_WEEK,
};

pub(super) fn group() -> Group {
    let alerts = vec![no_webhooks(), stripe_may_disable(), secret_left(), certificate()];
    // Its cases are long: a week.
    Group { name: "stripe", tested_every: "5m", records: Vec::new(), alerts }
}

const ACCEPTED: &str =
    r#"ingest_requests_total{job="ingest",endpoint="default",outcome="accepted"}"#;
const UNAVAILABLE: &str =
    r#"ingest_requests_total{job="ingest",endpoint="default",outcome="unavailable"}"#;
const REFUSED: &str = r#"ingest_requests_total{job="ingest",endpoint="default",outcome="refused"}"#;
const MATCHES: &str = r#"ingest_secret_matches_total{job="ingest",endpoint="default",secret="0"}"#;

fn no_webhooks() -> Alert {
    Alert {
        name: "NoWebhooks",
        severity: Severity::Page,
        condition: above(WEBHOOKS_LAST_WEEK, USUAL_WEBHOOKS).unless_on("", above(WEBHOOKS, 0)),
        hold: "5m",
        summary: "No webhook in half an hour; the same half hour of last week had {{ $value | \
             humanize }}",
        description: "Either Stripe does not reach us (DNS, balancer, certificate, a disabled \
            endpoint) or it has trouble itself: see status.stripe.com and Developers → Webhooks.",
        cases: vec![
            Case::fires(
                [(MATCHES, "0+20x2000 40000x200")],
                "10860m",
                [],
                "No webhook in half an hour; the same half hour of last week had 120",
            )
            .every("5m"),
            // A night as quiet as last week's.
            Case::quiet([(MATCHES, "0+20x140 2800x2100")], "10860m").every("5m"),
            // Ingest is down: its series are gone, and other alerts say so, and this one too.
            Case::fires(
                [(MATCHES, "0+20x2000 _x200")],
                "10860m",
                [],
                "No webhook in half an hour; the same half hour of last week had 120",
            )
            .every("5m"),
            Case::quiet([(MATCHES, "0+20x2300")], "10860m").every("5m"),
        ],
    }
}

fn stripe_may_disable() -> Alert {
    Alert {
        name: "StripeMayDisableEndpoint",
        severity: Severity::Page,
        condition: below(STRIPE_SHARE, MIN_SHARE).and_on("endpoint", above(REQUESTS_1H, 0)),
        hold: "1h",
        summary: "Only {{ $value | humanizePercentage }} of a day's requests to {{ $labels.endpoint }} \
            were answered 200",
        description: "Stripe disables an endpoint that fails for days, and then sends nothing any \
            more. Anybody can send requests that are refused: see on the dashboard stripe which they are.",
        cases: vec![
            Case::fires(
                [(ACCEPTED, "0+10x600 6000x900"), (UNAVAILABLE, "0x600 0+10x900")],
                "1499m",
                [("endpoint", "default")],
                "Only 37.87% of a day's requests to default were answered 200",
            ),
            Case::quiet([(ACCEPTED, "0+10x1500"), (REFUSED, "0+5x1500")], "1499m"),
        ],
    }
}

fn secret_left() -> Alert {
    const OLD: &str = MATCHES;
    const OLD_ACTIVE: &str = r#"ingest_secret_active{job="ingest",endpoint="default",secret="0"}"#;
    const NEW_ACTIVE: &str = r#"ingest_secret_active{job="ingest",endpoint="default",secret="1"}"#;
    const NEW: &str = r#"ingest_secret_matches_total{job="ingest",endpoint="default",secret="1"}"#;
    Alert {
        name: "SecretNoLongerMatches",
        severity: Severity::Ticket,
        condition: above(SECRET_MATCHES, 0)
            .unless_on("endpoint, secret", above(SECRET_MATCHED, 0))
            .and_on("endpoint, secret", is(SECRET_ACTIVE, 1))
            .and_on("endpoint", above(REQUESTS_1H, SECRET_TRAFFIC)),
        hold: "5m",
        summary: "Secret {{ $labels.secret }} of {{ $labels.endpoint }} has matched nothing for an \
            hour, though requests come; before, it did {{ $value | humanize }} times in a day",
        description: "After a secret was rolled: take the old one out. Otherwise Stripe signs with \
            one that we do not have.",
        cases: vec![
            Case::fires(
                [
                    (ACCEPTED, "0+1x200"),
                    (OLD, "0+1x100 100x100"),
                    (NEW, "0x100 0+1x100"),
                    (OLD_ACTIVE, "1x200"),
                    (NEW_ACTIVE, "1x200"),
                ],
                "190m",
                [("endpoint", "default"), ("secret", "0")],
                "Secret 0 of default has matched nothing for an hour, though requests come; before, \
                 it did 100 times in a day",
            ),
            // It was taken out, so that the other one is the first now.
            Case::quiet(
                [
                    (ACCEPTED, "0+1x200"),
                    (OLD, "0x100 0+1x100"),
                    (NEW, "0+1x100 100x100"),
                    (OLD_ACTIVE, "1x200"),
                    (NEW_ACTIVE, "1x100 0x100"),
                ],
                "190m",
            ),
            // Nothing comes at all: that is another alert's.
            Case::quiet(
                [(ACCEPTED, "0+1x100 100x100"), (OLD, "0+1x100 100x100"), (OLD_ACTIVE, "1x200")],
                "190m",
            ),
        ],
    }
}

fn certificate() -> Alert {
    const EXPIRY: &str =
        r#"ingest_certificate_expiry_timestamp_seconds{job="ingest",instance="a"}"#;
    Alert {
        name: "CertificateExpires",
        severity: Severity::Page,
        condition: below(CERTIFICATE, CERTIFICATE_SECONDS),
        hold: "5m",
        summary: "The certificate of {{ $labels.instance }} expires in {{ $value | humanizeDuration \
             }}",
        description: "After that Stripe does not connect any more. Renew it and see that ingest has \
             read it.",
        cases: vec![
            Case::fires(
                [(EXPIRY, "864000x20")],
                "10m",
                [("job", "ingest"), ("instance", "a")],
                "The certificate of a expires in 9d 23h 50m 0s",
            ),
            Case::quiet([(EXPIRY, "8640000x20")], "10m"),
        ],
    }
}
