//! Stripe's view: are we answering well enough that it will not disable an endpoint.

use super::{STRIPE, areas, lines, quantile, stat, which_part};
use crate::board::{Board, Row};
use crate::panel::{Steps, Unit};
use crate::settings::{CERTIFICATE_SECONDS, STRIPE_SHARE};
use crate::signals;

pub(super) fn board() -> Board {
    Board {
        uid: STRIPE,
        title: "Stripe: as Stripe sees us",
        description: "Stripe sends a webhook again for three days unless it is answered 2xx, and disables \
            an endpoint that fails for days.",
        rows: vec![which_part(), sees(), comes(), believes()],
    }
}

fn sees() -> Row {
    Row::new(
        "What does Stripe see?",
        [
            stat("Answered 200 in a day", Unit::Share, 8,
                "Share of each endpoint's requests. What anybody sends without a valid \
                 signature counts too, and Stripe does not see that.")
                .query(signals::STRIPE_SHARE, "{{endpoint}}")
                .steps(Steps::Low(STRIPE_SHARE))
                .alerts(&["StripeMayDisableEndpoint"]),
            areas("Answers by endpoint", Unit::PerSecond, 8,
                "Everything but `accepted` is a failure to Stripe.")
                .query(
                    r#"sum by (endpoint, outcome) (rate(ingest_requests_total{<ingest>, endpoint!="none"}[<window>]))"#,
                    "{{endpoint}} {{outcome}}",
                )
                .alerts(&["StripeMayDisableEndpoint", "AnswersBurnFast"]),
            lines("Time to an answer", Unit::Seconds, 8,
                "99th percentile by outcome. Stripe gives up after some seconds.")
                .query(&quantile(0.99, "ingest_request_duration_seconds", "<ingest>", "outcome"), "{{outcome}}")
                .alerts(&["AnswersBurnFast"]),
        ],
    )
}

fn comes() -> Row {
    Row::new(
        "Does Stripe send?",
        [
            lines(
                "Webhooks in half an hour",
                Unit::Count,
                12,
                "Genuine ones now, and at the same time last week.",
            )
            .query(signals::WEBHOOKS, "now")
            .query(signals::WEBHOOKS_LAST_WEEK, "last week")
            .alerts(&["NoWebhooks"]),
            lines(
                "Lost to size",
                Unit::Count,
                6,
                "Requests within an hour that were too large. If they are Stripe's, they never \
                 get in.",
            )
            .query(signals::TOO_LARGE, "{{endpoint}}")
            .steps(Steps::Bad(1.0))
            .alerts(&["EventTooLarge"]),
            lines(
                "Requests to no endpoint",
                Unit::PerSecond,
                6,
                "Paths that are no endpoint of ours: scanners, or a wrong URL in Stripe's \
                 dashboard.",
            )
            .query(
                r#"sum(rate(ingest_requests_total{<ingest>, endpoint="none"}[<window>]))"#,
                "not found",
            ),
        ],
    )
}

fn believes() -> Row {
    Row::new(
        "Do we believe it?",
        [
            lines(
                "Refused share",
                Unit::Share,
                8,
                "Share of each endpoint's requests within ten minutes that were refused for \
                 their signature.",
            )
            .query(&signals::refused_share(), "{{endpoint}}")
            .steps(Steps::Bad(0.999))
            .alerts(&["EndpointRefused"]),
            lines(
                "Genuine but refused",
                Unit::Count,
                8,
                "Within five minutes: the signature matches, its time is too far from ours.",
            )
            .query(signals::GENUINE_REFUSED, "{{endpoint}}")
            .steps(Steps::Bad(2.0))
            .alerts(&["GenuineRefused"]),
            lines(
                "Active secrets",
                Unit::Count,
                4,
                "Of each endpoint; two while one is rolled. Reloads that failed within an \
                 hour.",
            )
            .query("max by (endpoint) (ingest_secrets{<ingest>})", "{{endpoint}}")
            .query(signals::RELOADS_FAILED, "{{instance}} reload failed")
            .alerts(&["SecretNoLongerMatches", "SecretReloadFailed"]),
            lines(
                "Certificate",
                Unit::Seconds,
                4,
                "How long it is still valid; only where ingest itself speaks TLS.",
            )
            .query(signals::CERTIFICATE, "{{instance}}")
            .steps(Steps::Low(CERTIFICATE_SECONDS.into()))
            .alerts(&["CertificateExpires"]),
        ],
    )
}
