//! The row that every dashboard begins with: which part it is.

use super::{INGEST, MONEY, RECONCILER, STRIPE};
use crate::board::Row;
use crate::panel::{Kind, Panel, Steps, Unit, panel};
use crate::settings::USUAL_WEBHOOKS;
use crate::signals;

/// Any trouble at all: rates are no whole numbers.
const ANY: Steps = Steps::Bad(1e-9);

/// Us, Kafka, PostgreSQL, AWS or Stripe; and whether money is right.
pub(super) fn which_part() -> Row {
    Row::new("Which part is it?", [us(), kafka(), postgres(), aws(), stripe(), money()])
}

fn state(title: &'static str, query: &str, description: &'static str) -> Panel {
    panel(Kind::State, title, Unit::Count, 4, description).query(query, "").steps(ANY)
}

/// What a process that is gone does not say is no trouble of this part's.
fn or_zero(query: &str) -> String {
    format!("({query} or vector(0))")
}

fn us() -> Panel {
    let gone = "sum(1 - up{<both>})";
    let halted = or_zero(&format!("sum(1 - {})", signals::ROLE_UP));
    let paused = or_zero(&format!("sum({})", signals::PAUSED));
    state(
        "Us",
        &format!("{gone}\n+ {halted}\n+ {paused}"),
        "Processes that do not answer Prometheus, roles that have halted, and a paused projection.",
    )
    .alerts(&["ProcessDown", "RoleHalted", "ProjectionPaused"])
}

fn kafka() -> Panel {
    let errors = or_zero(&format!("sum({})", signals::KAFKA_ERRORS));
    state(
        "Kafka",
        &format!("sum({})\n+ {errors}", signals::KAFKA_UNREACHED),
        "Clients that reach no broker, and records that were not acknowledged within 5 minutes.",
    )
    .alerts(&["KafkaUnreachable", "KafkaNotAcknowledging"])
    .more_on(INGEST)
}

fn postgres() -> Panel {
    state(
        "PostgreSQL",
        &format!("sum({})", signals::POSTGRES_ERRORS),
        "Transactions within 5 minutes that it did not answer, or not in time.",
    )
    .alerts(&["PostgresFailing"])
    .more_on(RECONCILER)
}

fn aws() -> Panel {
    state(
        "AWS",
        &format!("{}\n+ {}", signals::S3_ERRORS, signals::FIREHOSE_ERRORS),
        "Calls to S3 and Firehose within 5 minutes that failed.",
    )
    .alerts(&["S3Failing", "FirehoseFailing"])
    .more_on(RECONCILER)
}

fn stripe() -> Panel {
    let refused = format!("sum({} > bool 0.999)", signals::refused_share());
    let usual = or_zero(&format!("{} > bool {USUAL_WEBHOOKS}", signals::WEBHOOKS_LAST_WEEK));
    state(
        "Stripe",
        &format!("{refused}\n+ ({} == bool 0) * {usual}", signals::WEBHOOKS),
        "Endpoints to which every request within 10 minutes was refused, and whether no webhook came \
         within half an hour though last week they did.",
    )
    .alerts(&["NoWebhooks", "EndpointRefused"])
    .more_on(STRIPE)
}

fn money() -> Panel {
    state(
        "Money",
        &format!("{}\n+ sum({})", signals::LEDGER, signals::QUARANTINE),
        "Currencies in which the ledger does not add up to zero, and records in quarantine.",
    )
    .alerts(&["LedgerNotZero", "RecordsInQuarantine"])
    .more_on(MONEY)
}
